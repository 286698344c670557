/**
 * Where a run gets its items: one at a time, and only when it has a place for the next.
 */

/** What `next` has found. */
export const Next = {
  /** An item; it is in `item`. */
  item: 0,
  /** Nothing yet: `onReady` will be called once there is. */
  pending: 1,
  /** The end. */
  done: 2,
  /** An error; it is in `failure`. The source is over. */
  failed: 3
} as const

export type Next = (typeof Next)[keyof typeof Next]

export interface Source<out A, out F> {
  readonly item: A
  readonly failure: F
  /** Called when a pending item, or the end, has come: `next` has the answer. */
  onReady: () => void
  /** Asks for the next item. Not called again before the last call has been answered, nor once the source is over. */
  next(): Next
  /**
   * Ends a source before its time, once at the most; a source that is over does nothing. Calls back when that is done,
   * which may be at once, with what went wrong, if anything.
   */
  close(onClosed: (failure?: F) => void): void
}

/** As `for…of` does: without this, an iterator that gives no results would be read for ever. */
export const resultOf = <A>(result: IteratorResult<A>): IteratorResult<A> => {
  if (typeof result === "object" && result !== null) return result
  throw new TypeError(`an iterator gave ${String(result)}, which is no result`)
}

/** The source that a plain iterable is. `fail` makes a failure of what its iterator has thrown. */
class IterableSource<A, F> implements Source<A, F> {
  item!: A
  failure!: F
  onReady!: () => void
  private readonly iterable: Iterable<A>
  private readonly fail: (error: unknown) => F
  private iterator: Iterator<A> | undefined
  private isOver = false
  private isAdvancing = false
  private onAdvanced: (() => void) | undefined

  constructor(iterable: Iterable<A>, fail: (error: unknown) => F) {
    this.iterable = iterable
    this.fail = fail
  }

  next(): Next {
    this.isAdvancing = true
    const next = this.advance()
    this.isAdvancing = false
    this.onAdvanced?.()
    return next
  }

  close(onClosed: (failure?: F) => void): void {
    // What the iterator does in its `next` may end the call. It cannot be closed before it is back.
    if (this.isAdvancing) this.onAdvanced = () => this.close(onClosed)
    else if (this.isOver) onClosed()
    else onClosed(this.leave())
  }

  private advance(): Next {
    try {
      this.iterator ??= this.iterable[Symbol.iterator]()
      const result = resultOf(this.iterator.next())
      if (result.done === true) {
        this.isOver = true
        return Next.done
      }
      this.item = result.value
      return Next.item
    } catch (error) {
      this.isOver = true
      this.failure = this.fail(error)
      return Next.failed
    }
  }

  private leave(): F | undefined {
    this.isOver = true
    try {
      this.iterator?.return?.()
      return undefined
    } catch (error) {
      return this.fail(error)
    }
  }
}

/** The source that an array is, where its iterator is the one that all arrays have: what that does, and no more. */
class ArraySource<A, F> implements Source<A, F> {
  item!: A
  failure!: F
  onReady!: () => void
  private readonly array: ReadonlyArray<A>
  private readonly fail: (error: unknown) => F
  private at = 0

  constructor(array: ReadonlyArray<A>, fail: (error: unknown) => F) {
    this.array = array
    this.fail = fail
  }

  next(): Next {
    try {
      // Asked anew each time, as an iterator does: the array may grow and shrink meanwhile.
      if (this.at >= this.array.length) return Next.done
      this.item = this.array[this.at++]!
      return Next.item
    } catch (error) {
      // An element may be a getter, and the array a proxy.
      this.failure = this.fail(error)
      return Next.failed
    }
  }

  close(onClosed: () => void): void {
    onClosed()
  }
}

/** Arrays have one iterator, unless somebody has seen to it that they have another. */
const isPlainArray = (items: unknown): items is ReadonlyArray<unknown> =>
  Array.isArray(items) && items[Symbol.iterator] === arrayIterator

const arrayIterator = Array.prototype[Symbol.iterator]

/** The source of an iterable. `fail` makes a failure of what its iterator has thrown. */
export const ofIterable = <A, F>(items: Iterable<A>, fail: (error: unknown) => F): Source<A, F> =>
  isPlainArray(items) ? new ArraySource(items as ReadonlyArray<A>, fail) : new IterableSource(items, fail)
