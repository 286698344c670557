/**
 * The protocol of a meter that several processes share, and its stores. The meters themselves are not here yet: see the
 * README.
 */
export { advance, step } from "./protocol/advance.ts"
export type { Advanced } from "./protocol/advance.ts"
export { encodeLimits } from "./protocol/limits.ts"
export type { Limits, WindowLimit } from "./protocol/limits.ts"
export { protocolVersion, slotAt } from "./protocol/message.ts"
export type { Answer, Correction, Demand, Grant, Message, Report, Status } from "./protocol/message.ts"
export type { State } from "./protocol/state.ts"
export { StoreClock } from "./protocol/storeClock.ts"
export { memoryStore } from "./store/memoryStore.ts"
export type { MeterStore } from "./store/MeterStore.ts"
export { keyOf, redisStore } from "./store/redisStore.ts"
export type { RedisConnection } from "./store/redisStore.ts"
