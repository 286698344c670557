/** `retry`: which failures are followed by another attempt, and when. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { Options, Period, Retry } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  leave,
  listeners,
  naturals,
  now,
  over,
  pass,
  rejection,
  settle,
  sleep,
  source,
  tasksOf,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** A task that notes each attempt at it, and fails as often as that says. */
const flaky = (failures: (index: number) => number, ms = 0) => {
  const log: Array<readonly [index: number, at: number]> = []
  const reasons: Array<unknown> = []
  let running = 0
  let peak = 0
  const task = async (_: unknown, { index, signal }: { readonly index: number; readonly signal: AbortSignal }) => {
    log.push([index, now()])
    const attempt = log.filter(([each]) => each === index).length
    running++
    peak = Math.max(peak, running)
    try {
      if (ms > 0) await sleep(ms, signal)
    } finally {
      running--
    }
    if (attempt > failures(index)) return `v${index}`
    const reason = new Error(`${index}, attempt ${attempt}`)
    reasons.push(reason)
    throw reason
  }
  return { log, reasons, task, peak: () => peak, instants: () => log.map(([, at]) => at) }
}

const always = (): number => Infinity

const wrongly = (retry: unknown): Options => ({ retry: retry as Retry })

describe.each(verbs)("$name", (verb) => {
  it("without a delay, a task that fails is retried twice, after a random part of a second, then of two", async () => {
    draw(0.5, 0.25)
    const f = flaky(always)
    const call = verb.call([0], tasksOf(f.task), { retry: {} })
    const outcome = await settle(call.promise)
    expect(f.instants()).toEqual([0, 500, 1000])
    expect(outcome.at).toBe(1000)
    const last = f.reasons[2]
    const isAggregate = verb.verb === "runAny" && !verb.failsFast
    expect(
      outcome.status === "rejected" && (isAggregate ? (outcome.reason as AggregateError).errors[0] : outcome.reason)
    ).toBe(last)
  })

  it("a task that succeeds in the end is a success", async () => {
    const f = flaky(() => 2)
    const call = verb.call([0], tasksOf(f.task), { retry: { delay: 10 } })
    expect(await settle(call.promise)).toMatchObject({ status: "fulfilled", at: 20 })
    if (verb.verb === "runAll") expect(call.delivered).toEqual([["v0"]])
    else if (verb.verb !== "runOnEach") expect(call.delivered).toEqual(["v0"])
  })

  it("an abort while items back off ends the call at once", async () => {
    const controller = new AbortController()
    const f = flaky(always)
    const call = verb.call([0, 1], tasksOf(f.task), {
      retry: { delay: 1000, times: Infinity },
      signal: controller.signal
    })
    setTimeout(() => controller.abort("stop"), 2500)
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "stop", at: 2500 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    expect(listeners(controller.signal)).toBe(0)
    expect(f.instants()).toEqual([0, 0, 1000, 1000, 2000, 2000])
  })

  it("the end of the call by another task ends tasks in backoff", async () => {
    const decides = async (): Promise<unknown> => {
      await sleep(50)
      if (verb.verb === "runAny") return "won"
      throw "decided"
    }
    let attempts = 0
    const task = (_: unknown, { index }: { readonly index: number }): Promise<unknown> => {
      if (index === 0) return decides()
      attempts++
      return Promise.reject("again")
    }
    const call = verb.call([0, 1], tasksOf(task), {
      retry: { delay: 1000, while: (reason) => reason === "again" }
    })
    expect(await settle(call.promise)).toMatchObject({
      ...(verb.verb === "runAny" ? {} : { status: "rejected", reason: "decided" }),
      at: 50
    })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    await pass(5000)
    expect(attempts).toBe(1)
  })

  it("retries release every permit of a meter on every ending", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    await settle(verb.call([0, 1, 2], tasksOf(flaky(always, 5).task), { meter, retry: { delay: 10 } }).promise)
    await settle(verb.call([0, 1, 2], tasksOf(flaky(() => 1, 5).task), { meter, retry: { delay: 10 } }).promise)
    await expectFree(meter, 2)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
  })

  it("each attempt has the task's index, and a signal of its own", async () => {
    const signals = new Set<AbortSignal>()
    const indices: Array<number> = []
    const task = (_: unknown, { index, signal }: { readonly index: number; readonly signal: AbortSignal }) => {
      indices.push(index)
      signals.add(signal)
      return Promise.reject("x")
    }
    await settle(verb.call([0], tasksOf(task), { retry: { delay: 10 } }).promise)
    expect(indices).toEqual([0, 0, 0])
    expect(signals.size).toBe(3)
  })
})

/** What `Math.random` returns next. */
const draw = (...values: ReadonlyArray<number>): void => {
  const random = vi.spyOn(Math, "random")
  for (const each of values) random.mockReturnValueOnce(each)
}

describe("without a delay: full jitter", () => {
  const almostOne = 1 - 2 ** -53
  it.each<readonly [string, () => Retry, ReadonlyArray<number>, ReadonlyArray<number>]>([
    ["from nothing", () => ({ times: 4 }), [0, 0, 0, 0], [0, 0, 0, 0, 0]],
    [
      "half of a second, then of twice as long each time",
      () => ({ times: 4 }),
      [0.5, 0.5, 0.5, 0.5],
      [0, 500, 1500, 3500, 7500]
    ],
    ["each time another part", () => ({ times: 3 }), [0.1, 0.75, 0.2], [0, 100, 1600, 2400]],
    [
      "to almost the whole, up to 30 seconds",
      () => ({ times: 7 }),
      Array.from({ length: 7 }, () => almostOne),
      [0, 1000, 3000, 7000, 15_000, 31_000, 61_000, 91_000]
    ],
    ["at most maxDelay", () => ({ times: 3, maxDelay: 1500 }), [0.5, 0.5, 0.5], [0, 500, 1500, 3000]],
    [
      "undefined is the default",
      () => ({
        times: undefined,
        delay: undefined,
        schedule: undefined,
        while: undefined,
        maxDelay: undefined,
        pauses: undefined
      }),
      [0.5, 0.5],
      [0, 500, 1500]
    ]
  ])("%s", async (_, retry, drawn, instants) => {
    draw(...drawn)
    const f = flaky(always)
    expect(await rejection(runOnEach([0], f.task, { retry: retry() }))).toBe(f.reasons.at(-1))
    expect(f.instants()).toEqual(instants)
  })
})

describe("backoff", () => {
  const seconds = function* (): Generator<Period> {
    yield 5
    yield "1 second"
    yield 20
  }
  it.each<readonly [string, () => Retry, ReadonlyArray<number>]>([
    ["a number", () => ({ delay: 250 }), [0, 250, 500]],
    ["with a unit", () => ({ delay: "1 second" }), [0, 1000, 2000]],
    ["none", () => ({ delay: 0 }), [0, 0, 0]],
    ["by the number of the attempt", () => ({ delay: (attempt) => attempt * 100 }), [0, 100, 300]],
    ["by the reason", () => ({ delay: (_, reason) => ((reason as Error).message.endsWith("1") ? 7 : 11) }), [0, 7, 18]],
    ["a function that returns a string with a unit", () => ({ delay: () => "2 seconds" }), [0, 2000, 4000]],
    ["an array", () => ({ schedule: [10, "1 second", 30] }), [0, 10, 1010, 1040]],
    ["a generator object", () => ({ schedule: seconds() }), [0, 5, 1005, 1025]],
    ["an empty schedule", () => ({ schedule: [] }), [0]],
    ["a schedule, and fewer times than that", () => ({ schedule: [10, 20, 30], times: 2 }), [0, 10, 30]],
    ["a schedule, and more times than that", () => ({ schedule: [10], times: 5 }), [0, 10]],
    ["a schedule comes before a delay", () => ({ schedule: [10], delay: 99 }), [0, 10]],
    ["an endless schedule with times", () => ({ schedule: naturals(), times: 4 }), [0, 0, 1, 3, 6]],
    ["no times", () => ({ times: 0 }), [0]],
    ["at most maxDelay", () => ({ times: 3, delay: (attempt) => attempt * 100, maxDelay: 150 }), [0, 100, 250, 400]],
    [
      "a schedule, at most maxDelay",
      () => ({ schedule: [10, "1 hour", "2 hours"], maxDelay: 60_000 }),
      [0, 10, 60_010, 120_010]
    ]
  ])("%s", async (_, retry, instants) => {
    const f = flaky(always)
    expect(await rejection(runOnEach([0], f.task, { retry: retry() }))).toBe(f.reasons.at(-1))
    expect(f.instants()).toEqual(instants)
  })

  it("starts when the attempt has failed, not when it began", async () => {
    const f = flaky(always, 70)
    await rejection(runOnEach([0], f.task, { retry: { delay: 100 } }))
    expect(f.instants()).toEqual([0, 170, 340])
  })

  it("is separate for each task: a schedule starts anew for each, even one that can be iterated only once", async () => {
    const f = flaky((i) => i)
    const schedule = [100, 200, 300].values()
    await value(runOnEach([0, 1, 2, 3], f.task, { retry: { schedule } }))
    const of = (index: number) => f.log.filter(([each]) => each === index).map(([, at]) => at)
    expect([0, 1, 2, 3].map(of)).toEqual([[0], [0, 100], [0, 100, 300], [0, 100, 300, 600]])
  })

  it("a schedule that is over stays over", async () => {
    const next = vi.fn<() => IteratorResult<number>>(() => ({ done: true, value: undefined }))
    const schedule = { [Symbol.iterator]: () => ({ next }) }
    const f = flaky(always)
    await rejection(runAll([0, 1], f.task, { retry: { schedule }, stopOnError: false }))
    expect(f.log).toHaveLength(2)
  })

  it("longer than what a timer can be set to", async () => {
    const f = flaky(() => 1)
    const call = watch(runOnEach([0], f.task, { retry: { delay: "60 days" } }))
    const days = 86_400_000
    for (let i = 0; i < 3; i++) await pass(20 * days - 1)
    expect(f.log).toHaveLength(1)
    await pass(3)
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 60 * days })
  })

  it("tasks that throw at once are tried again as others are", async () => {
    const at: Array<number> = []
    const task = () => {
      at.push(now())
      throw "sync"
    }
    expect(await rejection(runOnEach([0], task, { retry: { delay: 10 } }))).toBe("sync")
    expect(at).toEqual([0, 10, 20])
  })

  it("endless retries without a delay yield to the event loop", async () => {
    const controller = new AbortController()
    let attempts = 0
    const task = () => {
      if (++attempts === 10) setImmediate(() => controller.abort("stop"))
      throw "x"
    }
    const retry = { delay: 0, times: Infinity }
    expect(await rejection(runOnEach([0], task, { retry, signal: controller.signal }))).toBe("stop")
    expect(attempts).toBeGreaterThanOrEqual(10)
  })
})

describe("while", () => {
  it("false stops: the failure is the task's", async () => {
    const f = flaky(always)
    const asked: Array<readonly [unknown, number]> = []
    const retry: Retry = {
      times: Infinity,
      delay: 10,
      while: (reason, attempt) => {
        asked.push([reason, attempt])
        return attempt < 3
      }
    }
    expect(await rejection(runOnEach([0], f.task, { retry }))).toBe(f.reasons[2])
    expect(asked).toEqual([
      [f.reasons[0], 1],
      [f.reasons[1], 2],
      [f.reasons[2], 3]
    ])
  })

  it.each([undefined, null, 0, ""])("%s is false, as everywhere", async (answer) => {
    const f = flaky(always)
    expect(await rejection(runOnEach([0], f.task, wrongly({ while: () => answer })))).toBe(f.reasons[0])
  })

  it("is not called after the last attempt", async () => {
    const asked = vi.fn<() => boolean>(() => true)
    await rejection(runOnEach([0], flaky(always).task, { retry: { times: 1, delay: 1, while: asked } }))
    expect(asked).toHaveBeenCalledTimes(1)
  })

  it.each<readonly [string, (fails: () => never) => Retry]>([
    ["while", (fails) => ({ while: fails })],
    ["delay", (fails) => ({ delay: fails })],
    ["schedule", (fails) => ({ schedule: { [Symbol.iterator]: () => ({ next: fails }) } })]
  ])("%s throws: the task fails with that", async (_, retry) => {
    const errors: Array<Error> = []
    const f = flaky(always)
    const fails = () => {
      const error = new Error("of the caller")
      errors.push(error)
      throw error
    }
    const outcomes = await value(runAll([0, 1], f.task, { retry: retry(fails), settled: true }))
    expect(outcomes.map((each) => each.status === "rejected" && each.reason)).toEqual(errors)
    // How the tasks had failed is not lost.
    expect(errors.map(({ cause }) => cause)).toMatchObject([{ message: "0, attempt 1" }, { message: "1, attempt 1" }])
    expect(f.log).toHaveLength(2)
  })

  it("a schedule whose iterator throws fails the call", async () => {
    const error = new Error("no iterator")
    const schedule: Iterable<number> = {
      [Symbol.iterator]: () => {
        throw error
      }
    }
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await rejection(runOnEach([0], () => 1, { meter, retry: { schedule } }))).toBe(error)
    expect(await rejection(amap([0], () => 1, { meter, retry: { schedule } }).next())).toBe(error)
    await expectFree(meter, 1)
    expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
  })

  it.each([0, 50])("may abort the call, grace %i", async (grace) => {
    const controller = new AbortController()
    const f = flaky(always, 10)
    const retry: Retry = {
      delay: 1000,
      while: () => {
        controller.abort("enough")
        return true
      }
    }
    const outcome = await settle(runOnEach([0], f.task, { grace, retry, signal: controller.signal }))
    expect(outcome).toEqual({ status: "rejected", reason: "enough", at: 10 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    expect(f.log).toHaveLength(1)
  })
})

describe("an invalid delay", () => {
  it.each<readonly [string, unknown, typeof RangeError | typeof TypeError]>([
    ["NaN", NaN, RangeError],
    ["-1", -1, RangeError],
    ["Infinity", Infinity, RangeError],
    ['"x"', "x", TypeError],
    ["null", null, TypeError],
    ["undefined", undefined, TypeError]
  ])("%s fails the task, and is named", async (shown, delay, type) => {
    for (const retry of [{ delay: () => delay }, { schedule: new Set([delay]) }]) {
      const f = flaky(always)
      const reason = await rejection(runOnEach([0], f.task, wrongly(retry)))
      expect(reason).toBeInstanceOf(type)
      expect((reason as Error).message).toContain("the delay of a retry")
      expect((reason as Error).message).toContain(shown)
      expect(f.log).toHaveLength(1)
    }
  })
})

describe("limits", () => {
  it("each attempt counts against maxPerSecond", async () => {
    const f = flaky((i) => (i === 0 ? 2 : 0))
    await value(runOnEach([0, 1, 2], f.task, { maxPerSecond: 10, retry: { delay: 150 } }))
    // A waiter keeps its position: the attempt that is due at 150 ms comes after the item that waits since 100.
    expect(f.log).toEqual([
      [0, 0],
      [1, 100],
      [2, 200],
      [0, 300],
      [0, 450]
    ])
  })

  it("an attempt that is due waits for the next start like any other", async () => {
    const f = flaky(() => 1)
    await value(runOnEach([0, 1], f.task, { maxPerSecond: 4, retry: { delay: 1 } }))
    expect(f.instants()).toEqual([0, 250, 500, 750])
  })

  it("each attempt counts against maxAtOnce, the call's own and a meter's", async () => {
    for (const limit of [{ maxAtOnce: 2 }, { meter: createMeter({ maxAtOnce: 2 }) }]) {
      const f = flaky(() => 1, 10)
      await value(runOnEach(naturals(6), f.task, { ...limit, retry: { delay: 3 } }))
      expect(f.peak()).toBe(2)
      expect(f.log).toHaveLength(12)
    }
  })

  it("each attempt spends its cost, which is computed again", async () => {
    const f = flaky((i) => (i === 0 ? 2 : 0))
    const asked: Array<readonly [unknown, number]> = []
    const cost = (item: string, index: number) => {
      asked.push([item, index])
      return { tokens: 6 }
    }
    const windows = { tokens: { limit: 10, per: "1 second" } } as const
    await value(runOnEach(["a", "b"], f.task, { cost, windows, retry: { delay: 10 } }))
    expect(f.instants()).toEqual([0, 1000, 2000, 3000])
    expect(asked.filter(([item]) => item === "a")).toEqual([
      ["a", 0],
      ["a", 0],
      ["a", 0]
    ])
  })

  it("each attempt is ranked anew: a retry can have another priority and another lane", async () => {
    const asked: Array<string> = []
    const f = flaky((i) => (i === 0 ? 1 : 0))
    const rank = (option: string) => (item: string, index: number) => {
      asked.push(`${option} ${item} ${index}`)
      return 0
    }
    const meter = createMeter({ maxAtOnce: 1 })
    const options = { meter, priority: rank("priority"), lane: rank("lane"), retry: { delay: 10 } }
    await value(runOnEach(["a"], f.task, options))
    expect(asked.toSorted()).toEqual(["lane a 0", "lane a 0", "priority a 0", "priority a 0"])
  })

  it("a cost that throws for a later attempt fails the call", async () => {
    let asked = 0
    const error = new Error("cost")
    const cost = () => {
      if (++asked > 1) throw error
      return { tokens: 1 }
    }
    const windows = { tokens: { limit: 10, per: "1 second" } } as const
    const call = runOnEach([0], flaky(always).task, { cost, windows, retry: { delay: 10 } })
    expect(await settle(call)).toEqual({ status: "rejected", reason: error, at: 10 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("no permit is held in backoff: new items get it, and so do others on the meter", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const f = flaky((i) => (i === 0 ? 1 : 0), 10)
    const call = watch(runOnEach([0], f.task, { meter, retry: { delay: 100 } }))
    await pass(20)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    expect(await value(meter.run(() => now()))).toBe(20)
    await pass(100)
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 120 })
  })

  it("no permit is held in backoff, but the meter is not idle", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const call = watch(runOnEach([0], flaky(() => 1).task, { meter, retry: { delay: 100 } }))
    await pass(20)
    const idle = watch(meter.idle())
    await pass(200)
    expect(call.outcome).toMatchObject({ at: 100 })
    expect(idle.outcome).toMatchObject({ at: 100 })
  })

  it("with several meters, an attempt that is due takes from all or none", async () => {
    const [a, b] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxPerSecond: 5 })]
    const f = flaky(() => 1)
    await value(runOnEach([0, 1], f.task, { meter: [a, b], retry: { delay: 10 } }))
    expect(f.instants()).toEqual([0, 200, 400, 600])
  })
})

describe("order", () => {
  it("retried items come before new ones", async () => {
    const f = flaky((i) => (i < 2 ? 1 : 0), 10)
    await value(runOnEach(naturals(5), f.task, { maxAtOnce: 2, retry: { delay: 1 } }))
    expect(f.log).toEqual([
      [0, 0],
      [1, 0],
      // Tasks that are retried at 11 ms leave their permits to others until then.
      [2, 10],
      [3, 10],
      [0, 20],
      [1, 20],
      [4, 30]
    ])
  })

  it("retries that are due at different times start in that order", async () => {
    const f = flaky((i) => (i < 3 ? 1 : 0))
    const delay = (_: number, reason: unknown) => 30 - 10 * Number((reason as Error).message[0])
    await value(runOnEach(naturals(3), f.task, { retry: { delay } }))
    expect(f.log.slice(3)).toEqual([
      [2, 10],
      [1, 20],
      [0, 30]
    ])
  })

  it("runAll puts results at their indices", async () => {
    const f = flaky((i) => 3 - i)
    expect(await value(runAll(naturals(4), f.task, { retry: { delay: 10, times: 3 } }))).toEqual([
      "v0",
      "v1",
      "v2",
      "v3"
    ])
  })

  it.each([1, 2, 3])("amap in order, the head retried, and maxUnread %i: the call continues", async (maxUnread) => {
    const f = flaky((i) => (i % 2 === 0 ? 2 : 0), 5)
    const results = amap(naturals(6), f.task, { maxUnread, ordered: true, retry: { delay: 100 } })
    expect(await value(Array.fromAsync(results))).toEqual(["v0", "v1", "v2", "v3", "v4", "v5"])
    expect(f.log).toHaveLength(12)
  })

  it("amap in order, also with one permit on the meter", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const f = flaky((i) => (i === 0 ? 2 : 0), 5)
    const results = amap(naturals(4), f.task, { maxUnread: 2, meter, ordered: true, retry: { delay: 50 } })
    expect(await value(Array.fromAsync(results))).toEqual(["v0", "v1", "v2", "v3"])
  })

  it("an item in backoff counts as unread", async () => {
    const f = flaky((i) => (i < 2 ? Infinity : 0))
    const results = amap(naturals(), f.task, { maxUnread: 2, retry: { delay: 1000, times: Infinity } })
    const next = watch(results.next())
    await pass(5500)
    expect(next.outcome).toBeUndefined()
    expect(new Set(f.log.map(([index]) => index))).toEqual(new Set([0, 1]))
    await value(leave(results))
    expect(next.outcome).toMatchObject({ value: over })
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("memory", () => {
  it.each<readonly [string, () => Options]>([
    ["maxAtOnce", () => ({ maxAtOnce: 3 })],
    ["a meter's maxAtOnce", () => ({ meter: createMeter({ maxAtOnce: 3 }) })],
    ["the least of several", () => ({ maxAtOnce: 5, meter: createMeter({ maxAtOnce: 3 }) })]
  ])("an endless source where all fails is not read to its end: %s", async (_, limit) => {
    const controller = new AbortController()
    const s = source("sync", naturals(), () => 0)
    const call = watch(
      runOnEach(s.iterable, () => Promise.reject("x"), {
        ...limit(),
        retry: { delay: "1 hour", times: Infinity },
        signal: controller.signal
      })
    )
    await pass(10_000)
    // As many as may run have failed, and as many as had their permits then; G5 allows for one that is yet to start.
    expect(s.pulls).toBeGreaterThanOrEqual(3)
    expect(s.pulls).toBeLessThanOrEqual(7)
    controller.abort("stop")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "stop" })
    expect(s.returns).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("as soon as items in backoff have started, new items are pulled", async () => {
    const f = flaky((i) => (i < 2 ? 1 : 0))
    await value(runOnEach(naturals(6), f.task, { maxAtOnce: 2, retry: { delay: 100 } }))
    const startedAt = (at: number) => f.log.filter(([, each]) => each === at).map(([index]) => index)
    expect(startedAt(0)).toEqual([0, 1, 2, 3])
    expect(startedAt(100).toSorted((a, b) => a - b)).toEqual([0, 1, 4, 5])
  })
})

describe("leaving amap while items are in backoff", () => {
  it("ends at once, closes the source and leaves no timer", async () => {
    const s = source("sync", naturals(), () => 0)
    const f = flaky((i) => (i === 1 ? 0 : Infinity))
    const results = amap(s.iterable, f.task, { maxAtOnce: 2, retry: { delay: 1000, times: Infinity } })
    expect(await value(results.next())).toEqual({ done: false, value: "v1" })
    expect(await settle(leave(results))).toMatchObject({ status: "fulfilled", at: 0 })
    expect(s.returns).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
    const attempts = f.log.length
    await pass(5000)
    expect(f.log).toHaveLength(attempts)
  })

  it("a source that fails meanwhile ends it, too", async () => {
    const broken = function* () {
      yield 0
      throw new Error("source")
    }
    const call = runOnEach(broken(), flaky(always).task, { maxAtOnce: 2, retry: { delay: 1000 } })
    expect(await settle(call)).toMatchObject({ reason: { message: "source" }, at: 0 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("runAny", () => {
  it("until settled: a failure that is followed by another attempt settles nothing", async () => {
    const f = flaky((i) => (i === 0 ? 1 : 0), 10)
    const call = runAny([0], f.task, { until: "settled", retry: { delay: 5 } })
    expect(await settle(call)).toEqual({ status: "fulfilled", value: "v0", at: 25 })
  })

  it("all have failed only when none is to be retried; each counts with its last failure", async () => {
    const f = flaky(always)
    const reason = await rejection(runAny([0, 1], f.task, { retry: { times: 1, delay: 10 } }))
    expect(reason).toMatchObject({ errors: [{ message: "0, attempt 2" }, { message: "1, attempt 2" }] })
  })
})

const busy = (seconds: number | string, status = 429): Error =>
  Object.assign(new Error("busy"), {
    response: new Response(null, { status, headers: { "Retry-After": String(seconds) } })
  })

describe("Retry-After", () => {
  /** Fails once with it, at its first attempt of all. */
  const once = (reason: unknown) => {
    const at: Array<readonly [unknown, number]> = []
    const task = (item: unknown) => {
      at.push([item, now()])
      if (at.length === 1) throw reason
    }
    return { at, task }
  }

  it("pauses the call where it has no meter", async () => {
    const { at, task } = once(busy(2))
    await value(
      runOnEach(["a", "b", "c"], (item) => sleep(item === "a" ? 0 : 500).then(() => task(item)), {
        maxAtOnce: 1,
        retry: { delay: 10 }
      })
    )
    // Nothing starts before 2 s: what ends 500 ms later started then.
    expect(at[0]).toEqual(["a", 0])
    for (const [, instant] of at.slice(1)) expect(instant).toBeGreaterThanOrEqual(2000)
    expect(at.map(([item]) => String(item)).toSorted((a, b) => a.localeCompare(b))).toEqual(["a", "a", "b", "c"])
  })

  it("pauses the meter for all its users", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const { at, task } = once(busy("1.5"))
    const call = watch(runOnEach(["a"], task, { meter, retry: {} }))
    await flush()
    const other = watch(meter.run(() => now()))
    await pass(3000)
    expect(at).toEqual([
      ["a", 0],
      ["a", 1500]
    ])
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 1500 })
    expect(other.outcome).toMatchObject({ value: 1500 })
  })

  it("of several meters, the last", async () => {
    const [first, second] = [createMeter({ maxAtOnce: 5 }), createMeter({ maxAtOnce: 5 })]
    const call = watch(runOnEach(["a"], once(busy(1)).task, { meter: [first, second], retry: {} }))
    await flush()
    const [here, there] = [first, second].map((meter) => watch(meter.run(() => now())))
    await pass(2000)
    expect(call.outcome).toMatchObject({ at: 1000 })
    expect(here!.outcome).toMatchObject({ value: 0 })
    expect(there!.outcome).toMatchObject({ value: 1000 })
  })

  it("of a meter's own verb, the last meter of its options", async () => {
    const [own, other] = [createMeter({ maxAtOnce: 5 }), createMeter({ maxAtOnce: 5 })]
    const call = watch(own.runOnEach(["a"], once(busy(1)).task, { meter: other, retry: {} }))
    await flush()
    const [here, there] = [own, other].map((meter) => watch(meter.run(() => now())))
    await pass(2000)
    expect(call.outcome).toMatchObject({ at: 1000 })
    expect(here!.outcome).toMatchObject({ value: 0 })
    expect(there!.outcome).toMatchObject({ value: 1000 })
  })

  it("or the meter that retry.pauses names, be it one of the call's own or not", async () => {
    const [first, second, other] = [createMeter({}), createMeter({}), createMeter({})]
    for (const pauses of [first, other]) {
      const since = now()
      const call = watch(runOnEach(["a"], once(busy(1)).task, { meter: [first, second], retry: { pauses } }))
      await flush()
      expect([first, second, other].map((meter) => meter.snapshot().nextStart)).toEqual(
        [first, second, other].map((meter) => (meter === pauses ? 1000 : 0))
      )
      await pass(2000)
      expect(call.outcome).toMatchObject({ status: "fulfilled", at: since + 1000 })
    }
  })

  it("the meter, even where the call has limits of its own that could be paused", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const call = watch(runOnEach(["a"], once(busy(1)).task, { maxPerSecond: 100, meter, retry: {} }))
    await flush()
    const other = watch(meter.run(() => now()))
    await pass(2000)
    expect(call.outcome).toMatchObject({ at: 1000 })
    expect(other.outcome).toMatchObject({ value: 1000 })
  })

  it.each([
    ["0.2", 500],
    ["0", 500],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 500],
    ["0.7", 700],
    ["70", 70_000]
  ])("the longer of the delay and the Retry-After counts: %s", async (header, at) => {
    const task = once(busy(header))
    await value(runOnEach(["a"], task.task, { retry: { delay: 500 } }))
    expect(task.at).toEqual([
      ["a", 0],
      ["a", at]
    ])
  })

  it("may be a date", async () => {
    // Dates have whole seconds.
    await pass(1000 - (Date.now() % 1000))
    const begins = now()
    const { at, task } = once(busy(new Date(Date.now() + 3000).toUTCString()))
    await value(runOnEach(["a"], task, { retry: { delay: 10 } }))
    expect(at[1]).toEqual(["a", begins + 3000])
  })

  it.each<readonly [string, Retry]>([
    ["by times", { times: 0 }],
    ["by while", { while: () => false }],
    ["by the end of the schedule", { schedule: [] }]
  ])("a failure that is not retried, %s, pauses nothing", async (_, retry) => {
    const meter = createMeter({ maxAtOnce: 5 })
    await rejection(runOnEach(["a"], once(busy(1)).task, { meter, retry }))
    expect(meter.snapshot().nextStart).toBe(0)
  })

  it("a failure pauses nothing if the decision about its retry has ended the call", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const controller = new AbortController()
    const whileAborting = (): boolean => {
      controller.abort("stop")
      return true
    }
    const options = { meter, signal: controller.signal, retry: { while: whileAborting } }
    expect(await rejection(runOnEach(["a"], once(busy(1)).task, options))).toBe("stop")
    expect(meter.snapshot().nextStart).toBe(0)
  })

  it.each<readonly [string, Retry, number]>([
    ["an hour by default", {}, 3_600_000],
    ["maxDelay", { maxDelay: "5 seconds" }, 5000],
    ["maxDelay, which may be longer", { maxDelay: "1 day" }, 86_400_000],
    ["maxDelay, also for a longer delay", { maxDelay: 1000, delay: 9000 }, 1000]
  ])("pauses for at most %s", async (_, retry, at) => {
    const meter = createMeter({})
    const { at: starts, task } = once(busy("Fri, 01 Jan 2099 00:00:00 GMT"))
    const call = watch(runOnEach(["a"], task, { meter, retry: { delay: 10, ...retry } }))
    await flush()
    expect(meter.snapshot().nextStart).toBe(at)
    await pass(at)
    expect(starts).toEqual([
      ["a", 0],
      ["a", at]
    ])
    expect(call.outcome).toMatchObject({ status: "fulfilled", at })
  })

  it("a server that keeps asking for nothing is not asked more often than the delay allows", async () => {
    let attempts = 0
    const call = watch(
      runOnEach(
        ["a"],
        () => {
          attempts++
          throw busy(0)
        },
        { retry: { times: 1000, delay: 100 } }
      )
    )
    await pass(1000)
    expect(attempts).toBe(11)
    expect(call.outcome).toBeUndefined()
  })

  it("in milliseconds, by retry-after-ms, comes first", async () => {
    const headers = { "Retry-After": "5", "retry-after-ms": "1250.5" }
    const { at, task } = once({ response: new Response(null, { status: 429, headers }) })
    await value(runOnEach(["a"], task, { retry: { delay: 10 } }))
    expect(at.map(([, instant]) => instant)).toEqual([0, 1251])
  })

  it("is not heeded without retry", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    await rejection(runOnEach(["a"], once(busy(1)).task, { meter }))
    expect(await value(meter.run(() => now()))).toBe(0)
  })

  it("runAny until settled follows it, too", async () => {
    const { at, task } = once(busy(1))
    await value(runAny(["a"], task, { retry: {}, until: "settled" }))
    expect(at.map(([, instant]) => instant)).toEqual([0, 1000])
  })

  it("a failure whose properties throw is not changed: its reason is kept", async () => {
    const reason = Object.defineProperty(new Error("mine"), "response", {
      get: () => {
        throw new Error("of the getter")
      }
    })
    expect(await rejection(runOnEach([0], () => Promise.reject(reason), { retry: { times: 0 } }))).toBe(reason)
    const headers = {
      get: () => {
        throw new Error("of get")
      }
    }
    expect(await rejection(runOnEach([0], () => Promise.reject(headers), { retry: { times: 0 } }))).toBe(headers)
  })
})
