/** Invalid input is rejected before anything starts, with a message that names the option, the value and what is allowed. */
import { Effect } from "effect"
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runOnEach } from "../src/index.ts"
import {
  accepts,
  allOf,
  entryPoints,
  expectError,
  expectRejected,
  items,
  rejects,
  verbEntryPoints
} from "./support/entryPoints.ts"
import type { EntryPoint } from "./support/entryPoints.ts"
import { problemIn } from "../../fibermeter/test/support/rules.ts"
import type { Rule } from "../../fibermeter/test/support/rules.ts"
import {
  expectNoUnhandledRejection,
  flush,
  leave,
  listeners,
  naturals,
  now,
  probe,
  rejection,
  settle,
  source,
  untyped,
  useVirtualTime,
  value
} from "./support.ts"
import type { Untyped } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const entryPoint = (name: string): EntryPoint => entryPoints.find((each) => each.name === name)!

const rules = new Map<Rule, EntryPoint>()
for (const each of entryPoints) for (const rule of each.rules) if (!rules.has(rule)) rules.set(rule, each)

describe("each option rejects all values but those of its rule", () => {
  it.each(Array.from(rules, ([rule, entryPoint]) => ({ ...rule, rule, entryPoint })))(
    "$option",
    async ({ accepted, entryPoint, outOfRange, rule, wrongType }) => {
      for (const shown of outOfRange) await expectRejected(entryPoint, rule, RangeError, shown)
      for (const shown of wrongType) await expectRejected(entryPoint, rule, TypeError, shown)
      for (const each of accepted) await accepts(entryPoint, rule.options(each))
    }
  )

  it("windows: the other parts of a window, misspelt or not", async () => {
    const window = (tokens: object): object => ({ windows: { tokens } })
    expectError(await rejects(entryPoint("createMeter"), window({ limit: 5, per: 1000, every: 3 })), TypeError, [
      "windows.tokens.every",
      "Known: windows.tokens.limit, windows.tokens.per"
    ])
    expectError(await rejects(entryPoint("createMeter"), window({ limits: 5, per: 1000 })), TypeError, [
      "windows.tokens.limits",
      "Did you mean windows.tokens.limit?"
    ])
  })

  it("an invalid option among valid ones is named", async () => {
    const options = {
      maxAtOnce: 5,
      windows: { requests: { limit: 5, per: "1 minute" }, none: undefined, tokens: { limit: 0, per: 1000 } },
      signal: new AbortController().signal
    }
    expectError(await rejects(entryPoint("runAll over items"), options), RangeError, ["windows.tokens.limit", "0"])
  })
})

const ruled = new Set(Array.from(rules.keys(), ({ option }) => option))

describe.each(entryPoints)("$name", (entryPoint) => {
  const { name, optionsName, rules, unknown } = entryPoint

  it("applies the rule of each of its options", async () => {
    for (const rule of rules) {
      for (const shown of rule.outOfRange.slice(0, 1)) await expectRejected(entryPoint, rule, RangeError, shown)
      for (const shown of rule.wrongType.slice(0, 1)) await expectRejected(entryPoint, rule, TypeError, shown)
      await accepts(entryPoint, rule.options(rule.accepted[0]))
    }
  })

  it("rejects names that it does not know, and lists those that it knows", async () => {
    const known = rules.map(({ option }) => option).filter((option) => /^\w+$/.test(option))
    for (const each of [...unknown, "constructor"]) {
      const error = await rejects(entryPoint, { [each]: undefined })
      expectError(error, TypeError, [`there is no option ${each}.`])
      const listed = error.message.split("Known: ")[1]!.split(", ")
      expect(listed).toEqual(expect.arrayContaining(known))
      expect(
        listed.filter((each) => !ruled.has(each)),
        "options without a rule"
      ).toEqual([])
    }
  })

  it(`rejects ${optionsName} that are not an object`, async () => {
    for (const [options, shown] of [
      [null, "null"],
      [5, "5"],
      ["maxAtOnce", '"maxAtOnce"'],
      [true, "true"],
      [[{ maxAtOnce: 1 }], "an array"],
      [Promise.resolve({}), "a Promise"],
      // After a list of functions, a function is a task, and the list its items.
      ...(/over (functions|a record)/.test(name) ? [] : [[() => ({}), "a function"]])
    ]) {
      expectError(await rejects(entryPoint, options), TypeError, [`${optionsName} must be`, `is ${shown as string}`])
    }
  })

  it(`accepts ${optionsName} that are empty${optionsName === "limits" ? "" : " or not there"}`, async () => {
    await accepts(entryPoint, {})
    await accepts(entryPoint, Object.create(null))
    if (optionsName === "limits") {
      expectError(await rejects(entryPoint, undefined), TypeError, ["limits must be", "undefined"])
    } else {
      await accepts(entryPoint, undefined)
    }
  })
})

it.each(entryPoints.filter(({ optionsName }) => optionsName === "options"))(
  "$name reports invalid options before an abort, and leaves no listener on a valid signal",
  async (entryPoint) => {
    const controller = new AbortController()
    // All of them have one of these options.
    const name = entryPoint.rules.some(({ option }) => option === "timeout") ? "timeout" : "permits"
    const options = { signal: controller.signal, [name]: 0 }
    expectError(await rejects(entryPoint, options), RangeError, [name])
    expect(listeners(controller.signal)).toBe(0)
    controller.abort()
    expectError(await rejects(entryPoint, options), RangeError, [name])
  }
)

describe("an unknown option", () => {
  it.each([
    ["runAll over items", "concurrency", "maxAtOnce"],
    ["runAll over items", "maxAtonce", "maxAtOnce"],
    ["runAll over items", "maxatonce", "maxAtOnce"],
    ["runAll over items", "maxPerSeconds", "maxPerSecond"],
    ["runAll over items", "max_per_second", "maxPerSecond"],
    ["runAll over items", "maxBursts", "maxBurst"],
    ["runAll over items", "window", "windows"],
    ["runAll over items", "singal", "signal"],
    ["runAll over items", "retries", "retry"],
    ["runAll over items", "stopOnErorr", "stopOnError"],
    ["runAll over items", "setled", "settled"],
    ["runAll over items", "timeot", "timeout"],
    ["runAll over items", "onProgres", "onProgress"],
    ["run of a meter", "timeouts", "timeout"],
    ["run of a meter", "retries", "retry"],
    ["run of a meter", "abortSignal", "signal"],
    ["run of a meter", "costs", "cost"],
    ["createMeter", "concurrency", "maxAtOnce"]
  ])("of %s: %s suggests %s", async (name, wrong, right) => {
    expectError(await rejects(entryPoint(name), { [wrong]: 5 }), TypeError, [`${wrong}. Did you mean ${right}?`])
  })

  it.each([
    ["tries", "times"],
    ["tmies", "times"],
    ["delays", "delay"],
    ["whlie", "while"],
    ["minTimeout", "delay"],
    ["maxTimeout", "maxDelay"],
    ["pause", "pauses"]
  ])("of retry: %s suggests %s", async (wrong, right) => {
    const error = await rejects(entryPoint("runAll over items"), { retry: { [wrong]: 5 } })
    expectError(error, TypeError, [`retry.${wrong}. Did you mean retry.${right}?`])
  })

  it("suggests nothing where no name is similar", async () => {
    const { message } = await rejects(entryPoint("runAll over items"), { zzz: 5 })
    expect(message).toMatch(/^there is no option zzz\. Known: maxAtOnce, /)
  })
})

describe("a task that is not a function", () => {
  const tasks: ReadonlyArray<readonly [shown: string, task: unknown]> = [
    ["undefined", undefined],
    ["null", null],
    ['"task"', "task"],
    ["5", 5],
    ["an object", { run: () => 1 }],
    ["an array", [() => 1]],
    ["a Promise", Promise.resolve(1)]
  ]
  /** A promise gets a hint: its task has already started. */
  const expectProblem = (error: unknown, problem: string): void => {
    const { message } = error as Error
    expect(problemIn(message)).toBe(problem)
    if (problem.endsWith("a Promise")) expect(message).toMatch(/It has already started: .*\(\) =>/)
    else expect(message).toBe(problem)
  }
  const meter = createMeter({ maxAtOnce: 1 })
  const calls: ReadonlyArray<readonly [name: string, task: string, call: (task: unknown) => unknown]> = [
    ["runOnEach", "the task", (task) => untyped.runOnEach(items, task)],
    ["runAll over functions", "tasks[0]", (task) => untyped.runAll([task])],
    ["runAll over functions, with options", "tasks[0]", (task) => untyped.runAll([task], { maxAtOnce: 1 })],
    ["runAll over a record", 'tasks["a"]', (task) => untyped.runAll({ a: task })],
    ["runAny over functions", "tasks[0]", (task) => untyped.runAny([task])],
    ["runOnEach of a meter", "the task", (task) => (meter.runOnEach as Untyped)(items, task)],
    ["runAll of a meter", "tasks[0]", (task) => (meter.runAll as Untyped)([task])],
    ["runAny of a meter", "tasks[0]", (task) => (meter.runAny as Untyped)([task])],
    ["meter.run", "the task", (task) => (meter.run as Untyped)(task)]
  ]
  it.each(calls)("%s rejects with a TypeError that says so", async (_, name, call) => {
    for (const [shown, task] of tasks) {
      const error = await rejection(call(task) as Promise<unknown>)
      expect(error).toBeInstanceOf(TypeError)
      expectProblem(error, `${name} must be a function, but is ${shown}`)
    }
    expect(meter.snapshot()).toMatchObject({ started: 0, running: 0, waiting: 0 })
  })

  it.each([
    ["amap", "the task", (task: unknown) => untyped.amap(items, task)],
    ["amap of a meter", "the task", (task: unknown) => (meter.amap as Untyped)(items, task)],
    ["meter.wrap", "what is wrapped", (task: unknown) => (meter.wrap as Untyped)(task)]
  ] as const)("%s throws a TypeError that says so", (_, name, call) => {
    for (const [shown, task] of tasks) {
      let error: unknown
      try {
        call(task)
      } catch (thrown) {
        error = thrown
      }
      expect(error).toBeInstanceOf(TypeError)
      expectProblem(error, `${name} must be a function, but is ${shown}`)
    }
  })

  it("is rejected in place of the function for all items, which may also be missing", async () => {
    for (const verb of [untyped.runAll, untyped.runAny, meter.runAll as Untyped, meter.runAny as Untyped]) {
      const error = await rejection(verb(items, Promise.resolve(1)) as Promise<unknown>)
      expectError(error, TypeError, ["It has already started: ", "() =>"])
      for (const task of [undefined, null, 5, "task", [() => 1]]) {
        expectError(await rejection(verb(items, task, {}) as Promise<unknown>), TypeError, ["must be"])
      }
    }
  })

  it("is named by its index in a list, by its name in a record, and found before any other is called", async () => {
    const task = vi.fn<() => void>()
    for (const verb of [untyped.runAll, untyped.runAny]) {
      const error = await rejection(verb([task, task, 5]) as Promise<unknown>)
      expectError(error, TypeError, ["tasks[2] must be a function"])
    }
    const error = await rejection(untyped.runAll({ first: task, second: 5 }) as Promise<unknown>)
    expectError(error, TypeError, ['tasks["second"] must be a function'])
    await flush()
    expect(task).not.toHaveBeenCalled()
  })
})

describe("items that are not iterable", () => {
  const verbs = ["runOnEach", "runAll", "runAny", "amap"] as const
  it.each(verbs)("%s rejects them, and starts nothing", async (name) => {
    const task = vi.fn<() => void>()
    for (const bad of [
      Effect.succeed(1),
      Effect.fail("bad"),
      5,
      undefined,
      null,
      { a: 1 },
      () => [1],
      Promise.resolve([1])
    ]) {
      const calls = [untyped[name], createMeter({})[name] as Untyped]
      for (const call of calls) {
        if (name === "amap") {
          expect(() => call(bad, task)).toThrow(TypeError)
          continue
        }
        const error = await rejection(call(bad, task) as Promise<unknown>)
        expectError(error, TypeError, ["items must be an Iterable or an AsyncIterable"])
      }
    }
    await flush()
    expect(task).not.toHaveBeenCalled()
  })
})

describe("limits that limit nothing", () => {
  it("maxBurst is accepted where there is no rate that it could matter to", async () => {
    await accepts(entryPoint("runOnEach"), { maxPerSecond: Number.POSITIVE_INFINITY, maxBurst: 5 })
  })

  it("with Infinity everywhere, all tasks start at once", async () => {
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

it("a call with the same meter twice completes", async () => {
  const meter = createMeter({ maxAtOnce: 2 })
  const p = probe(() => ({ ms: 10 }))
  const outcome = await settle(runOnEach([0, 1], p.task, { meter: [meter, meter] }))
  expect(outcome.status).toBe("fulfilled")
})

it.each(["runOnEach", "runAll", "runAny", "amap"] as const)(
  "%s does not open its source if it rejects its options",
  async (name) => {
    const s = source("sync", [1], () => 0)
    const call = async (): Promise<unknown> => untyped[name](s.iterable, () => {}, { maxAtOnce: 0 })
    expect(await rejection(call())).toBeInstanceOf(RangeError)
    expect([s.opened, s.pulls, s.returns]).toEqual([0, 0, 0])
  }
)

it("run can be called without its meter", async () => {
  const { run } = createMeter({ maxAtOnce: 1 })
  expect(await value(run(() => 1))).toBe(1)
})

it("resize that rejects its limits changes nothing, not even what was valid in them", async () => {
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

describe("the duration of meter.pause", () => {
  const wanted = 'a duration, such as 60_000 (milliseconds) or "1 minute"'
  it.each([
    ["-1", RangeError, -1],
    ["NaN", RangeError, Number.NaN],
    ["-Infinity", RangeError, Number.NEGATIVE_INFINITY],
    ['"soon"', TypeError, "soon"],
    ['"30"', TypeError, "30"],
    ["null", TypeError, null],
    ["true", TypeError, true],
    ["a function", TypeError, () => 5]
  ])("must not be %s: an error, and the meter is not paused", async (shown, kind, duration) => {
    const meter = createMeter({ maxAtOnce: 1 })
    let error: unknown
    try {
      ;(meter.pause as Untyped)(duration)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(kind)
    expect((error as Error).message).toBe(`the duration must be ${wanted}, but is ${shown}`)
    expect(meter.snapshot().nextStart).toBe(0)
    expect(await value(meter.run(() => now()))).toBe(0)
  })
})

describe("the cost of a task", () => {
  const windows = { tokens: { limit: 100, per: 1000 }, requests: { limit: 10, per: 1000 } }
  type Cost = readonly [cost: unknown, kind: typeof RangeError | typeof TypeError, texts: ReadonlyArray<string>]

  const costs: ReadonlyArray<Cost> = [
    [{ tokens: -1 }, RangeError, ["cost.tokens", "-1"]],
    [{ tokens: Number.NaN }, RangeError, ["cost.tokens", "NaN"]],
    [{ tokens: Infinity }, RangeError, ["cost.tokens must be a finite number of at least 0, but is Infinity"]],
    [{ tokens: 101 }, RangeError, ["tokens", "101", "100"]],
    [{ tokens: "5" }, TypeError, ["cost.tokens", '"5"']],
    [{ tokens: null }, TypeError, ["cost.tokens", "null"]],
    [{ tokens: undefined }, TypeError, ["cost.tokens", "undefined"]],
    [{ tokens: 5n }, TypeError, ["cost.tokens", "5n"]],
    [{ tokens: Promise.resolve(5) }, TypeError, ["cost.tokens", "a Promise"]],
    [{ token: 5 }, TypeError, ["token", "tokens", "requests"]],
    [{ tokens: 1, pages: 5 }, TypeError, ["pages", "tokens", "requests"]],
    [{ constructor: 5 }, TypeError, ["constructor", "tokens", "requests"]],
    [5, TypeError, ["cost", "5"]],
    [[5], TypeError, ["cost", "an array"]],
    [null, TypeError, ["cost", "null"]],
    [Promise.resolve({ tokens: 5 }), TypeError, ["cost", "a Promise"]],
    [() => ({ tokens: 5 }), TypeError, ["cost", "a function"]]
  ]

  const expectInvalid = async ({ call }: Pick<EntryPoint, "call">, [cost, kind, texts]: Cost): Promise<void> => {
    const meter = createMeter({ maxAtOnce: 1, windows })
    const before = meter.snapshot()
    for (const limits of [{ windows }, { meter }]) {
      const { signal } = new AbortController()
      const task = vi.fn<() => void>()
      expectError(
        await rejection(allOf(call(task, { ...limits, signal, cost }, meter)) as Promise<unknown>),
        kind,
        texts
      )
      expect(task).not.toHaveBeenCalled()
      expect(meter.snapshot()).toEqual(before)
      expect(listeners(signal)).toBe(0)
    }
  }

  /** The cost of `run` is a value. For the verbs and `wrap`, it is what a function returns. */
  const run = {
    name: "run of a meter",
    call: (task: Untyped, options: any, meter: any) => meter.run(task, { cost: options.cost, signal: options.signal })
  }
  const wrap = {
    name: "wrap of a meter",
    call: (task: Untyped, options: any, meter: any) =>
      meter.wrap(task, { cost: () => options.cost, signal: options.signal })()
  }
  const byFunction = [
    ...verbEntryPoints.map(({ name, call }) => ({
      name,
      call: (task: Untyped, options: any, meter: any): unknown =>
        call(task, { ...options, cost: () => options.cost }, meter)
    })),
    wrap
  ]

  it.each(costs)("%o is rejected before the task starts", async (...cost) => {
    await expectInvalid(run, cost)
    await expectInvalid(byFunction[0]!, cost)
  })

  it.each([...byFunction, run])("$name checks it", async (entryPoint) => {
    for (const cost of [costs[0]!, costs[4]!, costs[9]!]) await expectInvalid(entryPoint, cost)
  })

  it.each(byFunction)("$name: a function must return one", async (entryPoint) => {
    await expectInvalid(entryPoint, [undefined, TypeError, ["cost", "undefined"]])
  })

  it("may be 0, a fraction, or as much as a window has", async () => {
    for (const cost of [{ tokens: 0 }, { tokens: 0.5 }, { tokens: 99.5, requests: 10 }, {}]) {
      const meter = createMeter({ windows })
      expect(await value(meter.run(() => 1, { cost }))).toBe(1)
    }
  })

  it("run accepts undefined for none", async () => {
    expect(await value(createMeter({ windows }).run(() => 1, { cost: undefined }))).toBe(1)
  })

  it.each([...byFunction, run])("$name: without windows, no name is known", async ({ call }) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const result = (cost: object): Promise<unknown> =>
      Promise.resolve(allOf(call(() => 1, { maxAtOnce: 1, cost }, meter)))
    expectError(await rejection(result({ tokens: 1 })), TypeError, ["tokens", "No window has a name here"])
    expect((await settle(result({}))).status).toBe("fulfilled")
  })
})
