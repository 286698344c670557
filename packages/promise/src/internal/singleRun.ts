/**
 * One task under a meter: what `Run` is for many.
 */
import { after, captureContext, check, Ticket } from "fibermeter/engine"
import type { AsyncContext, Gate, Holding, Host } from "fibermeter/engine"
import type { MeterTask, RunOptions } from "../Limiter.ts"
import type { Cost } from "../Limits.ts"
import { listen } from "./cancellation.ts"
import { Context } from "./context.ts"
import { host } from "./host.ts"
import type { Call, MeterGate } from "./meterGate.ts"
import { plainPromise } from "./plainPromise.ts"
import { refusal } from "./refuse.ts"
import { millisOf, Retries } from "./retries.ts"
import { TimeLimit } from "./timeLimit.ts"

/** Settles a promise. */
export type Settle<B> = (result: B | Promise<never>) => void

/** What the task is told, and how long it may take. Without fields, as all here that is made once a task. */
class Attempt extends Context {
  declare limit: TimeLimit | undefined

  constructor(holding?: Holding) {
    super(0, holding)
    this.limit = undefined
  }
}

export class SingleRun<B> extends Ticket implements Call {
  declare protected readonly options: RunOptions
  declare private readonly task: MeterTask<B>
  /**
   * Settles the promise; gone once it has. A promise's `reject` is an object of its own, and of a hundred thousand that
   * wait the garbage collector carries each along: one is enough.
   */
  declare private settle: Settle<B> | undefined
  /** The caller's async context, while the task waits. */
  declare private asyncContext: AsyncContext | undefined
  /** What the task is told, while it runs. */
  declare private told: Attempt | undefined
  /** Removes the listener at the caller's signal; once that has been aborted, calls off the time of grace. */
  declare private unlisten: (() => void) | undefined

  constructor(gates: readonly [MeterGate], task: MeterTask<B>, options: RunOptions, settle: Settle<B>) {
    super(gates)
    this.task = task
    this.options = options
    this.settle = settle
    this.asyncContext = undefined
    this.told = undefined
    this.unlisten = undefined
  }

  get host(): Host {
    return host()
  }

  /** What it is called inside of nobody can know without Effect's context. */
  get inside(): undefined {
    return undefined
  }

  get cost(): Cost | undefined {
    return this.options.cost
  }

  begin(): void {
    const { signal } = this.options
    if (signal !== undefined) this.unlisten = listen(signal, (reason) => this.abort(reason))
    this.ask()
  }

  /** Ends the call before its time. */
  abort(reason: unknown): void {
    if (this.isWaiting) this.cancel()
    const { told } = this
    if (told === undefined) return this.reject(reason)
    // The first reason counts, and the time of grace goes on from there.
    if (told.cancelled !== undefined) return
    told.abort(reason)
    told.limit?.callOff()
    // Read as milliseconds.
    const grace = (this.options.grace ?? 0) as number
    if (grace === 0) return this.reject(reason)
    this.unlisten?.()
    this.unlisten = after(host(), grace, () => this.reject(reason))
  }

  protected ask(): void {
    if (this.request()) this.start()
    else if (this.isWaiting) this.asyncContext = captureContext()
  }

  protected override admitted(): void {
    const context = this.asyncContext
    // Without one, this is still the step in which the call was made.
    if (context === undefined) return this.start()
    this.asyncContext = undefined
    context.runInAsyncScope(SingleRun.start, undefined, this)
  }

  protected override refused(cause: Parameters<Ticket["refuse"]>[0]): void {
    this.reject(refusal(cause))
  }

  protected get isOver(): boolean {
    return this.settle === undefined
  }

  /** The promise is settled: nothing more is to come of the call. */
  protected over(): void {
    this.gate.endCall(this.entry)
    this.unlisten?.()
    this.asyncContext = undefined
  }

  /** Says whether there will be another attempt. */
  protected isRetried(_reason: unknown): boolean {
    return false
  }

  /** Lists it among the calls of the meter. Not before it has left the line: it has one place, in one line at a time. */
  protected enlist(): void {
    this.gate.enterCall(this)
  }

  /** What stands among the calls of the meter. */
  protected get entry(): Call {
    return this
  }

  protected get gate(): MeterGate {
    return this.gates[0] as MeterGate
  }

  /** One function for all, instead of one for each that has waited. */
  private static readonly start = (run: SingleRun<any>): void => run.start()

  private start(): void {
    this.call()
    this.started()
    this.rest()
  }

  private call(): void {
    const { gate } = this
    const context = gate.isWeighed ? new Attempt(this.holding()) : new Attempt()
    this.told = context
    let promise: PromiseLike<B>
    try {
      this.enlist()
      const result = this.task(context)
      if (!check.isThenable(result)) return this.succeeded(result)
      promise = plainPromise(result)
    } catch (reason) {
      return this.failed(reason)
    }
    const millis = millisOf(this.options.timeout)
    if (millis === undefined || context.cancelled !== undefined) this.follow(promise)
    else this.followFor(millis, promise, context)
  }

  private follow(promise: PromiseLike<B>): void {
    promise.then(
      (value) => this.succeeded(value),
      (reason) => this.failed(reason)
    )
  }

  private followFor(millis: number, promise: PromiseLike<B>, context: Attempt): void {
    const limit = new TimeLimit(millis, (error) => {
      this.told = undefined
      context.abort(error)
      this.gaveUp(error)
    })
    context.limit = limit
    promise.then(
      (value) => (limit.end() ? this.succeeded(value) : this.leave()),
      (reason) => (limit.end() ? this.failed(reason) : this.leave())
    )
  }

  private succeeded(value: B): void {
    this.ended()
    if (!this.isOver) this.finish(value)
    this.leave()
  }

  private failed(reason: unknown): void {
    this.gaveUp(reason)
    this.leave()
  }

  /** The attempt has failed, whether or not it has ended. */
  private gaveUp(reason: unknown): void {
    this.ended()
    if (this.isOver) return
    try {
      if (!this.isRetried(reason)) this.reject(reason)
    } catch (error) {
      this.reject(error)
    }
  }

  /** The attempt is over. Where the call was aborted meanwhile, what the task says changes nothing any more. */
  private ended(): void {
    const cancelled = this.told?.cancelled
    // Whoever has waited long is old to the garbage collector, and would have this grow old as well.
    this.told = undefined
    if (cancelled !== undefined) this.reject(cancelled.reason)
  }

  private reject(reason: unknown): void {
    // Made only where it is handed on, or nobody would handle it.
    if (!this.isOver) this.finish(Promise.reject(reason))
  }

  private finish(result: B | Promise<never>): void {
    const settle = this.settle!
    this.settle = undefined
    this.over()
    settle(result)
  }
}

/** A single task that is tried again when it fails. */
export class RetriedRun<B> extends SingleRun<B> {
  private readonly retries: Retries
  private attempt = 0
  private callOff: (() => void) | undefined
  /** Stands among the calls all the time, also while the ticket stands in the line: hence a place of its own. */
  private readonly listed: Call = {
    place: 0,
    isWaitingAt: (gate) => this.isWaitingAt(gate),
    abort: (reason) => this.abort(reason)
  }

  constructor(...args: ConstructorParameters<typeof SingleRun<B>>) {
    super(...args)
    this.retries = new Retries(this.options.retry!, (nanos) => this.gate.pause(host(), nanos))
  }

  /** It has been listed since it began. */
  protected override enlist(): void {}

  protected override get entry(): Call {
    return this.listed
  }

  override begin(): void {
    // Between two attempts it neither runs nor waits for its start, but is not over.
    this.gate.join()
    this.gate.enterCall(this.entry)
    super.begin()
  }

  /** Between two attempts it waits as well, as its caller sees it. */
  override isWaitingAt(gate: Gate): boolean {
    return this.callOff !== undefined || super.isWaitingAt(gate)
  }

  override abort(reason: unknown): void {
    this.callOff?.()
    super.abort(reason)
  }

  protected override over(): void {
    super.over()
    this.gate.part()
  }

  protected override isRetried(reason: unknown): boolean {
    const delay = this.retries.delayBefore(++this.attempt, reason)
    // What is asked about a retry may be what ends the call.
    if (delay === undefined || this.isOver) return false
    this.callOff = after(host(), delay, () => {
      this.callOff = undefined
      this.ask()
    })
    return true
  }
}
