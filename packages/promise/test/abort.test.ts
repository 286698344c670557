/** `signal` in the options: aborted before, at any moment during, and after a call. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, createWorkQueue, runAll, runAny, runOnEach } from "../src/index.ts"
import type { TaskContext } from "../src/index.ts"
import {
  expectFree,
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
  source,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe.each(verbs)("$name", (verb) => {
  it("aborted before: rejects with the reason, nothing starts, no listener is put on the signal", async () => {
    const controller = new AbortController()
    const { signal } = controller
    const reason = new Error("before")
    controller.abort(reason)
    const p = probe(() => ({ ms: 10 }))
    expect(await rejection(verb.call([0, 1, 2], p, { signal }).promise)).toBe(reason)
    expect(p.starts).toEqual([])
    expect(listeners(signal)).toBe(0)
  })

  it("aborted in the same breath as the call: rejects with the reason, and nothing stays", async () => {
    const controller = new AbortController()
    const { signal } = controller
    const p = probe(() => ({ ms: 10 }))
    const call = verb.call([0, 1, 2], p, { signal })
    controller.abort("at once")
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "at once", at: 0 })
    expect(listeners(signal)).toBe(0)
    await pass(100)
    expect(p.running()).toBe(0)
    expect(p.ended).toEqual([])
  })

  it.each([
    ["a string", "why"],
    ["null", null],
    ["0", 0],
    ["false", false],
    ["a frozen object", Object.freeze({ frozen: true })],
    ["a DOMException", new DOMException("mine", "TimeoutError")]
  ])("rejects with the reason itself: %s", async (_, reason) => {
    const controller = new AbortController()
    const call = verb.call(
      [0, 1],
      probe(() => ({ ms: 50 })),
      { signal: controller.signal }
    )
    setTimeout(() => controller.abort(reason), 7)
    const outcome = await settle(call.promise)
    expect(outcome.at).toBe(7)
    expect(outcome.status === "rejected" && Object.is(outcome.reason, reason)).toBe(true)
  })

  it("aborted while waiting for a permit: the tasks that wait never start, and the meter is free", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const other = watch(meter.run(() => sleep(100)))
    const p = probe(() => ({ ms: 10 }))
    const call = verb.call([0, 1, 2], p, { meter, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "stop", at: 50 })
    await pass(100)
    expect(other.outcome?.status).toBe("fulfilled")
    expect(p.starts).toEqual([])
    await expectFree(meter, 1)
  })

  it("aborted while waiting for its rate: no timer is left", async () => {
    const controller = new AbortController()
    const p = probe((i) => ({ ms: i === 0 && verb.verb !== "runAny" ? 10 : 10_000 }))
    const call = verb.call([0, 1, 2], p, { maxPerSecond: 0.2, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 777)
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "stop", at: 777 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    expect(p.starts).toEqual([0])
  })

  it("aborted by one of its own tasks: the reason wins over what the task does then", async () => {
    const controller = new AbortController()
    const p = probe((i) => ({ ms: i === 1 ? 20 : 5000 }))
    const own = {
      ...p,
      task: async (item: unknown, context: Parameters<typeof p.task>[1]) => {
        await p.task(item, context)
        controller.abort("from inside")
        throw "too late"
      },
      tasks: (count: number) =>
        p.tasks(count).map((task) => async (context: Parameters<typeof p.task>[1]) => {
          await task(context)
          controller.abort("from inside")
          throw "too late"
        })
    }
    const call = verb.call([0, 1, 2], own, { signal: controller.signal })
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "from inside", at: 20 })
  })

  it("aborted by a task before it returns its promise: nothing more starts", async () => {
    const controller = new AbortController()
    const p = probe(() => ({ ms: 5000 }))
    const own = {
      ...p,
      task: (item: unknown, context: Parameters<typeof p.task>[1]) => {
        if (context.index === 1) controller.abort("from inside")
        return p.task(item, context)
      },
      tasks: (count: number) =>
        p.tasks(count).map((task, i) => (context: Parameters<typeof p.task>[1]) => {
          if (i === 1) controller.abort("from inside")
          return task(context)
        })
    }
    const call = verb.call([0, 1, 2, 3], own, { signal: controller.signal })
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "from inside", at: 0 })
    expect(p.order).toEqual([0, 1])
    expect(p.running()).toBe(0)
  })

  it.each(["done", "failed", "aborted"])("no listener is left on the signal once it is %s", async (ending) => {
    const controller = new AbortController()
    const { signal } = controller
    const p = probe((i) =>
      ending === "failed" ? { ms: 10, rejects: { reason: `e${i}` } } : { ms: ending === "done" ? 10 : 5000 }
    )
    const call = verb.call([0, 1, 2], p, { maxAtOnce: 2, signal })
    if (ending === "aborted") setTimeout(() => controller.abort("stop"), 25)
    const outcome = await settle(call.promise)
    expect(outcome.status).toBe(ending === "done" ? "fulfilled" : "rejected")
    expect(listeners(signal), "listeners on the signal").toBe(0)
  })

  it("the same signal serves many calls, one after the other, and stays clean", async () => {
    const { signal } = new AbortController()
    for (let i = 0; i < 20; i++) {
      await settle(
        verb.call(
          [0, 1],
          probe(() => ({ ms: 1 })),
          { signal }
        ).promise
      )
      expect(listeners(signal)).toBe(0)
    }
  })
})

describe("the number of listeners on the caller's signal does not grow with the tasks in flight", () => {
  it.each(verbs)("$name", async (verb) => {
    const controller = new AbortController()
    const p = probe(() => ({ ms: 5000 }))
    const call = verb.call(
      Array.from({ length: 50 }, (_, i) => i),
      p,
      { signal: controller.signal }
    )
    const seen = watch(call.promise)
    await flush()
    expect(p.starts.length).toBe(50)
    expect(listeners(controller.signal)).toBeLessThanOrEqual(1)
    controller.abort("stop")
    await flush()
    expect(seen.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    expect(p.aborted.size).toBe(50)
  })
})

describe("a source that stalls is left when the caller aborts", () => {
  const stalls = {
    "an iterator whose next() never settles": (): AsyncIterable<number> => ({
      [Symbol.asyncIterator]: () => {
        let first = true
        return {
          next: () => {
            if (!first) return new Promise<never>(() => {})
            first = false
            return Promise.resolve({ done: false as const, value: 0 })
          }
        }
      }
    }),
    "an async generator that awaits for ever, whose return() never settles either": async function* () {
      yield 0
      await new Promise<never>(() => {})
      yield 1
    },
    "a web stream that nobody feeds": () =>
      new ReadableStream<number>({
        start(controller) {
          controller.enqueue(0)
        }
      })
  }

  describe.each(Object.entries(stalls))("%s", (_, make) => {
    it.each(overItems)("$name", async (verb) => {
      const controller = new AbortController()
      const p = probe(() => ({ ms: 5000 }))
      const call = verb.call(make(), p, { signal: controller.signal })
      setTimeout(() => controller.abort("stop"), 30)
      expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "stop", at: 30 })
      expect([...p.aborted]).toEqual([[0, "stop"]])
      expect(listeners(controller.signal)).toBe(0)
    })
  })

  it("its return() is called once, and not awaited", async () => {
    const controller = new AbortController()
    let returns = 0
    const items: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<never>(() => {}),
        return: () => {
          returns += 1
          return new Promise<never>(() => {})
        }
      })
    }
    const call = runOnEach(items, async () => {}, { signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 30)
    expect(await settle(call)).toEqual({ status: "rejected", reason: "stop", at: 30 })
    expect(returns).toBe(1)
  })

  it("an item or a failure that comes after all is dropped", async () => {
    const controller = new AbortController()
    const late = Promise.withResolvers<IteratorResult<number>>()
    const items: AsyncIterable<number> = { [Symbol.asyncIterator]: () => ({ next: () => late.promise }) }
    const p = probe(() => ({}))
    const call = runOnEach(items, p.task, { signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 30)
    expect(await rejection(call)).toBe("stop")
    late.reject(new Error("nobody cares"))
    await pass(100)
    expect(p.starts).toEqual([])
  })
})

describe("a source that is not pending is closed", () => {
  it.each([
    [0, 30],
    [20, 50],
    [100, 70],
    [Infinity, 70]
  ])("with grace %s its return() is waited for until %i ms", async (grace, at) => {
    const controller = new AbortController()
    let closed = false
    async function* items() {
      try {
        yield* naturals()
      } finally {
        await sleep(40)
        closed = true
      }
    }
    const call = runOnEach(items(), (_, { signal }) => sleep(5000, signal), {
      grace,
      maxAtOnce: 2,
      signal: controller.signal
    })
    setTimeout(() => controller.abort("stop"), 30)
    expect(await settle(call)).toEqual({ status: "rejected", reason: "stop", at })
    await pass(100)
    expect(closed).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("the reason wins over what its return() throws", async () => {
    const controller = new AbortController()
    const items: Iterable<number> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: 1 }),
        return: () => {
          throw "cannot close"
        }
      })
    }
    const call = runOnEach(items, (_, { signal }) => sleep(5000, signal), { maxAtOnce: 2, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 30)
    expect(await settle(call)).toEqual({ status: "rejected", reason: "stop", at: 30 })
  })
})

describe("amap and the caller's signal", () => {
  it("aborted before: throws nothing at once, the first next() rejects, then it is done", async () => {
    const p = probe(() => ({}))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 2, signal: AbortSignal.abort("before") })
    expect(await rejection(results.next())).toBe("before")
    expect(await value(results.next())).toEqual(over)
    expect([s.pulls, p.starts.length]).toEqual([0, 0])
  })

  it("aborted between the call and the first next(): nothing starts", async () => {
    const controller = new AbortController()
    const p = probe(() => ({}))
    const results = amap(naturals(), p.task, { maxAtOnce: 2, signal: controller.signal })
    controller.abort("between")
    await flush()
    expect(await rejection(results.next())).toBe("between")
    expect(await value(results.next())).toEqual(over)
    expect(p.starts).toEqual([])
    expect(listeners(controller.signal)).toBe(0)
  })

  it("drops results that were ready and not read", async () => {
    const controller = new AbortController()
    const p = probe((i) => ({ ms: 10 * i }))
    const results = amap(naturals(5), p.task, { signal: controller.signal })
    expect(await value(results.next())).toEqual({ done: false, value: "v0" })
    await pass(1000)
    expect(p.ended.length).toBe(5)
    controller.abort("stop")
    await flush()
    expect(await rejection(results.next())).toBe("stop")
    expect(await value(results.next())).toEqual(over)
  })

  it("drops a failure that was not read, and rejects with the reason", async () => {
    const controller = new AbortController()
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 10 }))
    const results = amap([0, 1], p.task, { signal: controller.signal })
    expect(await value(results.next())).toEqual({ done: false, value: "v0" })
    await pass(5)
    controller.abort("stop")
    await flush()
    expect(await rejection(results.next())).toBe("stop")
    expect(await value(results.next())).toEqual(over)
  })

  it("the first next() that waits rejects, the others are done", async () => {
    const controller = new AbortController()
    const results = amap(naturals(), (_, { signal }) => sleep(5000, signal), {
      maxAtOnce: 2,
      signal: controller.signal
    })
    const calls = [results.next(), results.next(), results.next()].map((call) => watch<unknown>(call))
    await pass(10)
    controller.abort("stop")
    await flush()
    expect(calls.map(({ outcome }) => outcome)).toEqual([
      { status: "rejected", reason: "stop", at: 10 },
      { status: "fulfilled", value: over, at: 10 },
      { status: "fulfilled", value: over, at: 10 }
    ])
  })

  it("cancels the tasks in flight at once, also without a pending next()", async () => {
    const controller = new AbortController()
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3, signal: controller.signal })
    await value(results.next())
    await flush()
    controller.abort("stop")
    await flush()
    expect(p.cancelled()).toEqual(p.order.filter((i) => i > 0))
    expect(s.returns).toBe(1)
    expect(listeners(controller.signal)).toBe(0)
    expect(await rejection(results.next())).toBe("stop")
  })

  it("return() after the abort resolves, and the reason is dropped", async () => {
    const controller = new AbortController()
    const results = amap(naturals(), (_, { signal }) => sleep(5000, signal), {
      maxAtOnce: 2,
      signal: controller.signal
    })
    const first = watch(results.next())
    await flush()
    controller.abort("stop")
    await flush()
    expect(first.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    expect(await value(leave(results))).toEqual(over)
    expect(await value(results.next())).toEqual(over)
  })

  it("an abort while return() waits changes nothing: the reader has left", async () => {
    const controller = new AbortController()
    const p = probe((i) => ({ ms: i === 0 ? 10 : 1000, deaf: true }))
    const results = amap([0, 1], p.task, { grace: 100, signal: controller.signal })
    await value(results.next())
    const left = watch(leave(results))
    await pass(50)
    expect(listeners(controller.signal)).toBe(0)
    controller.abort("stop")
    await pass(1000)
    expect(left.outcome).toEqual({ status: "fulfilled", value: over, at: 110 })
    expect(await value(results.next())).toEqual(over)
    expect(p.aborted.get(1)).not.toBe("stop")
  })

  it("an abort after return() changes nothing", async () => {
    const controller = new AbortController()
    const results = amap(naturals(), async (n) => n, { maxAtOnce: 2, signal: controller.signal })
    await value(results.next())
    await value(leave(results))
    expect(listeners(controller.signal)).toBe(0)
    controller.abort("stop")
    await flush()
    expect(await value(results.next())).toEqual(over)
  })

  it.each([
    "the end",
    "a failure",
    "return()",
    "return() when all tasks had ended",
    "throw()",
    "disposal",
    "nothing at all"
  ])("no listener is left after %s", async (ending) => {
    const { signal } = new AbortController()
    const p = probe((i) => (ending === "a failure" && i === 1 ? { ms: 10, rejects: { reason: "bad" } } : { ms: 1 }))
    const items = ending === "the end" ? [0] : ending === "return() when all tasks had ended" ? [0, 1] : naturals()
    const results = amap(items, p.task, { maxAtOnce: 2, signal })
    if (ending !== "nothing at all") await value(results.next())
    if (ending === "the end") expect(await value(results.next())).toEqual(over)
    if (ending === "a failure") await pass(100)
    if (ending === "return() when all tasks had ended") await pass(100)
    if (ending.startsWith("return()")) await value(leave(results))
    if (ending === "throw()") expect(await rejection(hurl(results, "mine"))).toBe("mine")
    if (ending === "disposal") await value(results[Symbol.asyncDispose]())
    expect(listeners(signal)).toBe(0)
  })
})

describe("meter.run and the caller's signal", () => {
  it("aborted before: the task never starts", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let started = false
    const run = meter.run(
      () => {
        started = true
      },
      { signal: AbortSignal.abort("before") }
    )
    expect(await rejection(run)).toBe("before")
    expect(started).toBe(false)
    await expectFree(meter, 1)
  })

  it("aborted while it runs: rejects at once with the reason, which the task's signal has as well", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    let given: unknown
    const run = meter.run(
      ({ signal }) => {
        signal.addEventListener("abort", () => {
          given = signal.reason
        })
        return sleep(5000, signal)
      },
      { signal: controller.signal }
    )
    setTimeout(() => controller.abort("stop"), 30)
    expect(await settle(run)).toEqual({ status: "rejected", reason: "stop", at: 30 })
    expect(given).toBe("stop")
    expect(listeners(controller.signal)).toBe(0)
    await expectFree(meter, 1)
  })

  it("aborted while it waits: leaves the queue and costs the next one nothing", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 10 })
    const controller = new AbortController()
    const order: Array<string> = []
    const a = meter.run(() => sleep(150).then(() => order.push("a")))
    const b = watch(meter.run(() => order.push("b"), { signal: controller.signal }))
    const c = watch(meter.run(() => order.push("c")))
    setTimeout(() => controller.abort("stop"), 120)
    await value(a)
    await flush()
    expect(b.outcome).toEqual({ status: "rejected", reason: "stop", at: 120 })
    expect(c.outcome).toMatchObject({ status: "fulfilled", at: 150 })
    expect(order).toEqual(["a", "c"])
    expect(listeners(controller.signal)).toBe(0)
  })

  it("aborted while it waits for its rate: its slot goes to the next waiter", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const controller = new AbortController()
    await value(meter.run(() => {}))
    const b = watch(meter.run(() => {}, { signal: controller.signal }))
    const c = watch(meter.run(() => {}))
    setTimeout(() => controller.abort("stop"), 50)
    await pass(500)
    expect(b.outcome).toEqual({ status: "rejected", reason: "stop", at: 50 })
    expect(c.outcome).toMatchObject({ status: "fulfilled", at: 100 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each(["done", "failed", "aborted"])("no listener is left once it is %s", async (ending) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const run = meter.run(
      async ({ signal }) => {
        await sleep(ending === "aborted" ? 5000 : 10, signal)
        if (ending === "failed") throw "bad"
      },
      { signal: controller.signal }
    )
    if (ending === "aborted") setTimeout(() => controller.abort("stop"), 5)
    expect((await settle(run)).status).toBe(ending === "done" ? "fulfilled" : "rejected")
    expect(listeners(controller.signal)).toBe(0)
  })
})

describe("a call inside a call", () => {
  it("hands the abort down by the task's own signal", async () => {
    const controller = new AbortController()
    const inner: Array<unknown> = []
    const call = runAll(
      [0, 1],
      (_, { signal }) =>
        runAny(
          [
            ({ signal: own }: { readonly signal: AbortSignal }) => {
              own.addEventListener("abort", () => inner.push(own.reason))
              return sleep(5000, own)
            }
          ],
          { signal }
        ),
      { signal: controller.signal }
    )
    setTimeout(() => controller.abort("stop"), 30)
    expect(await settle(call)).toEqual({ status: "rejected", reason: "stop", at: 30 })
    await flush()
    expect(inner).toEqual(["stop", "stop"])
  })
})

describe("no task starts after the signal has aborted, whatever an earlier listener of it does", () => {
  const limits: ReadonlyArray<readonly [string, () => object]> = [
    ["without a limiter", () => ({})],
    ["under a rate", () => ({ maxPerSecond: 1000, maxBurst: 9 })],
    ["under a meter", () => ({ meter: createMeter({ maxAtOnce: 9 }) })],
    ["with a meter per item", () => ({ meter: () => createMeter({ maxAtOnce: 9 }) })]
  ]

  it.each(limits)("%s", async (_, limit) => {
    const controller = new AbortController()
    const { signal } = controller
    const queue = createWorkQueue(["first"])
    const p = probe(() => ({ ms: 0 }))
    const started: Array<unknown> = []
    signal.addEventListener("abort", () => {
      void results.next()
      queue.add("second")
    })
    const results = amap(naturals(), p.task, { maxUnread: 1, signal, ...limit() })
    const hold = Promise.withResolvers<void>()
    const task = (item: string) => (started.push(item), hold.promise)
    const call = watch(runOnEach(queue, task, { signal, ...limit() }))
    await value(results.next())
    await pass(1)
    const { length } = p.starts
    controller.abort("stop")
    await flush()
    expect([p.starts.length, started]).toEqual([length, ["first"]])
    expect(call.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    hold.resolve()
  })

  it("under windows of the call, if the listener corrects what a task has cost", async () => {
    const controller = new AbortController()
    const { signal } = controller
    const started: Array<number> = []
    let correct: TaskContext["correct"] | undefined
    signal.addEventListener("abort", () => correct!({ units: 0 }))
    const hold = Promise.withResolvers<void>()
    const task = (item: number, context: TaskContext): Promise<void> => {
      started.push(item)
      correct = context.correct
      return hold.promise
    }
    const windows = { units: { limit: 1, per: 1000 } }
    const call = watch(runOnEach([1, 2], task, { signal, windows }))
    await pass(1)
    controller.abort("stop")
    await flush()
    expect(started).toEqual([1])
    expect(call.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    hold.resolve()
  })

  it("a signal that cannot be read any more does not matter", async () => {
    const { signal } = new AbortController()
    const task = (n: number): number => {
      Object.defineProperty(signal, "aborted", {
        configurable: true,
        get: () => {
          throw new Error("cannot be read")
        }
      })
      return n
    }
    expect(await value(runAll([1, 2], task, { signal }))).toEqual([1, 2])
  })
})

describe("one signal of several calls", () => {
  it("a call that ends by an earlier listener of the signal is not aborted again", async () => {
    const controller = new AbortController()
    const { signal } = controller
    let left: Promise<unknown> | undefined
    const task = (_: number, context: TaskContext) => {
      context.signal.addEventListener("abort", () => (left = results.return()))
      return sleep(100, context.signal)
    }
    const first = watch(runAll([1], task, { signal }))
    const results = amap([1, 2], (n) => n, { signal })
    expect(await value(results.next())).toEqual({ done: false, value: 1 })
    await pass(10)
    controller.abort("stop")
    expect(await value(left!)).toEqual({ done: true, value: undefined })
    expect(await value(results.next())).toEqual({ done: true, value: undefined })
    expect(first.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    expect(listeners(signal)).toBe(0)
  })
})
