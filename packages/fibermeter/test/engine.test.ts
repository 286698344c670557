/** Parts of the engine that the verbs of this package do not use. */
import { describe, expect, it } from "@effect/vitest"
import { calls, check } from "../src/engine.ts"

describe("a feed", () => {
  const feed = (isOrdered: boolean) => new calls.Feed<string>(isOrdered, () => {})

  it("counts a result that will not come once, at once where order does not matter", () => {
    const results = feed(false)
    results.skip(3)
    results.succeeded(0, "a")
    results.skip(1)
    expect(results.takeSkipped()).toBe(2)
    expect(results.takeSkipped()).toBe(0)
    expect(results.take(9)).toEqual(["a"])
  })

  it("with ordered, a result counts when all before it have been read", () => {
    const results = feed(true)
    results.skip(1)
    results.succeeded(2, "c")
    results.skip(4)
    expect([results.takeSkipped(), results.size]).toEqual([0, 0])
    results.skip(0)
    expect(results.takeSkipped()).toBe(2)
    expect(results.take(9)).toEqual(["c"])
    results.succeeded(3, "d")
    expect(results.takeSkipped()).toBe(1)
    results.succeeded(5, "f")
    expect(results.take(9)).toEqual(["d", "f"])
  })

  it("keeps undefined apart from what will not come", () => {
    const results = new calls.Feed<undefined>(true, () => {})
    results.succeeded(1, undefined)
    results.succeeded(0, undefined)
    expect(results.size).toBe(2)
    expect(results.takeSkipped()).toBe(0)
  })
})

describe("retryAfter", () => {
  const now = Date.UTC(2026, 0, 5, 12)
  it.each<readonly [string, unknown, number | undefined]>([
    ["seconds", { headers: { "Retry-After": "1.5" } }, 1500],
    ["a number", { headers: { "retry-after": 2 } }, 2000],
    ["Headers", new Headers({ "retry-after": "3" }), 3000],
    ["a date", { "retry-after": "Mon, 05 Jan 2026 12:00:04 GMT" }, 4000],
    ["a date that leaves out its zone", { "retry-after": "Mon Jan  5 12:00:04 2026" }, 4000],
    ["a date that has passed", { "retry-after": "Mon, 05 Jan 2026 11:00:00 GMT" }, 0],
    ["a cause", new Error("a", { cause: { response: { headers: { "retry-after": "5" } } } }), 5000],
    ["a cause too far away", { cause: { cause: { cause: { cause: { cause: { "retry-after": "5" } } } } } }, undefined],
    [
      "a getter that throws",
      {
        get: () => {
          throw new Error("x")
        }
      },
      undefined
    ],
    ["no date", { "retry-after": "soon 12" }, undefined],
    ["no end", { "retry-after": "9".repeat(400) }, undefined],
    ["another kind of value", { "retry-after": true }, undefined],
    ["nothing", null, undefined]
  ])("%s", (_, source, millis) => {
    expect(calls.retryAfter(source, now)).toBe(millis)
  })
})

describe("checks", () => {
  const { delay } = check.times(check.plainMillis)
  const nested = check.object("an object { times, wait }", { times: check.count, wait: check.functionOr(delay) })

  it.each<readonly [string, unknown]>([
    ["nothing in it", {}],
    ["some", { times: 0 }],
    ["all", { times: Infinity, wait: 5 }],
    ["a function", { wait: () => 5 }],
    ["undefined", { times: undefined, wait: undefined }],
    ["no time at all", { wait: 0 }]
  ])("object: %s is accepted", (_, value) => {
    const copy = nested("retry", value)
    expect(copy).not.toBe(value)
    expect(Object.keys(copy as object)).toEqual(
      Object.keys(value as object).filter((name) => (value as Record<string, unknown>)[name] !== undefined)
    )
  })

  it.each<readonly [string, unknown, "range" | "type", string]>([
    ["null", null, "type", "retry must be an object { times, wait }, but is null"],
    ["an array", [], "type", "retry must be an object { times, wait }, but is an array"],
    ["a promise", Promise.resolve(), "type", "retry must be an object { times, wait }, but is a Promise"],
    ["a number", 3, "type", "retry must be an object { times, wait }, but is 3"],
    ["a name that is unknown", { tmies: 3 }, "type", "no option retry.tmies. Did you mean retry.times?"],
    [
      "times below 0",
      { times: -1 },
      "range",
      "retry.times must be a whole number of at least 0, or Infinity, but is -1"
    ],
    ["half a time", { times: 0.5 }, "range", "but is 0.5"],
    ["no number", { times: "3" }, "type", 'retry.times must be a whole number of at least 0, or Infinity, but is "3"'],
    ["a wait below 0", { wait: -1 }, "range", "retry.wait must be a finite duration"],
    ["a wait without end", { wait: Infinity }, "range", "but is Infinity"],
    ["a wait that is NaN", { wait: NaN }, "range", "but is NaN"],
    ["a wait that is no time", { wait: "x" }, "type", 'but is "x"']
  ])("object: %s is rejected with its full name", (_, value, kind, message) => {
    expect(nested("retry", value)).toMatchObject({ kind, message: expect.stringContaining(message) as string })
  })

  it("iterable: what can be gone through", () => {
    const iterable = check.iterable(delay)
    for (const fine of [new Set(), [1].values()]) expect(iterable("schedule", fine)).toBe(fine)
    // Of an array a copy is kept, checked as a whole.
    for (const fine of [[], [1]]) {
      expect(iterable("schedule", fine)).toEqual(fine)
      expect(iterable("schedule", fine)).not.toBe(fine)
    }
    for (const bad of [5, null, undefined, {}, () => []]) {
      expect(iterable("schedule", bad)).toMatchObject({
        kind: "type",
        message: expect.stringContaining("schedule must be an Iterable")
      })
    }
  })
})

describe("All", () => {
  it("allocates ahead, but not more than V8 can keep in a plain array", () => {
    const lengthAfter = (index: number): number => {
      const all = new calls.All<number>(undefined)
      all.succeeded(index, 1)
      const arrays = Object.values(all).filter((value) => Array.isArray(value))
      return Math.max(...arrays.map(({ length }) => length))
    }
    expect(lengthAfter(1000)).toBeGreaterThan(1100)
    expect(lengthAfter(1000)).toBeLessThan(2 * 1100)
    // Arrays of 2 ** 25 elements and more, filled by index, end the process.
    expect(lengthAfter(2 ** 24)).toBeLessThan(2 ** 25)
  })
})
