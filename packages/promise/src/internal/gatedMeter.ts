/**
 * What a meter of this package is inside.
 */
import { after, check, namesOf, nanosOf, standing, Ticket } from "fibermeter/engine"
import type { Gate, LimitGate } from "fibermeter/engine"
import type { Limits, Period } from "../Limits.ts"
import type { Meter, MeterTask, RunOptions, Snapshot } from "../Meter.ts"
import { cancellationChecks, listen } from "./cancellation.ts"
import { Context } from "./context.ts"
import { host } from "./host.ts"
import { refusal, refuse } from "./refuse.ts"

/** Throws what is wrong with a meter's limits, if anything. */
export const checkLimits = (limits: unknown): void => refuse(check.required(check.limits, limits))

const runChecks: check.Checks = { ...cancellationChecks, cost: check.anything }

export class GatedMeter implements Meter {
  /** Asked for at each use: a key's gate may have been dropped and made anew. */
  readonly gates: () => ReadonlyArray<LimitGate>

  constructor(gates: () => ReadonlyArray<LimitGate>) {
    this.gates = gates
  }

  readonly run = <B>(task: MeterTask<B>, options: RunOptions = {}): Promise<B> =>
    new Promise((resolve, reject) => {
      refuse(check.options(runChecks, options) ?? check.notFunction("the task", "a function", task))
      const gates = this.gates()
      if (options.cost !== undefined) refuse(check.cost(namesOf(gates), options.cost))
      options.signal?.throwIfAborted()
      new SingleRun(gates, task, options, resolve, reject).begin()
    })

  readonly pause = (duration: Period = Infinity): void => {
    refuse(check.pause(duration))
    for (const gate of this.gates()) gate.pause(host(), nanosOf(duration))
  }

  readonly resume = (): void => {
    for (const gate of this.gates()) gate.resume()
  }

  readonly resize = (limits: Limits): void => {
    checkLimits(limits)
    for (const gate of this.gates()) gate.resize(limits, host())
  }

  readonly snapshot = (): Snapshot => {
    const { opensIn, ...counts } = standing(this.gates(), host())
    return { ...counts, nextStart: opensIn / 1_000_000 }
  }
}

/** Whether a value is a meter of this package. */
export const isMeter = (value: unknown): value is Meter => value instanceof GatedMeter

/** The gates of a meter of this package. */
export const gatesOf = (meter: Meter): ReadonlyArray<Gate> => (meter as GatedMeter).gates()

/** One task under a meter: what `Run` is for many. */
class SingleRun<B> extends Ticket {
  private readonly task: MeterTask<B>
  private readonly options: RunOptions
  private readonly resolve: (value: B) => void
  private readonly reject: (reason: unknown) => void
  /** Made when the task starts: most of those who wait never need one. */
  private told: Context | undefined
  /** Removes the listener at the caller's signal. */
  private unlisten: (() => void) | undefined
  private endGrace: (() => void) | undefined

  constructor(
    gates: ReadonlyArray<Gate>,
    task: MeterTask<B>,
    options: RunOptions,
    resolve: (value: B) => void,
    reject: (reason: unknown) => void
  ) {
    super(host(), gates, true)
    this.cost = options.cost
    this.task = task
    this.options = options
    this.resolve = resolve
    this.reject = reject
  }

  begin(): void {
    const { signal } = this.options
    if (signal !== undefined) this.unlisten = listen(signal, (reason) => this.abort(reason))
    if (this.request()) this.admitted()
  }

  protected override admitted(): void {
    this.call()
    this.started()
    this.rest()
  }

  protected override refused(cause: Parameters<Ticket["refuse"]>[0]): void {
    this.unlisten?.()
    this.reject(refusal(cause))
  }

  private call(): void {
    let promise: PromiseLike<B>
    try {
      const result = this.task(
        (this.told = this.gates.some(isWeighed) ? new Context(0, this.holding()) : new Context(0))
      )
      if (!check.isThenable(result)) return this.settled(() => this.resolve(result))
      promise = result instanceof Promise ? result : Promise.resolve(result)
    } catch (reason) {
      return this.settled(() => this.reject(reason))
    }
    promise.then(
      (value) => this.settled(() => this.resolve(value)),
      (reason) => this.settled(() => this.reject(reason))
    )
  }

  /** Rejecting comes first, where it comes at all: what is called afterwards changes nothing any more. */
  private settled(settle: () => void): void {
    if (this.endGrace !== undefined) this.reject(this.options.signal!.reason)
    this.endGrace?.()
    this.unlisten?.()
    settle()
    this.leave()
  }

  private abort(reason: unknown): void {
    const { grace = 0 } = this.options
    this.unlisten!()
    if (this.isWaiting) {
      this.cancel()
      return this.reject(reason)
    }
    this.told!.abort(reason)
    if (grace === 0) this.reject(reason)
    else this.endGrace = after(host(), grace, () => this.reject(reason))
  }
}

const isWeighed = (gate: Gate): boolean => gate.isWeighed
