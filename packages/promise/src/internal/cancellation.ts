/**
 * Checks that are the facade's own, and how what is wrong becomes an error.
 */
import { check } from "fibermeter/engine"

const isSignal = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value

/** The options by which a call can be cancelled. */
export const cancellationChecks = {
  signal: check.instance("an AbortSignal", isSignal),
  grace: check.millis
} satisfies check.Checks

/** Throws what is wrong, if anything: a `RangeError` for a number out of range, a `TypeError` for anything else. */
export const refuse = (problem: check.Problem | undefined): void => {
  if (problem === undefined) return
  throw problem.kind === "range" ? new RangeError(problem.message) : new TypeError(problem.message)
}
