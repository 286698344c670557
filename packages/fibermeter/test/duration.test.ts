/** The engine's own parser of durations, compared with Effect's. */
import { describe, expect, it } from "@effect/vitest"
import { Duration } from "effect"
import fc from "fast-check"
import { toMillis } from "../src/internal/input/duration.ts"

/** Effect counts beyond that in bigints; a number of milliseconds has single nanoseconds up to here. */
const exact = 2 ** 53 / 1_000_000

const expectAgreement = (input: unknown): void => {
  let theirs: number | undefined
  try {
    theirs = Duration.toMillis(input as Duration.Input)
  } catch {
    theirs = undefined
  }
  const ours = toMillis(input)
  if (theirs === undefined || ours === undefined || !Number.isFinite(theirs)) {
    expect(ours).toBe(theirs)
    return
  }
  // Half a nanosecond may be rounded either way.
  const tolerance = Math.abs(theirs) < exact ? 1.1e-6 : Math.abs(theirs) * 1e-15
  expect(Math.abs(ours - theirs)).toBeLessThanOrEqual(tolerance)
}

const units = ["nano", "micro", "milli", "second", "minute", "hour", "day", "week"]

const amount = fc.oneof(
  fc.integer({ min: -100_000, max: 100_000 }),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((value) => Number(value.toFixed(3)))
)

describe("a duration means what it means to Effect", () => {
  it.each([
    [250, 250],
    [1.5, 1.5],
    [0.000_000_4, 0],
    [5n, 0.000_005],
    ["2 seconds", 2000],
    ["1 minute", 60_000],
    ["1.5 hours", 5_400_000],
    ["250 nanos", 0.000_25],
    ["Infinity", Infinity],
    ["-Infinity", -Infinity],
    [Infinity, Infinity],
    [NaN, 0],
    [[1, 500], 1000.0005],
    [[-Infinity, Infinity], -Infinity],
    [[Infinity, 1], Infinity],
    [{ days: 1, minutes: 2 }, 86_520_000],
    [{ seconds: NaN, milliseconds: 3 }, 3],
    [Duration.seconds(3), 3000],
    [Duration.nanos(7n), 0.000_007],
    [Duration.infinity, Infinity],
    [Duration.negativeInfinity, -Infinity]
  ] as const)("%o", (input, millis) => {
    expect(toMillis(input)).toBe(millis)
    expectAgreement(input)
  })

  it.each([
    "",
    "2",
    "2seconds",
    "two seconds",
    " 2 seconds",
    "2 fortnights",
    null,
    undefined,
    true,
    Symbol.iterator,
    [1],
    [1, "2"],
    ["1", 2]
  ])("%o is not a length of time", (input) => {
    expect(toMillis(input)).toBeUndefined()
    expect(() => Duration.toMillis(input as Duration.Input)).toThrow(/Invalid|Cannot/)
  })

  it("an object with fields that are not numbers is not a length of time", () => {
    expect(toMillis({ seconds: "5" })).toBeUndefined()
  })

  it("numbers", () => fc.assert(fc.property(fc.double(), (value) => expectAgreement(value))))

  it("bigints", () =>
    fc.assert(fc.property(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), (value) => expectAgreement(value))))

  it("text", () =>
    fc.assert(
      fc.property(amount, fc.constantFrom(...units), fc.constantFrom("", "s"), (value, unit, plural) =>
        expectAgreement(`${value} ${unit}${plural}`)
      )
    ))

  it("pairs", () =>
    fc.assert(fc.property(fc.integer(), fc.integer(), (seconds, nanos) => expectAgreement([seconds, nanos]))))

  it("objects", () =>
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(
            "weeks",
            "days",
            "hours",
            "minutes",
            "seconds",
            "milliseconds",
            "microseconds",
            "nanoseconds"
          ),
          amount
        ),
        (value) => expectAgreement(value)
      )
    ))

  it("any text", () => fc.assert(fc.property(fc.string(), (value) => expectAgreement(value))))
})
