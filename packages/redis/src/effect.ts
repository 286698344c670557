/**
 * Layers of `MeterStore`, for `Meter.distributed` of `fibermeter`.
 */
export * as MemoryStore from "./effect/MemoryStore.ts"
export * as RedisStore from "./effect/RedisStore.ts"
