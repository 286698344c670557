/**
 * The limiter of an Effect `Schedule`: it is stepped at each start, and its delay is the least time to the next.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type * as Pull from "effect/Pull"
import { refusalOf, ScheduleEnded } from "../admission/errors.ts"
import { Limiter } from "../admission/limiter.ts"
import { sharing } from "./sharing.ts"
import type { Waiter } from "../admission/types.ts"
import { fail } from "../admission/waiters.ts"
import { asFiberHost } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"

type Step<E, R> = (now: number, input: unknown) => Pull.Pull<[unknown, Duration.Duration], E, unknown, R>

export class ScheduleLimiter<E, R> extends Limiter {
  override readonly sharing = sharing
  readonly capacity = Infinity
  readonly names: Iterable<string> = []
  readonly isTimed = true
  private readonly schedule: Schedule.Schedule<unknown, unknown, E, R>
  private step: Step<E, R> | undefined
  /** `Infinity` while a step of the schedule runs. */
  private opens = -Infinity

  constructor(schedule: Schedule.Schedule<unknown, unknown, E, R>) {
    super()
    this.schedule = schedule
  }

  opensAt(_waiter: Waiter, kept: ReadonlyArray<Waiter>): number {
    // When it opens after one more start is known only when the schedule has been stepped.
    return kept.length > 0 ? Infinity : this.opens
  }

  nextOpening(): number {
    return this.opens
  }

  take(waiter: Waiter): void {
    const at = this.time.now
    this.opens = Infinity
    const host = asFiberHost(waiter.host)
    const stepped = host.fork(this.stepped(host))
    stepped.addObserver((exit) => {
      if (Exit.isSuccess(exit)) {
        this.opens = at + Math.ceil(Duration.toMillis(exit.value) * 1_000_000)
        this.wake()
      } else {
        fail(this, refusalOf(Cause.map(exit.cause, withoutDone)))
      }
    })
  }

  override shiftTime(delta: number): void {
    this.opens += delta
  }

  /** One step of the schedule, in the context of the caller that starts a task. The first one makes the stepping function. */
  private stepped(host: FiberHost): Effect.Effect<Duration.Duration, E | Cause.Done<unknown>, R> {
    const step: Effect.Effect<Step<E, R>, never, R> = this.step === undefined
      ? Effect.map(Schedule.toStep(this.schedule), (made) => (this.step = made))
      : Effect.succeed(this.step)
    return Effect.flatMap(step, (next) =>
      Effect.map(next(host.clock.currentTimeMillisUnsafe(), undefined), ([, delay]) => delay)
    )
  }
}

/** The end of a schedule, which for the schedule itself is no failure, as the error that callers see. */
const withoutDone = <E>(error: E | Cause.Done<unknown>): E | ScheduleEnded =>
  Cause.isDone(error) ? new ScheduleEnded({ output: error.value }) : error
