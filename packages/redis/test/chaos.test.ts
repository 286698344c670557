/** Faults of all kinds, one after another and at once, from seeds: the guarantees hold (`support/chaos.ts`). */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { bundle, type Bundle } from "./support/bundle.ts"
import { chaos, everyFault } from "./support/chaos.ts"
import { hasServer } from "./support/redisServer.ts"

const remark = hasServer ? "" : " (left out, since there is no redis-server in the PATH: apt-get install redis-server)"

describe.runIf(hasServer)(`chaos${remark}`, () => {
  let worker: Bundle
  beforeAll(async () => {
    worker = await bundle("chaosWorker.ts")
  })
  afterAll(() => worker.remove())

  it.each([1])(
    "seed %i: no limit is exceeded, no waiter is lost, and each stopped process learns that it was stopped",
    { timeout: 120_000 },
    async (seed) => {
      const plan = { seed, millis: 0, processes: 5, maxPerSecond: 500, maxAtOnce: 30, deck: everyFault }
      const outcome = await chaos(worker.file, { ...plan, pause: [50, 400] })
      expect(outcome.faults).toEqual(everyFault)
      expect(outcome.wrong).toEqual([])
      expect(outcome.mostInSecond).toBeLessThanOrEqual(500)
      expect(outcome.mostAtOnce).toBeLessThanOrEqual(30)
      expect(outcome.told).toBe(outcome.stopped)
      expect(outcome.stopped).toBeGreaterThan(0)
    }
  )
})
