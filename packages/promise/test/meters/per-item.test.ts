/** A meter per item, with what only the facade has: signals, retries, timeouts, outcomes, and meters that are closed. */
import { AsyncLocalStorage } from "node:async_hooks"
import { describe, expect, it } from "vitest"
import { amap, createKeyedMeter, createMeter, createWorkQueue, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Meter, MeterOptions, Progress, TaskContext } from "../../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  listeners,
  naturals,
  now,
  pass,
  rejection,
  sleep,
  source,
  untyped,
  useVirtualTime,
  value,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** What starts, and when. The name of an item begins with the key of its meter. */
const begin = (options: MeterOptions = { maxAtOnce: 1 }) => {
  const family = createKeyedMeter<string>(options)
  const starts: Array<string> = []
  const meter = (name: string): Meter => family.for(name.slice(0, 1))
  const note = (name: string): void => {
    starts.push(`${name} ${now()}`)
  }
  /** Tasks of "a" take longer. */
  const task = async (name: string, { signal }: Pick<TaskContext, "signal">): Promise<string> => {
    note(name)
    await sleep(name < "b" ? 100 : 10, signal)
    return name
  }
  return { family, meter, starts, note, task }
}

const expectIdle = async (...meters: ReadonlyArray<Meter>): Promise<void> => {
  for (const meter of meters) {
    const { running, waiting } = meter.snapshot()
    expect({ running, waiting }).toEqual({ running: 0, waiting: 0 })
    await meter.idle()
  }
}

const items = ["a0", "a1", "b0", "a2", "b1"]

describe("items of different meters", () => {
  const verbs: ReadonlyArray<readonly [string, (task: any, meter: any) => Promise<unknown>]> = [
    ["runOnEach", (task, meter) => runOnEach(items, task, { meter })],
    ["runAll", (task, meter) => runAll(items, task, { meter })],
    ["amap", (task, meter) => Array.fromAsync(amap(items, task, { meter }))],
    ["amap ordered", (task, meter) => Array.fromAsync(amap(items, task, { meter, ordered: true }))]
  ]
  it.each(verbs)("%s starts each item as soon as its own meter admits it", async (_, run) => {
    const { family, meter, starts, task } = begin()
    await value(run(task, meter))
    expect(starts).toEqual(["a0 0", "b0 0", "b1 10", "a1 100", "a2 200"])
    await expectIdle(family.for("a"), family.for("b"))
  })

  it("functions without items have meters by the function and its index", async () => {
    const { family, starts, task } = begin()
    const tasks = ["a0", "a1", "b0"].map((name) => (context: TaskContext) => task(name, context))
    const meter = (each: unknown, index: number): Meter => {
      expect(each).toBe(tasks[index])
      return family.for(index < 2 ? "a" : "b")
    }
    expect(await value(runAll(tasks, { meter }))).toEqual(["a0", "a1", "b0"])
    expect(starts).toEqual(["a0 0", "b0 0", "a1 100"])
  })

  it("async iterables are read no further than maxPending", async () => {
    const { meter, starts, task } = begin()
    const s = source("async", ["a0", "a1", "a2", "b0"], () => 0)
    const call = watch(runOnEach(s.iterable as AsyncIterable<string>, task, { meter, maxPending: 1 }))
    await pass(50)
    expect(s.pulls).toBe(2)
    await pass(100)
    expect(s.pulls).toBe(3)
    await pass(200)
    expect(starts).toEqual(["a0 0", "a1 100", "a2 200", "b0 200"])
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
  })

  it("the meter whose method is called comes first, with its defaults", async () => {
    const { family, meter, starts } = begin()
    const all = createMeter({ maxAtOnce: 2, timeout: 20 })
    const call = all.runOnEach(
      ["a0", "a1", "b0", "c0"],
      async (name) => {
        starts.push(`${name} ${now()}`)
        await sleep(10)
      },
      { meter }
    )
    await value(call)
    expect(starts).toEqual(["a0 0", "b0 0", "a1 10", "c0 10"])
    expect(await rejection(all.runOnEach(["a0"], () => sleep(50), { meter }))).toMatchObject({ name: "TimeoutError" })
    await pass(100)
    await expectIdle(all, family.for("a"))
  })

  it("defaults of the meters of single items do not apply", async () => {
    const { meter } = begin({ maxAtOnce: 1, timeout: 20, retry: { times: 3 } })
    let attempts = 0
    const task = async (): Promise<void> => {
      attempts++
      await sleep(50)
      throw new Error("boom")
    }
    expect(await rejection(runOnEach(["a0"], task, { meter }))).toMatchObject({ message: "boom" })
    expect(attempts).toBe(1)
  })

  it("a task starts in the async context of its call", async () => {
    const { meter } = begin()
    const storage = new AsyncLocalStorage<string>()
    const seen: Array<string> = []
    const task = async (name: string): Promise<void> => {
      seen.push(`${name} ${storage.getStore()}`)
      await sleep(10)
    }
    const one = storage.run("one", () => runOnEach(["a0", "a1"], task, { meter }))
    const two = storage.run("two", () => runOnEach(["a2", "a3"], task, { meter }))
    await value(Promise.all([one, two]))
    expect(seen).toEqual(["a0 one", "a1 one", "a2 two", "a3 two"])
  })
})

describe("retries", () => {
  const failing = ({ note }: ReturnType<typeof begin>, times: number) => {
    const failures = new Map<string, number>()
    return async (name: string): Promise<string> => {
      note(name)
      await sleep(10)
      const failed = failures.get(name) ?? 0
      failures.set(name, failed + 1)
      if (failed < times && name.startsWith("a")) throw new Error(`${name} fails`)
      return name
    }
  }

  it("a retry waits at the meters of its item, for which the function is asked once", async () => {
    const begun = begin()
    const asked: Array<string> = []
    const meter = (name: string): Meter => {
      asked.push(name)
      return begun.meter(name)
    }
    const call = runAll(["a0", "a1", "b0"], failing(begun, 1), { meter, retry: { delay: 5 } })
    expect(await value(call)).toEqual(["a0", "a1", "b0"])
    expect(asked).toEqual(["a0", "a1", "b0"])
    // Behind a1, which has waited there since the beginning.
    expect(begun.starts).toEqual(["a0 0", "b0 0", "a1 10", "a0 20", "a1 30"])
    await expectIdle(begun.family.for("a"))
  })

  it("a retry starts before the call's waiting items of the same meters, which keep their order", async () => {
    const { meter, note, starts } = begin()
    const failures = new Map([
      ["a0", 2],
      ["a1", 1]
    ])
    const task = async (name: string): Promise<void> => {
      note(name)
      await sleep(10)
      const left = failures.get(name) ?? 0
      failures.set(name, left - 1)
      if (left > 0) throw new Error("boom")
    }
    const names = ["a0", "a1", "a2", "a3", "b0", "a4"]
    await value(runOnEach(names, task, { meter, retry: { delay: 5 } }))
    expect(starts).toEqual(["a0 0", "b0 0", "a1 10", "a0 20", "a1 30", "a0 40", "a2 50", "a3 60", "a4 70"])
    await expectIdle(meter("a"), meter("b"))
  })

  it("retries that wait at the same time start in the order in which they became due", async () => {
    const { family, note, starts } = begin({ maxAtOnce: 2 })
    const pending = new Set(["a0", "a1"])
    const task = async (name: string): Promise<void> => {
      note(name)
      await sleep(name === "a1" ? 11 : 10)
      if (pending.delete(name)) throw new Error("boom")
    }
    const names = ["a0", "a1", "a2", "a3", "a4", "a5"]
    await value(runOnEach(names, task, { meter: () => family.for("a"), retry: { delay: 5 } }))
    expect(starts).toEqual(["a0 0", "a1 0", "a2 10", "a3 11", "a0 20", "a1 21", "a4 30", "a5 32"])
  })

  it("a retry delays no other call", async () => {
    const { family, note, starts } = begin()
    const one = family.for("a")
    const pending = new Set(["a0"])
    const task = async (name: string): Promise<void> => {
      note(name)
      await sleep(10)
      if (pending.delete(name)) throw new Error("boom")
    }
    const call = watch(runOnEach(["a0", "a1", "a2"], task, { meter: () => one, retry: { delay: 5 } }))
    const others = ["x", "y"].map((name) => watch(one.run(() => task(name))))
    await pass(100)
    // Without the retry: a0 a1 a2 x y. Now a0 waits at the end, and a2 is there in its place.
    expect(starts).toEqual(["a0 0", "a1 10", "a0 20", "x 30", "y 40", "a2 50"])
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
    for (const { outcome } of others) expect(outcome).toMatchObject({ status: "fulfilled" })
  })

  it.each<readonly [string, object, ReadonlyArray<string>]>([
    ["priority", { priority: (name: string) => (name === "a2" ? 1 : 0) }, ["a2", "a0", "a1", "a0", "a3"]],
    ["lane", { lane: (name: string) => (name === "a0" ? "x" : "y") }, ["a0", "a1", "a0", "a2", "a3"]],
    // a2, the last of those that cost as much, has the last place of these.
    ["cost", { cost: (name: string) => ({ w: name === "a3" ? 2 : 1 }) }, ["a0", "a1", "a0", "a3", "a2"]],
    ["another cost", { cost: (name: string) => ({ w: name === "a0" ? 2 : 1 }) }, ["a0", "a1", "a2", "a3", "a0"]],
    ["permits", { permits: 2 }, ["a0", "a1", "a0", "a2", "a3"]]
  ])("a retry takes the start of items that rank and cost the same: %s", async (_, options, order) => {
    const one = createMeter({ maxAtOnce: 2, windows: { w: { limit: 1000, per: 100_000 } } })
    const starts: Array<string> = []
    const pending = new Set(["a0"])
    const task = async (name: string): Promise<void> => {
      starts.push(name)
      await sleep(10)
      if (pending.delete(name)) throw new Error("boom")
    }
    const blocker = one.run(() => sleep(1), { permits: 2 })
    const all = { meter: () => one, permits: 2, retry: { delay: 5 }, ...options }
    await value(runOnEach(["a0", "a1", "a2", "a3"], task, all))
    await blocker
    expect(starts).toEqual(order)
    await expectIdle(one)
  })

  it("where the reader is slow, a retry gives its place in the queue to an item for whose result there is room", async () => {
    const { meter, note, starts } = begin()
    const pending = new Set(["a0", "a1"])
    const task = async (name: string): Promise<string> => {
      note(name)
      await sleep(10)
      if (pending.delete(name)) throw new Error("boom")
      return name
    }
    const names = ["a0", "a1", "a2", "a3", "a4"]
    const results = amap(names, task, { meter, maxUnread: 3, retry: { delay: 5 } })
    const first = watch(results.next())
    await pass(200)
    // Of five items, one result has been read, and three are unread.
    expect(starts).toEqual(["a0 0", "a1 10", "a0 20", "a1 30", "a2 40", "a3 50"])
    expect(first.outcome).toMatchObject({ value: { value: "a0" } })
    expect(await value(Array.fromAsync(results))).toEqual(["a1", "a2", "a3", "a4"])
  })

  it("an attempt that timed out releases its permit after its item has started again in another's place", async () => {
    const { family, note, starts } = begin({ maxAtOnce: 2 })
    const one = family.for("a")
    const slow = new Set(["a0"])
    const task = async (name: string): Promise<void> => {
      note(name)
      await sleep(slow.delete(name) ? 45 : 10)
    }
    const names = ["a0", "a1", "a2", "a3", "a4"]
    await value(runOnEach(names, task, { meter: () => one, timeout: 15, retry: { delay: 1 } }))
    expect(starts).toEqual(["a0 0", "a1 0", "a2 10", "a0 20", "a3 30", "a4 40"])
    await pass(100)
    await expectIdle(one)
  })

  it("a call that ends returns the items whose place a retry has taken to their work queue, in order", async () => {
    const { meter, note, starts } = begin()
    const pending = new Set(["a0"])
    const queue = createWorkQueue(["a0", "a1", "a2", "a3"])
    const task = async (name: string): Promise<void> => {
      note(name)
      await sleep(10)
      if (pending.delete(name)) throw new Error("boom")
    }
    const controller = new AbortController()
    const call = watch(runOnEach(queue, task, { meter, retry: { delay: 5 }, signal: controller.signal }))
    await pass(25)
    controller.abort("enough")
    await flush()
    expect(call.outcome).toMatchObject({ status: "rejected", reason: "enough" })
    expect(starts).toEqual(["a0 0", "a1 10", "a0 20"])
    await value(runOnEach(queue, async (name) => note(name)))
    expect(starts.slice(3)).toEqual(["a2 25", "a3 25"])
    await pass(10)
    await expectIdle(meter("a"))
  })

  it.each([
    ["an array", (names: ReadonlyArray<string>) => names, { total: 3, waiting: 2 }],
    ["a generator", (names: ReadonlyArray<string>) => names.values(), { total: undefined, waiting: 2 }]
  ])("an item that waits at its meter for a retry has started: progress of %s", async (_, of, expected) => {
    const { meter, task } = begin()
    const pending = new Set(["a0"])
    const failing = async (name: string, context: TaskContext): Promise<void> => {
      if (pending.delete(name)) throw new Error("boom")
      await task(name, context)
    }
    const told: Array<Progress> = []
    const call = runOnEach(of(["a0", "a1", "a2"]), failing, {
      meter,
      retry: { delay: 5 },
      onProgress: (progress) => told.push(progress)
    })
    await value(call)
    // a0 has failed and waits for a1.
    expect(told[0]).toMatchObject({ started: 2, running: 1, retried: 0, elapsed: 100, ...expected })
    expect(told.at(-1)).toMatchObject({ started: 3, running: 0, waiting: 0, succeeded: 3, retried: 1 })
  })

  it("the last progress of a call that ends while a retry waits at a meter counts it no more", async () => {
    const { meter, task } = begin()
    const told: Array<Progress> = []
    const failing = async (name: string, context: TaskContext): Promise<void> => {
      if (name === "a0") throw new Error("boom")
      await task(name, context)
    }
    const controller = new AbortController()
    const call = runOnEach(new Set(["a0", "a1", "a2"]).values(), failing, {
      meter,
      retry: { delay: 5 },
      signal: controller.signal,
      onProgress: (progress) => told.push(progress)
    })
    const watched = watch(call)
    await pass(50)
    controller.abort("enough")
    await flush()
    expect(watched.outcome).toMatchObject({ status: "rejected", reason: "enough" })
    // a0 has started and waits for a1; a2 has not started.
    expect(told.at(-1)).toMatchObject({ started: 2, running: 1, waiting: 0, succeeded: 0, retried: 0 })
  })

  it("retries that wait at different meters, and in lanes, do not take each other's place", async () => {
    const { meter, note, starts } = begin()
    const pending = new Set(["b0", "c0"])
    const task = async (name: string): Promise<void> => {
      note(name)
      await sleep(name < "b" ? 7 : 10)
      if (pending.delete(name)) throw new Error("boom")
    }
    const names = ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]
    const lane = (name: string): unknown => (name < "b" ? "a" : undefined)
    await value(runOnEach(names, task, { meter, lane, retry: { delay: 2 } }))
    const begun = (key: string): ReadonlyArray<string> => starts.filter((each) => each.startsWith(key))
    expect(begun("a")).toEqual(["a0 0", "a1 7", "a2 14"])
    expect(begun("b")).toEqual(["b0 0", "b1 10", "b0 20", "b2 30"])
    expect(begun("c")).toEqual(["c0 0", "c1 10", "c0 20", "c2 30"])
  })

  it("the meter of a key stays the same while an item of it waits for a retry", async () => {
    const begun = begin()
    const { family } = begun
    const call = watch(runOnEach(["a0"], failing(begun, 1), { meter: begun.meter, retry: { delay: 100 } }))
    await pass(50)
    for (let n = 0; n < 100; n++) family.for(`x${n}`)
    const idle = watch(family.for("a").idle())
    expect(family.size).toBe(1)
    await pass(100)
    expect(idle.outcome).toMatchObject({ at: 120 })
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 120 })
  })

  it("a retry does not wait for the items that wait, however many, nor for the reader", async () => {
    const begun = begin()
    const names = ["a0", "b0", "b1", "b2"]
    const retry = { delay: 1 }
    const results = amap(names, failing(begun, 1), { meter: begun.meter, retry, maxPending: 1, maxUnread: 1 })
    const first = await value(results.next())
    expect(first.value).toBe("a0")
    expect(begun.starts).toEqual(["a0 0", "a0 11", "b0 21"])
    expect(await value(Array.fromAsync(results))).toEqual(["b0", "b1", "b2"])
  })

  it("items that wait for their next attempt count for maxPending: where all fail, the source is not read to its end", async () => {
    const begun = begin()
    const s = source("async", naturals(10_000), () => 0)
    const controller = new AbortController()
    const task = async (): Promise<never> => {
      throw new Error("busy")
    }
    const options = {
      meter: () => begun.family.for("a"),
      maxPending: 5,
      retry: { delay: 1000 },
      signal: controller.signal
    }
    const call = watch(runOnEach(s.iterable as AsyncIterable<number>, task, options))
    await pass(500)
    // The sixth was pulled while the fifth ran.
    expect(s.pulls).toBe(6)
    controller.abort("enough")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "enough" })
    await expectIdle(begun.family.for("a"))
  })

  it("a Retry-After pauses the last of the item's meters", async () => {
    const begun = begin()
    const all = createMeter({ maxAtOnce: 5 })
    let failed = false
    const task = async (name: string): Promise<void> => {
      begun.note(name)
      await sleep(10)
      if (name !== "a0" || failed) return
      failed = true
      throw Object.assign(new Error("busy"), { headers: { "retry-after": "1" } })
    }
    const meter = (name: string): ReadonlyArray<Meter> => [all, begun.meter(name)]
    await value(runOnEach(["a0", "a1", "b0", "b1"], task, { meter, retry: { delay: 1 } }))
    expect(begun.starts).toEqual(["a0 0", "b0 0", "b1 10", "a1 1010", "a0 1020"])
  })

  it("an attempt that has timed out holds its permit until it settles, while the next one waits", async () => {
    const { family, meter, note, starts } = begin()
    let attempts = 0
    const task = async (name: string): Promise<string> => {
      note(name)
      await sleep(attempts++ === 0 ? 50 : 1)
      return name
    }
    expect(await value(runAll(["a0", "b0"], task, { meter, timeout: 20, retry: { delay: 5 } }))).toEqual(["a0", "b0"])
    expect(starts).toEqual(["a0 0", "b0 0", "a0 50"])
    await expectIdle(family.for("a"), family.for("b"))
  })

  it("two attempts at a time take two permits, and the item ends with the later of them", async () => {
    const { family, meter, note, starts } = begin({ maxAtOnce: 2 })
    let attempts = 0
    const task = async (name: string): Promise<string> => {
      note(name)
      await sleep(attempts++ === 0 ? 50 : 1)
      return name
    }
    const call = watch(runAll(["a0"], task, { meter, timeout: 20, retry: { delay: 5 } }))
    await pass(25)
    expect(family.for("a").snapshot().running).toBe(2)
    await pass(10)
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 26 })
    await pass(40)
    expect(starts).toEqual(["a0 0", "a0 25"])
    await expectIdle(family.for("a"))
  })

  it("a call that ends while a retry waits at the meters leaves nothing", async () => {
    const begun = begin()
    const controller = new AbortController()
    const task = async (name: string): Promise<void> => {
      begun.note(name)
      await sleep(name === "a0" ? 10 : 1000)
      throw new Error(name)
    }
    const { meter } = begun
    const call = watch(runOnEach(["a0", "a1"], task, { meter, retry: { delay: 5 }, signal: controller.signal }))
    await pass(100)
    expect(begun.family.for("a").snapshot()).toMatchObject({ running: 1, waiting: 1 })
    controller.abort("enough")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "enough" })
    await pass(1000)
    expect(begun.starts).toEqual(["a0 0", "a1 10"])
    await expectIdle(begun.family.for("a"))
  })

  it("a call that ends while an item waits for its retry leaves nothing", async () => {
    const begun = begin()
    const controller = new AbortController()
    const { meter } = begun
    const retry = { delay: 1000 }
    const call = watch(runOnEach(["a0", "b0"], failing(begun, 5), { meter, retry, signal: controller.signal }))
    await pass(500)
    controller.abort("enough")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "enough", at: 500 })
    expect(listeners(controller.signal)).toBe(0)
    await expectIdle(begun.family.for("a"), begun.family.for("b"))
  })
})

describe("failures", () => {
  it("settled: what becomes of each item is an outcome", async () => {
    const { meter, task } = begin()
    const flaky = async (name: string, context: TaskContext): Promise<string> => {
      await task(name, context)
      if (name === "a0") throw "boom"
      return name
    }
    const outcomes = await value(runAll(["a0", "a1", "b0"], flaky, { meter, settled: true }))
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"])
  })

  const wrong: ReadonlyArray<readonly [string, () => unknown, unknown]> = [
    ["undefined", () => undefined, "the meter of items[1] must be a Meter made by createMeter, but is undefined"],
    ["an empty list", () => [], "the meter of items[1] must be one or more meters, but is an empty array"],
    [
      "limits",
      () => [{ maxAtOnce: 1 }],
      "the meter of items[1][0] must be a Meter made by createMeter, but is an object"
    ],
    [
      "a meter of another copy",
      () => ({ "~@fibermeter/promise/Meter": true }),
      expect.stringContaining("the meter of items[1] was made by another copy of @fibermeter/promise")
    ],
    [
      "an async function",
      () => Promise.reject(new Error("late")),
      "the meter of items[1] must be a Meter made by createMeter, but is a Promise"
    ]
  ]

  it.each(wrong)("%s instead of a meter fails the call, also with settled", async (_, make, message) => {
    const { family, starts, task } = begin()
    const meter = (_name: string, index: number): unknown => (index === 1 ? make() : family.for("a"))
    const call = untyped["runAll"](["a0", "a1"], task, { meter, settled: true }) as Promise<unknown>
    const reason = await rejection(call)
    expect(reason).toBeInstanceOf(TypeError)
    expect(reason).toMatchObject({ message })
    expect(starts).toEqual(["a0 0"])
    await expectIdle(family.for("a"))
  })

  it("a meter that has been closed fails the call with its reason, at the item that it belongs to", async () => {
    const { family, meter, starts, task } = begin()
    await family.for("b").close("closed")
    expect(await rejection(runAll(["a0", "b0", "a1"], task, { meter }))).toBe("closed")
    expect(starts).toEqual(["a0 0"])
    await expectIdle(family.for("a"))
  })

  it("a task that needs more permits than the call has fails the call", async () => {
    const { meter, task } = begin({ maxAtOnce: 5 })
    expect(await rejection(runAll(["a0"], task, { meter, permits: 3, maxAtOnce: 2 }))).toMatchObject({
      message: "a task needs 3 permits, but there are 2 in all"
    })
  })
})

describe("endings", () => {
  it("an abort ends the items that wait, and the next waiter of their meter starts", async () => {
    const { family, meter, starts, task } = begin()
    const controller = new AbortController()
    const call = watch(runAll(["a0", "a1", "a2", "b0"], task, { meter, signal: controller.signal }))
    const other = watch(family.for("a").run((context) => task("other", context)))
    await pass(50)
    controller.abort("enough")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "enough", at: 50 })
    expect(starts).toEqual(["a0 0", "b0 0", "other 50"])
    await pass(100)
    expect(other.outcome).toMatchObject({ status: "fulfilled" })
    expect(listeners(controller.signal)).toBe(0)
    await expectIdle(family.for("a"), family.for("b"))
  })

  it("a signal that another listener aborts first: the item does not start, and the call rejects with the reason", async () => {
    const { family, meter, starts, task } = begin()
    const controller = new AbortController()
    // This listener comes first, and makes room for a0 while the signal has aborted.
    controller.signal.addEventListener("abort", () => family.for("a").resume())
    family.for("a").pause()
    const call = watch(runAll(["a0"], task, { meter, signal: controller.signal }))
    await flush()
    controller.abort("enough")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "enough" })
    expect(starts).toEqual([])
    await expectIdle(family.for("a"))
  })

  it("the winner of runAny cancels the losers that run, and those that wait never start", async () => {
    const { family, meter, starts } = begin()
    const reasons: Array<unknown> = []
    const task = async (name: string, { signal }: TaskContext): Promise<string> => {
      starts.push(`${name} ${now()}`)
      await sleep(name === "b0" ? 10 : 1000, signal).catch((reason: unknown) => {
        reasons.push(reason)
        throw reason
      })
      return name
    }
    expect(await value(runAny(["a0", "a1", "b0", "b1"], task, { meter }))).toBe("b0")
    expect(starts).toEqual(["a0 0", "b0 0"])
    expect(reasons.map(isAbortError)).toEqual([true])
    await expectIdle(family.for("a"), family.for("b"))
  })

  it("leaving amap early ends the items that wait", async () => {
    const { family, meter, task } = begin()
    const results = amap(["a0", "a1", "b0", "b1"], task, { meter })
    expect((await value(results.next())).value).toBe("b0")
    await value(results.return())
    await flush()
    await expectIdle(family.for("a"), family.for("b"))
  })

  it("clear ends the calls of which an item waits there, and no others", async () => {
    const { family, meter, task } = begin()
    const waiting = watch(runAll(["a0", "a1"], task, { meter }))
    const running = watch(runAll(["b0", "c0"], task, { meter }))
    await flush()
    family.for("b").clear("cleared")
    family.for("a").clear("cleared")
    await flush()
    expect(waiting.outcome).toMatchObject({ reason: "cleared" })
    await pass(50)
    expect(running.outcome).toMatchObject({ status: "fulfilled" })
    await expectIdle(family.for("a"), family.for("b"))
  })

  it("clear ends a call of which an item waits for a retry at that meter", async () => {
    const { family, meter } = begin()
    const task = async (name: string): Promise<void> => {
      await sleep(10)
      if (name === "a0") throw new Error("boom")
      await sleep(500)
    }
    const call = watch(runOnEach(["a0", "b0"], task, { meter, retry: { delay: 100 } }))
    await pass(50)
    family.for("b").clear("cleared")
    await flush()
    expect(call.outcome).toBeUndefined()
    family.for("a").clear("cleared")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "cleared" })
  })

  it("close ends the calls that have an item there, and resolves when they have ended", async () => {
    const { family, meter, task } = begin()
    const call = watch(runAll(["a0", "b0"], task, { meter }))
    const other = watch(runAll(["c0"], task, { meter }))
    await flush()
    const closed = watch(family.for("a").close("closed"))
    await flush()
    expect(call.outcome).toMatchObject({ reason: "closed" })
    expect(closed.outcome).toMatchObject({ status: "fulfilled" })
    await pass(50)
    expect(other.outcome).toMatchObject({ status: "fulfilled" })
  })

  it("a draining meter admits what has been pulled; then the call rejects at the next item of it", async () => {
    const { family, meter, starts, task } = begin()
    const call = watch(runAll(["a0", "a1", "b0", "b1", "a2", "b2"], task, { meter, maxPending: 1 }))
    await pass(50)
    const drained = watch(family.for("a").drain())
    await pass(200)
    expect(starts).toEqual(["a0 0", "a1 100", "b0 100", "b1 110"])
    expect(call.outcome).toMatchObject({ status: "rejected", at: 200 })
    expect(isAbortError((call.outcome as { reason: unknown }).reason)).toBe(true)
    expect(drained.outcome).toMatchObject({ status: "fulfilled", at: 200 })
  })
})
