/**
 * Overload protection: limits of a meter on how many calls may wait, and for how long. They concern the calls that ask for
 * one start (`Call`); the items of a verb, and retries, wait as long as it takes.
 *
 * A call that would have to wait is checked first. It is refused at once if it could not start in time: by the rate and the
 * windows of its meters, and the calls that wait before it. It is also refused if too many calls wait already, unless one of
 * them is refused in its place: the oldest of the lowest priority. All or nothing: none is refused in its place unless all
 * of its meters then accept the call.
 *
 * Each check takes constant time, apart from the logarithm of the number of different priorities.
 */
import { Heap } from "../data/heap.ts"
import type { HeapEntry } from "../data/heap.ts"
import { WaitList } from "../data/waitList.ts"
import type { WaitListEntry } from "../data/waitList.ts"
import { after } from "../runtime/host.ts"
import type { Limiter } from "./limiter.ts"
import type { Overloaded, Refusal } from "./refusal.ts"
import type { Waiter } from "./types.ts"
import { opensIn } from "./waiters.ts"

/** Limits on waiting as users give them, with durations in milliseconds. */
export interface WaitLimits {
  readonly maxWaiting?: number | undefined
  readonly waitTimeout?: number | undefined
  readonly overflow?: "refuse" | "dropOldest" | undefined
}

/** A request for a single start that can be refused because of overload. */
export interface Call extends Waiter {
  /** In milliseconds; the limits of its meters apply as well. */
  readonly waitTimeout: number | undefined
}

interface Entry extends WaitListEntry {
  readonly call: Call
  readonly level: Level
}

/** The waiting calls of one priority, oldest first. */
interface Level extends HeapEntry {
  readonly priority: number
  readonly calls: WaitList<Entry>
}

/** The limits on waiting of one limiter. */
export class WaitLimit {
  maxWaiting = Infinity
  /** In milliseconds. */
  waitTimeout = Infinity
  private dropsOldest = false
  /** The calls that wait and may be refused in place of others. Only with `dropOldest`. */
  private readonly entries = new Map<Call, Entry>()
  private readonly levels = new Map<number, Level>()
  private readonly byPriority = new Heap<Level>((a, b) => a.priority < b.priority)

  /** Changes the limits that are given. `waiters` are those of the limiter. They hold for calls that come from now on. */
  change({ maxWaiting, overflow, waitTimeout }: WaitLimits, waiters: ReadonlyArray<Waiter>): void {
    this.maxWaiting = maxWaiting ?? this.maxWaiting
    this.waitTimeout = waitTimeout ?? this.waitTimeout
    if (overflow === undefined || this.dropsOldest === (overflow === "dropOldest")) return
    this.dropsOldest = !this.dropsOldest
    for (const waiter of waiters) {
      if (!isSheddable(waiter)) continue
      if (this.dropsOldest) this.add(waiter)
      else this.remove(waiter)
    }
  }

  add(call: Call): void {
    if (!this.dropsOldest) return
    const { priority } = call
    let level = this.levels.get(priority)
    if (level === undefined) {
      level = { priority, calls: new WaitList(), index: 0 }
      this.levels.set(priority, level)
      this.byPriority.add(level)
    }
    const entry: Entry = { call, level, position: 0 }
    this.entries.set(call, entry)
    level.calls.add(entry)
  }

  remove(call: Call): void {
    const entry = this.entries.get(call)
    if (entry === undefined) return
    const { level } = entry
    this.entries.delete(call)
    level.calls.remove(entry)
    if (level.calls.size > 0) return
    this.levels.delete(level.priority)
    this.byPriority.remove(level)
  }

  /** The call that is refused in place of one of that priority, if there is one. */
  victim(priority: number): Call | undefined {
    const level = this.byPriority.first
    return level === undefined || level.priority > priority ? undefined : level.calls.first!.call
  }
}

/** The timers of the calls that wait for a limited time. A map, so that other calls need no property for it. */
const timers = new Map<Call, () => void>()

const isSheddable = (waiter: Waiter): waiter is Call => waiter.isSheddable

/**
 * What becomes of a call that would have to wait: how it is refused; or `true` if it has to ask again, since there may be room
 * now; or `false` if it may wait.
 */
export const beforeWaiting = (call: Call): Refusal | boolean => {
  const { limiters, priority } = call
  const timeout = timeoutOf(call)
  if (timeout < Infinity) {
    const startsIn = startOf(call)
    if (timeout === 0 || startsIn > timeout) return refusal("wait-timeout", retryIn(call, startsIn - timeout))
  }
  if (!isAnyFull(limiters)) return false
  // Those whose timer is due in this very instant start first.
  for (const limiter of limiters) limiter.wake()
  const full = limiters.filter(isFull)
  if (full.some((limiter) => limiter.waitLimit!.victim(priority) === undefined)) {
    return refusal("queue-full", Math.max(...full.map((limiter) => nextLeaves(limiter, call))))
  }
  for (const limiter of full) {
    // It may have been the same call at several limiters.
    if (isFull(limiter)) limiter.waitLimit!.victim(priority)!.refuse(refusal("queue-full", nextLeaves(limiter, call)))
  }
  return true
}

/** The call waits from now on. */
export const waits = (call: Call): void => {
  const { limiters } = call
  for (let i = 0; i < limiters.length; i++) limiters[i]!.waitLimit?.add(call)
  const timeout = timeoutOf(call)
  if (timeout === Infinity) return
  timers.set(
    call,
    after(call.host, timeout, () => {
      // A start that is due in this very instant comes in time.
      for (const limiter of call.limiters) limiter.wake()
      if (call.isWaiting) call.refuse(refusal("wait-timeout", retryIn(call, startOf(call) - timeout)))
    })
  )
}

/** The call waits no longer. */
export const waitsNoLonger = (call: Call): void => {
  const { limiters } = call
  for (let i = 0; i < limiters.length; i++) limiters[i]!.waitLimit?.remove(call)
  // Most programs limit no wait, and even a lookup in an empty map takes time.
  if (timers.size === 0) return
  const cancelTimer = timers.get(call)
  if (cancelTimer === undefined) return
  timers.delete(call)
  cancelTimer()
}

// Loops by index: these run for each call that waits, and most meters have no limits on waiting.

const timeoutOf = ({ limiters, waitTimeout = Infinity }: Call): number => {
  let least = waitTimeout
  for (let i = 0; i < limiters.length; i++) least = Math.min(least, limiters[i]!.waitLimit?.waitTimeout ?? Infinity)
  return least
}

const isAnyFull = (limiters: ReadonlyArray<Limiter>): boolean => {
  for (let i = 0; i < limiters.length; i++) if (isFull(limiters[i]!)) return true
  return false
}

const isFull = ({ callsWaiting, waitLimit }: Limiter): boolean =>
  waitLimit !== undefined && callsWaiting >= waitLimit.maxWaiting

/**
 * In how many milliseconds the call can start at the earliest, as far as rates and windows tell. Calls that wait in front of
 * it are taken into account where the order is that of arrival.
 */
const startOf = (call: Call): number => {
  const isPlain = call.priority === 0 && call.lane === undefined
  return (
    Math.max(
      ...call.limiters.map((limiter) =>
        limiter.startsIn(call, isPlain && !limiter.queue.isRanked ? limiter.queue.size : 0)
      )
    ) / 1_000_000
  )
}

/**
 * In how many milliseconds a waiter leaves the queue, or if there is none, the call could start itself, by all of its limiters;
 * `Infinity` if that depends on the end of a task, or if the first waiter waits for another limiter.
 */
const nextLeaves = (limiter: Limiter, call: Call): number => {
  const first = limiter.waiting === 0 ? call : (limiter.queue.first ?? limiter.sets?.first?.first)
  if (first === undefined || needsEnd(first)) return Infinity
  const { host, limiters } = first
  return Math.max(...limiters.map((each) => Math.max(opensIn(each, host), each.startsIn(first, 0)))) / 1_000_000
}

/** Whether the start of a waiter depends on the end of a task. */
const needsEnd = ({ limiters, permits }: Waiter): boolean =>
  limiters.some(({ capacity, permitsInUse }) => permitsInUse + permits > capacity)

/** `millis`, unless the start of the call also depends on the end of a task. */
const retryIn = (call: Call, millis: number): number => (needsEnd(call) ? Infinity : Math.max(0, millis))

/** `retryAfter` is rounded up to whole milliseconds, which all timers keep; `Infinity` means that it is unknown. */
const refusal = (reason: Overloaded["reason"], retryAfter: number): Overloaded => ({
  _tag: "Overloaded",
  reason,
  retryAfter: retryAfter === Infinity ? undefined : Math.ceil(retryAfter)
})
