/** `amap` as an AsyncIterableIterator and an AsyncDisposable. */
import { describe, expect, it } from "vitest"
import { amap, createMeter, runAll } from "../src/index.ts"
import type { AmapOptions } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  hurl,
  isAbortError,
  leave,
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

const item = (value: unknown) => ({ done: false, value })

/** The outcomes of several calls, in the order of the calls; what has not settled is `undefined`. */
const outcomes = (seen: ReadonlyArray<ReturnType<typeof watch<unknown>>>) =>
  seen.map(({ outcome }) =>
    outcome === undefined ? undefined : outcome.status === "fulfilled" ? outcome.value : { rejected: outcome.reason }
  )

describe("before the first next()", () => {
  it("nothing starts and nothing is taken from the source", async () => {
    const p = probe(() => ({}))
    const s = source("sync", naturals(), () => p.starts.length)
    amap(s.iterable, p.task, { maxAtOnce: 3 })
    await pass(1000)
    expect([s.pulls, p.starts.length]).toEqual([0, 0])
  })

  it("return() ends it without touching the source", async () => {
    const p = probe(() => ({}))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3 })
    expect(await value(leave(results))).toEqual(over)
    expect(await value(results.next())).toEqual(over)
    expect([s.pulls, p.starts.length]).toEqual([0, 0])
    expect(s.returns, "closed if it was opened, and only then").toBe(s.opened)
  })

  it("throw() and disposal end it in the same way", async () => {
    const p = probe(() => ({}))
    const s = source("async", naturals(), () => p.starts.length)
    const thrown = amap(s.iterable, p.task, { maxAtOnce: 3 })
    expect(await rejection(hurl(thrown, "mine"))).toBe("mine")
    expect(await value(thrown.next())).toEqual(over)
    const disposed = amap(s.iterable, p.task, { maxAtOnce: 3 })
    await value(disposed[Symbol.asyncDispose]())
    expect(await value(disposed.next())).toEqual(over)
    expect([s.pulls, p.starts.length]).toEqual([0, 0])
  })

  it("a meter is not held either", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    amap([1], async () => {}, { meter })
    await expectFree(meter, 1)
  })
})

describe("it is its own iterator", () => {
  it("so that for await continues where next() stopped", async () => {
    const results = amap([1, 2, 3], async (n) => n, { maxAtOnce: 1 })
    expect(results[Symbol.asyncIterator]()).toBe(results)
    const rest = async () => {
      const all = [(await results.next()).value]
      for await (const result of results) all.push(result)
      return all
    }
    expect(await value(rest())).toEqual([1, 2, 3])
  })

  it("a second for await over it finds nothing more", async () => {
    const results = amap([1, 2], async (n) => n)
    const all = async () => {
      const seen: Array<number> = []
      for await (const result of results) seen.push(result)
      return seen
    }
    expect(await value(all())).toEqual([1, 2])
    expect(await value(all())).toEqual([])
  })

  it("two calls over the same array are two runs", async () => {
    const p = probe(() => ({}))
    const items = [0, 1]
    await value(amap(items, p.task).next())
    await value(amap(items, p.task).next())
    await flush()
    expect(p.starts.length).toBe(4)
  })
})

describe("next()", () => {
  it("several at once are served in order, each as soon as there is a result", async () => {
    const results = amap([300, 100, 200], async (ms) => {
      await sleep(ms)
      return ms
    })
    const served: Array<[call: number, result: unknown, at: number]> = []
    const calls = [0, 1, 2, 3].map(async (call) => {
      const { value } = await results.next()
      served.push([call, value, now()])
    })
    await settle(Promise.all(calls))
    expect(served).toEqual([
      [0, 100, 100],
      [1, 200, 200],
      [2, 300, 300],
      [3, undefined, 300]
    ])
  })

  it("more at once than there are results: the rest are done", async () => {
    const results = amap([1], async (n) => n)
    const calls = Array.from({ length: 5 }, () => results.next())
    expect(await value(Promise.all(calls))).toEqual([item(1), over, over, over, over])
  })

  it("after the end it is done, however often it is called", async () => {
    const results = amap([1], async (n) => n)
    expect(await value(results.next())).toEqual(item(1))
    for (let i = 0; i < 3; i++) expect(await value(results.next())).toEqual(over)
  })

  it("yields undefined and any other value of a task as a result", async () => {
    const given = [undefined, null, false, 0, Number.NaN, "", () => 1]
    const results = amap(given, (one) => one, { ordered: true })
    const seen: Array<unknown> = []
    for (let next = await value(results.next()); next.done !== true; next = await value(results.next())) {
      seen.push(next.value)
    }
    expect(seen).toEqual(given)
  })

  it("yields a result at the instant at which it is there, not when the next task starts", async () => {
    const p = probe(() => ({ ms: 30 }))
    const results = amap(naturals(), p.task, { maxPerSecond: 1 })
    const first = await settle(results.next())
    expect(first.at).toBe(30)
    await value(leave(results))
  })
})

describe("the order of results", () => {
  it("is that of completion", async () => {
    const results = amap([30, 10, 20], async (ms) => {
      await sleep(ms)
      return ms
    })
    expect(await value(Array.fromAsync(results))).toEqual([10, 20, 30])
  })

  it("ordered: is input order, each as soon as all before it have been yielded", async () => {
    const results = amap(
      [30, 10, 20, 50],
      async (ms) => {
        await sleep(ms)
        return ms
      },
      { ordered: true }
    )
    const served: Array<[unknown, number]> = []
    const read = async () => {
      for await (const result of results) served.push([result, now()])
    }
    await settle(read())
    expect(served).toEqual([
      [30, 30],
      [10, 30],
      [20, 30],
      [50, 50]
    ])
  })
})

describe("a failure", () => {
  it("the first next() that waits rejects, the others are done", async () => {
    const results = amap([10, 1000], async (ms) => {
      await sleep(ms)
      throw "bad"
    })
    const calls = [results.next(), results.next(), results.next()].map((call) => watch<unknown>(call))
    await pass(10)
    expect(outcomes(calls)).toEqual([{ rejected: "bad" }, over, over])
    expect(await value(results.next())).toEqual(over)
    await pass(1000)
  })

  it("is kept for the next call of next() if none is pending, and reported once", async () => {
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: undefined } } : { ms: 10 }))
    const results = amap([0, 1], p.task)
    expect(await value(results.next())).toEqual(item("v0"))
    await pass(500)
    const next = await settle(results.next())
    expect(next).toMatchObject({ status: "rejected", reason: undefined })
    expect(await value(results.next())).toEqual(over)
  })

  it("results that finished before it come first", async () => {
    const p = probe((i) => (i === 3 ? { ms: 40, rejects: { reason: "bad" } } : { ms: 10 * i + 1 }))
    const results = amap(naturals(6), p.task)
    const first = watch(results.next())
    await pass(500)
    expect(p.aborted.size, "those still running were cancelled at the failure").toBe(2)
    const calls = [results.next(), results.next(), results.next(), results.next()].map((call) => watch<unknown>(call))
    await flush()
    expect(outcomes([first, ...calls])).toEqual([item("v0"), item("v1"), item("v2"), { rejected: "bad" }, over])
  })

  it("ordered: results before the first gap come first, results after it are dropped", async () => {
    const ms = [1, 50, 10, 20]
    const p = probe((i) => (i === 3 ? { ms: 20, rejects: { reason: "bad" } } : { ms: ms[i] ?? 0 }))
    const results = amap(naturals(4), p.task, { ordered: true })
    const first = watch(results.next())
    await pass(500)
    const calls = [results.next(), results.next()].map((call) => watch<unknown>(call))
    await flush()
    expect(outcomes([first, ...calls])).toEqual([item("v0"), { rejected: "bad" }, over])
  })

  it("ordered: reaches the reader at once, though tasks before it have not ended", async () => {
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 1000 }))
    const results = amap(naturals(3), p.task, { ordered: true })
    expect(await settle(results.next())).toEqual({ status: "rejected", reason: "bad", at: 20 })
  })

  it("of the source comes after the results that were ready, and tasks in flight are cancelled", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("async", [0, 1, new SourceError("broken")], () => p.starts.length, 50)
    const results = amap(s.iterable, p.task)
    expect(await value(results.next())).toEqual(item("v0"))
    expect(await settle(results.next())).toEqual({ status: "rejected", reason: "broken", at: 150 })
    expect(await value(results.next())).toEqual(over)
    expect(p.cancelled()).toEqual([1])
    expect(s.returns).toBe(0)
  })

  it("return() after it resolves, and does not report it again", async () => {
    const results = amap([1], async () => {
      throw "bad"
    })
    expect(await rejection(results.next())).toBe("bad")
    expect(await value(leave(results))).toEqual(over)
  })

  it("that has not been read is dropped by return(), without an unhandled rejection", async () => {
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 10 }))
    const results = amap([0, 1], p.task)
    expect(await value(results.next())).toEqual(item("v0"))
    await pass(100)
    expect(await value(leave(results))).toEqual(over)
    expect(await value(results.next())).toEqual(over)
  })

  it("that is never read is not an unhandled rejection", async () => {
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 10 }))
    const results = amap([0, 1], p.task)
    expect(await value(results.next())).toEqual(item("v0"))
    await pass(1000)
    expect(p.ended).toEqual([0, 1])
  })
})

describe("return()", () => {
  it("cancels what is in flight, closes the source once, and starts nothing more", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3 })
    expect(await value(results.next())).toEqual(item("v0"))
    await flush()
    const started = p.starts.length
    expect(await settle(leave(results))).toEqual({ status: "fulfilled", value: over, at: 10 })
    expect(p.cancelled()).toEqual(p.order.filter((i) => i > 0))
    for (const reason of p.aborted.values()) expect(isAbortError(reason)).toBe(true)
    await pass(10_000)
    expect(p.starts.length).toBe(started)
    expect(s.returns).toBe(1)
  })

  it.each(["sync", "async"] as const)("while the call begins ends it without holding a meter: %s", async (kind) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const s = source(kind, naturals(), () => 0)
    const p = probe(() => ({ ms: 10 }))
    const { signal } = new AbortController()
    let left: Promise<unknown> | undefined
    const results = amap(s.iterable, p.task, { meter, signal })
    // Code of the caller that the call runs.
    Object.defineProperty(signal, "aborted", {
      get: () => {
        left ??= leave(results)
        return false
      }
    })
    expect(await value(results.next())).toEqual(over)
    expect(await value(left!)).toEqual(over)
    expect([s.opened, p.starts.length]).toEqual([0, 0])
    expect(await value(meter.idle())).toBeUndefined()
  })

  it("makes every next() done, also pending ones", async () => {
    const p = probe(() => ({ ms: 5000 }))
    const results = amap(naturals(), p.task, { maxAtOnce: 3 })
    const waiting = [results.next(), results.next()].map((call) => watch<unknown>(call))
    await flush()
    expect(outcomes(waiting)).toEqual([undefined, undefined])
    await value(leave(results))
    await flush()
    expect(outcomes(waiting)).toEqual([over, over])
    expect(await value(results.next())).toEqual(over)
  })

  it("drops results that were ready", async () => {
    const p = probe((i) => ({ ms: i }))
    const results = amap(naturals(5), p.task)
    await value(results.next())
    await pass(100)
    await value(leave(results))
    expect(await value(results.next())).toEqual(over)
  })

  it("resolves with the value that it was given, as a generator's would", async () => {
    const results = amap(naturals(), async (n) => n, { maxAtOnce: 1 })
    await value(results.next())
    expect(await value(leave(results, "mine"))).toEqual({ done: true, value: "mine" })
  })

  it("is idempotent: again, at the same time, and after the end", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("async", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3 })
    await value(results.next())
    await flush()
    expect(await value(Promise.all([leave(results), leave(results)]))).toEqual([over, over])
    expect(await value(leave(results))).toEqual(over)
    expect(s.returns).toBe(1)

    const ended = amap([1], async (n) => n)
    await value(Array.fromAsync(ended))
    expect(await value(leave(ended))).toEqual(over)
  })

  it("waits for the source to be closed", async () => {
    let closed = 0
    async function* items() {
      try {
        yield* naturals()
      } finally {
        await sleep(70)
        closed = now()
      }
    }
    const results = amap(items(), async (n) => n, { maxUnread: 1 })
    await value(results.next())
    await flush()
    expect(await settle(leave(results))).toMatchObject({ status: "fulfilled", at: 70 })
    expect(closed).toBe(70)
  })

  it("cancels the tasks first, while the source is still being closed", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    async function* items() {
      try {
        yield* naturals()
      } finally {
        await sleep(70)
      }
    }
    const results = amap(items(), p.task, { maxAtOnce: 2 })
    await value(results.next())
    await flush()
    const closing = watch(leave(results))
    await flush()
    expect(p.cancelled()).toEqual(p.order.filter((i) => i > 0))
    expect(closing.outcome).toBeUndefined()
    await pass(70)
    expect(closing.outcome).toMatchObject({ status: "fulfilled" })
  })

  it("rejects with what the source's return() threw, as for await would", async () => {
    const items: Iterable<number> = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: 1 }),
        return: () => {
          throw "cannot close"
        }
      })
    }
    const results = amap(items, async (n) => n, { maxAtOnce: 1 })
    await value(results.next())
    expect(await rejection(leave(results))).toBe("cannot close")
    expect(await value(results.next())).toEqual(over)
  })
})

describe("throw()", () => {
  it("rejects with the error that it was given, and cancels like return()", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3 })
    const error = new Error("mine")
    await value(results.next())
    await flush()
    const waiting = [results.next(), results.next()].map((call) => watch<unknown>(call))
    const outcome = await settle(hurl(results, error))
    expect(outcome.at).toBe(10)
    expect(outcome.status === "rejected" && outcome.reason === error).toBe(true)
    await flush()
    expect(outcomes(waiting), "none waits for ever").not.toContain(undefined)
    expect(p.cancelled()).toEqual(p.order.filter((i) => i > 0))
    expect(s.returns).toBe(1)
    expect(await value(results.next())).toEqual(over)
  })

  it("is idempotent: nothing is cancelled or closed twice", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3 })
    await value(results.next())
    expect(await rejection(hurl(results, "one"))).toBe("one")
    expect(await rejection(hurl(results, "two"))).toBe("two")
    expect(await value(leave(results))).toEqual(over)
    expect(s.returns).toBe(1)
  })
})

describe("disposal", () => {
  it("await using cancels at the end of the block, whatever ends it", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const block = async () => {
      await using results = amap(s.iterable, p.task, { maxAtOnce: 3 })
      await results.next()
      throw "the block's own"
    }
    const outcome = await settle(block())
    expect(outcome).toEqual({ status: "rejected", reason: "the block's own", at: 10 })
    expect(p.cancelled()).toEqual(p.order.filter((i) => i > 0))
    expect(s.returns).toBe(1)
  })

  it("is idempotent, and harmless after the end", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxAtOnce: 3 })
    await value(results.next())
    expect(await value(results[Symbol.asyncDispose]())).toBeUndefined()
    expect(await value(results[Symbol.asyncDispose]())).toBeUndefined()
    expect(s.returns).toBe(1)
    expect(await value(results.next())).toEqual(over)

    const ended = amap([1], async (n) => n)
    await value(Array.fromAsync(ended))
    expect(await value(ended[Symbol.asyncDispose]())).toBeUndefined()
  })

  it("does not throw an unread failure", async () => {
    const p = probe((i) => (i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 10 }))
    const results = amap([0, 1], p.task)
    await value(results.next())
    await pass(100)
    expect(await value(results[Symbol.asyncDispose]())).toBeUndefined()
  })
})

describe("leaving does not wait for tasks that ignore their signal", () => {
  it.each(["break", "return()", "throw()", "await using"])("%s", async (how) => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 5000, deaf: true }))
    const run = async () => {
      if (how === "await using") {
        await using results = amap(naturals(), p.task, { maxAtOnce: 3 })
        await results.next()
        return
      }
      const results = amap(naturals(), p.task, { maxAtOnce: 3 })
      if (how === "break") {
        for await (const _ of results) break
        return
      }
      await results.next()
      if (how === "return()") await leave(results)
      else await hurl(results, "mine").catch(() => {})
    }
    const outcome = await settle(run())
    expect(outcome).toMatchObject({ status: "fulfilled", at: 10 })
    expect(p.cancelled()).toEqual(p.order.filter((i) => i > 0))
    await pass(10_000)
    expect(p.ended.length).toBe(p.order.length)
    expect(p.order.length, "nothing started after the reader left").toBeLessThanOrEqual(4)
  })
})

describe("back-pressure", () => {
  /** Reads once, then stops reading: how many tasks start? */
  const startsUnread = async (options: AmapOptions, ms = 10) => {
    const p = probe(() => ({ ms }))
    const s = source("sync", naturals(500), () => p.starts.length)
    const results = amap(s.iterable, p.task, options)
    await value(results.next())
    await pass(5000)
    return { p, s, results }
  }

  it.each([1, 2, 3, 7])("maxUnread %i: so many are started and not read, and no more", async (maxUnread) => {
    const { p, s, results } = await startsUnread({ maxUnread })
    expect(p.starts.length).toBe(1 + maxUnread)
    expect(p.peak()).toBeLessThanOrEqual(maxUnread)
    expect(s.pulls).toBeLessThanOrEqual(p.starts.length + 1)
    await value(results.next())
    await pass(1000)
    expect(p.starts.length, "a place that was read is taken again").toBe(2 + maxUnread)
    await value(leave(results))
  })

  it.each([1, 2, 5])("default at maxAtOnce %i: twice that", async (maxAtOnce) => {
    const { p, results } = await startsUnread({ maxAtOnce })
    expect(p.starts.length).toBe(1 + 2 * maxAtOnce)
    await value(leave(results))
  })

  it("default on a meter: twice what the meter lets run", async () => {
    const { p, results } = await startsUnread({ meter: createMeter({ maxAtOnce: 3 }) })
    expect(p.starts.length).toBe(1 + 6)
    await value(leave(results))
  })

  it("default under an option and meters: twice the smallest", async () => {
    const meter = [createMeter({ maxAtOnce: 2 }), createMeter({ maxAtOnce: 4 })]
    const { p, results } = await startsUnread({ maxAtOnce: 3, meter })
    expect(p.starts.length).toBe(1 + 4)
    await value(leave(results))
  })

  it("default without maxAtOnce: unlimited", async () => {
    const { p, results } = await startsUnread({ maxPerSecond: 100 })
    expect(p.starts.length).toBeGreaterThan(450)
    await value(leave(results))
    const free = await startsUnread({})
    expect(free.p.starts.length).toBe(500)
    await value(leave(free.results))
  })

  it("maxUnread: Infinity runs ahead of a reader that has stopped", async () => {
    const { p, results } = await startsUnread({ maxAtOnce: 2, maxUnread: Number.POSITIVE_INFINITY })
    expect(p.starts.length).toBe(500)
    expect(p.peak()).toBe(2)
    await value(leave(results))
  })

  it("ordered: results after a gap count as unread", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 1000 : 10 }))
    const results = amap(naturals(), p.task, { ordered: true, maxUnread: 4 })
    const first = watch(results.next())
    await pass(900)
    expect(p.starts.length).toBe(4)
    await pass(200)
    expect(first.outcome).toMatchObject({ value: item("v0") })
    expect(p.starts.length).toBe(5)
    await value(leave(results))
  })

  it("also caps what runs, below maxAtOnce", async () => {
    const p = probe(() => ({ ms: 10 }))
    const results = amap(naturals(20), p.task, { maxAtOnce: 10, maxUnread: 2 })
    expect((await value(Array.fromAsync(results))).length).toBe(20)
    expect(p.peak()).toBe(2)
  })

  it("a slow reader gets everything", async () => {
    const p = probe((i) => ({ ms: (i * 13) % 40 }))
    const read = async () => {
      const seen: Array<unknown> = []
      for await (const result of amap(naturals(30), p.task, { maxAtOnce: 4 })) {
        seen.push(result)
        await sleep(25)
      }
      return seen
    }
    const seen = await value(read())
    expect(seen.length).toBe(30)
    expect(new Set(seen)).toEqual(new Set(Array.from({ length: 30 }, (_, i) => `v${i}`)))
  })

  it("a finished task waiting to be read holds no permit of a shared meter", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const { p, results } = await startsUnread({ meter, maxUnread: 2 })
    expect(p.starts.length).toBe(3)
    await expectFree(meter, 2)
    await value(leave(results))
  })

  it("a call that waits for its reader does not block another on the same meter", async () => {
    const meter = createMeter({ maxAtOnce: 2, maxPerSecond: 20 })
    const { results } = await startsUnread({ meter, maxUnread: 2 })
    const begin = now()
    const other = probe(() => ({ ms: 10 }))
    expect(await value(runAll([0, 1, 2, 3, 4], other.task, { meter }))).toEqual(["v0", "v1", "v2", "v3", "v4"])
    expect(other.starts.map((at) => at - begin)).toEqual([0, 50, 100, 150, 200])
    expect(await value(results.next())).toMatchObject({ done: false })
    await value(leave(results))
  })
})
