/** Where items may come from, and how a source is treated: pulled one by one, closed as `for…of` would. */
import { describe, expect, it } from "vitest"
import { amap, runAll, runAny, runOnEach } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  leave,
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
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe("kinds of sources", () => {
  async function* slowly() {
    for (const n of [1, 2, 3]) {
      await sleep(10)
      yield n
    }
  }
  class Bag {
    *[Symbol.iterator]() {
      yield* [1, 2, 3]
    }
  }
  const kinds: ReadonlyArray<readonly [string, () => Iterable<unknown> | AsyncIterable<unknown>, Array<unknown>]> = [
    ["an array", () => [1, 2, 3], [1, 2, 3]],
    ["a frozen array", () => Object.freeze([1, 2, 3]), [1, 2, 3]],
    // oxlint-disable-next-line no-sparse-arrays -- the hole is what is tested
    ["an array with a hole", () => [1, , 3], [1, undefined, 3]],
    ["a typed array", () => new Uint8Array([1, 2, 3]), [1, 2, 3]],
    ["a Set", () => new Set([1, 2, 3]), [1, 2, 3]],
    [
      "a Map",
      () =>
        new Map([
          ["a", 1],
          ["b", 2]
        ]),
      [
        ["a", 1],
        ["b", 2]
      ]
    ],
    ["the keys of a Map", () => new Map([["a", 1]]).keys(), ["a"]],
    ["a string, by its characters", () => "a🙂b", ["a", "🙂", "b"]],
    ["a generator", () => naturals(3), [0, 1, 2]],
    ["an object with an iterator", () => new Bag(), [1, 2, 3]],
    [
      "an iterator helper",
      () =>
        naturals()
          .take(3)
          .map((n) => n * 2),
      [0, 2, 4]
    ],
    ["an async generator", slowly, [1, 2, 3]],
    [
      "a web stream",
      () =>
        new ReadableStream({
          start(controller) {
            for (const n of [1, 2, 3]) controller.enqueue(n)
            controller.close()
          }
        }),
      [1, 2, 3]
    ],
    ["another amap", () => amap([1, 2, 3], async (n) => n * 10), [10, 20, 30]],
    ["undefined and null as items", () => [undefined, null, undefined], [undefined, null, undefined]],
    ["functions as items", () => [Math.abs], [Math.abs]]
  ]

  describe.each(kinds)("%s", (_, make, items) => {
    it.each(overItems)("$name", async (verb) => {
      const p = probe(() =>
        verb.verb === "runAny" && !verb.failsFast ? { ms: 50, rejects: { reason: "no" } } : { ms: 50 }
      )
      const call = verb.call(make(), p, {})
      await settle(call.promise)
      expect(p.items).toEqual(items)
      expect(p.order).toEqual(items.map((_, i) => i))
    })
  })

  it("that is both sync and async is taken as async, as for await does", async () => {
    const both: Iterable<string> & AsyncIterable<string> = {
      [Symbol.iterator]: () => ["sync"][Symbol.iterator](),
      [Symbol.asyncIterator]: async function* () {
        yield "async"
      }
    }
    expect(await value(runAll(both, (item) => item))).toEqual(["async"])
  })

  it("items that are promises reach the task as they are, not awaited", async () => {
    const fine = Promise.resolve(1)
    const bad = Promise.reject(new Error("bad"))
    // Its task may well come in a later turn of the event loop; until then the rejection is its maker's affair.
    bad.catch(() => {})
    const seen: Array<unknown> = []
    const results = await value(
      runAll([fine, bad], (item) => {
        seen.push(item)
        return item.catch(() => "caught")
      })
    )
    expect(seen).toEqual([fine, bad])
    expect(seen[0]).toBe(fine)
    expect(results).toEqual([1, "caught"])
  })

  it("an array that grows while it is read is read to its new end, as for…of does", async () => {
    const items = [1, 2]
    const results = await value(
      runAll(
        items,
        (n) => {
          if (n < 5) items.push(n + 2)
          return n
        },
        { maxAtOnce: 1 }
      )
    )
    expect(results).toEqual([1, 2, 3, 4, 5, 6])
  })
})

describe("an async source", () => {
  it.each(overItems.filter(({ verb }) => verb !== "runAny"))(
    "$name: a task starts as soon as its item is there",
    async (verb) => {
      const p = probe(() => ({ ms: 25 }))
      const s = source("async", [0, 1, 2], () => p.starts.length, 10)
      await value(verb.call(s.iterable, p).promise)
      expect(p.starts).toEqual([10, 20, 30])
      expect(s.ahead()).toBe(1)
      expect(s.returns).toBe(0)
    }
  )

  it("is not pulled while a pull is pending", async () => {
    let outstanding = 0
    let most = 0
    const items: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          outstanding += 1
          most = Math.max(most, outstanding)
          await sleep(10)
          outstanding -= 1
          return { done: false, value: 1 }
        },
        return: async () => ({ done: true, value: undefined })
      })
    }
    const results = amap(items, async (n) => n, { maxAtOnce: 5 })
    for (let i = 0; i < 5; i++) await value(results.next())
    await value(leave(results))
    expect(most).toBe(1)
  })

  it("whose next() throws before it returns a promise: that reason, without a call of return()", async () => {
    let returns = 0
    const items: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          throw "broken"
        },
        return: async () => {
          returns += 1
          return { done: true, value: undefined }
        }
      })
    }
    for (const verb of overItems) {
      expect(
        await rejection(
          verb.call(
            items,
            probe(() => ({}))
          ).promise
        )
      ).toBe("broken")
    }
    expect(returns).toBe(0)
  })

  it("whose next() returns a result without a promise is read, as for await does", async () => {
    let n = 0
    const items = {
      [Symbol.asyncIterator]: () => ({
        next: () => (n < 3 ? { done: false, value: n++ } : { done: true, value: undefined }),
        return: () => ({ done: true, value: undefined })
      })
    } as unknown as AsyncIterable<number>
    expect(await value(runAll(items, (item) => item))).toEqual([0, 1, 2])
  })

  it("whose return() does not return a promise can be left", async () => {
    let returns = 0
    const items = {
      [Symbol.asyncIterator]: () => ({
        next: () => ({ done: false, value: 1 }),
        return: () => {
          returns += 1
          return { done: true, value: undefined }
        }
      })
    } as unknown as AsyncIterable<number>
    const results = amap(items, async (n) => n, { maxAtOnce: 1 })
    expect(await value(results.next())).toEqual({ done: false, value: 1 })
    expect(await value(leave(results))).toEqual(over)
    expect(returns).toBe(1)
  })

  it("whose return() throws before it returns a promise: a task's failure still wins", async () => {
    const items: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: 1 }),
        return: () => {
          throw "cannot close"
        }
      })
    }
    const call = runOnEach(items, () => sleep(10).then(() => Promise.reject("bad")), { maxAtOnce: 1 })
    expect(await rejection(call)).toBe("bad")
    const results = amap(items, async (n) => n, { maxAtOnce: 1 })
    await value(results.next())
    expect(await rejection(leave(results))).toBe("cannot close")
  })

  it("without a return() can be left", async () => {
    const items: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({ next: async () => ({ done: false, value: 1 }) })
    }
    const results = amap(items, async (n) => n, { maxAtOnce: 1 })
    expect(await value(results.next())).toEqual({ done: false, value: 1 })
    expect(await value(leave(results))).toEqual(over)
  })

  it("a web stream is cancelled where the reader leaves", async () => {
    let cancelled = false
    let n = 0
    const stream = new ReadableStream<number>({
      pull(controller) {
        controller.enqueue(n++)
      },
      cancel() {
        cancelled = true
      }
    })
    for (const item of await value(
      (async () => {
        for await (const item of amap(stream, async (n) => n, { maxAtOnce: 2 })) return [item]
        return []
      })()
    )) {
      expect(item).toBe(0)
    }
    await flush()
    expect(cancelled).toBe(true)
    expect(stream.locked).toBe(false)
  })
})

describe("closing (G5)", () => {
  const log = (kind: "sync" | "async") => {
    const events: Array<string> = []
    const generator = function* () {
      try {
        for (let i = 0; ; i++) {
          events.push(`pull ${i}`)
          yield i
        }
      } finally {
        events.push("closed")
      }
    }
    const generatorLater = async function* () {
      try {
        for (let i = 0; ; i++) {
          events.push(`pull ${i}`)
          yield i
        }
      } finally {
        await sleep(5)
        events.push("closed")
      }
    }
    return { events, items: kind === "sync" ? generator() : generatorLater() }
  }

  it.each(["sync", "async"] as const)("a %s generator's finally has run before the call ends", async (kind) => {
    for (const verb of overItems) {
      const { events, items } = log(kind)
      const p = probe((i) => {
        if (i !== 1) return { ms: 1000 }
        return verb.verb === "runAny" ? { ms: 10 } : { ms: 10, rejects: { reason: "bad" } }
      })
      await settle(verb.call(items, p, { maxAtOnce: 2 }).promise)
      expect(events.at(-1), verb.name).toBe("closed")
      expect(events.filter((event) => event === "closed").length).toBe(1)
      expect(events.length - 1, "items taken").toBeLessThanOrEqual(3)
    }
  })

  it("a task's failure wins over what return() throws", async () => {
    for (const verb of overItems.filter(({ failsFast }) => failsFast)) {
      for (const kind of ["sync", "async"] as const) {
        const iterator = {
          next: () => ({ done: false, value: 1 }),
          return: (): never => {
            throw "cannot close"
          }
        }
        const items =
          kind === "sync"
            ? { [Symbol.iterator]: () => iterator }
            : {
                [Symbol.asyncIterator]: () => ({
                  next: async () => iterator.next(),
                  return: async () => iterator.return()
                })
              }
        const p = probe(() => ({ ms: 10, rejects: { reason: "bad" } }))
        expect(await rejection(verb.call(items as Iterable<unknown>, p, { maxAtOnce: 1 }).promise)).toBe("bad")
      }
    }
  })

  it("return() is called on the iterator itself, without an argument it could mistake", async () => {
    const seen: Array<unknown> = []
    const iterator = {
      next: () => ({ done: false, value: 1 }),
      return(this: unknown, ...given: ReadonlyArray<unknown>) {
        seen.push(this === iterator, given.filter((one) => one !== undefined).length)
        return { done: true, value: undefined }
      }
    }
    const results = amap({ [Symbol.iterator]: () => iterator }, async (n) => n, { maxAtOnce: 1 })
    await value(results.next())
    await value(leave(results, "mine"))
    expect(seen).toEqual([true, 0])
  })

  it("a source that was read to its end is not closed, though tasks still run and the reader leaves", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 1000 }))
    const s = source("sync", [0, 1, 2], () => p.starts.length)
    const results = amap(s.iterable, p.task)
    await value(results.next())
    await value(leave(results))
    expect(s.over).toBe(true)
    expect(s.returns).toBe(0)
  })

  it("a pull under way when the call ends: return() is called then, and not waited for", async () => {
    for (const verb of overItems) {
      let returns = 0
      const items: AsyncIterable<number> = {
        [Symbol.asyncIterator]: () => {
          let pulls = 0
          return {
            next: () => (pulls++ === 0 ? Promise.resolve({ done: false, value: 0 }) : new Promise<never>(() => {})),
            return: () => {
              returns += 1
              return new Promise<never>(() => {})
            }
          }
        }
      }
      const p = probe(() => (verb.verb === "runAny" ? { ms: 10 } : { ms: 10, rejects: { reason: "bad" } }))
      const outcome = await settle(verb.call(items, p).promise)
      expect(outcome.status, verb.name).toBe(verb.verb === "runAny" ? "fulfilled" : "rejected")
      expect(returns, verb.name).toBe(1)
    }
  })

  it("a pull that fails after the call has ended is not an unhandled rejection", async () => {
    for (const verb of overItems) {
      const late = Promise.withResolvers<IteratorResult<number>>()
      let pulls = 0
      const items: AsyncIterable<number> = {
        [Symbol.asyncIterator]: () => ({
          next: () => (pulls++ === 0 ? Promise.resolve({ done: false, value: 0 }) : late.promise)
        })
      }
      const p = probe(() => (verb.verb === "runAny" ? { ms: 10 } : { ms: 10, rejects: { reason: "bad" } }))
      const outcome = await settle(verb.call(items, p).promise)
      expect(outcome.at, verb.name).toBeLessThan(1000)
      late.reject(new Error("too late"))
      await pass(10)
      expect(p.order).toEqual([0])
    }
  })

  it.each([
    ["an item", { done: false, value: 1 }],
    ["the end", { done: true, value: undefined }]
  ])("a pull that brings %s after the call has ended is dropped", async (_, result) => {
    for (const verb of overItems) {
      const late = Promise.withResolvers<IteratorResult<number>>()
      let pulls = 0
      let returns = 0
      const items: AsyncIterable<number> = {
        [Symbol.asyncIterator]: () => ({
          next: () => (pulls++ === 0 ? Promise.resolve({ done: false, value: 0 }) : late.promise),
          return: async () => {
            returns += 1
            return { done: true, value: undefined }
          }
        })
      }
      const p = probe(() => (verb.verb === "runAny" ? { ms: 10 } : { ms: 10, rejects: { reason: "bad" } }))
      const outcome = await settle(verb.call(items, p).promise)
      expect(outcome.at, verb.name).toBeLessThan(1000)
      late.resolve(result as IteratorResult<number>)
      await pass(100)
      expect(p.order, verb.name).toEqual([0])
      expect([pulls, returns], verb.name).toEqual([2, 1])
    }
  })

  it("a return() that fails when nothing waits for it is not an unhandled rejection", async () => {
    const controller = new AbortController()
    const items: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<never>(() => {}),
        return: () => Promise.reject(new Error("cannot close"))
      })
    }
    const call = runOnEach(items, async () => {}, { signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 10)
    expect(await rejection(call)).toBe("stop")
  })
})

describe("laziness", () => {
  it("a source is pulled no further than one item ahead of what has started", async () => {
    for (const kind of ["sync", "async"] as const) {
      for (const verb of overItems.filter(({ verb }) => verb !== "runAny")) {
        const p = probe((i) => ({ ms: 10 + ((i * 7) % 30) }))
        const s = source(kind, naturals(40), () => p.starts.length)
        await value(verb.call(s.iterable, p, { maxAtOnce: 3, maxPerSecond: 50 }).promise)
        expect(p.starts.length).toBe(40)
        expect(s.ahead(), verb.name).toBe(1)
        expect(s.returns).toBe(0)
      }
    }
  })

  it("amap pulls nothing more for a reader that has stopped", async () => {
    const p = probe(() => ({ ms: 1 }))
    const s = source("sync", naturals(), () => p.starts.length)
    const results = amap(s.iterable, p.task, { maxUnread: 3 })
    await value(results.next())
    await pass(1000)
    expect(s.pulls).toBeLessThanOrEqual(5)
    await value(leave(results))
  })
})

describe("lists of functions", () => {
  it("runAll: arrays keep their order, records their keys", async () => {
    const late = (ms: number) => () => sleep(ms).then(() => ms)
    expect(await value(runAll([late(30), late(10), () => "plain"]))).toEqual([30, 10, "plain"])
    expect(await value(runAll({ a: late(30), b: late(10), c: () => "plain" }))).toEqual({ a: 30, b: 10, c: "plain" })
    expect(Object.keys(await value(runAll({ b: late(30), a: late(10) })))).toEqual(["b", "a"])
    expect(await value(runAll({}))).toEqual({})
  })

  it("runAll: a record is limited as a list is", async () => {
    let running = 0
    let peak = 0
    const task = async () => {
      running += 1
      peak = Math.max(peak, running)
      await sleep(10)
      running -= 1
    }
    await value(runAll({ a: task, b: task, c: task, d: task }, { maxAtOnce: 2 }))
    expect(peak).toBe(2)
  })

  it("runAny: the first of an array", async () => {
    expect(await value(runAny([() => sleep(20).then(() => "slow"), () => sleep(10).then(() => "fast")]))).toBe("fast")
  })

  it("the results of runAll are a new array each time", async () => {
    const tasks = [() => 1]
    const [first, second] = await value(Promise.all([runAll(tasks), runAll(tasks)]))
    expect(first).toEqual(second)
    expect(first).not.toBe(second)
  })

  it("a list that is changed after the call does not change the call", async () => {
    const tasks = [() => sleep(10).then(() => 1), () => 2]
    const call = watch(runAll(tasks, { maxAtOnce: 1 }))
    tasks[1] = () => 3
    await pass(20)
    expect(call.outcome).toMatchObject({ status: "fulfilled", value: [1, 2] })
  })
})
