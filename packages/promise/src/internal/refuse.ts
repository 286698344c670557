/**
 * How what is wrong becomes an error.
 */
import { check } from "fibermeter/engine"
import type { ExcessiveCost, Ticket } from "fibermeter/engine"

/** The copy that a reader has made. Throws a `RangeError` for a number out of range, a `TypeError` for other problems. */
export const accept = <A>(read: A | check.Problem): A => {
  if (!(read instanceof check.Problem)) return read
  throw read.kind === "range" ? new RangeError(read.message) : new TypeError(read.message)
}

/**
 * Why a task whose signal has aborted is not admitted. The listener of another call may make room for it before its own
 * listener is called.
 */
export const aborted = { reasons: [] } as unknown as Parameters<Ticket["refuse"]>[0]

/** The error that a gate's refusal is. The one reason that the meters of this package can have for one is a cost. */
export const refusal = (cause: { readonly reasons: ReadonlyArray<object> }): RangeError => {
  const { error } = cause.reasons[0] as { readonly error: ExcessiveCost }
  return new RangeError(error.message)
}
