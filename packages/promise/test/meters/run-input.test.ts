/** Bad input of `run` and `wrap` is refused before anything starts; the message has the option's name and the value. */
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import { expectError } from "../refusals.ts"
import type { Bad, Kind } from "../refusals.ts"
import { expectNoUnhandledRejection, flush, listeners, rejection, useVirtualTime, value } from "../support.ts"
import type { Untyped } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** `run` rejects, `wrap` throws. */
const ways: ReadonlyArray<{
  readonly name: string
  readonly refused: (meter: Meter, options: unknown, f: unknown) => Promise<unknown>
}> = [
  {
    name: "run",
    refused: (meter, options, f) => rejection((meter.run as Untyped)(f, options) as Promise<unknown>)
  },
  {
    name: "wrap",
    refused: async (meter, options, f) => {
      try {
        ;(meter.wrap as Untyped)(f, options)
      } catch (error) {
        return error
      }
      return "not refused"
    }
  }
]

const values = (name: string, wrong: ReadonlyArray<readonly [unknown, string, Kind]>): ReadonlyArray<Bad> =>
  wrong.map(([each, shown, kind]): Bad => {
    const options = name.split(".").reduceRight<unknown>((inner, part) => ({ [part]: inner }), each)
    return [`${name}: ${shown}`, options, kind, [name, shown]]
  })

const bad: ReadonlyArray<Bad> = [
  ...values("signal", [
    [new AbortController(), "an object", TypeError],
    [null, "null", TypeError],
    [true, "true", TypeError],
    [{}, "an object", TypeError]
  ]),
  ...values("grace", [
    [-1, "-1", RangeError],
    [Number.NaN, "NaN", RangeError],
    [Number.NEGATIVE_INFINITY, "-Infinity", RangeError],
    ["100", '"100"', TypeError],
    [null, "null", TypeError],
    [5n, "5n", TypeError]
  ]),
  ...values("timeout", [
    [0, "0", RangeError],
    [-1, "-1", RangeError],
    [Number.NaN, "NaN", RangeError],
    ["0 seconds", '"0 seconds"', RangeError],
    ["-1 second", '"-1 second"', RangeError],
    ["soon", '"soon"', TypeError],
    ["100", '"100"', TypeError],
    [null, "null", TypeError],
    [true, "true", TypeError],
    [() => 5, "a function", TypeError]
  ]),
  ...values("retry", [
    [3, "3", TypeError],
    [true, "true", TypeError],
    [null, "null", TypeError],
    ["always", '"always"', TypeError],
    [[10, 20], "an array", TypeError],
    [() => 1, "a function", TypeError],
    [Promise.resolve({}), "a Promise", TypeError]
  ]),
  ...values("retry.times", [
    [-1, "-1", RangeError],
    [2.5, "2.5", RangeError],
    [Number.NaN, "NaN", RangeError],
    [Number.NEGATIVE_INFINITY, "-Infinity", RangeError],
    ["3", '"3"', TypeError],
    [null, "null", TypeError]
  ]),
  ...values("retry.delay", [
    [-1, "-1", RangeError],
    [Number.NaN, "NaN", RangeError],
    [Infinity, "Infinity", RangeError],
    ["-1 second", '"-1 second"', RangeError],
    ["soon", '"soon"', TypeError],
    [null, "null", TypeError],
    [true, "true", TypeError]
  ]),
  ...values("retry.schedule", [
    [5, "5", TypeError],
    [null, "null", TypeError],
    [{}, "an object", TypeError],
    [() => [], "a function", TypeError]
  ]),
  ...values("retry.while", [
    [true, "true", TypeError],
    [null, "null", TypeError],
    [5, "5", TypeError]
  ]),
  ["retry.tries", { retry: { tries: 3 } }, TypeError, ["retry.tries", "Did you mean retry.times?"]],
  ["retry.constructor", { retry: { constructor: 3 } }, TypeError, ["retry.constructor"]],
  ["options: null", null, TypeError, ["options", "null"]],
  ["options: a number", 5, TypeError, ["options", "5"]],
  ["options: a text", "timeout", TypeError, ["options", '"timeout"']],
  ["options: a list", [], TypeError, ["options", "an array"]],
  ["options: a function", () => ({}), TypeError, ["options", "a function"]],
  ["options: a promise", Promise.resolve({}), TypeError, ["options", "a Promise"]],
  ["a limit", { maxAtOnce: 5 }, TypeError, ["maxAtOnce"]],
  ["a meter", { meter: createMeter({}) }, TypeError, ["meter"]],
  ["settled", { settled: true }, TypeError, ["settled"]],
  ["stopOnError", { stopOnError: false }, TypeError, ["stopOnError"]],
  ["onProgress", { onProgress: () => {} }, TypeError, ["onProgress"]],
  ["a name that every object has", { constructor: 5 }, TypeError, ["constructor"]],
  ["timeouts", { timeouts: 5 }, TypeError, ["timeouts", "Did you mean timeout?"]],
  ["retries", { retries: 5 }, TypeError, ["retries", "Did you mean retry?"]],
  ["abortSignal", { abortSignal: new AbortController().signal }, TypeError, ["Did you mean signal?"]]
]

describe.each(ways)("$name", ({ refused }) => {
  it.each(bad)("%s", async (_, options, kind, texts) => {
    for (const meter of [createMeter({ maxAtOnce: 1 }), createKeyedMeter<string>({}).for("a")]) {
      const f = vi.fn<() => void>()
      const error = await refused(meter, options, f)
      expectError(error, kind, texts)
      expect(f).not.toHaveBeenCalled()
      expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 0 })
      await value(meter.idle())
    }
    expect(vi.getTimerCount()).toBe(0)
  })

  it("says the first thing that is wrong, and leaves no listener at a good signal beside it", async () => {
    const { signal } = new AbortController()
    const error = await refused(createMeter({}), { signal, timeout: 0, retry: { times: -1 } }, () => 1)
    expect((error as Error).message).toContain("timeout")
    expect(listeners(signal)).toBe(0)
  })

  it.each([
    ["undefined", undefined, "undefined"],
    ["a number", 5, "5"],
    ["an object", { run: () => 1 }, "an object"],
    ["a promise", Promise.resolve(1), "() =>"]
  ])("%s in place of the function", async (_, f, text) => {
    const error = await refused(createMeter({}), undefined, f)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toContain("must be a function")
    expect((error as Error).message).toContain(text)
  })

  it("is not told what is fine", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 5, per: 1000 } } })
    const fine: ReadonlyArray<object | undefined> = [
      undefined,
      {},
      { signal: undefined, grace: undefined, timeout: undefined, retry: undefined, cost: undefined },
      { grace: Infinity, timeout: Infinity },
      { timeout: "1 second", retry: {} },
      { retry: { times: 0, delay: 0, while: () => true } },
      { retry: { times: Infinity, delay: "1 minute", schedule: undefined, while: undefined } },
      { retry: { schedule: new Set([1, 2]), delay: () => 5 } },
      Object.assign(Object.create(null) as object, { grace: 5 })
    ]
    for (const options of fine)
      expect(await refused(meter, options, "no function")).toMatchObject({
        message: expect.stringContaining("must be a function") as string
      })
  })
})

describe("the cost that wrap is given", () => {
  const windows = { tokens: { limit: 100, per: 1000 }, requests: { limit: 10, per: 1000 } }

  it.each([
    ["an object", { tokens: 5 }, "an object"],
    ["a number", 5, "5"],
    ["null", null, "null"]
  ])("has to be a function: %s", async (_, cost, text) => {
    const error = await ways[1]!.refused(createMeter({ windows }), { cost }, () => 1)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toContain(`cost must be a function, but is ${text}`)
  })

  it.each<Bad>([
    ["nothing", undefined, TypeError, ["cost", "undefined"]],
    ["null", null, TypeError, ["cost", "null"]],
    ["a number", 5, TypeError, ["cost", "5"]],
    ["a promise", Promise.resolve({ tokens: 5 }), TypeError, ["cost", "a Promise"]],
    ["a negative amount", { tokens: -1 }, RangeError, ["cost.tokens", "-1"]],
    ["NaN", { tokens: Number.NaN }, RangeError, ["cost.tokens", "NaN"]],
    ["an unknown window", { token: 5 }, TypeError, ["token", "tokens", "requests"]],
    ["too much", { tokens: 101 }, RangeError, ["tokens", "101", "100"]]
  ])("has to say what a cost is: %s", async (_, cost, kind, texts) => {
    const meter = createMeter({ windows })
    const { signal } = new AbortController()
    const f = vi.fn<() => void>()
    const wrapped = (meter.wrap as Untyped)(f, { signal, cost: () => cost }) as () => Promise<unknown>
    const error = await rejection(wrapped())
    expectError(error, kind, texts)
    await flush()
    expect(f).not.toHaveBeenCalled()
    expect(listeners(signal)).toBe(0)
    expect(meter.snapshot()).toMatchObject({ started: 0, waiting: 0, room: { tokens: 100, requests: 10 } })
  })

  it("where there is no window has no name to give", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await rejection(meter.wrap(() => 1, { cost: () => ({ tokens: 1 }) })())).toBeInstanceOf(TypeError)
    expect(await value(meter.wrap(() => 1, { cost: () => ({}) })())).toBe(1)
  })
})
