/** A start that becomes possible in the very step in which it is asked for. */
import { AsyncLocalStorage } from "node:async_hooks"
import { expect, it, vi } from "vitest"
import { createMeter, runOnEach } from "../../src/index.ts"
import { expectNoUnhandledRejection, useVirtualTime, value } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

it("time that goes by between two looks at the clock: the task starts there, in its caller's async context", async () => {
  const storage = new AsyncLocalStorage<string>()
  const meter = createMeter({ maxPerSecond: 10 })
  await value(runOnEach([1], () => {}, { maxPerSecond: 1000 }))
  await value(meter.run(() => 1))
  // Each look at the clock takes 60 ms: the first one comes too early for the next start, the second does not.
  let millis = performance.now()
  const clock = vi.spyOn(performance, "now").mockImplementation(() => (millis += 60))
  const seen: Array<string | undefined> = []
  const run = storage.run("mine", () => meter.run(() => void seen.push(storage.getStore())))
  expect(seen).toEqual(["mine"])
  expect(clock.mock.calls.length).toBeGreaterThan(1)
  await run
  expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 2 })
})
