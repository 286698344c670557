/**
 * From problems and refusals to errors.
 */
import { admission, check } from "fibermeter/engine"
import type { Cost } from "../Limits.ts"

/** The copy that a reader returns. Throws a `RangeError` for a number out of range, a `TypeError` for other problems. */
export const accept = <A>(read: A | check.Problem): A => {
  if (!(read instanceof check.Problem)) return read
  throw read.kind === "range" ? new RangeError(read.message) : new TypeError(read.message)
}

/** Reads the cost of a task, by the names of the windows of its limiters. */
export const acceptCost = (limiters: ReadonlyArray<admission.Weighing>, cost: unknown): Cost =>
  accept(check.cost(admission.namesOf(limiters), cost))

/**
 * The reason of a call whose start is refused: by a limiter, or by a signal that cannot be read. Not for a meter that is
 * overloaded, which never refuses a verb.
 */
export const refusal = (reason: admission.Refusal): unknown =>
  reason._tag === "Failure"
    ? reason.cause
    : new RangeError(admission.excessMessage(reason as admission.ExcessiveCost | admission.ExcessivePermits))
