/**
 * The state of limiters, in numbers.
 */
import { capacityOf } from "../admission/limiter.ts"
import type { Limiter } from "../admission/limiter.ts"
import { lanesOf, opensIn } from "../admission/waiters.ts"
import type { Host } from "../runtime/host.ts"
import { SharedLimiter } from "../limits/sharedLimiter.ts"
import type { CurrentLimits } from "../limits/sharedLimiter.ts"

export interface Snapshot {
  readonly running: number
  readonly waiting: number
  /** How many of those that wait there are in each lane. */
  readonly lanes: ReadonlyMap<unknown, number>
  readonly started: number
  readonly limits: CurrentLimits
  readonly paused: boolean
  readonly draining: boolean
  readonly free: number
  readonly room: Readonly<Record<string, number>>
  /** Nanoseconds until a task of cost 1 can start, if no other waits before it. */
  readonly opensIn: number
}

/** Of several limiters, the busiest counts. */
export const snapshotOf = (limiters: ReadonlyArray<Limiter>, host: Host): Snapshot => {
  const most = (count: (limiter: Limiter) => number): number =>
    limiters.reduce((max, limiter) => Math.max(max, count(limiter)), 0)
  const free = limiters.reduce((least, limiter) => Math.min(least, limiter.capacity - limiter.permitsInUse), Infinity)
  return {
    running: most((limiter) => limiter.running),
    waiting: most((limiter) => limiter.waiting),
    lanes: mostOf(limiters.map(lanesOf)),
    started: most((limiter) => limiter.started),
    limits: limitsOf(limiters),
    paused: limiters.some((limiter) => limiter.isPaused(host)),
    draining: limiters.some((limiter) => limiter.closing !== undefined),
    free: Math.max(0, free),
    room: leastOf(limiters.map((limiter) => (limiter instanceof SharedLimiter ? limiter.roomByWindow(host) : {}))),
    opensIn: most((limiter) => opensIn(limiter, host))
  }
}

/** The strictest limits of several limiters. */
const limitsOf = (limiters: ReadonlyArray<Limiter>): CurrentLimits => {
  const all = limiters.filter((limiter) => limiter instanceof SharedLimiter).map(({ limits }) => limits)
  const windows: Record<string, CurrentLimits["windows"][string]> = {}
  for (const [name, window] of all.flatMap((limits) => Object.entries(limits.windows))) {
    const known = windows[name]
    if (known === undefined || window.limit < known.limit) windows[name] = window
  }
  const { maxBurst, maxPerSecond } = all.reduce(
    (least, limits) => (limits.maxPerSecond < least.maxPerSecond ? limits : least),
    { maxBurst: 1, maxPerSecond: Infinity }
  )
  return { maxAtOnce: capacityOf(limiters), maxPerSecond, maxBurst, windows }
}

/** The least of each name. */
const leastOf = (rooms: ReadonlyArray<Readonly<Record<string, number>>>): Readonly<Record<string, number>> => {
  const least = new Map<string, number>()
  for (const [name, room] of rooms.flatMap(Object.entries<number>)) {
    least.set(name, Math.min(room, least.get(name) ?? Infinity))
  }
  return Object.fromEntries(least)
}

/** The most of each lane. */
const mostOf = (lanes: ReadonlyArray<ReadonlyMap<unknown, number>>): ReadonlyMap<unknown, number> => {
  const most = new Map<unknown, number>()
  for (const [lane, waiting] of lanes.flatMap((each) => Array.from(each))) {
    most.set(lane, Math.max(waiting, most.get(lane) ?? 0))
  }
  return most
}
