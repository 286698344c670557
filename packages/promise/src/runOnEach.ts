import { calls } from "fibermeter/engine"
import { ofItems } from "./internal/arguments.ts"
import { execute } from "./internal/execute.ts"
import { tolerating } from "./internal/outcomes.ts"
import type { EachOptions } from "./Options.ts"
import type { Items, ItemTask } from "./Task.ts"

/**
 * Runs a task for each item, without results.
 *
 * Tasks start in input order. Items are pulled one at a time, when a task may start, so the source may be infinite. The
 * first task to throw or reject stops new starts and cancels the others; the promise rejects with the very value that it
 * threw. Rejects with a `RangeError` or `TypeError` if an option is invalid.
 *
 * @example
 * ```ts
 * import { runOnEach } from "@fibermeter/promise"
 *
 * const greeted: Array<string> = []
 *
 * await runOnEach(
 *   ["Robert", "Carmen", "Lucas"],
 *   async (name) => {
 *     greeted.push(`Hello, ${name}!`)
 *   },
 *   { maxAtOnce: 2 }
 * )
 * console.log(greeted) // => ["Hello, Robert!", "Hello, Carmen!", "Hello, Lucas!"]
 * ```
 *
 * @since 0.1.0
 */
export const runOnEach = <A, B>(
  items: Items<A>,
  task: ItemTask<NoInfer<A>, B>,
  options?: EachOptions<A>
): Promise<void> =>
  execute(
    () => ofItems<A, B>(items, task, options),
    ({ options }) => ({ collector: tolerating(options, calls.discard), result: () => undefined })
  )
