/**
 * Runs many effects concurrently, with limits on how many run at once and how many start per second.
 *
 * @since 0.1.0
 */
export { amap } from "./amap.ts"
export type { ItemOf, Items, ItemsError, ItemsServices } from "./Items.ts"
export * as Meter from "./Meter.ts"
export { MeterStore, StoreError } from "./MeterStore.ts"
export type { AmapOptions, CostError, Options, RunAnyOptions } from "./Options.ts"
export type { Progress } from "./Progress.ts"
export { runAll } from "./runAll.ts"
export { runAny } from "./runAny.ts"
export { runOnEach } from "./runOnEach.ts"
export * as WorkQueue from "./WorkQueue.ts"
