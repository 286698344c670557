/**
 * The source that a Stream is: one fiber runs it and hands over a chunk at a time, and is only let go on when an item
 * beyond that chunk is wanted.
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
  /** Lets the stream go on to its next chunk. */
  private goOn: (() => void) | undefined
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
    // A run asks for an item before it does anything else.
    const fiber = this.fiber!
    fiber.addObserver((exit) => {
      const failure = Exit.isFailure(exit) ? withoutInterrupts(exit.cause) : undefined
      onClosed(failure)
    })
    fiber.interruptUnsafe()
  }

  private ask(): void {
    this.isAsking = true
    if (this.fiber === undefined) this.begin()
    // Once begun, the stream is either ahead of us, where it has set `goOn`, or at work on what was asked for.
    else this.goOn?.()
    this.isAsking = false
  }

  private begin(): void {
    this.fiber = this.host.fork(
      Stream.runForEachArray(this.stream, (chunk) =>
        Effect.callback<void>((resume) => {
          this.chunk = chunk
          this.position = 0
          this.goOn = () => {
            this.goOn = undefined
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

/** What is left of a cause if having been interrupted does not count; `undefined` if nothing is. */
export const withoutInterrupts = <E>(cause: Cause.Cause<E>): Cause.Cause<E> | undefined => {
  const reasons = cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
  return reasons.length === 0 ? undefined : Cause.fromReasons(reasons)
}
