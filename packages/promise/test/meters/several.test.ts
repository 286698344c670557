/** Several meters together: a task starts when all of them admit it, and takes from all in the same step. */
import * as fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { createMeter, runAll, runOnEach } from "../../src/index.ts"
import type { Limits, Meter } from "../../src/index.ts"
import {
  expectFree,
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
import { optionsFor, planFor, predictStarts, startsSeen, weighed } from "../support/meterModel.ts"
import type { ModelLimits } from "../support/meterModel.ts"

useVirtualTime()
expectNoUnhandledRejection()

const items = weighed.map((_, i) => i)

/** Every limit in a meter of its own. */
const parts: ReadonlyArray<Limits & ModelLimits> = [
  { maxAtOnce: 3 },
  { maxPerSecond: 10 },
  { windows: { requests: { limit: 3, per: 900 } } },
  { windows: { tokens: { limit: 130, per: 1100 } } }
]

const together: ModelLimits = {
  maxAtOnce: 3,
  maxPerSecond: 10,
  windows: { requests: { limit: 3, per: 900 }, tokens: { limit: 130, per: 1100 } }
}

/** Orders of four things, each of them at each index. */
const orders = [
  [0, 1, 2, 3],
  [1, 0, 3, 2],
  [2, 3, 1, 0],
  [3, 2, 0, 1]
]

describe.each(verbs)("$name", (verb) => {
  it.each(orders)(
    "four meters, in whatever order they are made and listed: exact starts (%d %d %d %d)",
    async (...order) => {
      for (const made of orders) {
        const begin = now()
        const meters = new Map(made.map((which) => [which, createMeter(parts[which]!)]))
        const p = probe(planFor(verb, weighed))
        const { promise } = verb.call(items, p, {
          meter: order.map((which) => meters.get(which)!),
          ...optionsFor(weighed),
          maxUnread: Infinity
        })
        await settle(promise)
        const starts = startsSeen(verb, weighed, predictStarts(weighed, together))
        expect(p.starts.map((at) => at - begin)).toEqual(starts)
        // All of them have learnt of each start and each end.
        await pass(5000)
        for (const meter of meters.values()) {
          expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: starts.length, nextStart: 0 })
        }
        expect(vi.getTimerCount()).toBe(0)
      }
    }
  )

  it("limits of the call's own on top: the narrowest rules at every start", async () => {
    const p = probe(planFor(verb, weighed))
    const { promise } = verb.call(items, p, {
      meter: [createMeter(parts[0]!), createMeter(parts[3]!)],
      maxPerSecond: 10,
      windows: parts[2]!.windows,
      ...optionsFor(weighed),
      maxUnread: Infinity
    })
    await settle(promise)
    expect(p.starts).toEqual(startsSeen(verb, weighed, predictStarts(weighed, together)))
  })

  it("an abort while it waits for one of them removes it from all queues and changes nothing else", async () => {
    const a = createMeter({ maxAtOnce: 1, windows: { any: { limit: 5, per: 1000 } } })
    const b = createMeter({ maxAtOnce: 1, maxPerSecond: 10 })
    const c = createMeter({ maxAtOnce: 1 })
    const blocking = b.run(() => sleep(1000))
    const controller = new AbortController()
    const p = probe(() => ({}))
    const call = watch(verb.call([0, 1], p, { meter: [a, b, c], signal: controller.signal }).promise)
    await pass(10)
    expect(a.snapshot()).toMatchObject({ running: 0, room: { any: 5 } })
    expect(c.snapshot().running).toBe(0)
    controller.abort("stop")
    await flush()
    expect(call.outcome).toEqual({ status: "rejected", reason: "stop", at: 10 })
    for (const meter of [a, c]) expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 0 })
    expect(b.snapshot()).toMatchObject({ running: 1, waiting: 0 })
    expect((await settle(a.run(() => 1))).at).toBe(10)
    expect((await settle(c.run(() => 1))).at).toBe(10)
    await value(blocking)
    for (const meter of [a, b, c]) await expectFree(meter, 1)
  })
})

describe("one reservation", () => {
  it("holds no permit and spends no window of one while it waits for another", async () => {
    // In each order of creation: a waiter takes from no meter before it can take from all.
    for (const isFirstOlder of [true, false]) {
      const make = [
        () => createMeter({ maxAtOnce: 1, windows: { any: { limit: 1, per: 1000 } } }),
        () => createMeter({ maxAtOnce: 1 })
      ] as const
      const made = isFirstOlder
        ? make.map((one) => one())
        : [...make]
            .toReversed()
            .map((one) => one())
            .toReversed()
      const [free, busy] = [made[0]!, made[1]!]
      const blocking = busy.run(() => sleep(500))
      const p = probe(() => ({}))
      const begin = now()
      const waiting = runOnEach([0], p.task, { meter: [free, busy] })
      await pass(499)
      expect(free.snapshot()).toMatchObject({ running: 0, started: 0, free: 1, room: { any: 1 }, nextStart: 0 })
      await value(Promise.all([blocking, waiting]))
      expect(p.starts).toEqual([begin + 500])
      expect(free.snapshot()).toMatchObject({ started: 1, room: { any: 0 } })
    }
  })

  it("a meter that is listed twice counts a task once", async () => {
    const meter = createMeter({ maxAtOnce: 1, windows: { any: { limit: 3, per: 1000 } } })
    const p = probe(() => ({ ms: 10 }))
    await value(runOnEach(naturals(3), p.task, { meter: [meter, meter, meter] }))
    expect(p.starts).toEqual([0, 10, 20])
    expect(meter.snapshot().started).toBe(3)
  })

  it("an empty list of meters limits nothing", async () => {
    const p = probe(() => ({ ms: 10 }))
    await value(runOnEach(naturals(9), p.task, { meter: [] }))
    expect(p.starts).toEqual(Array.from({ length: 9 }, () => 0))
  })

  it("windows of the same name in two meters are both paid", async () => {
    const hourly = createMeter({ windows: { tokens: { limit: 100, per: "1 hour" } } })
    const minutely = createMeter({ windows: { tokens: { limit: 40, per: "1 minute" } } })
    const call = runAll([30, 10, 20], (_, { correct }) => correct({ tokens: 5 }), {
      meter: [hourly, minutely],
      cost: (tokens) => ({ tokens })
    })
    await value(call)
    expect(hourly.snapshot().room).toEqual({ tokens: 85 })
    expect(minutely.snapshot().room).toEqual({ tokens: 25 })
  })
})

describe.each(["as they were made", "the other way round"])("two meters, listed %s", (listed) => {
  const list = (...meters: ReadonlyArray<Meter>): Array<Meter> =>
    listed === "as they were made" ? [...meters] : meters.toReversed()

  it.each([0, 1])(
    "a nested call gets the permit that only a waiter for both meters would take (held: %d)",
    async (held) => {
      const begin = now()
      const made = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 1 })]
      const [outer, inner] = [made[held]!, made[1 - held]!]
      const nested = outer.run(async () => {
        await sleep(20)
        return inner.run(() => sleep(10).then(now))
      })
      await pass(5)
      const both = watch(runAll([0, 1], () => sleep(10).then(now), { meter: list(...made) }))
      await pass(5)
      expect(inner.snapshot()).toMatchObject({ waiting: 1, free: 1 })
      expect(await settle(nested)).toMatchObject({ value: begin + 30 })
      await pass(100)
      expect(both.outcome).toMatchObject({ value: [begin + 40, begin + 50] })
    }
  )

  it("a task that needs one of them does not wait for the other", async () => {
    const begin = now()
    const [busy, free] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 10 })]
    const running = busy.run(() => sleep(500))
    const both = watch(runAll([0], now, { meter: list(busy, free) }))
    await pass(10)
    expect(await settle(free.run(now))).toMatchObject({ value: begin + 10 })
    await value(running)
    await flush()
    expect(both.outcome).toMatchObject({ value: [begin + 500] })
  })
})

describe("no order of meters deadlocks", () => {
  it("random sets of meters in random orders: every call ends, and every permit is released", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            meters: fc.uniqueArray(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 4 }),
            count: fc.integer({ min: 1, max: 4 }),
            ms: fc.integer({ min: 0, max: 60 }),
            abortsAt: fc.option(fc.integer({ min: 0, max: 200 }), { nil: undefined })
          }),
          { minLength: 2, maxLength: 7 }
        ),
        async (calls) => {
          const limits: ReadonlyArray<Limits> = [
            { maxAtOnce: 1 },
            { maxAtOnce: 2, maxPerSecond: 50 },
            { maxAtOnce: 1, windows: { any: { limit: 2, per: 70 } } },
            { maxAtOnce: 3 }
          ]
          const meters = limits.map((each) => createMeter(each))
          const running = meters.map(() => 0)
          const peaks = meters.map(() => 0)
          const all = calls.map(({ abortsAt, count, meters: used, ms }) => {
            const controller = new AbortController()
            if (abortsAt !== undefined) setTimeout(() => controller.abort("stop"), abortsAt)
            const task = async () => {
              for (const each of used) peaks[each] = Math.max(peaks[each]!, ++running[each]!)
              await sleep(ms)
              for (const each of used) running[each]!--
            }
            return watch(
              runOnEach(naturals(count), task, { meter: used.map((each) => meters[each]!), signal: controller.signal })
            )
          })
          await pass(5000)
          for (const [i, { outcome }] of all.entries()) {
            expect(outcome, `call ${i}`).toBeDefined()
            if (calls[i]!.abortsAt === undefined) expect(outcome).toMatchObject({ status: "fulfilled" })
          }
          for (const [i, { maxAtOnce = 0 }] of limits.entries()) {
            expect(peaks[i]).toBeLessThanOrEqual(maxAtOnce)
            expect(meters[i]!.snapshot()).toMatchObject({ running: 0, waiting: 0, free: maxAtOnce })
          }
        }
      ),
      { numRuns: 40 }
    )
  })
})
