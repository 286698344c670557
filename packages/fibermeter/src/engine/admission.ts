/**
 * Limits, the queues before them, and requests for a start.
 */
export { namesOf, together } from "../internal/gate.ts"
export type { Gate, Waiter } from "../internal/gate.ts"
export { correct } from "../internal/holding.ts"
export type { Cost, Holding } from "../internal/holding.ts"
export { KeyedGates } from "../internal/keyedGates.ts"
export { LimitGate, nanosOf } from "../internal/limitGate.ts"
export { excessMessage } from "../internal/refusal.ts"
export type { ExcessiveCost, Refusal } from "../internal/refusal.ts"
export { standing } from "../internal/standing.ts"
export { Ticket } from "../internal/ticket.ts"
