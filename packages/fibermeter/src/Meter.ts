/**
 * A `Meter` says when tasks may start, and learns when they end. It is what the options `maxAtOnce` and `maxPerSecond`
 * stand for, as a value: made once, passed to many calls by their option `meter`, and then holding for all of them
 * together, as the limits of an API hold for a whole program.
 *
 * A meter queues whoever asks, first come, first served. It does not run anything by itself, and needs no scope: what
 * nobody waits for costs nothing. It has nothing to do with OpenTelemetry's meters, which count.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Pipeable, Predicate, Schedule } from "effect"
import type { Semaphore } from "effect"
import { dual } from "effect/Function"
import * as check from "./internal/check.ts"
import { inOrder, Ticket } from "./internal/gate.ts"
import type { Gate } from "./internal/gate.ts"
import * as Host from "./internal/host.ts"
import { LimitGate } from "./internal/limitGate.ts"
import { Pace } from "./internal/pace.ts"
import { ScheduleGate } from "./internal/scheduleGate.ts"
import type { ScheduleEnded } from "./internal/scheduleGate.ts"
import { SemaphoreGate } from "./internal/semaphoreGate.ts"
import { Timeline } from "./internal/timeline.ts"

export { ScheduleEnded } from "./internal/scheduleGate.ts"

const TypeId = "~fibermeter/Meter"

/**
 * Admits the start of tasks and learns of their end. `E` is how admission itself can fail and `R` what it needs; both
 * are `never` for all meters but those made by `fromSchedule`, and reach the types of the calls that use the meter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Meter<out E = never, out R = never> extends Pipeable.Pipeable {
  readonly [TypeId]: {
    readonly _E: (_: never) => E
    readonly _R: (_: never) => R
  }
}

/** What a meter is inside. */
interface Gated {
  readonly gates: ReadonlyArray<Gate>
}

/**
 * The limits a meter can have; every verb has them as options, too. One that is left out, `undefined` or `Infinity`
 * does not limit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** The most tasks that run at the same time: a whole number, at least 1. */
  readonly maxAtOnce?: number | undefined
  /**
   * The most tasks that start in a second: a number greater than 0. Starts are spread evenly; 0.2 is one every 5 s.
   * A fraction counts over a longer time: 2.5 is at most two in any 0.8 s.
   */
  readonly maxPerSecond?: number | undefined
  /**
   * With `maxPerSecond`: how many tasks may start together after a time in which none waited. A whole number, at least
   * 1, which is the default.
   */
  readonly maxBurst?: number | undefined
}

const Proto = { ...Pipeable.Prototype, [TypeId]: {}, toString: () => "Meter" }

const fromGates = <E = never, R = never>(gates: ReadonlyArray<Gate>): Meter<E, R> =>
  Object.assign(Object.create(Proto), { gates: inOrder(gates) } satisfies Gated)

/**
 * Whether a value is a `Meter`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isMeter = (u: unknown): u is Meter<unknown, unknown> => Predicate.hasProperty(u, TypeId)

/** @internal */
export const gatesOf = (meter: Meter<any, any>): ReadonlyArray<Gate> => (meter as Meter & Gated).gates

/**
 * Makes a meter.
 *
 * **Details**
 *
 * Dies with a `Cause.IllegalArgumentError` if a limit is not what it has to be. All limits of one meter are taken
 * together, in one step: nobody holds a place among `maxAtOnce` while waiting for `maxPerSecond`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter, runAll } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   // One meter for all that talks to this API.
 *   const api = yield* Meter.make({ maxAtOnce: 8, maxPerSecond: 1000 })
 *   const [users, orders] = yield* Effect.all(
 *     [
 *       runAll([1, 2, 3], (id) => Effect.succeed(`user ${id}`), { meter: api }),
 *       runAll([7, 8], (id) => Effect.succeed(`order ${id}`), { meter: api })
 *     ],
 *     { concurrency: "unbounded" }
 *   )
 *   return [...users, ...orders]
 * })
 *
 * await Effect.runPromise(program) // => ["user 1", "user 2", "user 3", "order 7", "order 8"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (limits: Limits): Effect.Effect<Meter> =>
  Effect.clockWith((clock) => {
    const problem = check.options(check.limits, limits)
    return problem === undefined
      ? Effect.succeed(fromGates([new LimitGate(limits, clock)]))
      : Effect.die(new Cause.IllegalArgumentError(problem.message))
  })

/**
 * Makes a meter outside of Effect, for instance as a constant of a module. Throws a `Cause.IllegalArgumentError` if a
 * limit is not what it has to be.
 *
 * @example
 * ```ts
 * import { Meter } from "fibermeter"
 *
 * export const api = Meter.makeUnsafe({ maxAtOnce: 8, maxPerSecond: 20 })
 *
 * Meter.isMeter(api) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = (limits: Limits): Meter => {
  const problem = check.options(check.limits, limits)
  if (problem !== undefined) throw new Cause.IllegalArgumentError(problem.message)
  return fromGates([new LimitGate(limits, Context.get(Context.empty(), Clock.Clock))])
}

/**
 * Makes a meter of an Effect `Semaphore`: each task holds one of its permits while it runs.
 *
 * **When to use**
 *
 * Use it where a limit exists as a semaphore already, which others take permits from directly. For a limit of your
 * own, `make` does the same at a lower cost.
 *
 * **Details**
 *
 * However many tasks wait at this meter, it is one waiter in the semaphore's own queue, on equal terms with the others
 * there. Combined with other meters, the semaphore is asked last.
 *
 * @example
 * ```ts
 * import { Effect, Semaphore } from "effect"
 * import { Meter, runAll } from "fibermeter"
 *
 * const connections = Semaphore.makeUnsafe(2)
 * const query = (id: number) => Effect.succeed(`row ${id}`)
 *
 * await Effect.runPromise(runAll([1, 2, 3], query, { meter: Meter.fromSemaphore(connections) })) // => ["row 1", "row 2", "row 3"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSemaphore = (semaphore: Semaphore.Semaphore): Meter => fromGates([new SemaphoreGate(semaphore)])

/**
 * Makes a meter of any Effect `Schedule`: it is stepped at each start, and the delay that it gives is the least time
 * to the next start.
 *
 * **Details**
 *
 * The schedule's errors are errors of the meter, and what it needs is taken from whoever starts a task. A schedule
 * that comes to its end ends the meter: whoever asks for a start then fails with `ScheduleEnded`.
 *
 * **Gotchas**
 *
 * A schedule counts from the start that really happened, so the lateness of every timer adds up. To hold a rate, use
 * `make` with `maxPerSecond`.
 *
 * @example
 * ```ts
 * import { Effect, Schedule } from "effect"
 * import { Meter, runAll } from "fibermeter"
 *
 * const meter = Meter.fromSchedule(Schedule.spaced("5 millis"))
 *
 * await Effect.runPromise(runAll(["a", "b"], (s) => Effect.succeed(s), { meter })) // => ["a", "b"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSchedule = <Output, E, R>(
  schedule: Schedule.Schedule<Output, unknown, E, R>
): Meter<E | ScheduleEnded, R> => fromGates([new ScheduleGate(schedule)])

/**
 * The pacing behind `maxPerSecond` as a `Schedule`, to be used with Effect's own operators. Stepped at a start, its
 * delay is the time to the next one; its output is the number of starts so far.
 *
 * **Gotchas**
 *
 * `Effect.repeat` and the like sleep for the delay and do not look at the clock again, so a timer that fires early
 * makes a start come early. That a window never holds more than its limit is promised for meters only.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * let ticks = 0
 * const tick = Effect.sync(() => ++ticks)
 * // Five ticks, 500 a second.
 * await Effect.runPromise(
 *   Effect.repeat(tick, { schedule: Meter.pacing({ maxPerSecond: 500 }), times: 4 })
 * )
 * console.log(ticks) // => 5
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const pacing = (limits: {
  readonly maxPerSecond: number
  readonly maxBurst?: number | undefined
}): Schedule.Schedule<number> =>
  Schedule.fromStep(
    Effect.sync(() => {
      const problem = check.options(check.limits, limits)
      if (problem !== undefined) throw new Cause.IllegalArgumentError(problem.message)
      const pace = new Pace(limits.maxPerSecond, limits.maxBurst ?? 1)
      let time: Timeline | undefined
      let starts = 0
      return () =>
        Effect.clockWith((clock) => {
          time ??= new Timeline(clock, (delta) => pace.shift(delta))
          time.look()
          pace.turn("paced", time.now)
          pace.start(time.now)
          const delay = Math.max(0, pace.due() - time.now)
          return Effect.succeed<[number, Duration.Duration]>([++starts, Duration.nanos(BigInt(delay))])
        })
    })
  )

/**
 * Runs one effect as a task of a meter: waits for its start, and tells the meter of its end, whichever it is.
 *
 * **Details**
 *
 * Waiting can be interrupted, and costs those behind nothing. The effect runs in the same fiber.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const api = Meter.makeUnsafe({ maxAtOnce: 1 })
 * const ping = Effect.succeed("pong")
 *
 * await Effect.runPromise(Meter.metered(ping, api)) // => "pong"
 * await Effect.runPromise(ping.pipe(Meter.metered(api))) // => "pong"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const metered: {
  <ME, MR>(meter: Meter<ME, MR>): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ME, R | MR>
  <A, E, R, ME, MR>(effect: Effect.Effect<A, E, R>, meter: Meter<ME, MR>): Effect.Effect<A, E | ME, R | MR>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, ME, MR>(effect: Effect.Effect<A, E, R>, meter: Meter<ME, MR>): Effect.Effect<A, E | ME, R | MR> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(admission(meter, restore), (ticket) =>
        Effect.onExit(restore(effect), () => Effect.sync(() => ticket.leave()))
      )
    )
)

/**
 * Takes a start by hand. The effect waits until the meter admits it and gives the release, which is to be run when
 * what was started has ended; running it again does nothing.
 *
 * **When to use**
 *
 * Use it where start and end do not lie in one effect. Everywhere else, `metered` cannot forget the release.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxAtOnce: 1 })
 *   const release = yield* Meter.acquire(api)
 *   const inUse = "the connection"
 *   yield* release
 *   return inUse
 * })
 *
 * await Effect.runPromise(program) // => "the connection"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const acquire = <E, R>(meter: Meter<E, R>): Effect.Effect<Effect.Effect<void>, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.map(admission(meter, restore), (ticket) => {
      let isHeld = true
      return Effect.sync(() => {
        if (isHeld) ticket.leave()
        isHeld = false
      })
    })
  )

/**
 * Waits, in a way that can be interrupted, for a ticket that has been admitted. To be run in an uninterruptible
 * region, whose `restore` is passed, so that whoever gets the ticket can see to its `leave`.
 */
const admission = <E, R>(
  meter: Meter<E, R>,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<Ticket, E, R> =>
  Effect.withFiber((fiber): Effect.Effect<Ticket, E, R> => {
    const ticket = new FiberTicket(Host.ofFiber(fiber), gatesOf(meter))
    const wait = Effect.callback<void, E>((resume) => ticket.await(resume))
    // Not left to the callback's own finalizer: interrupted after it was admitted, it has a start to give back.
    const admitted = Effect.onExit(restore(wait), (exit) =>
      Exit.isSuccess(exit) ? Effect.void : Effect.sync(() => ticket.giveUp())
    )
    // Past half of its share of steps, a fiber might be made to yield between its start and the task's first step.
    const isNearYield = fiber.currentOpCount > fiber.cache.maxOpsBeforeYield / 2
    return Effect.as(isNearYield ? Effect.andThen(Effect.yieldNow, admitted) : admitted, ticket)
  })

/** The ticket of a fiber that wants one start. */
class FiberTicket extends Ticket {
  private isAdmitted = false
  private resume: ((effect: Effect.Effect<void, any>) => void) | undefined

  constructor(host: Host.Host, gates: ReadonlyArray<Gate>) {
    // A fiber keeps its async context by itself.
    super(host, gates, false)
  }

  await(resume: (effect: Effect.Effect<void, any>) => void): void {
    this.resume = resume
    if (this.request()) this.admitted()
  }

  giveUp(): void {
    if (this.isAdmitted) this.leave()
    else this.cancel()
  }

  protected override admitted(): void {
    this.isAdmitted = true
    this.resume!(Effect.void)
    this.started()
    this.rest()
  }

  protected override refused(cause: Cause.Cause<any>): void {
    this.resume!(Effect.failCause(cause))
  }
}
