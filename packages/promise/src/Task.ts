/**
 * What the verbs run, and what they take it from.
 */
import type { TaskContext } from "./internal/context.ts"

export type { TaskContext } from "./internal/context.ts"

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
