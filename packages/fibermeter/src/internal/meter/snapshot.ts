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
  const shared = limiters.filter((limiter) => limiter instanceof SharedLimiter)
  const free = limiters.reduce((least, limiter) => Math.min(least, limiter.capacity - limiter.permitsInUse), Infinity)
  return {
    running: most((limiter) => limiter.running),
    waiting: most((limiter) => limiter.waiting),
    lanes: combined(limiters.map(lanesOf), Math.max),
    started: most((limiter) => limiter.started),
    limits: limitsOf(
      capacityOf(limiters),
      shared.map(({ limits }) => limits)
    ),
    paused: limiters.some((limiter) => limiter.isPaused(host)),
    draining: limiters.some((limiter) => limiter.closing !== undefined),
    free: Math.max(0, free),
    room: Object.fromEntries(
      combined(
        shared.map((limiter) => Object.entries(limiter.roomByWindow(host))),
        Math.min
      )
    ),
    opensIn: most((limiter) => opensIn(limiter, host))
  }
}

/** The strictest limits of several limiters. */
const limitsOf = (maxAtOnce: number, all: ReadonlyArray<CurrentLimits>): CurrentLimits => {
  const windows: Record<string, CurrentLimits["windows"][string]> = {}
  for (const [name, window] of all.flatMap((limits) => Object.entries(limits.windows))) {
    const known = windows[name]
    if (known === undefined || window.limit < known.limit) windows[name] = window
  }
  const { maxBurst, maxPerSecond } = all.reduce(
    (least, limits) => (limits.maxPerSecond < least.maxPerSecond ? limits : least),
    { maxBurst: 1, maxPerSecond: Infinity }
  )
  return { maxAtOnce, maxPerSecond, maxBurst, windows }
}

/** The numbers of each key, combined into one. */
const combined = <K>(
  all: ReadonlyArray<Iterable<readonly [K, number]>>,
  combine: (one: number, other: number) => number
): ReadonlyMap<K, number> => {
  const numbers = new Map<K, number>()
  for (const [key, number] of all.flatMap((each) => Array.from(each)))
    numbers.set(key, combine(number, numbers.get(key) ?? number))
  return numbers
}
