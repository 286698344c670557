/**
 * Where a run gets its items from: an iterable here, a `Stream` in `streamSource.ts`, an async iterable in the facade. A
 * source is asked for one item at a time.
 */

/** The answer of `next`. */
export const Next = {
  /** An item; it is in `item`. */
  item: 0,
  /** Not known yet: `onReady` will be called. */
  pending: 1,
  /** The source is exhausted. */
  done: 2,
  /** The source has failed; the failure is in `failure`. Nothing more comes. */
  failed: 3
} as const

export type Next = (typeof Next)[keyof typeof Next]

export interface Source<out A, out F> {
  readonly item: A
  readonly failure: F
  /** Called when the answer to a pending `next` has come: another call of `next` returns it. */
  onReady: () => void
  /** Asks for the next item. Called neither while an answer is pending, nor after `done` or `failed`. */
  next(): Next
  /**
   * Ends the source early, as `for…of` does on `break`. Called at most once; has no effect on a source that has ended. Calls
   * `onClosed` at once or later, with a failure if closing has failed.
   */
  close(onClosed: (failure?: F) => void): void
  /** The work on an item is over, while the call continues: its task has ended, and is not retried. */
  settled?(): void
  /** The call ends early, and has not started the task of the item. Called before `close`; of several items, in their order. */
  giveBack?(item: A): void
}

/**
 * Items with a source of their own, such as a work queue. The copies of this package that a program has loaded can share them.
 *
 * Its name is not a constant, because bundlers keep a class whose computed names they cannot evaluate.
 */
export interface WithSource<out A> {
  readonly "~fibermeter/source": () => Source<A, never>
}

const ownSource: keyof WithSource<unknown> = "~fibermeter/source"

export const hasSource = (items: unknown): items is WithSource<unknown> =>
  typeof items === "object" && items !== null && ownSource in items

/** The source of items that have one of their own. */
export const sourceIn = <A>(items: unknown): Source<A, never> | undefined =>
  (items as Partial<WithSource<A>>)[ownSource]?.()

/** The result of an iterator, checked as `for…of` does: an iterator whose results are no objects would never end. */
export const resultOf = <A>(result: IteratorResult<A>): IteratorResult<A> => {
  if (typeof result === "object" && result !== null) return result
  throw new TypeError(`the iterator returned ${String(result)}, which is not an object`)
}

/** `fail` makes a failure of what the iterator throws. */
class IterableSource<A, F> implements Source<A, F> {
  item!: A
  failure!: F
  onReady!: () => void
  private readonly iterable: Iterable<A>
  private readonly fail: (error: unknown) => F
  private iterator: Iterator<A> | undefined
  private hasEnded = false
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
    // The iterator's `next` may end the call, and cannot be closed before it has returned.
    if (this.isAdvancing) this.onAdvanced = () => this.close(onClosed)
    else if (this.hasEnded) onClosed()
    else onClosed(this.closeIterator())
  }

  private advance(): Next {
    try {
      this.iterator ??= this.iterable[Symbol.iterator]()
      const result = resultOf(this.iterator.next())
      if (result.done === true) {
        this.hasEnded = true
        return Next.done
      }
      this.item = result.value
      return Next.item
    } catch (error) {
      this.hasEnded = true
      this.failure = this.fail(error)
      return Next.failed
    }
  }

  private closeIterator(): F | undefined {
    this.hasEnded = true
    try {
      this.iterator?.return?.()
      return undefined
    } catch (error) {
      return this.fail(error)
    }
  }
}

/** Does what the built-in iterator of arrays does, without its result objects. */
class ArraySource<A, F> implements Source<A, F> {
  item!: A
  failure!: F
  onReady!: () => void
  private readonly array: ReadonlyArray<A>
  private readonly fail: (error: unknown) => F
  private index = 0

  constructor(array: ReadonlyArray<A>, fail: (error: unknown) => F) {
    this.array = array
    this.fail = fail
  }

  next(): Next {
    try {
      // The length is read each time, as by an iterator: the array may grow or shrink meanwhile.
      if (this.index >= this.array.length) return Next.done
      this.item = this.array[this.index++]!
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

/** Whether it is an array with the built-in iterator. */
const isPlainArray = (items: unknown): items is ReadonlyArray<unknown> =>
  Array.isArray(items) && items[Symbol.iterator] === arrayIterator

const arrayIterator = Array.prototype[Symbol.iterator]

/** The source of an iterable. `fail` makes a failure of what its iterator throws. */
export const ofIterable = <A, F>(items: Iterable<A>, fail: (error: unknown) => F): Source<A, F> =>
  isPlainArray(items) ? new ArraySource(items as ReadonlyArray<A>, fail) : new IterableSource(items, fail)
