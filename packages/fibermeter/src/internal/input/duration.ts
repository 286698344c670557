/**
 * Lengths of time, as Effect's `Duration.Input` has them: milliseconds, nanoseconds as a bigint, "2 seconds", seconds and
 * nanoseconds as a pair, an object of units, or a `Duration`. Read here and not by Effect, so that the facade needs none of
 * its code; a test compares the two. They agree up to 104 days, beyond which a number cannot tell single nanoseconds.
 */
import type * as Duration from "effect/Duration"
import { isDuration } from "../runtime/effectInternals.ts"

const millisPer = {
  nano: 1e-6,
  micro: 1e-3,
  milli: 1,
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000
}

const written = /^(-?\d+(?:\.\d+)?)\s+(nano|micro|milli|second|minute|hour|day|week)s?$/

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

/** In milliseconds; `undefined` for what is no length of time. Rounded to the nanosecond, as `NaN` is to nothing. */
export const toMillis = (input: unknown): number | undefined => {
  if (typeof input === "number") return rounded(input)
  if (typeof input === "bigint") return Number(input) / 1_000_000
  if (typeof input === "string") return ofText(input)
  if (typeof input !== "object" || input === null) return undefined
  if (isDuration(input)) return ofDuration(input)
  return Array.isArray(input) ? ofPair(input) : ofFields(input as Readonly<Record<string, unknown>>)
}

const rounded = (millis: number): number => {
  if (Number.isNaN(millis)) return 0
  if (Number.isInteger(millis) || !Number.isFinite(millis)) return millis
  return (Math.sign(millis) * Math.round(Math.abs(millis) * 1_000_000)) / 1_000_000
}

const ofText = (text: string): number | undefined => {
  if (text === "Infinity" || text === "-Infinity") return Number(text)
  const [, amount, unit] = written.exec(text) ?? []
  return unit === undefined ? undefined : rounded(Number(amount) * millisPer[unit as keyof typeof millisPer])
}

const ofPair = (pair: ReadonlyArray<unknown>): number | undefined => {
  const [seconds, nanos] = pair
  if (pair.length !== 2 || typeof seconds !== "number" || typeof nanos !== "number") return undefined
  // Of opposite infinities, the negative one counts.
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
