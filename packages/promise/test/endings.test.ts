/** How calls end: each ending while only abandoned tasks are left, from inside each other one, and after a throw in set-up. */
import { afterEach, describe, expect, it, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { AmapOptions, Meter } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  hurl,
  leave,
  listeners,
  naturals,
  over,
  overItems,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Ignores its signal. */
const deaf = (ms: number) => sleep(ms)

describe("an abort while a call waits only for cancelled tasks", () => {
  const items = [1, 2, 3]
  const task = (n: number): unknown => (n === 3 ? deaf(100) : n)
  interface Aborted {
    readonly signal: AbortSignal
    readonly grace: number
    readonly timeout: number
  }
  const calls: ReadonlyArray<readonly [string, (options: Aborted) => Promise<unknown>]> = [
    ["runOnEach", (options) => runOnEach(items, task, { ...options, stopOnError: false })],
    ["runAll, settled", (options) => runAll(items, task, { ...options, settled: true })],
    ["runAll, all failures", (options) => runAll(items, task, { ...options, stopOnError: false })],
    ["runAny", (options) => runAny(items, () => deaf(100), options)],
    ["amap", (options) => Array.fromAsync(amap(items, task, { ...options, settled: true }))],
    ["amap in order", (options) => Array.fromAsync(amap(items, task, { ...options, settled: true, ordered: true }))],
    ["run in backoff", (options) => createMeter({}).run(() => deaf(100), { ...options, retry: { delay: 1000 } })],
    [
      "run that has succeeded since",
      (options) => {
        let attempts = 0
        return createMeter({}).run((): unknown => (attempts++ === 0 ? deaf(100) : "late"), {
          ...options,
          retry: { delay: 5 }
        })
      }
    ]
  ]

  describe.each(calls)("%s", (_, call) => {
    it.each([1000, Infinity])("with grace %s rejects with its reason when they have settled", async (grace) => {
      const controller = new AbortController()
      const ending = watch(call({ signal: controller.signal, grace, timeout: 20 }))
      await pass(50)
      expect(ending.outcome).toBeUndefined()
      controller.abort("x")
      await pass(500)
      expect(ending.outcome).toEqual({ status: "rejected", reason: "x", at: 100 })
      expect(listeners(controller.signal)).toBe(0)
      expect(vi.getTimerCount()).toBe(0)
    })
  })

  it("a reader of amap that has read some results gets the rejection: nothing is lost silently", async () => {
    const controller = new AbortController()
    const results = amap(items, task, { signal: controller.signal, grace: Infinity, timeout: 20, settled: true })
    await value(results.next())
    await pass(50)
    controller.abort("x")
    expect(await settle(results.next())).toEqual({ status: "rejected", reason: "x", at: 100 })
    expect(await value(results.next())).toEqual(over)
  })

  it("a failure that has decided the call stays its outcome, and its results are still read", async () => {
    const controller = new AbortController()
    const results = amap(
      [1, 2, 3],
      async (n) => {
        if (n === 2) throw "bad"
        if (n === 3) await deaf(100)
        return n
      },
      { signal: controller.signal, grace: Infinity }
    )
    const first = watch(results.next())
    await flush()
    expect(first.outcome).toMatchObject({ value: { value: 1 } })
    controller.abort("x")
    expect(await settle(results.next())).toEqual({ status: "rejected", reason: "bad", at: 100 })
  })
})

/** Ways to end a call from anywhere. */
interface Ends {
  readonly results: AsyncIterableIterator<unknown> & AsyncDisposable
  readonly controller: AbortController
  readonly meter: Meter
}

const endings: ReadonlyArray<readonly [string, (ends: Ends) => Promise<unknown>]> = [
  ["return()", ({ results }) => leave(results)],
  [
    "throw()",
    async ({ results }) => {
      try {
        await hurl(results, "mine")
      } catch (error) {
        expect(error).toBe("mine")
      }
    }
  ],
  ["disposal", async ({ results }) => results[Symbol.asyncDispose]()],
  ["an abort", async ({ controller }) => controller.abort("stop")],
  ["close()", ({ meter }) => meter.close("closed")]
]

type End = () => Promise<unknown>

/** Where the inner ending is called from. Each gives the items, the task and the options of a call of `amap`. */
const places: ReadonlyArray<
  readonly [
    string,
    (
      inner: End,
      meter: Meter
    ) => {
      readonly items?: Iterable<number> | AsyncIterable<number>
      readonly task?: (n: number, context: { readonly signal: AbortSignal }) => unknown
      readonly options?: AmapOptions
    }
  ]
> = [
  [
    "a task's abort listener",
    (inner) => ({
      task: (n, { signal }) => {
        signal.addEventListener("abort", () => void inner())
        return n === 0 ? n : sleep(1000, signal)
      }
    })
  ],
  [
    "the finally of a generator",
    (inner) => ({
      items: (function* () {
        try {
          for (let n = 0; ; n++) yield n
        } finally {
          void inner()
        }
      })()
    })
  ],
  [
    "the finally of an async generator, awaited there",
    (inner) => ({
      items: (async function* () {
        try {
          for (let n = 0; ; n++) yield n
        } finally {
          await inner()
        }
      })()
    })
  ],
  ["onProgress", (inner) => ({ options: { onProgress: () => void inner() } })],
  [
    "another call's task that is admitted meanwhile",
    (inner, meter) => ({
      task: (n, { signal }) => {
        if (n === 2) void meter.run(() => inner()).catch(() => {})
        return n === 0 ? n : sleep(1000, signal)
      }
    })
  ]
]

describe.each(places)("an ending caused from %s", (where, place) => {
  describe.each(endings)("within %s", (how, outer) => {
    it.each(endings)("%s: both end, and nothing is left", async (_, inner) => {
      const meter = createMeter({ maxAtOnce: 2 })
      const controller = new AbortController()
      const inners: Array<ReturnType<typeof watch<unknown>>> = []
      const end = async (): Promise<unknown> => {
        const promise = inner(ends)
        inners.push(watch(promise))
        return promise
      }
      const { items = [0, 1, 2, 3, 4, 5], options, task } = place(end, meter)
      const results = amap(items, task ?? ((n, { signal }) => (n === 0 ? n : sleep(1000, signal))), {
        meter,
        signal: controller.signal,
        ...options
      })
      const ends: Ends = { results, controller, meter }
      expect(await value(results.next())).toEqual({ done: false, value: 0 })
      const reader = watch(results.next())
      await flush()
      const left = watch(outer(ends))
      await pass(5000)
      expect(left.outcome?.status).toBe("fulfilled")
      expect(left.outcome?.at).toBe(0)
      // A closed meter admits nothing.
      if (how !== "close()" || !where.startsWith("another")) expect(inners.length).toBeGreaterThan(0)
      for (const { outcome } of inners) expect(outcome?.status).toBe("fulfilled")
      expect(reader.outcome).toBeDefined()
      expect(await value(results.next())).toEqual(over)
      expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
      expect(listeners(controller.signal)).toBe(0)
      expect(vi.getTimerCount()).toBe(0)
    })
  })
})

describe("return() after a task has failed", () => {
  it.each([
    ["before the source has closed", 30],
    ["afterwards", 200]
  ])("%s: resolves, and the unread failure is dropped", async (_, after) => {
    async function* items() {
      try {
        yield 0
        yield 1
        yield 2
      } finally {
        await sleep(100)
      }
    }
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 10 }))
    const results = amap(items(), p.task, { maxAtOnce: 2, maxUnread: 2 })
    await value(results.next())
    await pass(after)
    expect(await value(leave(results))).toEqual(over)
    expect(await value(leave(results))).toEqual(over)
    expect(await value(results.next())).toEqual(over)
    await pass(200)
  })

  it("what closing the source throws, if return() ends the call, is what it rejects with", async () => {
    const items: Iterable<number> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: 1 }),
        return: () => {
          throw "cannot close"
        }
      })
    }
    const results = amap(items, (n) => n, { maxAtOnce: 1 })
    await value(results.next())
    expect(await rejection(leave(results))).toBe("cannot close")
  })

  it("return() from what is called before the run is made begins nothing", async () => {
    const p = probe(() => ({ ms: 1000 }))
    const items = {
      get [Symbol.asyncIterator]() {
        void leave(results)
        void results.next()
        return undefined
      },
      [Symbol.iterator]: () => [1, 2][Symbol.iterator]()
    } as unknown as Iterable<number>
    const results: AsyncIterableIterator<unknown> = amap(items, p.task)
    expect(await value(results.next())).toEqual(over)
    expect(p.starts).toEqual([])
  })
})

describe("a source whose return() never settles", () => {
  const stalled = (): AsyncIterable<number> => ({
    [Symbol.asyncIterator]: () => ({
      next: async () => ({ done: false, value: 1 }),
      return: () => new Promise(() => {})
    })
  })

  describe.each(overItems)("$name", (verb) => {
    it.each([
      [0, 30],
      [50, 80]
    ])("with grace %i an abort does not wait for it any longer", async (grace, at) => {
      const controller = new AbortController()
      const p = probe(() => ({ ms: 1000 }))
      const call = verb.call(stalled(), p, { maxAtOnce: 2, signal: controller.signal, grace })
      setTimeout(() => controller.abort("stop"), 30)
      expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "stop", at })
      await flush()
      expect(vi.getTimerCount()).toBe(0)
    })

    it("nor if the source is being closed already, whatever has ended the call", async () => {
      const controller = new AbortController()
      const p = probe(() => (verb.failsFast ? { ms: 10, rejects: { reason: "bad" } } : { ms: 10 }))
      const call = watch(verb.call(stalled(), p, { maxAtOnce: 1, signal: controller.signal, grace: 20 }).promise)
      await pass(50)
      expect(call.outcome).toBeUndefined()
      controller.abort("stop")
      await pass(100)
      expect(call.outcome).toMatchObject(
        verb.failsFast ? { status: "rejected", reason: "bad", at: 70 } : { status: "fulfilled", at: 70 }
      )
    })
  })
})

describe("a throw while a call is set up", () => {
  const brokenSignal = (how: "addEventListener" | "removeEventListener"): AbortSignal => {
    const { signal } = new AbortController()
    Object.defineProperty(signal, how, {
      value: () => {
        throw how
      }
    })
    return signal
  }

  const intact = async (meters: ReturnType<typeof createKeyedMeter<string>>): Promise<void> => {
    expect(await settle(meters.for("key").idle())).toMatchObject({ status: "fulfilled" })
    expect(meters.for("key").snapshot()).toMatchObject({ running: 0, waiting: 0 })
    for (let i = 0; i < 10; i++) meters.for(`other ${i}`)
    expect(meters.size).toBeLessThan(11)
    expect(await settle(meters.for("key").close())).toMatchObject({ status: "fulfilled" })
  }

  describe.each(overItems)("$name", (verb) => {
    it("a signal that takes no listener: rejects with what it throws, and its meter is free", async () => {
      const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
      const p = probe(() => ({}))
      const call = verb.call([1], p, { meter: meters.for("key"), signal: brokenSignal("addEventListener") })
      expect(await rejection(call.promise)).toBe("addEventListener")
      expect(p.starts).toEqual([])
      await intact(meters)
    })

    it("a signal whose removeEventListener throws: the call still ends", async () => {
      const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
      const p = probe(() => ({ ms: 10 }))
      const call = verb.call([1], p, { meter: meters.for("key"), signal: brokenSignal("removeEventListener") })
      expect(await settle(call.promise)).toMatchObject({ status: "fulfilled", at: 10 })
      await intact(meters)
    })

    it("a signal that aborts while it is listened to: nothing starts", async () => {
      const controller = new AbortController()
      const { signal } = controller
      const add = signal.addEventListener.bind(signal)
      Object.defineProperty(signal, "addEventListener", {
        value: (...args: Parameters<typeof add>) => {
          controller.abort("early")
          add(...args)
        }
      })
      const p = probe(() => ({ ms: 10 }))
      expect(await rejection(verb.call([1], p, { signal }).promise)).toBe("early")
      expect(p.starts).toEqual([])
      expect(listeners(signal)).toBe(0)
    })
  })

  it.each([{}, { grace: 10 }, { retry: {} }])("meter.run with %o, too", async (options) => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    const run = meters.for("key").run(() => 1, { ...options, signal: brokenSignal("addEventListener") })
    expect(await rejection(run)).toBe("addEventListener")
    await intact(meters)
    const controller = new AbortController()
    const { signal } = controller
    Object.defineProperty(signal, "addEventListener", { value: () => controller.abort("early") })
    const f = vi.fn<() => void>()
    expect(await rejection(createMeter({}).run(f, { ...options, signal }))).toBe("early")
    expect(f).not.toHaveBeenCalled()
  })
})

describe("a throw in the library's own code after a task has been admitted: timers cannot be set", () => {
  const broken = new Error("no timers")
  /** Calls `f` while timers cannot be set, and returns how it ends. */
  const withoutTimers = async (f: () => Promise<unknown>): Promise<unknown> => {
    const { setTimeout } = globalThis
    globalThis.setTimeout = (() => {
      throw broken
    }) as never
    let call: Promise<unknown>
    try {
      call = f()
    } finally {
      globalThis.setTimeout = setTimeout
    }
    const end = await settle(call)
    await flush()
    return end
  }
  const task = (): Promise<number> => Promise.resolve(1)

  it.each<readonly [string, (meter: Meter) => Promise<unknown>]>([
    ["run", (meter) => meter.run(task, { timeout: 10 })],
    ["run with grace", (meter) => meter.run(task, { timeout: 10, grace: Infinity })],
    ["runOnEach", (meter) => runOnEach([1, 2], task, { meter, timeout: 10 })],
    ["runAll", (meter) => runAll([task, task], { meter, timeout: 10 })],
    ["runAny", (meter) => runAny([task, task], { meter, timeout: 10 })],
    ["amap", (meter) => amap([1, 2], task, { meter, timeout: 10 }).next()],
    // Fails, and cannot wait for the first task.
    [
      "runAll with grace",
      (meter) =>
        runAll(
          [
            () => new Promise<void>((resolve) => queueMicrotask(resolve)),
            () => {
              throw broken
            }
          ],
          { meter, grace: 10 }
        )
    ]
  ])("%s rejects with it, and each permit comes back", async (_, call) => {
    const meter = createMeter({ maxAtOnce: 2 })
    expect(await withoutTimers(() => call(meter))).toMatchObject({ status: "rejected", reason: broken })
    await pass(10)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    await meter.idle()
  })

  type Waiter = (meter: Meter) => Promise<unknown>
  const run: Waiter = (meter) => meter.run(task, { timeout: 10 })
  const verb: Waiter = (meter) => runAll([task, task], { meter, timeout: 10 })
  const byItem: Waiter = (meter) => runAll([task, task], { meter: () => meter, timeout: 10 })
  it.each<readonly [string, (meter: Meter, task: () => unknown) => Promise<unknown>, Waiter]>([
    ["run", (meter, task) => meter.run(task), run],
    ["run with grace", (meter, task) => meter.run(task, { grace: 10 }), run],
    ["runAll", (meter, task) => runAll([task], { meter }), run],
    ["runAll, of a verb", (meter, task) => runAll([task], { meter }), verb],
    ["runAll with a meter per item, of the same", (meter, task) => runAll([task], { meter: () => meter }), byItem]
  ])("of a waiter that the end of %s admits: each permit comes back once", async (_, call, wait) => {
    const meter = createMeter({ maxAtOnce: 1 })
    let waiter = watch<unknown>(task())
    await withoutTimers(() =>
      call(meter, () => {
        waiter = watch(wait(meter))
      })
    )
    expect(waiter.outcome).toMatchObject({ status: "rejected", reason: broken })
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    await meter.idle()
    let running = 0
    let most = 0
    const counted = async (): Promise<void> => {
      most = Math.max(most, ++running)
      await sleep(1)
      running--
    }
    await settle(runOnEach([1, 2, 3], counted, { meter }))
    expect(most).toBe(1)
  })
})

describe("tasks that call each other through a meter, a few thousand deep", () => {
  const limits = [{ maxAtOnce: 1e6 }, { maxAtOnce: 1e6, maxPerSecond: 1e6, maxBurst: 1e6 }]
  const recursions: ReadonlyArray<
    readonly [string, (meter: Meter, deeper: () => Promise<unknown>) => Promise<unknown>]
  > = [
    ["run", (meter, deeper) => meter.run(deeper)],
    ["run with grace", (meter, deeper) => meter.run(deeper, { grace: 10 })],
    ["run with retries", (meter, deeper) => meter.run(deeper, { retry: { times: 0 } })],
    ["runOnEach", (meter, deeper) => runOnEach([0], deeper, { meter })],
    ["runAll", (meter, deeper) => runAll([deeper], { meter })],
    ["runAll with a meter per item", (meter, deeper) => runAll([deeper], { meter: () => meter })],
    ["amap", (meter, deeper) => amap([0], deeper, { meter }).next()],
    ["runAny", (meter, deeper) => runAny([deeper], { meter })]
  ]
  const levels = 5000

  describe.each(limits)("under %o", (limit) => {
    it.each(recursions)("by %s: the stack does not overflow, and each permit comes back", async (_, call) => {
      const meter = createMeter(limit)
      let depth = 0
      const deeper = async (): Promise<unknown> => (++depth < levels ? call(meter, deeper) : "the end")
      await call(meter, deeper)
      expect(depth).toBe(levels)
      expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
      expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: levels })
    })

    it.each(recursions)(
      "by %s: what the last of them throws reaches the first, and each permit comes back",
      async (_, call) => {
        const meter = createMeter(limit)
        let depth = 0
        const deeper = async (): Promise<unknown> => {
          if (++depth === levels) throw new Error("the end")
          return call(meter, deeper)
        }
        await rejection(call(meter, deeper))
        expect(depth).toBe(levels)
        expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
        expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
      }
    )
  })

  it("end with their meter, if it is closed before the next of them starts", async () => {
    const meter = createMeter({ maxAtOnce: 1e6 })
    const calls: Array<Promise<unknown>> = []
    const deeper = (): Promise<unknown> => {
      const call = meter.run(deeper)
      calls.push(call)
      return call
    }
    const first = deeper()
    const closed = meter.close("closed")
    expect(await rejection(first)).toBe("closed")
    expect(await Promise.allSettled(calls)).toEqual(calls.map(() => ({ status: "rejected", reason: "closed" })))
    await closed
    expect(meter.snapshot()).toMatchObject({ waiting: 0 })
  })
})

describe("a schedule of retries that is a generator is closed once", () => {
  function* tens() {
    for (;;) yield 10
  }
  const failing = (times: number) => {
    let calls = 0
    return () => {
      if (calls++ < times) throw "bad"
      return "good"
    }
  }
  const ends: ReadonlyArray<readonly [string, number, number]> = [
    ["a success", 2, 5],
    ["a failure", 9, 2],
    ["an abort in backoff", 9, 5]
  ]
  const calls: ReadonlyArray<
    readonly [string, (f: () => unknown, options: { signal: AbortSignal; retry: object }) => Promise<unknown>]
  > = [
    ["runAll", (f, options) => runAll([f], options)],
    ["runOnEach", (f, options) => runOnEach([0], f, options)],
    ["runAny", (f, options) => runAny([f], options)],
    ["amap", (f, options) => Array.fromAsync(amap([0], f, options))],
    ["run", (f, options) => createMeter({}).run(f, options)]
  ]

  describe.each(calls)("by %s", (_, call) => {
    it.each(ends)("after %s", async (how, failures, times) => {
      const controller = new AbortController()
      const schedule = tens()
      const closing = vi.spyOn(schedule, "return")
      const run = watch(call(failing(failures), { signal: controller.signal, retry: { times, schedule } }))
      await pass(5)
      if (how === "an abort in backoff") controller.abort("stop")
      await pass(500)
      expect(run.outcome?.status).toBe(how === "a success" ? "fulfilled" : "rejected")
      expect(closing).toHaveBeenCalledTimes(1)
    })

    it("what that throws fails a call that has not failed", async () => {
      const schedule = {
        [Symbol.iterator]: () => ({
          next: () => ({ done: false, value: 1 }),
          return: () => {
            throw "cannot close"
          }
        })
      }
      const { signal } = new AbortController()
      expect(await rejection(call(failing(1), { signal, retry: { schedule } }))).toBe("cannot close")
      const failed = await rejection(call(failing(9), { signal, retry: { schedule, times: 1 } }))
      expect(failed instanceof AggregateError ? failed.errors : [failed]).toEqual(["bad"])
    })

    it("a schedule that has ended by itself is not closed", async () => {
      const closing = vi.fn<() => IteratorResult<number>>()
      const schedule = { [Symbol.iterator]: () => ({ next: () => ({ done: true, value: 0 }), return: closing }) }
      const { signal } = new AbortController()
      await rejection(call(failing(9), { signal, retry: { schedule } }))
      expect(closing).not.toHaveBeenCalled()
    })
  })
})

it("a run whose task ends it once more when it is aborted rejects with the first reason", async () => {
  const meter = createMeter({})
  const controller = new AbortController()
  let closed: ReturnType<typeof watch<void>> | undefined
  const run = watch(
    meter.run(
      ({ signal }) => {
        signal.addEventListener("abort", () => (closed = watch(meter.close("second"))))
        return sleep(1000, signal)
      },
      { signal: controller.signal }
    )
  )
  await pass(10)
  controller.abort("first")
  await flush()
  expect(run.outcome).toEqual({ status: "rejected", reason: "first", at: 10 })
  expect(closed?.outcome).toMatchObject({ status: "fulfilled", at: 10 })
})

describe("a run that is waited for within its grace", () => {
  it("succeeds when its timed-out attempts have settled", async () => {
    let attempts = 0
    const meter = createMeter({})
    const run = meter.run((): unknown => (attempts++ === 0 ? deaf(100) : "second"), {
      timeout: 20,
      retry: { delay: 10 },
      grace: 1000
    })
    expect(await settle(run)).toEqual({ status: "fulfilled", value: "second", at: 100 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("is decided by the first of several ends", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = watch(meter.run(() => deaf(100), { signal: controller.signal, grace: 1000 }))
    await pass(10)
    controller.abort("first")
    void meter.close("second")
    await pass(500)
    expect(run.outcome).toEqual({ status: "rejected", reason: "first", at: 100 })
  })
})

it("a reader that was held up by a limit continues when the limit is raised", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  let started = 0
  const seen: Array<number> = []
  const read = async () => {
    for await (const n of amap([1, 2, 3, 4, 5, 6, 7, 8], async (n) => (started++, n), { meter })) {
      seen.push(n)
      if (n !== 1) continue
      await sleep(20)
      const before = started
      meter.resize({ maxAtOnce: 4 })
      await flush()
      expect([before, started]).toEqual([3, 8])
    }
  }
  await value(read())
  expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
})

it("an endless source of failures between two attempts continues when the limit is raised", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  const p = probe(() => ({ ms: 1, rejects: { reason: "bad" } }))
  const controller = new AbortController()
  const options = { meter, signal: controller.signal, retry: { delay: 10_000 } }
  const call = watch(runOnEach(naturals(), p.task, options))
  await pass(100)
  expect(p.order).toEqual([0, 1])
  meter.resize({ maxAtOnce: 3 })
  await pass(100)
  expect(p.order).toEqual([0, 1, 2, 3, 4, 5])
  controller.abort("stop")
  await flush()
  expect(call.outcome).toMatchObject({ status: "rejected", reason: "stop" })
})

describe("reports", () => {
  afterEach(() => vi.unstubAllGlobals())

  it("of an amap that is no longer read are on timers without a hold, also where a timer is a number", async () => {
    const unrefTimer = vi.fn<(timer: unknown) => void>()
    const { setTimeout } = globalThis
    const timers = new Map<number, unknown>()
    vi.stubGlobal("setTimeout", (f: () => void, millis: number) => {
      timers.set(timers.size + 1, setTimeout(f, millis))
      return timers.size
    })
    vi.stubGlobal("clearTimeout", () => {})
    for (const deno of [undefined, {}, { unrefTimer }]) {
      vi.stubGlobal("Deno", deno)
      await value(runAll([1], (n) => n, { onProgress: () => {} }))
    }
    expect(unrefTimer).toHaveBeenCalledTimes(1)
  })
})
