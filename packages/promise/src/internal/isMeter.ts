/**
 * How the verbs tell a meter from anything else: by its limiter, a `LocalLimiter`, which they carry for limits of their own
 * anyway. By the class of meters, a program that uses verbs alone would carry all that meters can do.
 */
import { admission, check } from "fibermeter/engine"
import type { BaseMeter } from "./baseMeter.ts"

/** What the meters of all copies of this package have. */
const meterId: keyof BaseMeter = "~@fibermeter/promise/Meter"

/** Whether a value is a meter of this copy of the package. */
const isMeter = (value: unknown): value is BaseMeter =>
  typeof value === "object" && value !== null && (value as Partial<BaseMeter>).limiter instanceof admission.LocalLimiter

/** Reads an option that is a meter. Copies that a program has loaded twice have an order of waiters each. */
export const meterCheck: check.Checks[string] = (name, value) => {
  const isForeign = check.isObject(value) && value[meterId] === true && !isMeter(value)
  if (!isForeign) return check.kind("a Meter made by createMeter", isMeter)(name, value)
  const reason =
    "was made by another copy of @fibermeter/promise that this program has loaded: make all meters by the same one"
  return new check.Problem("type", `${name} ${reason}`)
}
