/**
 * The engine below the verbs, for packages that offer them in another form than Effect's: `@fibermeter/promise` is
 * built on it. It is the same admission loop, gates and checks as under `fibermeter` itself, with the carrying out of
 * tasks left open.
 *
 * A call is a `Run`: it takes items from a `Source`, has its `Gate`s admit them, has a `Worker` carry them out and hands
 * the outcomes to a `Collector`. How a task is carried out is the worker's affair alone.
 *
 * **Gotchas**
 *
 * Made for this project's own packages: unlike the rest, it may change with any release.
 *
 * @since 0.1.0
 */
export { captureContext } from "./internal/asyncContext.ts"
export type { AsyncContext } from "./internal/asyncContext.ts"
export * as check from "./internal/check.ts"
export { All, Any, Feed, nothing } from "./internal/collect.ts"
export { isEffect } from "./internal/effectInternals.ts"
export { Fifo } from "./internal/fifo.ts"
export { namesOf, together } from "./internal/gate.ts"
export type { Gate } from "./internal/gate.ts"
export { correct } from "./internal/holding.ts"
export type { Cost, Holding } from "./internal/holding.ts"
export { after } from "./internal/host.ts"
export type { Clock, Host, Timer } from "./internal/host.ts"
export { KeyedGates } from "./internal/keyedGates.ts"
export { LimitGate, nanosOf } from "./internal/limitGate.ts"
export { Line } from "./internal/line.ts"
export type { Placed } from "./internal/line.ts"
export { reportOn, sizeOf } from "./internal/progress.ts"
export { excessMessage } from "./internal/refusal.ts"
export type { ExcessiveCost, Refusal } from "./internal/refusal.ts"
export { retryAfter } from "./internal/retryAfter.ts"
export { Run, Task } from "./internal/run.ts"
export type { Collector, Worker } from "./internal/run.ts"
export { Next, ofIterable, resultOf } from "./internal/source.ts"
export type { Source } from "./internal/source.ts"
export { standing } from "./internal/standing.ts"
export { Ticket } from "./internal/ticket.ts"
