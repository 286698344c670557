import { ofDefaults } from "fibermeter/engine"
import type { Host } from "fibermeter/engine"

let shared: Host | undefined

/** Where all calls of this package run. Made at the first call, since some hosts allow for nothing while they load. */
export const host = (): Host => (shared ??= ofDefaults())
