import { calls } from "fibermeter/engine"
import { ofItems, ofTasks } from "./internal/arguments.ts"
import { execute } from "./internal/execute.ts"
import type { Rejection } from "./internal/rejection.ts"
import type { AnyFunction, Meant } from "./internal/wrongCall.ts"
import type { RunAnyOptions } from "./Options.ts"
import type { Items, ItemTask, MemberOf, ResultOf, Task } from "./Task.ts"

/**
 * Runs a task for each item, or a list of tasks, and resolves with the first result. The other tasks are cancelled; none
 * starts after the winner.
 *
 * Failures are tolerated until all tasks have failed: then the promise rejects with an `AggregateError` whose `errors`
 * are what they threw, in input order. It also does so if there are no tasks. With `until: "settled"` the
 * first task to settle decides, and its rejection is the promise's own. With `stagger`, tasks start one after the other.
 * Rejects with a `RangeError` or `TypeError` if an
 * option is invalid.
 *
 * @example
 * ```ts
 * import { setTimeout } from "node:timers/promises"
 * import { runAny } from "@fibermeter/promise"
 *
 * const fromMirror = (delay: number) => setTimeout(delay, `mirror after ${delay} ms`)
 *
 * await runAny([500, 5, 1000], (delay, { signal }) => setTimeout(delay, `after ${delay} ms`, { signal })) // => "after 5 ms"
 * await runAny([() => fromMirror(500), () => fromMirror(1)]) // => "mirror after 1 ms"
 * ```
 *
 * @since 0.1.0
 */
export const runAny: {
  /**
   * Runs a list of tasks and resolves with the first result. The losers are cancelled.
   *
   * Without options nothing limits how many run at once. If all tasks fail, rejects with an
   * `AggregateError` of what they threw, in input order. Rejects with a `RangeError` or `TypeError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { runAny } from "@fibermeter/promise"
   *
   * await runAny([() => new Promise(() => {}), async () => "quick"]) // => "quick"
   * ```
   *
   * @since 0.1.0
   */
  <const T extends Items<Task<unknown>>>(tasks: T, options?: RunAnyOptions<MemberOf<T>>): Promise<ResultOf<MemberOf<T>>>
  /**
   * Runs a task for each item and resolves with the first result. The losers are cancelled.
   *
   * Without options nothing limits how many run at once. If all tasks fail, rejects with an
   * `AggregateError` of what they threw, in input order. Rejects with a `RangeError` or `TypeError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { runAny } from "@fibermeter/promise"
   *
   * await runAny(["a", "b"], async (mirror) => `from mirror ${mirror}`, { maxAtOnce: 1 }) // => "from mirror a"
   * ```
   *
   * @since 0.1.0
   */
  <A, B>(items: Items<A>, task: ItemTask<A, B>, options?: RunAnyOptions<A>): Promise<B>
  /** By this form, the compiler reports wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, const T, Q = AnyFunction>(
    items: T & (Q extends AnyFunction ? Items<A> : Items<Task<unknown>>),
    task: (Q extends AnyFunction ? ItemTask<NoInfer<A>, B> : RunAnyOptions) & Meant<Q>
  ): Promise<Q extends AnyFunction ? B : ResultOf<MemberOf<T>>>
  /** By this form, the compiler reports wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, const T, Q = AnyFunction>(
    items: T & (Q extends AnyFunction ? Items<A> : Items<Task<unknown>>),
    task: (Q extends AnyFunction ? ItemTask<NoInfer<A>, B> : RunAnyOptions) & Meant<Q>
  ): Promise<Q extends AnyFunction ? B : ResultOf<MemberOf<T>>>
} = (input: unknown, second?: unknown, third?: unknown): Promise<never> =>
  execute(
    () => (typeof second === "function" ? ofItems(input, second, third) : ofTasks(input, second)),
    ({ options }) => {
      const { stagger = 0, until } = options
      const untilSettled = until === "settled"
      const collector: calls.Any<never, Rejection> =
        stagger > 0 ? new calls.Staggered(untilSettled, stagger) : new calls.Any(untilSettled)
      return { collector, result: () => resultOf(collector) }
    }
  )

const resultOf = <B>({ failures, winner }: calls.Any<B, Rejection>): B => {
  if (winner !== undefined) return winner.value
  const errors = failures.map(({ reason }) => reason)
  throw new AggregateError(errors, errors.length === 0 ? "there were no tasks" : "all tasks have failed")
}
