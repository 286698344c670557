/**
 * The gate of an Effect `Schedule`: it is stepped at each start, and its delay is the least time to the next.
 */
import { Cause, Data, Duration, Effect, Exit, Pull, Schedule } from "effect"
import type { Clock } from "effect"
import { Gate } from "./gate.ts"
import type { Ticket } from "./gate.ts"
import type { Host } from "./host.ts"
import { Timeline } from "./timeline.ts"

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
  override readonly message = "the schedule behind this meter has ended, it admits no further start"
}

type Step<E, R> = (now: number, input: unknown) => Pull.Pull<[unknown, Duration.Duration], E, unknown, R>

export class ScheduleGate<E, R> extends Gate {
  readonly capacity = Infinity
  private readonly schedule: Schedule.Schedule<unknown, unknown, E, R>
  private step: Step<E, R> | undefined
  /** `Infinity` while the schedule makes up its mind. */
  private opens = -Infinity
  private time: Timeline | undefined

  constructor(schedule: Schedule.Schedule<unknown, unknown, E, R>) {
    super()
    this.schedule = schedule
  }

  protected get now(): number {
    return this.time!.now
  }

  protected get clock(): Clock.Clock {
    return this.time!.clock
  }

  protected opensAt(ticket: Ticket): number {
    this.time ??= new Timeline(ticket.host.clock, (delta) => {
      this.opens += delta
    })
    if (this.isEmpty()) this.time.follow(ticket.host.clock)
    this.time.look()
    return this.opens
  }

  take(ticket: Ticket): number {
    const at = this.time!.now
    this.opens = Infinity
    const stepped = ticket.host.fork(this.stepped(ticket.host))
    stepped.addObserver((exit) => {
      if (Exit.isSuccess(exit)) {
        this.opens = at + Math.ceil(Duration.toMillis(exit.value) * 1_000_000)
      } else {
        const done = Pull.doneExitFromCause(exit.cause)
        this.broken = Exit.isSuccess(done) ? Cause.fail(new ScheduleEnded({ output: done.value })) : done.cause
      }
      this.wake()
    })
    return 0
  }

  settle(): void {}
  leave(): void {}
  protected hold(): void {}
  protected rest(): void {}

  /** One step of the schedule, whose first one makes the stepping function, in the context of who started a task. */
  private stepped(host: Host): Effect.Effect<Duration.Duration, E | Cause.Done<unknown>, R> {
    const step: Effect.Effect<Step<E, R>, never, R> =
      this.step === undefined
        ? Effect.map(Schedule.toStep(this.schedule), (made) => (this.step = made))
        : Effect.succeed(this.step)
    return Effect.flatMap(step, (next) =>
      Effect.map(next(host.clock.currentTimeMillisUnsafe(), undefined), ([, delay]) => delay)
    )
  }
}
