/** A meter while it is in use: `pause`, `resume`, `resize` and `snapshot`. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runOnEach } from "../../src/index.ts"
import type { Meter, MeterLimits, Period } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  naturals,
  now,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "../support.ts"
import { planFor, startsSeen, ways } from "../support/meterModel.ts"
import type { Planned } from "../support/meterModel.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Tasks that run on the meter and record when they start. */
const startsOn = (meter: Meter, count: number) => {
  const starts: Array<number> = []
  const all = Array.from({ length: count }, () => meter.run(() => void starts.push(now())))
  return { starts, all: Promise.all(all) }
}

const kinds = [
  { name: "no limit", limits: {} },
  { name: "maxAtOnce", limits: { maxAtOnce: 2 } },
  { name: "maxPerSecond", limits: { maxPerSecond: 10 } },
  { name: "a window", limits: { windows: { any: { limit: 2, per: 100 } } } }
] as const

describe("pause", () => {
  describe.each(kinds)("under $name", ({ limits }) => {
    it.each(verbs)("$name: nothing starts before it is over, and nothing is lost", async (verb) => {
      const meter = createMeter(limits)
      const p = probe(planFor(verb, [{ ms: 10 }, { ms: 10 }]))
      meter.pause(700)
      const call = watch(verb.call([0, 1], p, { meter }).promise)
      await pass(699)
      expect(p.starts).toEqual([])
      expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 1, started: 0, nextStart: 1 })
      await pass(1)
      expect(p.starts[0]).toBe(700)
      await pass(1000)
      expect(call.outcome).toBeDefined()
      expect(vi.getTimerCount()).toBe(0)
    })

    it("meter.run: nothing starts before it is over, then starts continue as before it", async () => {
      const meter = createMeter(limits)
      const before = createMeter(limits)
      const undisturbed = startsOn(before, 6)
      await value(undisturbed.all)
      const begin = now()
      meter.pause(700)
      const { all, starts } = startsOn(meter, 6)
      await value(all)
      expect(starts.map((at) => at - begin)).toEqual(undisturbed.starts.map((at) => at + 700))
    })
  })

  it.each<readonly [Period, number]>([
    [1, 1],
    [2500, 2500],
    ["30 seconds", 30_000],
    ["1 minute", 60_000],
    ["0.5 hours", 1_800_000]
  ])("for %s lasts %d ms", async (duration, ms) => {
    const meter = createMeter({ maxAtOnce: 1 })
    meter.pause(duration)
    expect(meter.snapshot().nextStart).toBe(ms)
    const { all, starts } = startsOn(meter, 1)
    await pass(ms - 1)
    expect(starts).toEqual([])
    await pass(1)
    expect(starts).toEqual([ms])
    await value(all)
  })

  it("without a duration lasts until resume, and keeps no timer", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    meter.pause()
    const { all, starts } = startsOn(meter, 2)
    await pass(86_400_000)
    expect(starts).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
    expect(meter.snapshot()).toMatchObject({ waiting: 2, nextStart: Infinity })
    meter.resume()
    await value(all)
    expect(starts).toEqual([86_400_000, 86_400_000])
  })

  it("is ended early by resume, also for waiters", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    meter.pause(5000)
    const { all, starts } = startsOn(meter, 3)
    await pass(40)
    meter.resume()
    await value(all)
    expect(starts).toEqual([40, 140, 240])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("of several, the one that ends last counts; resume ends all of them", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    meter.pause(500)
    meter.pause(100)
    meter.pause(900)
    meter.pause(300)
    const { all, starts } = startsOn(meter, 1)
    await value(all)
    expect(starts).toEqual([900])
    meter.pause(500)
    meter.pause()
    const again = startsOn(meter, 1)
    await pass(1000)
    expect(again.starts).toEqual([])
    meter.resume()
    await value(again.all)
    expect(again.starts).toEqual([1900])
  })

  it("can be prolonged while a task waits", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    meter.pause(100)
    const { all, starts } = startsOn(meter, 1)
    await pass(60)
    meter.pause(100)
    await value(all)
    expect(starts).toEqual([160])
  })

  it("delays starts only: running tasks continue, and release their permits when they end", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const running = watch(meter.run(() => sleep(100)))
    await flush()
    meter.pause(50)
    const { all, starts } = startsOn(meter, 1)
    await pass(100)
    expect(running.outcome).toMatchObject({ status: "fulfilled", at: 100 })
    await value(all)
    expect(starts).toEqual([100])
  })

  it("passes also without waiters", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    meter.pause(100)
    expect(vi.getTimerCount()).toBe(0)
    await pass(60)
    expect(meter.snapshot().nextStart).toBe(40)
    await pass(40)
    expect(meter.snapshot().nextStart).toBe(0)
    expect(await value(meter.run(() => now()))).toBe(100)
  })

  it("accrues no credit for a burst while tasks wait through it", async () => {
    const meter = createMeter({ maxPerSecond: 10, maxBurst: 3 })
    await value(startsOn(meter, 3).all)
    meter.pause(5000)
    const { all, starts } = startsOn(meter, 3)
    await value(all)
    expect(starts).toEqual([5000, 5100, 5200])
  })

  it("resume starts waiters at once: a pause that follows it is too late for them", async () => {
    const meter = createMeter({ maxPerSecond: 100 })
    meter.pause()
    const { all, starts } = startsOn(meter, 2)
    meter.resume()
    meter.pause(100)
    await value(all)
    expect(starts).toEqual([0, 100])
  })

  it("resume without a pause changes nothing", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const { all, starts } = startsOn(meter, 3)
    meter.resume()
    await pass(50)
    meter.resume()
    await value(all)
    expect(starts).toEqual([0, 100, 200])
  })

  it.each(verbs)("$name: an abort while it waits removes it from the queue and changes nothing else", async (verb) => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 10 })
    const controller = new AbortController()
    meter.pause(1000)
    const p = probe(() => ({}))
    const call = watch(verb.call([0, 1], p, { meter, signal: controller.signal }).promise)
    await flush()
    const behind = startsOn(meter, 2)
    await pass(400)
    controller.abort("stop")
    await flush()
    expect(call.outcome).toEqual({ status: "rejected", reason: "stop", at: 400 })
    expect(meter.snapshot()).toMatchObject({ waiting: 2, running: 0, started: 0 })
    await value(behind.all)
    expect(behind.starts).toEqual([1000, 1100])
    expect(p.starts).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("meter.run: aborts while it lasts remove their calls from the queue and change nothing else", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    meter.pause()
    const outcomes = [0, 1, 2, 3].map((i) =>
      watch(meter.run(() => `ran ${i}`, i % 2 === 0 ? { signal: controller.signal } : {}))
    )
    await pass(10)
    controller.abort("stop")
    await flush()
    expect(meter.snapshot().waiting).toBe(2)
    meter.resume()
    await flush()
    expect(outcomes.map(({ outcome }) => outcome)).toMatchObject([
      { reason: "stop" },
      { value: "ran 1" },
      { reason: "stop" },
      { value: "ran 3" }
    ])
  })
})

describe("a Retry-After", () => {
  it("delays all starts that share the meter, whichever call has it", async () => {
    const meter = createMeter({ maxAtOnce: 3, windows: { requests: { limit: 100, per: 1000 } } })
    const starts: Array<number> = []
    let refusals = 1
    const request = async () => {
      starts.push(now())
      await sleep(20)
      // The third request is answered by: try again in two seconds.
      if (starts.length >= 3 && refusals-- > 0) meter.pause("2 seconds")
    }
    await value(
      Promise.all([
        runOnEach(naturals(4), request, { meter }),
        runAll(naturals(4), request, { meter }),
        Array.fromAsync(amap(naturals(4), request, { meter })),
        runAll([request, request, request, request], { meter }),
        Promise.all([meter.run(request), meter.run(request)])
      ])
    )
    expect(starts.length).toBe(18)
    expect(starts.filter((at) => at < 20)).toEqual([0, 0, 0])
    expect(
      starts.filter((at) => at >= 20 && at < 2020),
      "starts while it lasts"
    ).toEqual([])
    expect(starts[3]).toBe(2020)
  })

  it.each(ways)("$name: a task that pauses in its first step holds back the very next", async (way) => {
    const planned: ReadonlyArray<Planned> = [{ ms: 5000 }, { ms: 5001 }, { ms: 5002 }]
    const meter = createMeter({})
    const p = probe(planFor(way.verb, planned))
    const task: typeof p.task = (item, context) => {
      if (context.index === 0) meter.pause(300)
      return p.task(item, context)
    }
    const pausing = {
      ...p,
      task,
      tasks: (n: number) => [...naturals(n)].map((i) => (c: Parameters<typeof task>[1]) => task(i, c))
    }
    const promise: Promise<unknown> =
      way.verb === undefined
        ? Promise.all(planned.map((_, index) => meter.run(({ signal }) => task(index, { index, signal }))))
        : way.verb.call([0, 1, 2], pausing, { meter }).promise
    await settle(promise)
    expect(p.starts).toEqual(startsSeen(way.verb, planned, [0, 300, 300]))
  })

  it("of a task of another meter delays waiters for both", async () => {
    const a = createMeter({ maxAtOnce: 1 })
    const b = createMeter({ maxAtOnce: 1 })
    for (const meter of [
      [a, b],
      [b, a]
    ]) {
      const begin = now()
      const blocking = a.run(() => sleep(100))
      const p = probe(() => ({}))
      const waiting = runOnEach([0], p.task, { meter })
      await pass(50)
      b.pause(300)
      await value(Promise.all([blocking, waiting]))
      expect(p.starts).toEqual([begin + 350])
    }
  })
})

describe("resize", () => {
  it("of maxAtOnce upwards starts waiters", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const p = probe(() => ({ ms: 100 }))
    const call = runOnEach(naturals(6), p.task, { meter })
    await pass(10)
    meter.resize({ maxAtOnce: 3 })
    await value(call)
    expect(p.starts).toEqual([0, 10, 10, 100, 110, 110])
    await expectFree(meter, 3)
  })

  it("of maxAtOnce downwards keeps running tasks, and starts nothing until there is room under the new limit", async () => {
    const meter = createMeter({ maxAtOnce: 4 })
    const p = probe((i) => ({ ms: 100 + i }))
    const call = runOnEach(naturals(8), p.task, { meter })
    await pass(10)
    meter.resize({ maxAtOnce: 2 })
    expect(meter.snapshot()).toMatchObject({ running: 4, free: 0, nextStart: Infinity })
    await value(call)
    expect(p.starts).toEqual([0, 0, 0, 0, 102, 103, 206, 208])
    expect(p.aborted.size).toBe(0)
    await expectFree(meter, 2)
  })

  it.each(verbs)("$name: holds at once for a call under way", async (verb) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const planned = Array.from({ length: 6 }, () => ({ ms: 1000 }))
    const p = probe(planFor(verb, planned))
    const call = watch(verb.call([0, 1, 2, 3, 4, 5], p, { meter, maxUnread: Infinity }).promise)
    await pass(10)
    meter.resize({ maxAtOnce: 4 })
    await pass(10)
    expect(p.starts).toEqual([0, 10, 10, 10])
    await pass(5000)
    expect(call.outcome).toBeDefined()
  })

  it("of maxAtOnce to Infinity lifts it", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const p = probe(() => ({ ms: 100 }))
    const call = runOnEach(naturals(5), p.task, { meter })
    await pass(10)
    meter.resize({ maxAtOnce: Infinity })
    await value(call)
    expect(p.starts).toEqual([0, 10, 10, 10, 10])
    expect(meter.snapshot().free).toBe(Infinity)
  })

  it("of maxPerSecond upwards brings the next start forward, downwards puts it off", async () => {
    const meter = createMeter({ maxPerSecond: 1 })
    const { all, starts } = startsOn(meter, 6)
    await pass(50)
    meter.resize({ maxPerSecond: 10 })
    await pass(250)
    meter.resize({ maxPerSecond: 2 })
    await value(all)
    // Two a second from then on, those of the last second included; and none of them came late.
    expect(starts).toEqual([0, 100, 200, 300, 1200, 1700])
  })

  it("of maxPerSecond to Infinity removes it, and a rate can be set where there was none", async () => {
    const meter = createMeter({ maxPerSecond: 1 })
    const { all, starts } = startsOn(meter, 3)
    await pass(100)
    meter.resize({ maxPerSecond: Infinity })
    await value(all)
    expect(starts).toEqual([0, 100, 100])
    meter.resize({ maxPerSecond: 5 })
    const paced = startsOn(meter, 3)
    await value(paced.all)
    expect(paced.starts).toEqual([100, 300, 500])
  })

  it.each<readonly [string, MeterLimits]>([
    ["maxPerSecond", { maxPerSecond: 10 }],
    ["a window", { windows: { w: { limit: 1, per: 100 } } }]
  ])("that adds %s: it begins empty, and a pause keeps the distance from the last start", async (_, limits) => {
    const plain = createMeter({})
    const paused = createMeter({})
    const starts = await Promise.all(
      [plain, paused].map(async (meter) => {
        await meter.run(() => {})
        meter.resize(limits)
        if (meter === paused) meter.pause(100)
        return startsOn(meter, 2)
      })
    )
    for (const { all } of starts) await value(all)
    expect(starts.map((each) => each.starts)).toEqual([
      [0, 100],
      [100, 200]
    ])
  })

  it("of maxBurst alone keeps the rate", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    meter.resize({ maxBurst: 3 })
    await pass(5000)
    const { all, starts } = startsOn(meter, 5)
    await value(all)
    expect(starts).toEqual([5000, 5000, 5000, 5100, 5200])
  })

  it("of a window's limit upwards starts waiters", async () => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 1000 } } })
    const { all, starts } = startsOn(meter, 4)
    await pass(300)
    meter.resize({ windows: { any: { limit: 3, per: 1000 } } })
    await value(all)
    expect(starts).toEqual([0, 300, 300, 1000])
  })

  it("of a window's limit downwards counts what has started before", async () => {
    const meter = createMeter({ windows: { any: { limit: 4, per: 1000 } } })
    await value(startsOn(meter, 4).all)
    await pass(500)
    meter.resize({ windows: { any: { limit: 2, per: 1000 } } })
    expect(meter.snapshot().room).toEqual({ any: 0 })
    const { all, starts } = startsOn(meter, 3)
    await value(all)
    expect(starts).toEqual([1000, 1000, 2000])
  })

  it("of a window's length counts what has started before, as far as the old one still reached it", async () => {
    const meter = createMeter({ windows: { any: { limit: 2, per: 1000 } } })
    await value(startsOn(meter, 1).all)
    await pass(600)
    await value(startsOn(meter, 1).all)
    meter.resize({ windows: { any: { limit: 2, per: 300 } } })
    expect(meter.snapshot().room, "the first start has left the shorter window").toEqual({ any: 1 })
    meter.resize({ windows: { any: { limit: 1, per: "5 seconds" } } })
    const { all, starts } = startsOn(meter, 1)
    await value(all)
    expect(starts).toEqual([5600])
  })

  it("to a window with limit Infinity lifts it; a window of another name is added beside the others", async () => {
    const meter = createMeter({ windows: { a: { limit: 1, per: 1000 } } })
    const { all, starts } = startsOn(meter, 3)
    await pass(100)
    meter.resize({ windows: { a: { limit: Infinity, per: 1000 }, b: { limit: 2, per: 400 } } })
    await value(all)
    expect(starts).toEqual([0, 100, 100])
    expect(meter.snapshot().room).toEqual({ a: Infinity, b: 0 })
    expect(await value(meter.run(() => now()))).toBe(500)
    expect(await settle(meter.run(() => 1, { cost: { b: 1 } }))).toMatchObject({ value: 1 })
  })

  it("leaves alone what it does not name, undefined or missing", async () => {
    const meter = createMeter({ maxAtOnce: 2, maxPerSecond: 10, windows: { a: { limit: 3, per: 1000 } } })
    meter.resize({})
    meter.resize({ maxAtOnce: undefined, maxPerSecond: undefined, maxBurst: undefined, windows: undefined })
    meter.resize({ windows: { a: undefined } })
    const { all, starts } = startsOn(meter, 4)
    await value(all)
    expect(starts).toEqual([0, 100, 200, 1000])
    expect(meter.snapshot().free).toBe(2)
  })

  it("rejects all waiters whose cost has become too high, however many follow one another", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    await value(meter.run(() => 1, { cost: { tokens: 10 } }))
    const waiters = [9, 1, 8, 7, 2].map((tokens) => watch(meter.run(() => now(), { cost: { tokens } })))
    meter.resize({ windows: { tokens: { limit: 5, per: 1000 } } })
    await flush()
    const refused = { status: "rejected", at: 0, reason: expect.any(RangeError) }
    expect(waiters.map(({ outcome }) => outcome)).toMatchObject([refused, undefined, refused, refused, undefined])
    await pass(1000)
    expect(waiters[1]!.outcome).toMatchObject({ value: 1000 })
    expect(waiters[4]!.outcome).toMatchObject({ value: 1000 })
    expect(meter.snapshot()).toMatchObject({ waiting: 0, running: 0, started: 3 })
  })

  it("rejects waiters whose cost has become too high, and admits those behind them", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    await value(meter.run(() => 1, { cost: { tokens: 10 } }))
    const large = watch(meter.run(() => 1, { cost: { tokens: 9 } }))
    const call = watch(runAll([0], () => 1, { meter, cost: () => ({ tokens: 8 }) }))
    const small = watch(meter.run(() => now(), { cost: { tokens: 2 } }))
    await pass(100)
    meter.resize({ windows: { tokens: { limit: 5, per: 1000 } } })
    await flush()
    for (const { outcome } of [large, call]) {
      expect(outcome).toMatchObject({ status: "rejected", at: 100, reason: expect.any(RangeError) })
    }
    await pass(1000)
    expect(small.outcome).toMatchObject({ value: 1000 })
  })

  it("rejects a waiter whose cost has become too high while it waits at another meter", async () => {
    const tokens = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const blocking = tokens.run(() => 1)
    const starts: Array<number> = []
    // The second item waits for a permit of the call when the meter of its tokens changes.
    const call = watch(
      runOnEach(
        [0, 1],
        () => {
          starts.push(now())
          return sleep(3000)
        },
        { meter: tokens, maxAtOnce: 1, cost: (n) => ({ tokens: n === 1 ? 9 : 1 }) }
      )
    )
    await value(blocking)
    await pass(100)
    tokens.resize({ windows: { tokens: { limit: 5, per: 1000 } } })
    await pass(5000)
    expect(starts).toEqual([0])
    expect(call.outcome).toMatchObject({ status: "rejected", reason: expect.any(RangeError) })
  })

  it("may be done by a task in its first step", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const result = meter.run(async () => {
      meter.resize({ maxPerSecond: 10, windows: { any: { limit: 5, per: 1000 } } })
      return "done"
    })
    expect(await value(result)).toBe("done")
    const call = runOnEach(
      naturals(2),
      async (n) => {
        if (n === 0) meter.resize({ maxPerSecond: Infinity, maxAtOnce: 1 })
        await sleep(10)
      },
      { meter }
    )
    expect(await settle(call)).toMatchObject({ status: "fulfilled" })
    await expectFree(meter, 1)
  })

  it("by a task, which adds a rate, loses no permit", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const call = watch(
      runOnEach(
        naturals(3),
        () => {
          meter.resize({ maxPerSecond: 10 })
          return sleep(10)
        },
        { meter }
      )
    )
    await pass(1000)
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 3, free: 1 })
  })

  it("that adds a window while a task runs leaves its correct in order", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const task = meter.run(
      async ({ correct }) => {
        await sleep(10)
        meter.resize({ windows: { pages: { limit: 10, per: 1000 } } })
        correct({ tokens: 2, pages: 5 })
      },
      { cost: { tokens: 8 } }
    )
    expect(await settle(task)).toMatchObject({ status: "fulfilled" })
    expect(meter.snapshot().room["tokens"]).toBe(8)
  })

  it("that adds a window to a meter in use lets the tasks of that call correct what they pay from it", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const call = runOnEach(
      naturals(2),
      async (n, { correct }) => {
        await sleep(10)
        if (n === 0) meter.resize({ windows: { tokens: { limit: 10, per: 1000 } } })
        else correct({ tokens: 4 })
      },
      { meter }
    )
    expect(await settle(call)).toMatchObject({ status: "fulfilled" })
    expect(meter.snapshot().room).toEqual({ tokens: 6 })
  })

  it("that adds a window to a meter in use lets the call's cost name it", async () => {
    const meter = createMeter({ windows: { requests: { limit: 10, per: 1000 } } })
    const call = runOnEach(
      naturals(2),
      (n) => {
        if (n === 0) meter.resize({ windows: { tokens: { limit: 10, per: 1000 } } })
      },
      { meter, cost: (n) => (n === 0 ? {} : { tokens: 4 }) }
    )
    expect(await settle(call)).toMatchObject({ status: "fulfilled" })
    expect(meter.snapshot().room).toEqual({ requests: 8, tokens: 6 })
  })
})

describe("snapshot", () => {
  it("of an unused meter", () => {
    const windows = { requests: { limit: 5, per: 1000 }, tokens: { limit: 100, per: "1 minute" } } as const
    expect(createMeter({ maxAtOnce: 3, maxPerSecond: 10, windows }).snapshot()).toEqual({
      running: 0,
      waiting: 0,
      lanes: new Map(),
      started: 0,
      limits: {
        maxAtOnce: 3,
        maxPerSecond: 10,
        maxBurst: 1,
        windows: { requests: { limit: 5, per: 1000 }, tokens: { limit: 100, per: 60_000 } }
      },
      paused: false,
      draining: false,
      closed: false,
      free: 3,
      room: { requests: 5, tokens: 100 },
      nextStart: 0
    })
    expect(createMeter({}).snapshot()).toEqual({
      running: 0,
      waiting: 0,
      lanes: new Map(),
      started: 0,
      limits: { maxAtOnce: Infinity, maxPerSecond: Infinity, maxBurst: 1, windows: {} },
      paused: false,
      draining: false,
      closed: false,
      free: Infinity,
      room: {},
      nextStart: 0
    })
  })

  it("counts tasks from waiting to running to their end, also failed ones", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const runs = [10, 20, 30, 40].map((ms) =>
      meter.run(() => sleep(ms).then(() => Promise.reject("bad"))).catch(() => {})
    )
    const counts = () => {
      const { free, nextStart, running, started, waiting } = meter.snapshot()
      return { running, waiting, started, free, nextStart }
    }
    expect(counts()).toEqual({ running: 2, waiting: 2, started: 2, free: 0, nextStart: Infinity })
    await pass(10)
    expect(counts()).toEqual({ running: 2, waiting: 1, started: 3, free: 0, nextStart: Infinity })
    await pass(10)
    expect(counts()).toEqual({ running: 2, waiting: 0, started: 4, free: 0, nextStart: Infinity })
    await pass(20)
    expect(counts()).toEqual({ running: 1, waiting: 0, started: 4, free: 1, nextStart: 0 })
    await pass(100)
    expect(counts()).toEqual({ running: 0, waiting: 0, started: 4, free: 2, nextStart: 0 })
    await value(Promise.all(runs))
  })

  it("has the instant at which the rate allows the next start", async () => {
    const meter = createMeter({ maxPerSecond: 4 })
    await value(meter.run(() => 1))
    expect(meter.snapshot().nextStart).toBe(250)
    await pass(100)
    expect(meter.snapshot().nextStart).toBe(150)
    await pass(150)
    expect(meter.snapshot().nextStart).toBe(0)
    await pass(10_000)
    expect(meter.snapshot().nextStart).toBe(0)
  })

  it("has the instant at which each window has room, and how much", async () => {
    const meter = createMeter({ windows: { requests: { limit: 2, per: 300 }, tokens: { limit: 10, per: 1000 } } })
    await value(meter.run(() => 1, { cost: { tokens: 4 } }))
    expect(meter.snapshot()).toMatchObject({ room: { requests: 1, tokens: 6 }, nextStart: 0 })
    await pass(100)
    await value(meter.run(() => 1, { cost: { tokens: 6 } }))
    expect(meter.snapshot()).toMatchObject({ room: { requests: 0, tokens: 0 }, nextStart: 900 })
    await pass(200)
    expect(meter.snapshot()).toMatchObject({ room: { requests: 1, tokens: 0 }, nextStart: 700 })
    await pass(700)
    expect(meter.snapshot()).toMatchObject({ room: { requests: 2, tokens: 4 }, nextStart: 0 })
  })

  it("has the latest instant of all limits", async () => {
    const meter = createMeter({ maxPerSecond: 1, windows: { any: { limit: 1, per: 3000 } } })
    await value(meter.run(() => 1))
    expect(meter.snapshot().nextStart).toBe(3000)
    meter.pause(5000)
    expect(meter.snapshot().nextStart).toBe(5000)
    meter.resume()
    expect(meter.snapshot().nextStart).toBe(3000)
  })

  it("counts a cancelled task that has not settled as running, and an aborted waiter not at all", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const deaf = watch(meter.run(() => sleep(100), { signal: controller.signal }))
    const waiting = watch(meter.run(() => 1, { signal: controller.signal }))
    await flush()
    controller.abort("stop")
    await flush()
    expect([deaf.outcome, waiting.outcome]).toMatchObject([{ reason: "stop" }, { reason: "stop" }])
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 0, started: 1, free: 0 })
    await pass(100)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 1, free: 1 })
  })

  it("changes nothing, however often it is taken", async () => {
    const meter = createMeter({ maxPerSecond: 10, maxBurst: 3, windows: { any: { limit: 4, per: 1000 } } })
    const { all, starts } = startsOn(meter, 6)
    for (let i = 0; i < 30; i++) {
      await pass(17)
      meter.snapshot()
    }
    await value(all)
    expect(starts).toEqual([0, 0, 0, 100, 1000, 1100])
  })

  it("is a copy: what happens later does not show in it", async () => {
    const meter = createMeter({ windows: { any: { limit: 2, per: 1000 } } })
    const before = meter.snapshot()
    await value(meter.run(() => 1))
    expect(before).toMatchObject({ started: 0, room: { any: 2 } })
  })
})

it("the methods need no receiver", async () => {
  const { pause, resize, resume, run, snapshot } = createMeter({ maxAtOnce: 1 })
  pause()
  const waiting = run(() => now())
  expect(snapshot().waiting).toBe(1)
  resize({ maxAtOnce: 2 })
  resume()
  expect(await value(waiting)).toBe(0)
  expect(snapshot().free).toBe(2)
})

it("a task that fails with a Retry-After and aborts its call while the meter is paused: the reason is the caller's", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  const controller = new AbortController()
  const error = rejection(
    meter.run(
      async ({ signal }) => {
        meter.pause()
        controller.abort("stop")
        signal.throwIfAborted()
      },
      { signal: controller.signal }
    )
  )
  expect(await error).toBe("stop")
  expect(meter.snapshot()).toMatchObject({ running: 0, free: 1, nextStart: Infinity })
})
