/** `releaseOnTimeout`: a task that has timed out and ignores its signal holds no permit. */
import { describe, expect, it, vi } from "vitest"
import { createMeter } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isTimeoutError,
  now,
  pass,
  settle,
  sleep,
  tasksOf,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const options = { timeout: 50, releaseOnTimeout: true }

describe.each(verbs)("$name", (verb) => {
  it("the next task starts when the time is up, and the late end of the first one changes nothing", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const log: Array<readonly [unknown, number]> = []
    const aborted: Array<unknown> = []
    const tasks = tasksOf(async (index: unknown, { signal }) => {
      log.push([index, now()])
      signal.addEventListener("abort", () => aborted.push(index))
      await sleep(index === 0 ? 1000 : 20)
      log.push([`end of ${String(index)}`, now()])
      return index
    })
    const call = watch(
      verb.call([0, 1], tasks, { ...options, meter, ...(verb.failsFast ? { retry: { times: 1, delay: 0 } } : {}) })
        .promise
    )
    await pass(49)
    expect(meter.snapshot()).toMatchObject({ running: 1, free: 0 })
    await pass(1)
    expect(aborted).toEqual([0])
    expect(meter.snapshot().running).toBeLessThanOrEqual(1)
    const started = log.filter(([what]) => typeof what === "number")
    expect(started.at(-1)![1]).toBe(50)
    await pass(2000)
    expect(call.outcome).toBeDefined()
    expect(meter.snapshot()).toMatchObject({ running: 0, free: 1 })
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(meter, 1)
  })

  it("the call waits for no such task, whatever its grace", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const { promise } = verb.call(
      [0],
      tasksOf(() => sleep(1000)),
      { ...options, meter, grace: Number.POSITIVE_INFINITY }
    )
    expect(await settle(promise)).toMatchObject({ status: "rejected", at: 50 })
    await value(meter.idle())
    expect(now()).toBe(50)
    await pass(1000)
    await expectFree(meter, 5)
  })
})

describe("run of a meter", () => {
  it.each([{}, { grace: "1 minute" as const }, { retry: { times: 0 } }])(
    "the next one starts when the time is up, and idle does not wait (%o)",
    async (more) => {
      const meter = createMeter({ maxAtOnce: 1, ...options })
      const run = watch(meter.run(() => sleep(1000), more))
      const next = watch(meter.run(() => now()))
      await pass(50)
      expect(run.outcome).toMatchObject({ status: "rejected", at: 50 })
      expect(run.outcome).toHaveProperty("reason", expect.toSatisfy(isTimeoutError))
      expect(next.outcome).toMatchObject({ value: 50 })
      await value(meter.idle())
      expect(now()).toBe(50)
      await pass(1000)
      expect(meter.snapshot()).toMatchObject({ running: 0, free: 1, started: 2 })
      expect(vi.getTimerCount()).toBe(0)
    }
  )

  it("a retry does not overlap with a permit that is held twice", async () => {
    const meter = createMeter({ maxAtOnce: 1, ...options, retry: { times: 2, delay: 10 } })
    const starts: Array<number> = []
    const run = watch(
      meter.run(() => {
        starts.push(now())
        return sleep(starts.length < 3 ? 300 : 10)
      })
    )
    await pass(130)
    expect(starts).toEqual([0, 60, 120])
    expect(run.outcome).toMatchObject({ status: "fulfilled", at: 130 })
    await pass(1000)
    expect(meter.snapshot()).toMatchObject({ running: 0, free: 1, started: 3 })
  })

  it("a task that settles in time is released once", async () => {
    const meter = createMeter({ maxAtOnce: 2, ...options })
    await value(meter.run(() => sleep(10)))
    await settle(meter.run(() => sleep(10).then(() => Promise.reject(new Error("failed")))))
    await flush()
    expect(meter.snapshot()).toMatchObject({ running: 0, free: 2 })
  })
})
