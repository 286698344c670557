/**
 * Runs the tasks of a verb as promises: a task is a function, and has ended when what it returns has settled.
 */
import { calls, check } from "fibermeter/engine"
import type { admission } from "fibermeter/engine"
import type { TaskContext } from "../Task.ts"
import { Context } from "./context.ts"
import { enter, leave } from "./nestingDepth.ts"
import { leases } from "./leases.ts"
import type { AttemptLimit } from "./leases.ts"
import { fulfilled } from "./outcomes.ts"
import { refusal } from "./errors.ts"
import { plainPromise } from "./plainPromise.ts"
import { toRejection } from "./rejection.ts"
import type { Rejection, TaskRejection } from "./rejection.ts"
import type { RetryingRun } from "./retryingRun.ts"
import type { Retries } from "./retryPolicy.ts"
import { aborted, objectionOf } from "./signal.ts"
import { TimeLimit } from "./timeLimit.ts"

/** Returns the cost of an item. Throws if the caller's function returns something else. */
export type Weigh<A> = (item: A, index: number, limiters?: ReadonlyArray<admission.Weighing>) => admission.Cost

export type AnyTask<A, B> = (item: A, context: TaskContext) => B | PromiseLike<B>

/** A task whose promise is pending. There is one per task, so its properties are declared and assigned. */
class PendingTask<A, B> extends calls.RunningTask {
  declare readonly context: Context
  declare timeLimit: AttemptLimit | undefined
  declare private readonly worker: PromiseWorker<A, B>

  constructor(worker: PromiseWorker<A, B>, context: Context) {
    super()
    this.worker = worker
    this.context = context
    this.timeLimit = undefined
  }

  cancel(): void {
    // The call no longer waits for the task, so the timeout does not matter.
    this.timeLimit?.cancel()
    this.context.abort(this.worker.reason)
  }
}

export class PromiseWorker<A, B> implements calls.Worker<A, B, Rejection> {
  readonly grace: number
  readonly itemMeters: calls.ItemMeters | undefined
  readonly weigh: Weigh<A> | undefined
  readonly permits: number
  readonly rank: ((item: A, index: number) => calls.Rank) | undefined
  /** The reason that the caller has given for the cancellation of all tasks. */
  callerReason: Rejection | undefined
  private ownReason: DOMException | undefined
  /** None without a signal, since it is asked before each start. */
  readonly objection: (() => admission.Refusal | undefined) | undefined
  private readonly task: AnyTask<A, B>
  /** In milliseconds. */
  private readonly timeout: number
  private readonly releasesOnTimeout: boolean
  private readonly retries: Retries | undefined
  /** Whether the result of each task is its outcome, even if it fails. */
  private readonly isSettling: boolean

  constructor(options: {
    readonly task: AnyTask<A, B>
    readonly signal: AbortSignal | undefined
    readonly itemMeters: calls.ItemMeters | undefined
    readonly weigh: Weigh<A> | undefined
    readonly permits: number
    readonly rank: ((item: A, index: number) => calls.Rank) | undefined
    readonly grace: number
    readonly timeout: number | undefined
    readonly releasesOnTimeout: boolean
    readonly retries: Retries | undefined
    readonly isSettling: boolean
  }) {
    this.task = options.task
    const { signal } = options
    this.objection = signal && (() => objectionOf(signal))
    this.itemMeters = options.itemMeters
    this.weigh = options.weigh
    this.permits = options.permits
    this.rank = options.rank
    this.grace = options.grace
    this.timeout = options.timeout ?? Infinity
    this.releasesOnTimeout = options.releasesOnTimeout
    this.retries = options.retries
    this.isSettling = options.isSettling
  }

  /** Why tasks are cancelled. Created on first use: creating an exception takes longer than the rest of a cancellation. */
  get reason(): unknown {
    if (this.callerReason !== undefined) return this.callerReason.reason
    return (this.ownReason ??= new DOMException(
      "the task was cancelled: the call that it belongs to has ended",
      "AbortError"
    ))
  }

  /** `failures` is how many attempts at the task have failed before this one. */
  start(run: RetryingRun<A, B>, item: A, index: number, failures = 0): void {
    const context = run.isWeighed(index) ? new Context(index, run.holding(index)) : new Context(index)
    const depth = enter()
    let result: B | PromiseLike<B>
    let promise: PromiseLike<B> | undefined
    try {
      result = this.task(item, context)
      leave(depth)
      if (check.isThenable(result)) promise = plainPromise(result)
    } catch (reason) {
      leave(depth)
      return this.failed(run, item, index, failures, reason)
    }
    if (promise === undefined) return this.succeeded(run, item, index, result as B)
    const pending = new PendingTask(this, context)
    const { timeout } = this
    if (timeout !== Infinity) pending.timeLimit = this.limit(timeout, run, item, failures, pending)
    const watch = leases.watch?.(context.reservation)
    if (watch !== undefined) {
      pending.timeLimit = watch(pending.timeLimit, (error) => {
        context.abort(error)
        this.failedBeforeEnd(run, item, failures, context, error)
      })
    }
    promise.then(
      (value) => {
        run.untrack(pending)
        if (pending.timeLimit?.end() === false) this.settledLate(run, pending)
        else this.succeeded(run, item, index, value)
      },
      (reason) => {
        run.untrack(pending)
        if (pending.timeLimit?.end() === false) this.settledLate(run, pending)
        else this.failed(run, item, index, failures, reason)
      }
    )
    run.track(pending)
  }

  /** If the signal has aborted, the call's own listener is about to end the call. */
  refused(cause: admission.Refusal): Rejection | undefined {
    return cause === aborted ? undefined : toRejection(refusal(cause))
  }

  readonly crash = toRejection

  /** What a cancelled task throws is dropped. */
  combine(first: Rejection | undefined): Rejection | undefined {
    return first
  }
  private succeeded(run: RetryingRun<A, B>, item: A, index: number, value: B): void {
    run.succeeded(index, this.isSettling ? (fulfilled(value, index, item) as B) : value)
  }

  private failed(run: RetryingRun<A, B>, item: A, index: number, failures: number, reason: unknown): void {
    const failure = this.decide(run, item, index, failures, reason)
    if (failure.delay === undefined) return run.failed(index, failure)
    run.retry(item, index, failures + 1, failure.delay)
  }

  private limit(
    millis: number,
    run: RetryingRun<A, B>,
    item: A,
    failures: number,
    pending: PendingTask<A, B>
  ): TimeLimit {
    const { context } = pending
    return new TimeLimit(millis, context.index, (error) => {
      context.abort(error)
      if (this.releasesOnTimeout) {
        run.untrack(pending)
        return this.failed(run, item, context.index, failures, error)
      }
      this.failedBeforeEnd(run, item, failures, context, error)
    })
  }

  private failedBeforeEnd(
    run: RetryingRun<A, B>,
    item: A,
    failures: number,
    { index }: Context,
    reason: unknown
  ): void {
    const failure = this.decide(run, item, index, failures, reason)
    if (failure.delay === undefined) run.failedBeforeEnd(index, failure)
    else run.retryBeforeEnd(item, index, failures + 1, failure.delay)
  }

  /** A task that had timed out, or lost its lease, has settled. */
  private settledLate(run: RetryingRun<A, B>, { context, timeLimit }: PendingTask<A, B>): void {
    if (!this.releasesOnTimeout || timeLimit!.keepsPermits === true) run.settledLate(context.index)
  }

  /** How the task has failed, unless there is a next attempt after a delay. */
  private decide(
    run: RetryingRun<A, B>,
    item: A,
    index: number,
    failures: number,
    reason: unknown
  ): TaskRejection<A> & { readonly delay?: number | undefined } {
    if (this.retries === undefined || run.phase !== "open") return { reason, item }
    try {
      return { reason, item, delay: this.retries.delayBefore(failures + 1, reason, run.metersAt(index)) }
    } catch (error) {
      return { reason: error, item }
    }
  }
}
