/** The garbage collector, to be called by hand. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

// So that no command has to be given `--expose-gc`.
setFlagsFromString("--expose-gc")
const gc = runInNewContext("gc") as NonNullable<typeof globalThis.gc>

/** Collects the young generation, where garbage is as a rule. */
export const tidy = (): void => void gc({ type: "minor" })

/** What is alive, in bytes: the heap after a full collection. Twice, since some things go only after their finalizers. */
export const liveHeap = (): number => {
  gc()
  gc()
  return process.memoryUsage().heapUsed
}
