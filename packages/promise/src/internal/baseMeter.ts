/**
 * A meter without the verbs.
 */
import { admission, check } from "fibermeter/engine"
import type { Limits, MeterLimits, Period, WindowReport } from "../Limits.ts"
import type {
  AcquireOptions,
  Meter,
  MeterOptions,
  MeterTask,
  Permit,
  RunOptions,
  Snapshot,
  Wrapped,
  WrapOptions
} from "../Meter.ts"
import { cancellationChecks, throwIfAborted } from "./signal.ts"
import { host } from "./host.ts"
import { publishMessages } from "./diagnostics.ts"
import type { MeterLimiter } from "./meterLimiter.ts"
import { accept, acceptCost } from "./errors.ts"
import { isTooDeep } from "./nestingDepth.ts"
import { eventually } from "./requests.ts"
import { taskChecks } from "./retryPolicy.ts"
import { meterCheck, metersOf, thisCopy } from "./meterOption.ts"
import { GeneralMeterRun, MeterRun } from "./meterRun.ts"
import { PermitRun } from "./permitRun.ts"
import type { Settle } from "./settle.ts"
import { once } from "./once.ts"
import { reconcile } from "./reconcile.ts"
import { storeCheck } from "./storeLimiter.ts"
import { times } from "./times.ts"
import type { Checked } from "./times.ts"

/** Options of calls that a meter has defaults for. */
type Defaults = Omit<MeterOptions, keyof MeterLimits | "name" | "store">

/** The limits of a meter, with durations of waits in milliseconds. */
type CheckedLimits = Limits & admission.WaitLimits

/** The same, with where they are kept. */
export type StoredLimits = CheckedLimits & Pick<MeterOptions, "name"> & { readonly store?: admission.ExternalStore }

const noDefaults: Checked<Defaults> = {}

const defaultChecks = /* @__PURE__ */ once(
  () => ({ ...taskChecks(), priority: check.rank.priority }) satisfies check.Checks
)

const limitChecks = /* @__PURE__ */ once(() => check.meterLimits(times()))

const meterChecks = /* @__PURE__ */ once((): check.Checks => ({
  ...limitChecks(),
  ...defaultChecks(),
  store: storeCheck,
  name: check.name
}))

/** A copy of the limits of a meter. Throws if one is invalid. */
export const readLimits = (limits: unknown): CheckedLimits =>
  accept(check.required(limitChecks(), limits)) as CheckedLimits

/** The limits and the defaults of a new meter. Throws if one is invalid. */
export const readMeter = (
  options: unknown
): { readonly limits: StoredLimits; readonly defaults: Checked<Defaults> } => {
  const limits = accept(check.required(meterChecks(), options)) as StoredLimits
  // All meters without a name would be one.
  if (limits.store !== undefined) accept(check.name("name", limits.name))
  publishMessages()
  const defaults = Object.entries(limits).filter(([name]) => Object.hasOwn(defaultChecks(), name))
  return { limits, defaults: defaults.length === 0 ? noDefaults : Object.fromEntries(defaults) }
}

/** The function that settles the promise that is being created. */
let settle: Settle<any> | undefined

/** One executor for all promises: a new one for each call would be two more objects. */
const keepSettle = (resolve: Settle<any>): void => {
  settle = resolve
}

const acquireChecks = /* @__PURE__ */ once((): check.Checks => ({
  signal: cancellationChecks().signal,
  ...check.rank,
  cost: check.anything,
  waitTimeout: times().wait,
  meter: check.oneOrMore(meterCheck)
}))

const runChecks = /* @__PURE__ */ once((): check.Checks => ({
  ...acquireChecks(),
  ...cancellationChecks(),
  ...taskChecks()
}))

const wrapChecks = /* @__PURE__ */ once((): check.Checks => ({
  ...runChecks(),
  ...check.rankByItem,
  cost: check.anyFunction
}))

export class BaseMeter implements Omit<Meter, "amap" | "runAll" | "runAny" | "runOnEach"> {
  // A property of the meters of every copy of this package. On the prototype, so that an object with copied properties of a
  // meter does not have it. A literal name in the class: with a computed name or a separate statement, bundlers would keep
  // the class in programs that create no meter.
  get "~@fibermeter/promise/Meter"(): object {
    return thisCopy
  }

  /** Called at each use: the limiter of a key may have been dropped and created again. */
  private readonly findLimiters: () => ReadonlyArray<MeterLimiter>

  readonly defaults: Checked<Defaults>

  constructor(limiters: () => ReadonlyArray<MeterLimiter>, defaults: Checked<Defaults>) {
    this.findLimiters = limiters
    this.defaults = defaults
  }

  /** One, or those of all meters that are combined in this one. */
  get limiters(): ReadonlyArray<MeterLimiter> {
    return this.findLimiters()
  }

  // What a call under several meters uses of them. Methods, so that a program without meters does not load them.

  /** The limiters of this meter and of others, in that order. */
  limitersWith(others: ReadonlyArray<BaseMeter>): ReadonlyArray<MeterLimiter> {
    return admission.together([this, ...others].map((meter) => () => meter.limiters))
  }

  /** Options with the defaults of meters for those that are left out. The first of the meters that has a default counts. */
  optionsWith<O extends object>(others: ReadonlyArray<BaseMeter>, options: O): O {
    const copy = {}
    for (let i = others.length - 1; i >= 0; i--) Object.assign(copy, others[i]!.defaults)
    return Object.assign(copy, this.defaults, options)
  }

  readonly run = <B>(task: MeterTask<B>, options?: RunOptions): Promise<B> => this.call(task, options, false)!

  readonly tryRun = <B>(task: MeterTask<B>, options?: RunOptions): Promise<B> | undefined =>
    this.call(task, options, true)

  private call<B>(task: MeterTask<B>, options: RunOptions | undefined, isTry: boolean): Promise<B> | undefined {
    try {
      const copy: Checked<RunOptions> =
        options === undefined ? this.defaults : this.readOptions<RunOptions>(runChecks(), options)
      accept(check.notFunction("the task", "a function", task))
      return this.start(task, copy, copy.cost !== undefined, isTry)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  readonly acquire = (options?: AcquireOptions): Promise<Permit> => {
    try {
      return this.start<Permit>(undefined, this.readOptions<RunOptions>(acquireChecks(), options))!
    } catch (error) {
      return Promise.reject(error)
    }
  }

  readonly wrap = <F extends (...args: any) => unknown>(f: F, given?: WrapOptions<Parameters<F>>): Wrapped<F> => {
    const options = this.readOptions<WrapOptions<Parameters<F>>>(wrapChecks(), given)
    accept(check.notFunction("what is wrapped", "a function", f))
    const { cost, lane, priority } = options
    const isSame = [cost, lane, priority].every((option) => typeof option !== "function")
    const start: typeof this.start = (...args) => this.start(...args)
    return async function (this: unknown, ...args: Parameters<F>): Promise<unknown> {
      const task = (): unknown => f.apply(this, args)
      if (isSame) return start(task, options as Checked<RunOptions>)
      const of = (option: unknown): any => (typeof option === "function" ? option(...args) : option)
      const rank = { lane: of(lane), priority: accept(check.rank.priority("priority", of(priority) ?? 0)) as number }
      // Unlike the option, the function must return a cost.
      return start(task, { ...options, ...rank, cost: of(cost) }, cost !== undefined)
    } as Wrapped<F>
  }

  private readOptions<O extends object>(checks: check.Checks, given: unknown): Checked<O> {
    const options = accept(check.options(checks, given)) as Checked<O & Pick<RunOptions, "meter">>
    const { defaults } = this
    if (options.meter !== undefined) return this.optionsWith(metersOf(options.meter), options)
    return defaults === noDefaults ? options : { ...defaults, ...options }
  }

  /**
   * Runs a task, or acquires a permit, with checked options, except for the cost. With `isTry`, returns `undefined` if the task would have to wait.
   * Throws if a meter is closed or the signal aborted.
   */
  private start<B>(
    task: MeterTask<B> | undefined,
    options: Checked<RunOptions>,
    hasCost = options.cost !== undefined,
    isTry = false
  ): Promise<B> | undefined {
    const { cost, meter, retry, signal } = options
    const limiters = meter === undefined ? this.limiters : this.limitersWith(metersOf(meter))
    const copy = hasCost ? { ...options, cost: acceptCost(limiters, cost) } : options
    throwIfAborted(signal)
    for (let i = 0; i < limiters.length; i++) limiters[i]!.throwIfRefusing()
    // A call in many nested ones starts in a microtask, and not now.
    if (isTry && (isTooDeep() || new MeterRun(limiters, task!, copy, undefined).wouldWait())) return undefined
    const isSimple = limiters.length === 1 && retry === undefined && (options.grace ?? 0) === 0
    const Run = task === undefined ? PermitRun : isSimple ? MeterRun : GeneralMeterRun
    const promise = new Promise<B>(keepSettle)
    const settleIt = settle!
    // Otherwise it would be kept in memory until the next call.
    settle = undefined
    const run = new (Run as typeof MeterRun)<B>(limiters, task!, copy, settleIt)
    try {
      run.begin()
    } catch (error) {
      if (run.ignorePromise()) throw error
    }
    return promise
  }

  readonly idle = (): Promise<void> =>
    eventually((resolve) => {
      // When one becomes idle, another one may be busy again.
      const wait = (): void => {
        const busy = this.limiters.find((limiter) => !limiter.isIdle)
        if (busy === undefined) resolve()
        else admission.whenIdle(busy, wait)
      }
      wait()
    })

  readonly clear = (reason: unknown = aborted("the meter has been cleared")): void => {
    for (const limiter of this.limiters) limiter.clear(reason)
  }

  readonly close = async (reason: unknown = aborted("the meter has been closed")): Promise<void> => {
    await Promise.all(this.limiters.map((limiter) => limiter.close(reason)))
  }

  readonly drain = async (): Promise<void> => {
    const reason = aborted("the meter has been closed")
    await Promise.all(this.limiters.map((limiter) => limiter.drain(reason)))
  }

  readonly [Symbol.asyncDispose] = (): Promise<void> => this.close()

  readonly pause = (duration: Period = Infinity): void => {
    const nanos = admission.nanosOf(accept(times().wait("the duration", duration)) as number)
    for (const limiter of this.limiters) limiter.pause(host(), nanos)
  }

  readonly resume = (): void => {
    const { limiters } = this
    // All of them change before any waiter is admitted.
    for (const limiter of limiters) limiter.resume()
    for (const limiter of limiters) limiter.wake()
  }

  readonly resize = (limits: MeterLimits): void => {
    const read = readLimits(limits)
    const [limiter, another] = this.limiters
    if (another !== undefined)
      throw new TypeError("a meter made by combineMeters has no limits of its own: resize its parts")
    limiter!.resize(read, host())
  }

  readonly reconcile = (report: WindowReport): void => reconcile(this, report)

  readonly snapshot = (): Snapshot => snapshotOf(this.limiters)
}

export const snapshotOf = (limiters: ReadonlyArray<MeterLimiter>): Snapshot => {
  const { opensIn, ...state } = admission.snapshotOf(limiters, host())
  return { ...state, closed: limiters.some((limiter) => limiter.isClosed), nextStart: opensIn / 1_000_000 }
}

export const aborted = (message: string): DOMException => new DOMException(message, "AbortError")
