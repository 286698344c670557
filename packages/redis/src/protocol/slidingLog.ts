/**
 * A sliding window over slots that are granted ahead of time: at most `limit` spent by the tasks that *start* in any
 * half-open window of length `per`.
 *
 * The store knows of a task that it starts no earlier than its slot a, and no later than a + late, where `late` is the slack
 * ε until the session reports what it really was. The log has an entry for each run of slots of equal cost at equal
 * distances. Everything before the mark (`head`, `off`) has been passed: a slot may be granted at instant a only if each
 * slot that it lets the mark pass has a' + late' + per ≤ a. What is not passed is in `used`.
 *
 * Why every window holds: let i be the last in the log of the tasks that start in a window. Another one, k, started in the
 * same window is before i in the log. Had k been passed when i was granted, then x(k) + per ≤ a(k) + late(k) + per ≤
 * a(i) ≤ x(i), and no half-open window of that length holds both. So k was in `used`, which was at most the limit with i
 * in it. The proof needs that instants never fall in the order of the log, and nothing about the order of the starts.
 *
 * Slots that were not used leave the front of their run, whichever they were: the r-th that was used then counts as one
 * that comes no earlier than it did. A positive correction stays until the last slot of its entry has been passed, a
 * negative one only until the first has; so at no time less counts than has been spent.
 *
 * A log that has `entriesAtMost` entries puts what is granted within a 1,024th of the window into one entry, at the time of
 * the latest of it. That entry counts for longer, never for less.
 */
import type { Run } from "./message.ts"
import { slotAt } from "./message.ts"

export const entriesAtMost = 1_024

export interface Entry {
  base: number
  from: number
  interval: number
  /** Slots. */
  count: number
  /** Of each slot. */
  cost: number
  late: number
  plus: number
  minus: number
  /** Several runs share it, so reports on one of them say nothing about it. */
  merged: boolean
}

export interface Log {
  /** The entry with the first slot that has not been passed, and how many of its slots have been. */
  head: number
  off: number
  /** The number of the next entry. */
  tail: number
  used: number
  /** The instant of the first slot of the last entry. */
  began: number
  readonly entries: Map<number, Entry>
}

export const makeLog = (): Log => ({ head: 1, off: 0, tail: 1, used: 0, began: 0, entries: new Map() })

/** Drops the entries that no window reaches any more that ends after `now`. */
export const expire = (log: Log, per: number, now: number): void => {
  while (log.head < log.tail) {
    const entry = log.entries.get(log.head)!
    if (entry.count > 0 && slotAt(entry, entry.count - 1) + entry.late + per > now) return
    log.used -= (entry.count - log.off) * entry.cost + entry.plus + entry.minus
    log.entries.delete(log.head)
    log.head++
    log.off = 0
  }
  // Costs may be fractions, whose sums come out a little off.
  log.used = 0
}

/** Where the mark would be, and the earliest instant that allows that. */
export interface Passage {
  head: number
  off: number
  used: number
  /** The instant if no task had started behind its slot. */
  nominal: number
  instant: number
  /** The run of the last slot that is passed, from that slot on, by as much later as it has to be passed. */
  run: Run | undefined
}

/** What has to be passed for a slot of that cost, which is at most the limit. */
export const passageFor = (log: Log, limit: number, per: number, cost: number): Passage => {
  let { head, off, used } = log
  let nominal = -Infinity
  let instant = -Infinity
  let run: Run | undefined
  while (used + cost > limit && head < log.tail) {
    const entry = log.entries.get(head)!
    if (off < entry.count) {
      run = { base: entry.base + per + entry.late, from: entry.from + off, interval: entry.interval }
      const leaves = slotAt(entry, off) + per
      nominal = Math.max(nominal, leaves)
      instant = Math.max(instant, leaves + entry.late)
      used -= entry.cost + (off === 0 ? entry.minus : 0)
      off++
    } else {
      used -= entry.plus + (off === 0 ? entry.minus : 0)
      head++
      off = 0
    }
  }
  // Costs may be fractions, whose sums come out a little off: then the last slot that has been passed must not leave a rest.
  if (head === log.tail) {
    used = 0
  } else if (off > 0 && head === log.tail - 1) {
    const last = log.entries.get(head)!
    if (off === last.count && last.plus === 0) used = 0
  }
  return { head, off, used, nominal, instant, run }
}

/** Moves the mark. */
export const pass = (log: Log, passage: Passage): void => {
  for (; log.head < passage.head; log.head++) log.entries.delete(log.head)
  log.off = passage.off
  log.used = passage.used
  if (log.off > 0) log.entries.get(log.head)!.minus = 0
}

/** Notes the first slot of a run, and returns the number of its entry. */
export const begin = (log: Log, per: number, run: Run, cost: number, slack: number): number => {
  const at = slotAt(run, 0)
  log.used += cost
  if (log.tail - log.head >= entriesAtMost && at - log.began < per / entriesAtMost) {
    const id = log.tail - 1
    const last = log.entries.get(id)!
    last.cost = last.count * last.cost + last.plus + last.minus + cost
    last.base = last.count > 0 ? Math.max(slotAt(last, last.count - 1), at) : at
    last.from = 0
    last.interval = 0
    last.count = 1
    last.late = Math.max(last.late, slack)
    last.plus = 0
    last.minus = 0
    last.merged = true
    return id
  }
  log.began = at
  const { base, from, interval } = run
  log.entries.set(log.tail, { base, from, interval, count: 1, cost, late: slack, plus: 0, minus: 0, merged: false })
  return log.tail++
}

/** Notes another slot of the run whose entry that is, at that instant. */
export const extend = (log: Log, id: number, cost: number, at: number): void => {
  const entry = log.entries.get(id)!
  log.used += cost
  if (entry.merged) {
    entry.cost += cost
    entry.base = Math.max(entry.base, at)
  } else {
    entry.count++
  }
}

/** The tasks of that run have started no more than `late` behind their slots, and `unused` slots have none. */
export const settle = (log: Log, id: number, late: number, unused: number): void => {
  const entry = log.entries.get(id)
  if (entry === undefined || entry.merged) return
  const without = Math.min(unused, entry.count)
  const passed = id === log.head ? log.off : 0
  entry.late = late
  entry.from += without
  entry.count -= without
  log.used -= entry.cost * Math.max(0, without - passed)
  if (passed > 0) log.off = Math.max(0, passed - without)
}

/** Takes back slots that no session has learned of. */
export const revoke = (log: Log, id: number, count: number): void => {
  const entry = log.entries.get(id)
  if (entry !== undefined) settle(log, id, entry.late, count)
}

/** A task of that entry cost so much more, or less. */
export const correct = (log: Log, id: number, by: number): void => {
  const entry = log.entries.get(id)
  if (entry === undefined) return
  if (by > 0) {
    entry.plus += by
    log.used += by
  } else if (id !== log.head || log.off === 0) {
    const change = Math.max(by, -(entry.count * entry.cost + entry.plus + entry.minus))
    entry.minus += change
    log.used += change
  }
}
