/** G12: all time goes through Effect's Clock, and its monotonic side: under TestClock starts fall on exact instants. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Meter, runOnEach } from "../../src/index.ts"
import { expectWindowsHeld, type ModelRate, timeOf } from "../support/model.ts"
import { observe, watch } from "../support/observe.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

const rates: ReadonlyArray<ModelRate> = [
  { starts: 1, seconds: 5 },
  { starts: 5, seconds: 2 },
  { starts: 1, seconds: 1 },
  { starts: 3, seconds: 1 },
  { starts: 5, seconds: 1 },
  { starts: 7, seconds: 1 },
  { starts: 30, seconds: 1 },
  { starts: 60, seconds: 1 },
  { starts: 1000, seconds: 1 },
  { starts: 3000, seconds: 1 },
  { starts: 44_100, seconds: 1 },
  { starts: 1_000_000, seconds: 1 }
]

const slots = (count: number, rate: ModelRate): Array<bigint> => range(count).map((index) => timeOf(index, rate))

describe("G12 time", () => {
  it.effect.each(rates)("$starts starts in $seconds s fall on their slots, rounded up to the nanosecond", (rate) =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      yield* observe(
        runOnEach(
          range(100),
          spy.watch(() => Effect.void),
          { maxPerSecond: rate.starts / rate.seconds }
        )
      )
      expect(spy.starts).toEqual(slots(100, rate))
    })
  )

  describe.each(verbs)("$name", (verb) => {
    it.effect("starts nothing while time stands still, and the next task in the nanosecond in which it is due", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const run = yield* watch(verb.run(range(3), spy.lasting(100_000), { maxPerSecond: 5 }))
        expect(spy.started).toEqual([0])
        yield* run.advance(199.999_999)
        expect(spy.started).toEqual([0])
        yield* run.advance(0.000_001)
        expect(spy.started).toEqual([0, 1])
        yield* run.advance(200)
        expect(spy.starts).toEqual([0, 200, 400].map(ms))
        run.fiber.interruptUnsafe()
        yield* run.finish
      })
    )

    it("is exact whatever the clock counts from, and reads no wall clock", async () => {
      for (const origin of [0n, 1n, 999_999_999n, -5_000_000_000n, 2n ** 53n + 1n, 2n ** 62n]) {
        const world = new World({ origin })
        const spy = new Spy(world.clock)
        const call = verb.run(range(40), spy.lasting(10_000), { maxPerSecond: 30 })
        await world.value(call)
        expect(spy.starts).toEqual(slots(40, { starts: 30, seconds: 1 }))
      }
    })
  })

  it("waits for a slot once: one timer for each start at most, and no loop", async () => {
    for (const rate of rates) {
      const world = new World()
      const spy = new Spy(world.clock)
      await world.value(
        runOnEach(
          range(100),
          spy.watch(() => Effect.void),
          { maxPerSecond: rate.starts / rate.seconds }
        )
      )
      expect(world.timersArmed).toBeLessThanOrEqual(100)
      expect(world.clockReads).toBeLessThanOrEqual(100 * 12)
    }
  })

  it("is as exact after years as on the first day", async () => {
    const world = new World()
    const meter = Meter.makeUnsafe({ maxPerSecond: 30, maxBurst: 1 })
    for (const _ of range(6)) {
      const spy = new Spy(world.clock)
      await world.value(
        runOnEach(
          range(40),
          spy.watch(() => Effect.void),
          { meter }
        )
      )
      expect(spy.starts).toEqual(slots(40, { starts: 30, seconds: 1 }))
      await world.value(Effect.sleep("400 days"))
    }
  })

  it("spreads starts evenly also where the run takes years", async () => {
    const world = new World()
    const spy = new Spy(world.clock)
    // One every 2 ** 23 seconds, which is 97 days.
    await world.value(
      runOnEach(
        range(40),
        spy.watch(() => Effect.void),
        { maxPerSecond: 2 ** -23 }
      )
    )
    expect(spy.starts).toEqual(slots(40, { starts: 1, seconds: 2 ** 23 }))
    const bursts = new Spy(world.clock)
    await world.value(
      runOnEach(
        range(40),
        bursts.watch(() => Effect.void),
        { maxPerSecond: 2 ** -23, maxBurst: 3 }
      )
    )
    expectWindowsHeld(bursts.starts, { starts: 1, seconds: 2 ** 23, burst: 3 })
  })

  it("a task that may start at once sets no timer and waits for none", async () => {
    const world = new World()
    const spy = new Spy(world.clock)
    // Each takes longer than the rate's interval: only the permit is waited for.
    await world.value(
      runOnEach(
        [70, 91, 33, 58, 76],
        spy.watch((millis: number) => Effect.sleep(millis)),
        { maxAtOnce: 1, maxPerSecond: 52 }
      )
    )
    expect(spy.starts).toEqual([0, 70, 161, 194, 252].map(ms))
    expect(world.timersArmed, "the tasks' own five").toBe(5)
  })

  it.effect("a meter made outside of the test uses the clock of its callers", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxPerSecond: 5 })
      const spy = yield* Spy.make
      yield* observe(
        runOnEach(
          range(3),
          spy.watch(() => Effect.void),
          { meter }
        )
      )
      expect(spy.starts).toEqual([0, 200, 400].map(ms))
    })
  )

  it("a meter that is used under one clock and then under another starts afresh with it", async () => {
    const meter = Meter.makeUnsafe({ maxPerSecond: 5 })
    for (const origin of [2n ** 60n, 5n, 2n ** 61n]) {
      const world = new World({ origin })
      const spy = new Spy(world.clock)
      await world.value(
        runOnEach(
          range(3),
          spy.watch(() => Effect.void),
          { meter }
        )
      )
      const [first] = spy.starts
      expect(first).toBeLessThanOrEqual(ms(200))
      expect(spy.starts.map((at) => at - (first as bigint))).toEqual([0, 200, 400].map(ms))
    }
  })
})
