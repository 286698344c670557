/**
 * Operations on all waiters of a limiter that calls share, including waiters that also need other limiters.
 */
import type { Host } from "../runtime/host.ts"
import type { Limiter } from "./limiter.ts"
import type { Refusal } from "./refusal.ts"
import type { Waiter } from "./types.ts"

/** All waiters that need the limiter: first those that need no other one. */
export const waitersOf = ({ queue, sets }: Limiter): ReadonlyArray<Waiter> => [
  ...queue.members,
  ...(sets?.members ?? [])
]

/** How many of the waiters that need the limiter there are in each lane, without those that have none. */
export const lanesOf = ({ queue, sets }: Limiter): ReadonlyMap<unknown, number> => {
  const counts = new Map(queue.lanes)
  for (const [lane, waiting] of sets?.lanes ?? []) counts.set(lane, waiting + (counts.get(lane) ?? 0))
  return counts
}

/** The most permits that a waiter needs; 1 if there is none. */
export const mostPermitsOf = ({ queue, sets }: Limiter): number => Math.max(queue.mostPermits, sets?.mostPermits ?? 1)

/** In how many nanoseconds a task of cost 1 could start if nothing waited; `Infinity` if that depends on an event. */
export const opensIn = (limiter: Limiter, host: Host): number => {
  limiter.updateTime(host)
  const { pausedUntil, time } = limiter
  return Math.max(0, pausedUntil - time.now, limiter.nextOpening() - time.now)
}

/** The limiter will never open again: refuses all requests that need it, now and later. */
export const fail = (limiter: Limiter, reason: Refusal): void => {
  limiter.failure = reason
  // During `admitWaiters`, a task is about to start: it comes first.
  if (!limiter.isAdmitting) refuseImpossible(limiter)
}

/** Refuses the waiters that can never be admitted any more. */
export const refuseImpossible = (limiter: Limiter): void => {
  for (const waiter of waitersOf(limiter)) {
    // It is checked when it is first: its signal can be read only in its own request.
    if (waiter.host.requests?.isHere(waiter) === false) continue
    const objection = waiter.objection()
    // A refusal may admit waiters behind, or have them refused.
    if (objection !== undefined && waiter.isWaiting) waiter.refuse(objection)
  }
  limiter.nesting?.breakDeadlock()
}
