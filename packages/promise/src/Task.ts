/**
 * What the verbs run, and what they take it from.
 */
import type { Cost } from "./Limits.ts"

/** What a task is called with. */
export interface TaskContext {
  /** The place of the task's item, or of the task itself, in the input; from 0. */
  readonly index: number
  /**
   * Aborted when the task is cancelled: with the caller's reason where the caller aborted, otherwise with an
   * `AbortError`. To be passed on to whatever can be aborted, such as `fetch`.
   */
  readonly signal: AbortSignal
  /**
   * Says what the task has really cost, by the names of windows: replaces what it was booked with. What was booked too
   * much is free again at once; what was booked too little holds back those that come next.
   */
  readonly correct: (cost: Cost) => void
}

/** The items of a call: any iterable or async iterable, finite or not. */
export type Items<A> = Iterable<A> | AsyncIterable<A>

/** A task for each item. May be async, or not. */
export type ItemTask<A, B> = (item: A, context: TaskContext) => B | PromiseLike<B>

/** A task by itself, for the verbs that take a list of them. */
export type Task<B> = (context: TaskContext) => B | PromiseLike<B>

/** What a task gives, once it has settled. */
export type ResultOf<T> = T extends (...args: never) => infer B ? Awaited<B> : never

/** What a list of tasks consists of. */
export type MemberOf<T> = T extends Items<infer Each> ? Each : never
