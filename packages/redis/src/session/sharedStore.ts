/** From a store of the protocol to one that meters can use. */
import type { MeterStore } from "../store/MeterStore.ts"
import type { Store } from "./ExternalLimit.ts"
import { readOptions, type StoreOptions } from "./options.ts"
import { Session } from "./Session.ts"

/** A store that `createMeter` takes as its option `store`. */
export interface SharedStore extends MeterStore, Store {}

/** Throws a `RangeError` or `TypeError` if an option is invalid. */
export const sharedStore = (store: MeterStore, options: StoreOptions): SharedStore => {
  const read = readOptions(options)
  return {
    ...store,
    version: 1,
    limit: (name, limits) => new Session(store, name, limits, read, () => crypto.randomUUID())
  }
}
