/** Diagnostics that find no room on the stack, where a task has taken its permit or has just released it. */
import { afterEach, expect, it, vi } from "vitest"
import { createMeter, runOnEach } from "../src/index.ts"
import { observation } from "../src/internal/observation.ts"

afterEach(() => vi.restoreAllMocks())

it.each(["starts", "ends"] as const)("leave no permit taken and no waiter behind: %s", async (event) => {
  const meter = createMeter({ maxAtOnce: 1 })
  const overflows = vi.spyOn(observation.observer!, event).mockImplementation(() => {
    throw new RangeError("Maximum call stack size exceeded")
  })
  const runs = [1, 2, 3].map((n) => meter.run(async () => n))
  expect(await Promise.all(runs)).toEqual([1, 2, 3])
  await runOnEach([1, 2], async () => {}, { meter })
  expect(overflows).toHaveBeenCalledTimes(5)
  expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
})
