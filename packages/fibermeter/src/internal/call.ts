/**
 * What the verbs have in common: from arguments to a run, and from a run's end to an exit.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as Fiber from "effect/Fiber"
import type { AnyMeter, Cost, Meters } from "../Meter.ts"
import type { AmapOptions, RunAnyOptions } from "../Options.ts"
import type { Progress } from "../Progress.ts"
import * as check from "./check.ts"
import { Any, Feed } from "./collect.ts"
import { FiberWorker } from "./fiberWorker.ts"
import { capacityOf, namesOf, together } from "./gate.ts"
import type { Gate } from "./gate.ts"
import { gatesOf, isGated } from "./gated.ts"
import type { Host } from "./host.ts"
import { ofFiber } from "./host.ts"
import { LimitGate } from "./limitGate.ts"
import { callerIn } from "./nesting.ts"
import { reportOn } from "./progress.ts"
import { Run } from "./run.ts"
import type { Collector, Counts } from "./run.ts"
import { ofIterable } from "./source.ts"
import type { Source } from "./source.ts"
import { StreamSource } from "./streamSource.ts"

/** Whether a verb was given what it works on as its first argument, rather than being made ready for a pipe. */
export const isDataFirst = (args: ArrayLike<unknown>): boolean =>
  typeof args[0] !== "function" || typeof args[1] === "function"

/** The options of all verbs together. */
export type AllOptions = AmapOptions<Meters, any, Cost> & RunAnyOptions<Meters, any, Cost>

export type Task<A, B, E> = (item: A, index: number) => Effect.Effect<B, E, any>

const checks: check.Checks = {
  ...check.verb,
  cost: check.anyFunction,
  meter: check.oneOrMore(check.kind("a Meter", isGated))
}

/** A call's arguments, with what is wrong with them, if anything. */
export interface Call<A, B, E> {
  readonly items: Iterable<A> | Stream.Stream<A, E, any>
  readonly f: Task<A, B, E>
  readonly options: AllOptions
  readonly problem: check.Problem | undefined
}

/** The arguments of a verb that were given as `(items, f, options?)`. */
export const ofItems = <A, B, E>(items: unknown, f: unknown, options: unknown): Call<A, B, E> => ({
  items: items as Iterable<A>,
  f: f as Task<A, B, E>,
  options: (options ?? {}) as AllOptions,
  problem:
    check.options(checks, options) ??
    check.notFunction("the task", "a function from an item to an Effect", f) ??
    (Stream.isStream(items) || (check.isIterable(items) && !Effect.isEffect(items))
      ? undefined
      : check.notItems(
          Effect.isEffect(items) ? "an Iterable or a Stream, and an Effect is neither" : "an Iterable or a Stream",
          items
        ))
})

/** The arguments of a verb that were given as `(effects, options?)`: the tasks are the items. */
export const ofEffects = <B, E>(effects: unknown, options: unknown): Call<any, B, E> =>
  ofItems(effects, (effect: Effect.Effect<B, E, any>) => effect, options)

/** The gates of the meters that a call shares with others. */
const sharedGates = ({ meter }: AllOptions): ReadonlyArray<Gate> => {
  const meters: ReadonlyArray<Meters> = meter === undefined ? [] : Array.isArray(meter) ? meter : [meter]
  return together(meters.map((each) => () => gatesOf(each as AnyMeter)))
}

type Weigh = (item: any, index: number) => Cost

/** A call's `cost`, checked each time: nothing is known of it before. */
const weighing = (cost: Weigh, gates: ReadonlyArray<Gate>): Weigh => {
  return (item, index) => {
    const amounts = cost(item, index)
    const problem = check.cost(namesOf(gates), amounts)
    if (problem !== undefined) throw new Cause.IllegalArgumentError(problem.message)
    return amounts
  }
}

/** A call's run, not begun yet. Without `maxUnread`, that goes by how many tasks may run at once. */
export const makeRun = <A, B, E>(
  call: Call<A, B, E>,
  fiber: Fiber.Fiber<any, any>,
  host: Host,
  collector: Collector<B, Cause.Cause<E>>,
  maxUnread: number | undefined
): Run<A, B, Cause.Cause<E>> => {
  const { items, f } = call
  const source: Source<A, Cause.Cause<E>> = Stream.isStream(items)
    ? new StreamSource(items, host)
    : ofIterable(items, Cause.die)
  // A race interrupts its losers even where its caller cannot be interrupted; the other verbs are as interruptible as
  // their callers, like Effect's own. Not part of a fiber's interface, but of every fiber.
  const { interruptible } = fiber as { readonly interruptible?: boolean }
  const { cost } = call.options
  const own = LimitGate.forCall(call.options)
  const shared = sharedGates(call.options)
  const worker = new FiberWorker({
    f,
    weigh: cost === undefined ? undefined : weighing(cost, [...own.gates, ...shared]),
    parent: fiber.id,
    // The reader of results may be doing something else meanwhile.
    inside: callerIn(fiber, !(collector instanceof Feed)),
    isUninterruptible: interruptible === false && !(collector instanceof Any),
    // For a task that in the end waits for itself.
    isTelling: capacityOf(shared) < Infinity
  })
  const run = new Run(host, source, own, shared, worker, collector, maxUnread)
  const { onProgress } = call.options
  if (onProgress !== undefined) {
    // The verbs here try nothing again: that is composition.
    const report = ({ retried: _, ...progress }: Progress & Counts): void => onProgress(progress)
    reportOn(run, items, report, (error) => {
      // What it throws while the call ends for that very reason adds nothing.
      if (run.failure === undefined) run.fail(Cause.die(error))
    })
  }
  return run
}

/** The effect that a verb without a stream is: a run from its beginning to its end. */
export const execute = <A, B, E, C extends Collector<B, Cause.Cause<E>>, Z>(
  call: Call<A, B, E>,
  makeCollector: () => C,
  result: (collector: C) => Exit.Exit<Z, E>
): Effect.Effect<Z, E, any> =>
  call.problem !== undefined
    ? refusal(call.problem)
    : Effect.withFiber((fiber) =>
        Effect.callback<Z, E>((resume) => {
          const host = ofFiber(fiber)
          const collector = makeCollector()
          const run = makeRun(call, fiber, host, collector, Infinity)
          run.onEnd = () => resume(run.failure === undefined ? result(collector) : Exit.failCause(run.failure))
          run.pump()
          return Effect.suspend(() => stopped(run))
        })
      )

/**
 * A call's finalizer: ends the run, if it has not ended, and waits until nothing of it is left. Finalizers have no
 * typed errors, so what tasks fail with while they are interrupted are defects here.
 */
export const stopped = (run: Run<any, any, Cause.Cause<any>>): Effect.Effect<void> =>
  Effect.orDie(
    Effect.callback<void, unknown>((resume) => {
      if (run.phase === "ended") return resume(Effect.void)
      run.onEnd = () => resume(run.failure === undefined ? Effect.void : Effect.failCause(run.failure))
      run.stop()
    })
  )

/** The defect that wrong arguments are. */
export const refusal = (problem: check.Problem): Effect.Effect<never> =>
  Effect.die(new Cause.IllegalArgumentError(problem.message))
