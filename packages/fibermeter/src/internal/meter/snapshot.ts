/**
 * How limiters stand, in numbers.
 */
import type { Limiter } from "../admission/limiter.ts"
import type { Host } from "../runtime/host.ts"
import { SharedLimiter } from "../limits/sharedLimiter.ts"

export interface Snapshot {
  readonly running: number
  readonly waiting: number
  readonly started: number
  readonly free: number
  readonly room: Readonly<Record<string, number>>
  /** Nanoseconds until a task of cost 1 may start, if nobody waits before it. */
  readonly opensIn: number
}

/** Of several limiters, the busiest counts. */
export const snapshotOf = (limiters: ReadonlyArray<Limiter>, host: Host): Snapshot => {
  const most = (count: (limiter: Limiter) => number): number =>
    limiters.reduce((max, limiter) => Math.max(max, count(limiter)), 0)
  const free = limiters.reduce((least, limiter) => Math.min(least, limiter.capacity - limiter.running), Infinity)
  return {
    running: most((limiter) => limiter.running),
    waiting: most((limiter) => limiter.waiting),
    started: most((limiter) => limiter.started),
    free: Math.max(0, free),
    room: leastOf(limiters.map((limiter) => (limiter instanceof SharedLimiter ? limiter.roomByWindow(host) : {}))),
    opensIn: most((limiter) => limiter.opensIn(host))
  }
}

/** The least of each name. */
const leastOf = (rooms: ReadonlyArray<Readonly<Record<string, number>>>): Readonly<Record<string, number>> => {
  const least = new Map<string, number>()
  for (const [name, room] of rooms.flatMap(Object.entries<number>)) {
    least.set(name, Math.min(room, least.get(name) ?? Infinity))
  }
  return Object.fromEntries(least)
}
