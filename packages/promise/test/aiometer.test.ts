/** What aiometer promises and what its own tests check, here with exact instants. */
import { describe, expect, it } from "vitest"
import { amap, runAll, runAny, runOnEach } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  leave,
  naturals,
  now,
  predictFor,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs
} from "./support.ts"
import type { Verb } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe("the four verbs", () => {
  const delayed = async (ms: number) => {
    await sleep(ms)
    return ms
  }
  const spans = [30, 10, 60, 20, 70, 50, 51, 21]

  it("runOnEach runs the function on each item and resolves with undefined", async () => {
    const seen: Array<number> = []
    const result = await value(
      runOnEach(spans, async (ms) => {
        await sleep(ms)
        seen.push(ms)
      })
    )
    expect(result).toBeUndefined()
    expect(seen).toEqual([10, 20, 21, 30, 50, 51, 60, 70])
  })

  it("runAll resolves with the results in input order", async () => {
    expect(await value(runAll(spans.map((ms) => () => delayed(ms))))).toEqual(spans)
    expect(await value(runAll(spans, delayed))).toEqual(spans)
  })

  it("amap yields the results in order of completion: a sleep sort", async () => {
    expect(await value(Array.fromAsync(amap(spans, delayed)))).toEqual(spans.toSorted((a, b) => a - b))
  })

  it("amap hands each over as it becomes available", async () => {
    const read = async () => {
      const at: Array<number> = []
      for await (const _ of amap(spans, delayed)) at.push(now())
      return at
    }
    expect(await value(read())).toEqual(spans.toSorted((a, b) => a - b))
  })

  it("runAny resolves with the result of the first completed function", async () => {
    const call = runAny(spans.map((ms) => () => delayed(ms)))
    expect(await settle(call)).toEqual({ status: "fulfilled", value: 10, at: 10 })
  })

  it("a failing task ends amap with that failure", async () => {
    const bad = new Error("bad")
    const results = amap([10, 20, 30], async (ms) => {
      await sleep(ms)
      if (ms === 20) throw bad
      return ms
    })
    expect(await value(results.next())).toEqual({ done: false, value: 10 })
    expect(await rejection(results.next())).toBe(bad)
    expect(await value(results.next())).toEqual({ done: true, value: undefined })
  })

  it("amap over nothing is an empty iteration", async () => {
    expect(await value(Array.fromAsync(amap([], delayed)))).toEqual([])
  })

  it("a failing task ends runOnEach and runAll with that failure", async () => {
    const bad = new Error("bad")
    const task = async (ms: number) => {
      await sleep(ms)
      if (ms === 20) throw bad
    }
    expect(await rejection(runOnEach([10, 20, 30], task))).toBe(bad)
    expect(await rejection(runAll([10, 20, 30], task))).toBe(bad)
  })
})

describe("what aiometer promises and does not keep", () => {
  it("runAny does not wait for its losers", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 10_000, deaf: true }))
    expect((await settle(runAny([0, 1, 2], p.task))).at).toBe(10)
    expect(p.cancelled()).toEqual([1, 2])
  })

  it("breaking out of amap runs no more", async () => {
    const p = probe(() => ({ ms: 10 }))
    const read = async () => {
      for await (const _ of amap(naturals(100), p.task, { maxAtOnce: 2 })) break
    }
    await value(read())
    await value(sleep(10_000))
    expect(p.starts.length).toBeLessThanOrEqual(4)
  })
})

/** A verb over items of which no task ends the call before all have run. */
const running = (verb: Verb, count: number, ms: (index: number) => number) => {
  const race = verb.verb === "runAny"
  const p = probe((i) => ({ ms: ms(i), ...(race ? { rejects: { reason: i } } : {}) }))
  return { p, items: [...naturals(count)] }
}

const whole = verbs.filter(({ verb, failsFast }) => verb !== "runAny" || !failsFast)

describe("maxAtOnce", () => {
  describe.each(whole)("$name", (verb) => {
    it.each([1, 2, 5, 10, 20])("%i of 30 tasks run at once, no more and no fewer", async (maxAtOnce) => {
      const spans = Array.from({ length: 30 }, (_, i) => 50 + ((i * 17) % 31))
      const { p, items } = running(verb, 30, (i) => spans[i] ?? 0)
      await settle(verb.call(items, p, { maxAtOnce }).promise)
      expect(p.peak()).toBe(maxAtOnce)
      expect(p.starts).toEqual(predictFor(verb, spans, { maxAtOnce }))
      expect(p.ended.length).toBe(30)
    })

    it("without it all run at once", async () => {
      const { p, items } = running(verb, 30, () => 50)
      await settle(verb.call(items, p).promise)
      expect(p.peak()).toBe(30)
    })
  })
})

describe("maxPerSecond", () => {
  describe.each(whole)("$name", (verb) => {
    it.each([5, 10, 20, 30, 40, 50, 70, 100])("%i a second: evenly spaced from the first on", async (maxPerSecond) => {
      const count = 2 * maxPerSecond + 1
      const { p, items } = running(verb, count, () => 1)
      await settle(verb.call(items, p, { maxPerSecond }).promise)
      expect(p.starts.length).toBe(count)
      // The clock here moves in whole milliseconds: a start falls on the first at or after its instant. An interval
      // may be rounded up to the nanosecond, which is where the second bound comes from.
      for (const [i, at] of p.starts.entries()) {
        const exact = (i * 1000) / maxPerSecond
        expect(at).toBeGreaterThanOrEqual(Math.floor(exact) === exact ? exact : Math.ceil(exact))
        expect(at).toBeLessThanOrEqual(Math.ceil(exact + i * 1e-6))
      }
      // G2, at every start: never more than so many in a second.
      for (const from of p.starts) {
        expect(p.starts.filter((at) => at >= from && at < from + 1000).length).toBeLessThanOrEqual(maxPerSecond)
      }
    })
  })

  it("spawns one every 5 seconds at 0.2 a second, 10 at once", async () => {
    const p = probe(() => ({ ms: 9999 }))
    await value(runOnEach(naturals(12), p.task, { maxAtOnce: 10, maxPerSecond: 0.2 }))
    expect(p.starts).toEqual(Array.from({ length: 12 }, (_, i) => i * 5000))
    expect(p.peak()).toBe(2)
  })
})

describe("both", () => {
  it.each(whole)("$name: the narrower rules at every start", async (verb) => {
    const spans = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 20 : 470))
    const { p, items } = running(verb, 20, (i) => spans[i] ?? 0)
    await settle(verb.call(items, p, { maxAtOnce: 3, maxPerSecond: 20 }).promise)
    expect(p.starts).toEqual(predictFor(verb, spans, { maxAtOnce: 3, maxPerSecond: 20 }))
  })
})

describe("rejected values", () => {
  it.each([0, -1, 2.5])("maxAtOnce %d", async (maxAtOnce) => {
    expect(await rejection(runOnEach([1], async () => {}, { maxAtOnce }))).toBeInstanceOf(RangeError)
    expect(await rejection(runAll([async () => {}], { maxAtOnce }))).toBeInstanceOf(RangeError)
    expect(await rejection(runAny([async () => {}], { maxAtOnce }))).toBeInstanceOf(RangeError)
    expect(() => amap([1], async () => {}, { maxAtOnce })).toThrow(RangeError)
  })

  it.each([0, -1, Number.NaN])("maxPerSecond %d", async (maxPerSecond) => {
    expect(await rejection(runOnEach([1], async () => {}, { maxPerSecond }))).toBeInstanceOf(RangeError)
    expect(await rejection(runAll([async () => {}], { maxPerSecond }))).toBeInstanceOf(RangeError)
    expect(await rejection(runAny([async () => {}], { maxPerSecond }))).toBeInstanceOf(RangeError)
    expect(() => amap([1], async () => {}, { maxPerSecond })).toThrow(RangeError)
  })
})

describe("the README's own programs", () => {
  it("greetings: in order, as they come, and the first", async () => {
    const delay: Record<string, number> = { Robert: 30, Carmen: 10, Lucas: 20 }
    const names = ["Robert", "Carmen", "Lucas"]
    const greeting = async (name: string) => {
      await sleep(delay[name] ?? 0)
      return `Hello, ${name}`
    }
    expect(await value(runAll(names.map((name) => () => greeting(name))))).toEqual([
      "Hello, Robert",
      "Hello, Carmen",
      "Hello, Lucas"
    ])
    expect(await value(Array.fromAsync(amap(names, greeting)))).toEqual([
      "Hello, Carmen",
      "Hello, Lucas",
      "Hello, Robert"
    ])
    expect(await value(runAny(names.map((name) => () => greeting(name))))).toBe("Hello, Carmen")
  })

  it("a hundred requests, ten at once and five a second, processed as they come", async () => {
    const p = probe((i) => ({ ms: (i * 613) % 2000, value: i }))
    const results = amap(naturals(100), p.task, { maxAtOnce: 10, maxPerSecond: 5 })
    const seen = await value(Array.fromAsync(results))
    expect(seen.toSorted((a, b) => Number(a) - Number(b))).toEqual([...naturals(100)])
    expect(p.peak()).toBeLessThanOrEqual(10)
    expect(p.starts).toEqual(Array.from({ length: 100 }, (_, i) => i * 200))
    await value(leave(results))
  })
})
