/** The check that marks windows red, against one that looks at every window. */
import { describe, expect, it } from "vitest"
import { brokenLimits, limitsOf, peaksOf } from "../playground/brokenLimits.ts"
import { random } from "../playground/random.ts"
import { emptyRecording } from "../playground/recording.ts"
import { defaults } from "../playground/settings.ts"

const recordingOf = (intervals: ReadonlyArray<readonly [from: number, to: number]>) => {
  const attempts = intervals.map(([from, to], task) => ({ task, from, to, outcome: "done" as const }))
  return { ...emptyRecording(), attempts, end: Math.max(...intervals.map(([, to]) => to)) }
}
const at = (...starts: ReadonlyArray<number>) => recordingOf(starts.map((start) => [start, start + 1]))

const none = { ...defaults, maxAtOnce: 0, maxPerSecond: 0 }

describe("brokenLimits", () => {
  it("finds when too many run at once", () => {
    const recording = recordingOf([
      [0, 10],
      [2, 5],
      [5, 7],
      [6, 9]
    ])
    expect(brokenLimits(recording, { ...none, maxAtOnce: 2 })).toEqual([{ kind: "at once", from: 6, to: 7 }])
    expect(brokenLimits(recording, { ...none, maxAtOnce: 1 })).toEqual([{ kind: "at once", from: 2, to: 9 }])
    expect(brokenLimits(recording, { ...none, maxAtOnce: 3 })).toEqual([])
  })

  it("counts what has not ended until now", () => {
    const recording = recordingOf([
      [0, Infinity],
      [1, Infinity]
    ])
    expect(brokenLimits(recording, { ...none, maxAtOnce: 1 }, 8)).toEqual([{ kind: "at once", from: 1, to: 8 }])
  })

  it("takes windows as half-open", () => {
    const settings = { ...none, windowLimit: 2, windowSeconds: 1 }
    expect(brokenLimits(at(0, 500, 1000), settings)).toEqual([])
    expect(brokenLimits(at(0, 500, 999), settings)).toEqual([{ kind: "window", from: 0, to: 999 }])
  })

  it("accepts inexactness up to the given tolerance", () => {
    const settings = { ...none, windowLimit: 2, windowSeconds: 1 }
    expect(brokenLimits(at(0, 500, 999), settings, 1000, 1)).toEqual([])
    expect(brokenLimits(at(0, 500, 998), settings, 1000, 1)).toHaveLength(1)
  })

  it("joins windows that overlap", () => {
    const settings = { ...none, windowLimit: 1, windowSeconds: 1 }
    expect(brokenLimits(at(0, 500, 900, 3000, 3100), settings)).toEqual([
      { kind: "window", from: 0, to: 900 },
      { kind: "window", from: 3000, to: 3100 }
    ])
  })

  it("takes a rate as the guarantee says", () => {
    expect(limitsOf({ ...none, maxPerSecond: 2.5, maxBurst: 1 })).toEqual([{ kind: "rate", limit: 2, per: 800 }])
    expect(limitsOf({ ...none, maxPerSecond: 0.5, maxBurst: 1 })).toEqual([{ kind: "rate", limit: 1, per: 2000 }])
    expect(limitsOf({ ...none, maxPerSecond: 5, maxBurst: 10 })).toEqual([{ kind: "rate", limit: 10, per: 2000 }])
  })

  it("agrees with a check of each window", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const starts = Array.from({ length: 12 }, (_, index) => Math.floor(random(seed, index) * 3000)).sort(
        (a, b) => a - b
      )
      const limit = 1 + (seed % 3)
      const broken = brokenLimits(at(...starts), { ...none, windowLimit: limit, windowSeconds: 1 })
      // A window that is broken begins at a start.
      const isBroken = (from: number) => starts.filter((start) => start >= from && start < from + 1000).length > limit
      const first = starts.find(isBroken)
      expect(broken[0]?.from, `seed ${seed}`).toBe(first)
      const covered = starts
        .filter(isBroken)
        .every((start) => broken.some(({ from, to }) => from <= start && start <= to))
      expect(covered, `seed ${seed}`).toBe(true)
    }
  })
})

it("peaksOf counts starts in the fullest window, and what runs at once", () => {
  expect(peaksOf(at(0, 400, 999, 999, 1000, 1399), 1000)).toEqual({ atOnce: 2, starts: 5 })
})
