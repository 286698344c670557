/** `permits`, `priority` and `lane` of single tasks and of verbs. The order between waiters itself is tested in core. */
import { describe, expect, it, vi } from "vitest"
import { createMeter, runAll } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  now,
  pass,
  rejection,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

type Call = (meter: Meter, task: () => unknown, options: object) => Promise<unknown>

const ways: ReadonlyArray<readonly [name: string, call: Call]> = [
  ["run", (meter, task, options) => meter.run(task, options)],
  ["run with retry", (meter, task, options) => meter.run(task, { ...options, retry: {} })],
  ["wrap", (meter, task, options) => meter.wrap(task, options)()],
  ["runOnEach", (meter, task, options) => meter.runOnEach([1], task, options)],
  ["runAll", (meter, task, options) => runAll([task], { ...options, meter })],
  ["amap", (meter, task, options) => Array.fromAsync(meter.amap([1], task, options))],
  ["runAny", (meter, task, options) => meter.runAny([task], options)]
]

/** Keeps the only permit for 10 ms, while others come. */
const busy = (): Meter => {
  const meter = createMeter({ maxAtOnce: 1 })
  void meter.run(() => sleep(10))
  return meter
}

describe.each(ways)("%s", (_, call) => {
  it("the higher priority comes first, and among equals the first to come", async () => {
    const meter = busy()
    const order: Array<string> = []
    const calls = [
      ["a", 0],
      ["b", 2],
      ["c", 1],
      ["d", 2],
      ["e", -1]
    ].map(([name, priority]) => call(meter, () => order.push(name as string), { priority }))
    await value(Promise.all(calls))
    expect(order).toEqual(["b", "d", "c", "a", "e"])
  })

  it("lanes take turns", async () => {
    const meter = busy()
    const order: Array<string> = []
    const calls = ["a1", "a2", "a3", "b1", "b2", "1"].map((name) =>
      call(meter, () => order.push(name), { lane: name.slice(0, -1) })
    )
    await flush()
    expect(meter.snapshot().lanes).toEqual(
      new Map([
        ["a", 3],
        ["b", 2],
        ["", 1]
      ])
    )
    await value(Promise.all(calls))
    expect(order).toEqual(["a1", "b1", "1", "a2", "b2", "a3"])
    expect(meter.snapshot().lanes).toEqual(new Map())
  })

  it("a task holds its permits until it has ended", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const heavy = [3, 3].map((permits) => watch(call(meter, () => sleep(10), { permits })))
    await flush()
    expect(meter.snapshot()).toMatchObject({ running: 1, free: 2, waiting: 1 })
    await pass(10)
    expect(meter.snapshot()).toMatchObject({ running: 1, free: 2, waiting: 0 })
    await pass(10)
    expect(heavy.map(({ outcome }) => outcome?.at)).toEqual([10, 20])
    await expectFree(meter, 5)
  })

  it("more permits than there are are rejected at once, also when the limit is lowered", async () => {
    const meter = createMeter({ maxAtOnce: 4 })
    const task = vi.fn<() => void>()
    const reason = await rejection(call(meter, task, { permits: 5 }))
    const error = reason instanceof AggregateError ? (reason.errors[0] as unknown) : reason
    expect(error).toBeInstanceOf(RangeError)
    expect((error as Error).message).toMatch(/5.*4/)
    void meter.run(() => sleep(10))
    const waiting = watch(call(meter, task, { permits: 4 }))
    await flush()
    meter.resize({ maxAtOnce: 3 })
    await flush()
    expect(waiting.outcome).toMatchObject({ status: "rejected", at: 0 })
    expect(task).not.toHaveBeenCalled()
    await pass(10)
    await expectFree(meter, 3)
  })
})

describe("by a function", () => {
  it("wrap: of the arguments", async () => {
    const meter = busy()
    const order: Array<string> = []
    const f = meter.wrap((name: string, priority: number) => order.push(`${name}${priority}`), {
      priority: (_, priority) => priority,
      lane: (name: string) => name
    })
    await value(Promise.all([f("a", 1), f("a", 2), f("b", 1), f("b", 3)]))
    expect(order).toEqual(["a2", "b3", "a1", "b1"])
  })

  it("wrap: beside a cost, or one of them a value", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const order: Array<number> = []
    const f = meter.wrap((n: number) => order.push(n), {
      priority: (n) => n,
      lane: "one",
      cost: (n) => ({ tokens: 10 - n })
    })
    await value(Promise.all([f(0), f(1), f(3), f(2)]))
    expect(order).toEqual([0, 3, 2, 1])
    expect(meter.snapshot().room).toEqual({ tokens: expect.any(Number) as number })
  })

  it("wrap: an invalid priority, and what the functions throw, rejects the call", async () => {
    const meter = createMeter({})
    const f = meter.wrap(() => 1, { priority: () => Number.NaN })
    expect(await rejection(f())).toEqual(new RangeError("priority must be a finite number, but is NaN"))
    const g = meter.wrap(() => 1, {
      lane: () => {
        throw "of lane"
      }
    })
    expect(await rejection(g())).toBe("of lane")
    await expectFree(meter, 1)
  })

  it("wrap: undefined is the default", async () => {
    const meter = createMeter({})
    expect(await value(meter.wrap(() => 1, { priority: () => undefined as never })())).toBe(1)
  })

  it("verbs: of the item and its index, also for a retry", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const seen: Array<readonly [string, number]> = []
    const failed = new Set<string>()
    const order: Array<string> = []
    const call = meter.runOnEach(
      ["a", "b"],
      async (item) => {
        order.push(item)
        await sleep(10)
        if (failed.has(item)) return
        failed.add(item)
        throw "again"
      },
      {
        retry: { delay: 0 },
        lane: (item: string) => item,
        priority: (item, index) => {
          seen.push([item, index])
          return index
        }
      }
    )
    await value(call)
    expect(order.toSorted((a, b) => a.localeCompare(b))).toEqual(["a", "a", "b", "b"])
    expect(new Set(seen.map(String))).toEqual(new Set(["a,0", "b,1"]))
    expect(seen).toHaveLength(4)
  })

  it("verbs: an invalid priority rejects the call", async () => {
    const meter = createMeter({})
    const task = vi.fn<() => void>()
    expect(await rejection(meter.runAll([1], task, { priority: () => Number.POSITIVE_INFINITY }))).toEqual(
      new RangeError("priority must be a finite number, but is Infinity")
    )
    expect(task).not.toHaveBeenCalled()
  })
})

it("permits count against a call's own maxAtOnce", async () => {
  let running = 0
  let most = 0
  const task = async (): Promise<void> => {
    most = Math.max(most, ++running)
    await sleep(10)
    running--
  }
  await value(runAll([1, 2, 3, 4, 5], task, { maxAtOnce: 5, permits: 2 }))
  expect(most).toBe(2)
  expect(now()).toBe(30)
  expect(await rejection(runAll([1], task, { maxAtOnce: 1, permits: 2 }))).toBeInstanceOf(RangeError)
})

describe("snapshot", () => {
  it("has the limits in force, which a new meter takes", async () => {
    const meter = createMeter({
      maxAtOnce: 4,
      maxPerSecond: 10,
      windows: { tokens: { limit: 100, per: "1 minute" }, none: undefined }
    })
    const { limits } = meter.snapshot()
    expect(limits).toEqual({
      maxAtOnce: 4,
      maxPerSecond: 10,
      maxBurst: 1,
      windows: { tokens: { limit: 100, per: 60_000 } }
    })
    expect(createMeter(limits).snapshot()).toEqual(meter.snapshot())
    meter.resize({ maxAtOnce: Infinity, maxBurst: 3, windows: { tokens: { limit: 50, per: 500 } } })
    expect(meter.snapshot().limits).toEqual({
      maxAtOnce: Infinity,
      maxPerSecond: 10,
      maxBurst: 3,
      windows: { tokens: { limit: 50, per: 500 } }
    })
  })

  it("says whether the meter is paused, draining or closed", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const state = (): object => {
      const { closed, draining, paused } = meter.snapshot()
      return { closed, draining, paused }
    }
    expect(state()).toEqual({ closed: false, draining: false, paused: false })
    meter.pause(100)
    expect(state()).toEqual({ closed: false, draining: false, paused: true })
    await pass(100)
    expect(state()).toEqual({ closed: false, draining: false, paused: false })
    meter.pause()
    meter.resume()
    expect(state()).toEqual({ closed: false, draining: false, paused: false })
    const run = watch(meter.run(() => sleep(10)))
    const drained = watch(meter.drain())
    expect(state()).toEqual({ closed: false, draining: true, paused: false })
    await pass(10)
    expect([run, drained].map(({ outcome }) => outcome?.status)).toEqual(["fulfilled", "fulfilled"])
    expect(state()).toEqual({ closed: true, draining: true, paused: false })
  })
})
