/**
 * What the drawing needs of a recording, prepared once, so that a frame looks things up and computes nothing anew.
 */
import { brokenLimits, changesOf, limitsOf } from "./brokenLimits.ts"
import type { Broken, Limit } from "./brokenLimits.ts"
import type { Attempt, Outcome, Recording } from "./recording.ts"
import type { Settings } from "./settings.ts"

/** A step function of time. */
export interface Steps {
  readonly at: ReadonlyArray<number>
  readonly value: ReadonlyArray<number>
  readonly most: number
}

export interface Series {
  readonly recording: Recording
  readonly settings: Settings
  /** The attempts of each task, in order. */
  readonly byTask: ReadonlyArray<ReadonlyArray<Attempt>>
  readonly running: Steps
  readonly starts: Steps
  /** The window in which starts are counted, in milliseconds, and its limit, if there is one. */
  readonly window: { readonly per: number; readonly limit: number | undefined }
  readonly broken: ReadonlyArray<Broken>
  readonly end: number
  readonly startTimes: ReadonlyArray<number>
  readonly readTimes: ReadonlyArray<number>
  /** When attempts ended, by outcome, sorted. */
  readonly endTimes: Readonly<Record<Exclude<Outcome, "running">, ReadonlyArray<number>>>
}

const stepsOf = (changes: ReadonlyArray<{ readonly at: number; readonly count: number }>): Steps => {
  const at: Array<number> = []
  const value: Array<number> = []
  let most = 0
  for (const change of changes) {
    // What begins and ends at one instant does not show.
    if (at.at(-1) === change.at) value[value.length - 1] = change.count
    else {
      at.push(change.at)
      value.push(change.count)
    }
  }
  for (const each of value) most = Math.max(most, each)
  return { at, value, most }
}

/** The last index whose time is at most `time`, or -1. */
export const indexAt = (times: ReadonlyArray<number>, time: number): number => {
  let low = 0
  let high = times.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (times[middle]! <= time) low = middle + 1
    else high = middle
  }
  return low - 1
}

export const valueAt = ({ at, value }: Steps, time: number): number => value[indexAt(at, time)] ?? 0

const windowOf = (settings: Settings): Series["window"] => {
  const limits: ReadonlyArray<Limit> = limitsOf(settings)
  const limit = limits.find(({ kind }) => kind === "rate") ?? limits.find(({ kind }) => kind === "window")
  return limit === undefined ? { per: 1000, limit: undefined } : { per: limit.per, limit: limit.limit }
}

/** `now` is the end of a recording that still grows. */
export const seriesOf = (recording: Recording, settings: Settings, now = recording.end, tolerance = 0): Series => {
  const byTask: Array<Array<Attempt>> = recording.waitsFrom.map(() => [])
  for (const attempt of recording.attempts) (byTask[attempt.task] ??= []).push(attempt)
  const window = windowOf(settings)
  // A window is half-open: a start leaves it at the instant at which it ends.
  const inWindow = recording.attempts.map(({ from }) => ({ from, to: from + window.per }))
  const endsAs = (outcome: Outcome): ReadonlyArray<number> =>
    recording.attempts
      .filter((attempt) => attempt.outcome === outcome)
      .map(({ to }) => to)
      .sort((a, b) => a - b)
  return {
    startTimes: recording.attempts.map(({ from }) => from),
    readTimes: recording.reads.map(({ at }) => at),
    endTimes: {
      done: endsAs("done"),
      failed: endsAs("failed"),
      refused: endsAs("refused"),
      cancelled: endsAs("cancelled")
    },
    recording,
    settings,
    byTask,
    running: stepsOf(changesOf(recording.attempts)),
    starts: stepsOf(changesOf(inWindow)),
    window,
    broken: brokenLimits(recording, settings, now, tolerance).toSorted((a, b) => a.from - b.from),
    end: now
  }
}

export type Counts = Readonly<Record<Outcome, number>>

/** What has happened until an instant. */
export const countsAt = ({ endTimes, startTimes }: Series, now: number): Counts => {
  const until = (times: ReadonlyArray<number>): number => indexAt(times, now) + 1
  const done = until(endTimes.done)
  const failed = until(endTimes.failed)
  const refused = until(endTimes.refused)
  const cancelled = until(endTimes.cancelled)
  return { done, failed, refused, cancelled, running: until(startTimes) - done - failed - refused - cancelled }
}
