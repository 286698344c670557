/** `createWorkQueue`: a source that tasks add to. */
import { AsyncLocalStorage } from "node:async_hooks"
import fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import {
  amap,
  createKeyedMeter,
  createMeter,
  createWorkQueue,
  runAll,
  runAny,
  runOnEach,
  WorkQueueEndedError
} from "../src/index.ts"
import type { WorkQueue } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  now,
  overItems,
  pass,
  rejection,
  settle,
  sleep,
  tasksOf,
  useVirtualTime,
  value,
  watch
} from "./support.ts"
import { millis, simulate, trees } from "../../fibermeter/test/support/workModel.ts"
import type { Node } from "../../fibermeter/test/support/workModel.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Reads all items of a queue by a call that starts them one after the other. */
const rest = async <A>(queue: WorkQueue<A>): Promise<Array<A>> => {
  const items: Array<A> = []
  await value(runOnEach(queue, (item) => void items.push(item), { maxAtOnce: 1 }))
  return items
}

/** For `runAny`, which would end at the first success. */
const endless = overItems.filter(({ verb }) => verb !== "runAny")

describe.each(endless)("$name", ({ call }) => {
  it("waits at an empty queue while a task may still add to it, and ends with the last task", async () => {
    const queue = createWorkQueue(["slow", "quick"])
    const starts: Array<unknown> = []
    const task = async (item: unknown) => {
      starts.push([item, now()])
      await sleep(item === "slow" ? 900 : 50)
      if (item === "slow") queue.add("late", "last")
      if (item === "slow") await sleep(100)
    }
    expect(await settle(call(queue, tasksOf(task)).promise)).toMatchObject({ status: "fulfilled", at: 1000 })
    expect(starts).toEqual([
      ["slow", 0],
      ["quick", 0],
      ["late", 900],
      ["last", 900]
    ])
    expect(() => queue.add("more")).toThrow(WorkQueueEndedError)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("ends at once if the queue is empty", async () => {
    expect(
      await settle(
        call(
          createWorkQueue(),
          tasksOf(() => 1)
        ).promise
      )
    ).toMatchObject({ at: 0 })
  })

  it("an item in a retry delay may still add", async () => {
    const queue = createWorkQueue([0])
    let attempts = 0
    const order: Array<unknown> = []
    const task = (item: unknown) => {
      order.push([item, now()])
      if (item !== 0) return
      if (++attempts < 3) throw new Error("again")
      queue.add(1)
    }
    const outcome = await settle(call(queue, tasksOf(task), { maxAtOnce: 4, retry: { delay: 500 } }).promise)
    expect(outcome).toMatchObject({ status: "fulfilled", at: 1000 })
    expect(order).toEqual([
      [0, 0],
      [0, 500],
      [0, 1000],
      [1, 1000]
    ])
  })

  it("leaves the items that it has not started, when a task fails or the caller aborts", async () => {
    for (const ends of ["a failure", "an abort"]) {
      const queue = createWorkQueue([0, 1, 2, 3])
      const controller = new AbortController()
      const task = async (item: unknown) => {
        await sleep(10)
        if (item === 1) queue.add(4)
        if (item === 1 && ends === "a failure") throw ends
        if (item === 1) controller.abort(ends)
      }
      const options = { maxAtOnce: 1, signal: controller.signal }
      expect(await rejection(call(queue, tasksOf(task), options).promise)).toBe(ends)
      expect(queue.size, "the one that was at hand is among them").toBe(3)
      expect(await rest(queue)).toEqual([2, 3, 4])
    }
  })

  it("under a meter, the item that waits for its start is left, too", async () => {
    const queue = createWorkQueue([0, 1])
    const controller = new AbortController()
    setTimeout(() => controller.abort("stop"), 10)
    const options = { maxPerSecond: 1, signal: controller.signal }
    expect(
      await rejection(
        call(
          queue,
          tasksOf(() => 1),
          options
        ).promise
      )
    ).toBe("stop")
    expect(await rest(queue)).toEqual([1])
  })

  it("runs tasks in the async context of the call, and not within `add`", async () => {
    const storage = new AsyncLocalStorage<string>()
    const queue = createWorkQueue(["a"])
    const seen: Array<unknown> = []
    const task = async (item: unknown) => {
      seen.push(storage.getStore())
      if (item === "a") {
        await sleep(1)
        storage.run("task", () => queue.add("b"))
        expect(seen.length).toBe(1)
        await sleep(1)
      }
    }
    await value(storage.run("caller", () => call(queue, tasksOf(task)).promise))
    expect(seen).toEqual(["caller", "caller"])
  })
})

it("runAny ends when all tasks have failed, and what is left of the queue outlives its winner", async () => {
  const queue = createWorkQueue([0])
  const fails = async (n: number) => {
    await sleep(10)
    if (n < 3) queue.add(n + 1)
    throw new Error(`${n}`)
  }
  const reason = (await rejection(runAny(queue, fails))) as AggregateError
  expect(reason.errors.map(({ message }: Error) => message)).toEqual(["0", "1", "2", "3"])
  expect(now()).toBe(40)

  const other = createWorkQueue([0, 1, 2])
  expect(await value(runAny(other, async (n) => n, { maxAtOnce: 1 }))).toBe(0)
  other.add(3)
  expect(await rest(other)).toEqual([1, 2, 3])
})

it("amap: leaving the loop early leaves the items that were not started", async () => {
  const queue = createWorkQueue([0, 1, 2, 3, 4])
  for await (const n of amap(queue, async (n) => n, { maxAtOnce: 1, maxUnread: 1 })) if (n === 1) break
  // When 1 was read, 2 could start.
  expect(await rest(queue)).toEqual([3, 4])
})

it("a call that ends early does not end the queue, even if it is empty", async () => {
  const queue = createWorkQueue([0])
  expect(await rejection(runOnEach(queue, () => Promise.reject("failed")))).toBe("failed")
  queue.add(0)
  expect(await rest(queue)).toEqual([0])
})

it("amap: the reader cannot add, because the task has ended", async () => {
  const queue = createWorkQueue([0])
  const results = amap(queue, async (n) => n, { maxUnread: 1 })
  expect(await value(results.next())).toEqual({ done: false, value: 0 })
  expect(() => queue.add(1)).toThrow(WorkQueueEndedError)
  expect(await value(results.next())).toMatchObject({ done: true })
})

it("failures that do not end a call are work that is done", async () => {
  const queue = createWorkQueue([0])
  const task = async (n: number) => {
    await sleep(10)
    if (n < 2) queue.add(n + 1)
    throw n
  }
  const outcomes = await value(runAll(queue, task, { settled: true }))
  expect(outcomes.map(({ item, status }) => [item, status])).toEqual([
    [0, "rejected"],
    [1, "rejected"],
    [2, "rejected"]
  ])
  expect(now()).toBe(30)
})

describe("several calls on one queue", () => {
  it("share the items, and end together", async () => {
    const queue = createWorkQueue(Array.from({ length: 10 }, (_, i) => i))
    const seen: Array<number> = []
    const task = async (n: number) => {
      seen.push(n)
      await sleep(100)
      if (n < 5) queue.add(n + 10)
      if (n === 13) await sleep(1000)
    }
    const calls = [1, 2, 3].map((maxAtOnce) => watch(runOnEach(queue, task, { maxAtOnce })))
    await pass(1000)
    expect(
      calls.map(({ outcome }) => outcome),
      "13 could still add"
    ).toEqual([undefined, undefined, undefined])
    await pass(1000)
    const ends = calls.map(({ outcome }) => outcome!.at)
    expect(new Set(ends)).toEqual(new Set([1300]))
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i))
  })

  it("an item that its call cannot start is started by another one", async () => {
    const queue = createWorkQueue([0])
    const seen: Array<string> = []
    let attempts = 0
    // Waits at the queue. When an item comes, its retry waits for the rate already.
    const first = watch(
      runOnEach(
        queue,
        async (n) => {
          seen.push(`first ${n} ${now()}`)
          if (n === 0 && ++attempts === 1) throw new Error("again")
          await sleep(1000)
        },
        { maxPerSecond: 1, retry: { delay: 100, times: 1 } }
      )
    )
    await flush()
    const second = watch(runOnEach(queue, (n) => void seen.push(`second ${n} ${now()}`)))
    await pass(200)
    queue.add(1)
    await pass(2000)
    expect(seen).toEqual(["first 0 0", "second 1 200", "first 0 1000"])
    expect([first.outcome?.at, second.outcome?.at]).toEqual([2000, 2000])
  })

  it("a call that fails passes what it had taken on to the others", async () => {
    const queue = createWorkQueue(["a", "b"])
    const seen: Array<string> = []
    const failing = rejection(
      runOnEach(
        queue,
        async () => {
          await sleep(100)
          throw "failed"
        },
        { meter: createMeter({ maxAtOnce: 1 }) }
      )
    )
    // It has "a" in work and "b" at hand.
    const other = watch(runOnEach(queue, (item) => void seen.push(`${item} ${now()}`)))
    expect(await failing).toBe("failed")
    await flush()
    expect(seen).toEqual(["b 100"])
    expect(other.outcome).toMatchObject({ status: "fulfilled", at: 100 })
  })

  it("a call ends when the tasks of another that was aborted cannot add any more", async () => {
    const queue = createWorkQueue(["a"])
    const controller = new AbortController()
    const cancelled = async (item: string) => {
      await sleep(200)
      queue.add(`${item}${item}`)
    }
    const aborted = watch(runOnEach(queue, cancelled, { signal: controller.signal, grace: 500 }))
    const items: Array<string> = []
    const other = watch(runOnEach(queue, (item) => void items.push(item)))
    await pass(100)
    controller.abort("stop")
    await pass(50)
    expect([aborted.outcome, other.outcome], "the task has its grace").toEqual([undefined, undefined])
    await pass(50)
    expect(items).toEqual(["aa"])
    expect(aborted.outcome).toMatchObject({ reason: "stop", at: 200 })
    expect(other.outcome).toMatchObject({ status: "fulfilled", at: 200 })
  })
})

it("a task that has timed out does not hold the queue open", async () => {
  const queue = createWorkQueue([0])
  let late: unknown
  const task = async () => {
    await sleep(1000)
    try {
      queue.add(1)
    } catch (error) {
      late = error
    }
  }
  expect(await settle(runOnEach(queue, task, { timeout: 100, stopOnError: false }))).toMatchObject({
    status: "rejected",
    at: 100
  })
  await pass(1000)
  expect(late).toBeInstanceOf(WorkQueueEndedError)
})

it("a task that has timed out and is retried may still add", async () => {
  const queue = createWorkQueue([0])
  let attempts = 0
  const task = async (n: number) => {
    if (n === 1) return
    if (++attempts === 1) await sleep(1000)
    queue.add(1)
  }
  expect(await settle(runAll(queue, task, { timeout: 100, retry: { delay: 50 } }))).toMatchObject({
    status: "fulfilled",
    at: 150
  })
})

it("a call whose meter drains leaves the items that it has not started", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  const queue = createWorkQueue([0, 1, 2])
  const seen: Array<number> = []
  const task = (n: number) => {
    seen.push(n)
    return sleep(100)
  }
  const call = watch(runOnEach(queue, task, { meter }))
  await pass(10)
  const drained = watch(meter.drain())
  await pass(1000)
  expect(call.outcome).toMatchObject({ status: "rejected", at: 200 })
  expect(drained.outcome).toMatchObject({ status: "fulfilled", at: 200 })
  expect(seen, "1 had been taken").toEqual([0, 1])
  expect(await rest(queue)).toEqual([2])
})

it("with a meter per item, the items that wait at their meters are left, in their order", async () => {
  const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
  const queue = createWorkQueue(["a0", "a1", "a2", "b0", "a3", "b1"])
  const started: Array<string> = []
  const task = async (item: string) => {
    started.push(item)
    await sleep(100)
  }
  const controller = new AbortController()
  const meter = (item: string) => hosts.for(item[0]!)
  const call = watch(runOnEach(queue, task, { meter, signal: controller.signal }))
  await pass(50)
  controller.abort("stop")
  await pass(200)
  expect(call.outcome).toMatchObject({ reason: "stop" })
  expect(started).toEqual(["a0", "b0"])
  expect(await rest(queue)).toEqual(["a1", "a2", "a3", "b1"])
})

it("with a meter per item, a call ends with the last task that could add", async () => {
  const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
  const queue = createWorkQueue(["a3", "b2"])
  const ends: Array<readonly [string, number]> = []
  const task = async (item: string) => {
    await sleep(100)
    ends.push([item, now()])
    const left = Number(item[1])
    if (left > 0) queue.add(`${item[0]}${left - 1}`, `c${left - 1}`)
  }
  const call = runOnEach(queue, task, { meter: (item) => hosts.for(item[0]!), maxAtOnce: 3 })
  const { at } = await settle(call)
  expect(at).toBe(ends.at(-1)![1])
  expect(ends.length).toBe(2 ** 4 - 1 + (2 ** 3 - 1))
})

it("an item whose cost cannot be read is left", async () => {
  const queue = createWorkQueue([0, 1])
  const cost = (): never => {
    throw "no cost"
  }
  expect(await rejection(runOnEach(queue, () => {}, { cost, windows: { a: { limit: 1, per: 1 } } }))).toBe("no cost")
  expect(await rest(queue)).toEqual([0, 1])
})

it("a long chain of tasks that add one item each needs no stack", async () => {
  const queue = createWorkQueue([0])
  let last = 0
  await value(
    runOnEach(
      queue,
      (n) => {
        last = n
        if (n < 20_000) queue.add(n + 1)
      },
      { maxAtOnce: 2 }
    )
  )
  expect(last).toBe(20_000)
})

it("a call takes no item that it cannot start, unless it waits for a rate or a meter with it", async () => {
  const queue = createWorkQueue([0, 1, 2, 3, 4])
  const call = watch(runOnEach(queue, () => sleep(100), { maxAtOnce: 2 }))
  await flush()
  expect(queue.size).toBe(3)
  await pass(1000)
  expect(call.outcome?.at).toBe(300)

  const other = createWorkQueue([0, 1, 2, 3, 4])
  const limited = watch(runOnEach(other, () => sleep(100), { meter: createMeter({ maxAtOnce: 2 }) }))
  await flush()
  expect(other.size).toBe(2)
  await pass(1000)
  expect(limited.outcome).toMatchObject({ status: "fulfilled" })
})

describe("for await", () => {
  it("an item is in work until the next one is asked for", async () => {
    const queue = createWorkQueue([1])
    const read: Array<number> = []
    for await (const n of queue) {
      read.push(n)
      if (n < 8) queue.add(2 * n, 2 * n + 1)
    }
    expect(read).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    expect(() => queue.add(0)).toThrow(WorkQueueEndedError)
  })

  it("waits while another call may add, and leaving it early leaves the rest", async () => {
    const queue = createWorkQueue([1])
    const call = watch(
      runOnEach(
        queue,
        async (n) => {
          await sleep(100)
          if (n === 1) queue.add(2, 3, 4)
        },
        { maxAtOnce: 1 }
      )
    )
    const loop = async () => {
      for await (const n of queue) return n
      return undefined
    }
    const read = watch(loop())
    await pass(150)
    expect(read.outcome).toMatchObject({ value: 2, at: 100 })
    await pass(1000)
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 300 })
    expect(await rejection(Promise.resolve().then(() => queue.add(5)))).toBeInstanceOf(WorkQueueEndedError)
  })
})

describe("key", () => {
  it("leaves out duplicates, also of items that were taken long ago", async () => {
    const queue = createWorkQueue(["a", "A", "b"], { key: (item) => item.toLowerCase() })
    expect(queue.size).toBe(2)
    const seen: Array<string> = []
    const task = (item: string) => {
      seen.push(item)
      queue.add("B", "c", "C", "a")
    }
    await value(runOnEach(queue, task))
    expect(seen).toEqual(["a", "b", "c"])
  })

  it("if it throws, nothing is added", async () => {
    const key = (n: number) => {
      if (n === 2) throw new Error("no key")
      return n
    }
    const queue = createWorkQueue([0], { key })
    expect(() => queue.add(1, 2)).toThrow("no key")
    queue.add(1)
    expect(await rest(queue)).toEqual([0, 1])
  })

  it("must not be async, since promises all differ", () => {
    const message = "key must not be async: it has returned a promise, which nothing awaits"
    expect(() => createWorkQueue([0], { key: async (n) => n })).toThrow(new TypeError(message))
  })
})

it("invalid arguments are refused", () => {
  const create = createWorkQueue as (...args: ReadonlyArray<unknown>) => unknown
  expect(() => create(5)).toThrow(new TypeError("the seeds must be an Iterable, but is 5"))
  expect(() => create([], { key: "id" })).toThrow(new TypeError('key must be a function, but is "id"'))
  expect(() => create([], { keys: String })).toThrow(/there is no option keys. Did you mean key\?/)
})

it("nothing can be added when the queue has ended, unless it is nothing", async () => {
  const queue = createWorkQueue([0], { key: String })
  await value(runOnEach(queue, () => {}))
  queue.add()
  expect(() => queue.add(0)).toThrow(
    "the work queue has ended, because it was empty and none of its tasks was left: add items in its tasks, or before the call"
  )
  expect(await settle(runOnEach(queue, () => {}))).toMatchObject({ status: "fulfilled" })
})

it("a queue of another copy of the package is read like one of this copy", async () => {
  vi.resetModules()
  const { createWorkQueue: create } = await import("../src/index.ts")
  const queue = create([0])
  const seen: Array<number> = []
  const task = async (n: number) => {
    seen.push(n)
    await sleep(10)
    if (n < 2) queue.add(n + 1)
  }
  expect(await settle(runOnEach(queue, task, { maxAtOnce: 5 }))).toMatchObject({ status: "fulfilled", at: 30 })
  expect(seen).toEqual([0, 1, 2])
})

// --- random trees ----------------------------------------------------------------------------------------------------

const fails = (node: Node): boolean => node.failures > 0 || node.children.some(fails)

/** The task of a tree's nodes, with a record of its starts. */
const grow = (queue: WorkQueue<Node>) => {
  const starts: Array<readonly [number, number]> = []
  const attempts = new Map<number, number>()
  const task = async (node: Node) => {
    const attempt = attempts.get(node.id) ?? 0
    attempts.set(node.id, attempt + 1)
    starts.push([node.id, now()])
    await sleep(node.before)
    if (attempt === 0) queue.add(...node.children)
    await sleep(node.after)
    if (attempt < node.failures) throw new Error("again")
  }
  return { starts, task }
}

it("random trees: every start and the end come at the instant of the model", async () => {
  await fc.assert(
    fc.asyncProperty(
      trees,
      fc.integer({ min: 1, max: 4 }),
      millis,
      fc.boolean(),
      async (seeds, maxAtOnce, delay, own) => {
        const isRetrying = seeds.some(fails)
        // A call that retries can be paused by a failure, so its own limit is a limiter, as a meter is.
        const model = simulate(seeds, { maxAtOnce, delay, ahead: isRetrying || !own })
        fc.pre(!model.isTied)
        const queue = createWorkQueue(seeds)
        const { starts, task } = grow(queue)
        const begun = now()
        const limit = own ? { maxAtOnce } : { meter: createMeter({ maxAtOnce }) }
        const { at, status } = await settle(
          runOnEach(queue, task, { ...limit, retry: isRetrying ? { delay, times: 2 } : undefined })
        )
        expect(status).toBe("fulfilled")
        expect(starts.map(([id, at]) => [id, at - begun])).toEqual(model.starts)
        expect(at - begun).toBe(model.end)
      }
    ),
    { numRuns: 150 }
  )
})

it("random trees: several calls start each attempt once, and end together, with the last one", async () => {
  await fc.assert(
    fc.asyncProperty(
      trees,
      fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 2, maxLength: 3 }),
      async (seeds, calls) => {
        const queue = createWorkQueue(seeds)
        const { starts, task } = grow(queue)
        const tolerant = async (node: Node) => {
          await task(node)
          last = now()
        }
        let last = now()
        const ends = calls.map((maxAtOnce) =>
          settleAt(runOnEach(queue, tolerant, { maxAtOnce, retry: { delay: 7, times: 2 } }))
        )
        const at = await value(Promise.all(ends))
        expect(new Set(at)).toEqual(new Set([last]))
        const expected = count(seeds)
        expect(starts.map(([id]) => id).toSorted((a, b) => a - b)).toEqual(expected)
        expect(queue.size).toBe(0)
      }
    ),
    { numRuns: 100 }
  )
})

const settleAt = (promise: Promise<void>): Promise<number> => promise.then(now)

/** The ids of all attempts. */
const count = (nodes: ReadonlyArray<Node>): Array<number> =>
  nodes
    .flatMap((node) => [...Array.from({ length: node.failures + 1 }, () => node.id), ...count(node.children)])
    .toSorted((a, b) => a - b)
