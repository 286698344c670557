/**
 * One task under a meter: what `Run` is for many.
 */
import { admission, check, runtime } from "fibermeter/engine"
import type { MeterTask, RunOptions } from "../Meter.ts"
import type { Cost } from "../Limits.ts"
import { listen, reasonOf } from "./signal.ts"
import { Context } from "./context.ts"
import { host } from "./host.ts"
import type { Call, MeterLimiter } from "./meterLimiter.ts"
import { enter, isTooDeep, leave } from "./nestingDepth.ts"
import { plainPromise } from "./plainPromise.ts"
import { aborted, refusal } from "./errors.ts"
import type { Rejection } from "./rejection.ts"
import { millisOf, Retries } from "./retryPolicy.ts"
import { settleCall } from "./settle.ts"
import type { Settle } from "./settle.ts"
import { TimeLimit } from "./timeLimit.ts"

/** What the task is told, and how long it may take. Without fields, as all here that is made once a task. */
class Attempt extends Context {
  declare limit: TimeLimit | undefined

  constructor(holding?: admission.Reservation) {
    super(0, holding)
    this.limit = undefined
  }
}

export class MeterRun<B> extends admission.AdmissionRequest implements Call {
  declare protected readonly options: RunOptions
  declare private readonly task: MeterTask<B>
  /**
   * Settles the promise; gone once it has. A promise's `reject` is an object of its own, and of a hundred thousand that
   * wait the garbage collector carries each along: one is enough.
   */
  declare private settle: Settle<B> | undefined
  /** The caller's async context, while the task waits. */
  declare private asyncContext: runtime.AsyncContext | undefined
  /** What the task is told, while it runs. */
  declare private told: Attempt | undefined
  /** Removes the listener at the caller's signal. */
  declare protected unlisten: (() => void) | undefined

  constructor(limiters: readonly [MeterLimiter], task: MeterTask<B>, options: RunOptions, settle: Settle<B>) {
    super(limiters)
    this.task = task
    this.options = options
    this.settle = settle
    this.asyncContext = undefined
    this.told = undefined
    this.unlisten = undefined
  }

  get host(): runtime.Host {
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
    if (signal !== undefined) {
      this.unlisten = listen(signal, (reason) => this.abort(reason))
      // What it runs to add a listener may have aborted it.
      if (signal.aborted) this.abort(reasonOf(signal))
    }
    if (!this.isOver) this.ask()
  }

  /** Ends the call before its time. */
  abort(reason: unknown): void {
    const { settle } = this
    if (settle === undefined) return
    // First of all, so that whatever is set going by the rest finds a call that is over: the first reason counts.
    this.settle = undefined
    if (this.isWaiting) this.cancel()
    this.cancelAttempt(reason)
    this.over()
    settle(Promise.reject(reason))
  }

  /** Tells the attempt that runs, if one does, that it is cancelled. */
  protected cancelAttempt(reason: unknown): void {
    const { told } = this
    if (told === undefined) return
    told.limit?.callOff()
    told.abort(reason)
  }

  protected ask(): void {
    if (isTooDeep()) this.askLater()
    else if (this.requestStart()) this.start()
    else if (this.isWaiting) this.asyncContext = runtime.captureContext()
  }

  private askLater(): void {
    const { limiter } = this
    // The meter is not idle meanwhile.
    limiter.addCall()
    void Promise.resolve().then(() => {
      try {
        limiter.throwIfClosed()
        if (!this.isOver) this.ask()
      } catch (reason) {
        this.reject(reason)
      } finally {
        limiter.removeCall()
      }
    })
  }

  protected override admitted(): void {
    const context = this.asyncContext
    // Without one, this is still the step in which the call was made.
    if (context === undefined) return this.start()
    this.asyncContext = undefined
    context.runInAsyncScope(MeterRun.start, undefined, this)
  }

  override objection(): admission.Refusal | undefined {
    return this.options.signal?.aborted === true ? aborted : super.objection()
  }

  protected override refused(cause: admission.Refusal): void {
    if (cause === aborted) this.abort(reasonOf(this.options.signal!))
    else this.reject(refusal(cause))
  }

  protected get isOver(): boolean {
    return this.settle === undefined
  }

  /** The promise is settled: nothing more is to come of the call. */
  protected over(): void {
    this.limiter.endCall(this.entry)
    this.unlisten?.()
    this.asyncContext = undefined
  }

  /** Lists it among the calls of the meter. Not before it has left the line: it has one place, in one line at a time. */
  protected enlist(): void {
    this.limiter.enterCall(this)
  }

  /** What stands among the calls of the meter. */
  protected get entry(): Call {
    return this
  }

  protected get limiter(): MeterLimiter {
    return this.limiters[0] as MeterLimiter
  }

  /** One function for all, instead of one for each that has waited. */
  private static readonly start = (run: MeterRun<any>): void => run.start()

  private start(): void {
    this.call()
    this.started()
    this.rest()
  }

  private call(): void {
    const { limiter } = this
    const context = limiter.isWeighed ? new Attempt(this.reservation()) : new Attempt()
    this.told = context
    const depth = enter()
    let promise: PromiseLike<B>
    try {
      this.enlist()
      const result = this.task(context)
      leave(depth)
      if (!check.isThenable(result)) return this.succeeded(result)
      promise = plainPromise(result)
    } catch (reason) {
      leave(depth)
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
      this.attemptFailed(error)
    })
    context.limit = limit
    promise.then(
      (value) => (limit.end() ? this.succeeded(value) : this.leftLate()),
      (reason) => (limit.end() ? this.failed(reason) : this.leftLate())
    )
  }

  private succeeded(value: B): void {
    // A request that has waited long is in the old generation, and would keep this there as well.
    this.told = undefined
    this.hasSettled()
    this.fulfil(value)
    this.release()
  }

  private failed(reason: unknown): void {
    this.told = undefined
    this.hasSettled()
    this.attemptFailed(reason)
    this.release()
  }

  /** An attempt that had failed before, by its timeout, has settled. */
  private leftLate(): void {
    this.hasSettled()
    this.release()
  }

  /** An attempt has settled, for the call or not. */
  protected hasSettled(): void {}

  /** An attempt has failed, whether or not it has settled. */
  protected attemptFailed(reason: unknown): void {
    this.reject(reason)
  }

  protected fulfil(value: B): void {
    if (!this.isOver) this.finish(value)
  }

  protected reject(reason: unknown): void {
    if (!this.isOver) this.finish(undefined, { reason })
  }

  /** Without a rejection, the value is the result. */
  protected finish(value: B | undefined, rejection?: Rejection): void {
    const settle = this.settle!
    this.settle = undefined
    this.over()
    settleCall(settle as Settle<B | undefined>, value, rejection)
  }
}

/** How a call has been decided. */
type Decision<B> = { readonly value: B } | Rejection

type State<B> =
  /** An attempt runs, or waits for its start. */
  | { readonly _tag: "attempt" }
  /** Between two attempts. */
  | { readonly _tag: "backoff"; readonly callOff: () => void }
  /** Waits for cancelled attempts to settle, within the time of grace. */
  | { readonly _tag: "decided"; decision: Decision<B>; callOff?: () => void }

const attempt: State<never> = { _tag: "attempt" }

/** A single task with a life of its own: it may be tried again, or wait for the attempts that it has cancelled. */
export class PatientRun<B> extends MeterRun<B> {
  private readonly grace: number
  private readonly retries: Retries | undefined
  private state: State<B> = attempt
  /** Attempts that have failed. */
  private failures = 0
  /** Attempts that have started and not settled; those that have failed by their timeout may be among them. */
  private unsettled = 0
  /** Stands among the calls all the time, also while the request stands in the line: hence a place of its own. */
  private readonly listed: Call = {
    position: 0,
    isWaitingAt: (limiter) => this.isWaitingAt(limiter),
    abort: (reason) => this.abort(reason)
  }

  constructor(...args: ConstructorParameters<typeof MeterRun<B>>) {
    super(...args)
    const { grace = 0, retry } = this.options
    // Read as milliseconds.
    this.grace = grace as number
    this.retries = retry === undefined ? undefined : new Retries(retry, (nanos) => this.limiter.pause(host(), nanos))
  }

  /** It has been listed since it began; what starts is counted. */
  protected override enlist(): void {
    this.unsettled++
  }

  protected override get entry(): Call {
    return this.listed
  }

  override begin(): void {
    // Between two attempts it neither runs nor waits for its start, but is not over.
    this.limiter.addCall()
    this.limiter.enterCall(this.entry)
    try {
      super.begin()
    } catch (error) {
      // The meter knows it by now: it has to end as any other does.
      this.reject(error)
    }
  }

  /** Between two attempts it waits as well, as its caller sees it. */
  override isWaitingAt(limiter: admission.Limiter): boolean {
    return this.state._tag === "backoff" || super.isWaitingAt(limiter)
  }

  override abort(reason: unknown): void {
    const { state } = this
    if (state._tag !== "decided") this.decide({ reason })
    // A failure that has decided the call stands, as with the verbs; a result that has not been delivered does not.
    else if ("value" in state.decision) state.decision = { reason }
  }

  protected override fulfil(value: B): void {
    this.decide({ value })
  }

  protected override reject(reason: unknown): void {
    this.decide({ reason })
  }

  protected override attemptFailed(reason: unknown): void {
    if (this.state._tag === "decided") return
    let delay: number | undefined
    try {
      delay = this.retries?.delayBefore(++this.failures, reason)
    } catch (error) {
      return this.reject(error)
    }
    if (delay === undefined) return this.reject(reason)
    // What is asked about a retry may be what ends the call.
    if (this.isDecided) return
    const callOff = runtime.after(host(), delay, () => {
      this.state = attempt
      this.ask()
    })
    this.state = { _tag: "backoff", callOff }
  }

  protected override hasSettled(): void {
    this.unsettled--
    if (this.state._tag === "decided") this.conclude(this.state)
  }

  protected override over(): void {
    super.over()
    this.limiter.removeCall()
  }

  private get isDecided(): boolean {
    return this.state._tag === "decided"
  }

  private decide(decision: Decision<B>): void {
    const before = this.state
    if (before._tag === "decided") return
    const decided: State<B> & { readonly _tag: "decided" } = { _tag: "decided", decision }
    this.state = decided
    if (before._tag === "backoff") before.callOff()
    if (this.isWaiting) this.cancel()
    if ("reason" in decision) {
      this.unlisten?.()
      this.cancelAttempt(decision.reason)
    }
    const thrown = this.retries?.close()
    if (thrown !== undefined && "value" in decided.decision) decided.decision = thrown
    this.conclude(decided)
  }

  /** Settles the promise, if all attempts have settled or are not waited for. */
  private conclude(decided: State<B> & { readonly _tag: "decided" }): void {
    if (this.isOver) return
    if (this.unsettled === 0 || this.grace === 0) this.settleBy(decided)
    else if (this.grace !== Infinity)
      decided.callOff ??= runtime.after(host(), this.grace, () => this.settleBy(decided))
  }

  private settleBy({ callOff, decision }: State<B> & { readonly _tag: "decided" }): void {
    callOff?.()
    if ("value" in decision) this.finish(decision.value)
    else this.finish(undefined, decision)
  }
}
