/**
 * The caller's signal, and the checks that are the facade's own.
 */
import { check } from "fibermeter/engine"

const isSignal = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value

/** The options by which a call can be cancelled. */
export const cancellationChecks = {
  signal: check.instance("an AbortSignal", isSignal),
  grace: check.millis
} satisfies check.Checks

/** Calls `abort` with the signal's reason when it aborts. Returns what removes the listener. */
export const listen = (signal: AbortSignal | undefined, abort: (reason: unknown) => void): (() => void) => {
  if (signal === undefined) return () => {}
  const listener = (): void => abort(signal.reason)
  signal.addEventListener("abort", listener)
  return () => signal.removeEventListener("abort", listener)
}
