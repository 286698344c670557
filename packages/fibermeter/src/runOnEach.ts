import * as Exit from "effect/Exit"
import type * as Effect from "effect/Effect"
import { dualVerb, execute } from "./internal/call/verbCall.ts"
import { discard } from "./internal/results/discard.ts"
import type { ItemOf, Items, ItemsError, ItemsServices } from "./Items.ts"
import type { Cost, Meters, MeterServices, VerbMeterError } from "./Meter.ts"
import type { CostError, PermitsError, Options } from "./Options.ts"

/**
 * Runs a task for each item and discards the results.
 *
 * **When to use**
 *
 * Use it for tasks that have side effects and no results. For results, use `runAll` or `amap`.
 *
 * **Details**
 *
 * Tasks start in the order of the items, each in a fiber of its own. An item is pulled only when its task may start, so the
 * items can be infinite. On the first failure or throw, no further task starts, the running tasks are interrupted, and the
 * call fails with the same cause when their finalizers have run. When the call has ended, none of its fibers is running.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { runOnEach } from "fibermeter"
 *
 * const greeted: Array<string> = []
 * const greet = (name: string) => Effect.sync(() => void greeted.push(`Hello, ${name}!`))
 *
 * await Effect.runPromise(runOnEach(["Robert", "Carmen", "Lucas"], greet, { maxAtOnce: 2 }))
 * console.log(greeted) // => ["Hello, Robert!", "Hello, Carmen!", "Hello, Lucas!"]
 * ```
 *
 * @category verbs
 * @since 0.1.0
 */
export const runOnEach: {
  /**
   * Runs a task for each of the piped items and discards the results.
   *
   * **Details**
   *
   * Tasks start in the order of the items, each in a fiber of its own. Without options, nothing limits how many run at once.
   * On the first failure, no further task starts, the running tasks are interrupted, and the call fails with the same cause
   * when their finalizers have run. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect, pipe } from "effect"
   * import { runOnEach } from "fibermeter"
   *
   * const greeted: Array<string> = []
   * const greet = (name: string) => Effect.sync(() => void greeted.push(`Hello, ${name}!`))
   *
   * await Effect.runPromise(pipe(["Robert", "Carmen"], runOnEach(greet, { maxAtOnce: 2 })))
   * console.log(greeted) // => ["Hello, Robert!", "Hello, Carmen!"]
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <A, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: Options<M, A, C, P>
  ): <SE = never, SR = never>(
    items: Items<A, SE, SR>
  ) => Effect.Effect<
    void,
    E | NoInfer<SE> | VerbMeterError<NoInfer<M>> | CostError<NoInfer<C>> | PermitsError<NoInfer<P>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  /**
   * Runs a task for each item and discards the results.
   *
   * **Details**
   *
   * Tasks start in the order of the items, each in a fiber of its own. Without options, nothing limits how many run at once.
   * On the first failure, no further task starts, the running tasks are interrupted, and the call fails with the same cause
   * when their finalizers have run. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { runOnEach } from "fibermeter"
   *
   * let sum = 0
   * const add = (n: number) => Effect.sync(() => void (sum += n))
   *
   * await Effect.runPromise(runOnEach([1, 2, 3], add, { maxAtOnce: 2 }))
   * console.log(sum) // => 6
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <I extends Items<any, any, any>, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    items: I,
    f: (item: ItemOf<I>, index: number) => Effect.Effect<B, E, R>,
    options?: Options<M, ItemOf<I>, C, P>
  ): Effect.Effect<
    void,
    E | ItemsError<I> | VerbMeterError<M> | CostError<C> | PermitsError<P>,
    R | ItemsServices<I> | MeterServices<M>
  >
  /** Makes the compiler report wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, E, R, SE = never, SR = never>(
    items: Items<A, SE, SR>,
    f: (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
  ): Effect.Effect<void, E | SE, R | SR>
  /** Makes the compiler report wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, E, R, SE = never, SR = never>(
    items: Items<A, SE, SR>,
    f: (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
  ): Effect.Effect<void, E | SE, R | SR>
} = /* @__PURE__ */ dualVerb((call) =>
  execute(
    call,
    () => discard,
    () => Exit.void
  )
)
