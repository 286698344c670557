import * as Exit from "effect/Exit"
import type * as Effect from "effect/Effect"
import { dualVerb, execute } from "./internal/call.ts"
import { nothing } from "./internal/collect.ts"
import type { Items } from "./Items.ts"
import type { Cost, MeterError, Meters, MeterServices } from "./Meter.ts"
import type { CostError, Options } from "./Options.ts"

/**
 * Runs a task for each item, in any order of ending, and keeps no results.
 *
 * **When to use**
 *
 * Use it for work that is done for its effect. For results, use `runAll` or `amap`.
 *
 * **Details**
 *
 * Tasks start in the order of the items, each in a fiber of its own. Items are taken one at a time, as tasks may start,
 * so the items may be without end. The first failure, or a throw, stops new starts, interrupts the tasks that run,
 * waits for their finalizers, and is what the call fails with. When the call ends, none of its fibers runs.
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
  <A, B, E, R, M extends Meters = never, C extends Cost = never>(
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: Options<M, A, C>
  ): <SE = never, SR = never>(
    items: Items<A, SE, SR>
  ) => Effect.Effect<
    void,
    E | NoInfer<SE> | MeterError<NoInfer<M>> | CostError<NoInfer<C>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  <A, B, E, R, SE = never, SR = never, M extends Meters = never, C extends Cost = never>(
    items: Items<A, SE, SR>,
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: Options<M, A, C>
  ): Effect.Effect<
    void,
    E | NoInfer<SE> | MeterError<NoInfer<M>> | CostError<NoInfer<C>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  /** By this form, the compiler reports wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, E, R, SE = never, SR = never>(
    items: Items<A, SE, SR>,
    f: (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
  ): Effect.Effect<void, E | SE, R | SR>
  /** By this form, the compiler reports wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, E, R, SE = never, SR = never>(
    items: Items<A, SE, SR>,
    f: (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
  ): Effect.Effect<void, E | SE, R | SR>
} = dualVerb((call) =>
  execute(
    call,
    () => nothing,
    () => Exit.void
  )
)
