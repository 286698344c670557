/**
 * A `Meter` admits the start of tasks and is notified of their end. It has the limits that are options of the verbs, such as
 * `maxAtOnce` and `maxPerSecond`, as a value. Calls that have the same meter as their option `meter` share its limits, as all
 * of a program shares the limits of an API.
 *
 * Waiters are served first come, first served, unless they have priorities or lanes. A meter runs no fiber and needs no scope.
 * It is not related to OpenTelemetry's meters.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Config from "effect/Config"
import type * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type * as Pipeable from "effect/Pipeable"
import type * as Semaphore from "effect/Semaphore"
import { once } from "./internal/data/once.ts"
import { accept, attempt } from "./internal/input/accept.ts"
import { times } from "./internal/call/verbCall.ts"
import * as check from "./internal/input/validate.ts"
import { closed } from "./internal/admission/errors.ts"
import type { ExcessiveCost, ExcessivePermits, Overloaded, ScheduleEnded } from "./internal/admission/errors.ts"
import { FiberRequest, yieldBefore } from "./internal/admission/fiberRequest.ts"
import type { Ask } from "./internal/admission/fiberRequest.ts"
import { stopAccepting } from "./internal/admission/followers.ts"
import { whenIdle } from "./internal/admission/idleness.ts"
import { inOrder, namesOf, limitersTogether } from "./internal/admission/limiter.ts"
import type { Limiter } from "./internal/admission/limiter.ts"
import { CopyId, limitersOf, isAnyMeter, hasLimiters, meterCheck, TypeId } from "./internal/meter/meterLimiters.ts"
import type { WithLimiters } from "./internal/meter/meterLimiters.ts"
import { correct as correctHolding, fencingTokenOf } from "./internal/admission/reservation.ts"
import type { WaitLimits } from "./internal/admission/overload.ts"
import type { Cost, Reservation } from "./internal/admission/reservation.ts"
import { ofFiber } from "./internal/runtime/fiberHost.ts"
import type { FiberHost } from "./internal/runtime/fiberHost.ts"
import { dual, dualOfTwo, pipeable } from "./internal/runtime/pipeable.ts"
import { MeterStore, StoreError } from "./MeterStore.ts"
import { KeyedLimiters } from "./internal/meter/keyedLimiters.ts"
import { reconcile as reconcileWindows } from "./internal/meter/reconcile.ts"
import { changed, nanosOf } from "./internal/input/limits.ts"
import { CurrentTask, throwIfClosed } from "./internal/admission/taskScope.ts"
import { catchUp, gcraOf } from "./internal/limits/gcra.ts"
import { rateLimitsOf as readRateLimits } from "./internal/input/rateLimits.ts"
import { reportCheck } from "./internal/input/report.ts"
import { retryAfter as readRetryAfter } from "./internal/input/retryAfter.ts"
import { ScheduleLimiter } from "./internal/limits/scheduleLimiter.ts"
import { MeterMetrics, NamedLimiter } from "./internal/meter/namedLimiter.ts"
import { isKey, nameOfKey } from "./internal/limits/externalLimiter.ts"
import { makeStoreLimiter } from "./internal/meter/storeLimiter.ts"
import type { StoreLimiter } from "./internal/meter/storeLimiter.ts"
import { SharedLimiter } from "./internal/limits/sharedLimiter.ts"
import { SemaphoreLimiter } from "./internal/limits/semaphoreLimiter.ts"
import { snapshotOf } from "./internal/meter/snapshot.ts"
import { Timeline } from "./internal/runtime/timeline.ts"

export {
  Closed,
  Deadlock,
  ExcessiveCost,
  ExcessivePermits,
  Overloaded,
  ScheduleEnded
} from "./internal/admission/errors.ts"

/**
 * Admits the start of tasks and is notified of their end. `E` is how admission itself can fail and `R` what it needs; both
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

/**
 * Any meter, whatever it fails with or needs.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyMeter = Meter<any, any>

/**
 * One meter or several: what the option `meter` takes.
 *
 * @category models
 * @since 0.1.0
 */
export type Meters = AnyMeter | ReadonlyArray<AnyMeter>

/**
 * The errors that meters bring into a call.
 *
 * @category models
 * @since 0.1.0
 */
export type MeterError<M> =
  M extends Meter<infer E, any> ? E : M extends ReadonlyArray<infer Each> ? MeterError<Each> : never

/**
 * The errors that meters bring into a call of a verb. A verb is never refused because of overload: its items wait.
 *
 * @category models
 * @since 0.1.0
 */
export type VerbMeterError<M> = Exclude<MeterError<M>, Overloaded>

/**
 * The services that meters bring into a call.
 *
 * @category models
 * @since 0.1.0
 */
export type MeterServices<M> =
  M extends Meter<any, infer R> ? R : M extends ReadonlyArray<infer Each> ? MeterServices<Each> : never

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
   * A fraction counts over a longer time: 2.5 is at most two in any 0.8 s. After a start that was late, the next gap may be
   * up to 10 ms shorter: for a minimum time between two starts, use a window with `limit: 1`.
   */
  readonly maxPerSecond?: number | undefined
  /**
   * With `maxPerSecond`: how many tasks may start together after a time in which none waited. A whole number, at least
   * 1, which is the default.
   */
  readonly maxBurst?: number | undefined
  /**
   * Limits over windows of time, by names of your own: in any window of length `per`, wherever it is laid, at most
   * `limit` tasks start or, where tasks have a `cost`, at most `limit` is spent. `limit` is a whole number, at least 1;
   * `per` is a duration, a plain number being milliseconds.
   */
  readonly windows?: { readonly [name: string]: Window | undefined } | undefined
}

/**
 * The limits a meter can have: beside those that verbs also have, limits on how many calls of `metered` and `acquire` may
 * wait, and for how long. A call that is refused fails with `Overloaded`.
 *
 * The items of verbs are neither counted nor refused: a verb pulls an item only when it can wait for its start.
 *
 * @category models
 * @since 0.1.0
 */
export interface MeterLimits extends Limits {
  /** The most calls that wait at the same time: a whole number, at least 0. One more is refused at once. */
  readonly maxWaiting?: number | undefined
  /**
   * How long a call may wait. It is refused at once if the rate and the windows cannot admit it in time, counting the calls
   * that wait before it; otherwise when the time is up. The time that a task runs does not count.
   */
  readonly waitTimeout?: Duration.Input | undefined
  /**
   * Which call is refused if `maxWaiting` wait already: the new one, whatever its priority (`"refuse"`, the default), or the
   * one that has waited longest among those of the lowest priority (`"dropOldest"`); the new one if all others have a higher
   * priority.
   */
  readonly overflow?: "refuse" | "dropOldest" | undefined
}

/**
 * The name of a meter, for metrics and spans.
 *
 * @example
 * ```ts
 * import { Effect, Metric } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ name: "translator", maxAtOnce: 8 })
 *   yield* Meter.metered(Effect.succeed("bonjour"), api)
 *   const started = (yield* Metric.snapshot).find(({ id }) => id === "fibermeter_started")
 *   return started?.attributes
 * })
 *
 * const own = Effect.provideService(program, Metric.MetricRegistry, new Map())
 * await Effect.runPromise(own) // => { meter: "translator" }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Naming {
  /**
   * Names the meter in Effect's metrics `fibermeter_running`, `fibermeter_waiting`, `fibermeter_started`,
   * `fibermeter_refused` and `fibermeter_wait_time`, as their attribute `meter`, and in the spans `fibermeter.wait` and
   * `fibermeter.run` of each task, as their attribute `fibermeter.meter`. A meter without a name has neither.
   */
  readonly name?: string | undefined
}

/** Without limits on waiting. */
type Patient = Limits & { readonly maxWaiting?: undefined; readonly waitTimeout?: undefined }

/** The options of a meter without limits on waiting. */
type PatientLimits = Patient & Naming

/**
 * A limit over any window of time of that length.
 *
 * @category models
 * @since 0.1.0
 */
export interface Window {
  readonly limit: number
  readonly per: Duration.Input
}

/**
 * What a task costs, by the names of windows. A window that is not named costs 1.
 *
 * @category models
 * @since 0.1.0
 */
export type { Cost }

/** Durations as milliseconds. */
type CheckedLimits = Limits & WaitLimits

const limitChecks = /* @__PURE__ */ once(() => check.meterLimits(times()))

const readLimits = (limits: unknown): CheckedLimits => accept(check.required(limitChecks(), limits)) as CheckedLimits

const optionChecks = /* @__PURE__ */ once((): check.Checks => ({ ...limitChecks(), name: check.name }))

/** A function that makes limiters for a meter, or for a family of meters. */
const readOptions = (options: unknown): ((changes?: CheckedLimits) => SharedLimiter) => {
  const made = accept(check.required(optionChecks(), options)) as CheckedLimits & Naming
  const metrics = made.name === undefined ? undefined : new MeterMetrics(made.name)
  return (changes) => {
    const limits = changes === undefined ? made : changed<CheckedLimits>(made, changes)
    return metrics === undefined ? new SharedLimiter(limits) : new NamedLimiter(limits, metrics)
  }
}

/** The limiters of what has to be a meter, to be asked for at each use. */
const readMeter = (meter: unknown): (() => ReadonlyArray<Limiter>) => {
  const gated = accept(meterCheck("the meter", meter)) as WithLimiters
  return () => limitersOf(gated)
}

/**
 * An effect that uses arguments which are read now; what is wrong with them is its defect. It runs in the fiber that
 * runs it.
 */
const reading = <T, A, E, R>(
  read: () => T,
  use: (value: T, fiber: Fiber.Fiber<any, any>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const value = attempt(read)
  return Exit.isFailure(value) ? Effect.failCause(value.cause) : Effect.withFiber((fiber) => use(value.value, fiber))
}

/** Whether a dual function whose last argument is optional has been called data-first. */
const startsWithMeter = (args: ReadonlyArray<unknown>): boolean => args.length > 1 || isAnyMeter(args[0])

const Proto = { ...pipeable, [TypeId]: {}, [CopyId]: true }

const ofLimiters = <E = never, R = never>(limiters: ReadonlyArray<Limiter>): Meter<E, R> =>
  Object.assign(Object.create(Proto), { limiters: inOrder(limiters) } satisfies WithLimiters)

/** A meter whose limiters are asked for at each use, since those of a key may have been dropped and made anew. */
const ofLimitersAtUse = <E = never, R = never>(limiters: () => ReadonlyArray<Limiter>): Meter<E, R> =>
  Object.create(Proto, { limiters: { get: () => inOrder(limiters()) } })

/**
 * Whether a value is a `Meter`, made by this copy of the package where a program has loaded several.
 *
 * @category guards
 * @since 0.1.0
 */
export const isMeter = (u: unknown): u is Meter<unknown, unknown> => hasLimiters(u)

/**
 * Makes a meter.
 *
 * **Details**
 *
 * Dies with a `Cause.IllegalArgumentError` if a limit is not what it has to be. All limits of one meter are taken
 * together, in one step: no task holds a permit of `maxAtOnce` while it waits for `maxPerSecond`.
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
export const make: {
  /**
   * Makes a meter. Dies with a `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  (limits: PatientLimits): Effect.Effect<Meter>
  /**
   * Makes a meter that refuses calls with `Overloaded` if too many wait, or wait too long. Dies with a
   * `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  (limits: MeterLimits & Naming): Effect.Effect<Meter<Overloaded>>
} = (limits: MeterLimits & Naming): Effect.Effect<Meter> =>
  Effect.map(
    attempt(() => readOptions(limits)),
    (make) => ofLimiters([make()])
  )

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
export const makeUnsafe: {
  /**
   * Makes a meter outside of Effect. Throws a `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  (limits: PatientLimits): Meter
  /**
   * Makes a meter outside of Effect that refuses calls with `Overloaded` if too many wait, or wait too long. Throws a
   * `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  (limits: MeterLimits & Naming): Meter<Overloaded>
} = (limits: MeterLimits & Naming): Meter => ofLimiters([readOptions(limits)()])

/**
 * Makes a meter that is shared by all processes with the same store and name. Its limits on tasks at once, starts per second and
 * windows are counted over all of them.
 *
 * **Details**
 *
 * All processes must have the same limits: a task fails with a `StoreError` that shows both if they differ. `resize` and
 * `pause` reach all processes. `maxWaiting`, `waitTimeout`, priorities, lanes and `snapshot` apply to the current process;
 * `room` in a snapshot is empty. A task starts after at least one message to the store, so `meteredIfAvailable` runs a task
 * only if a grant is at hand.
 *
 * At the end of the scope the meter accepts no more tasks, and gives back what it holds.
 *
 * **Gotchas**
 *
 * If the store does not hear from a process for a lease, others may use the permits that its tasks hold. These tasks are
 * interrupted, and their calls fail with a `StoreError` whose cause is the `LeaseLostError` of the store, unless the store was
 * made with `leaseLost: "continue"`. For that, a task that holds permits runs in a fiber of its own, not in that of the caller
 * of `metered`. A holder of a permit of `acquire` is not interrupted.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 * import { MemoryStore } from "@fibermeter/redis/effect"
 *
 * const program = Effect.gen(function* () {
 *   const github = yield* Meter.distributed("github", { maxAtOnce: 50, maxPerSecond: 1000 })
 *   return yield* Meter.metered(Effect.succeed("ok"), github)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStore.layer))) // => "ok"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const distributed: {
  /**
   * Makes a meter that is shared by all processes with the same store and name. Dies with a
   * `Cause.IllegalArgumentError` if a limit is invalid, and with a `RangeError` if the store does not support it.
   *
   * @category constructors
   * @since 0.1.0
   */
  (name: string, limits: Patient): Effect.Effect<Meter<StoreError>, never, MeterStore | Scope.Scope>
  /**
   * Makes a meter that is shared by all processes with the same store and name. It refuses calls with `Overloaded` if too many
   * wait in this process, or wait too long.
   *
   * @category constructors
   * @since 0.1.0
   */
  (name: string, limits: MeterLimits): Effect.Effect<Meter<Overloaded | StoreError>, never, MeterStore | Scope.Scope>
} = (name: string, limits: MeterLimits): Effect.Effect<Meter<StoreError>, never, MeterStore | Scope.Scope> =>
  Effect.flatMap(MeterStore, (store) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.withFiber((fiber) =>
          attempt(() => {
            accept(check.name("the name", name))
            return storeLimiter(store, name, readLimits(limits), new MeterMetrics(name), ofFiber(fiber))
          })
        ),
        (limiter) => {
          stopAccepting(limiter, closed())
          return Effect.promise(() => limiter.disconnect())
        }
      ),
      (limiter) => ofLimiters<StoreError>([limiter])
    )
  )

/** The limiter of the meter of that name. */
const storeLimiter = (
  store: MeterStore["Service"],
  name: string,
  limits: CheckedLimits,
  metrics: MeterMetrics,
  host: FiberHost
): StoreLimiter => {
  const limiter = makeStoreLimiter(limits, metrics)
  limiter.open(store, name, host, (cause) => new StoreError({ cause }))
  return limiter
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
export const fromSemaphore = (semaphore: Semaphore.Semaphore): Meter => {
  accept(check.kind("a Semaphore", isSemaphore)("the semaphore", semaphore))
  return ofLimiters([new SemaphoreLimiter(semaphore)])
}

const isSemaphore = (value: unknown): value is Semaphore.Semaphore =>
  check.isObject(value) && typeof value.withPermits === "function"

/**
 * Makes a meter of any Effect `Schedule`: it is stepped at each start, and the delay that it gives is the least time
 * to the next start.
 *
 * **Details**
 *
 * The schedule's errors are errors of the meter, and its services are those of the caller that starts a task. When the
 * schedule ends, the meter ends: all waiting and later requests fail with `ScheduleEnded`.
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
): Meter<E | ScheduleEnded, R> => {
  accept(check.kind("a Schedule", Schedule.isSchedule)("the schedule", schedule))
  return ofLimiters([new ScheduleLimiter(schedule)])
}

/**
 * Combines meters that others also use: a task starts when all of them admit it, and takes from all in the same step.
 *
 * **Details**
 *
 * Nothing is held while waiting: not a permit of one meter for the sake of another, and not a start. Waiters of the same
 * meters are served in the order of their arrival. When one of the meters opens to a waiter while another is closed, room is
 * kept for it at the open ones, for half as long as its meters have kept it waiting so far, and at least a millisecond. So
 * tasks that need one of the meters do not wait for the others, nested calls do not hang, and no flood of such tasks starves
 * a waiter for n meters: in its turn, it waits at most (2 + n) times as long as one of them stays closed to the first
 * waiter. Semaphores are asked last and keep no room: where a task needs two of them, there is no such bound.
 *
 * The same as a list in a verb's option `meter`, as a value.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Meter.makeUnsafe({ maxAtOnce: 100 })
 * const api = Meter.makeUnsafe({ maxPerSecond: 20 })
 *
 * await Effect.runPromise(Meter.metered(Effect.succeed("ok"), Meter.all(program, api))) // => "ok"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const all = <const M extends ReadonlyArray<Meter<any, any>>>(
  ...meters: M
): Meter<MeterError<M>, MeterServices<M>> => {
  for (const meter of meters) accept(meterCheck("each of the meters", meter))
  return ofLimitersAtUse(() => limitersTogether(meters.map((meter) => () => limitersOf(meter))))
}

/**
 * The pacing behind `maxPerSecond` as a `Schedule`, to be used with Effect's own operators. Stepped at a start, its
 * delay is the time to the next one; its output is the number of starts so far. Dies with a
 * `Cause.IllegalArgumentError` at its first step if a limit is not what it has to be.
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
}): Schedule.Schedule<number> => {
  const read = attempt(() => readLimits(limits))
  return Schedule.fromStep(
    Effect.map(read, ({ maxBurst = 1, maxPerSecond = Infinity }) => {
      const pace = gcraOf(maxPerSecond, maxBurst)
      let starts = 0
      if (pace === undefined) return () => Effect.sync((): [number, Duration.Duration] => [++starts, Duration.zero])
      const time = new Timeline((delta) => pace.shift(delta))
      return () =>
        Effect.clockWith((clock) => {
          time.follow(clock)
          time.update()
          // Nobody says whether they waited. A step that comes so late has not: there is nothing to catch up.
          if (time.now > pace.due() + catchUp) pace.setMode("idle", time.now)
          pace.setMode("pacing", time.now)
          pace.start(time.now)
          const delay = Math.max(0, pace.due() - time.now)
          return Effect.succeed<[number, Duration.Duration]>([++starts, Duration.nanos(BigInt(delay))])
        })
    })
  )
}

/**
 * What `metered` and `acquire` take beside the meter.
 *
 * @category options
 * @since 0.1.0
 */
export interface TaskOptions {
  /** The cost of the task, by the names of the meter's windows. A window that is not named costs 1. */
  readonly cost?: Cost | undefined
  /**
   * How many permits of `maxAtOnce` the task holds while it runs: a whole number, at least 1, which is the default. If the
   * meter has fewer, it fails at once with `ExcessivePermits`.
   */
  readonly permits?: number | undefined
  /**
   * The priority among the tasks that wait for the same meters: a finite number, the higher first. Default: 0. A task that 32
   * later arrivals of higher priority have overtaken is next.
   */
  readonly priority?: number | undefined
  /**
   * The lane among the tasks that wait for the same meters: any key but a function, such as a tenant or a user. Lanes take
   * turns, and get equal numbers of permits. Within a lane, the priority counts.
   */
  readonly lane?: unknown
  /**
   * How long the task may wait for its start; a `waitTimeout` of the meter applies as well. It fails with `Overloaded` at once
   * if the rate and the windows cannot admit it in time, otherwise when the time is up.
   */
  readonly waitTimeout?: Duration.Input | undefined
}

/** The errors that options add. */
type TaskError<O> =
  | (O extends { readonly waitTimeout: Duration.Input } ? Overloaded : never)
  | (O extends { readonly cost: Cost } ? ExcessiveCost : never)
  | (O extends { readonly permits: number } ? ExcessivePermits : never)

const isEffect = (u: unknown): u is Effect.Effect<any, any, any> => Effect.isEffect(u)

/**
 * A combinator over `(effect, meter, options?)` or, for a pipe, over `(meter, options?)`. `run` makes the effect that is
 * admitted and then runs the task.
 */
const dualMetered = (
  run: (request: FiberRequest, task: Effect.Effect<any, any, any>) => Effect.Effect<any, any, any>
) => {
  const metered = (effect: unknown, start: () => Start): Effect.Effect<any, any, any> =>
    reading(
      () => [accept(check.kind("an Effect", isEffect)("what is metered", effect)) as any, start()] as const,
      ([task, start], fiber) => {
        const request = requestOf(fiber, start)
        return Effect.onExitPrimitive(yieldBefore(fiber, run(request, task)), () => request.end())
      }
    )
  return (...args: ReadonlyArray<unknown>): any => {
    const [first, second, third] = args
    if (Effect.isEffect(first) || isAnyMeter(second)) return metered(first, () => readStart(second, third))
    const start = attempt(() => readStart(first, second))
    return (effect: unknown) => (Exit.isFailure(start) ? start : metered(effect, () => start.value))
  }
}

/**
 * Runs one effect as a task of a meter: waits for its start, and tells the meter of its end, whichever it is.
 *
 * **Details**
 *
 * Waiting can be interrupted, and costs those behind nothing. The effect runs in the same fiber. With a `cost` that is
 * more than a whole window allows for, it fails at once with `ExcessiveCost`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const api = Meter.makeUnsafe({ maxAtOnce: 1, windows: { tokens: { limit: 90_000, per: "1 minute" } } })
 * const ping = Effect.succeed("pong")
 *
 * await Effect.runPromise(Meter.metered(ping, api)) // => "pong"
 * await Effect.runPromise(ping.pipe(Meter.metered(api, { cost: { tokens: 1200 } }))) // => "pong"
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const metered: {
  /**
   * Runs the piped effect as a task of the meter: waits until the meter admits it, and releases the meter when it has
   * ended.
   *
   * **Details**
   *
   * Waiting can be interrupted. The effect runs in the fiber of its caller. `cost` is 1 of each window unless given; a
   * cost above a whole window's limit fails with `ExcessiveCost`. The meter's own errors and services are added.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Meter } from "fibermeter"
   *
   * const api = Meter.makeUnsafe({ windows: { tokens: { limit: 90_000, per: "1 minute" } } })
   *
   * await Effect.runPromise(Effect.succeed("pong").pipe(Meter.metered(api, { cost: { tokens: 1200 } }))) // => "pong"
   * ```
   *
   * @category combinators
   * @since 0.1.0
   */
  <ME, MR, const O extends TaskOptions = {}>(
    meter: Meter<ME, MR>,
    options?: O
  ): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ME | TaskError<O>, R | MR>
  /**
   * Runs one effect as a task of the meter: waits until the meter admits it, and releases the meter when it has ended.
   *
   * **Details**
   *
   * Waiting can be interrupted. The effect runs in the fiber of its caller. `cost` is 1 of each window unless given; a
   * cost above a whole window's limit fails with `ExcessiveCost`. The meter's own errors and services are added.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Meter } from "fibermeter"
   *
   * const api = Meter.makeUnsafe({ maxAtOnce: 1 })
   *
   * await Effect.runPromise(Meter.metered(Effect.succeed("pong"), api)) // => "pong"
   * ```
   *
   * @category combinators
   * @since 0.1.0
   */
  <A, E, R, ME, MR, const O extends TaskOptions = {}>(
    effect: Effect.Effect<A, E, R>,
    meter: Meter<ME, MR>,
    options?: O
  ): Effect.Effect<A, E | ME | TaskError<O>, R | MR>
} = /* @__PURE__ */ dualMetered((request, task) => Effect.flatMap(request.admission, () => request.provideTask(task)))

/**
 * Runs one effect as a task of a meter if the meter admits it now, and returns its result in a `Some`. Otherwise returns
 * `None` without waiting, and the effect does not run.
 *
 * **When to use**
 *
 * Use it for work that can be left out: a prefetch, or a request with a cheaper answer at hand. It is what
 * `Semaphore.withPermitsIfAvailable` is for permits.
 *
 * **Details**
 *
 * With several meters, all of them must admit the task in the same step. The task never enters a queue, and does not start
 * before tasks that wait in one: while tasks wait for the meter, the result is `None`. A `cost` above a whole window's limit
 * fails with `ExcessiveCost`.
 *
 * @see {@link metered} to wait for the meter
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const api = Meter.makeUnsafe({ maxAtOnce: 1 })
 * const nested = Meter.meteredIfAvailable(Effect.succeed("a prefetched page"), api)
 *
 * await Effect.runPromise(Meter.metered(nested, api)) // => Option.none()
 * await Effect.runPromise(nested) // => Option.some("a prefetched page")
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const meteredIfAvailable: {
  /**
   * Runs the piped effect as a task of the meter if the meter admits it now, and returns its result in a `Some`. Otherwise
   * returns `None` without waiting, and the effect does not run.
   *
   * @category combinators
   * @since 0.1.0
   */
  <ME, MR, const O extends TaskOptions = {}>(
    meter: Meter<ME, MR>,
    options?: O
  ): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Option.Option<A>, E | ME | TaskError<O>, R | MR>
  /**
   * Runs one effect as a task of the meter if the meter admits it now, and returns its result in a `Some`. Otherwise returns
   * `None` without waiting, and the effect does not run.
   *
   * @category combinators
   * @since 0.1.0
   */
  <A, E, R, ME, MR, const O extends TaskOptions = {}>(
    effect: Effect.Effect<A, E, R>,
    meter: Meter<ME, MR>,
    options?: O
  ): Effect.Effect<Option.Option<A>, E | ME | TaskError<O>, R | MR>
} = /* @__PURE__ */ dualMetered((request, task) =>
  Effect.flatMap(request.admissionIfAvailable, (isAdmitted) =>
    isAdmitted ? Effect.asSome(request.provideTask(task)) : Effect.succeedNone
  )
)

/**
 * A permit that `acquire` has acquired. It is released when its scope is closed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Permit {
  /** Sets the actual cost of the work, as `Meter.correct` does inside a task. */
  readonly correct: (cost: Cost) => Effect.Effect<void>
  /**
   * Tightens a window to what a server has reported, as `Meter.reconcile` does inside a task: starts after this permit was
   * acquired are not in the report.
   */
  readonly reconcile: (report: Report) => Effect.Effect<void>
  /** As `Meter.fencingToken`, of the first meter by name that is on a store; `undefined` if there is none. */
  readonly fencingToken: number | undefined
}

/**
 * Acquires a permit of a meter for the lifetime of the current scope: waits until the meter admits the start, and
 * releases it when the scope is closed.
 *
 * **When to use**
 *
 * Use it where start and end do not lie in one effect, as with a connection that is used here and there. For a single
 * effect, use `metered`.
 *
 * **Details**
 *
 * Waiting can be interrupted, unless the caller cannot be. Acquiring the permit and adding its release to the scope
 * are one uninterruptible step. With a scope that is closed already, the permit is released at once.
 *
 * **Gotchas**
 *
 * A scope that lives as long as the program holds the permit for that long. What has been acquired is not a task:
 * `Meter.correct` does not apply to it, but `correct` of the permit does, and waiting for a permit that its own scope holds
 * hangs instead of failing with `Deadlock`.
 *
 * @see {@link metered} for a single effect
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxAtOnce: 2 })
 *   const inside = Effect.gen(function* () {
 *     yield* Meter.acquire(api)
 *     return (yield* Meter.snapshot(api)).free
 *   })
 *   const during = yield* Effect.scoped(inside)
 *   const after = (yield* Meter.snapshot(api)).free
 *   return { during, after }
 * })
 *
 * await Effect.runPromise(program) // => { during: 1, after: 2 }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const acquire: {
  /**
   * Acquires a permit of the piped meter for the lifetime of the current scope: waits until the meter admits the start,
   * and releases it when the scope is closed.
   *
   * **Details**
   *
   * `cost` is 1 of each window unless given; a cost above a whole window's limit fails with `ExcessiveCost`.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Meter } from "fibermeter"
   *
   * const api = Meter.makeUnsafe({ windows: { tokens: { limit: 90_000, per: "1 minute" } } })
   *
   * await Effect.runPromise(Effect.scoped(api.pipe(Meter.acquire({ cost: { tokens: 1200 } }))))
   * ```
   *
   * @category combinators
   * @since 0.1.0
   */
  <const O extends TaskOptions = {}>(
    options?: O
  ): <E, R>(meter: Meter<E, R>) => Effect.Effect<Permit, E | TaskError<O>, R | Scope.Scope>
  /**
   * Acquires a permit of the meter for the lifetime of the current scope: waits until the meter admits the start, and
   * releases it when the scope is closed.
   *
   * **Details**
   *
   * `cost` is 1 of each window unless given; a cost above a whole window's limit fails with `ExcessiveCost`.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Meter } from "fibermeter"
   *
   * const api = Meter.makeUnsafe({ maxAtOnce: 1 })
   * const connection = Effect.as(Meter.acquire(api), "a connection")
   *
   * await Effect.runPromise(Effect.scoped(connection)) // => "a connection"
   * ```
   *
   * @category combinators
   * @since 0.1.0
   */
  <E, R, const O extends TaskOptions = {}>(
    meter: Meter<E, R>,
    options?: O
  ): Effect.Effect<Permit, E | TaskError<O>, R | Scope.Scope>
} = /* @__PURE__ */ dual(startsWithMeter, (meter: unknown, options?: unknown): Effect.Effect<Permit, any, any> =>
  reading(
    () => readStart(meter, options),
    (start, fiber) => {
      const scope = Context.get(fiber.context as Context.Context<Scope.Scope>, Scope.Scope)
      const request = requestOf(fiber, start)
      const release = Effect.suspend(() => request.end() ?? Effect.void)
      // What `onExit` runs cannot be interrupted. An interruption before it, after the admission, is an exit like any other.
      const admitted = Effect.onExit(request.admission, (exit) =>
        Exit.isSuccess(exit) ? Scope.addFinalizer(scope, release) : Effect.sync(() => void request.end())
      )
      return Effect.map(yieldBefore(fiber, admitted), () => permitOf(request.reservation()))
    }
  )
)

const permitOf = (taken: Reservation): Permit => ({
  fencingToken: fencingTokenOf(taken.entries),
  correct: (cost) =>
    reading(
      () => accept(check.cost(namesOf(taken.limiters), check.copyOfCost(cost))),
      (amounts) => Effect.sync(() => correctHolding(taken, amounts))
    ),
  reconcile: (report) =>
    reading(
      () => readReport(report),
      (read, fiber) => Effect.sync(() => reconcileWith(taken, read, ofFiber(fiber)))
    )
})

/**
 * Sets, from inside a task, its actual cost. It replaces what the task has taken from each window that still reaches its
 * start. If it has taken too much, the rest is free at once; if too little, the next tasks wait for it.
 *
 * **When to use**
 *
 * Use it where the price is only known afterwards, as with the tokens of a language model: start with an estimate as
 * `cost`, then correct it. `correct({ requests: 0 })` frees what a refused request has taken, if the server does not charge it.
 *
 * **Details**
 *
 * Windows that are not named keep their cost. The last of several corrections counts. The actual cost may be more than the
 * `limit`: later tasks wait until enough of it has left the window. What a report has counted changes only with `refunds`:
 * see `Report`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter, runAll } from "fibermeter"
 *
 * const model = Meter.makeUnsafe({ windows: { tokens: { limit: 10_000, per: "1 minute" } } })
 * const ask = (question: string) => Effect.as(Meter.correct({ tokens: question.length }), `${question} Yes.`)
 *
 * await Effect.runPromise(runAll(["Does it rain?", "Still?"], ask, { meter: model, cost: () => ({ tokens: 6000 }) })) // => ["Does it rain? Yes.", "Still? Yes."]
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const correct = (cost: Cost): Effect.Effect<void> =>
  reading(
    () => check.copyOfCost(cost),
    (amounts, fiber) => {
      const names = Object.keys(accept(check.costObject(amounts)))
      for (let each = fiber.getRef(CurrentTask); each !== undefined; each = each.caller?.task) {
        const known = namesOf(each.limiters)
        if (!names.some((name) => known.has(name))) continue
        correctHolding(each, accept(check.cost(known, amounts)))
        return Effect.void
      }
      const message = "there is nothing to correct: this does not run inside a task with a cost by one of these names"
      return Effect.die(new Cause.IllegalArgumentError(`${message}: ${names.join(", ")}`))
    }
  )

/**
 * What a server has reported of a quota that a window stands for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** The name of the window. */
  readonly window: string
  /** How much may still be spent, after the request that this is the answer to: a number of at least 0. */
  readonly remaining: number
  /**
   * In which time the quota is reset. Until then the report counts. A plain number is in milliseconds. If the server refills
   * gradually, some room comes back before that, of which only its next answer tells. A shorter time starts tasks sooner; if it
   * is too short, they get responses of status 429.
   */
  readonly resetAfter: Duration.Input
  /**
   * When the request was sent: an instant of `Clock.monotonicTimeNanos`. Starts after it are not in the report, and are
   * subtracted. Default: inside a task of the meter, the start of the task. Elsewhere nothing is subtracted, and earlier
   * reports remain in force.
   */
  readonly sentAt?: bigint | undefined
  /**
   * Whether the server returns what a task has reserved and not used, as Anthropic does for output tokens. If so, corrections
   * of tasks that this report has counted change it, too. If not, they do not: the server has counted the reservation, and
   * keeps it until the reset. Default: `false`.
   */
  readonly refunds?: boolean | undefined
  /** Whether the report is ignored if there is no such window. Default: `false`. */
  readonly optional?: boolean | undefined
}

type CheckedReport = Report & { readonly resetAfter: number }

const isInstant = (value: unknown): value is bigint => typeof value === "bigint"

const checkReport = /* @__PURE__ */ once(() =>
  reportCheck(times().delay, check.kind("an instant of Clock.monotonicTimeNanos", isInstant))
)

const readReport = (report: unknown): CheckedReport => accept(checkReport()("report", report)) as CheckedReport

const reconcileWith = (
  reported: Parameters<typeof reconcileWindows>[0],
  { sentAt, ...report }: CheckedReport,
  host: FiberHost
): void => {
  const age = sentAt === undefined ? undefined : Number(host.clock.monotonicTimeNanosUnsafe() - sentAt)
  if (age !== undefined && age < 0)
    throw new Cause.IllegalArgumentError(
      "report.sentAt must be an instant of Clock.monotonicTimeNanos that is not to come"
    )
  accept(reconcileWindows(reported, { ...report, age }, host))
}

/** What the innermost task of the limiter has taken there that the fiber runs in. */
const entryIn = (fiber: Fiber.Fiber<any, any>, limiter: Limiter): unknown => {
  for (let each = fiber.getRef(CurrentTask); each !== undefined; each = each.caller?.task) {
    const position = each.limiters.indexOf(limiter)
    if (position >= 0) return each.entries[position]
  }
  return undefined
}

/**
 * Tightens a window of a meter to what a server reports, until the server resets it.
 *
 * **When to use**
 *
 * Use it where a quota is also used by others: other processes, other programs with the same key. `rateLimitsOf` reads the
 * reports from the headers of a response.
 *
 * **Details**
 *
 * The window never gets wider than its own limit: as long as the report counts, a task needs room in both. Inside a task of the
 * meter, the report is taken for the answer to that task's request. Tasks that have started since are subtracted, since the
 * server may not have counted them, and their corrections are taken into account. The report replaces those that had arrived
 * before the task started; of reports whose requests overlapped, the strictest counts. Elsewhere, `sentAt` says when the
 * request was sent; without it, the strictest of all reports counts that have not ended.
 *
 * Of a meter that combines several, each that has such a window is tightened. Dies with a `Cause.IllegalArgumentError` if
 * there is none, unless the report is `optional`, and for an invalid report.
 *
 * **Gotchas**
 *
 * The limits in the options of a verb cannot be tightened: make a meter of them.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ windows: { requests: { limit: 500, per: "1 minute" } } })
 *   const request = Effect.succeed({ headers: { "x-ratelimit-remaining": "41", "x-ratelimit-reset": "30" } })
 *   const reconciled = Effect.gen(function* () {
 *     const response = yield* request
 *     for (const report of yield* Meter.rateLimitsOf(response)) yield* Meter.reconcile(api, report)
 *   })
 *   yield* Meter.metered(reconciled, api)
 *   return (yield* Meter.snapshot(api)).room
 * })
 *
 * await Effect.runPromise(program) // => { requests: 41 }
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const reconcile: {
  /**
   * Tightens a window of the piped meter to what a server reports, until the server resets it.
   *
   * **Details**
   *
   * The window never gets wider than its own limit. Inside a task of the meter, tasks that have started since are subtracted.
   * Dies with a `Cause.IllegalArgumentError` for an invalid report, and if there is no such window, unless the report is
   * `optional`.
   *
   * @category control
   * @since 0.1.0
   */
  (report: Report): (meter: AnyMeter) => Effect.Effect<void>
  /**
   * Tightens a window of a meter to what a server reports, until the server resets it.
   *
   * **Details**
   *
   * The window never gets wider than its own limit. Inside a task of the meter, tasks that have started since are subtracted.
   * Dies with a `Cause.IllegalArgumentError` for an invalid report, and if there is no such window, unless the report is
   * `optional`.
   *
   * @category control
   * @since 0.1.0
   */
  (meter: AnyMeter, report: Report): Effect.Effect<void>
} = /* @__PURE__ */ dualOfTwo((meter: unknown, report: unknown): Effect.Effect<void> =>
  reading(
    () => ({ limitersOf: readMeter(meter), report: readReport(report) }),
    ({ limitersOf, report }, fiber) => {
      const limiters = limitersOf()
      const entries = limiters.map((limiter) => entryIn(fiber, limiter))
      reconcileWith({ limiters, entries }, report, ofFiber(fiber))
      return Effect.void
    }
  )
)

/**
 * Delays all starts of the meter, for a duration or until `resume`. Tasks that run continue. Of several pauses, the one that
 * ends last counts, so a further pause cannot end an earlier one sooner.
 *
 * **When to use**
 *
 * Use it when an API asks for a pause, as with `Retry-After`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxPerSecond: 100 })
 *   yield* Meter.pause(api, "20 millis")
 *   return yield* Meter.metered(Effect.succeed("20 ms later"), api)
 * })
 *
 * await Effect.runPromise(program) // => "20 ms later"
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const pause: {
  /**
   * Delays all starts of the piped meter for a duration, or until `resume`. Tasks that run continue. Of several pauses,
   * the one that ends last counts.
   *
   * **Details**
   *
   * A plain number is in milliseconds. Without a duration, the pause lasts until `resume`. Dies with a
   * `Cause.IllegalArgumentError` if the duration is none.
   *
   * @category control
   * @since 0.1.0
   */
  (duration?: Duration.Input): (meter: AnyMeter) => Effect.Effect<void>
  /**
   * Delays all starts of the meter for a duration, or until `resume`. Tasks that run continue. Of several pauses, the
   * one that ends last counts.
   *
   * **Details**
   *
   * A plain number is in milliseconds. Without a duration, the pause lasts until `resume`. Dies with a
   * `Cause.IllegalArgumentError` if the duration is none.
   *
   * @category control
   * @since 0.1.0
   */
  (meter: AnyMeter, duration?: Duration.Input): Effect.Effect<void>
} = /* @__PURE__ */ dual(
  startsWithMeter,
  (meter: unknown, duration: unknown = Duration.infinity): Effect.Effect<void> =>
    reading(
      () => ({ limiters: readMeter(meter), nanos: nanosOf(accept(times().wait("the duration", duration)) as number) }),
      ({ limiters, nanos }, fiber) => {
        for (const limiter of limiters()) limiter.pause(ofFiber(fiber), nanos)
        return Effect.void
      }
    )
)

/**
 * Ends all pauses of the meter. Waiters start within this effect: a `pause` after it comes too late for them.
 *
 * @category control
 * @since 0.1.0
 */
export const resume = (meter: AnyMeter): Effect.Effect<void> =>
  Effect.map(
    attempt(() => readMeter(meter)),
    (limitersOf) => {
      const limiters = limitersOf()
      for (const limiter of limiters) limiter.resume()
      for (const limiter of limiters) limiter.wake()
    }
  )

/**
 * Changes limits of a meter made by `make`, `makeUnsafe` or `keyed`: those that are given, `Infinity` to lift one. It holds at
 * once, also for the tasks that already wait.
 *
 * **Details**
 *
 * Tasks that run continue, even if there are more of them than the new `maxAtOnce`. What started before counts in the new
 * windows as far as the old ones still reached it. A limit that the meter did not have begins empty: to keep a distance from
 * the last start, `pause` the meter as well.
 *
 * Dies with a `Cause.IllegalArgumentError` for a limit that is not what it has to be, and for a meter of another kind.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxAtOnce: 8 })
 *   yield* Meter.resize(api, { maxAtOnce: 2 })
 *   return (yield* Meter.snapshot(api)).free
 * })
 *
 * await Effect.runPromise(program) // => 2
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const resize: {
  /**
   * Changes the given limits of the piped meter, at once, also for the tasks that already wait. `Infinity` lifts one.
   *
   * **Details**
   *
   * Dies with a `Cause.IllegalArgumentError` for an invalid limit, and for a meter that was not made by `make`,
   * `makeUnsafe` or `keyed`.
   *
   * @category control
   * @since 0.1.0
   */
  (limits: MeterLimits): (meter: AnyMeter) => Effect.Effect<void>
  /**
   * Changes the given limits of a meter, at once, also for the tasks that already wait. `Infinity` lifts one.
   *
   * **Details**
   *
   * Dies with a `Cause.IllegalArgumentError` for an invalid limit, and for a meter that was not made by `make`,
   * `makeUnsafe` or `keyed`.
   *
   * @category control
   * @since 0.1.0
   */
  (meter: AnyMeter, limits: MeterLimits): Effect.Effect<void>
} = /* @__PURE__ */ dualOfTwo((meter: unknown, limits: unknown): Effect.Effect<void> =>
  reading(
    () => ({ limiters: readMeter(meter), limits: readLimits(limits) }),
    ({ limiters, limits }, fiber) => {
      const [limiter, another] = limiters()
      if (another !== undefined || !(limiter instanceof SharedLimiter)) {
        throw new Cause.IllegalArgumentError("only a meter made by make, makeUnsafe or keyed can be resized")
      }
      throwIfPatient(limiter, limits)
      limiter.resize(limits, ofFiber(fiber))
      return Effect.void
    }
  )
)

/**
 * Gives the fencing token of the innermost task of the meter that this runs in: a number that is higher for each later start of
 * the meter, over all processes. `None` outside of its tasks, and for meters that are not on a store.
 *
 * **When to use**
 *
 * A process that stood still may go on with a task whose permits another process has by now. Pass the token to the resource, and
 * have that reject a request with a lower token than it has seen.
 *
 * @example
 * ```ts
 * import { MemoryStore } from "@fibermeter/redis/effect"
 * import { Effect, Option } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const job = yield* Meter.distributed("nightly-job", { maxAtOnce: 1 })
 *   const first = yield* Meter.metered(Meter.fencingToken(job), job)
 *   const second = yield* Meter.metered(Meter.fencingToken(job), job)
 *   return Option.getOrThrow(first) < Option.getOrThrow(second)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStore.layer))) // => true
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const fencingToken = (meter: AnyMeter): Effect.Effect<Option.Option<number>> =>
  reading(
    () => readMeter(meter),
    (limitersOf, fiber) => {
      const token = fencingTokenOf(limitersOf().map((limiter) => entryIn(fiber, limiter)))
      return token === undefined ? Effect.succeedNone : Effect.succeedSome(token)
    }
  )

/** Throws if the limiter would get its first limit on waiting. */
const throwIfPatient = (limiter: SharedLimiter, { maxWaiting, waitTimeout }: CheckedLimits): void => {
  if (limiter.waitLimit !== undefined || (maxWaiting === undefined && waitTimeout === undefined)) return
  const reason = "its type says that it never fails with Overloaded. Make it with maxWaiting: Infinity"
  throw new Cause.IllegalArgumentError(`a meter that was made without limits on waiting gets none: ${reason}`)
}

/**
 * The state of a meter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot {
  /** Tasks that have started and not ended. */
  readonly running: number
  /** Tasks that wait for their start. */
  readonly waiting: number
  /** How many of those that wait there are in each lane. Tasks without a lane are not in it. */
  readonly lanes: ReadonlyMap<unknown, number>
  /** Tasks that have ever started. */
  readonly started: number
  /**
   * The limits in force; `Infinity` for none. Of several meters, the lowest `maxAtOnce`, the lowest `maxPerSecond` with its
   * `maxBurst`, and of windows with the same name the one with the lowest `limit`. `per` is in milliseconds.
   */
  readonly limits: {
    readonly maxAtOnce: number
    readonly maxPerSecond: number
    readonly maxBurst: number
    readonly windows: Readonly<Record<string, { readonly limit: number; readonly per: number }>>
  }
  /** Whether the meter is paused, or one of several. */
  readonly paused: boolean
  /** Whether `drain` has been called, of one of several meters at least. */
  readonly draining: boolean
  /** How many more may run at once; `Infinity` where nothing limits that. */
  readonly free: number
  /** How much may be spent now, window by window. */
  readonly room: Readonly<Record<string, number>>
  /**
   * The least time until a task of cost 1 can start, if no other waits before it: zero if it can start now, infinite
   * if that depends on a task's end or on `resume`.
   */
  readonly nextStart: Duration.Duration
}

/**
 * The current state of a meter. Of a meter that combines several, the busiest counts.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxAtOnce: 3, windows: { requests: { limit: 500, per: "1 minute" } } })
 *   const { free, room, running } = yield* Meter.metered(Meter.snapshot(api), api)
 *   return { free, room, running }
 * })
 *
 * await Effect.runPromise(program) // => { free: 2, room: { requests: 499 }, running: 1 }
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const snapshot = (meter: AnyMeter): Effect.Effect<Snapshot> =>
  reading(
    () => readMeter(meter),
    (limiters, fiber) => Effect.succeed(stateOf(limiters(), fiber))
  )

const stateOf = (limiters: ReadonlyArray<Limiter>, fiber: Fiber.Fiber<any, any>): Snapshot => {
  const { opensIn, ...counts } = snapshotOf(limiters, ofFiber(fiber))
  return { ...counts, nextStart: Duration.millis(opensIn / 1_000_000) }
}

/**
 * Waits until no task runs or waits under the meter and no call of a verb uses it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxAtOnce: 1 })
 *   let written = 0
 *   const write = Effect.delay(
 *     Effect.sync(() => written++),
 *     5
 *   )
 *   yield* Effect.forkChild(Meter.metered(write, api), { startImmediately: true })
 *   yield* Meter.idle(api)
 *   return written
 * })
 *
 * await Effect.runPromise(program) // => 1
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const idle = (meter: AnyMeter): Effect.Effect<void> =>
  Effect.flatMap(
    attempt(() => readMeter(meter)),
    (limiters) => {
      const busy = limiters().find((limiter) => !limiter.isIdle)
      if (busy === undefined) return Effect.void
      const wait = Effect.callback<void>((resume) => {
        const callOff = whenIdle(busy, () => resume(Effect.void))
        return Effect.sync(callOff)
      })
      // Meanwhile another of its limiters, or this one again, may have got something to do.
      return Effect.andThen(wait, idle(meter))
    }
  )

/**
 * Drains a meter: from now on it accepts no more tasks; those that run or wait are finished. Completes when none is left. The
 * meter is then closed, and cannot be opened again.
 *
 * **When to use**
 *
 * Use it to shut down a service: stop listening for requests, drain its meters, then close what its tasks use. Add a timeout:
 * a task may take any time.
 *
 * **Details**
 *
 * A task that comes later is refused with a `Closed` defect, except for nested calls: inside of a task that runs or waits,
 * calls with the same meter are admitted as before. A verb in progress starts the item that it has pulled, pulls no more than
 * one further item, to find out whether there is one, and ends as usual if its items are exhausted. Otherwise it dies
 * with `Closed` when its tasks have ended; results that came before reach `amap`'s reader first.
 *
 * A paused meter drains when it is resumed. An interruption of this effect does not end the draining. Of a meter that
 * combines several, all are drained.
 *
 * **Gotchas**
 *
 * `idle` is different: it accepts new tasks, and completes at the first moment at which there is none. Inside of a task of the
 * meter, `drain` waits for that task, so for ever.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const api = yield* Meter.make({ maxAtOnce: 1 })
 *   let written = 0
 *   const write = Effect.delay(
 *     Effect.sync(() => written++),
 *     5
 *   )
 *   yield* Effect.forkChild(Meter.metered(write, api), { startImmediately: true })
 *   yield* Effect.forkChild(Meter.metered(write, api), { startImmediately: true })
 *   yield* Meter.drain(api)
 *   return written
 * })
 *
 * await Effect.runPromise(program) // => 2
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const drain = (meter: AnyMeter): Effect.Effect<void> =>
  Effect.flatMap(
    attempt(() => readMeter(meter)),
    (limiters) => {
      for (const limiter of limiters()) stopAccepting(limiter, closed())
      return idle(meter)
    }
  )

/**
 * How long a server asks to be left alone for, by its `Retry-After`: in seconds, or a date, which is compared with the
 * `Clock`. `None` if it does not ask.
 *
 * **Details**
 *
 * `source` may be a response of Effect's `HttpClient` or of `fetch`, its headers, or an error that has one of them as
 * `response`, `headers` or `cause`.
 *
 * @example
 * ```ts
 * import { Data, Effect, Option, Schedule } from "effect"
 * import { Meter } from "fibermeter"
 *
 * class TooMany extends Data.TaggedError("TooMany")<{ headers: Record<string, string> }> {}
 *
 * const api = Meter.makeUnsafe({ maxAtOnce: 10 })
 * let requests = 0
 * const request = Effect.suspend(() =>
 *   ++requests === 1 ? Effect.fail(new TooMany({ headers: { "retry-after": "0.02" } })) : Effect.succeed("a page")
 * )
 *
 * // All that use the meter are held back, not just this request, and before this gives its place back; each attempt is
 * // admitted anew.
 * const heed = (error: TooMany) =>
 *   Effect.flatMap(
 *     Meter.retryAfter(error),
 *     Option.match({ onNone: () => Effect.void, onSome: (time) => Meter.pause(api, time) })
 *   )
 * const page = Effect.retry(Meter.metered(Effect.tapError(request, heed), api), Schedule.recurs(3))
 *
 * await Effect.runPromise(page) // => "a page"
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const retryAfter = (source: unknown): Effect.Effect<Option.Option<Duration.Duration>> =>
  Effect.clockWith((clock) => {
    const millis = readRetryAfter(source, clock.currentTimeMillisUnsafe())
    return millis === undefined ? Effect.succeedNone : Effect.succeedSome(Duration.millis(millis))
  })

/**
 * What a response says is left of a quota: a report for `reconcile`.
 *
 * @category models
 * @since 0.1.0
 */
export interface RateLimit extends Report {
  /** The name that the server has for the quota; `"requests"` if it has none. */
  readonly window: string
  readonly remaining: number
  readonly resetAfter: Duration.Duration
  /** A server may report more quotas than a meter has windows. */
  readonly optional: true
}

/**
 * What a response says is left of the server's quotas, as reports for `reconcile`. Empty if it says nothing, or nothing that
 * can be read.
 *
 * **Details**
 *
 * Reads `RateLimit` and `RateLimit-Policy` (the IETF draft, all its versions), `X-RateLimit-Remaining` and
 * `X-RateLimit-Reset`, also with the name of a quota behind them, as OpenAI sends them, and `anthropic-ratelimit-*`. Quotas
 * have the names that the server gives them: `requests` and `tokens` for OpenAI; also `input-tokens` and `output-tokens` for
 * Anthropic. A quota without a name, as GitHub's, is called `requests`. If a window has another name, rename the report.
 *
 * A reset may be a number of seconds, a duration such as `120ms` or `1h2m3.5s`, an instant in seconds since 1970, or a date of
 * RFC 3339. A `remaining` without a reset gives no report, unless `RateLimit-Policy` has the length of the window.
 *
 * `source` may be a response of Effect's `HttpClient` or of `fetch`, its headers, or an error that has one of them as
 * `response`, `headers` or `cause`. Resets that are dates are compared with the `Clock`.
 *
 * @example
 * ```ts
 * import { Duration, Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const headers = { "anthropic-ratelimit-tokens-remaining": "52000", "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:00Z" }
 *
 * await Effect.runPromise(Meter.rateLimitsOf({ headers })) // => [{ window: "tokens", remaining: 52_000, resetAfter: Duration.zero, optional: true }]
 * ```
 *
 * @category control
 * @since 0.1.0
 */
export const rateLimitsOf = (source: unknown): Effect.Effect<ReadonlyArray<RateLimit>> =>
  Effect.clockWith((clock) => {
    const limits = readRateLimits(source, clock.currentTimeMillisUnsafe())
    return Effect.succeed(limits.map((limit) => ({ ...limit, resetAfter: Duration.millis(limit.resetAfter) })))
  })

/**
 * A layer that gives a whole program one meter, as a service.
 *
 * **Gotchas**
 *
 * With `maxWaiting`, `waitTimeout` or `overflow`, the service has to be a `Meter.Meter<Meter.Overloaded>`.
 *
 * @example
 * ```ts
 * import { Context, Effect } from "effect"
 * import { Meter, runAll } from "fibermeter"
 *
 * class GitHub extends Context.Service<GitHub, Meter.Meter>()("GitHub") {
 *   static readonly layer = Meter.layer(GitHub, { maxAtOnce: 10, maxPerSecond: 1000 })
 * }
 *
 * const stars = (repository: string) => Effect.succeed(repository.length)
 *
 * const program = Effect.gen(function* () {
 *   const meter = yield* GitHub
 *   return yield* runAll(["effect", "fibermeter"], stars, { meter })
 * })
 *
 * await Effect.runPromise(Effect.provide(program, GitHub.layer)) // => [6, 10]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, E extends Overloaded = never>(
  service: Context.Key<Self, Meter<E>>,
  limits: ([E] extends [never] ? Limits : MeterLimits) & Naming
): Layer.Layer<Self> => Layer.effect(service, make(limits as PatientLimits))

/**
 * The limits of a meter as configuration: a `Config` for each of them, or one `Config` for all of them.
 *
 * @category models
 * @since 0.1.0
 */
export type LimitsConfig =
  | Config.Config<Limits & Naming>
  | ({ readonly [K in Exclude<keyof Limits, "windows">]?: Config.Config<Limits[K]> | undefined } & Naming & {
        readonly windows?:
          | Config.Config<Limits["windows"]>
          | { readonly [name: string]: Config.Wrap<Window> | undefined }
          | undefined
      })

/**
 * A layer that gives a whole program one meter, as a service, with limits from the program's configuration.
 *
 * **Details**
 *
 * Takes a `Config` for each limit, or one `Config` for all of them. Fails with a `Config.ConfigError` if a value is
 * missing or cannot be read; dies with a `Cause.IllegalArgumentError` if one is out of range.
 *
 * **Gotchas**
 *
 * It cannot set `maxWaiting`, `waitTimeout` and `overflow`. Pass a `Config` of all limits to `make`, in `Layer.effect`.
 *
 * @see {@link layer} for limits that are known
 *
 * @example
 * ```ts
 * import { Config, ConfigProvider, Context, Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * class GitHub extends Context.Service<GitHub, Meter.Meter>()("GitHub") {
 *   static readonly layer = Meter.layerConfig(GitHub, {
 *     maxAtOnce: Config.Int("GITHUB_MAX_AT_ONCE").pipe(Config.withDefault(10)),
 *     maxPerSecond: Config.Number("GITHUB_MAX_PER_SECOND"),
 *     windows: { requests: { limit: Config.Int("GITHUB_LIMIT"), per: Config.Duration("GITHUB_WINDOW") } }
 *   })
 * }
 *
 * const environment = ConfigProvider.fromUnknown({
 *   GITHUB_MAX_PER_SECOND: 2.5,
 *   GITHUB_LIMIT: 5000,
 *   GITHUB_WINDOW: "1 hour"
 * })
 * const program = GitHub.pipe(
 *   Effect.flatMap(Meter.snapshot),
 *   Effect.map(({ free, room }) => ({ free, room })),
 *   Effect.provide(GitHub.layer),
 *   Effect.provideService(ConfigProvider.ConfigProvider, environment)
 * )
 *
 * await Effect.runPromise(program) // => { free: 10, room: { requests: 5000 } }
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <Self>(
  service: Context.Key<Self, Meter>,
  limits: LimitsConfig
): Layer.Layer<Self, Config.ConfigError> =>
  Layer.effect(
    service,
    Effect.flatMap(unwrap(limits) as Effect.Effect<PatientLimits, Config.ConfigError>, (read) => make(read))
  )

/** As `Config.unwrap`, which would load all of `effect/Config` and `effect/Schema` with this module. */
const unwrap = (wrapped: unknown): Effect.Effect<unknown, Config.ConfigError> => {
  // A `Config` is an effect.
  if (Effect.isEffect(wrapped)) return wrapped as Config.Config<unknown>
  if (typeof wrapped !== "object" || wrapped === null) return Effect.succeed(wrapped)
  return Effect.all(Object.fromEntries(Object.entries(wrapped).map(([name, each]) => [name, unwrap(each)])))
}

/**
 * A family of meters, one for each key: a host, a user, a tenant.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keyed<in out K, out E = never> {
  /** The meter of a key. It may be kept: the same key has the same meter, however long it has not been used. */
  readonly for: (key: K) => Meter<E>
  /**
   * How many keys are in use: something runs or waits, or started less than their longest window ago, or their meter is
   * paused, or was resized or drained by itself. Reading it changes nothing; it takes time in proportion to the number of
   * keys that are kept.
   */
  readonly size: number
  /** The keys in use and their meters, as they are now. A key that is not in use behaves as one that has never been. */
  readonly [Symbol.iterator]: () => IterableIterator<[key: K, meter: Meter<E>]>
  /**
   * Ends the meter of a key, and forgets it: what waits for it dies with `Closed`, and the next use of the key begins anew, with
   * the limits of the family. A verb of which nothing waits there finishes the item that it has pulled, and dies then. Tasks
   * that run are not interrupted, and do not count for the new meter. To let what waits finish, `drain` the meter before. Gives
   * whether the key was in use.
   */
  readonly delete: (key: K) => Effect.Effect<boolean>
  /**
   * Changes the given limits of all keys at once, also of those that are used later, and of those whose meters were resized by
   * themselves. Dies as `Meter.resize` does.
   */
  readonly resize: (limits: MeterLimits) => Effect.Effect<void>
  /** The state of the meter of each key in use. */
  readonly snapshot: Effect.Effect<ReadonlyMap<K, Snapshot>>
  /** Waits until no task runs or waits under any key, and no call of a verb uses one. */
  readonly idle: Effect.Effect<void>
  /** Drains the meters of all keys, as `Meter.drain` does. Keys that are used later are refused as well. */
  readonly drain: Effect.Effect<void>
  /**
   * Ends the meters of all keys: what waits dies with `Closed`, and so does what comes later, of whichever key. Waits until the
   * tasks that run have ended; it does not interrupt them.
   */
  readonly close: Effect.Effect<void>
}

/**
 * Makes a family of meters with the same limits, one for each key. Keys are compared as in a `Map`.
 *
 * **Details**
 *
 * A slow key does not delay the others. The state of a key is dropped when it has been idle for longer than its longest
 * window, after which it would make no difference. This happens when other keys are used, without a timer. A key whose
 * meter was resized or drained by itself is kept, and one whose meter is paused until the pause ends.
 *
 * Dies with a `Cause.IllegalArgumentError` if a limit is invalid.
 *
 * @see {@link keyedUnsafe} for a family as a value
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter, runAll } from "fibermeter"
 *
 * const program = Effect.gen(function* () {
 *   const hosts = yield* Meter.keyed<string>({ maxAtOnce: 2, maxPerSecond: 1000 })
 *   const load = (url: string) => Effect.succeed(url.length).pipe(Meter.metered(hosts.for(new URL(url).host)))
 *   return yield* runAll(["https://a.example/", "https://b.example/x"], load)
 * })
 *
 * await Effect.runPromise(program) // => [18, 19]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const keyed: {
  /**
   * Makes a family of meters with the same limits, one for each key. Dies with a `Cause.IllegalArgumentError` if a limit is
   * invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  <K>(limits: PatientLimits): Effect.Effect<Keyed<K>>
  /**
   * Makes a family of meters with the same limits, one for each key, which refuse calls with `Overloaded` if too many wait, or
   * wait too long. Dies with a `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  <K>(limits: MeterLimits & Naming): Effect.Effect<Keyed<K, Overloaded>>
} = <K>(limits: MeterLimits & Naming): Effect.Effect<Keyed<K>> =>
  Effect.map(
    attempt(() => readOptions(limits)),
    (make) => keyedBy<K>(make)
  )

/**
 * Makes a family of meters outside of Effect, for instance as a constant of a module. Throws a
 * `Cause.IllegalArgumentError` if a limit is invalid.
 *
 * @see {@link keyed} for details
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 *
 * const tenants = Meter.keyedUnsafe<number>({ maxAtOnce: 2 })
 *
 * await Effect.runPromise(Meter.metered(Effect.succeed("a report"), tenants.for(7))) // => "a report"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const keyedUnsafe: {
  /**
   * Makes a family of meters outside of Effect. Throws a `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  <K>(limits: PatientLimits): Keyed<K>
  /**
   * Makes a family of meters outside of Effect, which refuse calls with `Overloaded` if too many wait, or wait too long. Throws
   * a `Cause.IllegalArgumentError` if a limit is invalid.
   *
   * @category constructors
   * @since 0.1.0
   */
  <K>(limits: MeterLimits & Naming): Keyed<K, Overloaded>
} = <K>(limits: MeterLimits & Naming): Keyed<K> => keyedBy(readOptions(limits))

/** A new family each time. */
const keyedBy = <K>(make: ReturnType<typeof readOptions>): Keyed<K> => {
  let changes: CheckedLimits | undefined
  const resized = (read: CheckedLimits): void => {
    throwIfPatient(make(), read)
    changes = changed(changes ?? {}, read)
  }
  return keyedOf(new KeyedLimiters<K>(() => make(changes)), resized)
}

/** `resized` is called before the limiters are resized, and keeps the limits for those made later. */
const keyedOf = <K>(
  limiters: KeyedLimiters<K>,
  resized: (read: CheckedLimits) => void,
  throwIfWrong?: (key: K) => void
): Keyed<K> => {
  const meterOf = (key: K): Meter => {
    throwIfWrong?.(key)
    return ofLimitersAtUse(() => [limiters.of(key)])
  }
  const idle = Effect.callback<void>((resume) => {
    const callOff = limiters.whenIdle(() => resume(Effect.void))
    return Effect.sync(callOff)
  })
  return {
    for: meterOf,
    get size() {
      return limiters.size
    },
    [Symbol.iterator]: () => limiters.entries.map(([key]): [K, Meter] => [key, meterOf(key)])[Symbol.iterator](),
    delete: (key) =>
      Effect.sync(() => {
        const limiter = limiters.delete(key)
        limiter?.refuseAll(closed())
        return limiter !== undefined
      }),
    resize: (limits) =>
      reading(
        () => readLimits(limits),
        (read, fiber) => {
          resized(read)
          limiters.resize(read, ofFiber(fiber))
          return Effect.void
        }
      ),
    snapshot: Effect.withFiber((fiber) =>
      Effect.succeed(new Map(limiters.entries.map(([key, limiter]) => [key, stateOf([limiter], fiber)])))
    ),
    idle,
    drain: Effect.suspend(() => {
      for (const limiter of limiters.end()) stopAccepting(limiter, closed())
      return idle
    }),
    close: Effect.suspend(() => {
      for (const limiter of limiters.end()) limiter.refuseAll(closed())
      return idle
    })
  }
}

/**
 * Makes a family of meters, one for each key, that is shared by all processes with the same store and name. Each meter has the same
 * limits.
 *
 * **Details**
 *
 * The meter of each key behaves like one made by `distributed`. Keys are strings or finite numbers; `for` throws a
 * `Cause.IllegalArgumentError` for others. In the store, the meter of a key is named by the name and the key as JSON, such as
 * `tenants/"a"`; metrics and spans have the name of the family.
 *
 * When other keys are used, an idle key leaves the store, and this process forgets it. What has started still counts until it has
 * left the longest window, because the store keeps it. At the end of the scope, the family accepts no more tasks, and gives back
 * what it holds. `resize` applies to the keys that this process uses, now and later, and reaches them in all processes.
 *
 * @see {@link distributed} for the guarantees over all processes
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Meter } from "fibermeter"
 * import { MemoryStore } from "@fibermeter/redis/effect"
 *
 * const program = Effect.gen(function* () {
 *   const tenants = yield* Meter.keyedDistributed<string>("tenants", { maxAtOnce: 2 })
 *   return yield* Meter.metered(Effect.succeed("a report"), tenants.for("a"))
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryStore.layer))) // => "a report"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const keyedDistributed: {
  /**
   * Makes a family of meters that is shared by all processes with the same store and name. Dies with a
   * `Cause.IllegalArgumentError` if a limit is invalid, and with a `RangeError` if the store does not support it.
   *
   * @category constructors
   * @since 0.1.0
   */
  <K extends string | number>(
    name: string,
    limits: Patient
  ): Effect.Effect<Keyed<K, StoreError>, never, MeterStore | Scope.Scope>
  /**
   * Makes a family of meters that is shared by all processes with the same store and name. The meters refuse calls with
   * `Overloaded` if too many wait for a key in this process, or wait too long.
   *
   * @category constructors
   * @since 0.1.0
   */
  <K extends string | number>(
    name: string,
    limits: MeterLimits
  ): Effect.Effect<Keyed<K, Overloaded | StoreError>, never, MeterStore | Scope.Scope>
} = <K extends string | number>(
  name: string,
  limits: MeterLimits
): Effect.Effect<Keyed<K, StoreError>, never, MeterStore | Scope.Scope> =>
  Effect.flatMap(MeterStore, (store) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.withFiber((fiber) => attempt(() => familyOf<K>(store, name, limits, ofFiber(fiber)))),
        ({ limiters }) => {
          const all = limiters.end()
          for (const limiter of all) stopAccepting(limiter, closed())
          return Effect.promise(() => Promise.all(all.map((limiter) => limiter.disconnect())))
        }
      ),
      ({ limiters, resized }) => keyedOf<K>(limiters, resized, throwIfNoKey) as Keyed<K, StoreError>
    )
  )

const throwIfNoKey = (key: unknown): void =>
  void accept(check.kind("a string or a finite number", isKey)("the key", key))

const familyOf = <K extends string | number>(
  store: MeterStore["Service"],
  name: string,
  limits: MeterLimits,
  host: FiberHost
) => {
  accept(check.name("the name", name))
  const made = readLimits(limits)
  const metrics = new MeterMetrics(name)
  const open = (full: string): StoreLimiter => storeLimiter(store, full, made, metrics, host)
  // Limits that the store does not support are an error now, and not when a key is used.
  const sample = open(name)
  let changes: CheckedLimits | undefined
  const limiters = new KeyedLimiters<K, StoreLimiter>((key) => {
    // After the end, all keys without a limiter share this one.
    if (key === undefined) return sample
    const limiter = open(nameOfKey(name, key))
    // It opens with the original limits, which other processes compare, and is then resized.
    if (changes !== undefined) limiter.resize(changes, host, true)
    return limiter
  })
  const resized = (read: CheckedLimits): void => {
    throwIfPatient(sample, read)
    changes = changed(changes ?? {}, read)
  }
  return { limiters, resized }
}

/** The arguments of a single task, checked. */
interface Start {
  readonly limiters: () => ReadonlyArray<Limiter>
  /** Its cost is a copy, whose names are checked when the limiters are known. */
  readonly options: Readonly<Record<string, unknown>> | undefined
}

const startChecks = /* @__PURE__ */ once((): check.Checks => ({
  ...check.rank,
  waitTimeout: times().wait,
  cost: (_, cost) => check.copyOfCost(cost)
}))

const readStart = (meter: unknown, options: unknown): Start => ({
  limiters: readMeter(meter),
  options: options === undefined ? undefined : accept(check.options(startChecks(), options))
})

/** Instead of a new object for each request. */
const noAsk: Ask = {}

const requestOf = (fiber: Fiber.Fiber<any, any>, { limiters: limitersOf, options }: Start): FiberRequest => {
  const limiters = limitersOf()
  const cost = options?.["cost"]
  const ask: Ask =
    cost === undefined ? (options ?? noAsk) : { ...options, cost: accept(check.cost(namesOf(limiters), cost)) }
  const request = new FiberRequest(fiber, limiters, ask)
  throwIfClosed(request)
  return request
}
