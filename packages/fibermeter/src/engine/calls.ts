/**
 * A call: its admission loop, where its items come from, and what becomes of the results.
 */
export { All, Any, Feed, nothing } from "../internal/collect.ts"
export { reportOn, sizeOf } from "../internal/progress.ts"
export { Run, Task } from "../internal/run.ts"
export type { Collector, Worker } from "../internal/run.ts"
export { Next, ofIterable, resultOf } from "../internal/source.ts"
export type { Source } from "../internal/source.ts"
