/** Limits over windows of time: at most so much in any window, at any offset. */
import * as fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runOnEach } from "../../src/index.ts"
import type { Limits, Period } from "../../src/index.ts"
import {
  durations,
  expectNoUnhandledRejection,
  flush,
  naturals,
  now,
  pass,
  probe,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "../support.ts"
import { mostIn, predictStarts, startsSeen, timings } from "../support/meterModel.ts"
import type { ModelLimits, Planned } from "../support/meterModel.ts"

useVirtualTime()
expectNoUnhandledRejection()

const tasks: ReadonlyArray<Planned> = [...durations, 383].map((ms) => ({ ms }))

const table: ReadonlyArray<{ readonly name: string; readonly limits: ModelLimits & Limits }> = [
  { name: "one window", limits: { windows: { requests: { limit: 3, per: 1000 } } } },
  { name: "a window for one", limits: { windows: { requests: { limit: 1, per: 700 } } } },
  { name: "a window that never fills", limits: { windows: { requests: { limit: 100, per: 60_000 } } } },
  {
    name: "a short and a long window",
    limits: { windows: { burst: { limit: 2, per: 250 }, minute: { limit: 5, per: 60_000 } } }
  },
  { name: "a window and maxAtOnce", limits: { maxAtOnce: 2, windows: { requests: { limit: 4, per: 1000 } } } },
  { name: "a window and maxPerSecond", limits: { maxPerSecond: 10, windows: { requests: { limit: 3, per: 2000 } } } },
  {
    name: "everything together",
    limits: {
      maxAtOnce: 3,
      maxPerSecond: 20,
      windows: { requests: { limit: 4, per: 1500 }, hourly: { limit: 7, per: 3_600_000 } }
    }
  }
]

describe("every task starts at the instant that the model predicts", () => {
  it.each(timings(table))("$name", async ({ how, limits, way }) => {
    const { probe: p, promise } = way.begin(tasks, limits, how)
    const call = watch(promise)
    // The last of these starts after an hour.
    await pass(3_700_000)
    expect(call.outcome).toBeDefined()
    expect(p.starts).toEqual(startsSeen(way.verb, tasks, predictStarts(tasks, limits)))
    expect(p.order).toEqual(p.starts.map((_, i) => i))
    expect(vi.getTimerCount(), "timers left").toBe(0)
  })
})

describe("a window", () => {
  const startsOf = async (limits: Limits, count: number): Promise<Array<number>> => {
    const starts: Array<number> = []
    await value(runOnEach(naturals(count), () => void starts.push(now()), limits))
    return starts
  }

  it.each<readonly [Period, number]>([
    [1, 1],
    [250, 250],
    ["20 millis", 20],
    ["1 milli", 1],
    ["1 second", 1000],
    ["2 seconds", 2000],
    ["1.5 seconds", 1500],
    ["1 minute", 60_000],
    ["10 minutes", 600_000],
    ["0.25 hours", 900_000]
  ])("of length %s opens after %d ms", async (per, ms) => {
    expect(await startsOf({ windows: { any: { limit: 2, per } } }, 5)).toEqual([0, 0, ms, ms, 2 * ms])
  })

  it.each<readonly [Period, number]>([
    ["1 hour", 3_600_000],
    ["1 day", 86_400_000],
    ["3 days", 259_200_000],
    ["2 weeks", 1_209_600_000],
    [5_000_000_000, 5_000_000_000]
  ])("of length %s, longer than a timer can wait or a test should, opens after %d ms", async (per, ms) => {
    const meter = createMeter({ windows: { any: { limit: 1, per } } })
    await value(meter.run(() => 1))
    const next = watch(meter.run(() => now()))
    // Nor can the timers of these tests wait for longer than that.
    for (let left = ms - 1; left > 0; left -= 1_000_000_000) await pass(Math.min(left, 1_000_000_000))
    expect(next.outcome).toBeUndefined()
    await pass(1)
    expect(next.outcome).toMatchObject({ value: ms })
  })

  it("is half open: what started a whole window ago does not count, what started a millisecond later does", async () => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 100 } } })
    await value(meter.run(() => 1))
    await pass(99)
    expect(meter.snapshot().room).toEqual({ any: 0 })
    await pass(1)
    expect(meter.snapshot().room).toEqual({ any: 1 })
  })

  it("slides: what is free again is what was spent a window ago, one by one", async () => {
    const meter = createMeter({ windows: { any: { limit: 3, per: 1000 } } })
    const starts: Array<number> = []
    const note = () => void starts.push(now())
    for (const gap of [0, 100, 300]) {
      await pass(gap)
      await value(meter.run(note))
    }
    await value(Promise.all([meter.run(note), meter.run(note), meter.run(note), meter.run(note)]))
    expect(starts).toEqual([0, 100, 400, 1000, 1100, 1400, 2000])
  })

  it("never lets twice its limit through around a border, as a fixed window would", async () => {
    const meter = createMeter({ windows: { any: { limit: 10, per: 1000 } } })
    const spent: Array<{ at: number; cost: number }> = []
    const note = () => void spent.push({ at: now(), cost: 1 })
    await pass(950)
    await value(runOnEach(naturals(10), note, { meter }))
    await pass(60)
    await value(runOnEach(naturals(30), note, { meter }))
    expect(spent.length).toBe(40)
    expect(mostIn(1000, spent)).toBe(10)
  })

  it("counts starts, not ends: a task that takes long is paid for once", async () => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 100 } } })
    const p = probe(() => ({ ms: 1000 }))
    await value(runOnEach(naturals(3), p.task, { meter }))
    expect(p.starts).toEqual([0, 100, 200])
    expect(p.peak()).toBe(3)
  })

  it("is spent by tasks that fail, too", async () => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 100 } } })
    expect(await settle(meter.run(() => Promise.reject("bad")))).toMatchObject({ reason: "bad" })
    expect(await settle(meter.run(() => now()))).toMatchObject({ value: 100 })
  })

  it("with limit Infinity does not limit, and one that is undefined does not exist", async () => {
    const windows = { all: { limit: Infinity, per: "1 day" }, none: undefined } as const
    expect(await startsOf({ windows }, 50)).toEqual(Array.from({ length: 50 }, () => 0))
    expect(createMeter({ windows }).snapshot().room).toEqual({ all: Infinity })
  })

  it("no windows at all limit nothing", async () => {
    expect(await startsOf({ windows: {} }, 20)).toEqual(Array.from({ length: 20 }, () => 0))
  })

  it("holds for a task that blocks the event loop, and for tasks that it starts meanwhile", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 2, per: 1000 } } })
    const spent: Array<{ at: number; cost: number }> = []
    const outer = meter.run(() => {
      // What this starts has started before this task itself has seen what time it is.
      void meter.run(() => void spent.push({ at: now(), cost: 1 }))
      vi.setSystemTime(Date.now() + 1)
      spent.push({ at: now(), cost: 1 })
    })
    const both = meter.run(() => void spent.push({ at: now(), cost: 2 }), { cost: { tokens: 2 } })
    await value(Promise.all([outer, both]))
    expect(spent.map(({ cost }) => cost)).toEqual([1, 1, 2])
    expect(mostIn(1000, spent)).toBeLessThanOrEqual(2)
  })

  it("larger than its log, which is kept in slices then, lets no more through and forgets nothing", async () => {
    const limit = 40_000
    const meter = createMeter({ windows: { any: { limit, per: 1000 } } })
    const perInstant = new Map<number, number>()
    const note = () => void perInstant.set(now(), (perInstant.get(now()) ?? 0) + 1)
    for (let batch = 0; batch < 8; batch++) {
      await value(runOnEach(naturals(limit / 8), note, { meter }))
      await pass(10)
    }
    expect(meter.snapshot()).toMatchObject({ started: limit, room: { any: 0 } })
    await value(runOnEach(naturals(limit), note, { meter }))
    const instants = [...perInstant.keys()]
    // A slice is less than a millisecond long here, so that is what the second half may come too late.
    for (const at of instants.filter((each) => each >= 1000)) expect((at - 1000) % 10).toBeLessThanOrEqual(1)
    expect(now()).toBeLessThanOrEqual(1071)
    const spent = Array.from(perInstant, ([at, cost]) => ({ at, cost }))
    expect(spent.reduce((sum, { cost }) => sum + cost, 0)).toBe(2 * limit)
    expect(mostIn(1000, spent)).toBeLessThanOrEqual(limit)
  })
})

describe("waiting at a window", () => {
  const busy = () => {
    const meter = createMeter({ maxAtOnce: 5, windows: { any: { limit: 2, per: 1000 } } })
    return { meter, first: meter.run(() => "a"), second: meter.run(() => "b") }
  }

  it.each(verbs)("$name: an abort removes it from the queue and changes nothing else", async (verb) => {
    const { meter } = busy()
    const controller = new AbortController()
    const p = probe(() => ({ ms: 10 }))
    const call = watch(verb.call([0, 1, 2], p, { meter, signal: controller.signal }).promise)
    await flush()
    const behind = [watch(meter.run(() => now())), watch(meter.run(() => now())), watch(meter.run(() => now()))]
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 4, started: 2, free: 5, room: { any: 0 } })
    await pass(300)
    controller.abort("stop")
    await flush()
    expect(call.outcome).toEqual({ status: "rejected", reason: "stop", at: 300 })
    expect(meter.snapshot()).toMatchObject({ waiting: 3, started: 2, room: { any: 0 } })
    await pass(3000)
    expect(p.starts).toEqual([])
    expect(behind.map(({ outcome }) => outcome)).toMatchObject([{ value: 1000 }, { value: 1000 }, { value: 2000 }])
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 5, room: { any: 2 } })
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([0, 1, 2, 3])("meter.run: whichever of four waiters is aborted, the others move up (%d)", async (which) => {
    const { meter } = busy()
    const controller = new AbortController()
    const waiters = [0, 1, 2, 3].map((i) =>
      watch(meter.run(() => now(), i === which ? { signal: controller.signal } : {}))
    )
    await pass(500)
    controller.abort("stop")
    await pass(3000)
    const outcomes = waiters.map(({ outcome }) => outcome)
    expect(outcomes[which]).toEqual({ status: "rejected", reason: "stop", at: 500 })
    expect(outcomes.filter((_, i) => i !== which)).toMatchObject([{ value: 1000 }, { value: 1000 }, { value: 2000 }])
  })

  it("the last waiter to be aborted leaves no timer", async () => {
    const { meter } = busy()
    const controller = new AbortController()
    const waiter = watch(meter.run(() => 1, { signal: controller.signal }))
    await flush()
    expect(vi.getTimerCount()).toBe(1)
    controller.abort("stop")
    await flush()
    expect(waiter.outcome).toMatchObject({ reason: "stop" })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a reader that leaves removes its waiter and changes nothing else", async () => {
    const { meter } = busy()
    const p = probe(() => ({ ms: 10 }))
    const results = amap(naturals(), p.task, { meter })
    const reading = watch(results.next())
    await flush()
    const behind = watch(meter.run(() => now()))
    await value(results[Symbol.asyncDispose]())
    await pass(1000)
    expect(reading.outcome).toMatchObject({ value: { done: true } })
    expect(p.starts).toEqual([])
    expect(behind.outcome).toMatchObject({ value: 1000 })
  })

  it("holds no permit of maxAtOnce", async () => {
    const wide = createMeter({ maxAtOnce: 1 })
    const narrow = createMeter({ windows: { any: { limit: 1, per: 1000 } } })
    await value(narrow.run(() => 1))
    const waiting = watch(runOnEach([0], () => now(), { meter: [narrow, wide] }))
    const others = probe(() => ({ ms: 10 }))
    await value(runOnEach(naturals(5), others.task, { meter: wide }))
    expect(others.starts).toEqual([0, 10, 20, 30, 40])
    await pass(1000)
    expect(waiting.outcome).toMatchObject({ status: "fulfilled", at: 1000 })
  })

  it("waiting for a permit spends nothing of the window", async () => {
    const meter = createMeter({ maxAtOnce: 1, windows: { any: { limit: 2, per: 1000 } } })
    const first = meter.run(() => sleep(5000))
    const second = meter.run(() => now())
    await pass(4999)
    expect(meter.snapshot().room).toEqual({ any: 2 })
    await value(first)
    expect(await value(second)).toBe(5000)
    expect(meter.snapshot().room).toEqual({ any: 1 })
  })
})

describe("many callers", () => {
  it("share a window first come, first served", async () => {
    const meter = createMeter({ windows: { any: { limit: 2, per: 100 } } })
    const starts: Array<string> = []
    const call = (name: string) => runAll([0, 1, 2], (n) => void starts.push(`${name}${n} at ${now()}`), { meter })
    await value(Promise.all([call("a"), call("b")]))
    expect(starts).toEqual(["a0 at 0", "a1 at 0", "a2 at 100", "b0 at 100", "b1 at 200", "b2 at 200"])
  })

  it("random arrivals: every start falls where the model has it, and every window holds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          gaps: fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 15 }),
          limit: fc.integer({ min: 1, max: 4 }),
          per: fc.integer({ min: 1, max: 1500 }),
          longLimit: fc.integer({ min: 1, max: 8 })
        }),
        async ({ gaps, limit, longLimit, per }) => {
          const windows = { short: { limit, per }, long: { limit: longLimit, per: 4 * per } }
          const meter = createMeter({ windows })
          const starts: Array<number> = []
          const begin = now()
          const all: Array<Promise<void>> = []
          const expected: Array<number> = []
          let arrival = 0
          for (const gap of gaps) {
            await pass(gap)
            arrival += gap
            all.push(meter.run(() => void starts.push(now() - begin)))
            // First come, first served: not before the one before, and not before both windows have room.
            const before = (places: number, length: number): number => {
              const at = expected[expected.length - places]
              return at === undefined ? 0 : at + length
            }
            expected.push(Math.max(arrival, expected.at(-1) ?? 0, before(limit, per), before(longLimit, 4 * per)))
          }
          await value(Promise.all(all))
          expect(starts).toEqual(expected)
        }
      ),
      { numRuns: 25 }
    )
  })
})
