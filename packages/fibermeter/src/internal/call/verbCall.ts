/**
 * What the verbs have in common: from their arguments to a run, and from the end of a run to an exit.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as Fiber from "effect/Fiber"
import type { Cost, Meters } from "../../Meter.ts"
import type { Items } from "../../Items.ts"
import type { AmapOptions, RunAnyOptions } from "../../Options.ts"
import type { Progress } from "../../Progress.ts"
import { once } from "../data/once.ts"
import { accept, attempt } from "../input/accept.ts"
import { readMillis } from "../input/duration.ts"
import * as check from "../input/validate.ts"
import { Any } from "../results/any.ts"
import { Feed } from "../results/feed.ts"
import { isUninterruptible } from "../runtime/effectInternals.ts"
import { FiberWorker } from "../run/fiberWorker.ts"
import type { ItemMeters } from "../admission/itemRequests.ts"
import { capacityOf, namesOf, limitersTogether } from "../admission/limiter.ts"
import type { Limiter } from "../admission/limiter.ts"
import { limitersOf, meterCheck } from "../meter/meterLimiters.ts"
import { ofFiber } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"
import { callerIn, throwIfClosed } from "../admission/taskScope.ts"
import { reportOn, sizeOf } from "./progress.ts"
import { ranking } from "../run/ranking.ts"
import { FiberRun } from "../run/fiberRun.ts"
import { ownLimitsOf } from "../run/run.ts"
import type { Collector, Run } from "../run/run.ts"
import { hasSource, ofIterable, sourceIn } from "../source/source.ts"
import type { Source } from "../source/source.ts"
import { StreamSource } from "../source/streamSource.ts"

/** The options of all verbs together. */
export type AllOptions = AmapOptions<Meters, any, Cost, number> & RunAnyOptions<Meters, any, Cost, number>

type TaskFunction<A, B, E> = (item: A, index: number) => Effect.Effect<B, E, any>

/** Durations as Effect takes them: all of `Duration.Input`. */
export const times = /* @__PURE__ */ once(() => check.times(readMillis))

const checks = /* @__PURE__ */ once((): check.Checks => ({
  ...times().limits,
  ...check.verb,
  ...check.rankByItem,
  cost: check.anyFunction,
  meter: check.functionOr(check.oneOrMore(meterCheck)),
  stagger: times().wait
}))

/** The arguments of a verb beside its items, checked. */
interface Mapping<A, B, E> {
  readonly f: TaskFunction<A, B, E>
  readonly options: AllOptions
}

/** The arguments of a verb, checked. */
export interface Arguments<A, B, E> extends Mapping<A, B, E> {
  readonly items: Items<A, E, any>
}

const readMapping = (f: unknown, options: unknown): Mapping<any, any, any> => {
  const copy = accept(check.options(checks(), options)) as AllOptions
  accept(check.notFunction("the task", "a function from an item to an Effect", f))
  return { f: f as TaskFunction<any, any, any>, options: copy }
}

const isItems = (items: unknown): items is Items<any, any, any> =>
  Stream.isStream(items) || (check.isIterable(items) && !Effect.isEffect(items)) || hasSource(items)

const readItems = (items: unknown): Items<any, any, any> => {
  if (isItems(items)) return items
  const wanted = "an Iterable or a Stream"
  return accept<never>(check.notItems(Effect.isEffect(items) ? `${wanted}, and an Effect is neither` : wanted, items))
}

/**
 * A verb that takes `(items, f, options?)` or, for a pipe, `(f, options?)`. Arguments are read when they are passed.
 * `useEffects` is the verb for `(effects, options?)`, where it takes that.
 */
export const dualVerb =
  <Out>(
    use: (args: Exit.Exit<Arguments<any, any, any>>) => Out,
    useEffects?: (effects: unknown, options: unknown) => Out
  ) =>
  (...args: ReadonlyArray<unknown>): any => {
    const [first, second, third] = args
    const over = (items: unknown, mapping: () => Mapping<any, any, any>): Out =>
      use(attempt(() => ({ ...mapping(), items: readItems(items) })))
    if (typeof second === "function") return over(first, () => readMapping(second, third))
    if (typeof first !== "function") {
      return useEffects === undefined ? over(first, () => readMapping(second, third)) : useEffects(first, second)
    }
    const mapping = attempt(() => readMapping(first, second))
    return (items: unknown) =>
      Exit.isFailure(mapping) ? use(Exit.failCause(mapping.cause)) : over(items, () => mapping.value)
  }

/** The arguments `(effects, options?)` of a verb: the effects are the items. */
export const ofEffects = (effects: () => unknown, options: unknown): Exit.Exit<Arguments<any, any, any>> =>
  attempt(() => ({
    ...readMapping((effect: Effect.Effect<any, any, any>) => effect, options),
    items: readItems(effects())
  }))

/** The limiters of meters, which a call shares with other calls. */
const sharedLimiters = (meter: Meters): ReadonlyArray<Limiter> =>
  limitersTogether([meter].flat().map((each) => () => limitersOf(each)))

/** The meters of each item, where the option is a function, whose results are checked each time. */
const itemMeters = (options: AllOptions): ItemMeters | undefined => {
  const { meter } = options
  return typeof meter === "function"
    ? {
        limitersOf: (item, index) =>
          sharedLimiters(accept(check.forItem(meterCheck, index, meter(item, index))) as Meters),
        options
      }
    : undefined
}

/**
 * Makes the run of a call, without starting it. `onEnd` is called once, when nothing of the call is left. The default of
 * `maxUnread` depends on how many tasks may run at once.
 */
export const makeRun = <A, B, E>(
  { f, items, options }: Arguments<A, B, E>,
  fiber: Fiber.Fiber<any, any>,
  host: FiberHost,
  collector: Collector<B, Cause.Cause<E>>,
  maxUnread: number | undefined,
  onEnd: (run: Run<A, B, Cause.Cause<E>>) => void
): Run<A, B, Cause.Cause<E>> => {
  const source: Source<A, Cause.Cause<E>> = sourceIn<A>(items) ??
  (Stream.isStream(items) ? new StreamSource(items, host) : ofIterable(items as Iterable<A>, Cause.die))
  // A race interrupts its losers even if its caller cannot be interrupted. The other verbs are as interruptible as their
  // callers, like those of Effect.
  const isShielded = isUninterruptible(fiber) && !(collector instanceof Any)
  const { cost, onProgress, permits } = options
  const total = onProgress === undefined ? undefined : sizeOf(items)
  const meters = itemMeters(options)
  const shared = meters === undefined ? sharedLimiters((options.meter as Meters | undefined) ?? []) : []
  const own = ownLimitsOf(options, permits, meters !== undefined && options.maxAtOnce !== undefined)
  // Between two reads, the fiber that reads a stream may be doing something else.
  const inside = callerIn(fiber, !(collector instanceof Feed))
  throwIfClosed({ limiters: shared, host, inside })
  const known = [...shared, own]
  const worker = new FiberWorker({
    f,
    itemMeters: meters,
    // The results of the caller's function are checked each time.
    weigh:
      cost === undefined
        ? undefined
        : (item, index, limiters = known) => accept(check.cost(namesOf(limiters), cost(item, index))),
    permits,
    rank: ranking(options, (value) => accept(check.rank.priority("priority", value)) as number),
    host,
    parent: fiber.id,
    inside,
    isUninterruptible: isShielded,
    meters: shared,
    // Needed to find deadlocks, and nested calls while a meter drains.
    knowsHolding: meters !== undefined || capacityOf(shared) < Infinity || shared.some((limiter) => limiter.isTimed)
  })
  const paced = collector.pace?.(source, host) ?? source
  const run = new FiberRun(host, paced, own, shared, worker, collector, maxUnread)
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
      // The call may be ending because of an earlier throw, to which this one adds nothing.
      if (run.failure === undefined) run.fail(Cause.die(error))
    })
  }
  return run
}

/** A verb that returns an Effect: a run from its beginning to its end. */
export const execute = <A, B, E, C extends Collector<B, Cause.Cause<E>>, Z>(
  args: Exit.Exit<Arguments<A, B, E>>,
  makeCollector: (args: Arguments<A, B, E>) => C,
  result: (collector: C) => Exit.Exit<Z, E>
): Effect.Effect<Z, E, any> =>
  Exit.isFailure(args)
    ? Effect.failCause(args.cause)
    : Effect.withFiber((fiber) =>
        Effect.callback<Z, E>((resume) => {
          const host = ofFiber(fiber)
          const collector = makeCollector(args.value)
          const run = makeRun(args.value, fiber, host, collector, Infinity, ({ failure }) =>
            resume(failure === undefined ? result(collector) : Exit.failCause(failure))
          )
          run.pump()
          // A cleanup has no errors by its type, but its failures are in the cause all the same, as with Effect's `forEach`.
          // They are of the call's own error type.
          return stopped(run) as Effect.Effect<void>
        })
      )

/**
 * Stops a run whose call is interrupted, and waits until nothing of it is left. Fails if the run has failed, or fails
 * meanwhile.
 */
export const stopped = <E>(run: Run<any, any, Cause.Cause<E>>): Effect.Effect<void, E> =>
  Effect.callback<void, E>((resume) => {
    const end = (): void => resume(run.failure === undefined ? Effect.void : Effect.failCause(run.failure))
    if (run.phase === "ended") return end()
    run.onEnd = end
    run.stop()
  })
