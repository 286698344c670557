/**
 * Random programs of two to four shared meters: calls of every verb and of `run`, in tasks of other calls as well, with
 * aborts, `clear`, `close`, pauses, resizes, retries, timeouts and readers that are slow or leave. `random/world.ts` says
 * what has to hold.
 */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { kept } from "./random/kept.ts"
import { program, written } from "./random/program.ts"
import { execute } from "./random/world.ts"
import { expectNoUnhandledRejection, useVirtualTime } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** By default the same programs in each run; others, and more, by `RANDOM_SEED=7 RANDOM_PROGRAMS=100000 vitest run …`. */
const numRuns = Number(process.env["RANDOM_PROGRAMS"] ?? 1000)
const seed = { seed: Number(process.env["RANDOM_SEED"] ?? 20_261_127) }

describe("programs that have failed before", () => {
  it.each(Object.entries(kept))("%s", async (_, failed) => {
    await expect(execute(failed)).resolves.toBeUndefined()
  })
})

describe("random programs", () => {
  it("break no limit, and whatever can start does", { timeout: 0 }, async () => {
    let executed = 0
    await fc.assert(
      fc.asyncProperty(program, async (drawn) => {
        try {
          await execute(drawn)
        } catch (error) {
          throw new Error(`${(error as Error).message}\n${written(drawn)}`, { cause: error })
        }
        executed++
      }),
      { numRuns, ...seed }
    )
    expect(executed).toBe(numRuns)
  })
})
