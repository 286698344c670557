/**
 * The one check of all runs: where a recording breaks the limits that were asked for.
 *
 * At most so many attempts may run at once, and at most so many may start in any half-open window of a length. A rate is
 * such a window: with R = max(1, ⌊rate⌋, burst), at most R starts in any window of R / rate seconds.
 */
import type { Recording } from "./recording.ts"
import type { Settings } from "./settings.ts"

export interface Limit {
  readonly kind: "at once" | "rate" | "window"
  readonly limit: number
  /** The length of the window in milliseconds; 0 for what runs at once. */
  readonly per: number
}

export interface Broken {
  readonly kind: Limit["kind"]
  readonly from: number
  readonly to: number
}

export const limitsOf = ({
  maxAtOnce,
  maxBurst,
  maxPerSecond,
  windowLimit,
  windowSeconds
}: Settings): ReadonlyArray<Limit> => {
  const limits: Array<Limit> = []
  if (maxAtOnce > 0) limits.push({ kind: "at once", limit: maxAtOnce, per: 0 })
  if (maxPerSecond > 0) {
    const limit = Math.max(1, Math.floor(maxPerSecond), maxBurst)
    limits.push({ kind: "rate", limit, per: (limit * 1000) / maxPerSecond })
  }
  if (windowLimit > 0) limits.push({ kind: "window", limit: windowLimit, per: windowSeconds * 1000 })
  return limits
}

/** What changes how many run: at one instant, ends come before starts. */
export const changesOf = (
  intervals: ReadonlyArray<{ readonly from: number; readonly to: number }>
): ReadonlyArray<{ readonly at: number; readonly count: number }> => {
  const changes = intervals.flatMap(({ from, to }) =>
    to === Infinity
      ? [{ at: from, by: 1 }]
      : [
          { at: from, by: 1 },
          { at: to, by: -1 }
        ]
  )
  changes.sort((a, b) => a.at - b.at || a.by - b.by)
  let count = 0
  return changes.map(({ at, by }) => ({ at, count: (count += by) }))
}

type Growing = { -readonly [K in keyof Broken]: Broken[K] }

/** Adds an interval that begins no earlier than those before. Those that overlap or touch become one. */
const add = (broken: Array<Growing>, next: Growing): void => {
  const last = broken.at(-1)
  if (last !== undefined && next.from <= last.to) last.to = Math.max(last.to, next.to)
  else broken.push(next)
}

const tooManyAtOnce = ({ attempts }: Recording, limit: number, now: number): Array<Broken> => {
  const broken: Array<Growing> = []
  let from: number | undefined
  for (const { at, count } of changesOf(attempts)) {
    if (count > limit) from ??= at
    else if (from !== undefined) {
      if (at > from) add(broken, { kind: "at once", from, to: at })
      from = undefined
    }
  }
  if (from !== undefined) add(broken, { kind: "at once", from, to: now })
  return broken
}

const tooManyStarts = ({ attempts }: Recording, { kind, limit, per }: Limit, tolerance: number): Array<Broken> => {
  const broken: Array<Growing> = []
  for (let i = limit; i < attempts.length; i++) {
    const from = attempts[i - limit]!.from
    const to = attempts[i]!.from
    if (to - from < per - tolerance) add(broken, { kind, from, to })
  }
  return broken
}

/**
 * `now` ends what has not ended. In real time, a recording is inexact by the time from the decision to start a task to its
 * first line: `tolerance` is how much of that is accepted. Virtual time needs none.
 */
export const brokenLimits = (
  recording: Recording,
  settings: Settings,
  now = recording.end,
  tolerance = 0
): ReadonlyArray<Broken> =>
  limitsOf(settings).flatMap((limit) =>
    limit.per === 0 ? tooManyAtOnce(recording, limit.limit, now) : tooManyStarts(recording, limit, tolerance)
  )

/** The most that ran at once, and the most that started in any window of a length. */
export const peaksOf = ({ attempts }: Recording, per: number): { readonly atOnce: number; readonly starts: number } => {
  let first = 0
  let starts = 0
  for (const [index, { from }] of attempts.entries()) {
    while (attempts[first]!.from <= from - per) first++
    starts = Math.max(starts, index - first + 1)
  }
  return { atOnce: changesOf(attempts).reduce((most, { count }) => Math.max(most, count), 0), starts }
}
