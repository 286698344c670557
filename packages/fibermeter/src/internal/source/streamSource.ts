/**
 * A `Stream` as a source. One fiber runs the stream. It waits after each chunk until an item beyond that chunk is asked for.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as Fiber from "effect/Fiber"
import type { FiberHost } from "../runtime/fiberHost.ts"
import { Next } from "./source.ts"
import type { Source } from "./source.ts"

export class StreamSource<A, E> implements Source<A, Cause.Cause<E>> {
  item!: A
  failure!: Cause.Cause<E>
  onReady!: () => void
  private readonly stream: Stream.Stream<A, E, any>
  private readonly host: FiberHost
  private fiber: Fiber.Fiber<void, E> | undefined
  private chunk: ReadonlyArray<A> = []
  private position = 0
  /** Resumes the stream, which waits after a chunk. */
  private resume: (() => void) | undefined
  private exit: Exit.Exit<void, E> | undefined
  private isAsking = false

  constructor(stream: Stream.Stream<A, E, any>, host: FiberHost) {
    this.stream = stream
    this.host = host
  }

  next(): Next {
    if (this.position === this.chunk.length && this.exit === undefined) this.ask()
    if (this.position < this.chunk.length) {
      this.item = this.chunk[this.position++]!
      return Next.item
    }
    if (this.exit === undefined) return Next.pending
    if (Exit.isSuccess(this.exit)) return Next.done
    this.failure = this.exit.cause
    return Next.failed
  }

  close(onClosed: (failure?: Cause.Cause<E>) => void): void {
    const { fiber } = this
    // There was no room on the stack to begin the stream.
    if (fiber === undefined) return onClosed()
    fiber.addObserver((exit) => {
      const failure = Exit.isFailure(exit) ? withoutInterrupts(exit.cause) : undefined
      onClosed(failure)
    })
    fiber.interruptUnsafe()
  }

  private ask(): void {
    this.isAsking = true
    if (this.fiber === undefined) this.begin()
    // The stream waits after a chunk, or is still producing the one that was asked for.
    else this.resume?.()
    this.isAsking = false
  }

  private begin(): void {
    this.fiber = this.host.fork(
      Stream.runForEachArray(this.stream, (chunk) =>
        Effect.callback<void>((resume) => {
          this.chunk = chunk
          this.position = 0
          this.resume = () => {
            this.resume = undefined
            resume(Effect.void)
          }
          this.answer()
        })
      )
    )
    this.fiber.addObserver((exit) => {
      this.exit = exit
      this.answer()
    })
  }

  private answer(): void {
    if (!this.isAsking) this.onReady()
  }
}

/** The cause without its interruptions; `undefined` if it has no other reasons. */
export const withoutInterrupts = <E>(cause: Cause.Cause<E>): Cause.Cause<E> | undefined => {
  const reasons = cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
  return reasons.length === 0 ? undefined : Cause.fromReasons(reasons)
}
