/**
 * What the verbs have in common: from arguments to a run, and from a run's end to a promise.
 */
import { admission, calls, check, runtime } from "fibermeter/engine"
import type { AmapOptions, RunAnyOptions } from "../Options.ts"
import type { Progress } from "../Progress.ts"
import type { TaskContext } from "../Task.ts"
import { AsyncSource } from "./asyncSource.ts"
import { cancellationChecks, listen, reasonOf } from "./signal.ts"
import type { BaseMeter } from "./baseMeter.ts"
import { isTooDeep } from "./nestingDepth.ts"
import { host } from "./host.ts"
import { meterCheck } from "./isMeter.ts"
import { afterLoosely } from "./looseTimer.ts"
import type { Call as MeterCall, MeterLimiter } from "./meterLimiter.ts"
import { Settling } from "./outcomes.ts"
import type { CallCollector } from "./outcomes.ts"
import { PromiseWorker } from "./promiseWorker.ts"
import type { AnyTask, Weigh } from "./promiseWorker.ts"
import { accept } from "./errors.ts"
import type { Rejection } from "./rejection.ts"
import { RetryingRun } from "./retryingRun.ts"
import { millisOf, Retries, taskChecks } from "./retryPolicy.ts"
import { once } from "./once.ts"
import { times } from "./times.ts"

/** The options of all verbs together. */
export type AllOptions = AmapOptions & RunAnyOptions

/** A call's arguments, checked. */
export interface Call<A, B> {
  readonly items: Iterable<A> | AsyncIterable<A>
  readonly task: AnyTask<A, B>
  readonly options: AllOptions
}

const checks = /* @__PURE__ */ once((): check.Checks => ({
  ...times().limits,
  ...check.verb,
  ...cancellationChecks(),
  ...taskChecks(),
  cost: check.anyFunction,
  meter: check.oneOrMore(meterCheck),
  settled: check.boolean,
  stopOnError: check.boolean
}))

/** The options of a call under a meter. They are read where those of a call are, so that a throw ends it likewise. */
export class UnderMeter {
  private readonly meter: BaseMeter
  private readonly options: unknown

  constructor(meter: BaseMeter, options: unknown) {
    this.meter = meter
    this.options = options
  }

  read(): AllOptions {
    const options = readOptions(this.options)
    return { ...options, meter: [this.meter, ...metersOf(options.meter)] as ReadonlyArray<any> }
  }
}

const readOptions = (options: unknown): AllOptions =>
  options instanceof UnderMeter ? options.read() : (accept(check.options(checks(), options)) as AllOptions)

/** The arguments of a verb that were given as `(items, task, options?)`. Throws if something is wrong with them. */
export const ofItems = <A, B>(items: unknown, task: unknown, options: unknown): Call<A, B> => {
  const copy = readOptions(options)
  accept(check.notFunction("the task", "a function", task))
  // An Effect is iterable, too, for `yield*` alone: it yields itself, and would be taken for a list with one item.
  if (!(check.isIterable(items) || check.isAsyncIterable(items)) || runtime.isEffect(items)) {
    accept(check.notItems("an Iterable or an AsyncIterable", items))
  }
  return { items: items as Iterable<A>, task: task as AnyTask<A, B>, options: copy }
}

/** The arguments of a verb that were given as `(tasks, options?)`: the functions are the items. */
export const ofTasks = <B>(tasks: unknown, options: unknown): Call<unknown, B> => {
  const call = ofItems<unknown, B>(tasks, callTask, options)
  // A list that is there already is looked through before anything starts; what is yet to come, as it comes.
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

/** The names and tasks of a record, read once; `undefined` for a list, and for what is no use at all. */
export const recordOf = (tasks: unknown): ReadonlyArray<readonly [string, unknown]> | undefined => {
  if (!check.isObject(tasks) || check.isIterable(tasks) || check.isAsyncIterable(tasks)) return undefined
  const entries = Object.entries(tasks)
  for (const [name, task] of entries) checkTask(name, task)
  return entries
}

/** A call that has begun, or is about to. */
interface Begun<A, B> {
  readonly run: RetryingRun<A, B>
  /** Begins it, and listens to the caller's signal until `unlisten`, which `onEnd` has to call. */
  readonly begin: () => void
  readonly unlisten: () => void
}

/**
 * Makes the run of a call, not begun yet. `onEnd` is called once, when nothing is left of it but tasks that were
 * cancelled and have not settled within `grace`, with what the call rejects with, if it does.
 * `unclosed` is what it rejects with otherwise, if that is set: what closing a schedule of retries has thrown.
 * Without `maxUnread`, that goes by how many tasks may run at once. Throws if a meter is closed.
 */
export const makeRun = <A, B>(
  { items, options, task }: Call<A, B>,
  collector: CallCollector<B>,
  onEnd: (rejection: Rejection | undefined, unclosed: Rejection | undefined) => void,
  maxUnread: number | undefined,
  onSignal: (reason: unknown) => void = () => {}
): Begun<A, B> => {
  // Read as milliseconds.
  const grace = (options.grace ?? 0) as number
  const { cost, meter, onProgress, retry, signal, timeout } = options
  const total = onProgress === undefined ? undefined : calls.sizeOf(items)
  const shared = admission.together(metersOf(meter).map((each) => () => [each.limiter]))
  for (const limiter of shared) limiter.throwIfClosed()
  const own = admission.LocalLimiter.forCall(options, retry !== undefined && shared.length === 0)
  const pausable = shared[0] ?? own.limiters[0]
  const retries = retry === undefined ? undefined : new Retries(retry, (nanos) => pausable!.pause(host(), nanos))
  const worker = new PromiseWorker({
    task,
    signal,
    weigh: cost === undefined ? undefined : weighing(cost as Weigh<A>, [...own.limiters, ...shared]),
    grace,
    timeout: millisOf(timeout),
    retries,
    isSettling: collector instanceof Settling
  })
  const source = check.isAsyncIterable(items) ? new AsyncSource(items) : calls.ofIterable(items, toRejection)
  const run = new RetryingRun(host(), source, own, shared, worker, collector, maxUnread)
  const abort = (reason: unknown): void => {
    // The last report may abort a call that has ended, and whose caller has not been told yet.
    // What has decided the call stands; that nothing is left to do is no decision.
    if (!run.isDecided) worker.callerReason ??= { reason }
    run.abort()
  }
  // One for each meter: an entry has a place in one line.
  const entries = shared.map((limiter): readonly [MeterLimiter, MeterCall] => [
    limiter,
    { abort, isWaitingAt: (at) => run.isWaitingAt(at), position: 0 }
  ])
  for (const [limiter, entry] of entries) limiter.enterCall(entry)
  let thrown: Rejection | undefined
  let unlisten: (() => void) | undefined
  run.onEnd = () => {
    for (const [limiter, entry] of entries) limiter.endCall(entry)
    const unclosed = retries?.close()
    onEnd(worker.callerReason ?? run.failure ?? thrown ?? collector.rejection, unclosed)
  }
  const begin = (): void => {
    // The meters know of the run by now: whatever throws, it has to end as any other does.
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
      // What was called to get here may have aborted it before anybody listened.
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

const metersOf = (meter: AllOptions["meter"]): ReadonlyArray<BaseMeter> =>
  [meter ?? []].flat() as ReadonlyArray<unknown> as ReadonlyArray<BaseMeter>

/** A call's `cost`, checked each time: nothing is known of it before. */
const weighing =
  <A>(cost: Weigh<A>, limiters: ReadonlyArray<admission.Limiter>): Weigh<A> =>
  (item, index) =>
    accept(check.cost(admission.namesOf(limiters), cost(item, index)))

const toRejection = (reason: unknown): Rejection => ({ reason })
