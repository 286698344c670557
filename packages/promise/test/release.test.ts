/** A permit is released once, even if what follows its release throws: a stack may overflow anywhere. */
import { expect, it, vi } from "vitest"
import { createMeter, runAll } from "../src/index.ts"
import { MeterLimiter } from "../src/internal/meterLimiter.ts"
import { useVirtualTime } from "./support.ts"

// A real turn of the event loop may last long on a busy machine: then a start is deferred, and its throw has no caller.
useVirtualTime()

const thrown = new Error("thrown after the release")

it.each<readonly [string, (meter: ReturnType<typeof createMeter>, task: () => unknown) => Promise<unknown>]>([
  ["run", (meter, task) => meter.run(task)],
  ["run with grace", (meter, task) => meter.run(task, { grace: 10 })],
  ["runAll", (meter, task) => runAll([task], { meter })],
  ["runAll with a meter per item", (meter, task) => runAll([task], { meter: () => meter })]
])("%s", async (_, call) => {
  for (const task of [
    () => 1,
    () => {
      throw new Error("of the task")
    }
  ]) {
    const meter = createMeter({ maxAtOnce: 2 })
    let end!: () => void
    const running = meter.run(() => new Promise<void>((resolve) => (end = resolve)))
    const spy = vi.spyOn(MeterLimiter.prototype, "afterEnd").mockImplementation(() => {
      throw thrown
    })
    await Promise.allSettled([call(meter, task)])
    expect(spy).toHaveBeenCalledTimes(1)
    spy.mockRestore()
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 0 })
    end()
    await running
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    await meter.idle()
  }
})
