/** G3: with work waiting and permits free, at least 99.5 % of the rate is reached, whatever timers and stalls do. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { runOnEach } from "../../src/index.ts"
import { expectWindowsHeld, type ModelRate } from "../support/model.ts"
import { ms, Spy } from "../support/Spy.ts"
import { World, type WorldOptions } from "../support/World.ts"

/** A sequence that looks random and is always the same. */
const numbers = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

const wholeMs = (due: bigint, now: bigint): bigint => {
  const millis = (due - now) / ms(1)
  return now + (millis < 1n ? ms(1) : millis * ms(1))
}

/** As Node's: whole milliseconds, rounded down, one at least; and a little late. */
const asNode = (): NonNullable<WorldOptions["fires"]> => {
  const random = numbers(1)
  return (due, now) => wholeMs(due, now) + BigInt(Math.floor(random() * 300_000))
}

const worlds: ReadonlyArray<{ readonly name: string; readonly make: () => World }> = [
  { name: "timers like Node's", make: () => new World({ fires: asNode() }) },
  {
    name: "timers up to 2 ms late",
    make: () => {
      const random = numbers(2)
      return new World({ fires: (due, now) => wholeMs(due, now) + ms(1) + BigInt(Math.floor(random() * 1_000_000)) })
    }
  },
  {
    name: "timers that fire 1 ms early",
    make: () => new World({ fires: (due, now) => (due - now > ms(2) ? due - ms(1) : now + ms(1)) })
  },
  ...[20, 50, 250].map((every) => ({
    name: `a stall of 5 ms every ${every} ms`,
    make: () => new World({ fires: asNode(), stalls: { every: ms(every), lasts: ms(5) } })
  }))
]

const rates: ReadonlyArray<ModelRate> = [
  { starts: 1, seconds: 5 },
  { starts: 1, seconds: 1 },
  { starts: 5, seconds: 2 },
  { starts: 30, seconds: 1 },
  { starts: 300, seconds: 1 },
  { starts: 1000, seconds: 1 },
  { starts: 5000, seconds: 1 },
  { starts: 20_000, seconds: 1 },
  { starts: 100_000, seconds: 1 }
]

describe("G3 no lost throughput", () => {
  describe.each(worlds)("with $name", ({ make }) => {
    it.each(rates)("$starts starts in $seconds s are reached", async (rate) => {
      const world = make()
      const spy = new Spy(world.clock)
      // Whole seconds and forty starts at least; the end lies in the middle between two stalls.
      const millis = Math.max(1000, Math.ceil((40 * rate.seconds * 1000) / rate.starts / 1000) * 1000) + 9
      const until = ms(millis)
      const due = Math.floor((millis * rate.starts) / rate.seconds / 1000)
      function* items() {
        while (spy.now() < until) yield 0
      }
      await world.value(
        runOnEach(
          items(),
          spy.watch(() => Effect.void),
          { maxPerSecond: rate.starts / rate.seconds }
        )
      )
      const made = spy.starts.filter((at) => at < until).length
      expect(made / due).toBeGreaterThanOrEqual(0.995)
      expectWindowsHeld(spy.starts, rate)
    })
  })

  it("is reached with a limit at once that leaves room, while the loop stalls", async () => {
    const world = new World({ fires: asNode(), stalls: { every: ms(50), lasts: ms(5) } })
    const spy = new Spy(world.clock)
    const until = ms(3009)
    function* items() {
      while (spy.now() < until) yield 0
    }
    await world.value(runOnEach(items(), spy.lasting(50), { maxPerSecond: 100, maxAtOnce: 10 }))
    expect(spy.starts.filter((at) => at < until).length / 300.9).toBeGreaterThanOrEqual(0.995)
    expect(spy.peak).toBeLessThanOrEqual(10)
    expectWindowsHeld(spy.starts, { starts: 100, seconds: 1 })
  })
})
