/**
 * What a meter of this package is inside.
 */
import { after, captureContext, check, namesOf, nanosOf, standing, Ticket } from "fibermeter/engine"
import type { AsyncContext, Gate, Host, LimitGate } from "fibermeter/engine"
import type { Cost, Limits, Period } from "../Limits.ts"
import type { Meter, MeterTask, RunOptions, Snapshot } from "../Meter.ts"
import { cancellationChecks, listen } from "./cancellation.ts"
import { Context } from "./context.ts"
import { host } from "./host.ts"
import { refusal, refuse } from "./refuse.ts"

/** Throws what is wrong with a meter's limits, if anything. */
export const checkLimits = (limits: unknown): void => refuse(check.required(check.limits, limits))

const noOptions: RunOptions = {}

const runChecks: check.Checks = { ...cancellationChecks, cost: check.anything }

export class GatedMeter implements Meter {
  /** Asked for at each use: a key's gate may have been dropped and made anew. */
  readonly gates: () => ReadonlyArray<LimitGate>

  constructor(gates: () => ReadonlyArray<LimitGate>) {
    this.gates = gates
  }

  readonly run = <B>(task: MeterTask<B>, options: RunOptions = noOptions): Promise<B> =>
    new Promise((resolve) => {
      refuse(check.options(runChecks, options) ?? check.notFunction("the task", "a function", task))
      const gates = this.gates()
      if (options.cost !== undefined) refuse(check.cost(namesOf(gates), options.cost))
      options.signal?.throwIfAborted()
      new SingleRun(gates, task, options, resolve).begin()
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
  /**
   * Settles the promise; gone once it has. A promise's `reject` is an object of its own, and of a hundred thousand that
   * wait the garbage collector carries each along: one is enough.
   */
  private settle: ((result: B | Promise<never>) => void) | undefined
  /** The caller's async context, while the task waits. */
  private asyncContext: AsyncContext | undefined
  /** What the task is told, once it has started. */
  private told: Context | undefined
  /** Removes the listener at the caller's signal; once that has been aborted, calls off the time of grace. */
  private unlisten: (() => void) | undefined

  constructor(
    gates: ReadonlyArray<Gate>,
    task: MeterTask<B>,
    options: RunOptions,
    settle: (result: B | Promise<never>) => void
  ) {
    super(gates)
    this.task = task
    this.options = options
    this.settle = settle
  }

  get host(): Host {
    return host()
  }

  get cost(): Cost | undefined {
    return this.options.cost
  }

  begin(): void {
    const { signal } = this.options
    if (signal !== undefined) this.unlisten = listen(signal, (reason) => this.abort(reason))
    if (this.request()) this.start()
    else if (this.isWaiting) this.asyncContext = captureContext()
  }

  protected override admitted(): void {
    const context = this.asyncContext
    // Without one, this is still the step in which the call was made.
    if (context === undefined) return this.start()
    this.asyncContext = undefined
    context.runInAsyncScope(this.start, this)
  }

  protected override refused(cause: Parameters<Ticket["refuse"]>[0]): void {
    this.stopWaiting()
    this.reject(refusal(cause))
  }

  private start(): void {
    this.call()
    this.started()
    this.rest()
  }

  private call(): void {
    const context = this.gates.some(isWeighed) ? new Context(0, this.holding()) : new Context(0)
    this.told = context
    let promise: PromiseLike<B>
    try {
      const result = this.task(context)
      if (!check.isThenable(result)) return this.succeeded(result)
      promise = result instanceof Promise ? result : Promise.resolve(result)
    } catch (reason) {
      return this.failed(reason)
    }
    promise.then(
      (value) => this.succeeded(value),
      (reason) => this.failed(reason)
    )
  }

  private succeeded(value: B): void {
    this.settled()
    this.resolve(value)
    this.leave()
  }

  private failed(reason: unknown): void {
    this.settled()
    this.reject(reason)
    this.leave()
  }

  /** Where the caller has aborted, that comes first: what the task still says changes nothing any more. */
  private settled(): void {
    if (this.told!.isAborted) this.reject(this.options.signal!.reason)
    this.unlisten?.()
    // Whoever has waited long is old to the garbage collector, and would have this grow old as well.
    this.told = undefined
  }

  private resolve(value: B): void {
    this.settle?.(value)
    this.settle = undefined
  }

  private reject(reason: unknown): void {
    this.settle?.(Promise.reject(reason))
    this.settle = undefined
  }

  private abort(reason: unknown): void {
    this.unlisten!()
    if (this.isWaiting) {
      this.cancel()
      this.stopWaiting()
      return this.reject(reason)
    }
    this.told!.abort(reason)
    const { grace = 0 } = this.options
    if (grace === 0) this.reject(reason)
    else this.unlisten = after(host(), grace, () => this.reject(reason))
  }

  private stopWaiting(): void {
    this.unlisten?.()
    this.asyncContext = undefined
  }
}

const isWeighed = (gate: Gate): boolean => gate.isWeighed
