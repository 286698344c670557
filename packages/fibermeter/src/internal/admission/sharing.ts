/**
 * What only limiters have that several calls share: waiters that need other limiters as well, lanes, priorities, and waiters
 * that lack permits. The limiter of a single call has one waiter at most, and does without.
 */
import type { Limiter } from "./limiter.ts"
import { RankedQueue } from "./rankedQueue.ts"
import { setQueueOf } from "./setQueue.ts"
import type { SetQueue } from "./setQueue.ts"
import { Shortage } from "./shortage.ts"
import type { Waiter } from "./types.ts"

export interface Sharing {
  /** The queue of the waiters that need these limiters, each with so many permits. */
  readonly setQueue: (limiters: ReadonlyArray<Limiter>, permits: number) => SetQueue
  readonly rankedQueue: () => RankedQueue
  /** See `Shortage`. */
  readonly admitSmaller: (limiter: Limiter, first: Waiter) => boolean
}

export const sharing: Sharing = {
  setQueue: setQueueOf,
  rankedQueue: () => new RankedQueue(),
  admitSmaller: (limiter, first) => (limiter.shortage ??= new Shortage(limiter)).admitSmaller(first)
}
