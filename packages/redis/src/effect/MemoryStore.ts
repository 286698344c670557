/**
 * Meters in memory, which no other process shares: for tests, which may have a `TestClock`, and to try them out without a
 * server.
 */
import * as Layer from "effect/Layer"
import { MeterStore } from "fibermeter"
import { memoryStore } from "../store/memoryStore.ts"
import type { MemoryStoreOptions } from "../store/memoryStore.ts"

/** A store with options. Dies with a `RangeError` or `TypeError` if one is invalid. */
export const layerWith = (options: MemoryStoreOptions): Layer.Layer<MeterStore> =>
  Layer.sync(MeterStore, () => memoryStore(options))

/** A store of its own for each layer that is built. */
export const layer: Layer.Layer<MeterStore> = layerWith({})
