/**
 * What a meter of this package is inside, without the verbs.
 */
import { admission, check } from "fibermeter/engine"
import type { Limits, Period } from "../Limits.ts"
import type { Meter, MeterTask, RunOptions, Snapshot, Wrapped, WrapOptions } from "../Meter.ts"
import { cancellationChecks, throwIfAborted } from "./signal.ts"
import { host } from "./host.ts"
import type { MeterLimiter } from "./meterLimiter.ts"
import { accept } from "./errors.ts"
import { eventually } from "./requests.ts"
import { taskChecks } from "./retryPolicy.ts"
import { PatientRun, MeterRun } from "./meterRun.ts"
import type { Settle } from "./settle.ts"
import { once } from "./once.ts"
import { times } from "./times.ts"

/** The copy of a meter's limits. Throws what is wrong with them, if anything. */
export const readLimits = (limits: unknown): Limits => accept(check.required(times().limits, limits)) as Limits

const noOptions: RunOptions = {}

/** What settles the promise that is just being made. */
let settle: Settle<any> | undefined

/** One executor for all: to have one made for each call is two objects more. */
const keepSettle = (resolve: Settle<any>): void => {
  settle = resolve
}

const runChecks = /* @__PURE__ */ once((): check.Checks => ({
  ...cancellationChecks(),
  ...taskChecks(),
  cost: check.anything
}))

const wrapChecks = /* @__PURE__ */ once((): check.Checks => ({ ...runChecks(), cost: check.anyFunction }))

export class BaseMeter implements Omit<Meter, "amap" | "runAll" | "runAny" | "runOnEach"> {
  // What the meters of all copies of this package have. On the prototype, so that an object which only copies the
  // properties of a meter does not carry it. A literal in the class: by a statement of its own, or a computed name, the
  // class would stay in the bundle of a program that makes no meter.
  get "~@fibermeter/promise/Meter"(): true {
    return true
  }

  /** Asked for at each use: a key's limiter may have been dropped and made anew. */
  private readonly limiters: () => readonly [MeterLimiter]

  constructor(limiters: () => readonly [MeterLimiter]) {
    this.limiters = limiters
  }

  get limiter(): MeterLimiter {
    return this.limiters()[0]
  }

  readonly run = <B>(task: MeterTask<B>, options?: RunOptions): Promise<B> => {
    try {
      const copy = options === undefined ? noOptions : (accept(check.options(runChecks(), options)) as RunOptions)
      accept(check.notFunction("the task", "a function", task))
      return this.start(task, copy)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  readonly wrap = <F extends (...args: any) => unknown>(f: F, given?: WrapOptions<Parameters<F>>): Wrapped<F> => {
    const { cost, ...options } = accept(check.options(wrapChecks(), given)) as WrapOptions<Parameters<F>>
    accept(check.notFunction("what is wrapped", "a function", f))
    const start: typeof this.start = (...by) => this.start(...by)
    return async function (this: unknown, ...args: Parameters<F>): Promise<unknown> {
      const task = (): unknown => f.apply(this, args)
      // Unlike the option, it has to say something.
      return cost === undefined ? start(task, options) : start(task, { ...options, cost: cost(...args) }, true)
    } as Wrapped<F>
  }

  /** Runs a task by options that are checked, but for the cost. Throws if it must not start. */
  private start<B>(task: MeterTask<B>, options: RunOptions, hasCost = options.cost !== undefined): Promise<B> {
    const limiters = this.limiters()
    const { cost, retry, signal } = options
    const copy = hasCost ? { ...options, cost: accept(check.cost(admission.namesOf(limiters), cost)) } : options
    throwIfAborted(signal)
    limiters[0].throwIfClosed()
    const Run = retry === undefined && (options.grace ?? 0) === 0 ? MeterRun : PatientRun
    const promise = new Promise<B>(keepSettle)
    const settleIt = settle!
    // What is kept here would be kept until the next call.
    settle = undefined
    new Run<B>(limiters, task, copy, settleIt).begin()
    return promise
  }

  readonly idle = (): Promise<void> => eventually((resolve) => this.limiter.whenIdle(resolve))

  readonly clear = (reason: unknown = aborted("the meter has been cleared")): void => this.limiter.clear(reason)

  readonly close = (reason: unknown = aborted("the meter has been closed")): Promise<void> => this.limiter.close(reason)

  readonly [Symbol.asyncDispose] = (): Promise<void> => this.close()

  readonly pause = (duration: Period = Infinity): void => {
    this.limiter.pause(host(), admission.nanosOf(accept(times().wait("the duration", duration)) as number))
  }

  readonly resume = (): void => {
    const { limiter } = this
    limiter.resume()
    limiter.wake()
  }

  readonly resize = (limits: Limits): void => {
    this.limiter.resize(readLimits(limits), host())
  }

  readonly snapshot = (): Snapshot => {
    const { opensIn, ...counts } = admission.snapshotOf([this.limiter], host())
    return { ...counts, nextStart: opensIn / 1_000_000 }
  }
}

const aborted = (message: string): DOMException => new DOMException(message, "AbortError")
