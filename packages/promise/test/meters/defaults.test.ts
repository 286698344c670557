/** Defaults of a meter for the options of its calls: `timeout`, `retry`, `priority` and `releaseOnTimeout`. */
import { describe, expect, it, vi } from "vitest"
import { amap, combineMeters, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Meter, MeterOptions } from "../../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  isTimeoutError,
  now,
  pass,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

type Task = () => unknown

/** Waiters for the same meters are ranked. */
const other = createMeter({})

/** The calls to which the defaults of a meter apply. */
const ways: ReadonlyArray<
  readonly [name: string, call: (meter: Meter, task: Task, options?: object) => Promise<unknown>]
> = [
  ["run", (meter, task, options) => meter.run(task, options)],
  ["tryRun", (meter, task, options) => meter.tryRun(task, options)!],
  ["wrap", (meter, task, options) => meter.wrap(task, options)()],
  ["run of another meter", (meter, task, options) => other.run(task, { ...options, meter })],
  ["wrap of another meter", (meter, task, options) => other.wrap(task, { ...options, meter })()],
  ["run of a combination", (meter, task, options) => combineMeters(other, meter).run(task, options)],
  ["its runOnEach", (meter, task, options) => meter.runOnEach([1], task, options)],
  ["its runAll", (meter, task, options) => meter.runAll([task], options)],
  ["its amap", (meter, task, options) => Array.fromAsync(meter.amap([1], task, options))],
  ["its runAny", (meter, task, options) => meter.runAny([task], { ...options, until: "settled" })],
  ["runOnEach", (meter, task, options) => runOnEach([1], task, { ...options, meter })],
  ["runAll", (meter, task, options) => runAll({ a: task }, { ...options, meter })],
  ["amap", (meter, task, options) => Array.fromAsync(amap([1], task, { ...options, meter: [meter] }))],
  ["runAny", (meter, task, options) => runAny([1], task, { ...options, meter, until: "settled" })]
]

describe.each(ways)("%s", (_, call) => {
  it("has the meter's timeout, unless it has its own", async () => {
    const meter = createMeter({ timeout: "50 millis" })
    const outcome = await settle(call(meter, () => sleep(100)))
    expect(outcome).toMatchObject({ status: "rejected", at: 50 })
    expect(outcome).toHaveProperty("reason", expect.toSatisfy(isTimeoutError))
    await pass(100)
    for (const timeout of [200, Number.POSITIVE_INFINITY]) {
      const since = now()
      expect(await settle(call(meter, () => sleep(100), { timeout }))).toMatchObject({
        status: "fulfilled",
        at: since + 100
      })
    }
    expect(await settle(call(meter, () => sleep(100), { timeout: undefined }))).toMatchObject({ status: "rejected" })
    await pass(100)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("has the meter's retry, unless it has its own", async () => {
    const meter = createMeter({ retry: { times: 1, delay: 30 } })
    const starts: Array<number> = []
    const task = (): never => {
      starts.push(now())
      throw "failed"
    }
    expect(await settle(call(meter, task))).toEqual({ status: "rejected", reason: "failed", at: 30 })
    expect(await rejection(call(meter, task, { retry: { times: 0 } }))).toBe("failed")
    expect(await rejection(call(meter, task, { retry: { schedule: [5] } }))).toBe("failed")
    expect(starts).toEqual([0, 30, 30, 30, 35])
  })

  it("has the meter's releaseOnTimeout, unless it has its own", async () => {
    const meter = createMeter({ maxAtOnce: 1, timeout: 50, releaseOnTimeout: true })
    await rejection(call(meter, () => sleep(100)))
    expect(meter.snapshot()).toMatchObject({ running: 0, free: 1 })
    await rejection(call(meter, () => sleep(100), { releaseOnTimeout: false }))
    expect(meter.snapshot()).toMatchObject({ running: 1, free: 0 })
    await pass(50)
    expect(meter.snapshot()).toMatchObject({ running: 0, free: 1, started: 2 })
  })
})

describe.each(ways.filter(([name]) => name !== "tryRun"))("%s", (_, call) => {
  it("has the meter's priority, unless it has its own", async () => {
    const limits: MeterOptions = { maxAtOnce: 1, priority: 5 }
    const meter = createMeter(limits)
    void meter.run(() => sleep(10))
    const order: Array<string> = []
    const calls = [
      call(meter, () => void order.push("4"), { priority: 4 }),
      call(meter, () => void order.push("default")),
      call(meter, () => void order.push("6"), { priority: 6 }),
      call(meter, () => void order.push("0"), { priority: 0 })
    ]
    await value(Promise.all(calls))
    expect(order).toEqual(["6", "default", "4", "0"])
  })
})

describe("of several meters", () => {
  const make = (): ReadonlyArray<Meter> => [
    createMeter({}),
    createMeter({ timeout: 20 }),
    createMeter({ timeout: 30, retry: { times: 1, delay: 0 } })
  ]
  it.each<readonly [string, (meters: ReadonlyArray<Meter>, task: Task) => Promise<unknown>]>([
    ["run", ([a, b, c], task) => a!.run(task, { meter: [b!, c!] })],
    ["wrap", ([a, b, c], task) => a!.wrap(task, { meter: [b!, c!] })()],
    ["a verb", (meter, task) => runAll([task], { meter })],
    ["a method", ([a, b, c], task) => a!.runAll([task], { meter: [b!, c!] })],
    ["combineMeters", ([a, b, c], task) => combineMeters(a!, b!, c!).run(task)],
    [
      "combineMeters of one with combineMeters",
      ([a, b, c], task) => combineMeters(a!, combineMeters(b!, c!)).runAll([task])
    ]
  ])("%s: the first that has a default counts", async (_, call) => {
    let attempts = 0
    const outcome = await settle(
      call(make(), () => {
        attempts++
        return sleep(1000)
      })
    )
    expect(outcome).toMatchObject({ status: "rejected", at: 40 })
    expect(attempts).toBe(2)
    await pass(1000)
  })
})

it("the meters of keys have the defaults of their family", async () => {
  const hosts = createKeyedMeter<string>({ maxAtOnce: 1, timeout: 25 })
  for (const host of ["a", "b"]) {
    const since = now()
    expect(await settle(hosts.for(host).run(() => sleep(100)))).toMatchObject({ status: "rejected", at: since + 25 })
  }
  await pass(100)
})

it("a meter's defaults are read when it is created, and are no limits", () => {
  const options = { maxAtOnce: 2, timeout: 25, retry: { times: 1 } }
  const meter = createMeter(options)
  options.timeout = 0
  options.retry.times = -1
  expect(() => meter.resize({ timeout: 5 } as object)).toThrow("there is no option timeout")
  expect(meter.snapshot().limits).toEqual({ maxAtOnce: 2, maxPerSecond: Infinity, maxBurst: 1, windows: {} })
  return value(meter.run(() => sleep(20)))
})

it("a schedule of retries is iterated once for each call", async () => {
  const meter = createMeter({ retry: { schedule: [10, 20] } })
  for (const round of [0, 1]) {
    const starts: Array<number> = []
    await rejection(
      meter.run(() => {
        starts.push(now())
        throw "failed"
      })
    )
    expect(starts).toEqual([0, 10, 30].map((at) => at + round * 30))
  }
  await flush()
})
