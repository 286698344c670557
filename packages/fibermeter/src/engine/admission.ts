/**
 * Limits, the queues before them, and requests for a start.
 */
export { namesOf, limitersTogether as together } from "../internal/admission/limiter.ts"
export type { Limiter, Waiter } from "../internal/admission/limiter.ts"
export { correct } from "../internal/admission/reservation.ts"
export type { Cost, Reservation } from "../internal/admission/reservation.ts"
export { KeyedLimiters } from "../internal/meter/keyedLimiters.ts"
export { LocalLimiter, nanosOf } from "../internal/limits/localLimiter.ts"
export { SharedLimiter } from "../internal/limits/sharedLimiter.ts"
export { excessMessage } from "../internal/admission/refusal.ts"
export type { ExcessiveCost, Refusal } from "../internal/admission/refusal.ts"
export { snapshotOf } from "../internal/meter/snapshot.ts"
export { AdmissionRequest } from "../internal/admission/request.ts"
