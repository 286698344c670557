/**
 * The items of a verb.
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Dequeue } from "./WorkQueue.ts"

/**
 * The items of a call: any iterable, finite or infinite, a `Stream`, or a `WorkQueue`. An `Effect` is refused, although it is
 * iterable for `yield*`.
 *
 * @category models
 * @since 0.1.0
 */
export type Items<A, E = never, R = never> =
  | (Iterable<A> & { readonly [K in typeof Effect.TypeId]?: never })
  | Stream.Stream<A, E, R>
  | Dequeue<A>

/**
 * The type of one of the items.
 *
 * @category models
 * @since 0.1.0
 */
export type ItemOf<I> = 0 extends 1 & I
  ? any
  : I extends Stream.Stream<infer A, any, any>
    ? A
    : I extends Dequeue<infer A>
      ? A
      : I extends Iterable<infer A>
        ? A
        : never

/**
 * The errors that the items add to a call: those of a `Stream`.
 *
 * @category models
 * @since 0.1.0
 */
export type ItemsError<I> = 0 extends 1 & I ? any : I extends Stream.Stream<any, infer E, any> ? E : never

/**
 * The services that the items add to a call: those of a `Stream`.
 *
 * @category models
 * @since 0.1.0
 */
export type ItemsServices<I> = 0 extends 1 & I ? any : I extends Stream.Stream<any, any, infer R> ? R : never
