/**
 * The store of meters that several processes share: see `Meter.distributed`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"

/**
 * Keeps the limits of meters that several processes share. Layers are in `@fibermeter/redis/effect`.
 *
 * @category services
 * @since 0.1.0
 */
export class MeterStore extends Context.Service<
  MeterStore,
  {
    /** The version of the interface between the packages. */
    readonly version: 1
    /** For the meter. */
    readonly limit: (name: string, limits: any) => any
  }
>()("fibermeter/MeterStore") {}

/**
 * A meter of `Meter.distributed` cannot admit the task: other processes have other limits for it, or the store does not answer
 * and is not to be waited for. Or the task was interrupted, because the store has not heard of this process for so long that
 * others may use its permits.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreError extends Data.TaggedError("StoreError")<{
  /** The error of the store's package. */
  readonly cause: unknown
}> {
  override get message(): string {
    return this.cause instanceof Error ? this.cause.message : "the store of the meter has failed"
  }
}
