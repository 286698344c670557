/**
 * Where a call runs: its clock and timers, the async context of its caller, and what marks the values of Effect.
 */
export { captureContext } from "../internal/asyncContext.ts"
export type { AsyncContext } from "../internal/asyncContext.ts"
export { isEffect } from "../internal/effectInternals.ts"
export { after, isWorkers } from "../internal/host.ts"
export type { Clock, Host, Requests, Timer, Wakeable } from "../internal/host.ts"
export { freshTurn, overdue } from "../internal/turn.ts"
export { retryAfter } from "../internal/retryAfter.ts"
