import { expect, it } from "vitest"
import { drift, StoreClock } from "../src/protocol/storeClock.ts"
import { random } from "./support/random.ts"

it("the store's time is within the bounds, for any drift, offset, and asymmetry of the ways", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const { next } = random(seed)
    const clock = new StoreClock()
    const rate = 1 + (next() * 2 - 1) * drift
    const offset = next() * 1e9
    const local = (time: number): number => offset + time * rate
    let time = 1e9
    for (let index = 0; index < 50; index++) {
      const sent = time
      const read = sent + next() ** 4 * 50_000
      time = read + next() ** 4 * 50_000
      clock.sample(local(sent), local(time), Math.floor(read))
      time += next() ** 2 * 1e6
      expect(clock.least(local(time))).toBeLessThanOrEqual(time + 0.01)
      expect(clock.most(local(time))).toBeGreaterThanOrEqual(time - 0.01)
      const slot = time + next() * 1e5
      expect(clock.least(clock.reaches(slot))).toBeCloseTo(slot, 3)
    }
    expect(clock.steps).toBe(0)
  }
})

it("a better sample narrows the bounds, and a worse one leaves them", () => {
  const clock = new StoreClock()
  expect([clock.least(0), clock.most(0)]).toEqual([-Infinity, Infinity])
  clock.sample(0, 1_000, 5_000)
  expect(clock.most(1_000) - clock.least(1_000)).toBeCloseTo(1_001.5, 6)
  clock.sample(2_000, 2_010, 6_500)
  const width = clock.most(3_000) - clock.least(3_000)
  expect(width).toBeLessThan(15)
  clock.sample(2_500, 3_000, 7_300)
  expect(clock.most(3_000) - clock.least(3_000)).toBe(width)
})

it.each([-10_000, 10_000])("a step of %i µs voids the samples before it", (step) => {
  const clock = new StoreClock()
  clock.sample(0, 10, 5_000)
  clock.sample(1_000, 1_010, 6_005 + step)
  expect(clock.steps).toBe(1)
  expect(clock.least(1_010)).toBeCloseTo(6_005 + step, 6)
})
