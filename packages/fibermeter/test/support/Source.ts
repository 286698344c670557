/** Sources that count the calls of their methods. */
import { Cause, Effect, Stream } from "effect"

/** An iterable of `size` items (Infinity allowed) that counts its pulls and closings. `at` may throw. */
export class Source<A> implements Iterable<A> {
  /** How often an iterator was requested. */
  opened = 0
  /** How often `next()` was called. */
  pulls = 0
  /** How often `return()` was called. */
  closed = 0
  /** Whether `next()` said done, or threw: nothing may be asked of it any more. */
  over = false
  /** Calls of `next()` after it was over or closed. */
  disturbed = 0
  private readonly size: number
  private readonly at: (index: number) => A

  constructor(size: number, at: (index: number) => A) {
    this.size = size
    this.at = at
  }

  static indices(size: number): Source<number> {
    return new Source(size, (index) => index)
  }

  [Symbol.iterator](): Iterator<A> {
    this.opened++
    let index = 0
    return {
      next: () => {
        if (this.over || this.closed > 0) this.disturbed++
        this.pulls++
        if (index >= this.size) {
          this.over = true
          return { done: true, value: undefined }
        }
        try {
          return { done: false, value: this.at(index++) }
        } catch (error) {
          this.over = true
          throw error
        }
      },
      return: () => {
        this.closed++
        return { done: true, value: undefined }
      }
    }
  }

  /** How often `for…of` would have closed it by now, the loop being left. */
  get closings(): number {
    return this.opened === 1 && !this.over ? 1 : 0
  }

  /** Items handed out. */
  get handed(): number {
    return this.over ? this.pulls - 1 : this.pulls
  }
}

/** A stream of chunks that counts its pulls and closings; `at` gives the chunk of an index, or undefined at the end. */
export class StreamSource<A, E = never> {
  opened = 0
  pulls = 0
  closed = 0
  readonly stream: Stream.Stream<A, E>

  constructor(
    at: (index: number) => Effect.Effect<readonly [A, ...Array<A>], E> | undefined,
    onClose: Effect.Effect<void> = Effect.void
  ) {
    this.stream = Stream.fromPull(
      Effect.sync(() => {
        this.opened++
        let index = 0
        return Effect.suspend((): Effect.Effect<readonly [A, ...Array<A>], E | Cause.Done> => {
          this.pulls++
          return at(index++) ?? Cause.done()
        })
      })
    ).pipe(
      Stream.ensuring(
        Effect.andThen(
          onClose,
          Effect.sync(() => {
            this.closed++
          })
        )
      )
    )
  }

  /** `size` items from 0, `perChunk` at a time. */
  static indices(size: number, perChunk = 1): StreamSource<number> {
    return new StreamSource((index) => {
      const from = index * perChunk
      if (from >= size) return undefined
      const rest = Array.from({ length: Math.min(perChunk, size - from) - 1 }, (_, n) => from + n + 1)
      return Effect.succeed<readonly [number, ...Array<number>]>([from, ...rest])
    })
  }
}
