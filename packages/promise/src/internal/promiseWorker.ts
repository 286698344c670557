/**
 * Carries out tasks as promises: a task is a function that is called, and has ended when what it returned has settled.
 */
import { calls, check } from "fibermeter/engine"
import type { admission } from "fibermeter/engine"
import type { TaskContext } from "../Task.ts"
import { Context } from "./context.ts"
import { enter, leave } from "./nestingDepth.ts"
import { fulfilled } from "./outcomes.ts"
import { plainPromise } from "./plainPromise.ts"
import { aborted, refusal } from "./errors.ts"
import type { Rejection, TaskRejection } from "./rejection.ts"
import type { RetryingRun } from "./retryingRun.ts"
import type { Retries } from "./retryPolicy.ts"
import { TimeLimit } from "./timeLimit.ts"

/** Says what an item costs; throws if what the caller says is no cost. */
export type Weigh<A> = (item: A, index: number) => admission.Cost

export type AnyTask<A, B> = (item: A, context: TaskContext) => B | PromiseLike<B>

/** An attempt at a task that did not end at once. Like its context without fields. */
class Attempt<A, B> extends calls.RunningTask {
  declare readonly context: Context
  declare limit: TimeLimit | undefined
  declare private readonly worker: PromiseWorker<A, B>

  constructor(worker: PromiseWorker<A, B>, context: Context) {
    super()
    this.worker = worker
    this.context = context
    this.limit = undefined
  }

  cancel(): void {
    // One that ignores its signal may go on for long, and nobody asks any more how long.
    this.limit?.callOff()
    this.context.abort(this.worker.reason)
  }
}

export class PromiseWorker<A, B> implements calls.Worker<A, B, Rejection> {
  readonly grace: number
  readonly weigh: Weigh<A> | undefined
  /** What cancelled tasks see as the reason, if the caller has given one. */
  callerReason: Rejection | undefined
  private ownReason: DOMException | undefined
  private readonly task: AnyTask<A, B>
  private readonly signal: AbortSignal | undefined
  private readonly timeout: number | undefined
  private readonly retries: Retries | undefined
  /** Whether each end of a task is a result, an outcome. */
  private readonly isSettling: boolean

  constructor(options: {
    readonly task: AnyTask<A, B>
    readonly signal: AbortSignal | undefined
    readonly weigh: Weigh<A> | undefined
    readonly grace: number
    readonly timeout: number | undefined
    readonly retries: Retries | undefined
    readonly isSettling: boolean
  }) {
    this.task = options.task
    this.signal = options.signal
    this.weigh = options.weigh
    this.grace = options.grace
    this.timeout = options.timeout
    this.retries = options.retries
    this.isSettling = options.isSettling
  }

  /** Made for the first that asks: an exception takes longer than all the rest of a cancellation. */
  get reason(): unknown {
    if (this.callerReason !== undefined) return this.callerReason.reason
    return (this.ownReason ??= new DOMException(
      "the task was cancelled: the call that it belongs to has ended",
      "AbortError"
    ))
  }

  start(run: RetryingRun<A, B>, item: A, index: number, attempts = 0): void {
    const context = run.isWeighed ? new Context(index, run.holding()) : new Context(index)
    const depth = enter()
    let promise: PromiseLike<B>
    try {
      const result = this.task(item, context)
      leave(depth)
      if (!check.isThenable(result)) return this.succeeded(run, item, index, result)
      promise = plainPromise(result)
    } catch (reason) {
      leave(depth)
      return this.failed(run, item, index, attempts, reason)
    }
    const attempt = new Attempt(this, context)
    if (this.timeout !== undefined) attempt.limit = this.limit(run, item, index, attempts, attempt)
    promise.then(
      (value) => {
        run.untrack(attempt)
        if (attempt.limit?.end() === false) run.settledLate()
        else this.succeeded(run, item, index, value)
      },
      (reason) => {
        run.untrack(attempt)
        if (attempt.limit?.end() === false) run.settledLate()
        else this.failed(run, item, index, attempts, reason)
      }
    )
    run.track(attempt)
  }

  objection(): admission.Refusal | undefined {
    return this.signal?.aborted === true ? aborted : undefined
  }

  /** Of a signal that has aborted, the call's own listener is about to be told. */
  refused(cause: admission.Refusal): Rejection | undefined {
    return cause === aborted ? undefined : this.crash(refusal(cause))
  }

  crash(reason: unknown): Rejection {
    return { reason }
  }

  /** What a cancelled task still throws is nobody's business any more. */
  combine(first: Rejection | undefined): Rejection | undefined {
    return first
  }

  private succeeded(run: RetryingRun<A, B>, item: A, index: number, value: B): void {
    run.succeeded(index, this.isSettling ? (fulfilled(value, index, item) as B) : value)
  }

  private failed(run: RetryingRun<A, B>, item: A, index: number, attempts: number, thrown: unknown): void {
    const { delay, reason } = this.verdict(run, attempts, thrown)
    if (delay === undefined) return run.failed(index, failure(reason, item))
    run.retry(item, index, attempts + 1, delay)
  }

  private limit(
    run: RetryingRun<A, B>,
    item: A,
    index: number,
    attempts: number,
    { context }: Attempt<A, B>
  ): TimeLimit {
    return new TimeLimit(this.timeout!, (error) => {
      context.abort(error)
      const { delay, reason } = this.verdict(run, attempts, error)
      if (delay === undefined) run.failedBeforeEnd(index, failure(reason, item))
      else run.retryBeforeEnd(item, index, attempts + 1, delay)
    })
  }

  /** When the next attempt begins, if there is to be one, and how the task has failed otherwise. */
  private verdict(run: RetryingRun<A, B>, attempts: number, reason: unknown): Rejection & { readonly delay?: number } {
    if (this.retries === undefined || run.phase !== "open") return { reason }
    try {
      const delay = this.retries.delayBefore(attempts + 1, reason)
      return delay === undefined ? { reason } : { reason, delay }
    } catch (error) {
      return { reason: error }
    }
  }
}

/** With its item, for those who want to know which it was. */
const failure = <A>(reason: unknown, item: A): TaskRejection<A> => ({ reason, item })
