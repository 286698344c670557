/** Random programs of short tasks: these use permits one after the other without a message to the store. */
import { createMeter, runAny, runOnEach } from "@fibermeter/promise"
import type { TaskContext } from "@fibermeter/promise"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { random } from "./support/random.ts"
import { troubledStore } from "./support/trouble.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

it.each(Array.from({ length: 40 }, (_, index) => index + 1))(
  "no more permits than the limit are in use, each start has its own fencing token, and all calls end: seed %i",
  async (seed) => {
    const { chance, int, pick } = random(seed)
    const limit = int(1, 6)
    // Lost answers make leases end, and tasks continue without their permits.
    const losesAnswers = seed % 3 === 0
    const [store, trouble] = troubledStore({ lease: 400, leaseLost: "continue" })
    const meters = Array.from({ length: int(1, 4) }, () => createMeter({ store, name: "api", maxAtOnce: limit }))
    const tokens: Array<number> = []
    let inUse = 0
    let most = 0
    const task =
      (permits: number, ms: number, fails = false) =>
      async ({ fencingToken }: Pick<TaskContext, "fencingToken">) => {
        inUse += permits
        most = Math.max(most, inUse)
        tokens.push(fencingToken!)
        if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
        inUse -= permits
        if (fails) throw new Error("failed")
      }
    const calls: Array<Promise<void>> = []
    // Some fail, and some are aborted.
    const add = (call: Promise<unknown>): void =>
      void calls.push(
        call.then(
          () => {},
          () => {}
        )
      )
    for (let count = int(20, 100); count > 0; count--) {
      const meter = pick(meters)
      const permits = chance(0.7) ? 1 : int(1, limit)
      const controller = new AbortController()
      const options = { permits, priority: int(0, 2), ...(chance(0.3) ? { signal: controller.signal } : {}) }
      add(meter.run(task(permits, int(0, 12), chance(0.1)), options))
      if (chance(0.1)) setTimeout(() => controller.abort(), int(0, 40))
      if (chance(0.1)) add(runOnEach(Array(5), (_, context) => task(1, int(0, 6))(context), { meter }))
      if (chance(0.1)) add(runAny([1, 2], (_, context) => task(1, int(0, 6))(context), { meter }))
      if (chance(0.05)) meter.pause(int(1, 30))
      if (losesAnswers && chance(0.05)) {
        trouble.losesAnswers = true
        setTimeout(() => (trouble.losesAnswers = false), 30)
      }
      if (chance(0.3)) await vi.advanceTimersByTimeAsync(int(0, 15))
    }
    await vi.advanceTimersByTimeAsync(10_000)
    await Promise.all(calls)
    expect(inUse).toBe(0)
    if (!losesAnswers) expect(most).toBeLessThanOrEqual(limit)
    expect(new Set(tokens).size).toBe(tokens.length)
    const closed = Promise.all(meters.map((meter) => meter.close()))
    await vi.advanceTimersByTimeAsync(3_000)
    await closed
    expect(vi.getTimerCount()).toBe(0)
  }
)
