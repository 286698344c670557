/**
 * The option `meter`: which values are meters.
 *
 * A value with a `LocalLimiter` is a meter, a class that the verbs need for their own limits anyway. A check
 * by the class of meters would add all of their code to the bundle of a program that only uses verbs.
 */
import { admission, check } from "fibermeter/engine"
import type { RunOptions } from "../Meter.ts"
import type { BaseMeter } from "./baseMeter.ts"

/** A property of the meters of every copy of this package. */
const meterId: keyof BaseMeter = "~@fibermeter/promise/Meter"

/** Whether a value is a meter of this copy of the package. */
const isMeter = (value: unknown): value is BaseMeter =>
  typeof value === "object" &&
  value !== null &&
  (value as Partial<BaseMeter>).limiters?.[0] instanceof admission.LocalLimiter

/** Reads an option that is a meter. The meter of another copy is rejected, since each copy has its own order of waiters. */
export const meterCheck: check.Checks[string] = (name, value) => {
  const isForeign = check.isObject(value) && value[meterId] === true && !isMeter(value)
  if (!isForeign) return check.kind("a Meter made by createMeter", isMeter)(name, value)
  const reason =
    "was made by another copy of @fibermeter/promise that this program has loaded: make all meters by the same one"
  return new check.Problem("type", `${name} ${reason}`)
}

/** The meters of an option that is checked. */
export const metersOf = (meter: RunOptions["meter"]): ReadonlyArray<BaseMeter> =>
  [meter ?? []].flat() as ReadonlyArray<unknown> as ReadonlyArray<BaseMeter>
