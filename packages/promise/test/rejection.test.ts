/** Rejections keep their identity: what the caller catches is the same value that the task threw. */
import { Cause, Effect } from "effect"
import { describe, expect, it } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  over,
  overItems,
  probe,
  rejection,
  settle,
  sleep,
  source,
  SourceError,
  useVirtualTime,
  value,
  verbs
} from "./support.ts"
import type { Plan, Verb } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

class Custom extends Error {
  readonly code = 42
}

const reasons: ReadonlyArray<readonly [string, unknown]> = [
  ["undefined", undefined],
  ["null", null],
  ["0", 0],
  ["NaN", Number.NaN],
  ["false", false],
  ["an empty string", ""],
  ["a string", "bad"],
  ["a symbol", Symbol("bad")],
  ["a bigint", 7n],
  ["a function", () => "bad"],
  ["a plain object", { bad: true }],
  ["a frozen object", Object.freeze({ bad: true })],
  ["a frozen Error", Object.freeze(new Error("bad"))],
  ["an object without a prototype", Object.create(null) as unknown],
  ["an array", [1, 2]],
  ["an Error", new Error("bad")],
  ["an instance of a subclass of Error", new Custom("bad")],
  ["an AggregateError", new AggregateError([1, 2], "bad")],
  ["a DOMException", new DOMException("bad", "DataError")],
  ["an AbortError", new DOMException("mine", "AbortError")],
  ["an object like a failure of Effect", { _tag: "Fail", error: "bad" }],
  ["a Cause", Cause.fail("bad")],
  ["an interruption", Cause.interrupt(1)],
  ["an Effect", Effect.fail("bad")]
]

/** Values that a check for "no failure", for a cancellation or for an Error would take for something else. */
const telling = reasons.filter(([name]) => ["undefined", "false", "a frozen Error", "an AbortError"].includes(name))

const ways: ReadonlyArray<readonly [string, (reason: unknown) => Plan]> = [
  ["rejects later", (reason) => ({ ms: 10, rejects: { reason } })],
  ["rejects at once", (reason) => ({ rejects: { reason } })],
  ["throws", (reason) => ({ throws: { reason } })]
]

/** What a call rejects with whose only task has failed with the reason. */
const expectReason = (verb: Verb, caught: unknown, reason: unknown): void => {
  if (verb.failsFast) return expect(caught).toBe(reason)
  expect(caught).toBeInstanceOf(AggregateError)
  const { errors } = caught as AggregateError
  expect(errors.length).toBe(1)
  expect(errors[0]).toBe(reason)
}

describe("whatever a task rejects with is what the caller catches", () => {
  const run: Verb["call"] = (_, p) => ({
    delivered: [],
    promise: createMeter({ maxAtOnce: 1 }).run(({ signal }) => p.task(0, { index: 0, signal })) as Promise<void>
  })
  it.each(reasons)("%s", async (_, reason) => {
    const p = probe(() => ({ ms: 10, rejects: { reason } }))
    for (const verb of verbs) expectReason(verb, await rejection(verb.call([0], p).promise), reason)
    expect(await rejection(run([0], p).promise)).toBe(reason)
  })

  describe.each(ways)("a task %s", (_, plan) => {
    it.each(verbs)("$name", async (verb) => {
      for (const [, reason] of telling) {
        const p = probe(() => plan(reason))
        expectReason(verb, await rejection(verb.call([0], p).promise), reason)
      }
    })

    it("meter.run, which releases the permit", async () => {
      for (const [, reason] of telling) {
        const p = probe(() => plan(reason))
        const meter = createMeter({ maxAtOnce: 1 })
        expect(await rejection(meter.run(({ signal }) => p.task(0, { index: 0, signal })))).toBe(reason)
        expect(await value(meter.run(() => "next"))).toBe("next")
      }
    })
  })
})

describe("the first failure is the one caught, if the cancelled tasks", () => {
  const others = ["reject with the reason of their signal", "reject with another error", "ignore their signal"] as const
  describe.each(verbs.filter(({ failsFast }) => failsFast))("$name", (verb) => {
    it.each(others)("%s", async (how) => {
      const p = probe((i) =>
        i === 2 ? { ms: 10, rejects: { reason: "first" } } : { ms: 1000, deaf: how === "ignore their signal" }
      )
      const wrap = async (run: () => Promise<unknown>, { index }: { readonly index: number }) => {
        try {
          return await run()
        } catch (error) {
          if (index === 2 || how === "reject with the reason of their signal") throw error
          throw new Error(`another ${index}`, { cause: error })
        }
      }
      const own = {
        ...p,
        task: (item: unknown, context: Parameters<typeof p.task>[1]) => wrap(() => p.task(item, context), context),
        tasks: (count: number) =>
          p.tasks(count).map((task) => (context: Parameters<typeof p.task>[1]) => wrap(() => task(context), context))
      }
      expect(await settle(verb.call([0, 1, 2, 3], own).promise)).toEqual({
        status: "rejected",
        reason: "first",
        at: 10
      })
      await sleepVirtually(2000)
    })
  })
})

const sleepVirtually = async (ms: number) => {
  await value(sleep(ms))
  await flush()
}

describe("two failures at the same instant", () => {
  it.each(verbs.filter(({ failsFast }) => failsFast))(
    "$name: the first is caught, the second is not an unhandled rejection",
    async (verb) => {
      const p = probe((i) => ({ ms: 10, rejects: { reason: `e${i}` } }))
      expect(await rejection(verb.call([0, 1, 2], p).promise)).toBe("e0")
    }
  )
})

describe("an Error that a task rejects with", () => {
  it.each(verbs)("$name does not change it", async (verb) => {
    const error = new Error("bad", { cause: "because" })
    const before = { message: error.message, stack: error.stack, cause: error.cause, keys: Reflect.ownKeys(error) }
    const p = probe(() => ({ ms: 1, rejects: { reason: error } }))
    await rejection(verb.call([0], p).promise)
    expect({
      message: error.message,
      stack: error.stack,
      cause: error.cause,
      keys: Reflect.ownKeys(error)
    }).toEqual(before)
  })
})

describe("a source that fails", () => {
  describe.each(["sync", "async"] as const)("%s", (kind) => {
    it.each(overItems)("$name rejects with its reason", async (verb) => {
      for (const [, reason] of telling) {
        const s = source<number>(kind, [new SourceError(reason)], () => 0)
        const p = probe(() => ({}))
        expect(await rejection(verb.call(s.iterable, p).promise)).toBe(reason)
        expect(s.returns).toBe(0)
      }
    })
  })

  it("when its iterator is requested", async () => {
    const items: Iterable<number> = {
      [Symbol.iterator]: () => {
        throw "no iterator"
      }
    }
    expect(await rejection(runOnEach(items, async () => {}))).toBe("no iterator")
    expect(await rejection(runAll(items, async () => {}))).toBe("no iterator")
    expect(await rejection(runAny(items, async () => {}))).toBe("no iterator")
    const results = amap(items, async () => {})
    expect(await rejection(results.next())).toBe("no iterator")
    expect(await value(results.next())).toEqual(over)
  })
})

describe("runAny", () => {
  it("rejects with all failures in input order, not in the order in which they happened", async () => {
    const caught = await rejection(
      runAny([30, 10, 20, 0], async (ms) => {
        if (ms === 0) throw undefined
        await sleep(ms)
        throw ms
      })
    )
    expect(caught).toBeInstanceOf(AggregateError)
    expect((caught as AggregateError).errors).toEqual([30, 10, 20, undefined])
  })

  it("keeps an AggregateError that a task threw as one of its errors", async () => {
    const own = new AggregateError(["inner"], "mine")
    const caught = await rejection(runAny([() => Promise.reject(own), () => Promise.reject("other")]))
    expect(caught).not.toBe(own)
    expect((caught as AggregateError).errors[0]).toBe(own)
    expect((caught as AggregateError).errors[1]).toBe("other")
  })

  it("without tasks: an AggregateError without errors, as Promise.any", async () => {
    const calls = [() => runAny([]), () => runAny([], async () => 1), () => runAny(new Set<number>(), async () => 1)]
    for (const call of calls) {
      const caught = await rejection(call())
      expect(caught).toBeInstanceOf(AggregateError)
      expect((caught as AggregateError).errors).toEqual([])
    }
    const caught = await rejection(runAny([], { until: "settled" }))
    expect(caught).toBeInstanceOf(AggregateError)
    expect((caught as AggregateError).errors).toEqual([])
  })

  it("has a message", async () => {
    const caught = await rejection(runAny([() => Promise.reject("bad")]))
    expect((caught as AggregateError).message).not.toBe("")
  })

  it('until: "settled" takes the first to finish: a failure', async () => {
    const call = runAny([() => sleep(20), () => sleep(10).then(() => Promise.reject(null))], { until: "settled" })
    expect(await settle(call)).toEqual({ status: "rejected", reason: null, at: 10 })
  })

  it('until: "settled" takes the first to finish: a success', async () => {
    const call = runAny([() => sleep(10).then(() => "won"), () => sleep(20).then(() => Promise.reject("bad"))], {
      until: "settled"
    })
    expect(await settle(call)).toEqual({ status: "fulfilled", value: "won", at: 10 })
  })

  it('until: "success" is the default', async () => {
    const call = runAny([() => sleep(20).then(() => "won"), () => sleep(10).then(() => Promise.reject("bad"))], {
      until: "success"
    })
    expect(await settle(call)).toEqual({ status: "fulfilled", value: "won", at: 20 })
  })

  it("a task that resolves with undefined wins", async () => {
    const call = runAny([() => sleep(10), () => sleep(20).then(() => "late")])
    expect(await settle(call)).toEqual({ status: "fulfilled", value: undefined, at: 10 })
  })

  it("a failure after the win is not an unhandled rejection", async () => {
    const call = runAny([() => sleep(10).then(() => "won"), () => sleep(20).then(() => Promise.reject("late"))])
    expect(await value(call)).toBe("won")
    await sleepVirtually(100)
  })
})

describe("an error of the loop's body", () => {
  it("passes through for await unchanged", async () => {
    const mine = { mine: true }
    const read = async () => {
      for await (const _ of amap([1, 2, 3], async (n) => n, { maxAtOnce: 1 })) throw mine
    }
    expect(await rejection(read())).toBe(mine)
  })
})
