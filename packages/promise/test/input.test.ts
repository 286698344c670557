/** Bad input is refused before anything starts, with a message that names the option, the value and what is allowed. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import { items, meterEntry, refusal, verbEntries } from "./refusals.ts"
import type { Entry } from "./refusals.ts"
import {
  expectNoUnhandledRejection,
  flush,
  leave,
  listeners,
  naturals,
  probe,
  rejection,
  settle,
  source,
  untyped,
  useVirtualTime,
  value
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const accepted = async (entry: Entry, options: unknown): Promise<void> => {
  const result = entry.call(() => 1, options)
  if (entry.name === "createMeter") {
    const { run } = result as ReturnType<typeof createMeter>
    expect(await value(run(() => 1))).toBe(1)
  } else {
    const outcome = await settle(
      entry.name === "amap" ? Array.fromAsync(result as AsyncIterable<unknown>) : (result as Promise<unknown>)
    )
    expect(outcome).toMatchObject({ status: "fulfilled" })
  }
}

const outOfRange = {
  count: [
    [0, "0"],
    [-1, "-1"],
    [2.5, "2.5"],
    [0.5, "0.5"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "-Infinity"]
  ],
  rate: [
    [0, "0"],
    [-0, "0"],
    [-1, "-1"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "-Infinity"]
  ],
  duration: [
    [-1, "-1"],
    [-0.5, "-0.5"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "-Infinity"]
  ]
} as const

const noNumbers: ReadonlyArray<readonly [unknown, string]> = [
  ["5", "5"],
  ["", ""],
  [null, "null"],
  [true, "true"],
  [5n, "5"],
  [[5], "array"],
  [{}, ""],
  [() => 5, ""],
  [Symbol("five"), "five"],
  [new Date(5), ""]
]

interface Case {
  readonly option: string
  readonly kind: keyof typeof outOfRange
  readonly beside: object
  readonly entries: ReadonlyArray<Entry>
}

const cases: ReadonlyArray<Case> = [
  { option: "maxAtOnce", kind: "count", beside: {}, entries: [...verbEntries, meterEntry] },
  { option: "maxPerSecond", kind: "rate", beside: {}, entries: [...verbEntries, meterEntry] },
  { option: "maxBurst", kind: "count", beside: { maxPerSecond: 10 }, entries: [...verbEntries, meterEntry] },
  { option: "maxUnread", kind: "count", beside: {}, entries: verbEntries.filter(({ name }) => name === "amap") },
  { option: "grace", kind: "duration", beside: {}, entries: verbEntries }
]

describe.each(cases)("$option", ({ option, kind, beside, entries }) => {
  describe.each([...entries])("$name", (entry) => {
    it.each(outOfRange[kind].map(([bad, shown]) => [shown, bad] as const))(
      "%s is out of range: a RangeError that names it",
      async (shown, bad) => {
        const error = await refusal(entry, { ...beside, [option]: bad })
        expect(error).toBeInstanceOf(RangeError)
        expect(error.message).toContain(option)
        expect(error.message).toContain(shown)
      }
    )

    it.each(noNumbers.map(([bad, shown]) => [typeof bad, bad, shown] as const))(
      "%s: no number, a TypeError that names it",
      async (_, bad, shown) => {
        const error = await refusal(entry, { ...beside, [option]: bad })
        expect(error).toBeInstanceOf(TypeError)
        expect(error.message).toContain(option)
        expect(error.message).toContain(shown)
      }
    )

    it.each(
      {
        count: [1, 2, 1000, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY, undefined],
        rate: [0.2, 0.5, 5, 100_000, Number.POSITIVE_INFINITY, undefined],
        duration: [0, 0.5, 10, Number.POSITIVE_INFINITY, undefined]
      }[kind]
    )("%s is fine", async (good) => {
      await accepted(entry, { ...beside, [option]: good })
    })
  })

  it("says what would be allowed", async () => {
    const [entry] = entries
    if (entry === undefined) throw new Error("no entry")
    const error = await refusal(entry, { ...beside, [option]: -1 })
    expect(error.message).toMatch(
      { count: /whole|integer/i, rate: /greater than 0|> 0|above 0|positive|more than 0/i, duration: /0|negative/i }[
        kind
      ]
    )
  })
})

describe("an unknown option", () => {
  const nearest: ReadonlyArray<readonly [string, string]> = [
    ["concurrency", "maxAtOnce"],
    ["maxAtonce", "maxAtOnce"],
    ["maxatonce", "maxAtOnce"],
    ["maxPerSeconds", "maxPerSecond"],
    ["max_per_second", "maxPerSecond"],
    ["maxBursts", "maxBurst"]
  ]
  describe.each([...verbEntries, meterEntry])("$name", (entry) => {
    it.each(nearest)("%s is refused, and %s named", async (wrong, right) => {
      const error = await refusal(entry, { [wrong]: 5 })
      expect(error.message).toContain(wrong)
      expect(error.message).toContain(right)
    })

    it("is refused even where nothing is near", async () => {
      const error = await refusal(entry, { zzz: 5 })
      expect(error.message).toContain("zzz")
    })
  })

  it.each(verbEntries)("$name: singal is refused, and signal named", async (entry) => {
    const error = await refusal(entry, { singal: new AbortController().signal })
    expect(error.message).toContain("singal")
    expect(error.message).toMatch(/\bsignal\b/)
  })
})

describe("signal", () => {
  describe.each(verbEntries)("$name", (entry) => {
    it.each([
      ["an AbortController", new AbortController()],
      ["a string", "signal"],
      ["null", null],
      ["a plain object", {}],
      ["a number", 5]
    ])("%s is no AbortSignal", async (_, bad) => {
      const error = await refusal(entry, { signal: bad })
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain("signal")
    })

    it("undefined is none", async () => {
      await accepted(entry, { signal: undefined })
    })

    it("bad options are told before an abort, and leave no listener", async () => {
      const controller = new AbortController()
      await refusal(entry, { maxAtOnce: 0, signal: controller.signal })
      expect(listeners(controller.signal)).toBe(0)
    })
  })
})

describe("meter", () => {
  describe.each(verbEntries)("$name", (entry) => {
    it.each([
      ["a plain object", {}],
      ["limits instead of a meter", { maxAtOnce: 5 }],
      ["a number", 5],
      ["null", null],
      ["a string", "meter"],
      ["an array with something else", [createMeter({ maxAtOnce: 1 }), {}]]
    ])("%s is no meter", async (_, bad) => {
      const error = await refusal(entry, { meter: bad })
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain("meter")
    })

    it.each([
      ["one", () => createMeter({ maxAtOnce: 1 })],
      ["several", () => [createMeter({ maxAtOnce: 1 }), createMeter({ maxPerSecond: 10 })]],
      ["none in an array", () => []],
      ["undefined", () => undefined]
    ])("%s is fine", async (_, make) => {
      await accepted(entry, { meter: make() })
    })
  })

  it("the same meter twice counts a task twice or once, but does not hang half-way", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe(() => ({ ms: 10 }))
    const outcome = await settle(runOnEach([0, 1], p.task, { meter: [meter, meter] }))
    expect(outcome.status).toBe("fulfilled")
  })
})

describe("until", () => {
  it.each(["first", "", 1, null, true])("%s is neither success nor settled", async (bad) => {
    for (const entry of verbEntries.filter(({ name }) => name.startsWith("runAny"))) {
      const error = await refusal(entry, { until: bad })
      expect(error.message).toContain("until")
      expect(error.message).toContain("settled")
    }
  })
})

describe("a promise where a function belongs says that it has already started", () => {
  const promise = Promise.resolve(1)
  const calls: ReadonlyArray<readonly [string, () => unknown]> = [
    ["runOnEach(items, promise)", () => untyped.runOnEach(items, promise)],
    ["runAll(items, promise)", () => untyped.runAll(items, promise)],
    ["runAll([promise])", () => untyped.runAll([promise])],
    ["runAll([promise], options)", () => untyped.runAll([promise], { maxAtOnce: 1 })],
    ["runAll({ a: promise })", () => untyped.runAll({ a: promise })],
    ["runAny(items, promise)", () => untyped.runAny(items, promise)],
    ["runAny([promise])", () => untyped.runAny([promise])],
    ["meter.run(promise)", () => (createMeter({}).run as (task: unknown) => unknown)(promise)]
  ]
  it.each(calls)("%s rejects with a TypeError", async (_, call) => {
    const error = await rejection(call() as Promise<unknown>)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(/already (been )?started|already running/i)
    expect((error as Error).message).toContain("() =>")
  })

  it("amap(items, promise) throws one at once", () => {
    expect(() => untyped.amap(items, promise)).toThrow(TypeError)
    expect(() => untyped.amap(items, promise)).toThrow(/already (been )?started|already running/i)
    expect(() => untyped.amap(items, promise)).toThrow("() =>")
  })

  it("no function of the same list is called before it is found", async () => {
    let started = 0
    const task = () => {
      started += 1
    }
    for (const verb of [untyped.runAll, untyped.runAny]) {
      const error = await rejection(verb([task, task, promise]) as Promise<unknown>)
      expect((error as Error).message).toContain("() =>")
    }
    const error = await rejection(untyped.runAll({ a: task, b: promise }) as Promise<unknown>)
    expect((error as Error).message).toContain("() =>")
    await flush()
    expect(started).toBe(0)
  })
})

describe("a task that is none is told by its place", () => {
  it("in a list by its index, in a record by its name", async () => {
    const task = () => {}
    const inList = await rejection(untyped.runAll([task, task, 5]) as Promise<unknown>)
    expect((inList as Error).message).toMatch(/\b2\b/)
    const inRecord = await rejection(untyped.runAll({ first: task, second: 5 }) as Promise<unknown>)
    expect((inRecord as Error).message).toContain("second")
    expect((inRecord as Error).message).not.toContain("first")
  })
})

describe("no function where one belongs", () => {
  it.each([
    ["undefined", undefined],
    ["null", null],
    ["a string", "task"],
    ["a number", 5]
  ])("%s", async (_, bad) => {
    expect(await rejection(untyped.runOnEach(items, bad) as Promise<unknown>)).toBeInstanceOf(TypeError)
    expect(() => untyped.amap(items, bad)).toThrow(TypeError)
    expect(await rejection(untyped.runAll([bad]) as Promise<unknown>)).toBeInstanceOf(TypeError)
    expect(await rejection(untyped.runAll({ a: bad }) as Promise<unknown>)).toBeInstanceOf(TypeError)
    expect(await rejection(untyped.runAny([bad]) as Promise<unknown>)).toBeInstanceOf(TypeError)
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await rejection((meter.run as (task: unknown) => Promise<unknown>)(bad))).toBeInstanceOf(TypeError)
  })
})

describe("no items where items belong", () => {
  const bads: ReadonlyArray<readonly [string, unknown]> = [
    ["an Effect", Effect.succeed(1)],
    ["a failing Effect", Effect.fail("bad")],
    ["a number", 5],
    ["undefined", undefined],
    ["null", null],
    ["a function", () => [1]],
    ["a promise of an array", Promise.resolve([1])]
  ]
  it.each(bads)("%s is refused with a TypeError, nothing starts", async (_, bad) => {
    let started = 0
    const task = () => {
      started += 1
    }
    for (const verb of [untyped.runOnEach, untyped.runAll, untyped.runAny]) {
      expect(await rejection(verb(bad, task) as Promise<unknown>)).toBeInstanceOf(TypeError)
    }
    expect(() => untyped.amap(bad, task)).toThrow(TypeError)
    await flush()
    expect(started).toBe(0)
  })

  it("a plain object is no list of items", async () => {
    const task = () => {}
    expect(await rejection(untyped.runOnEach({ a: 1 }, task) as Promise<unknown>)).toBeInstanceOf(TypeError)
    expect(() => untyped.amap({ a: 1 }, task)).toThrow(TypeError)
  })
})

describe("limits that limit nothing", () => {
  it("an option a verb knows but has no use for is accepted", async () => {
    await accepted(verbEntries[0] as Entry, { maxAtOnce: 100, maxPerSecond: Number.POSITIVE_INFINITY, maxBurst: 5 })
  })

  it("no options, and empty ones", async () => {
    for (const entry of verbEntries) {
      await accepted(entry, undefined)
      await accepted(entry, {})
    }
    createMeter({})
  })

  it("Infinity everywhere is no limit", async () => {
    const p = probe(() => ({ ms: 10 }))
    const none = Number.POSITIVE_INFINITY
    const results = amap(naturals(50), p.task, {
      maxAtOnce: none,
      maxPerSecond: none,
      maxUnread: none,
      meter: createMeter({ maxAtOnce: none, maxPerSecond: none })
    })
    await value(results.next())
    expect(p.starts).toEqual(Array.from({ length: 50 }, () => 0))
    await value(leave(results))
  })
})

describe("createMeter", () => {
  it.each([undefined, null, 5, "maxAtOnce"])("wants its limits as an object, not %s", (bad) => {
    expect(() => untyped.createMeter(bad)).toThrow(TypeError)
  })
})

describe("options that are no object", () => {
  it.each([5, "maxAtOnce", true, null])("%s is refused", async (bad) => {
    for (const entry of verbEntries) await refusal(entry, bad)
  })
})

describe("a refused call has not touched its source", () => {
  it.each(verbEntries.filter(({ name }) => !name.includes("functions") && !name.includes("record")))(
    "$name",
    async ({ name }) => {
      const s = source("sync", [1], () => 0)
      const task = () => {}
      const bad = { maxAtOnce: 0 }
      if (name === "amap") expect(() => amap(s.iterable, task, bad)).toThrow(RangeError)
      else if (name === "runOnEach")
        expect(await rejection(runOnEach(s.iterable, task, bad))).toBeInstanceOf(RangeError)
      else if (name === "runAll over items") {
        expect(await rejection(runAll(s.iterable, task, bad))).toBeInstanceOf(RangeError)
      } else expect(await rejection(runAny(s.iterable, task, bad))).toBeInstanceOf(RangeError)
      expect([s.opened, s.pulls, s.returns]).toEqual([0, 0, 0])
    }
  )
})

describe("meter.run", () => {
  const run = (options: unknown) =>
    (createMeter({ maxAtOnce: 1 }).run as (task: unknown, options: unknown) => Promise<unknown>)(() => 1, options)

  it.each([
    [{ signal: {} }, TypeError, "signal"],
    [{ grace: -1 }, RangeError, "grace"],
    [{ grace: "5" }, TypeError, "grace"],
    [{ grace: Number.NaN }, RangeError, "grace"],
    [{ singal: undefined }, Error, "signal"]
  ])("%o rejects", async (options, kind, named) => {
    const error = await rejection(run(options))
    expect(error).toBeInstanceOf(kind)
    expect((error as Error).message).toContain(named)
  })

  it("works when it is taken off the meter", async () => {
    const { run } = createMeter({ maxAtOnce: 1 })
    expect(await value(run(() => 1))).toBe(1)
  })
})
