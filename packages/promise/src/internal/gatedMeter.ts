/**
 * What a meter of this package is inside, without the verbs.
 */
import { check, namesOf, nanosOf, standing } from "fibermeter/engine"
import type { Limiter, MeterTask, RunOptions, Snapshot, Wrapped, WrapOptions } from "../Limiter.ts"
import type { Limits, Period } from "../Limits.ts"
import { cancellationChecks } from "./cancellation.ts"
import { host } from "./host.ts"
import type { MeterGate } from "./meterGate.ts"
import { refuse } from "./refuse.ts"
import { taskChecks } from "./retries.ts"
import { RetriedRun, SingleRun } from "./singleRun.ts"
import type { Settle } from "./singleRun.ts"

/** Throws what is wrong with a meter's limits, if anything. */
export const checkLimits = (limits: unknown): void => refuse(check.required(check.limits, limits))

const noOptions: RunOptions = {}

/** What settles the promise that is just being made. */
let settle: Settle<any> | undefined

/** One executor for all: to have one made for each call is two objects more. */
const keepSettle = (resolve: Settle<any>): void => {
  settle = resolve
}

const runChecks: check.Checks = { ...cancellationChecks, ...taskChecks, cost: check.anything }

const wrapChecks: check.Checks = { ...runChecks, cost: check.anyFunction }

export class GatedMeter implements Limiter {
  /** Asked for at each use: a key's gate may have been dropped and made anew. */
  private readonly gates: () => readonly [MeterGate]

  constructor(gates: () => readonly [MeterGate]) {
    this.gates = gates
  }

  get gate(): MeterGate {
    return this.gates()[0]
  }

  readonly run = <B>(task: MeterTask<B>, options?: RunOptions): Promise<B> => {
    try {
      refuse(check.options(runChecks, options) ?? check.notFunction("the task", "a function", task))
      const gates = this.gates()
      if (options?.cost !== undefined) refuse(check.cost(namesOf(gates), options.cost))
      options?.signal?.throwIfAborted()
      gates[0].throwIfClosed()
      const Run = options?.retry === undefined ? SingleRun : RetriedRun
      const promise = new Promise<B>(keepSettle)
      const settleIt = settle!
      // What is kept here would be kept until the next call.
      settle = undefined
      new Run<B>(gates, task, options ?? noOptions, settleIt).begin()
      return promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  readonly wrap = <F extends (...args: any) => unknown>(f: F, given: WrapOptions<Parameters<F>> = {}): Wrapped<F> => {
    refuse(check.options(wrapChecks, given) ?? check.notFunction("what is wrapped", "a function", f))
    const { cost, ...options } = given
    const { gates, run } = this
    return async function (this: unknown, ...args: Parameters<F>): Promise<unknown> {
      const task = (): unknown => f.apply(this, args)
      if (cost === undefined) return run(task, options)
      const amounts = cost(...args)
      // Unlike the option, it has to say something.
      refuse(check.cost(namesOf(gates()), amounts))
      return run(task, { ...options, cost: amounts })
    } as Wrapped<F>
  }

  readonly idle = (): Promise<void> => new Promise((resolve) => this.gate.whenIdle(resolve))

  readonly clear = (reason: unknown = aborted("the meter has been cleared")): void => this.gate.clear(reason)

  readonly close = (reason: unknown = aborted("the meter has been closed")): Promise<void> => this.gate.close(reason)

  readonly [Symbol.asyncDispose] = (): Promise<void> => this.close()

  readonly pause = (duration: Period = Infinity): void => {
    refuse(check.pause(duration))
    this.gate.pause(host(), nanosOf(duration))
  }

  readonly resume = (): void => {
    const { gate } = this
    gate.resume()
    gate.wake()
  }

  readonly resize = (limits: Limits): void => {
    checkLimits(limits)
    this.gate.resize(limits, host())
  }

  readonly snapshot = (): Snapshot => {
    const { opensIn, ...counts } = standing([this.gate], host())
    return { ...counts, nextStart: opensIn / 1_000_000 }
  }
}

const aborted = (message: string): DOMException => new DOMException(message, "AbortError")
