/**
 * A single task under a meter: `run`, and each call of a wrapped function. What `Run` is for a verb.
 *
 * The request for admission, the call and its state are a single object: a hundred thousand of them may wait at once.
 */
import { admission, check, runtime } from "fibermeter/engine"
import type { MeterTask, RunOptions } from "../Meter.ts"
import type { Cost } from "../Limits.ts"
import { OverloadedError } from "../OverloadedError.ts"
import { aborted, listen, objectionOf, readReason, reasonOf } from "./signal.ts"
import { Context } from "./context.ts"
import { host } from "./host.ts"
import { leases } from "./leases.ts"
import type { AttemptLimit, Watch } from "./leases.ts"
import type { Call, MeterLimiter } from "./meterLimiter.ts"
import { enter, isTooDeep, leave } from "./nestingDepth.ts"
import { observation } from "./observation.ts"
import { plainPromise } from "./plainPromise.ts"
import { refusal } from "./errors.ts"
import type { Rejection } from "./rejection.ts"
import { Retries } from "./retryPolicy.ts"
import { settleCall } from "./settle.ts"
import type { Settle } from "./settle.ts"
import { TimeLimit } from "./timeLimit.ts"
import type { Checked } from "./times.ts"

/** The context of one attempt, with its timeout. There is one per task, so its properties are declared and assigned. */
export class Attempt extends Context {
  declare timeLimit: AttemptLimit | undefined

  constructor(reservation?: admission.Reservation) {
    super(0, reservation)
    this.timeLimit = undefined
  }
}

/** Replaces the function that settles a promise which the caller does not have, since its rejection would be unhandled. */
export const ignore = (result: unknown): void => {
  void Promise.resolve(result).then(undefined, () => {})
}

export class MeterRun<B> extends admission.CallRequest implements Call {
  declare protected readonly options: Checked<RunOptions>
  declare private readonly task: MeterTask<B>
  /**
   * Settles the promise; `undefined` afterwards. It also rejects, by resolving with a rejected promise. The promise's own
   * `reject` would be one more object per waiter for the garbage collector.
   */
  declare protected settle: Settle<B> | undefined
  /** The caller's async context, while the task waits for admission. */
  declare private asyncContext: runtime.AsyncContext | undefined
  /** The attempt that runs and has not timed out. */
  declare protected attempt: Attempt | undefined
  /** Whether what the last attempt held has been released. */
  declare private isReleased: boolean
  /** Removes the listener from the caller's signal. */
  declare protected unlisten: (() => void) | undefined

  /** `limiters` as `inOrder` returns them. Without `settle`, the request can only be asked whether it would wait. */
  constructor(
    limiters: ReadonlyArray<MeterLimiter>,
    task: MeterTask<B>,
    options: Checked<RunOptions>,
    settle: Settle<B> | undefined
  ) {
    super(limiters)
    this.task = task
    this.options = options
    this.settle = settle
    this.asyncContext = undefined
    this.attempt = undefined
    this.isReleased = false
    this.unlisten = undefined
  }

  get host(): runtime.Host {
    return host()
  }

  /** Which task made the call is unknown: unlike fibers, promises have no context that would tell. */
  get inside(): undefined {
    return undefined
  }

  get cost(): Cost | undefined {
    return this.options.cost
  }

  get waitTimeout(): number | undefined {
    return this.options.waitTimeout
  }

  override get permits(): number {
    return this.options.permits ?? 1
  }

  override get priority(): number {
    return this.options.priority ?? 0
  }

  override get lane(): unknown {
    return this.options.lane
  }

  begin(): void {
    const { signal } = this.options
    if (signal !== undefined) {
      this.unlisten = listen(signal, (reason) => this.abort(reason))
      // Adding the listener may have run code of the caller that has aborted the signal.
      if (signal.aborted) this.abort(reasonOf(signal))
    }
    if (!this.isOver) this.ask()
  }

  /** Ends the call early. */
  abort(reason: unknown): void {
    const { settle } = this
    if (settle === undefined) return
    // Before the steps below, which may run code of the caller: the first reason decides.
    this.settle = undefined
    if (this.isWaiting) this.cancel()
    this.cancelAttempt(reason)
    this.ended()
    settle(Promise.reject(reason))
  }

  protected cancelAttempt(reason: unknown): void {
    this.attempt?.timeLimit?.cancel()
    this.attempt?.abort(reason)
  }

  protected ask(): void {
    if (isTooDeep()) this.askLater()
    else if (this.requestStart()) this.start()
    else if (this.isWaiting) this.asyncContext = runtime.captureShared()
  }

  private askLater(): void {
    const { limiter } = this
    // Until then the meter is not idle.
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
    this.asyncContext = undefined
    try {
      // Without a context, this is still the step in which the call was made.
      if (context === undefined) this.start()
      else context.runInAsyncScope(MeterRun.start, undefined, this)
    } catch {
      // `startFailed` rejects the promise. The limiter that has admitted this must not be interrupted.
    }
  }

  override objection(): admission.Refusal | undefined {
    const { signal } = this.options
    return (signal === undefined ? undefined : objectionOf(signal)) ?? super.objection()
  }

  protected override refused(cause: admission.Refusal): void {
    if (cause === aborted) this.abort(readReason(this.options.signal!))
    else this.reject(cause._tag === "Overloaded" ? new OverloadedError(cause) : refusal(cause))
  }

  protected get isOver(): boolean {
    return this.settle === undefined
  }

  /** The call has ended. */
  protected ended(): void {
    this.unregister()
    this.unlisten?.()
    this.asyncContext = undefined
  }

  /**
   * Adds the call to those that run under the meter. Not while the request waits: it can be in one wait list at a time,
   * and then is in the limiter's queue.
   */
  protected register(): void {
    this.limiter.enterCall(this)
  }

  protected unregister(): void {
    this.limiter.endCall(this)
  }

  /** Whether tasks have costs, which they may correct. */
  protected get isWeighed(): boolean {
    return this.limiter.isWeighed
  }

  /** The only limiter, or one of several. */
  private get limiter(): MeterLimiter {
    return this.limiters[0] as MeterLimiter
  }

  /** One function for all runs, instead of one for each that has waited. */
  private static readonly start = (run: MeterRun<any>): void => run.start()

  private start(): void {
    this.isReleased = false
    try {
      this.call()
    } catch (error) {
      void Promise.resolve().then(() => this.startFailed(error))
      throw error
    }
    this.started()
    this.rest()
  }

  /** There was no room on the stack between the admission of the task and its end. What had not been done is done now. */
  private startFailed(error: unknown): void {
    if (this.attempt !== undefined) {
      this.attempt = undefined
      this.hasSettled()
    }
    this.reject(error)
    this.limiter.endCall(this)
    if (!this.isReleased) this.release()
    this.rest()
  }

  /** Settles the promise of a call whose `begin` has thrown no more. Returns whether it has not settled before. */
  ignorePromise(): boolean {
    if (this.settle === undefined) return false
    this.settle = ignore
    return true
  }

  override release(): void {
    // Before the call, which may throw: to release twice would break a limit.
    this.isReleased = true
    super.release()
  }

  protected call(): void {
    const attempt = this.isWeighed ? new Attempt(this.reservation()) : new Attempt()
    this.attempt = attempt
    const depth = enter()
    let result: B | PromiseLike<B>
    let promise: PromiseLike<B> | undefined
    try {
      this.register()
      const { observer } = observation
      result = observer?.isStarting === true ? observer.call(this.task, [attempt], attempt) : this.task(attempt)
      leave(depth)
      if (check.isThenable(result)) promise = plainPromise(result)
    } catch (reason) {
      leave(depth)
      return this.attemptFailed(reason)
    }
    if (promise === undefined) return this.attemptSucceeded(result as B)
    const { timeout = Infinity } = this.options
    // The task itself may have ended the call.
    const watch = leases.watch?.(attempt.reservation)
    if ((timeout === Infinity && watch === undefined) || attempt.cancelled !== undefined) this.follow(promise)
    else this.followFor(timeout, promise, attempt, watch)
  }

  private follow(promise: PromiseLike<B>): void {
    promise.then(
      (value) => this.attemptSucceeded(value),
      (reason) => this.attemptFailed(reason)
    )
  }

  private followFor(millis: number, promise: PromiseLike<B>, attempt: Attempt, watch: Watch | undefined): void {
    const over = (error: unknown): void => {
      this.attempt = undefined
      attempt.abort(error)
    }
    const onTimeout = (error: unknown): void => {
      over(error)
      if (this.options.releaseOnTimeout === true) this.attemptFailed(error)
      else this.failed(error)
    }
    const onLost = (error: unknown): void => {
      over(error)
      this.failed(error)
    }
    const timeLimit = millis === Infinity ? undefined : new TimeLimit(millis, undefined, onTimeout)
    const limit = watch === undefined ? timeLimit! : watch(timeLimit, onLost)
    attempt.timeLimit = limit
    promise.then(
      (value) => (limit.end() ? this.attemptSucceeded(value) : this.attemptEnded(limit)),
      (reason) => (limit.end() ? this.attemptFailed(reason) : this.attemptEnded(limit))
    )
  }

  protected attemptSucceeded(value: B): void {
    // A request that has waited long is in the old generation of the heap, and would keep the attempt there.
    this.attempt = undefined
    this.hasSettled()
    this.fulfil(value)
    this.release()
  }

  private attemptFailed(reason: unknown): void {
    this.attempt = undefined
    this.hasSettled()
    this.failed(reason)
    this.release()
  }

  /** An attempt that had timed out, or lost its lease, has settled. */
  private attemptEnded({ keepsPermits }: AttemptLimit): void {
    if (this.options.releaseOnTimeout === true && keepsPermits !== true) return
    this.hasSettled()
    this.release()
  }

  /** An attempt has settled, in time or not. */
  protected hasSettled(): void {}

  /** An attempt has failed; if by its timeout, it has not settled. */
  protected failed(reason: unknown): void {
    this.reject(reason)
  }

  protected fulfil(value: B): void {
    if (!this.isOver) this.finish(value)
  }

  protected reject(reason: unknown): void {
    if (!this.isOver) this.finish(undefined, { reason })
  }

  /** Fulfils the promise with the value, or rejects it if there is a rejection. */
  protected finish(value: B | undefined, rejection?: Rejection): void {
    const settle = this.settle!
    this.settle = undefined
    this.ended()
    settleCall(settle as Settle<B | undefined>, value, rejection)
  }
}

/** How a call ends. */
type Decision<B> = { readonly value: B } | Rejection

type State<B> =
  /** An attempt runs, or waits for admission. */
  | { readonly _tag: "attempt" }
  /** Waits for the delay before the next attempt. */
  | { readonly _tag: "backoff"; readonly cancelDelay: () => void }
  /** Waits for cancelled attempts to settle, for at most `grace`. */
  | { readonly _tag: "decided"; decision: Decision<B>; cancelGrace?: () => void }

const attempt: State<never> = { _tag: "attempt" }

/** A run with `retry`, `grace` or several meters: it may have several attempts, or outlive the decision how it ends. */
export class GeneralMeterRun<B> extends MeterRun<B> {
  private readonly grace: number
  private readonly retries: Retries | undefined
  private state: State<B> = attempt
  /** Attempts that have failed. */
  private failures = 0
  /** Attempts that have started and not settled. Some of them may have timed out. */
  private unsettled = 0
  /**
   * The call in the list of each meter, from the beginning to the end, also while the request itself is in a queue. One
   * entry per meter, because an entry can be in one list at a time.
   */
  private readonly listed: ReadonlyArray<readonly [MeterLimiter, Call]>

  /** `limiters` in the order in which the meters were listed. */
  constructor(
    limiters: ReadonlyArray<MeterLimiter>,
    task: MeterTask<B>,
    options: Checked<RunOptions>,
    settle: Settle<B>
  ) {
    const ordered = admission.inOrder(limiters)
    super(ordered, task, options, settle)
    const { grace = 0, retry } = options
    this.grace = grace
    this.retries = retry === undefined ? undefined : new Retries(retry, limiters, () => this.isDecided)
    this.listed = ordered.map((limiter): readonly [MeterLimiter, Call] => [
      limiter,
      { position: 0, isWaitingAt: (at) => this.isWaitingAt(at), abort: (reason) => this.abort(reason) }
    ])
  }

  /** The call is in the lists of its meters already. */
  protected override register(): void {
    this.unsettled++
  }

  protected override unregister(): void {
    for (const [limiter, entry] of this.listed) limiter.endCall(entry)
    for (const [limiter] of this.listed) limiter.removeCall()
  }

  protected override get isWeighed(): boolean {
    return this.limiters.some((limiter) => limiter.isWeighed)
  }

  override begin(): void {
    // The meter is not idle between two attempts, when the call neither runs nor waits for admission.
    for (const [limiter, entry] of this.listed) {
      limiter.addCall()
      limiter.enterCall(entry)
    }
    try {
      super.begin()
    } catch (error) {
      // The call is in the lists of its meters, and has to leave them.
      this.reject(error)
    }
  }

  /** The meter has accepted the call: its retries wait as long as it takes. */
  override get isSheddable(): boolean {
    return this.failures === 0
  }

  /** Between two attempts, the call waits from its caller's point of view. */
  override isWaitingAt(limiter: admission.Limiter): boolean {
    return this.state._tag === "backoff" || super.isWaitingAt(limiter)
  }

  override abort(reason: unknown): void {
    const { state } = this
    if (state._tag !== "decided") this.decide({ reason })
    // A failure that has decided the call stands, as with the verbs. A result that has not been delivered does not.
    else if ("value" in state.decision) state.decision = { reason }
  }

  protected override fulfil(value: B): void {
    this.decide({ value })
  }

  protected override reject(reason: unknown): void {
    this.decide({ reason })
  }

  protected override failed(reason: unknown): void {
    if (this.state._tag === "decided") return
    let delay: number | undefined
    try {
      delay = this.retries?.delayBefore(++this.failures, reason)
    } catch (error) {
      return this.reject(error)
    }
    if (delay === undefined) return this.reject(reason)
    // The caller's functions that decide about a retry may have ended the call.
    if (this.isDecided) return
    const cancelDelay = runtime.after(host(), delay, () => {
      this.state = attempt
      this.ask()
    })
    this.state = { _tag: "backoff", cancelDelay }
  }

  protected override hasSettled(): void {
    this.unsettled--
    if (this.state._tag === "decided") this.conclude(this.state)
  }

  private get isDecided(): boolean {
    return this.state._tag === "decided"
  }

  private decide(decision: Decision<B>): void {
    const before = this.state
    if (before._tag === "decided") return
    const decided: State<B> & { readonly _tag: "decided" } = { _tag: "decided", decision }
    this.state = decided
    if (before._tag === "backoff") before.cancelDelay()
    if (this.isWaiting) this.cancel()
    if ("reason" in decision) {
      this.unlisten?.()
      this.cancelAttempt(decision.reason)
    }
    const thrown = this.retries?.close()
    if (thrown !== undefined && "value" in decided.decision) decided.decision = thrown
    this.conclude(decided)
  }

  /** Settles the promise once all attempts have settled or `grace` is over. */
  private conclude(decided: State<B> & { readonly _tag: "decided" }): void {
    if (this.isOver) return
    if (this.unsettled === 0 || this.grace === 0) this.settleBy(decided)
    else if (this.grace !== Infinity)
      decided.cancelGrace ??= runtime.after(host(), this.grace, () => this.settleBy(decided))
  }

  private settleBy({ cancelGrace, decision }: State<B> & { readonly _tag: "decided" }): void {
    cancelGrace?.()
    if ("value" in decision) this.finish(decision.value)
    else this.finish(undefined, decision)
  }
}
