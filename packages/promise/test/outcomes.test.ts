/** Failures that do not end the call: `settled: true`, and `stopOnError: false`. */
import { describe, expect, it } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { AmapOptions } from "../src/index.ts"
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
  probe,
  rejection,
  settle,
  sleep,
  source,
  SourceError,
  useVirtualTime,
  value,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const good = (value: unknown, index: number, item: unknown) => ({ status: "fulfilled", value, index, item })
const bad = (reason: unknown, index: number, item: unknown) => ({ status: "rejected", reason, index, item })

/** Every way in which a task can end, and the outcome that it is. */
const thrown = new Error("thrown")
const endings: ReadonlyArray<readonly [name: string, task: () => unknown, outcome: object]> = [
  ["returns", () => 1, { status: "fulfilled", value: 1 }],
  ["returns undefined", () => undefined, { status: "fulfilled", value: undefined }],
  ["returns an error", () => thrown, { status: "fulfilled", value: thrown }],
  ["throws", () => hurled(thrown), { status: "rejected", reason: thrown }],
  ["throws undefined", () => hurled(undefined), { status: "rejected", reason: undefined }],
  ["resolves", () => Promise.resolve("a"), { status: "fulfilled", value: "a" }],
  ["resolves later", () => sleep(10).then(() => "b"), { status: "fulfilled", value: "b" }],
  ["rejects", () => Promise.reject(thrown), { status: "rejected", reason: thrown }],
  ["rejects with undefined", () => Promise.reject(undefined), { status: "rejected", reason: undefined }],
  ["rejects later", () => sleep(10).then(() => hurled(null)), { status: "rejected", reason: null }],
  [
    "is a thenable that resolves twice",
    () => ({
      // oxlint-disable-next-line unicorn/no-thenable -- a foreign promise
      then: (resolve: (value: string) => void) => {
        resolve("c")
        resolve("d")
      }
    }),
    { status: "fulfilled", value: "c" }
  ],
  [
    "is a thenable that rejects",
    // oxlint-disable-next-line unicorn/no-thenable -- a foreign promise
    () => ({ then: (_: unknown, reject: (reason: unknown) => void) => reject("e") }),
    { status: "rejected", reason: "e" }
  ],
  [
    "is a thenable that throws",
    // oxlint-disable-next-line unicorn/no-thenable -- a foreign promise
    () => ({ then: () => hurled("f") }),
    { status: "rejected", reason: "f" }
  ]
]

const hurled = (reason: unknown): never => {
  throw reason
}

const tasks = endings.map(([, task]) => task)
const outcomesOf = (items: ReadonlyArray<unknown>) =>
  endings.map(([, , outcome], index) => ({ ...outcome, index, item: items[index] }))

/** The verbs that know `settled`, and whether they give the outcomes in the order of the input. */
const settling = [
  {
    name: "runAll",
    ordered: true,
    run: <A>(items: Iterable<A> | AsyncIterable<A>, task: Parameters<typeof amap<A, unknown>>[1], options = {}) =>
      runAll(items, task, { ...options, settled: true })
  },
  {
    name: "amap",
    ordered: false,
    run: <A>(items: Iterable<A> | AsyncIterable<A>, task: Parameters<typeof amap<A, unknown>>[1], options = {}) =>
      Array.fromAsync(amap(items, task, { ...options, settled: true }))
  },
  {
    name: "amap in order",
    ordered: true,
    run: <A>(items: Iterable<A> | AsyncIterable<A>, task: Parameters<typeof amap<A, unknown>>[1], options = {}) =>
      Array.fromAsync(amap(items, task, { ...options, ordered: true, settled: true }))
  }
] as const

describe.each(settling)("settled: $name", ({ ordered, run }) => {
  it.each(endings)("a task that %s", async (_, task, outcome) => {
    expect(await value(run(["item"], task))).toEqual([{ ...outcome, index: 0, item: "item" }])
  })

  it("has the outcome of every task, with its index and item", async () => {
    const items = endings.map(([name]) => name)
    const outcomes = await value(run(items, (_, { index }) => tasks[index]!()))
    const inOrder = ordered ? outcomes : outcomes.toSorted((a, b) => a.index - b.index)
    expect(inOrder).toEqual(outcomesOf(items))
  })

  it("keeps the identity of reasons and items", async () => {
    const item = { id: 1 }
    const reason = { code: 5 }
    const [outcome] = await value(run([item], () => Promise.reject(reason)))
    expect(outcome?.item).toBe(item)
    expect(outcome?.status === "rejected" && outcome.reason).toBe(reason)
  })

  it("comes in the order of the options", async () => {
    const outcomes = await value(run([30, 10, 20], (ms) => sleep(ms).then(() => hurled(ms))))
    const first = bad(30, 0, 30)
    const rest = [bad(10, 1, 10), bad(20, 2, 20)]
    expect(outcomes).toEqual(ordered ? [first, ...rest] : [...rest, first])
  })

  it("no failure stops the run or aborts another task", async () => {
    const p = probe((i) => ({ ms: 10, ...(i % 2 === 0 ? { rejects: { reason: i } } : {}) }))
    const outcomes = await value(run(naturals(6), p.task, { maxAtOnce: 2 }))
    expect(p.starts).toEqual([0, 0, 10, 10, 20, 20])
    expect(p.cancelled()).toEqual([])
    expect(outcomes.map(({ status }) => status)).toEqual(
      Array.from({ length: 3 }, () => ["rejected", "fulfilled"]).flat()
    )
  })

  it("holds for an async source as well", async () => {
    const s = source("async", ["a", "b"], () => 0, 5)
    const outcomes = await value(run(s.iterable, (item) => (item === "a" ? hurled("x") : item)))
    expect(outcomes).toEqual([bad("x", 0, "a"), good("b", 1, "b")])
  })

  it("a task that takes too long", async () => {
    const [outcome] = await value(run([7], () => new Promise(() => {}), { timeout: 50 }))
    expect(outcome).toMatchObject({ status: "rejected", reason: { name: "TimeoutError" }, index: 0, item: 7 })
    expect(now()).toBe(50)
  })

  it("a task that was tried again: only its end is an outcome", async () => {
    let attempts = 0
    const task = (item: string) => {
      if (item === "never") throw new Error("again")
      if (++attempts < 3) throw new Error("not yet")
      return attempts
    }
    const outcomes = await value(run(["third", "never"], task, { retry: { delay: 10, times: 2 } }))
    expect(outcomes).toEqual([good(3, 0, "third"), bad(new Error("again"), 1, "never")])
    expect(now()).toBe(20)
  })

  it("a source that fails still fails the call", async () => {
    const s = source<number>("sync", [1, new SourceError("broken")], () => 0)
    const p = probe(() => ({ ms: 50, rejects: { reason: "x" } }))
    expect(await settle(run(s.iterable, p.task))).toEqual({ status: "rejected", reason: "broken", at: 0 })
    expect(p.cancelled()).toEqual([0])
  })

  it("an abort still rejects", async () => {
    const controller = new AbortController()
    const p = probe((i) => ({ ms: 10 + 40 * i, rejects: { reason: "x" } }))
    setTimeout(() => controller.abort("stop"), 20)
    const outcome = await settle(run([0, 1], p.task, { signal: controller.signal }))
    expect(outcome).toEqual({ status: "rejected", reason: "stop", at: 20 })
    expect(p.aborted.get(1)).toBe("stop")
    expect(listeners(controller.signal)).toBe(0)
  })

  it("a cost above a window's limit still rejects the call", async () => {
    const windows = { tokens: { limit: 10, per: "1 second" } }
    const reason = await rejection(run([11], () => 1, { windows, cost: (tokens: number) => ({ tokens }) }))
    expect(reason).toBeInstanceOf(RangeError)
  })

  it("comes before stopOnError: false", async () => {
    expect(await value(run([1], () => hurled("x"), { stopOnError: false }))).toEqual([bad("x", 0, 1)])
  })

  it("releases every permit of a shared meter", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    await value(run(naturals(5), () => sleep(10).then(() => hurled("x")), { meter }))
    await expectFree(meter, 2)
  })

  it("settled: false is as without", async () => {
    expect(await rejection(runAll([1], () => hurled("x"), { settled: false } as object))).toBe("x")
  })
})

describe("settled: runAll of tasks", () => {
  const one = () => 1
  const two = async () => hurled("two")

  it("a tuple has a tuple of outcomes, whose items are the tasks", async () => {
    const [first, second] = await value(runAll([one, two], { settled: true }))
    expect(first).toEqual(good(1, 0, one))
    expect(second).toEqual(bad("two", 1, two))
  })

  it("a record has a record of outcomes", async () => {
    expect(await value(runAll({ one, two }, { settled: true }))).toEqual({
      one: good(1, 0, one),
      two: bad("two", 1, two)
    })
  })

  it("any other iterable has an array of outcomes", async () => {
    const listed = function* () {
      yield one
      yield two
    }
    expect(await value(runAll(listed(), { settled: true }))).toEqual([good(1, 0, one), bad("two", 1, two)])
  })

  it("a list without tasks has no outcomes", async () => {
    expect(await value(runAll([], { settled: true }))).toEqual([])
    expect(await value(runAll({}, { settled: true }))).toEqual({})
  })
})

describe("settled: amap", () => {
  it("an outcome counts as unread until it has been read", async () => {
    const p = probe((i) => ({ ms: 10, ...(i === 0 ? { rejects: { reason: "x" } } : {}) }))
    const results = amap(naturals(), p.task, { maxUnread: 2, settled: true })
    await value(results.next())
    await pass(100)
    expect(p.order, "one read, two not").toEqual([0, 1, 2])
    await value(leave(results))
  })
})

describe("settled has no effect", () => {
  it("runOnEach accepts it, and fails at the first failure", async () => {
    const p = probe((i) => ({ ms: 10 * (i + 1), rejects: { reason: i } }))
    const options = { settled: true } as object
    expect(await settle(runOnEach([0, 1], p.task, options))).toEqual({ status: "rejected", reason: 0, at: 10 })
    expect(p.cancelled()).toEqual([1])
  })

  it("runAny accepts it, and resolves with the winner's value", async () => {
    const task = (n: number) => (n === 0 ? hurled("x") : n)
    expect(await value(runAny([0, 1], task, { settled: true } as object))).toBe(1)
    const reason = await rejection(runAny([0], task, { settled: true } as object))
    expect(reason).toBeInstanceOf(AggregateError)
    expect(reason).toMatchObject({ errors: ["x"] })
  })

  it("runAny accepts stopOnError: false, and is decided as ever", async () => {
    const task = (n: number) => sleep(n).then(() => hurled(n))
    const options = { stopOnError: false, until: "settled" } as const
    expect(await settle(runAny([20, 10], task, options as object))).toEqual({ status: "rejected", reason: 10, at: 10 })
  })
})

const tolerating = [
  { name: "runOnEach", amaps: false, ordered: false },
  { name: "runAll", amaps: false, ordered: false },
  { name: "amap", amaps: true, ordered: false },
  { name: "amap in order", amaps: true, ordered: true }
].map((verb) => ({
  ...verb,
  run: <A>(
    items: Iterable<A> | AsyncIterable<A>,
    task: Parameters<typeof amap<A, unknown>>[1],
    options: AmapOptions<A> = {},
    delivered: Array<unknown> = []
  ): Promise<unknown> => {
    const all = { ...options, ordered: verb.ordered, stopOnError: false }
    if (verb.name === "runOnEach") return runOnEach(items, task, all)
    if (verb.name === "runAll") return runAll(items, task, all)
    return (async () => {
      for await (const result of amap(items, task, all)) delivered.push(result)
    })()
  }
}))

describe.each(tolerating)("stopOnError: false, $name", ({ amaps, ordered, run }) => {
  it("runs every task, then rejects with all reasons, in the order of the input", async () => {
    const delivered: Array<unknown> = []
    const p = probe((i) => ({ ms: 100 - 10 * i, ...(i % 2 === 0 ? { rejects: { reason: `r${i}` } } : {}) }))
    const outcome = await settle(run(naturals(6), p.task, {}, delivered))
    expect(outcome).toMatchObject({ status: "rejected", reason: { errors: ["r0", "r2", "r4"] }, at: 100 })
    expect(outcome.status === "rejected" && outcome.reason).toBeInstanceOf(AggregateError)
    expect(p.ended).toEqual([5, 4, 3, 2, 1, 0])
    expect(p.cancelled()).toEqual([])
    if (amaps) expect(delivered).toEqual(ordered ? ["v1", "v3", "v5"] : ["v5", "v3", "v1"])
  })

  it("keeps the very reasons: undefined, arrays and aggregates too", async () => {
    const reasons = [undefined, ["a", "b"], new AggregateError([1, 2]), { reason: 1 }]
    const reason = (await rejection(run(reasons, (each) => Promise.reject(each)))) as AggregateError
    expect(reason.errors).toHaveLength(4)
    for (const [i, each] of reasons.entries()) expect(reason.errors[i]).toBe(each)
  })

  it("has a message with the number of failures", async () => {
    const reason = (await rejection(run(naturals(5), (n) => (n < 3 ? hurled(n) : n)))) as AggregateError
    expect(reason.message).toContain("3")
  })

  it("without failures, nothing is different", async () => {
    expect(await settle(run(naturals(3), (n) => n))).toMatchObject({ status: "fulfilled" })
  })

  it("throws count like rejections, and every task runs", async () => {
    const started: Array<number> = []
    const task = (n: number) => {
      started.push(n)
      return hurled(n)
    }
    const reason = (await rejection(run(naturals(20), task, { maxAtOnce: 2 }))) as AggregateError
    expect(started).toEqual([...naturals(20)])
    expect(reason.errors).toEqual([...naturals(20)])
  })

  it("the permit of a failed task goes to the next one", async () => {
    const p = probe((i) => ({ ms: 10, rejects: { reason: i } }))
    await rejection(run(naturals(4), p.task, { maxAtOnce: 2 }))
    expect(p.starts).toEqual([0, 0, 10, 10])
    expect(p.peak()).toBe(2)
  })

  it("a source that fails fails the call with that alone", async () => {
    const s = source<number>("sync", [0, new SourceError("broken")], () => 0)
    expect(await settle(run(s.iterable, () => hurled("x")))).toMatchObject({ status: "rejected", reason: "broken" })
  })

  it("an abort rejects with its own reason alone, at once", async () => {
    const controller = new AbortController()
    const p = probe((i) => (i === 0 ? { rejects: { reason: "x" } } : { ms: 1000 }))
    setTimeout(() => controller.abort("stop"), 20)
    const outcome = await settle(run([0, 1], p.task, { signal: controller.signal }))
    expect(outcome).toEqual({ status: "rejected", reason: "stop", at: 20 })
    expect(listeners(controller.signal)).toBe(0)
  })

  it("has the TimeoutError of a task, and the last failure of a retried one", async () => {
    let attempts = 0
    const task = (n: number) => (n === 0 ? new Promise(() => {}) : hurled(`try ${++attempts}`))
    const reason = (await rejection(
      run([0, 1], task, { timeout: 30, retry: { times: 1, delay: 5, while: (reason) => typeof reason === "string" } })
    )) as AggregateError
    expect(reason.errors).toMatchObject([{ name: "TimeoutError" }, "try 2"])
  })

  it("releases every permit of a shared meter", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    await rejection(run(naturals(5), () => sleep(10).then(() => hurled("x")), { meter }))
    await expectFree(meter, 2)
  })
})

describe.each(tolerating.filter(({ amaps }) => amaps))(
  "stopOnError: false, the reader of $name",
  ({ ordered, run }) => {
    it.each([1, 2, 3])("maxUnread %i: failures do not count as unread", async (maxUnread) => {
      const delivered: Array<unknown> = []
      const p = probe((i) => ({ ms: 10, ...(i === 9 ? {} : { rejects: { reason: i } }) }))
      const outcome = await settle(run(naturals(10), p.task, { maxUnread }, delivered))
      expect(outcome).toMatchObject({
        status: "rejected",
        reason: { errors: [...naturals(9)] },
        at: 10 * Math.ceil(10 / maxUnread)
      })
      expect(delivered).toEqual(["v9"])
      expect(p.peak()).toBe(maxUnread)
    })

    it.each([undefined, 1, 2])("50,000 that all throw at once, maxAtOnce %s and maxUnread 1", async (maxAtOnce) => {
      let started = 0
      const task = () => {
        started++
        return hurled("x")
      }
      const reason = (await rejection(run(naturals(50_000), task, { maxAtOnce, maxUnread: 1 }))) as AggregateError
      expect(started).toBe(50_000)
      expect(reason.errors).toHaveLength(50_000)
    })

    it("failures at the head of the order: later results are read as soon as they have failed", async () => {
      const delivered: Array<unknown> = []
      const at: Array<number> = []
      const p = probe((i) => ({ ms: i < 2 ? 100 : 10, ...(i < 2 ? { rejects: { reason: i } } : {}) }))
      const watched = watch(
        (async () => {
          for await (const result of amap(naturals(4), p.task, { maxUnread: 3, ordered, stopOnError: false })) {
            delivered.push(result)
            at.push(now())
          }
        })()
      )
      await pass(200)
      expect(watched.outcome).toMatchObject({ status: "rejected", reason: { errors: [0, 1] } })
      expect(delivered).toEqual(["v2", "v3"])
      // In order, the third task can start only when the first two have failed.
      expect(at).toEqual(ordered ? [100, 110] : [10, 20])
    })

    it("without a reader, no more are started than may be unread, failures aside", async () => {
      const p = probe((i) => ({ ms: 10, ...(i % 2 === 0 ? { rejects: { reason: i } } : {}) }))
      const results = amap(naturals(), p.task, { maxUnread: 2, ordered, stopOnError: false })
      const first = watch(results.next())
      await pass(1000)
      expect(first.outcome).toMatchObject({ value: { value: "v1" } })
      const started = p.order.length
      expect(
        p.ended.filter((i) => i % 2 === 1),
        "one read, two not"
      ).toEqual([1, 3, 5])
      expect(started).toBeLessThanOrEqual(7)
      await pass(1000)
      expect(p.order).toHaveLength(started)
      await value(leave(results))
    })

    it("a reader that leaves early is not told of failures", async () => {
      const p = probe((i) => (i === 0 ? { rejects: { reason: "x" } } : { ms: 10 * i }))
      const results = amap(naturals(3), p.task, { ordered, stopOnError: false })
      expect(await value(results.next())).toEqual({ done: false, value: "v1" })
      expect(await settle(leave(results))).toMatchObject({ status: "fulfilled", value: over })
      expect(p.cancelled()).toEqual([2])
      expect(await value(results.next())).toEqual(over)
    })

    it("of several pending next(), the first rejects, the others are done", async () => {
      const results = amap([0], () => sleep(10).then(() => hurled("x")), { ordered, stopOnError: false })
      const waits = [results.next(), results.next(), results.next()].map(watch)
      await pass(20)
      await flush()
      expect(waits[0]!.outcome).toMatchObject({ status: "rejected", reason: { errors: ["x"] } })
      expect(waits.slice(1).map(({ outcome }) => outcome)).toMatchObject([{ value: over }, { value: over }])
    })
  }
)

describe("stopOnError: false, runAll of tasks", () => {
  const one = () => 1
  const two = async () => hurled("two")

  it("holds for tuples and records alike", async () => {
    expect(await rejection(runAll([one, two, one], { stopOnError: false }))).toMatchObject({ errors: ["two"] })
    expect(await rejection(runAll({ one, two }, { stopOnError: false }))).toMatchObject({ errors: ["two"] })
    expect(await value(runAll({ one }, { stopOnError: false }))).toEqual({ one: 1 })
  })
})
