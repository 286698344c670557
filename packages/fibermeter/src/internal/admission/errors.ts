/**
 * The errors with which a meter of core refuses a start.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { once } from "../data/once.ts"
import { excessMessage, overloadMessage } from "./refusal.ts"
import type { Refusal } from "./refusal.ts"

/**
 * The schedule of a meter has come to its end: the meter admits nothing more.
 *
 * @category errors
 * @since 0.1.0
 */
export class ScheduleEnded extends Data.TaggedError("ScheduleEnded")<{
  /** What the schedule gave as its last output. */
  readonly output: unknown
}> {
  override readonly message = "the schedule behind this meter has ended: it admits no further start"
}

/**
 * A task costs more than a window allows in all, so waiting cannot help.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExcessiveCost extends Data.TaggedError("ExcessiveCost")<{
  /** The name of the window. */
  readonly window: string
  readonly cost: number
  readonly limit: number
}> {
  override get message(): string {
    return excessMessage(this)
  }
}

/**
 * A task needs more permits than its meter has in all, so waiting cannot help. A task that already waits is refused, too,
 * when `resize` lowers `maxAtOnce` below what it needs.
 *
 * @category errors
 * @since 0.1.0
 */
export class ExcessivePermits extends Data.TaggedError("ExcessivePermits")<{
  readonly permits: number
  /** The meter's `maxAtOnce`. */
  readonly limit: number
}> {
  override get message(): string {
    return excessMessage(this)
  }
}

/**
 * All permits of a meter are held by tasks whose own fibers wait for another permit of that same meter, so that none of
 * them can continue. A mistake in the program rather than something to recover from, hence a defect, of the last of
 * these waits.
 *
 * **Details**
 *
 * Refused are `Meter.metered`, `Meter.acquire`, `runOnEach`, `runAll` and `runAny`, called by the fiber that the task is. Any
 * other fiber can be interrupted while the task continues, by a timeout, a race, or a sibling that fails, and so it waits:
 * children, background fibers, concurrent effects, the tasks of a nested call, and what an `amap` stream starts. So do the
 * items of a call with a meter per item, which an item with other meters may end.
 *
 * @category errors
 * @since 0.1.0
 */
export class Deadlock extends Data.TaggedError("Deadlock")<{
  /** How many tasks hold permits and wait for others. */
  readonly held: number
}> {
  override get message(): string {
    const held =
      this.held === 1
        ? "the only permit of a meter is held by a task that waits for that same meter"
        : `all ${this.held} permits of a meter are held by tasks that wait for that same meter`
    return `${held}. Run what is inside without the meter, give it a meter of its own, or raise the limit`
  }
}

/**
 * The meter has been drained, or is about to be: it accepts no more tasks. A defect, since a program that drains a meter is
 * about to end. Tasks that were waiting or running when `Meter.drain` was called are not affected, nor are their nested
 * calls.
 *
 * @category errors
 * @since 0.1.0
 */
export class Closed extends Data.TaggedError("Closed") {
  override readonly message = "the meter is being drained, or is closed: it accepts no more tasks"
}

/**
 * The meter is overloaded: as many calls wait as its `maxWaiting` allows, or the task cannot start within its
 * `waitTimeout`.
 *
 * @category errors
 * @since 0.1.0
 */
export class Overloaded extends Data.TaggedError("Overloaded")<{
  readonly reason: "queue-full" | "wait-timeout"
  /**
   * How long to wait before the call would be accepted, if no other came before it. `None` if that depends on the end of a
   * task.
   */
  readonly retryAfter: Option.Option<Duration.Duration>
}> {
  override get message(): string {
    return overloadMessage(this)
  }
}

/** `Option.none()`, by an effect: it would be the only use of `effect/Option`, and importing a module takes longer. */
const none = /* @__PURE__ */ once(() => Effect.runSync(Effect.succeedNone))

/** A refusal as a cause. */
export const causeOf = (refusal: Refusal): Cause.Cause<any> => {
  switch (refusal._tag) {
    case "Failure":
      return refusal.cause as Cause.Cause<any>
    case "ExcessiveCost":
      return Cause.fail(new ExcessiveCost({ window: refusal.window, cost: refusal.cost, limit: refusal.limit }))
    case "ExcessivePermits":
      return Cause.fail(new ExcessivePermits({ permits: refusal.permits, limit: refusal.limit }))
    case "Overloaded": {
      const retryAfter = refusal.retryAfter === undefined ? none() : Duration.fromInput(refusal.retryAfter)
      return Cause.fail(new Overloaded({ reason: refusal.reason, retryAfter }))
    }
  }
}

/** A refusal with a cause. */
export const refusalOf = (cause: Cause.Cause<any>): Refusal => ({ _tag: "Failure", cause })

/** How a call is refused once a meter drains. */
export const closed = /* @__PURE__ */ once((): Refusal => refusalOf(Cause.die(new Closed())))
