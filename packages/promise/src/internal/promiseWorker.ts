/**
 * Carries out tasks as promises: a task is a function that is called, and has ended when what it returned has settled.
 */
import { check, Task } from "fibermeter/engine"
import type { Cost, Run, Worker } from "fibermeter/engine"
import type { TaskContext } from "../Task.ts"
import { Context } from "./context.ts"
import { refusal } from "./refuse.ts"

/** How a task failed: the very value that it threw or rejected with. */
export interface Rejection {
  readonly reason: unknown
}

/** Says what an item costs; throws if what the caller says is no cost. */
export type Weigh<A> = (item: A, index: number) => Cost

export type AnyTask<A, B> = (item: A, context: TaskContext) => B | PromiseLike<B>

class PromiseTask<A, B> extends Task {
  private readonly worker: PromiseWorker<A, B>
  private readonly context: Context

  constructor(worker: PromiseWorker<A, B>, context: Context) {
    super()
    this.worker = worker
    this.context = context
  }

  cancel(): void {
    this.context.abort(this.worker.reason)
  }
}

export class PromiseWorker<A, B> implements Worker<A, B, Rejection> {
  readonly grace: number
  readonly weigh: Weigh<A> | undefined
  /** What cancelled tasks see as the reason, if the caller has given one. */
  callerReason: Rejection | undefined
  private readonly task: AnyTask<A, B>

  constructor(task: AnyTask<A, B>, weigh: Weigh<A> | undefined, grace: number) {
    this.task = task
    this.weigh = weigh
    this.grace = grace
  }

  get reason(): unknown {
    return this.callerReason === undefined
      ? new DOMException("the task was cancelled: the call that it belongs to has ended", "AbortError")
      : this.callerReason.reason
  }

  start(run: Run<A, B, Rejection>, item: A, index: number): void {
    const context = run.isWeighed ? new Context(index, run.holding()) : new Context(index)
    let promise: PromiseLike<B>
    try {
      const result = this.task(item, context)
      if (!check.isThenable(result)) return run.succeeded(index, result)
      // Foreign thenables may call back at once, twice, or throw; a promise around them does not.
      promise = result instanceof Promise ? result : Promise.resolve(result)
    } catch (reason) {
      return run.failed(index, this.crash(reason))
    }
    const task = new PromiseTask(this, context)
    promise.then(
      (value) => {
        run.untrack(task)
        run.succeeded(index, value)
      },
      (reason) => {
        run.untrack(task)
        run.failed(index, { reason })
      }
    )
    run.track(task)
  }

  refused(cause: Parameters<Worker<A, B, Rejection>["refused"]>[0]): Rejection {
    return this.crash(refusal(cause))
  }

  crash(reason: unknown): Rejection {
    return { reason }
  }

  /** What a cancelled task still throws is nobody's business any more. */
  combine(first: Rejection | undefined): Rejection | undefined {
    return first
  }
}
