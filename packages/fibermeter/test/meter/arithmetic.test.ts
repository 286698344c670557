/** The pure parts alone: windows, start logs, rates and timelines, compared with the simplest models of them. */
import { describe, expect, it } from "@effect/vitest"
import { type Clock, Effect } from "effect"
import fc from "fast-check"
import { afterEach, beforeEach, type MockInstance, vi } from "vitest"
import { Meter } from "../../src/index.ts"
import { latestStart, resizedLog, StartLog } from "../../src/internal/limits/startLog.ts"
import type { Limiter } from "../../src/internal/admission/limiter.ts"
import { ofFiber } from "../../src/internal/runtime/fiberHost.ts"
import type { Host } from "../../src/internal/runtime/host.ts"
import { KeyedLimiters } from "../../src/internal/meter/keyedLimiters.ts"
import { SharedLimiter } from "../../src/internal/limits/sharedLimiter.ts"
import { Gcra, resizedGcra } from "../../src/internal/limits/gcra.ts"
import { AdmissionRequest } from "../../src/internal/admission/request.ts"
import { Timeline } from "../../src/internal/runtime/timeline.ts"
import { callBegins, deferStart, overdue, turnBegins } from "../../src/internal/runtime/eventLoop.ts"
import { ReportedWindow } from "../../src/internal/limits/reportedWindow.ts"
import { SlidingWindow } from "../../src/internal/limits/slidingWindow.ts"
import { Log } from "../support/Log.ts"
import { range } from "../support/Spy.ts"
import { World } from "../support/World.ts"

/** The bytes of all typed arrays that can be reached from there. */
const bytesOf = (root: unknown): number => {
  const seen = new Set<unknown>()
  const visit = (value: unknown): number => {
    if (typeof value !== "object" || value === null || seen.has(value)) return 0
    seen.add(value)
    if (value instanceof Float64Array) return value.byteLength
    return Object.values(value).reduce<number>((sum, each) => sum + visit(each), 0)
  }
  return visit(root)
}

/** All that was ever spent, in a list. */
class NaiveWindow {
  private entries: Array<{ at: number; cost: number }> = []
  private gone = 0
  limit: number
  per: number

  constructor(limit: number, per: number) {
    this.limit = limit
    this.per = per
  }

  spend(cost: number, at: number): number {
    return this.gone + this.entries.push({ at, cost }) - 1
  }

  correct(number: number, by: number, now: number): void {
    const entry = this.entries[number - this.gone]
    if (entry !== undefined && entry.at + this.per > now) entry.cost = Math.max(0, entry.cost + by)
  }

  resize(limit: number, per: number, now: number): void {
    for (const entry of this.entries) if (entry.at + this.per <= now) entry.at = -Infinity
    this.limit = limit
    this.per = per
  }

  shift(delta: number): void {
    for (const entry of this.entries) entry.at += delta
  }

  /** What counts at that time. */
  spent(now: number): number {
    return this.entries.reduce((sum, { at, cost }) => (at + this.per > now ? sum + cost : sum), 0)
  }

  opensAt(cost: number, now: number): number {
    const instants = [now, ...this.entries.map(({ at }) => at + this.per).filter((at) => at > now)]
    return instants.find((at) => this.spent(at) + cost <= this.limit)!
  }
}

type Step =
  | { readonly do: "spend"; readonly after: number; readonly cost: number; readonly patient: boolean }
  | { readonly do: "correct"; readonly back: number; readonly by: number }
  | { readonly do: "resize"; readonly limit: number; readonly per: number }
  | { readonly do: "shift"; readonly delta: number }

const spend: fc.Arbitrary<Step> = fc.record({
  do: fc.constant("spend" as const),
  after: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 400 })),
  cost: fc.integer({ min: 0, max: 5 }),
  patient: fc.boolean()
})
const correct: fc.Arbitrary<Step> = fc.record({
  do: fc.constant("correct" as const),
  back: fc.integer({ min: 1, max: 12 }),
  by: fc.integer({ min: -5, max: 12 })
})
const resize: fc.Arbitrary<Step> = fc.record({
  do: fc.constant("resize" as const),
  limit: fc.integer({ min: 5, max: 30 }),
  per: fc.integer({ min: 1, max: 300 })
})
const shift: fc.Arbitrary<Step> = fc.record({
  do: fc.constant("shift" as const),
  delta: fc.integer({ min: -9999, max: 9999 })
})

/** Takes both through the same steps; each answer has to be the same. */
const compare = (limit: number, per: number, steps: ReadonlyArray<Step>): void => {
  // Without reports, it is a sliding window that can be resized.
  const window = new ReportedWindow(limit, per)
  const naive = new NaiveWindow(limit, per)
  let now = 0
  let count = 0
  const agree = (cost: number) => {
    const expected = naive.opensAt(cost, now)
    const opensAt = window.opensAt(cost, now)
    if (expected === now) expect(opensAt).toBeLessThanOrEqual(now)
    else expect(opensAt).toBe(expected)
    expect(window.room(now)).toBe(Math.max(0, naive.limit - naive.spent(now)))
    return expected
  }
  for (const step of steps) {
    if (step.do === "spend") {
      now += step.after
      const expected = agree(step.cost)
      if (expected > now && !step.patient) continue
      now = expected
      agree(step.cost)
      expect(window.spend(step.cost, now)).toBe(count)
      expect(naive.spend(step.cost, now)).toBe(count++)
    } else if (step.do === "correct") {
      const number = count - step.back
      if (number < 0) continue
      window.correct(number, step.by)
      // A spending that a window has forgotten cannot be corrected: the caller checks the time.
      naive.correct(number, step.by, now)
    } else if (step.do === "resize") {
      window.resize(step.limit, step.per, now)
      naive.resize(step.limit, step.per, now)
    } else {
      window.shift(step.delta)
      naive.shift(step.delta)
      now += step.delta
    }
    agree(1)
  }
}

describe("Window", () => {
  const sizes = [fc.integer({ min: 5, max: 30 }), fc.integer({ min: 1, max: 300 })] as const

  it("agrees with a plain log, for any spendings, corrections and shifts", () => {
    fc.assert(
      fc.property(
        ...sizes,
        fc.array(fc.oneof({ arbitrary: spend, weight: 5 }, correct, shift), { maxLength: 120 }),
        compare
      ),
      { numRuns: 400 }
    )
  })

  it("agrees with a plain log, also when resized", () => {
    fc.assert(
      fc.property(
        ...sizes,
        fc.array(fc.oneof({ arbitrary: spend, weight: 5 }, correct, resize, shift), { maxLength: 60 }),
        compare
      ),
      { numRuns: 400 }
    )
  })

  it("repeated questions have the same answer until something is spent", () => {
    const window = new SlidingWindow(2, 100)
    window.spend(1, 0)
    window.spend(1, 10)
    expect([window.opensAt(1, 20), window.opensAt(1, 30), window.opensAt(2, 30), window.opensAt(1, 40)]).toEqual([
      100, 100, 110, 100
    ])
  })

  it("a spending that its task saw later counts from then, never from earlier", () => {
    const window = new SlidingWindow(1, 100)
    const number = window.spend(1, 0)
    window.amend(number, 7)
    expect(window.opensAt(1, 50)).toBe(107)
    window.amend(number, 3)
    expect(window.opensAt(1, 50)).toBe(107)
    expect(window.opensAt(1, 107)).toBe(-Infinity)
    // What is out of sight is left alone.
    window.amend(number, 200)
    expect(window.room(108)).toBe(1)
  })

  it("does not open before there is room, also where a spending is recorded after a later one", () => {
    const window = new SlidingWindow(3, 100)
    const first = window.spend(1, 0)
    window.spend(1, 1)
    window.spend(1, 2)
    window.amend(first, 50)
    for (const cost of [1, 2, 3]) {
      const opensAt = window.opensAt(cost, 60)
      expect(window.room(opensAt)).toBeGreaterThanOrEqual(cost)
    }
  })

  /** Deterministic noise in [0, 1). */
  const noise = (seed: number) => {
    let state = seed
    return () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648
  }

  /** Spends as early as the window allows, logs all spendings, and compares the two. */
  const strain = (window: SlidingWindow, limit: number, per: number, count: number, most: number, from = 0) => {
    const random = noise(count + limit)
    const times: Array<number> = []
    const costs: Array<number> = []
    let oldest = 0
    let inside = 0
    let now = from
    let longest = 0
    for (let n = 0; n < count; n++) {
      const cost = 1 + Math.floor(random() * most)
      now += Math.floor(random() * ((2 * per) / limit))
      const opensAt = window.opensAt(cost, now)
      // When the log of all has room.
      let due = now
      for (;;) {
        while (oldest < times.length && times[oldest]! + per <= due) inside -= costs[oldest++]!
        if (inside + cost <= limit) break
        due = times[oldest]! + per
      }
      if (opensAt < due && due > now) expect.fail(`spending ${n}: opens at ${opensAt}, but there is room at ${due}`)
      longest = Math.max(longest, opensAt - due)
      now = Math.max(now, opensAt)
      window.spend(cost, now)
      times.push(now)
      costs.push(cost)
      inside += cost
    }
    return { longest, now }
  }

  it("with more starts than it remembers one by one, no more starts are allowed, and no wait is a 16,384th too long", () => {
    const per = 1_000_000_000
    for (const [limit, most] of [
      [40_000, 1],
      [100_000, 1],
      [250_000, 5]
    ] as const) {
      const { longest } = strain(new SlidingWindow(limit, per), limit, per, 220_000, most)
      expect(longest).toBeGreaterThanOrEqual(0)
      expect(longest).toBeLessThanOrEqual(per / 16_384)
    }
  })

  it("keeps its memory, whatever the limit", () => {
    const window = new SlidingWindow(1e9, 1e9)
    for (let n = 0; n < 300_000; n++) window.spend(1, n * 3000)
    expect(bytesOf(window)).toBe(3 * 8 * 32_768)
    expect(window.room(300_000 * 3000)).toBe(1e9 - 300_000)
  })

  it("what shares an entry can still be corrected", () => {
    const window = new SlidingWindow(1e6, 1e9)
    const numbers = range(50_000).map((n) => window.spend(2, n * 10_000))
    const now = 50_000 * 10_000
    expect(window.room(now)).toBe(1e6 - 100_000)
    for (const number of [0, 1, 777, 32_767, 32_768, 40_000, 49_999]) window.correct(numbers[number]!, -1)
    expect(window.room(now)).toBe(1e6 - 100_000 + 7)
    window.correct(numbers[40_001]!, 500)
    expect(window.room(now)).toBe(1e6 - 100_000 + 7 - 500)
    expect(window.room(now + 1e9)).toBe(1e6)
  })

  it("what shares an entry is corrected in its own time, whatever had gone before", () => {
    const per = 1e9
    const filled = (): { readonly window: SlidingWindow; readonly numbers: ReadonlyArray<number> } => {
      const window = new SlidingWindow(1e6, per)
      for (let n = 0; n < 500; n++) window.spend(1, n)
      // Read, so that what is over now is forgotten.
      expect(window.room(3 * per)).toBe(1e6)
      return { window, numbers: range(50_000).map((n) => window.spend(1, 3 * per + n * 10_000)) }
    }
    const { numbers, window } = filled()
    const plain = filled().window
    window.correct(numbers[10_000]!, 500)
    const gone = 3 * per + 10_000 * 10_000 + per
    // An entry takes in what is spent in a slice of the window.
    const slice = per / 16_384
    expect(window.room(gone - 1)).toBe(plain.room(gone - 1) - 500)
    expect(window.room(gone + slice)).toBe(plain.room(gone + slice))
  })

  it("a correction counts from when its cost was spent, also after the log has grown", () => {
    const window = new SlidingWindow(100, 1000)
    const numbers = range(9).map((n) => window.spend(1, n * 10))
    window.correct(numbers[8]!, 5)
    expect([1079, 1080].map((now) => window.room(now))).toEqual([94, 100])
  })

  it("resized to a shorter window after entries were shared, it is as exact for that one", () => {
    const window = new ReportedWindow(100_000, 1e12)
    for (let n = 0; n < 60_000; n++) window.spend(1, n * 1000)
    const start = 60_000 * 1000 + 1e12
    window.resize(100, 1e9, start)
    const { longest } = strain(window, 100, 1e9, 1000, 1, start)
    expect(longest).toBeLessThanOrEqual(1e9 / 16_384)
  })

  it("shared entries move with the timeline", () => {
    const window = new SlidingWindow(60_000, 1e9)
    for (let n = 0; n < 60_000; n++) window.spend(1, n * 10_000)
    const before = window.opensAt(1, 6e8)
    window.shift(-5e8)
    expect(window.opensAt(1, 1e8)).toBe(before - 5e8)
  })
})

describe("History", () => {
  it("knows the n-th start before a later start, if it is not one of those between", () => {
    const history = new StartLog(2)
    for (const time of [10, 20]) history.push(time, -Infinity)
    expect([0, 1, 2, 3].map((before) => history.oldest(before))).toEqual([10, 20, Infinity, Infinity])
  })

  it("knows the n-th last start, for any n, starts, amendments and shifts", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(fc.record({ gap: fc.nat({ max: 9 }), late: fc.nat({ max: 5 }), shift: fc.option(fc.integer()) }), {
          maxLength: 200
        }),
        (places, steps) => {
          const history = new StartLog(places)
          let times: Array<number> = []
          let now = 0
          for (const { gap, late, shift } of steps) {
            now += gap
            const number = history.push(now, -Infinity)
            expect(number).toBe(times.length)
            times.push(now)
            now += late
            history.amend(number, now)
            times[number] = now
            if (shift !== null) {
              history.shift(shift)
              times = times.map((time) => time + shift)
              now += shift
            }
            expect(history.oldest()).toBe(times.at(-places) ?? -Infinity)
            for (const other of [1, 5, 100]) {
              // What the old one remembers is all that the new one can know; starts keep their numbers.
              const known = times.slice(-Math.min(other, places))
              const next = resizedLog(history, other)
              expect(next.oldest()).toBe(known.at(-other) ?? -Infinity)
              expect(next.push(now, -Infinity)).toBe(times.length)
            }
          }
        }
      ),
      { numRuns: 150 }
    )
  })

  it("with more than 65,536 entries, the first start is as late as the second, which shares its slot", () => {
    const history = new StartLog(65_537)
    for (let n = 0; n < 65_537; n++) history.push(n * 10, -Infinity)
    expect(history.oldest()).toBe(10)
  })

  it("with more than 65,536 entries its answer may be late by a slice, and is never early", () => {
    for (const places of [65_536, 65_537, 100_000, 200_000]) {
      const perSlot = Math.ceil(places / 65_536)
      const history = new StartLog(places)
      for (let n = 0; n < places * 2 + 1000; n++) {
        const back = n - places
        const oldest = history.oldest()
        if (back < 0) {
          if (oldest !== -Infinity) expect.fail(`there is no start ${back}`)
        } else if (oldest < back * 10 || oldest > (back + perSlot - 1) * 10) {
          expect.fail(`start ${back} of ${places} was at ${back * 10}, not at ${oldest}`)
        }
        history.push(n * 10, -Infinity)
      }
      // As many entries as have a slot each again.
      const shorter = resizedLog(history, 1000)
      expect(shorter.oldest()).toBeGreaterThanOrEqual(places * 2 * 10)
      expect(shorter.oldest()).toBeLessThanOrEqual((places * 2 + perSlot - 1) * 10)
      expect(bytesOf(history)).toBeLessThanOrEqual((65_536 + 1) * 8)
    }
  })
})

describe("History grows and shrinks with what a window reaches", () => {
  const window = 1e9

  it("whatever may be forgotten, the answer is the same as far as a window reaches", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.array(fc.record({ gap: fc.nat({ max: 4e6 }), starts: fc.nat({ max: 300 }), rest: fc.boolean() }), {
          maxLength: 12
        }),
        (places, phases) => {
          const exact = new StartLog(places)
          const lean = new StartLog(places)
          const times: Array<number> = []
          let now = 0
          for (const { gap, rest, starts } of phases) {
            if (rest) now += window
            for (const _ of range(starts)) {
              now += gap
              if (exact.oldest() > now - window || lean.oldest() !== -Infinity) {
                if (lean.oldest() !== exact.oldest()) expect.fail(`${lean.oldest()} is not ${exact.oldest()}`)
              }
              const number = exact.push(now, -Infinity)
              if (lean.push(now, now - window) !== number) expect.fail("starts keep their numbers")
              times.push(now)
              for (const back of [0, 1, 40, 200]) {
                // A task is seen to start long before its window has gone by.
                if (back > number || times[number - back]! <= now - window) continue
                times[number - back] = now - back
                exact.amend(number - back, now - back)
                lean.amend(number - back, now - back)
              }
            }
            expect(latestStart(lean)).toBe(latestStart(exact))
            const [one, other] = [resizedLog(exact, 50), resizedLog(lean, 50)]
            if (one.oldest() > now - window) expect(other.oldest()).toBe(one.oldest())
            expect(other.push(now, -Infinity)).toBe(one.push(now, -Infinity))
          }
        }
      ),
      { numRuns: 200 }
    )
  })

  it("resized, it does not mistake later starts for forgotten ones if several share a slot", () => {
    const history = new StartLog(100_000)
    for (let n = 0; n < 200; n++) history.push(n, n - window)
    for (let n = 0; n < 60; n++) history.push(2 * window + n, window + n)
    expect([61, 150].map((places) => resizedLog(history, places).oldest())).toEqual([199, -Infinity])
  })

  /** As many starts a second for so long. */
  const runAt = (history: StartLog, from: number, perSecond: number, seconds: number): number => {
    const gap = 1e9 / perSecond
    for (let n = 0; n < perSecond * seconds; n++) history.push(from + n * gap, from + n * gap - window)
    return from + seconds * 1e9
  }

  it("takes no more than twice the starts within a window, or half a kilobyte", () => {
    for (const places of [100, 1000, 60_000, 1e6]) {
      const history = new StartLog(places)
      expect(bytesOf(history)).toBeLessThanOrEqual(64)
      let now = runAt(history, 0, 10, 1000)
      expect(bytesOf(history)).toBeLessThanOrEqual(512)
      now = runAt(history, now, 500, 3)
      expect(bytesOf(history)).toBeLessThanOrEqual(Math.max(512, 1024 * 8))
      // After more starts it has shrunk again.
      runAt(history, now, 10, 200)
      expect(bytesOf(history)).toBeLessThanOrEqual(1024)
    }
  })

  it("allocates at most two slots a start", () => {
    let slots = 0
    class Counting extends Float64Array {
      constructor(length: number) {
        super(length)
        slots += length
      }
    }
    vi.stubGlobal("Float64Array", Counting)
    try {
      const history = new StartLog(60_000)
      let now = 0
      for (const _ of range(20)) {
        now = runAt(history, now, 50_000, 1)
        now = runAt(history, now, 100, 20)
      }
    } finally {
      vi.unstubAllGlobals()
    }
    expect(slots).toBeGreaterThan(65_536)
    expect(slots).toBeLessThanOrEqual(20 * 52_000 * 2)
  })
})

describe("Window grows and shrinks with what it reaches", () => {
  it("takes no more than a small multiple of what was spent within it", () => {
    const window = new SlidingWindow(1e9, 1e9)
    expect(bytesOf(window)).toBeLessThanOrEqual(3 * 64)
    for (let n = 0; n < 20_000; n++) window.spend(1, n * 1000)
    expect(bytesOf(window)).toBeLessThanOrEqual(3 * 8 * 32_768)
    // Of a thousand milliseconds, ten spend something.
    for (let n = 0; n < 100; n++) {
      expect(window.room(2e9 + n * 1e8)).toBe(1e9 - Math.min(n, 9))
      window.spend(1, 2e9 + n * 1e8)
    }
    expect(bytesOf(window)).toBeLessThanOrEqual(3 * 8 * 128)
  })
})

describe("Gcra", () => {
  const second = 1_000_000_000
  const rates = fc.constantFrom(0.2, 1, 2.5, 7, 30, 100, 1000)

  it("resized, it holds the windows of the new rate over all starts that the old one remembered", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ rate: rates, burst: fc.constantFrom(1, 1, 2, 5), starts: fc.integer({ min: 0, max: 40 }) }),
          {
            minLength: 1,
            maxLength: 5
          }
        ),
        (phases) => {
          let pace: Gcra | undefined
          let now = 0
          let known: Array<number> = []
          let remembered = 0
          for (const { burst, rate, starts } of phases) {
            const places = Math.max(1, Math.floor(rate), burst)
            pace = pace === undefined ? new Gcra(rate, burst) : resizedGcra(pace, rate, burst, now)
            known = remembered === 0 ? [] : known.slice(-remembered)
            remembered = places
            for (const _ of range(starts)) {
              pace.setMode("pacing", now)
              now = Math.max(now, pace.due())
              pace.setMode("pacing", now)
              const before = known.at(-places)
              if (before !== undefined) expect(now - before).toBeGreaterThanOrEqual((places / rate) * second)
              pace.amend(pace.start(now), now)
              known.push(now)
            }
          }
          expect(pace).toBeInstanceOf(Gcra)
        }
      ),
      { numRuns: 300 }
    )
  })

  it("resized, a late start counts from its actual time, also in the windows of the new rate", () => {
    const milli = 1_000_000
    const pace = new Gcra(10, 2)
    pace.setMode("pacing", 0)
    for (const at of [0, 0, 100, 200, 300, 409, 500, 600, 700, 800]) pace.start(at * milli)
    expect(resizedGcra(pace, 5, 2, 800 * milli).due()).toBe(1409 * milli)
  })

  it("resized, its starts are spread out, however it was waited for before", () => {
    fc.assert(
      fc.property(
        rates,
        rates,
        fc.nat({ max: 20 }),
        fc.integer({ min: 0, max: 10 * second }),
        (from, to, before, wait) => {
          let pace = new Gcra(from, 1)
          let now = 0
          const start = () => {
            pace.setMode("pacing", now)
            now = Math.max(now, pace.due())
            pace.setMode("pacing", now)
            pace.start(now)
            return now
          }
          for (const _ of range(before)) start()
          pace.setMode("pacing", now)
          now += wait
          pace = resizedGcra(pace, to, 1, now)
          pace.setMode("pacing", now)
          const starts = range(Math.ceil(to) + 5).map(start)
          for (let n = 1; n < starts.length; n++) {
            expect(starts[n]! - starts[n - 1]!).toBeGreaterThanOrEqual(Math.floor(second / to) - 1)
          }
        }
      ),
      { numRuns: 200 }
    )
  })
})

describe("Timeline", () => {
  const clockOf = (read: () => bigint): Clock.Clock => ({ monotonicTimeNanosUnsafe: read }) as Clock.Clock

  it("has no time before it follows a clock, and begins at zero", () => {
    const time = new Timeline(() => expect.fail("nothing to shift"))
    time.update()
    expect(time.now).toBe(0)
    let at = 5_000n
    time.follow(clockOf(() => at))
    expect(time.now).toBe(0)
    at += 42n
    time.update()
    expect(time.now).toBe(42)
  })

  it("moves its zero when the numbers would become too large, and returns by how much", () => {
    let at = -3n
    const shifts: Array<number> = []
    const time = new Timeline((delta) => shifts.push(delta))
    time.follow(clockOf(() => at))
    at += 2n ** 52n
    time.update()
    expect([time.now, shifts]).toEqual([2 ** 52, []])
    at += 1n
    time.update()
    expect([time.now, shifts]).toEqual([0, [-(2 ** 52) - 1]])
    at += 7n
    time.update()
    expect(time.now).toBe(7)
  })

  it("continues with another clock where it was with the first", () => {
    let first = 100n
    let second = 10n ** 18n
    const time = new Timeline(() => expect.fail("nothing to shift"))
    const clock = clockOf(() => first)
    time.follow(clock)
    first += 50n
    time.follow(clock)
    time.follow(clockOf(() => second))
    expect(time.now).toBe(50)
    second += 5n
    time.update()
    expect(time.now).toBe(55)
  })
})

describe("limits hold across a moved zero, which comes after 52 days", () => {
  const day = 86_400_000
  const start = (log: Log, meter: Meter.Meter, name: string) => Meter.metered(log.task(name), meter)

  it("windows and their corrections", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { r: { limit: 2, per: "70 days" } } })
    const long = Meter.metered(log.around("a", Effect.delay(Meter.correct({ r: 2 }), "60 days")), meter)
    await log.play(
      [0, long],
      [50 * day, start(log, meter, "b")],
      [55 * day, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ r: 0 }))],
      [61 * day, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ r: 0 }))],
      [62 * day, start(log, meter, "c")],
      [63 * day, start(log, meter, "d")]
    )
    expect(log.starts).toEqual(["a 0", `b ${50 * day}`, `c ${70 * day}`, `d ${120 * day}`])
  })

  it("rates and bursts", async () => {
    const log = new Log()
    // One every 40 days, two after a time without any.
    const slow = Meter.makeUnsafe({ maxPerSecond: 1 / (40 * 86_400) })
    const burst = Meter.makeUnsafe({ maxPerSecond: 1 / (40 * 86_400), maxBurst: 2 })
    const shifted = (starts: ReadonlyArray<string>) =>
      starts.map((each) => Math.round((Number(each.split(" ")[1]) / day) * 1e6) / 1e6)
    await log.play(...["a", "b", "c", "d"].map((name) => [0, start(log, slow, name)] as const))
    expect(shifted(log.starts)).toEqual([0, 40, 80, 120])
    log.starts.length = 0
    const began = log.now / day
    await log.play(...["a", "b", "c", "d"].map((name) => [0, start(log, burst, name)] as const))
    expect(shifted(log.starts).map((at) => at - began)).toEqual([0, 0, 80, 120])
  })

  it("pauses meters that were paused before", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
    await log.play(
      [0, Meter.pause(meter, "100 days")],
      [30 * day, start(log, meter, "a")],
      [60 * day, start(log, meter, "b")],
      [200 * day, Meter.pause(meter)],
      [201 * day, start(log, meter, "c")],
      [300 * day, Meter.resume(meter)]
    )
    expect(log.starts).toEqual([`a ${100 * day}`, `b ${100 * day + 100}`, `c ${300 * day}`])
  })

  it("schedules and keys", async () => {
    const log = new Log()
    const keys = Meter.keyedUnsafe<string>({ windows: { r: { limit: 1, per: "60 days" } } })
    const sizes: Array<number> = []
    await log.play(
      [0, start(log, keys.for("a"), "a")],
      [59 * day, Effect.sync(() => sizes.push(keys.size))],
      [59 * day + 1, Effect.suspend(() => start(log, keys.for("a"), "again"))],
      [119 * day, Effect.sync(() => sizes.push(keys.size))],
      [120 * day, Effect.sync(() => sizes.push(keys.size))]
    )
    expect(log.starts).toEqual(["a 0", `again ${60 * day}`])
    expect(sizes).toEqual([1, 1, 0])
  })

  it("a jump of centuries at once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 5, windows: { r: { limit: 3, per: 1000 } } })
    const four = Effect.forEach(["a", "b", "c", "d"], (name) => start(log, meter, name), {
      concurrency: 4,
      discard: true
    })
    const centuries = 400_000 * day
    await log.play([0, four], [centuries, four])
    expect(log.starts.slice(0, 4)).toEqual(["a 0", "b 200", "c 400", "d 1000"])
    expect(log.starts.slice(4)).toEqual([0, 200, 400, 1000].map((at, index) => `${"abcd"[index]} ${centuries + at}`))
  })
})

describe("KeyedLimiters", () => {
  class Visitor extends AdmissionRequest {
    readonly cost = undefined
    readonly inside = undefined
    readonly host: Host

    constructor(host: Host, limiter: Limiter) {
      super([limiter])
      this.host = host
    }

    protected override admitted(): void {
      expect.fail("nobody waits here")
    }

    protected override refused(): void {
      expect.fail("nobody is refused here")
    }
  }

  /** A family that counts the limiters it has made and not dropped. */
  const counted = (limits: ConstructorParameters<typeof SharedLimiter>[0]) => {
    const count = { kept: 0 }
    class Counted extends SharedLimiter {
      override isAsNew(): boolean {
        const isForgettable = super.isAsNew()
        if (isForgettable) count.kept--
        return isForgettable
      }
    }
    const limiters = new KeyedLimiters<number>(() => {
      count.kept++
      return new Counted(limits)
    })
    return { count, limiters }
  }

  const use = (host: Host, limiter: Limiter): void => {
    const visitor = new Visitor(host, limiter)
    expect(visitor.requestStart()).toBe(true)
    visitor.started()
    visitor.release()
  }

  const oneIn100ms = { maxAtOnce: 1, windows: { r: { limit: 1, per: 100 } } }

  it("keys that are read and not used are not kept", () => {
    const { count, limiters } = counted({ maxAtOnce: 1 })
    for (let key = 0; key < 50_000; key++) limiters.of(key)
    expect(count.kept).toBeLessThanOrEqual(2)
    expect(limiters.size).toBe(0)
  })

  it("used keys are dropped faster than new ones are added, without a read of the size", async () => {
    const world = new World()
    const { count, limiters } = counted(oneIn100ms)
    let most = 0
    await world.value(
      Effect.withFiber((fiber) => {
        for (let key = 0; key < 20_000; key++) {
          use(ofFiber(fiber), limiters.of(key))
          most = Math.max(most, count.kept)
          world.pass(1_000_000n)
        }
        return Effect.void
      })
    )
    // A hundred are within their window; of the others, some have not been checked yet.
    expect(most).toBeLessThanOrEqual(200)
    expect(most).toBeGreaterThanOrEqual(100)
  })

  it("after 30,000 keys were used once, a hundred uses of another drop them all", async () => {
    const world = new World()
    const { count, limiters } = counted(oneIn100ms)
    await world.value(
      Effect.withFiber((fiber) => {
        for (let key = 0; key < 30_000; key++) use(ofFiber(fiber), limiters.of(key))
        expect(count.kept).toBe(30_000)
        world.pass(100_000_000n)
        for (let n = 0; n < 100; n++) {
          const before = count.kept
          limiters.of(-1)
          // None of them takes long.
          expect(before - count.kept).toBeLessThanOrEqual(512)
        }
        expect(count.kept).toBe(1)
        return Effect.void
      })
    )
  })

  it("keys that stay in use do not keep idle ones from being dropped", async () => {
    const world = new World()
    const { count, limiters } = counted(oneIn100ms)
    await world.value(
      Effect.withFiber((fiber) => {
        const host = ofFiber(fiber)
        for (const key of range(1000)) expect(new Visitor(host, limiters.of(key)).requestStart()).toBe(true)
        for (let key = 1000; key < 2000; key++) use(host, limiters.of(key))
        world.pass(100_000_000n)
        for (let n = 0; n < 1000; n++) limiters.of(0)
        expect(count.kept).toBe(1000)
        expect(limiters.size).toBe(1000)
        return Effect.void
      })
    )
  })

  it("a use takes no longer with more keys in use", () => {
    let looks = 0
    class Busy extends SharedLimiter {
      override isAsNew(): boolean {
        looks++
        return false
      }
    }
    const limiters = new KeyedLimiters<number>(() => new Busy({ maxAtOnce: 1 }))
    for (let key = 0; key < 10_000; key++) limiters.of(key)
    looks = 0
    for (let n = 0; n < 100; n++) limiters.of((n * 7919) % 10_000)
    expect(looks).toBeLessThanOrEqual(300)
  })

  it("a family of high rates takes memory for what was started, not for what might be", async () => {
    const limits = { maxPerSecond: 60_000, maxBurst: 60_000, windows: { r: { limit: 60_000, per: "1 hour" } } } as const
    const kept: Array<SharedLimiter> = []
    const limiters = new KeyedLimiters<number>(() => {
      kept.push(new SharedLimiter(limits))
      return kept.at(-1)!
    })
    await new World().value(
      Effect.withFiber((fiber) => {
        for (let key = 0; key < 1000; key++) for (const _ of range(5)) use(ofFiber(fiber), limiters.of(key))
        return Effect.void
      })
    )
    expect(kept).toHaveLength(1000)
    expect(bytesOf(kept)).toBeLessThanOrEqual(1000 * 5 * 64)
  })
})

describe("turn", () => {
  /** A host whose queue is run by hand, or at once. */
  const hostOf = (atOnce = false, isLive = true) => {
    const queue: Array<() => void> = []
    const defer = (f: () => void) => (atOnce ? f() : void queue.push(f))
    const nextTurn = () => {
      for (const f of queue.splice(0)) f()
    }
    return { host: { isLive, defer } as Host, nextTurn, queue }
  }
  let now = 0
  let looks: MockInstance<() => number>
  beforeEach(() => {
    now = 1000
    looks = vi.spyOn(performance, "now").mockImplementation(() => now)
  })
  afterEach(() => {
    vi.restoreAllMocks()
    // No marker of a test's is left.
    deferStart(hostOf(true).host, () => {})
    turnBegins()
  })

  it("a turn counts as over after twice four milliseconds, and not before", () => {
    turnBegins()
    const { host, queue } = hostOf()
    for (const _ of range(500)) expect(overdue(host)).toBe(false)
    expect(queue).toHaveLength(0)
    now += 4
    for (const _ of range(500)) expect(overdue(host)).toBe(false)
    expect(queue, "marked once").toHaveLength(1)
    now += 3.9
    for (const _ of range(64)) expect(overdue(host)).toBe(false)
    now += 0.1
    expect(range(64).some(() => overdue(host))).toBe(true)
    expect(overdue(host)).toBe(true)
    expect(queue).toHaveLength(1)
  })

  it("time in which the program is idle does not count as a turn", () => {
    turnBegins()
    const { host, nextTurn } = hostOf()
    const late = range(100).filter(() => {
      now += 1000
      const isLate = range(20).some(() => overdue(host))
      nextTurn()
      return isLate
    })
    expect(late).toEqual([])
  })

  it("reads the clock once in many starts, and more often where starts take long", () => {
    turnBegins()
    const { host } = hostOf()
    looks.mockClear()
    for (const _ of range(6400)) overdue(host)
    expect(looks.mock.calls.length).toBeLessThanOrEqual(110)
    turnBegins()
    // Each start takes a third of a budget: seen at the third, and three further on.
    const over = range(10).findIndex(() => {
      now += 1.4
      return overdue(host)
    })
    expect(over).toBe(5)
  })

  it("slow starts after cheap ones are noticed after 64, and at once if another call begins", () => {
    const slow = (): number =>
      range(100).findIndex(() => {
        now += 10
        return overdue(hostOf().host)
      })
    turnBegins()
    for (const _ of range(5000)) overdue(hostOf().host)
    expect(slow()).toBeLessThanOrEqual(65)
    deferStart(hostOf(true).host, () => {})
    for (const _ of range(5000)) overdue(hostOf().host)
    callBegins()
    expect(slow()).toBe(1)
  })

  it("where the clock stands still, a number of starts ends a turn", () => {
    turnBegins()
    const { host } = hostOf()
    const first = range(80_000).findIndex(() => overdue(host))
    expect(first).toBeGreaterThan(20_000)
    // It reads the clock at least once in 64 starts.
    expect(first).toBeLessThanOrEqual(2 * (16_384 + 64))
  })

  it("where time is a test's, the number of starts alone decides", () => {
    turnBegins()
    now += 1_000_000
    const { host } = hostOf(false, false)
    const first = range(80_000).findIndex(() => overdue(host))
    expect(first).toBe(32_767)
  })

  it("uses the current clock after one that was ahead", () => {
    turnBegins()
    now += 100_000
    const { host, nextTurn } = hostOf()
    overdue(host)
    nextTurn()
    now -= 100_000
    const first = range(100).findIndex(() => {
      now += 1
      return overdue(host)
    })
    expect(first).toBeLessThanOrEqual(72)
  })

  it("a marker whose queue is never run defers one start, not all to come", () => {
    turnBegins()
    const { host: gone } = hostOf()
    now += 4
    expect(overdue(gone)).toBe(false)
    now += 1000
    const { host, nextTurn } = hostOf()
    expect(overdue(host), "nothing tells that there have been other turns").toBe(true)
    deferStart(host, () => {})
    nextTurn()
    nextTurn()
    now += 1000
    expect(range(20).some(() => overdue(host))).toBe(false)
  })

  it("waiters that continue in the same turn share it", () => {
    const { host, nextTurn } = hostOf()
    const starts: Array<number> = []
    for (const _ of range(20)) {
      deferStart(host, () => {
        let started = 0
        while (started < 1000 && !overdue(host)) {
          now += 0.1
          started++
        }
        starts.push(started)
      })
    }
    expect(starts).toEqual([])
    const began = now
    nextTurn()
    expect(starts).toHaveLength(20)
    // However small its share, each starts one.
    expect(Math.min(...starts)).toBeGreaterThanOrEqual(1)
    expect(now - began).toBeLessThanOrEqual(24)
  })
})
