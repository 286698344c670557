/**
 * A sliding window over slots that are granted ahead of time: at most `limit` spent by the tasks that *start* in any
 * half-open window of length `per`.
 *
 * A task starts no earlier than its slot a, and no later than a + late, where `late` is the slack ε until the session reports
 * the actual bound. The log has an entry for each run of slots of equal cost at equal distances. Everything before the mark
 * (`head`, `off`) has been passed: a slot may be granted at instant a only if each slot that the mark then passes has
 * a' + late' + per ≤ a. `used` is the cost of what has not been passed.
 *
 * Why every window holds: let i be the last in the log of the tasks that start in a window, and k another of them, which is
 * before i in the log. Had k been passed when i was granted, then x(k) + per ≤ a(k) + late(k) + per ≤ a(i) ≤ x(i), and no
 * half-open window of that length holds both. So k was in `used`, which was at most the limit with i in it. The proof needs
 * that instants never fall in the order of the log, and nothing about the order of the starts.
 *
 * Unused slots leave the front of their run, whichever they were: the r-th used slot is then represented by a slot no earlier
 * than itself. A positive correction stays until the last slot of its entry has been passed, a negative one only until the
 * first has. So at no time does less count than has been spent.
 *
 * A log with `entriesAtMost` entries merges what is granted within a 1,024th of the window into one entry, at the latest of
 * these instants. That entry counts for longer, never for less.
 */
import type { Run } from "./message.ts"
import { slotAt } from "./message.ts"

export const entriesAtMost = 1_024

export interface Entry {
  base: number
  from: number
  interval: number
  /** The number of slots. */
  count: number
  /** The cost of each slot. */
  cost: number
  late: number
  plus: number
  minus: number
  /** Several runs share it, so reports on one of them do not apply to it. */
  merged: boolean
}

export interface Log {
  /** The entry with the first slot that has not been passed, and how many of its slots have been passed. */
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

/** Drops the entries that no window ending after `now` reaches. */
export const expire = (log: Log, per: number, now: number): void => {
  while (log.head < log.tail) {
    const entry = log.entries.get(log.head)!
    if (entry.count > 0 && slotAt(entry, entry.count - 1) + entry.late + per > now) return
    log.used -= (entry.count - log.off) * entry.cost + entry.plus + entry.minus
    log.entries.delete(log.head)
    log.head++
    log.off = 0
  }
  // Sums of fractional costs have rounding errors.
  log.used = 0
}

/** A new place of the mark, and the earliest instant that allows it. */
export interface Passage {
  head: number
  off: number
  used: number
  /** The instant if no task had started later than its slot. */
  nominal: number
  instant: number
  /** The run of the last slot that is passed, from that slot on, shifted to when it may be passed. */
  run: Run | undefined
}

/** What has to be passed to grant a slot of that cost, which is at most the limit. */
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
  // Sums of fractional costs have rounding errors: after the last slot has been passed, none must remain.
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

/** Adds the first slot of a run, and returns the number of its entry. */
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

/** Adds another slot, at that instant, to the run of that entry. */
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

/** Records a report: the tasks of that run have started at most `late` after their slots, and `unused` slots have none. */
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

/** Takes back slots that no session has fetched. */
export const revoke = (log: Log, id: number, count: number): void => {
  const entry = log.entries.get(id)
  if (entry !== undefined) settle(log, id, entry.late, count)
}

/** Corrects the cost of a task of that entry. */
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
