/** Bad input of the meters' options and methods is refused before anything starts; the message has name and value. */
import { describe, expect, it } from "vitest"
import { createKeyedMeter, createMeter } from "../../src/index.ts"
import { expectError, meterEntry, refusal, verbEntries } from "../refusals.ts"
import type { Bad, Entry } from "../refusals.ts"
import { expectNoUnhandledRejection, listeners, now, rejection, untyped, useVirtualTime, value } from "../support.ts"
import type { Untyped } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const makers: ReadonlyArray<Entry> = [
  meterEntry,
  { name: "createKeyedMeter", refuses: "by throwing", call: (_, limits) => untyped.createKeyedMeter(limits) },
  {
    name: "meter.resize",
    refuses: "by throwing",
    call: (_, limits) => (createMeter({}).resize as Untyped)(limits)
  },
  {
    name: "a key's resize",
    refuses: "by throwing",
    call: (_, limits) => (createKeyedMeter<string>({}).for("a").resize as Untyped)(limits)
  }
]

const window = (each: unknown): unknown => ({ windows: { tokens: each } })

const badWindows: ReadonlyArray<Bad> = [
  ...(
    [
      [0, "0"],
      [-1, "-1"],
      [2.5, "2.5"],
      [Number.NaN, "NaN"],
      [Number.NEGATIVE_INFINITY, "-Infinity"]
    ] as const
  ).map(([limit, shown]): Bad => [
    `limit: ${shown}`,
    window({ limit, per: 1000 }),
    RangeError,
    ["windows.tokens.limit", shown]
  ]),
  ...(
    [
      ["5", '"5"'],
      [null, "null"],
      [undefined, "undefined"],
      [true, "true"],
      [5n, "5n"],
      [[5], "an array"],
      [{}, "an object"],
      [() => 5, "a function"]
    ] as const
  ).map(([limit, shown]): Bad => [
    `limit: ${shown}`,
    window({ limit, per: 1000 }),
    TypeError,
    ["windows.tokens.limit", shown]
  ]),
  ...(
    [
      [0, "0"],
      [-0, "0"],
      [-1000, "-1000"],
      [Number.NaN, "NaN"],
      [Number.NEGATIVE_INFINITY, "-Infinity"],
      ["0 seconds", '"0 seconds"'],
      ["-1 minute", '"-1 minute"']
    ] as const
  ).map(([per, shown]): Bad => [`per: ${shown}`, window({ limit: 5, per }), RangeError, ["windows.tokens.per", shown]]),
  ...(
    [
      ["", '""'],
      ["minute", '"minute"'],
      ["1 parsec", '"1 parsec"'],
      ["1000", '"1000"'],
      ["one minute", '"one minute"'],
      [null, "null"],
      [undefined, "undefined"],
      [true, "true"],
      [() => 5, "a function"],
      [Symbol("s"), "Symbol(s)"]
    ] as const
  ).map(([per, shown]): Bad => [`per: ${shown}`, window({ limit: 5, per }), TypeError, ["windows.tokens.per", shown]]),
  ["a window that is a number", window(5), TypeError, ["windows.tokens", "5"]],
  ["a window that is null", window(null), TypeError, ["windows.tokens", "null"]],
  ["a window that is an array", window([5, 1000]), TypeError, ["windows.tokens", "an array"]],
  ["a window that is a text", window("5 per minute"), TypeError, ["windows.tokens", '"5 per minute"']],
  ["windows that are null", { windows: null }, TypeError, ["windows", "null"]],
  ["windows that are a number", { windows: 5 }, TypeError, ["windows", "5"]],
  ["windows that are a list", { windows: [{ limit: 5, per: 1000 }] }, TypeError, ["windows", "an array"]],
  ["windows that are a promise", { windows: Promise.resolve({}) }, TypeError, ["windows", "a Promise"]],
  ["a window that is a promise", window(Promise.resolve()), TypeError, ["windows.tokens", "a Promise"]],
  ["windows that are a text", { windows: "x" }, TypeError, ["windows", '"x"']],
  ["an unknown part of a window", window({ limit: 5, per: 1000, every: 3 }), TypeError, ["every", "limit", "per"]],
  [
    "a misspelt part of a window",
    window({ limits: 5, per: 1000 }),
    TypeError,
    ["limits", "Did you mean windows.tokens.limit?"]
  ],
  ["a misspelt name", { window: {} }, TypeError, ["window", "Did you mean windows?"]],
  [
    "one bad window among good ones",
    { windows: { requests: { limit: 5, per: "1 minute" }, none: undefined, tokens: { limit: 0, per: 1000 } } },
    RangeError,
    ["windows.tokens.limit", "0"]
  ],
  [
    "a bad window beside good options",
    { maxAtOnce: 5, maxPerSecond: 5, windows: { tokens: { limit: 5, per: 0 } } },
    RangeError,
    ["windows.tokens.per", "0"]
  ]
]

describe.each([...verbEntries, ...makers])("windows of $name", (entry) => {
  it.each(badWindows)("%s", async (_, options, kind, texts) => {
    expectError(await refusal(entry, options), kind, texts)
  })
})

describe.each(makers)("limits of $name", (entry) => {
  it.each<Bad>([
    ["undefined", undefined, TypeError, ["limits", "undefined"]],
    ["null", null, TypeError, ["null"]],
    ["a number", 5, TypeError, ["5"]],
    ["a list", [5], TypeError, ["an array"]],
    ["a promise", Promise.resolve({}), TypeError, ["a Promise"]],
    ["maxAtOnce: 0", { maxAtOnce: 0 }, RangeError, ["maxAtOnce", "0"]],
    ["maxAtOnce: text", { maxAtOnce: "5" }, TypeError, ["maxAtOnce", '"5"']],
    ["maxPerSecond: NaN", { maxPerSecond: Number.NaN }, RangeError, ["maxPerSecond", "NaN"]],
    ["maxBurst: 1.5", { maxBurst: 1.5 }, RangeError, ["maxBurst", "1.5"]],
    ["an option of the verbs", { signal: new AbortController().signal }, TypeError, ["signal"]],
    ["another option of the verbs", { ordered: true }, TypeError, ["ordered"]],
    ["cost", { cost: () => ({}) }, TypeError, ["cost"]],
    ["concurrency", { concurrency: 5 }, TypeError, ["concurrency", "maxAtOnce"]]
  ])("%s", async (_, options, kind, texts) => {
    expectError(await refusal(entry, options), kind, texts)
  })
})

it("resize that is refused changes nothing, not even what was good in it", async () => {
  const meter = createMeter({ maxAtOnce: 1, windows: { tokens: { limit: 5, per: 1000 } } })
  const before = meter.snapshot()
  for (const bad of [
    { maxAtOnce: 5, maxPerSecond: 0 },
    { maxAtOnce: 5, windows: { tokens: { limit: 10, per: 1000 }, other: { limit: 0, per: 1000 } } }
  ]) {
    expect(() => meter.resize(bad)).toThrow(RangeError)
  }
  expect(meter.snapshot()).toEqual(before)
})

describe.each(verbEntries)("the option cost of $name", (entry) => {
  it.each<Bad>([
    ["an object", { cost: { tokens: 5 } }, TypeError, ["cost", "an object"]],
    ["a number", { cost: 5 }, TypeError, ["cost", "5"]],
    ["null", { cost: null }, TypeError, ["cost", "null"]],
    ["a text", { cost: "tokens" }, TypeError, ["cost", '"tokens"']]
  ])("that is %s", async (_, options, kind, texts) => {
    expectError(await refusal(entry, options), kind, texts)
  })
})

/** What a cost must not be, and what is said about it. */
const badCosts: ReadonlyArray<Bad> = [
  ["a negative amount", { tokens: -1 }, RangeError, ["cost.tokens", "-1"]],
  ["NaN", { tokens: Number.NaN }, RangeError, ["cost.tokens", "NaN"]],
  ["Infinity", { tokens: Infinity }, RangeError, ["cost.tokens", "Infinity"]],
  ["a text", { tokens: "5" }, TypeError, ["cost.tokens", '"5"']],
  ["null for an amount", { tokens: null }, TypeError, ["cost.tokens", "null"]],
  ["undefined for an amount", { tokens: undefined }, TypeError, ["cost.tokens", "undefined"]],
  ["a bigint", { tokens: 5n }, TypeError, ["cost.tokens", "5n"]],
  ["a promise of an amount", { tokens: Promise.resolve(5) }, TypeError, ["cost.tokens", "a Promise"]],
  ["an unknown window", { token: 5 }, TypeError, ["token", "tokens", "requests"]],
  ["an unknown window beside a known one", { tokens: 1, pages: 5 }, TypeError, ["pages", "tokens", "requests"]],
  ["a name that every object has", { constructor: 5 }, TypeError, ["constructor", "tokens", "requests"]],
  ["a number", 5, TypeError, ["cost", "5"]],
  ["a list", [5], TypeError, ["cost", "an array"]],
  ["null", null, TypeError, ["cost", "null"]],
  ["a promise of a cost", Promise.resolve({ tokens: 5 }), TypeError, ["cost", "a Promise"]],
  ["a function", () => ({ tokens: 5 }), TypeError, ["cost", "a function"]],
  ["too much", { tokens: 101 }, RangeError, ["tokens", "101", "100"]]
]

const windows = { tokens: { limit: 100, per: 1000 }, requests: { limit: 10, per: 1000 } }

/** Those that have begun when they refuse: `amap` tells its reader. */
const begun = verbEntries.map((entry): Entry =>
  entry.name === "amap"
    ? {
        ...entry,
        refuses: "by rejecting",
        call: (...args) => Array.fromAsync(entry.call(...args) as AsyncIterable<unknown>)
      }
    : entry
)

describe.each(begun)("what the function cost of $name gives", (entry) => {
  it.each(badCosts)("%s", async (_, cost, kind, texts) => {
    expectError(await refusal(entry, { windows, cost: () => cost }), kind, texts)
    const meter = createMeter({ maxAtOnce: 1, windows })
    const { signal } = new AbortController()
    expectError(await refusal(entry, { meter, signal, cost: () => cost }), kind, texts)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 0, room: { tokens: 100, requests: 10 } })
    expect(listeners(signal)).toBe(0)
  })

  it("undefined: it has to say something", async () => {
    expectError(await refusal(entry, { windows, cost: () => undefined }), TypeError, ["cost", "undefined"])
  })

  it("a name where there is no window at all", async () => {
    expectError(await refusal(entry, { maxAtOnce: 1, cost: () => ({ tokens: 1 }) }), TypeError, ["tokens"])
  })
})

describe("meter.run", () => {
  const run = (options: unknown, meter = createMeter({ maxAtOnce: 1, windows })): Entry => ({
    name: "meter.run",
    refuses: "by rejecting",
    call: (task) => (meter.run as Untyped)(task, options)
  })

  it.each(badCosts)("a cost that is %s", async (_, cost, kind, texts) => {
    const meter = createMeter({ maxAtOnce: 1, windows })
    const { signal } = new AbortController()
    expectError(await refusal(run({ cost, signal }, meter), undefined), kind, texts)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 0, room: { tokens: 100, requests: 10 } })
    expect(listeners(signal)).toBe(0)
  })

  it("a cost where there is no window at all", async () => {
    expectError(await refusal(run({ cost: { tokens: 1 } }, createMeter({})), undefined), TypeError, ["tokens"])
  })

  it("a cost that is undefined is none", async () => {
    expect(await value(createMeter({ windows }).run(() => 1, { cost: undefined }))).toBe(1)
  })

  it.each<Bad>([
    ["null", null, TypeError, ["null"]],
    ["a number", 5, TypeError, ["5"]],
    ["a limit", { maxAtOnce: 5 }, TypeError, ["maxAtOnce"]],
    ["costs", { costs: { tokens: 5 } }, TypeError, ["costs", "Did you mean cost?"]],
    ["a signal that is none", { signal: new AbortController() }, TypeError, ["signal"]],
    ["a negative grace", { grace: -1 }, RangeError, ["grace", "-1"]]
  ])("options that are %s", async (_, options, kind, texts) => {
    expectError(await refusal(run(options), undefined), kind, texts)
  })

  it.each([
    ["a promise", Promise.resolve(1), "() =>"],
    ["undefined", undefined, "undefined"],
    ["a number", 5, "5"]
  ])("a task that is %s", async (_, task, text) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const error = await rejection((meter.run as Untyped)(task) as Promise<unknown>)
    expectError(error, TypeError, ["the task", text])
    expect(meter.snapshot()).toMatchObject({ running: 0, started: 0, free: 1 })
  })
})

describe("meter.pause", () => {
  it.each<Bad>([
    ["-1", -1, RangeError, ["-1"]],
    ["NaN", Number.NaN, RangeError, ["NaN"]],
    ["-Infinity", Number.NEGATIVE_INFINITY, RangeError, ["-Infinity"]],
    ["a text that is no duration", "soon", TypeError, ['"soon"']],
    ["a text without unit, as a header has it", "30", TypeError, ['"30"']],
    ["null", null, TypeError, ["null"]],
    ["true", true, TypeError, ["true"]],
    ["a function", () => 5, TypeError, ["a function"]]
  ])("for %s is refused, and the meter goes on", async (_, duration, kind, texts) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const entry: Entry = { name: "pause", refuses: "by throwing", call: () => (meter.pause as Untyped)(duration) }
    expectError(await refusal(entry, undefined), kind, ["duration", ...texts])
    expect(meter.snapshot().nextStart).toBe(0)
    expect(await value(meter.run(() => now()))).toBe(0)
  })
})

describe("the option meter", () => {
  const good = createMeter({})
  it.each<Bad>([
    ["limits", { meter: { maxAtOnce: 1 } }, TypeError, ["meter", "an object"]],
    ["null", { meter: null }, TypeError, ["meter", "null"]],
    ["a family of meters", { meter: createKeyedMeter({}) }, TypeError, ["meter", "an object"]],
    ["something that looks like a meter", { meter: { ...good } }, TypeError, ["meter", "an object"]],
    ["a list with something else in it", { meter: [good, { maxAtOnce: 1 }] }, TypeError, ["meter[1]", "an object"]],
    ["a list with a hole", { meter: [good, undefined] }, TypeError, ["meter[1]", "undefined"]],
    ["a list in a list", { meter: [[good]] }, TypeError, ["meter[0]", "an array"]]
  ])("%s", async (_, options, kind, texts) => {
    for (const entry of verbEntries) expectError(await refusal(entry, options), kind, texts)
  })
})
