/**
 * What only limiters have that several calls share: waiters that need other limiters as well, lanes, priorities, waiters
 * that lack permits, the items of one call that wait each at its own limiters, and what else depends on a limiter. The limiter of a single call has one
 * waiter at most, and does without.
 */
import { ItemRequests } from "./itemRequests.ts"
import type { ItemCall, ItemMeters } from "./itemRequests.ts"
import type { Limiter } from "./limiter.ts"
import { follow, unfollow } from "./followers.ts"
import { notifyIdle } from "./idleness.ts"
import { RankedQueue } from "./rankedQueue.ts"
import { setQueueOf } from "./setQueue.ts"
import type { SetQueue } from "./setQueue.ts"
import { Shortage } from "./shortage.ts"
import type { Follower, Waiter } from "./types.ts"
import { refuseImpossible } from "./waiters.ts"

export interface Sharing {
  /** The queue of the waiters that need these limiters, each with so many permits. */
  readonly setQueue: (limiters: ReadonlyArray<Limiter>, permits: number) => SetQueue
  readonly rankedQueue: () => RankedQueue
  /** See `Shortage`. */
  readonly admitSmaller: (limiter: Limiter, first: Waiter) => boolean
  /** The requests of a call whose items have meters of their own. */
  readonly itemRequests: (call: ItemCall, meters: ItemMeters) => ItemRequests
  /** Notifies the call when the capacity changes, and when the limiter begins to drain. */
  readonly follow: (limiter: Limiter, follower: Follower) => void
  readonly unfollow: (limiter: Limiter, follower: Follower) => void
  /** To be called when the limiter may have become idle, and has listeners. */
  readonly notifyIdle: (limiter: Limiter) => void
  /** Refuses the waiters that can never be admitted any more. */
  readonly refuseImpossible: (limiter: Limiter) => void
}

export const sharing: Sharing = {
  setQueue: setQueueOf,
  rankedQueue: () => new RankedQueue(),
  admitSmaller: (limiter, first) => (limiter.shortage ??= new Shortage(limiter)).admitSmaller(first),
  itemRequests: (call, meters) => new ItemRequests(call, meters, sharing),
  follow,
  unfollow,
  notifyIdle,
  refuseImpossible
}
