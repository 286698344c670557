/**
 * Limits, the queues before them, and requests for a start.
 */
export { stopAccepting } from "../internal/admission/followers.ts"
export { whenIdle } from "../internal/admission/idleness.ts"
export { waitersOf } from "../internal/admission/waiters.ts"
export { inOrder, namesOf, limitersTogether as together } from "../internal/admission/limiter.ts"
export type { Limiter } from "../internal/admission/limiter.ts"
export type { WaitLimits } from "../internal/admission/overload.ts"
export type {
  Demand,
  ExternalEvent,
  ExternalLimit,
  ExternalMeter,
  ExternalStore,
  Waiter
} from "../internal/admission/types.ts"
export { external, isKey, nameOfKey } from "../internal/limits/externalLimiter.ts"
export { correct, fencingTokenOf } from "../internal/admission/reservation.ts"
export type { Cost, Reservation, Weighing } from "../internal/admission/reservation.ts"
export { KeyedLimiters } from "../internal/meter/keyedLimiters.ts"
export { changed, nanosOf } from "../internal/input/limits.ts"
export { SharedLimiter } from "../internal/limits/sharedLimiter.ts"
export { excessMessage, overloadMessage } from "../internal/admission/refusal.ts"
export type { ExcessiveCost, ExcessivePermits, Overloaded, Refusal } from "../internal/admission/refusal.ts"
export { reconcile } from "../internal/meter/reconcile.ts"
export { reportCheck } from "../internal/input/report.ts"
export { snapshotOf } from "../internal/meter/snapshot.ts"
export { CallRequest } from "../internal/admission/callRequest.ts"
export { AdmissionRequest } from "../internal/admission/request.ts"
