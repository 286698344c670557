import { calls } from "fibermeter/engine"
import { ofItems } from "./internal/arguments.ts"
import { execute } from "./internal/execute.ts"
import { tolerating } from "./internal/outcomes.ts"
import type { EachOptions } from "./Options.ts"
import type { Items, ItemTask } from "./Task.ts"

/**
 * Runs a task for each item, in any order of ending, and keeps no results.
 *
 * Tasks start in the order of the items. Items are taken one at a time, as tasks may start, so they may be without
 * end. The first task to throw or reject stops new starts and cancels the others; the promise rejects with the very
 * value that it threw. Rejects with a `RangeError` or `TypeError` if an option is not what it has to be.
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
