/**
 * How the options `priority` and `lane` of a verb rank each of its requests: as a value for all, or by a function of the item.
 */

import type { Rank } from "../admission/types.ts"

/** `readPriority` checks what a function returns. Without these options there is nothing to do for each item. */
export const ranking = (
  { lane, priority }: { readonly priority?: unknown; readonly lane?: unknown },
  readPriority: (value: unknown) => number
): ((item: any, index: number) => Rank) | undefined => {
  if (priority === undefined && lane === undefined) return undefined
  const of = (option: unknown, item: unknown, index: number): unknown =>
    typeof option === "function" ? option(item, index) : option
  return (item, index) => ({
    priority: readPriority(of(priority, item, index) ?? 0),
    lane: of(lane, item, index)
  })
}
