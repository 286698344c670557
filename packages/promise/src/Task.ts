/**
 * Tasks and items.
 */
import type { Cost, WindowReport } from "./Limits.ts"

/** What a task is called with. */
export interface TaskContext {
  /** The index of the item, or of the task itself, in the input. Only in tasks of verbs. */
  readonly index: number
  /**
   * Aborted when the task is cancelled: with the caller's reason if the caller aborted, otherwise with an `AbortError`.
   * Pass it to everything that can be aborted, such as `fetch`.
   */
  readonly signal: AbortSignal
  /**
   * Replaces the cost of the task by what it really was, by the names of windows. If it was less than reserved, the rest is
   * free at once. If it was more, even more than the `limit`, later tasks wait for it. Windows that are not named keep their
   * cost. The last of several calls counts. It may be called after the task has ended, as long as a window reaches its start.
   * `correct({ requests: 0 })` frees what a refused request has taken, if the server does not charge it.
   *
   * What a report has counted changes only with `refunds`: see `WindowReport`.
   */
  readonly correct: (cost: Cost) => void
  /**
   * Tightens a window of the task's meters to what a server reports in its answer to the task (see `rateLimitsOf`), until the
   * server resets it. A window never gets wider than its own limit. Tasks that started after this one are subtracted, since
   * the server may not have counted them. A report replaces those that had arrived before the task started; of others, the
   * strictest counts. It is taken to be from now, so call this as soon as the headers have arrived.
   *
   * Throws a `TypeError` if no meter of the task has such a window, or the task has no meter: the limits in the options of a
   * verb cannot be tightened.
   */
  readonly reconcile: (report: WindowReport) => void
  /**
   * With a meter on a store: a number that is higher for each later start of the meter, over all processes. A process that
   * stood still may go on with a task whose permits another process has by now: pass the token to the resource, and have that
   * reject a request with a lower token than it has seen. `undefined` if no meter of the task is on a store; of several, the
   * token is that of the first by name.
   */
  readonly fencingToken: number | undefined
}

/** The items of a call: any iterable or async iterable, finite or not. */
export type Items<A> = Iterable<A> | AsyncIterable<A>

/** A task for each item, async or not. */
export type ItemTask<A, B> = (item: A, context: TaskContext) => B | PromiseLike<B>

/** A task in a list of tasks. */
export type Task<B> = (context: TaskContext) => B | PromiseLike<B>

/** The result of a task. */
export type ResultOf<T> = T extends (...args: never) => infer B ? Awaited<B> : never

/** The element type of a list of tasks. */
export type MemberOf<T> = T extends Items<infer Each> ? Each : never
