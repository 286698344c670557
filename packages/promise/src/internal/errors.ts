/**
 * How what is wrong becomes an error.
 */
import { admission, check } from "fibermeter/engine"

/** The copy that a reader has made. Throws a `RangeError` for a number out of range, a `TypeError` for other problems. */
export const accept = <A>(read: A | check.Problem): A => {
  if (!(read instanceof check.Problem)) return read
  throw read.kind === "range" ? new RangeError(read.message) : new TypeError(read.message)
}

/**
 * Why a task whose signal has aborted is not admitted. The listener of another call may make room for it before its own
 * listener is called.
 */
export const aborted: admission.Refusal = { _tag: "Failure", cause: undefined }

/** The error that a limiter's refusal is. The one reason that the meters of this package can have for one is a cost. */
export const refusal = (reason: admission.Refusal): RangeError =>
  new RangeError(admission.excessMessage(reason as admission.ExcessiveCost))
