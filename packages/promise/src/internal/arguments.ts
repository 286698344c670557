/**
 * From the arguments of a verb to its run.
 */
import { calls, check, runtime } from "fibermeter/engine"
import type { Meter } from "../Meter.ts"
import type { AmapOptions, RunAnyOptions } from "../Options.ts"
import type { Progress } from "../Progress.ts"
import type { TaskContext } from "../Task.ts"
import { AsyncSource } from "./asyncSource.ts"
import { cancellationChecks, listen, reasonOf } from "./signal.ts"
import type { BaseMeter } from "./baseMeter.ts"
import { isTooDeep } from "./nestingDepth.ts"
import { host } from "./host.ts"
import { meterCheck, metersOf } from "./meterOption.ts"
import { afterLoosely } from "./looseTimer.ts"
import type { MeterLimiter } from "./meterLimiter.ts"
import { observing } from "./observation.ts"
import { Settling } from "./outcomes.ts"
import type { CallCollector } from "./outcomes.ts"
import { PromiseWorker } from "./promiseWorker.ts"
import type { AnyTask } from "./promiseWorker.ts"
import { accept, acceptCost } from "./errors.ts"
import { toRejection } from "./rejection.ts"
import type { Rejection } from "./rejection.ts"
import { RetryingRun } from "./retryingRun.ts"
import { once } from "./once.ts"
import { Retries, taskChecks } from "./retryPolicy.ts"
import { times } from "./times.ts"
import type { Checked } from "./times.ts"

/** The options of all verbs together. */
export type AllOptions = Checked<AmapOptions & RunAnyOptions>

/** A call's arguments, checked. */
export interface Call<A, B> {
  readonly items: Iterable<A> | AsyncIterable<A>
  readonly task: AnyTask<A, B>
  readonly options: AllOptions
}

const checks = /* @__PURE__ */ once((): check.Checks => ({
  ...times().limits,
  ...check.verb,
  ...check.rankByItem,
  ...cancellationChecks(),
  ...taskChecks(),
  cost: check.anyFunction,
  meter: check.functionOr(check.oneOrMore(meterCheck)),
  settled: check.boolean,
  stagger: times().wait,
  stopOnError: check.boolean
}))

/** The options of a verb that is a method of a meter. They are read where other options are read, so that a throw has the same effect. */
export class UnderMeter {
  readonly meter: BaseMeter
  readonly options: unknown

  constructor(meter: BaseMeter, options: unknown) {
    this.meter = meter
    this.options = options
  }
}

type MeterOfItem = (item: unknown, index: number) => unknown

const readOptions = (given: unknown): AllOptions => {
  const isUnderMeter = given instanceof UnderMeter
  const options = accept(check.options(checks(), isUnderMeter ? given.options : given)) as AllOptions
  const { meter } = options
  const under = isUnderMeter ? [given.meter] : []
  const isByItem = typeof meter === "function"
  const meters = isByItem ? under : [...under, ...metersOf(meter)]
  const [first, ...others] = meters
  if (first === undefined && !isByItem) return options
  const ofItem = (item: unknown, index: number): ReadonlyArray<BaseMeter> => [
    ...under,
    ...metersOf(accept(check.forItem(meterCheck, index, (meter as MeterOfItem)(item, index))) as Meter)
  ]
  return { ...(first?.optionsWith(others, options) ?? options), meter: (isByItem ? ofItem : meters) as any }
}

const limitersOf = ([first, ...others]: ReadonlyArray<BaseMeter>): ReadonlyArray<MeterLimiter> =>
  first?.limitersWith(others) ?? []

/** The arguments of a verb that were given as `(items, task, options?)`. Throws if something is wrong with them. */
export const ofItems = <A, B>(items: unknown, task: unknown, options: unknown): Call<A, B> => {
  const copy = readOptions(options)
  accept(check.notFunction("the task", "a function", task))
  // An Effect is iterable for the sake of `yield*`, and would be treated as a list with one item.
  if (!(check.isIterable(items) || check.isAsyncIterable(items)) || runtime.isEffect(items)) {
    accept(check.notItems("an Iterable or an AsyncIterable", items))
  }
  return { items: items as Iterable<A>, task: task as AnyTask<A, B>, options: copy }
}

/** The arguments of a verb that were given as `(tasks, options?)`: the functions are the items. */
export const ofTasks = <B>(tasks: unknown, options: unknown): Call<unknown, B> => {
  const call = ofItems<unknown, B>(tasks, callTask, options)
  // The elements of an array are checked before anything starts, those of other iterables when they are pulled.
  if (Array.isArray(tasks)) for (const [index, task] of tasks.entries()) checkTask(index, task)
  return call
}

const callTask = (task: unknown, context: TaskContext): unknown => {
  checkTask(context.index, task)
  return (task as (context: TaskContext) => unknown)(context)
}

const checkTask = (index: number | string, task: unknown): void => {
  accept(check.notFunction(`tasks[${JSON.stringify(index)}]`, "a function", task))
}

/** The names and tasks of a record, read once; `undefined` for anything else. */
export const recordOf = (tasks: unknown): ReadonlyArray<readonly [string, unknown]> | undefined => {
  if (!check.isObject(tasks) || check.isIterable(tasks) || check.isAsyncIterable(tasks)) return undefined
  const entries = Object.entries(tasks)
  for (const [name, task] of entries) checkTask(name, task)
  return entries
}

/** The run of a call. */
interface Begun<A, B> {
  readonly run: RetryingRun<A, B>
  /** Starts it, and listens to the caller's signal until `onEnd` calls `unlisten`. */
  readonly begin: () => void
  readonly unlisten: () => void
}

/**
 * Creates the run of a call, without starting it. `onEnd` is called once, when nothing is left of it but cancelled tasks
 * that have not settled within `grace`. The call then rejects with `rejection`, or otherwise with `unclosed`, which the
 * schedule of retries has thrown when it was closed. Without `maxUnread`, the default depends on how many tasks may run at
 * once. Throws if a meter is closed.
 */
export const makeRun = <A, B>(
  { items, options, task }: Call<A, B>,
  collector: CallCollector<B>,
  onEnd: (rejection: Rejection | undefined, unclosed: Rejection | undefined) => void,
  maxUnread: number | undefined,
  onSignal: (reason: unknown) => void = () => {}
): Begun<A, B> => {
  const { cost, grace = 0, maxAtOnce, meter, onProgress, permits = 1, retry, signal } = options
  const total = onProgress === undefined ? undefined : calls.sizeOf(items)
  const meters: calls.ItemMeters | undefined =
    typeof meter === "function"
      ? {
          limitersOf: (item, index) => {
            const limiters = limitersOf(meter(item, index) as any)
            for (const limiter of limiters) if (limiter.isClosed) limiter.throwIfRefusing()
            return limiters
          },
          options,
          enter: (limiter, isWaiting) => (limiter as MeterLimiter).enter(abort, isWaiting)
        }
      : undefined
  const shared = limitersOf(meters === undefined ? metersOf(meter as Meter) : [])
  for (const limiter of shared) limiter.throwIfRefusing()
  const needsRequest = meters === undefined ? retry !== undefined && shared.length === 0 : maxAtOnce !== undefined
  const own = calls.ownLimitsOf(options, permits, needsRequest)
  const pausable = shared.length > 0 ? shared : [{ pause: (_: unknown, nanos: number) => run.pause(nanos) }]
  const retries = retry === undefined ? undefined : new Retries(retry, pausable, (): boolean => run.phase !== "open")
  const known = [...shared, own]
  const worker = new PromiseWorker<A, B>({
    task: meter === undefined ? task : observing(task),
    signal,
    itemMeters: meters,
    weigh: cost === undefined ? undefined : (item, index, limiters = known) => acceptCost(limiters, cost(item, index)),
    permits,
    rank: calls.ranking(options, (value) => accept(check.rank.priority("priority", value)) as number),
    grace,
    timeout: options.timeout,
    releasesOnTimeout: options.releaseOnTimeout === true,
    retries,
    isSettling: collector instanceof Settling
  })
  const source =
    calls.sourceIn<A>(items) ??
    (check.isAsyncIterable(items) ? new AsyncSource(items) : calls.ofIterable(items, toRejection))
  const paced = collector.pace?.(source, host()) ?? source
  const run = new RetryingRun(host(), paced, own, shared, worker, collector, maxUnread)
  const abort = (reason: unknown): void => {
    // A failure or a winner has decided the call, and stands. The end of the last task has not: the last progress report
    // may still abort the call.
    if (!run.isDecided) worker.callerReason ??= { reason }
    run.abort()
  }
  const leave = shared.map((limiter) => limiter.enter(abort, (at) => run.isWaitingAt(at)))
  let thrown: Rejection | undefined
  let unlisten: (() => void) | undefined
  run.onEnd = () => {
    for (const each of leave) each()
    const unclosed = retries?.close()
    onEnd(worker.callerReason ?? run.failure ?? thrown, unclosed)
  }
  const begin = (): void => {
    // The run is in the lists of its meters, and has to leave them even if this throws.
    try {
      if (onProgress !== undefined) {
        const onThrow = (reason: unknown): void => {
          thrown ??= { reason }
          if (run.phase === "open") run.fail(thrown)
        }
        const report = (progress: Progress): void => {
          accept(check.notSync("onProgress", onProgress(progress)))
        }
        calls.reportOn(run, total, report, onThrow, afterLoosely)
      }
      const abortBySignal = (reason: unknown): void => {
        if (!run.isDecided) onSignal(reason)
        abort(reason)
      }
      unlisten = listen(signal, abortBySignal)
      // Code of the caller that ran since may have aborted the signal.
      if (signal?.aborted === true) abortBySignal(reasonOf(signal))
    } catch (reason) {
      run.fail({ reason })
    }
    if (run.phase === "ended") unlisten?.()
    else if (isTooDeep()) void Promise.resolve().then(() => run.pump())
    else run.pump()
  }
  return { run, begin, unlisten: () => unlisten?.() }
}
