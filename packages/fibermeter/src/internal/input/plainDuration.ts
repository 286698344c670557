/**
 * Parses durations that are numbers or texts: milliseconds, or "2 seconds". The facade takes only these; `duration.ts` has
 * the other forms, for core.
 */

export const millisPer = {
  nano: 1e-6,
  micro: 1e-3,
  milli: 1,
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000
}

const pattern = /^(-?\d+(?:\.\d+)?)\s+([a-z]+?)s?$/

/** Milliseconds, rounded to the nanosecond; `undefined` for other values. `NaN` is 0, as in Effect. */
export const plainMillis = (input: unknown): number | undefined => {
  if (typeof input === "number") return rounded(input)
  return typeof input === "string" ? ofText(input) : undefined
}

export const rounded = (millis: number): number => {
  if (Number.isNaN(millis)) return 0
  if (Number.isInteger(millis) || !Number.isFinite(millis)) return millis
  return (Math.sign(millis) * Math.round(Math.abs(millis) * 1_000_000)) / 1_000_000
}

const ofText = (text: string): number | undefined => {
  if (text === "Infinity" || text === "-Infinity") return Number(text)
  const [, amount, unit = ""] = pattern.exec(text) ?? []
  return Object.hasOwn(millisPer, unit)
    ? rounded(Number(amount) * millisPer[unit as keyof typeof millisPer])
    : undefined
}
