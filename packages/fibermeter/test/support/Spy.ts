/**
 * What the tests record about tasks: their starts, how many ran at once, and their ends.
 *
 * A start is the moment `f` is called. A task counts as running from the first step of its effect until the last
 * finalizer that can be hung on it, so the peak is what the task itself would see.
 */
import { Effect, Exit } from "effect"
import type { Clock } from "effect"

export const ms = (n: number): bigint => BigInt(Math.round(n * 1_000_000))

export class Spy {
  /** The index of each task, in the order of their starts. */
  readonly started: Array<number> = []
  /** The instant of each start, in nanoseconds since the spy was made. */
  readonly starts: Array<bigint> = []
  /** The index of each task, in the order of their ends. */
  readonly ended: Array<number> = []
  readonly interrupted: Array<number> = []
  running = 0
  peak = 0
  private readonly clock: Clock.Clock
  private readonly origin: bigint

  constructor(clock: Clock.Clock) {
    this.clock = clock
    this.origin = clock.monotonicTimeNanosUnsafe()
  }

  static readonly make: Effect.Effect<Spy> = Effect.clockWith((clock) => Effect.sync(() => new Spy(clock)))

  /** Nanoseconds since the spy was made. */
  now(): bigint {
    return this.clock.monotonicTimeNanosUnsafe() - this.origin
  }

  /** Turns `body` into a task function that is watched. */
  watch<A, B, E, R>(
    body: (item: A, index: number) => Effect.Effect<B, E, R>
  ): (item: A, index: number) => Effect.Effect<B, E, R> {
    return (item, index) => {
      this.started.push(index)
      this.starts.push(this.now())
      return this.track(index, body(item, index))
    }
  }

  /** The same for an effect that is listed: it starts with its first step. */
  effect<B, E, R>(index: number, body: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> {
    return Effect.suspend(() => {
      this.started.push(index)
      this.starts.push(this.now())
      return this.track(index, body)
    })
  }

  /** A watched task function that takes `millis` and then gives its index. */
  lasting(millis: number): (item: unknown, index: number) => Effect.Effect<number> {
    return this.watch((_, index) => Effect.as(Effect.sleep(millis), index))
  }

  private track<B, E, R>(index: number, body: Effect.Effect<B, E, R>): Effect.Effect<B, E, R> {
    // The task may be interrupted between its start and this first step, so the end counts only what was counted in.
    let counted = false
    return Effect.onExit(
      Effect.suspend(() => {
        counted = true
        this.running++
        this.peak = Math.max(this.peak, this.running)
        return body
      }),
      (exit) =>
        Effect.sync(() => {
          if (!counted) return
          this.running--
          this.ended.push(index)
          if (Exit.hasInterrupts(exit)) this.interrupted.push(index)
        })
    )
  }
}

/** 0, 1, … n - 1 */
export const range = (n: number): Array<number> => Array.from({ length: n }, (_, index) => index)
