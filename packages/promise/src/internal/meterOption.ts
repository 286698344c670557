/**
 * The option `meter`: which values are meters.
 *
 * A meter is known by a property and not by its class, which would add all of its code to the bundle of a program that only
 * uses verbs.
 */
import { check } from "fibermeter/engine"
import type { RunOptions } from "../Meter.ts"
import type { BaseMeter } from "./baseMeter.ts"

/** A property of the meters of every copy of this package. */
const meterId: keyof BaseMeter = "~@fibermeter/promise/Meter"

/** Its value in this copy. */
export const thisCopy: object = {}

/** Whether a value is a meter of this copy of the package. */
const isMeter = (value: unknown): value is BaseMeter => check.isObject(value) && value[meterId] === thisCopy

/** Reads an option that is a meter. The meter of another copy is rejected, since each copy has its own order of waiters. */
export const meterCheck: check.Checks[string] = (name, value) => {
  const isForeign = check.isObject(value) && value[meterId] !== undefined && !isMeter(value)
  if (!isForeign) return check.kind("a Meter made by createMeter", isMeter)(name, value)
  const reason =
    "was made by another copy of @fibermeter/promise that this program has loaded: make all meters by the same one"
  return new check.Problem("type", `${name} ${reason}`)
}

/** The meters of an option that is checked. */
export const metersOf = (meter: RunOptions["meter"]): ReadonlyArray<BaseMeter> =>
  [meter ?? []].flat() as ReadonlyArray<unknown> as ReadonlyArray<BaseMeter>
