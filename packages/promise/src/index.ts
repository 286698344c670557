/**
 * Runs lots of async tasks concurrently: how many at once, how many a second, and results in a predictable manner; with
 * cancellation that reaches the tasks.
 *
 * @since 0.1.0
 */
export { amap } from "./amap.ts"
export { combineMeters, createKeyedMeter, createMeter } from "./createMeter.ts"
export type {
  EndMessage,
  EnqueueMessage,
  MeterChannels,
  MeterMessage,
  PauseMessage,
  RefuseMessage,
  StartMessage,
  StoreMessage
} from "./Diagnostics.ts"
export { createWorkQueue, WorkQueueEndedError } from "./createWorkQueue.ts"
export type { WorkQueue, WorkQueueOptions } from "./createWorkQueue.ts"
export type { Cancellation, Cost, Limits, MeterLimits, Period, Window, WindowReport } from "./Limits.ts"
export type {
  AcquireOptions,
  KeyedMeter,
  Meter,
  MeterOptions,
  MeterStore,
  MeterTask,
  Permit,
  Permits,
  RunOptions,
  Snapshot,
  Wrapped,
  WrapOptions
} from "./Meter.ts"
export type { AmapOptions, EachOptions, Options, RunAllOptions, RunAnyOptions } from "./Options.ts"
export type { Outcome } from "./Outcome.ts"
export { OverloadedError } from "./OverloadedError.ts"
export type { Progress } from "./Progress.ts"
export type { Results } from "./Results.ts"
export type { Retry } from "./Retry.ts"
export { rateLimitsOf } from "./rateLimitsOf.ts"
export type { RateLimit } from "./rateLimitsOf.ts"
export { retryAfter } from "./retryAfter.ts"
export { runAll } from "./runAll.ts"
export { runAny } from "./runAny.ts"
export { runOnEach } from "./runOnEach.ts"
export type { Items, ItemTask, Task, TaskContext } from "./Task.ts"
export type { TaskOptions } from "./TaskOptions.ts"
