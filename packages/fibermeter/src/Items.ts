/**
 * What the verbs take items from.
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/**
 * The items of a call: any iterable, finite or not, or a `Stream`. An `Effect` is iterable, too, but for `yield*`
 * only, so it is refused here.
 *
 * @category models
 * @since 0.1.0
 */
export type Items<A, E = never, R = never> =
  | (Iterable<A> & { readonly [K in typeof Effect.TypeId]?: never })
  | Stream.Stream<A, E, R>
