/**
 * The calls that are notified when the capacity of a limiter changes, and when it begins to drain. Only limiters that calls
 * share have them: those of a call itself do not change.
 */
import type { Limiter } from "./limiter.ts"
import type { Refusal } from "./refusal.ts"
import type { Follower } from "./types.ts"

export const follow = (limiter: Limiter, follower: Follower): void => {
  limiter.followers ??= new Set()
  limiter.followers.add(follower)
}

export const unfollow = (limiter: Limiter, follower: Follower): void => {
  limiter.followers?.delete(follower)
}

/** To be called when the capacity has changed, after the waiters have been checked. */
export const notifyFollowers = (limiter: Limiter): void => {
  // A call that is notified may end, and others may begin.
  for (const follower of Array.from(limiter.followers ?? [])) {
    const { requests } = follower.host
    if (requests?.isHere(follower) === false) requests.send(follower, { wake: () => follower.limiterChanged() })
    else follower.limiterChanged()
  }
}

/** Accepts no more calls: they are refused. Waiters, and the tasks of calls that have begun, are admitted as before. */
export const stopAccepting = (limiter: Limiter, refusal: Refusal): void => {
  if (limiter.closing !== undefined) return
  limiter.closing = refusal
  notifyFollowers(limiter)
}
