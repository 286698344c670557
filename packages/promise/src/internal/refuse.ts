/**
 * How what is wrong becomes an error.
 */
import { check } from "fibermeter/engine"
import type { ExcessiveCost } from "fibermeter/engine"

/** The copy that a reader has made. Throws a `RangeError` for a number out of range, a `TypeError` for other problems. */
export const accept = <A>(read: A | check.Problem): A => {
  if (!(read instanceof check.Problem)) return read
  throw read.kind === "range" ? new RangeError(read.message) : new TypeError(read.message)
}

/** The error that a gate's refusal is. The one reason that the meters of this package can have for one is a cost. */
export const refusal = (cause: { readonly reasons: ReadonlyArray<object> }): RangeError => {
  const { error } = cause.reasons[0] as { readonly error: ExcessiveCost }
  return new RangeError(error.message)
}
