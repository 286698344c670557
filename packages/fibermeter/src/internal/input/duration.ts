/**
 * Parses durations as Effect's `Duration.Input`: milliseconds, nanoseconds as a bigint, "2 seconds", seconds and nanoseconds
 * as a pair, an object of units, or a `Duration`. Effect's own parser is not used, so that the facade contains none of
 * Effect's code; a test compares the two. They agree up to 104 days, beyond which a number of milliseconds is not exact to
 * the nanosecond.
 */
import type * as Duration from "effect/Duration"
import { isDuration } from "../runtime/effectInternals.ts"
import { millisPer, plainMillis, rounded } from "./plainDuration.ts"
import { isObject, isThenable } from "./validate.ts"

/** The same units as fields of an object, longest first. */
const fields = {
  weeks: millisPer.week,
  days: millisPer.day,
  hours: millisPer.hour,
  minutes: millisPer.minute,
  seconds: millisPer.second,
  milliseconds: millisPer.milli,
  microseconds: millisPer.micro,
  nanoseconds: millisPer.nano
}

/** Milliseconds, rounded to the nanosecond; `undefined` for a value that is not a duration. `NaN` is 0, as in Effect. */
export const toMillis = (input: unknown): number | undefined => {
  if (typeof input === "bigint") return Number(input) / 1_000_000
  if (typeof input !== "object" || input === null) return plainMillis(input)
  if (isDuration(input)) return ofDuration(input)
  return Array.isArray(input) ? ofPair(input) : ofFields(input as Readonly<Record<string, unknown>>)
}

/** As `toMillis`, but for two kinds of objects that Effect takes for a length of zero. */
export const readMillis = (input: unknown): number | undefined =>
  isThenable(input) || isEmpty(input) ? undefined : toMillis(input)

const isEmpty = (value: unknown): boolean => isObject(value) && !isDuration(value) && Object.keys(value).length === 0

const ofPair = (pair: ReadonlyArray<unknown>): number | undefined => {
  const [seconds, nanos] = pair
  if (pair.length !== 2 || typeof seconds !== "number" || typeof nanos !== "number") return undefined
  // If the two are opposite infinities, the negative one counts.
  if (seconds === -Infinity || nanos === -Infinity) return -Infinity
  return rounded(seconds * 1000 + nanos / 1_000_000)
}

const ofFields = (given: Readonly<Record<string, unknown>>): number | undefined => {
  let millis = 0
  for (const [field, scale] of Object.entries(fields)) {
    const amount = given[field] ?? 0
    if (typeof amount !== "number") return undefined
    if (!Number.isNaN(amount)) millis += amount * scale
  }
  return rounded(millis)
}

const ofDuration = ({ value }: Duration.Duration): number => {
  switch (value._tag) {
    case "Millis":
      return value.millis
    case "Nanos":
      return Number(value.nanos) / 1_000_000
    case "Infinity":
      return Infinity
    case "NegativeInfinity":
      return -Infinity
  }
}
