/**
 * A call: its admission loop, where its items come from, and what becomes of the results.
 */
export { All } from "../internal/results/all.ts"
export { Any } from "../internal/results/any.ts"
export { discard } from "../internal/results/discard.ts"
export { Feed } from "../internal/results/feed.ts"
export { Staggered } from "../internal/results/staggered.ts"
export { reportOn, sizeOf } from "../internal/call/progress.ts"
export { ownLimitsOf, Run, RunningTask } from "../internal/run/run.ts"
export { ranking } from "../internal/run/ranking.ts"
export type { Rank } from "../internal/admission/types.ts"
export type { ItemMeters } from "../internal/admission/itemRequests.ts"
export type { Collector, Counts, Worker } from "../internal/run/run.ts"
export { rateLimitsOf } from "../internal/input/rateLimits.ts"
export { retryAfter } from "../internal/input/retryAfter.ts"
export { Next, ofIterable, resultOf, sourceIn } from "../internal/source/source.ts"
export type { Source, WithSource } from "../internal/source/source.ts"
export { queueEnded, WorkItems } from "../internal/source/workItems.ts"
