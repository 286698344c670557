/**
 * What the verbs have in common: from arguments to a run, and from a run's end to an exit.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as Fiber from "effect/Fiber"
import type { AnyMeter, Cost, Meters } from "../../Meter.ts"
import type { AmapOptions, RunAnyOptions } from "../../Options.ts"
import type { Progress } from "../../Progress.ts"
import { accept, attempt } from "../input/accept.ts"
import { readMillis } from "../input/duration.ts"
import * as check from "../input/validate.ts"
import { Any, Feed } from "../results/collectors.ts"
import { isUninterruptible } from "../runtime/effectInternals.ts"
import { FiberWorker } from "../run/fiberWorker.ts"
import { capacityOf, namesOf, limitersTogether } from "../admission/limiter.ts"
import type { Limiter } from "../admission/limiter.ts"
import { limitersOf, meterCheck } from "../meter/meterLimiters.ts"
import { ofFiber } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"
import { LocalLimiter } from "../limits/localLimiter.ts"
import { callerIn } from "../admission/taskScope.ts"
import { reportOn, sizeOf } from "./progress.ts"
import { Run } from "../run/run.ts"
import type { Collector } from "../run/run.ts"
import { ofIterable } from "../source/source.ts"
import type { Source } from "../source/source.ts"
import { StreamSource } from "../source/streamSource.ts"

/** The options of all verbs together. */
export type AllOptions = AmapOptions<Meters, any, Cost> & RunAnyOptions<Meters, any, Cost>

export type Task<A, B, E> = (item: A, index: number) => Effect.Effect<B, E, any>

/** The lengths of time that Effect takes: all of `Duration.Input`. */
export const times = check.times(readMillis)

const checks: check.Checks = {
  ...times.limits,
  ...check.verb,
  cost: check.anyFunction,
  meter: check.oneOrMore(meterCheck)
}

/** What a call does with its items, checked. */
interface Work<A, B, E> {
  readonly f: Task<A, B, E>
  readonly options: AllOptions
}

/** A call's arguments, checked. */
export interface Call<A, B, E> extends Work<A, B, E> {
  readonly items: Iterable<A> | Stream.Stream<A, E, any>
}

const readWork = (f: unknown, options: unknown): Work<any, any, any> => {
  const copy = accept(check.options(checks, options)) as AllOptions
  accept(check.notFunction("the task", "a function from an item to an Effect", f))
  return { f: f as Task<any, any, any>, options: copy }
}

const isItems = (items: unknown): items is Iterable<any> | Stream.Stream<any, any, any> =>
  Stream.isStream(items) || (check.isIterable(items) && !Effect.isEffect(items))

const readItems = (items: unknown): Iterable<any> | Stream.Stream<any, any, any> => {
  if (isItems(items)) return items
  const wanted = "an Iterable or a Stream"
  return accept<never>(check.notItems(Effect.isEffect(items) ? `${wanted}, and an Effect is neither` : wanted, items))
}

/**
 * A verb over `(items, f, options?)` or, for a pipe, over `(f, options?)`, whose arguments are read when they are given.
 * `useEffects`, where there is one, is the verb over `(effects, options?)`.
 */
export const dualVerb =
  <Out>(use: (call: Exit.Exit<Call<any, any, any>>) => Out, useEffects?: (effects: unknown, options: unknown) => Out) =>
  (...args: ReadonlyArray<unknown>): any => {
    const [first, second, third] = args
    const over = (items: unknown, work: () => Work<any, any, any>): Out =>
      use(attempt(() => ({ ...work(), items: readItems(items) })))
    if (typeof second === "function") return over(first, () => readWork(second, third))
    if (typeof first !== "function") {
      return useEffects === undefined ? over(first, () => readWork(second, third)) : useEffects(first, second)
    }
    const work = attempt(() => readWork(first, second))
    return (items: unknown) => (Exit.isFailure(work) ? use(Exit.failCause(work.cause)) : over(items, () => work.value))
  }

/** The arguments of a verb that were given as `(effects, options?)`: the tasks are the items. */
export const ofEffects = (effects: () => unknown, options: unknown): Exit.Exit<Call<any, any, any>> =>
  attempt(() => ({
    ...readWork((effect: Effect.Effect<any, any, any>) => effect, options),
    items: readItems(effects())
  }))

/** The limiters of the meters that a call shares with others. */
const sharedLimiters = ({ meter }: AllOptions): ReadonlyArray<Limiter> => {
  const meters: ReadonlyArray<Meters> = meter === undefined ? [] : Array.isArray(meter) ? meter : [meter]
  return limitersTogether(meters.map((each) => () => limitersOf(each as AnyMeter)))
}

type Weigh = (item: any, index: number) => Cost

/** A call's `cost`, checked each time: nothing is known of it before. */
const weighing =
  (cost: Weigh, limiters: ReadonlyArray<Limiter>): Weigh =>
  (item, index) =>
    accept(check.cost(namesOf(limiters), cost(item, index)))

/**
 * A call's run, not begun yet. `onEnd` is called once, when nothing of it is left. Without `maxUnread`, that goes by how many tasks may run at once.
 */
export const makeRun = <A, B, E>(
  call: Call<A, B, E>,
  fiber: Fiber.Fiber<any, any>,
  host: FiberHost,
  collector: Collector<B, Cause.Cause<E>>,
  maxUnread: number | undefined,
  onEnd: (run: Run<A, B, Cause.Cause<E>>) => void
): Run<A, B, Cause.Cause<E>> => {
  const { items, f } = call
  const source: Source<A, Cause.Cause<E>> = Stream.isStream(items)
    ? new StreamSource(items, host)
    : ofIterable(items, Cause.die)
  // A race interrupts its losers even where its caller cannot be interrupted; the other verbs are as interruptible as
  // their callers, like Effect's own.
  const isShielded = isUninterruptible(fiber) && !(collector instanceof Any)
  const { cost, onProgress } = call.options
  const total = onProgress === undefined ? undefined : sizeOf(items)
  const own = LocalLimiter.forCall(call.options)
  const shared = sharedLimiters(call.options)
  const worker = new FiberWorker({
    f,
    weigh: cost === undefined ? undefined : weighing(cost, [...own.limiters, ...shared]),
    host,
    parent: fiber.id,
    // The reader of results may be doing something else meanwhile.
    inside: callerIn(fiber, !(collector instanceof Feed)),
    isUninterruptible: isShielded,
    // For a task that in the end waits for itself.
    isTelling: capacityOf(shared) < Infinity
  })
  const run = new Run(host, source, own, shared, worker, collector, maxUnread)
  run.onEnd = () => onEnd(run)
  if (onProgress !== undefined) {
    const report = (progress: Progress): void => {
      const result: unknown = onProgress(progress)
      accept(check.notSync("onProgress", result))
      if (Effect.isEffect(result)) {
        throw new Cause.IllegalArgumentError("onProgress must not return an Effect, which nothing runs")
      }
    }
    reportOn(run, total, report, (error) => {
      // What it throws while the call ends for that very reason adds nothing.
      if (run.failure === undefined) run.fail(Cause.die(error))
    })
  }
  return run
}

/** The effect that a verb without a stream is: a run from its beginning to its end. */
export const execute = <A, B, E, C extends Collector<B, Cause.Cause<E>>, Z>(
  call: Exit.Exit<Call<A, B, E>>,
  makeCollector: (call: Call<A, B, E>) => C,
  result: (collector: C) => Exit.Exit<Z, E>
): Effect.Effect<Z, E, any> =>
  Exit.isFailure(call)
    ? Effect.failCause(call.cause)
    : Effect.withFiber((fiber) =>
        Effect.callback<Z, E>((resume) => {
          const host = ofFiber(fiber)
          const collector = makeCollector(call.value)
          const run = makeRun(call.value, fiber, host, collector, Infinity, ({ failure }) =>
            resume(failure === undefined ? result(collector) : Exit.failCause(failure))
          )
          run.pump()
          // By its type a cleanup has no errors, but what it fails with is in the cause all the same, as in Effect's own
          // `forEach`; and it is the call's own type.
          return stopped(run) as Effect.Effect<void>
        })
      )

/**
 * What an interruption of a call does: ends the run, if it has not ended, and waits until nothing of it is left. Fails
 * with what the call had failed with before, or fails with meanwhile.
 */
export const stopped = <E>(run: Run<any, any, Cause.Cause<E>>): Effect.Effect<void, E> =>
  Effect.callback<void, E>((resume) => {
    const end = (): void => resume(run.failure === undefined ? Effect.void : Effect.failCause(run.failure))
    if (run.phase === "ended") return end()
    run.onEnd = end
    run.stop()
  })
