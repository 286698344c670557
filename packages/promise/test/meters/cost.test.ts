/** Costs of tasks: spent from windows, rejected if a window can never have the room, and corrected afterwards. */
import * as fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Cost, TaskContext } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  listeners,
  naturals,
  now,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  source,
  useVirtualTime,
  value,
  verbs,
  watch
} from "../support.ts"
import type { Probe } from "../support.ts"
import { mostIn, predictStarts, startsSeen, timings, ways, weighed } from "../support/meterModel.ts"
import type { ModelLimits } from "../support/meterModel.ts"

useVirtualTime()
expectNoUnhandledRejection()

const table: ReadonlyArray<{ readonly name: string; readonly limits: ModelLimits }> = [
  { name: "tokens alone", limits: { windows: { tokens: { limit: 100, per: 1000 } } } },
  {
    name: "requests and tokens",
    limits: { windows: { requests: { limit: 2, per: 500 }, tokens: { limit: 100, per: 1000 } } }
  },
  { name: "tokens and maxAtOnce", limits: { maxAtOnce: 2, windows: { tokens: { limit: 120, per: 700 } } } },
  { name: "tokens and maxPerSecond", limits: { maxPerSecond: 5, windows: { tokens: { limit: 110, per: 1500 } } } },
  {
    name: "everything together",
    limits: {
      maxAtOnce: 3,
      maxPerSecond: 10,
      windows: { requests: { limit: 3, per: 900 }, tokens: { limit: 130, per: 1100 }, daily: { limit: 9, per: 50_000 } }
    }
  }
]

describe("every task starts at the instant that the model predicts", () => {
  it.each(timings(table))("$name", async ({ how, limits, way }) => {
    const { meter, probe: p, promise } = way.begin(weighed, limits, how)
    await settle(promise)
    const starts = startsSeen(way.verb, weighed, predictStarts(weighed, limits))
    expect(p.starts).toEqual(starts)
    expect(p.order).toEqual(starts.map((_, i) => i))
    expect(vi.getTimerCount(), "timers left").toBe(0)
    await pass(60_000)
    expect(meter?.snapshot().room ?? {}).toEqual(
      meter === undefined
        ? {}
        : Object.fromEntries(Object.entries(limits.windows ?? {}).map(([name, { limit }]) => [name, limit]))
    )
  })
})

it("random costs, durations and limits: every start falls where the model has it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ ms: fc.integer({ min: 1, max: 900 }), cost: fc.integer({ min: 0, max: 10 }) }), {
        minLength: 1,
        maxLength: 14
      }),
      fc.record({
        maxAtOnce: fc.integer({ min: 1, max: 5 }),
        tokens: fc.record({ limit: fc.integer({ min: 10, max: 25 }), per: fc.integer({ min: 1, max: 1500 }) }),
        requests: fc.record({ limit: fc.integer({ min: 1, max: 5 }), per: fc.integer({ min: 1, max: 1500 }) })
      }),
      async (random, { maxAtOnce, requests, tokens }) => {
        const planned = random.map(({ cost, ms }) => ({ ms, cost: { tokens: cost } }))
        const limits = { maxAtOnce, windows: { tokens, requests } }
        for (const way of ways.filter(({ name }) => name === "runAll over items" || name === "meter.run")) {
          const from = now()
          const { probe: p, promise } = way.begin(planned, limits, "by a meter")
          await settle(promise)
          expect(p.starts.map((at) => at - from)).toEqual(predictStarts(planned, limits))
        }
      }
    ),
    { numRuns: 25 }
  )
})

describe("a cost", () => {
  const startsOf = async (costs: ReadonlyArray<Cost>, limit: number) => {
    const starts: Array<number> = []
    const windows = { tokens: { limit, per: 1000 }, requests: { limit: 3, per: 1000 } }
    await value(runOnEach(costs, () => void starts.push(now()), { windows, cost: (each) => each }))
    return starts
  }

  it("is 1 of every window that it does not name", async () => {
    expect(await startsOf([{}, {}, {}, {}], 100)).toEqual([0, 0, 0, 1000])
  })

  it("is what is spent: what is left over is for the next", async () => {
    expect(await startsOf([{ tokens: 99 }, { tokens: 2 }, {}, { tokens: 98 }], 100)).toEqual([0, 1000, 1000, 2000])
  })

  it("may be 0: such tasks take nothing", async () => {
    const free = { tokens: 0, requests: 0 }
    expect(await startsOf([free, free, free, free, free, free], 1)).toEqual([0, 0, 0, 0, 0, 0])
  })

  it("may be a fraction", async () => {
    expect(await startsOf([{ tokens: 0.5 }, { tokens: 0.5 }, { tokens: 0.25 }], 1)).toEqual([0, 0, 1000])
  })

  it("may be the whole limit, again and again", async () => {
    expect(await startsOf([{ tokens: 7 }, { tokens: 7 }, { tokens: 7 }], 7)).toEqual([0, 1000, 2000])
  })

  it("is called once for each item, with its index, in input order, before the task starts", async () => {
    for (const verb of verbs.filter(({ verb }) => verb !== "runAny")) {
      const asked: Array<readonly [unknown, unknown]> = []
      const p = probe(() => ({ ms: 10 }))
      const items = ["a", "b", "c", "d"]
      const cost = (item: unknown, index: number) => {
        expect(p.order).not.toContain(index)
        asked.push([item, index])
        return { tokens: 1 }
      }
      await value(verb.call(items, p, { maxAtOnce: 1, windows: { tokens: { limit: 2, per: 100 } }, cost }).promise)
      expect(asked.map(([, index]) => index)).toEqual([0, 1, 2, 3])
      // Where functions are listed, they are the items.
      if (verb.listed) expect(asked.every(([item]) => typeof item === "function")).toBe(true)
      else expect(asked.map(([item]) => item)).toEqual(items)
    }
  })

  it("of a record's functions goes by the order of its keys", async () => {
    const note = () => now()
    const results = runAll(
      { a: note, b: note, c: note },
      { windows: { tokens: { limit: 2, per: 100 } }, cost: (_, index) => ({ tokens: index === 1 ? 2 : 1 }) }
    )
    expect(await value(results)).toEqual({ a: 0, b: 100, c: 200 })
  })

  it("is ignored without windows, if it has no names", async () => {
    expect(await value(runAll([1, 2], (n) => n, { cost: () => ({}) }))).toEqual([1, 2])
    expect(await value(createMeter({}).run(() => 1, { cost: {} }))).toBe(1)
  })

  it("a large request is not overtaken by later small ones", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const starts: Array<string> = []
    const run = (name: string, tokens: number) =>
      meter.run(() => void starts.push(`${name} at ${now()}`), { cost: { tokens } })
    const all = [run("a", 4), run("b", 4)]
    await pass(100)
    all.push(run("large", 10), run("small", 1), run("small", 2))
    await pass(600)
    all.push(run("small", 1))
    await value(Promise.all(all))
    expect(starts).toEqual(["a at 0", "b at 0", "large at 1000", "small at 2000", "small at 2000", "small at 2000"])
  })

  it("when a waiter with a large cost is aborted, small ones behind it start at once", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const controller = new AbortController()
    await value(meter.run(() => 1, { cost: { tokens: 5 } }))
    const large = watch(meter.run(() => 1, { cost: { tokens: 10 }, signal: controller.signal }))
    const small = watch(meter.run(() => now(), { cost: { tokens: 5 } }))
    await pass(400)
    expect(small.outcome).toBeUndefined()
    controller.abort("stop")
    await flush()
    expect(large.outcome).toMatchObject({ reason: "stop" })
    expect(small.outcome).toMatchObject({ value: 400 })
  })

  it("mixed calls on one meter: no window ever spends more than its limit", async () => {
    const meter = createMeter({ maxAtOnce: 4, windows: { tokens: { limit: 50, per: 1000 } } })
    const spent: Array<{ at: number; cost: number }> = []
    const task = async (n: number) => {
      spent.push({ at: now(), cost: n })
      await sleep(n * 7)
    }
    const items = Array.from({ length: 20 }, (_, i) => ((i * 13) % 50) + 1)
    const cost = (n: number) => ({ tokens: n })
    await value(
      Promise.all([
        runOnEach(items, task, { meter, cost }),
        Array.fromAsync(amap(items, task, { meter, cost })),
        Promise.all(items.map((n) => meter.run(() => task(n), { cost: cost(n) })))
      ])
    )
    expect(spent.length).toBe(60)
    expect(mostIn(1000, spent)).toBeLessThanOrEqual(50)
  })
})

describe("a cost above a window's limit is rejected at once", () => {
  const limits = { maxAtOnce: 2, windows: { tokens: { limit: 10, per: 1000 } } }
  const isRefusal = (error: unknown): void => {
    expect(error).toBeInstanceOf(RangeError)
    expect((error as Error).message).toContain("tokens")
    expect((error as Error).message).toContain("11")
    expect((error as Error).message).toContain("10")
    expect(Object.keys(error as Error)).toEqual([])
  }

  it.each(verbs)("$name: nothing has started, and nothing is left", async (verb) => {
    for (const options of [limits, { meter: createMeter(limits) }]) {
      const p = probe(() => ({ ms: 10 }))
      const { signal } = new AbortController()
      const { promise } = verb.call([0, 1], p, { ...options, signal, cost: () => ({ tokens: 11 }) })
      const outcome = await settle(promise)
      expect(outcome).toMatchObject({ status: "rejected", at: now() })
      isRefusal("reason" in outcome ? outcome.reason : undefined)
      expect(p.starts).toEqual([])
      expect(listeners(signal)).toBe(0)
      expect(vi.getTimerCount()).toBe(0)
      if ("meter" in options) {
        expect(options.meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 0, room: { tokens: 10 } })
      }
    }
    expect(now()).toBe(0)
  })

  it.each(verbs)("$name: even where it would have had to wait", async (verb) => {
    const meter = createMeter(limits)
    const holding = [meter.run(() => sleep(50)), meter.run(() => sleep(50))]
    meter.pause(5000)
    const p = probe(() => ({ ms: 10 }))
    const { promise } = verb.call([0, 1], p, { meter, cost: () => ({ tokens: 11 }) })
    isRefusal(await rejection(promise))
    expect(now()).toBe(0)
    await value(Promise.all(holding))
  })

  it.each(verbs.filter(({ failsFast }) => failsFast))("$name: a later task's fails the call fast", async (verb) => {
    const meter = createMeter(limits)
    const p = probe(() => ({ ms: 1000 }))
    const counted = source("sync", naturals(), () => p.order.length)
    const items = verb.listed ? [0, 1, 2, 3] : counted.iterable
    const { promise } = verb.call(items, p, { meter, cost: (_, index) => ({ tokens: index === 1 ? 11 : 1 }) })
    isRefusal(await rejection(promise))
    expect(p.order).toEqual([0])
    expect(p.cancelled()).toEqual([0])
    expect(isAbortError(p.aborted.get(0))).toBe(true)
    if (!verb.listed) expect(counted.returns).toBe(1)
    await expectFree(meter, 2)
  })

  it("meter.run: nothing has started, the meter is as before", async () => {
    const meter = createMeter(limits)
    let started = 0
    const { signal } = new AbortController()
    isRefusal(await rejection(meter.run(() => void started++, { cost: { tokens: 11 }, signal })))
    expect(started).toBe(0)
    expect(listeners(signal)).toBe(0)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 0 })
    await expectFree(meter, 2)
  })

  it("whichever of several windows and meters it is", async () => {
    const a = createMeter({ windows: { requests: { limit: 5, per: 1000 } } })
    const b = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    for (const meter of [
      [a, b],
      [b, a]
    ]) {
      isRefusal(await rejection(runOnEach([1], () => {}, { meter, cost: () => ({ tokens: 11, requests: 1 }) })))
    }
    expect(a.snapshot()).toMatchObject({ started: 0, room: { requests: 5 } })
  })

  it("waiters behind it are admitted as if it had never been there", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    await value(meter.run(() => 1, { cost: { tokens: 10 } }))
    const bad = watch(meter.run(() => 1, { cost: { tokens: 11 } }))
    const good = watch(meter.run(() => now(), { cost: { tokens: 10 } }))
    await pass(1000)
    expect(bad.outcome).toMatchObject({ status: "rejected", at: 0 })
    expect(good.outcome).toMatchObject({ value: 1000 })
  })
})

describe("the cost function", () => {
  const windows = { tokens: { limit: 10, per: 1000 } }

  it.each(verbs)("$name: what it throws is what the call rejects with; nothing is left", async (verb) => {
    const meter = createMeter({ maxAtOnce: 2, windows })
    const p = probe(() => ({ ms: 1000 }))
    const reason = { mine: true }
    const { promise } = verb.call([0, 1, 2], p, {
      meter,
      cost: (_, index) => {
        if (index === 1) throw reason
        return {}
      }
    })
    expect(await rejection(promise)).toBe(reason)
    expect(p.order).toEqual([0])
    expect(p.cancelled()).toEqual([0])
    await expectFree(meter, 2)
  })

  it.each(verbs)("$name: that aborts the call from within starts nothing more", async (verb) => {
    const meter = createMeter({ maxAtOnce: 3, windows })
    const controller = new AbortController()
    const p = probe(() => ({ ms: 1000 }))
    const { promise } = verb.call([0, 1, 2], p, {
      meter,
      signal: controller.signal,
      cost: (_, index) => {
        if (index === 1) controller.abort("stop")
        return {}
      }
    })
    expect(await settle(promise)).toEqual({ status: "rejected", reason: "stop", at: 0 })
    await flush()
    expect(p.order).toEqual([0])
    expect(p.running()).toBe(0)
    await expectFree(meter, 3)
  })

  it("may itself pause the meter: its item waits", async () => {
    const meter = createMeter({ windows })
    const starts: Array<number> = []
    const cost = (n: number) => {
      if (n === 1) meter.pause(300)
      return {}
    }
    await value(runOnEach([0, 1, 2], () => void starts.push(now()), { meter, cost }))
    expect(starts).toEqual([0, 300, 300])
  })
})

describe("correct", () => {
  const limits = { windows: { tokens: { limit: 10, per: 1000 }, requests: { limit: 100, per: 1000 } } }

  it("frees an overestimated cost at once, for tasks that already wait", async () => {
    const meter = createMeter(limits)
    const task = async (context: Pick<TaskContext, "correct">) => {
      await sleep(200)
      context.correct({ tokens: 3 })
      expect(meter.snapshot().room).toMatchObject({ tokens: 0 })
      await sleep(100)
    }
    const first = meter.run(task, { cost: { tokens: 10 } })
    const second = meter.run(() => now(), { cost: { tokens: 7 } })
    expect(await value(second)).toBe(200)
    await value(first)
  })

  it("charges an underestimated cost: later tasks wait for it", async () => {
    const meter = createMeter(limits)
    await value(meter.run(({ correct }) => correct({ tokens: 10 }), { cost: { tokens: 1 } }))
    expect(meter.snapshot().room).toEqual({ tokens: 0, requests: 99 })
    expect(await value(meter.run(() => now(), { cost: { tokens: 1 } }))).toBe(1000)
  })

  it("charges more than a whole window, if that is what it was; the window opens when that has gone out of it", async () => {
    const meter = createMeter(limits)
    await value(meter.run(({ correct }) => correct({ tokens: 25 }), { cost: { tokens: 1 } }))
    expect(meter.snapshot().room).toMatchObject({ tokens: 0 })
    await pass(500)
    expect(await value(meter.run(() => now(), { cost: { tokens: 10 } }))).toBe(1000)
    expect(meter.snapshot().room).toMatchObject({ tokens: 0 })
  })

  it("counts from the task's start: what was used goes out of the window a window after that", async () => {
    const meter = createMeter(limits)
    const first = meter.run(async ({ correct }) => {
      await sleep(900)
      correct({ tokens: 10 })
    })
    await value(first)
    expect(await value(meter.run(() => now(), { cost: { tokens: 10 } }))).toBe(1000)
  })

  it("replaces: the last word counts, however often it is called", async () => {
    const meter = createMeter(limits)
    const rooms: Array<number> = []
    await value(
      meter.run(
        ({ correct }) => {
          for (const tokens of [8, 2, 2, 10, 0, 4.5]) {
            correct({ tokens })
            rooms.push(meter.snapshot().room["tokens"]!)
          }
        },
        { cost: { tokens: 5 } }
      )
    )
    expect(rooms).toEqual([2, 8, 8, 0, 10, 5.5])
  })

  it("leaves alone what it does not name", async () => {
    const meter = createMeter(limits)
    await value(
      meter.run(
        ({ correct }) => {
          correct({})
          correct({ tokens: 1 })
        },
        { cost: { tokens: 5, requests: 20 } }
      )
    )
    expect(meter.snapshot().room).toEqual({ tokens: 9, requests: 80 })
  })

  it("puts right only its own task's entry", async () => {
    const meter = createMeter(limits)
    const corrections: Array<(cost: Cost) => void> = []
    await value(runOnEach([2, 3, 4], (_, { correct }) => void corrections.push(correct), { meter, cost: costOf }))
    expect(meter.snapshot().room["tokens"]).toBe(1)
    corrections[1]!({ tokens: 0 })
    expect(meter.snapshot().room["tokens"]).toBe(4)
    corrections[0]!({ tokens: 1 })
    corrections[2]!({ tokens: 1 })
    expect(meter.snapshot().room["tokens"]).toBe(8)
  })

  it("works after the task's end, and is too late when no window reaches its start", async () => {
    const meter = createMeter(limits)
    const { correct } = await value(meter.run((context) => ({ correct: context.correct }), { cost: { tokens: 10 } }))
    await pass(999)
    correct({ tokens: 4 })
    expect(meter.snapshot().room["tokens"]).toBe(6)
    await pass(1)
    correct({ tokens: 10 })
    expect(meter.snapshot().room["tokens"]).toBe(10)
    await value(meter.run(() => 1, { cost: { tokens: 3 } }))
    correct({ tokens: 0 })
    expect(meter.snapshot().room["tokens"], "another task's entry is not touched").toBe(7)
  })

  it.each(verbs)("$name: destructured, as a method, and called later: starts waiters", async (verb) => {
    // Each books most of what there is, and uses one token, known a little later: the next need not wait for the window.
    const p = probe((i) => ({ ms: 5000 + i }))
    const starts: Array<number> = []
    const task = (item: unknown, context: Pick<TaskContext, "index" | "correct" | "signal">) => {
      const { correct, index, signal } = context
      starts.push(now())
      setTimeout(() => {
        if (index % 2 === 0) correct({ tokens: 1 })
        else context.correct({ tokens: 1 })
      }, 50)
      return p.task(item, { index, signal })
    }
    // A probe passes on the whole context of a task.
    const told: Probe["task"] = (item, context) => task(item, context as TaskContext)
    const tasks: Probe["tasks"] = (count) => Array.from({ length: count }, (_, i) => (context) => told(i, context))
    const { promise } = verb.call(
      [0, 1, 2, 3],
      { ...p, task: told, tasks },
      { windows: { tokens: { limit: 10, per: 4000 } }, cost: () => ({ tokens: 7 }) }
    )
    await settle(promise)
    expect(starts).toEqual([0, 50, 100, 150])
  })

  it("is there for tasks whose call has limits beside the windows", async () => {
    const windowed = createMeter(limits)
    const counted = createMeter({ maxAtOnce: 5 })
    const paced = createMeter({ maxPerSecond: 100 })
    const call = runAll([1, 2], (_, { correct }) => correct({ tokens: 2 }), {
      meter: [counted, windowed, paced],
      maxAtOnce: 3,
      cost: () => ({ tokens: 5 })
    })
    expect(await settle(call)).toMatchObject({ status: "fulfilled" })
    expect(windowed.snapshot().room["tokens"]).toBe(6)
  })

  it("exists also without windows, and then corrects nothing", async () => {
    expect(await value(runAll([1], (_, { correct }) => correct({})))).toEqual([undefined])
    expect(await value(createMeter({ maxAtOnce: 1 }).run(({ correct }) => correct({})))).toBeUndefined()
  })

  it("with an invalid cost throws, and corrects nothing", async () => {
    const meter = createMeter(limits)
    const bad: ReadonlyArray<readonly [unknown, typeof RangeError | typeof TypeError, ReadonlyArray<string>]> = [
      [{ tokens: -1 }, RangeError, ["tokens", "-1"]],
      [{ tokens: Number.NaN }, RangeError, ["tokens", "NaN"]],
      [{ tokens: Infinity }, RangeError, ["tokens", "Infinity"]],
      [{ tokens: "5" }, TypeError, ["tokens", '"5"']],
      [{ token: 5 }, TypeError, ["token", "tokens, requests"]],
      [{ tokens: 1, other: 5 }, TypeError, ["other", "tokens, requests"]],
      [undefined, TypeError, ["cost", "undefined"]],
      [null, TypeError, ["cost", "null"]],
      [5, TypeError, ["cost", "5"]],
      [[5], TypeError, ["cost", "an array"]]
    ]
    await value(
      meter.run(
        ({ correct }) => {
          for (const [cost, kind, named] of bad) {
            const call = () => correct(cost as Cost)
            expect(call).toThrow(kind)
            for (const text of named) expect(call).toThrow(text)
          }
        },
        { cost: { tokens: 5 } }
      )
    )
    expect(meter.snapshot().room["tokens"]).toBe(5)
    const none = createMeter({ maxAtOnce: 1 }).run(({ correct }) => correct({ tokens: 1 }))
    const error = await rejection(none)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toContain("tokens")
  })

  it("of a cancelled task still counts", async () => {
    const meter = createMeter(limits)
    const won = runAny(
      [
        async ({ correct }: TaskContext) => {
          await sleep(100)
          correct({ tokens: 0 })
        },
        () => sleep(10)
      ],
      { meter, cost: () => ({ tokens: 5 }) }
    )
    await value(won)
    expect(meter.snapshot().room["tokens"]).toBe(0)
    await pass(100)
    expect(meter.snapshot().room["tokens"]).toBe(5)
  })
})

it("a correction applies to all meters of the task before the waiters of any are checked", async () => {
  for (const order of [0, 1]) {
    const begin = now()
    const make = (name: string) => createMeter({ windows: { [name]: { limit: 10, per: 100 } } })
    const made = order === 0 ? [make("spent"), make("saved")] : [make("saved"), make("spent")].toReversed()
    const corrects = async (_: unknown, { correct }: TaskContext): Promise<void> => {
      await sleep(10)
      correct({ spent: 10, saved: 1 })
    }
    const first = runOnEach([0], corrects, { meter: made, cost: () => ({ spent: 1, saved: 10 }) })
    const p = probe(() => ({}))
    const next = runOnEach([0], p.task, { meter: made, cost: () => ({ spent: 5, saved: 5 }) })
    await value(Promise.all([first, next]))
    expect(p.starts).toEqual([begin + 100])
  }
})

const costOf = (tokens: number): Cost => ({ tokens })
