/**
 * Limits, the queues before them, and requests for a start.
 */
export { inOrder, namesOf, limitersTogether as together } from "../internal/admission/limiter.ts"
export type { Limiter } from "../internal/admission/limiter.ts"
export type { WaitLimits } from "../internal/admission/overload.ts"
export type { Demand, ExternalLimit, Waiter } from "../internal/admission/types.ts"
export { ExternalLimiter } from "../internal/limits/externalLimiter.ts"
export { correct } from "../internal/admission/reservation.ts"
export type { Cost, Reservation } from "../internal/admission/reservation.ts"
export { KeyedLimiters } from "../internal/meter/keyedLimiters.ts"
export { LocalLimiter, nanosOf } from "../internal/limits/localLimiter.ts"
export { SharedLimiter } from "../internal/limits/sharedLimiter.ts"
export { excessMessage, overloadMessage } from "../internal/admission/refusal.ts"
export type { ExcessiveCost, ExcessivePermits, Overloaded, Refusal } from "../internal/admission/refusal.ts"
export { snapshotOf } from "../internal/meter/snapshot.ts"
export { CallRequest } from "../internal/admission/callRequest.ts"
export { AdmissionRequest } from "../internal/admission/request.ts"
