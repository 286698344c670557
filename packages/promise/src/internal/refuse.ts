/**
 * How what is wrong becomes an error.
 */
import type { check, ExcessiveCost } from "fibermeter/engine"

/** Throws what is wrong, if anything: a `RangeError` for a number out of range, a `TypeError` for anything else. */
export const refuse = (problem: check.Problem | undefined): void => {
  if (problem === undefined) return
  throw problem.kind === "range" ? new RangeError(problem.message) : new TypeError(problem.message)
}

/** The error that a gate's refusal is. The one reason that the meters of this package can have for one is a cost. */
export const refusal = (cause: { readonly reasons: ReadonlyArray<object> }): RangeError => {
  const { error } = cause.reasons[0] as { readonly error: ExcessiveCost }
  return new RangeError(error.message)
}
