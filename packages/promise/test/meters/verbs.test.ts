/** The verbs as methods of a meter: the same as the plain ones with the meter among their options. */
import { describe, expect, it } from "vitest"
import { createKeyedMeter, createMeter } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  now,
  pass,
  settle,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"
import type { Untyped } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const names = ["runOnEach", "runAll", "amap", "runAny"] as const
type Name = (typeof names)[number]

/** The method as plain JavaScript sees it. */
const method = (meter: Meter, name: Name): Untyped => meter[name] as Untyped

/** What a call comes to: all results of an `amap`. */
const result = async (given: unknown): Promise<unknown> =>
  typeof given === "object" && given !== null && Symbol.asyncIterator in given
    ? Array.fromAsync(given as AsyncIterable<unknown>)
    : given

const inItsCalls = { maxAtOnce: 2 } as const

describe.each(names)("%s", (name) => {
  const makers = [
    ["a meter", () => createMeter(inItsCalls)],
    ["the meter of a key", () => createKeyedMeter<string>(inItsCalls).for("a")]
  ] as const

  describe.each(makers)("of %s", (_, make) => {
    const starts = async (call: (task: Untyped, items: ReadonlyArray<unknown>) => unknown): Promise<Array<number>> => {
      const seen: Array<number> = []
      const task = async () => {
        seen.push(now())
        await sleep(10)
        if (name === "runAny") throw "next"
      }
      await settle(result(call(task, [0, 1, 2, 3, 4])))
      return seen
    }

    it("holds the call to the meter's limits", async () => {
      const meter = make()
      expect(await starts((task, items) => method(meter, name)(items, task))).toEqual([0, 0, 10, 10, 20])
      await expectFree(meter, 2)
    })

    it("together with others that use it", async () => {
      const meter = make()
      const before = meter.run(() => sleep(15))
      expect(await starts((task, items) => method(meter, name)(items, task))).toEqual([0, 10, 15, 20, 25])
      await before
    })

    it("with limits of its own beside it", async () => {
      const options = { maxAtOnce: 1 }
      expect(await starts((task, items) => method(make(), name)(items, task, options))).toEqual([0, 10, 20, 30, 40])
    })

    it.each([
      ["one", (other: Meter) => other],
      ["several", (other: Meter) => [createMeter({}), other, createMeter({ maxAtOnce: 5 })]],
      ["itself again", (other: Meter, meter: Meter) => [meter, other]]
    ] as const)("with further meters in its options: %s", async (_kind, more) => {
      const meter = make()
      const other = createMeter({ maxPerSecond: 20 })
      const options = { meter: more(other, meter) }
      expect(await starts((task, items) => method(meter, name)(items, task, options))).toEqual([0, 50, 100, 150, 200])
      expect(other.snapshot().started).toBe(5)
      expect(meter.snapshot()).toMatchObject({ started: 5, running: 0, waiting: 0 })
      expect(Object.keys(options), "the caller's options are left as they were").toEqual(["meter"])
    })

    it("with options, or a meter in them, that are undefined", async () => {
      for (const options of [undefined, {}, { meter: undefined }, { meter: [] }]) {
        const from = now()
        const seen = await starts((task, items) => method(make(), name)(items, task, options))
        expect(seen.map((at) => at - from)).toEqual([0, 0, 10, 10, 20])
      }
    })
  })

  it("may be taken from its meter", async () => {
    const { [name]: verb } = createMeter({ maxAtOnce: 1 })
    expect(await value(result((verb as Untyped)([7], (n: unknown) => n)))).toEqual(
      { runOnEach: undefined, runAll: [7], amap: [7], runAny: 7 }[name]
    )
  })

  it("takes functions for items if there is a task", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const item = () => "not called"
    const given: Array<unknown> = []
    await value(
      result(
        method(meter, name)([item], (each: unknown) => {
          given.push(each)
        })
      )
    )
    expect(given).toEqual([item])
  })

  it("calls cost for each item, with the windows of the meter and of those in the options", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const other = createMeter({ windows: { pages: { limit: 10, per: 1000 } } })
    const options = { meter: other, cost: (n: number) => ({ tokens: n, pages: 2 * n }) }
    await settle(result(method(meter, name)([1, 3], () => Promise.reject("next"), { ...options, maxAtOnce: 1 })))
    const spent = name === "runAny" ? 4 : 1
    expect(meter.snapshot().room).toEqual({ tokens: 10 - spent })
    expect(other.snapshot().room).toEqual({ pages: 10 - 2 * spent })
  })
})

describe("their results", () => {
  const make = () => createMeter({ maxAtOnce: 2 })

  it("runAll: an array, a tuple, a record", async () => {
    const meter = make()
    expect(await value(meter.runAll([1, 2, 3], async (n) => n * 2))).toEqual([2, 4, 6])
    expect(await value(meter.runAll([() => 1, async () => "two"]))).toEqual([1, "two"])
    expect(await value(meter.runAll({ one: () => 1, two: async () => "two" }, { maxAtOnce: 1 }))).toEqual({
      one: 1,
      two: "two"
    })
  })

  it("runAll: outcomes, of items, of a tuple and of a record", async () => {
    const meter = make()
    const bad = () => Promise.reject("bad")
    const good = () => 1
    const settled = { settled: true } as const
    expect(await value(meter.runAll([5, 6], (n) => (n === 5 ? bad() : n), settled))).toEqual([
      { status: "rejected", reason: "bad", index: 0, item: 5 },
      { status: "fulfilled", value: 6, index: 1, item: 6 }
    ])
    const outcomes = [
      { status: "rejected", reason: "bad", index: 0, item: bad },
      { status: "fulfilled", value: 1, index: 1, item: good }
    ]
    expect(await value(meter.runAll([bad, good], settled))).toEqual(outcomes)
    expect(await value(meter.runAll({ a: bad, b: good }, settled))).toEqual({ a: outcomes[0], b: outcomes[1] })
  })

  it("runAny: the first to succeed, of items and of functions", async () => {
    const meter = make()
    expect(await value(meter.runAny([30, 10], (ms, { signal }) => sleep(ms, signal).then(() => ms)))).toBe(10)
    expect(await value(meter.runAny([() => Promise.reject(1), () => 2]))).toBe(2)
    expect(await value(meter.runAny([() => sleep(10), () => "first"], { until: "settled" }))).toBe("first")
  })

  it("amap: an iterator that can be left", async () => {
    const meter = make()
    const seen: Array<number> = []
    for await (const n of meter.amap([1, 2, 3, 4], async (n) => n, { ordered: true })) {
      seen.push(n)
      if (n === 2) break
    }
    expect(seen).toEqual([1, 2])
    await using rest = meter.amap([1], (n) => n)
    expect(await rest.next()).toEqual({ done: false, value: 1 })
  })
})

it("a Retry-After pauses the meter of the options, not the one whose method was called", async () => {
  const meter = createMeter({})
  const other = createMeter({})
  let attempts = 0
  const call = meter.runOnEach(
    [0],
    () => {
      attempts += 1
      if (attempts === 1) throw { headers: { "retry-after": "3" } }
    },
    { meter: other, retry: { delay: 10 } }
  )
  await flush()
  const starts = [meter, other].map((each) => watch(each.run(() => now())))
  await value(call)
  await pass(10)
  expect(now()).toBe(3010)
  expect(starts.map(({ outcome }) => outcome?.at)).toEqual([0, 3000])
  expect(attempts).toBe(2)
})
