/** Turns a store of the protocol into one that meters can use. */
import type { MeterStore } from "../store/MeterStore.ts"
import type { ExternalLimit, MeterLimits, Store } from "./ExternalLimit.ts"
import { type Options, readOptions, type StoreOptions } from "./options.ts"
import { Session } from "./Session.ts"
import { ShareLimit } from "./ShareLimit.ts"

/** A store that `createMeter` takes as its option `store`. */
export interface SharedStore extends MeterStore, Store {}

/** Throws a `RangeError` or `TypeError` if an option is invalid. */
export const sharedStore = (store: MeterStore, options: StoreOptions): SharedStore => {
  const read = readOptions(options)
  return {
    ...store,
    version: 1,
    limit: (name, limits) => limitOf(store, name, limits, read, () => crypto.randomUUID())
  }
}

/** The limit of a meter in this process. `newId` makes names of sessions. */
export const limitOf = (
  store: MeterStore,
  name: string,
  limits: MeterLimits,
  options: Options,
  newId: () => string
): ExternalLimit => {
  const { outage } = options
  return typeof outage === "object"
    ? new ShareLimit(store, name, limits, options, outage.share, newId)
    : new Session(store, name, limits, options, newId)
}
