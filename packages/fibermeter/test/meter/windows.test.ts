/** Windows: at most `limit` in any stretch of time of length `per`, any number of them, beside the other limits. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import fc from "fast-check"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { Log, names } from "../support/Log.ts"
import { busiest } from "../support/model.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

/** The start instants, in milliseconds, of so many tasks that all wait from the beginning. */
const startsOf = async (count: number, limits: Meter.Limits, lasting = 0): Promise<Array<number>> => {
  const world = new World()
  const spy = new Spy(world.clock)
  await world.value(runOnEach(range(count), spy.lasting(lasting), { meter: Meter.makeUnsafe(limits) }))
  return spy.starts.map((at) => Number(at) / 1_000_000)
}

describe("windows", () => {
  it("no window of that length holds more starts than its limit, and all that fits starts at once", async () => {
    expect(await startsOf(8, { windows: { requests: { limit: 3, per: 100 } } })).toEqual([
      0, 0, 0, 100, 100, 100, 200, 200
    ])
  })

  it("the window slides: what starts late in one counts in the next", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 2, per: 100 } } })
    const start = (name: string) => Meter.metered(log.task(name), meter)
    await log.play([0, start("a")], [90, start("b")], [91, start("c")], [92, start("d")])
    expect(log.starts).toEqual(["a 0", "b 90", "c 100", "d 190"])
  })

  it("the window is half-open: one length after a start, that start does not count any more", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 1, per: 100 } } })
    await log.play(
      [0, Meter.metered(log.task("a"), meter)],
      [99, Meter.metered(log.task("b"), meter)],
      [200, Meter.metered(log.task("c"), meter)]
    )
    expect(log.starts).toEqual(["a 0", "b 100", "c 200"])
  })

  it("several windows hold together, whatever their order", async () => {
    const second = { limit: 2, per: "1 second" } as const
    const minute = { limit: 5, per: "1 minute" } as const
    const expected = [0, 0, 1000, 1000, 2000, 60_000, 60_000, 61_000, 61_000, 62_000, 120_000]
    expect(await startsOf(11, { windows: { second, minute } })).toEqual(expected)
    expect(await startsOf(11, { windows: { minute, second } })).toEqual(expected)
  })

  it("windows hold along with maxPerSecond: the later of the two decides each start", async () => {
    const limits = { maxPerSecond: 10, windows: { requests: { limit: 3, per: "1 second" } } } as const
    expect(await startsOf(7, limits)).toEqual([0, 100, 200, 1000, 1100, 1200, 2000])
  })

  it("windows hold together with maxAtOnce: a start is spent when the task starts, not while it waits for a permit", async () => {
    const limits = { maxAtOnce: 1, windows: { requests: { limit: 2, per: 100 } } } as const
    expect(await startsOf(5, limits, 70)).toEqual([0, 70, 140, 210, 280])
    expect(await startsOf(5, limits, 10)).toEqual([0, 10, 100, 110, 200])
  })

  it("no permit is held while the window is full", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, windows: { requests: { limit: 1, per: 100 } } })
    await log.play(
      [0, Meter.metered(log.task("a", 10), meter)],
      [20, Meter.metered(log.task("b", 10), meter)],
      [
        50,
        Effect.map(Meter.snapshot(meter), ({ free, running }) =>
          expect({ free, running }).toEqual({ free: 1, running: 0 })
        )
      ]
    )
    expect(log.starts).toEqual(["a 0", "b 100"])
  })

  it("per is a number of milliseconds, a text or a Duration", async () => {
    for (const per of [50, "50 millis", Duration.millis(50), "0.05 seconds"] as ReadonlyArray<Duration.Input>) {
      expect(await startsOf(3, { windows: { requests: { limit: 1, per } } })).toEqual([0, 50, 100])
    }
  })

  it("a length that is no whole number of nanoseconds is rounded up", async () => {
    expect(await startsOf(3, { windows: { requests: { limit: 1, per: 0.000_000_5 } } })).toEqual([
      0, 0.000_001, 0.000_002
    ])
  })

  it("a day, and longer than any timer sleeps at once", async () => {
    const day = 86_400_000
    expect(await startsOf(5, { windows: { daily: { limit: 2, per: "1 day" } } })).toEqual([0, 0, day, day, 2 * day])
    expect(await startsOf(3, { windows: { yearly: { limit: 1, per: "365 days" } } })).toEqual([0, 365 * day, 730 * day])
  })

  it("a window without an end is a budget: what it allows starts, nothing else ever", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { budget: { limit: 2, per: "Infinity" } } })
    const start = (name: string) => Effect.timeoutOption(Meter.metered(log.task(name), meter), "1000 days")
    await log.play([0, start("a")], [5, start("b")], [6, start("c")])
    expect(log.starts).toEqual(["a 0", "b 5"])
    log.expectRest()
  })

  it("Infinity limits nothing, and a window that is undefined does not exist", async () => {
    const unlimited = { windows: { requests: { limit: Infinity, per: 100 }, none: undefined } }
    expect(await startsOf(50, unlimited)).toEqual(range(50).map(() => 0))
  })

  describe.each(verbs)("as options of $name", (verb) => {
    it("hold for the call", async () => {
      const world = new World()
      const spy = new Spy(world.clock)
      const windows = { requests: { limit: 2, per: 100 }, longer: { limit: 3, per: 500 } }
      await world.value(verb.run(range(6), spy.lasting(10_000), { windows }))
      expect(spy.starts).toEqual([0, 0, 100, 500, 500, 600].map(ms))
    })

    it("hold together with those of a shared meter", async () => {
      const world = new World()
      const spy = new Spy(world.clock)
      const meter = Meter.makeUnsafe({ windows: { requests: { limit: 3, per: 300 } } })
      const options = { meter, windows: { requests: { limit: 2, per: 100 } } }
      await world.value(verb.run(range(6), spy.lasting(10_000), options))
      expect(spy.starts).toEqual([0, 0, 100, 300, 300, 400].map(ms))
    })
  })

  it("one meter's windows hold for all calls that share it", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 2, per: 100 } } })
    const call = (prefix: string) => runAll(names(3, prefix), (name) => log.task(name), { meter })
    await log.play([0, call("a")], [1, call("b")])
    expect(log.starts).toEqual(["a0 0", "a1 0", "a2 100", "b0 100", "b1 200", "b2 200"])
  })

  it("a waiter that was interrupted costs the next one nothing", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 1, per: 100 } } })
    await log.play(
      [0, Meter.metered(log.task("a"), meter)],
      [10, Effect.timeoutOption(Meter.metered(log.task("b"), meter), 20)],
      [20, Meter.metered(log.task("c"), meter)]
    )
    expect(log.starts).toEqual(["a 0", "c 100"])
    log.expectRest()
  })

  it("many waiters that came and went, one after the other, cost the next one nothing", async () => {
    for (const limits of [
      { windows: { requests: { limit: 1, per: "1 minute" } } },
      { maxPerSecond: 1 / 64, maxBurst: 1 }
    ] as ReadonlyArray<Meter.Limits>) {
      const due = limits.windows === undefined ? 64_000 : 60_000
      const log = new Log()
      const meter = Meter.makeUnsafe(limits)
      await log.play(
        [0, Meter.metered(log.task("first"), meter)],
        ...range(100).map(
          (n) => [10 + n * 100, Effect.timeoutOption(Meter.metered(log.task(`gone ${n}`), meter), 50)] as const
        ),
        [20_000, Meter.metered(log.task("last"), meter)]
      )
      expect(log.starts).toEqual(["first 0", `last ${due}`])
    }
  })

  it("holds for any limits, with timers that are late and clocks that move at every reading", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ limit: fc.integer({ min: 1, max: 6 }), per: fc.integer({ min: 1, max: 50 }) }), {
          minLength: 1,
          maxLength: 3
        }),
        fc.array(fc.integer({ min: 0, max: 3_000_000 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 8 }),
        async (windows, lateness, looks) => {
          let timer = 0
          let look = 0
          const world = new World({
            fires: (due) => due + BigInt(lateness[timer++ % lateness.length]!),
            lookCost: () => BigInt(looks[look++ % looks.length]!)
          })
          const spy = new Spy(world.clock)
          const named = Object.fromEntries(windows.map((window, index) => [`w${index}`, window]))
          const meter = Meter.makeUnsafe({ windows: named })
          await world.value(
            runOnEach(
              range(30),
              spy.watch(() => Effect.void),
              { meter }
            )
          )
          expect(spy.starts.length).toBe(30)
          for (const { limit, per } of windows) {
            expect(busiest(spy.starts, ms(per))).toBeLessThanOrEqual(limit)
          }
        }
      ),
      { numRuns: 60 }
    )
  })

  it.each([
    ["a window", { windows: { requests: { limit: 2, per: 1000 } } }],
    ["a rate", { maxPerSecond: 2 }],
    ["a burst", { maxPerSecond: 2, maxBurst: 2 }]
  ] as ReadonlyArray<readonly [string, Meter.Limits]>)(
    "the instant that counts for %s is that of the task's start, however long after its admission",
    async (_, limits) => {
      // The clock stands still except for one reading, at which it jumps: each reading in turn.
      for (let at = 0, looks = at; at <= looks; at++) {
        looks = 0
        const world = new World({ lookCost: () => (++looks === at ? 70_000_000n : 0n) })
        const spy = new Spy(world.clock)
        const meter = Meter.makeUnsafe(limits)
        await world.value(
          Effect.forEach(range(7), (n) => Meter.metered(spy.effect(n, Effect.void), meter), { concurrency: 7 })
        )
        expect(spy.starts.length).toBe(7)
        expect(busiest(spy.starts, ms(1000)), `a jump at look ${at}`).toBeLessThanOrEqual(2)
      }
    }
  )
})
