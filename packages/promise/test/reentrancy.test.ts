/** Callbacks that reach back into the call that runs them: tasks, sources and listeners, each at an awkward moment. */
import { AsyncLocalStorage } from "node:async_hooks"
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { TaskContext } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  leave,
  listeners,
  naturals,
  now,
  over,
  overItems,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"
import type { Told } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe("a task", () => {
  it("that calls return() of its own iterator ends it: nothing more starts, and no next() is pending", async () => {
    const started: Array<number> = []
    const results: AsyncIterableIterator<number> = amap(
      naturals(),
      (n) => {
        started.push(n)
        if (n === 1) void leave(results)
        return sleep(10).then(() => n)
      },
      { maxAtOnce: 3 }
    )
    const reading = watch(results.next())
    await pass(100)
    expect(started).toEqual([0, 1])
    expect(reading.outcome).toMatchObject({ status: "fulfilled", value: over })
    expect(await value(results.next())).toEqual(over)
  })

  it("that calls next() of its own iterator gets a result", async () => {
    const inner: Array<unknown> = []
    const results: AsyncIterableIterator<number> = amap(
      naturals(3),
      (n) => {
        if (n === 0) void results.next().then((next) => inner.push(next.value))
        return sleep(10 * n + 10).then(() => n)
      },
      { maxAtOnce: 3 }
    )
    expect(await value(results.next())).toEqual({ done: false, value: 0 })
    expect(await value(results.next())).toEqual({ done: false, value: 2 })
    expect(inner).toEqual([1])
  })

  it("that runs another under its own meter, with room, gets through", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const order: Array<string> = []
    const call = runOnEach(
      naturals(3),
      async (n) => {
        order.push(`outer ${n}`)
        await meter.run(async () => {
          order.push(`inner ${n}`)
          await sleep(10)
        })
      },
      { meter, maxAtOnce: 1 }
    )
    await value(call)
    expect(order).toEqual(["outer 0", "inner 0", "outer 1", "inner 1", "outer 2", "inner 2"])
    await expectFree(meter, 2)
  })

  it("that starts a whole call over the same meter before it returns its promise gets through", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    const results = await value(
      runAll([10, 20], (tens) => runAll([1, 2], (n) => tens + n, { meter }), { meter, maxAtOnce: 2 })
    )
    expect(results).toEqual([
      [11, 12],
      [21, 22]
    ])
    await expectFree(meter, 3)
  })
})

describe("a source", () => {
  it.each(overItems)("$name: that aborts the call from its next() hands over nothing more", async (verb) => {
    const controller = new AbortController()
    const p = probe(() => ({ ms: 1000 }))
    function* items() {
      yield 0
      controller.abort("from the source")
      yield 1
    }
    const call = verb.call(items(), p, { signal: controller.signal })
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "from the source", at: 0 })
    expect(p.order.length).toBeLessThanOrEqual(1)
    expect(p.running()).toBe(0)
    expect(listeners(controller.signal)).toBe(0)
  })

  it.each(["throws", "rejects", "hands over an item", "ends", "never answers"])(
    "that aborts the call from an async next() and then %s: the reason is what counts",
    async (how) => {
      for (const verb of overItems) {
        const controller = new AbortController()
        const p = probe(() => ({ ms: 1000 }))
        const items: AsyncIterable<number> = {
          [Symbol.asyncIterator]: () => ({
            next: () => {
              controller.abort("from the source")
              if (how === "throws") throw "too late"
              if (how === "rejects") return Promise.reject("too late")
              if (how === "hands over an item") return Promise.resolve({ done: false, value: 1 })
              if (how === "ends") return Promise.resolve({ done: true, value: undefined })
              return new Promise<never>(() => {})
            }
          })
        }
        const call = verb.call(items, p, { signal: controller.signal })
        expect(await settle(call.promise), verb.name).toMatchObject({ status: "rejected", reason: "from the source" })
        expect(p.order, verb.name).toEqual([])
        expect(listeners(controller.signal), verb.name).toBe(0)
      }
    }
  )

  it.each(overItems)("$name: that aborts the call when it is opened hands over nothing", async (verb) => {
    const controller = new AbortController()
    const p = probe(() => ({ ms: 1000 }))
    const items: Iterable<number> = {
      [Symbol.iterator]: () => {
        controller.abort("from the source")
        return [1, 2, 3][Symbol.iterator]()
      }
    }
    const call = verb.call(items, p, { signal: controller.signal })
    expect(await settle(call.promise)).toMatchObject({ status: "rejected", reason: "from the source" })
    expect(p.order).toEqual([])
    expect(listeners(controller.signal)).toBe(0)
  })

  it.each(overItems)("$name: that aborts the call from its return() ends it at that instant", async (verb) => {
    const controller = new AbortController()
    const p = probe(() => (verb.verb === "runAny" ? { ms: 10 } : { ms: 10, rejects: { reason: "bad" } }))
    const items: Iterable<number> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: 1 }),
        return: () => {
          controller.abort("from the source")
          return { done: true, value: undefined }
        }
      })
    }
    const outcome = await settle(verb.call(items, p, { maxAtOnce: 1, signal: controller.signal }).promise)
    // It ends at that instant either way; what it must not do is hang, or leave a listener.
    expect(outcome.at).toBe(10)
    expect(listeners(controller.signal)).toBe(0)
    expect(p.running()).toBe(0)
  })

  it("that leaves the iterator from its next() is closed, and nothing more starts", async () => {
    const p = probe(() => ({ ms: 1000 }))
    let closed = 0
    function* items() {
      try {
        yield 0
        void leave(results)
        yield 1
        yield 2
      } finally {
        closed += 1
      }
    }
    const results: AsyncIterableIterator<unknown> = amap(items(), p.task, { maxAtOnce: 3 })
    expect(await value(results.next())).toEqual(over)
    expect(p.order).toEqual([0])
    expect(p.running()).toBe(0)
    await flush()
    expect(closed).toBe(1)
  })
})

describe("an abort listener", () => {
  it("that calls next() while its call is being cancelled finds it done", async () => {
    const controller = new AbortController()
    let late: ReturnType<typeof watch<unknown>> | undefined
    const results: AsyncIterableIterator<void> = amap(
      naturals(),
      (_, { signal }) => {
        signal.addEventListener("abort", () => {
          late = watch(results.next())
        })
        return sleep(1000, signal)
      },
      { maxAtOnce: 1, signal: controller.signal }
    )
    const first = watch(results.next())
    await flush()
    controller.abort("stop")
    await flush()
    expect(first.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    expect(late?.outcome).toMatchObject({ status: "fulfilled", value: over })
  })

  it("that runs a task on the same meter gets a permit when one is free", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    let inner: ReturnType<typeof watch<number>> | undefined
    const call = runOnEach(
      [0],
      (_, { signal }) => {
        signal.addEventListener("abort", () => {
          inner = watch(meter.run(() => now()))
        })
        return sleep(1000, signal)
      },
      { meter, signal: controller.signal }
    )
    setTimeout(() => controller.abort("stop"), 20)
    expect(await rejection(call)).toBe("stop")
    await flush()
    expect(inner?.outcome).toMatchObject({ status: "fulfilled", value: 20 })
  })

  it("of a loser of runAny may make a task win another runAny", async () => {
    const limiter = Promise.withResolvers<string>()
    const other = runAny([() => limiter.promise, () => sleep(1000).then(() => "slow")])
    const first = runAny([
      ({ signal }: TaskContext) => {
        signal.addEventListener("abort", () => limiter.resolve("told"))
        return sleep(1000, signal).then(() => "slow")
      },
      () => sleep(10).then(() => "fast")
    ])
    expect(await value(Promise.all([first, other]))).toEqual(["fast", "told"])
    await pass(1000)
  })
})

describe("the async context of a call is its tasks' own", () => {
  const storage = new AsyncLocalStorage<string>()

  it.each(verbs)("$name: also for tasks that another call's end lets start", async (verb) => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 100 })
    const seen: Array<string> = []
    const begin = (name: string) =>
      storage.run(name, () => {
        const p = probe(() => ({ ms: 15, ...(verb.failsFast ? {} : { rejects: { reason: name } }) }))
        const note = (index: number) => {
          seen.push(`${name}: ${storage.getStore()} ${index}`)
        }
        const own = {
          ...p,
          task: (item: unknown, context: Told) => {
            note(context.index)
            return p.task(item, context)
          },
          tasks: (count: number) =>
            p.tasks(count).map((task) => (context: Told) => {
              note(context.index)
              return task(context)
            })
        }
        return watch(verb.call([0, 1, 2], own, { meter }).promise)
      })
    const calls = [begin("a"), begin("b")]
    await pass(1000)
    expect(calls.every(({ outcome }) => outcome !== undefined)).toBe(true)
    expect(seen.length).toBeGreaterThanOrEqual(2)
    expect(seen.filter((line) => !/^(\w): \1 \d$/.test(line))).toEqual([])
  })

  it("meter.run, too", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 100 })
    const run = (name: string) => storage.run(name, () => meter.run(() => sleep(5).then(() => storage.getStore())))
    expect(await value(Promise.all([run("a"), run("b"), run("c")]))).toEqual(["a", "b", "c"])
  })
})

describe("durations beyond the maximum of a timer", () => {
  it("a grace of months is not over at once", async () => {
    const p = probe((i) => (i === 0 ? { ms: 10, rejects: { reason: "bad" } } : { ms: 1000, deaf: true }))
    expect(await settle(runOnEach([0, 1], p.task, { grace: 2 ** 33 }))).toEqual({
      status: "rejected",
      reason: "bad",
      at: 1000
    })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a start every four months does not come at once", async () => {
    const p = probe(() => ({ ms: 1 }))
    const controller = new AbortController()
    const call = watch(runOnEach([0, 1], p.task, { maxPerSecond: 1e-7, signal: controller.signal }))
    await pass(100_000)
    expect(p.starts).toEqual([0])
    controller.abort("stop")
    await flush()
    expect(call.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    expect(vi.getTimerCount()).toBe(0)
  })
})
