/** `meter.tryRun`: starts a task now or not at all. */
import { describe, expect, it, vi } from "vitest"
import { createMeter } from "../../src/index.ts"
import type { Limits } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  pass,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe("tryRun", () => {
  it.each<readonly [string, Limits, number]>([
    ["maxAtOnce: while a task runs", { maxAtOnce: 1 }, 100],
    ["maxPerSecond: until the next start is due", { maxPerSecond: 20 }, 50],
    ["windows: while the window is used up", { windows: { calls: { limit: 1, per: 80 } } }, 80]
  ])("%s", async (_, limits, free) => {
    const meter = createMeter(limits)
    const task = vi.fn<() => Promise<void>>(() => sleep(100))
    expect(meter.tryRun(task)).toBeInstanceOf(Promise)
    expect(meter.tryRun(task)).toBeUndefined()
    await pass(free - 1)
    expect(meter.tryRun(task)).toBeUndefined()
    expect(task).toHaveBeenCalledTimes(1)
    await pass(1)
    expect(await settle(meter.tryRun(task)!)).toMatchObject({ status: "fulfilled", at: free + 100 })
    expect(meter.snapshot()).toMatchObject({ waiting: 0, started: 2 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("returns the promise of what the task returns or throws", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await value(meter.tryRun(() => "result")!)).toBe("result")
    expect(
      await rejection(
        meter.tryRun(() => {
          throw "thrown"
        })!
      )
    ).toBe("thrown")
    await expectFree(meter, 1)
  })

  it("does not start before tasks that wait, even if their cost is what they wait for", async () => {
    const meter = createMeter({ windows: { units: { limit: 10, per: 1000 } } })
    await value(meter.run(() => 1, { cost: { units: 5 } }))
    const large = watch(meter.run(() => 1, { cost: { units: 8 } }))
    await flush()
    expect(meter.tryRun(() => 1, { cost: { units: 1 } })).toBeUndefined()
    await pass(1000)
    expect(large.outcome?.at).toBe(1000)
    expect(await value(meter.tryRun(() => 2, { cost: { units: 2 } })!)).toBe(2)
  })

  it("a call that does not start accrues no credit for a burst, and costs none", async () => {
    const meter = createMeter({ maxPerSecond: 10, maxBurst: 3 })
    for (let i = 0; i < 3; i++) expect(meter.tryRun(() => 1)).toBeDefined()
    expect(meter.tryRun(() => 1)).toBeUndefined()
    await pass(1000)
    let started = 0
    for (let i = 0; i < 5; i++) if (meter.tryRun(() => 1) !== undefined) started++
    expect(started).toBe(3)
  })

  it("while the meter is paused: undefined", async () => {
    const meter = createMeter({})
    meter.pause(50)
    expect(meter.tryRun(() => 1)).toBeUndefined()
    await pass(50)
    expect(await value(meter.tryRun(() => 1)!)).toBe(1)
  })

  it("a task in many nested ones, which `run` would start in a microtask, does not start", async () => {
    const meter = createMeter({})
    const depths: Array<number> = []
    const nest = (depth: number): void => {
      depths.push(depth)
      if (depth < 100) void meter.tryRun(() => nest(depth + 1))
    }
    nest(0)
    await flush()
    expect(depths.length).toBeLessThan(50)
  })

  it("retries wait as usual", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let attempts = 0
    const flaky = () => {
      if (++attempts === 1) throw new Error("once")
      return attempts
    }
    const tried = watch(meter.tryRun(flaky, { retry: { delay: 10 } })!)
    void meter.run(() => sleep(100))
    await pass(200)
    expect(tried.outcome).toEqual({ status: "fulfilled", value: 2, at: 100 })
  })

  it("rejects for the reasons that `run` rejects for", async () => {
    const meter = createMeter({ windows: { units: { limit: 1, per: 1000 } } })
    await value(meter.run(() => 1))
    expect(await rejection(meter.tryRun("no" as never)!)).toBeInstanceOf(TypeError)
    expect(await rejection(meter.tryRun(() => 1, { grace: -1 })!)).toBeInstanceOf(RangeError)
    expect(await rejection(meter.tryRun(() => 1, { cost: { units: 2 } })!)).toBeInstanceOf(RangeError)
    expect(await rejection(meter.tryRun(() => 1, { signal: AbortSignal.abort("reason") })!)).toBe("reason")
    await value(meter.close("closed"))
    expect(await rejection(meter.tryRun(() => 1)!)).toBe("closed")
  })
})
