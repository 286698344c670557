/**
 * Where a call runs: its clock and timers, the async context of its caller, and what marks the values of Effect.
 */
export { captureShared } from "../internal/runtime/sharedContext.ts"
export type { AsyncContext } from "../internal/runtime/asyncContext.ts"
export { isEffect } from "../internal/runtime/effectInternals.ts"
export { after, inContext, isWorkers } from "../internal/runtime/host.ts"
export type { Clock, Host, Observer, Requests, Timer, Waiting, Wakeable } from "../internal/runtime/host.ts"
export { freshTurn, overdue } from "../internal/runtime/eventLoop.ts"
