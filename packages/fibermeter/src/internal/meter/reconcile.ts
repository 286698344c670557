/**
 * Reconciles windows with what a server reports of them: `limits/reportedWindow.ts` has the arithmetic.
 */
import { Problem } from "../input/validate.ts"
import type { Reservation } from "../admission/reservation.ts"
import { SharedLimiter } from "../limits/sharedLimiter.ts"
import type { Report } from "../limits/sharedLimiter.ts"
import type { Host } from "../runtime/host.ts"

/** What a task has taken, or for a report that is no task's, the limiters alone. */
export type Reported = Pick<Reservation, "limiters"> & Partial<Pick<Reservation, "entries">>

/** Returns the problem if none of the limiters is a meter's with such a window, unless that is `optional`. */
export const reconcile = (
  { entries, limiters }: Reported,
  report: Report & { readonly optional?: boolean | undefined },
  host: Host
): Problem | undefined => {
  const known = limiters.filter((limiter) => limiter instanceof SharedLimiter).flatMap((each) => Array.from(each.names))
  if (!known.includes(report.window)) {
    if (report.optional === true) return undefined
    const names = known.length === 0 ? "No window has a name here" : `Known: ${known.join(", ")}`
    return new Problem("type", `there is no window ${report.window} of a meter that could be reconciled. ${names}`)
  }
  for (const [i, limiter] of limiters.entries())
    if (limiter instanceof SharedLimiter) limiter.reconcile(entries?.[i], report, host)
  for (const limiter of limiters) limiter.wake()
  return undefined
}
