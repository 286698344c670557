/**
 * The contract table: every verb, under every kind of limit, with every ending.
 *
 * Starts are compared with a reference model to the millisecond. The model knows input order, free permits and the
 * rate, nothing else.
 */
import * as fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter } from "../src/index.ts"
import type { Meter } from "../src/index.ts"
import {
  durations,
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  limits,
  listeners,
  naturals,
  now,
  overItems,
  pass,
  predict,
  predictFor,
  probe,
  settle,
  source,
  SourceError,
  useVirtualTime,
  verbs
} from "./support.ts"
import type { Limit, Plan, Verb } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** No two of the sums in play are equal, and none is a multiple of 50: no instant depends on who comes first in it. */
const plans: ReadonlyArray<Plan> = durations.map((ms) => ({ ms }))
const numbers = durations.map((_, i) => i)

const inCompletionOrder = (starts: ReadonlyArray<number>): Array<string> =>
  starts
    .map((start, i) => ({ end: start + (durations[i] ?? 0), name: `v${i}` }))
    .toSorted((a, b) => a.end - b.end)
    .map(({ name }) => name)

/** The call is over: nothing more starts, runs or waits, and every limit is as free as before. */
const expectNothingLeft = async (
  p: ReturnType<typeof probe>,
  signal: AbortSignal | undefined,
  limit: Limit,
  meters: ReadonlyArray<Meter>
): Promise<void> => {
  const started = p.starts.length
  await flush()
  expect(p.running(), "tasks still running").toBe(0)
  expect(vi.getTimerCount(), "timers left").toBe(0)
  if (signal !== undefined) expect(listeners(signal), "listeners left").toBe(0)
  await pass(5000)
  expect(p.starts.length, "tasks started after the end").toBe(started)
  if (limit.limits.maxAtOnce !== undefined) {
    for (const meter of meters) await expectFree(meter, limit.limits.maxAtOnce)
  }
}

const forEachLimit = (
  of: ReadonlyArray<Verb>,
  body: (verb: Verb, limit: Limit) => Promise<void>,
  under: ReadonlyArray<Limit> = limits
): void => {
  describe.each(of)("$name", (verb) => {
    it.each(under)("under $name", (limit) => body(verb, limit))
  })
}

/** For calls in which no task waits at a limit: it does not matter which limit that is, but whether a meter is used. */
const withoutAndWithMeter = limits.filter(({ name }) => name === "no limit" || name === "a shared meter")

const withoutRaces = verbs.filter(({ verb }) => verb !== "runAny")
const races = verbs.filter(({ verb }) => verb === "runAny")

describe("done: all tasks run, at the instants that the limits allow, and all results are there", () => {
  forEachLimit(withoutRaces, async (verb, limit) => {
    const { options, meters } = limit.make()
    const { signal } = new AbortController()
    const p = probe((i) => plans[i] ?? {})
    const call = verb.call(numbers, p, { ...options, signal })
    const outcome = await settle(call.promise)

    const starts = predictFor(verb, durations, limit.limits)
    expect(outcome).toEqual({
      status: "fulfilled",
      value: undefined,
      at: Math.max(...starts.map((start, i) => start + (durations[i] ?? 0)))
    })
    expect(p.order, "G4: input order").toEqual(numbers)
    expect(p.starts).toEqual(starts)
    if (limit.limits.maxAtOnce !== undefined) expect(p.peak()).toBeLessThanOrEqual(limit.limits.maxAtOnce)
    expect(p.ended.length).toBe(durations.length)
    expect(p.aborted.size, "tasks aborted").toBe(0)
    const inOrder = numbers.map((i) => `v${i}`)
    expect(call.delivered).toEqual(
      verb.verb === "runOnEach"
        ? [undefined]
        : verb.verb === "runAll"
          ? [inOrder]
          : verb.ordered
            ? inOrder
            : inCompletionOrder(starts)
    )
    await expectNothingLeft(p, signal, limit, meters)
  })
})

describe("won: the first to succeed is the result, the others are cancelled and none starts after it", () => {
  forEachLimit(races, async (verb, limit) => {
    const { options, meters } = limit.make()
    const { signal } = new AbortController()
    // The second to start is the quickest by far.
    const p = probe((i) => ({ ms: i === 1 ? 137 : 4000 + i }))
    const call = verb.call(numbers, p, { ...options, signal })
    const outcome = await settle(call.promise)

    const starts = predict(
      numbers.map((i) => (i === 1 ? 137 : 4000 + i)),
      limit.limits
    )
    const end = (starts[1] ?? 0) + 137
    expect(outcome).toEqual({ status: "fulfilled", value: undefined, at: end })
    expect(call.delivered).toEqual(["v1"])
    expect(p.starts).toEqual(starts.filter((at) => at < end))
    expect(p.cancelled()).toEqual(p.order.filter((i) => i !== 1))
    for (const reason of p.aborted.values()) expect(isAbortError(reason)).toBe(true)
    await expectNothingLeft(p, signal, limit, meters)
  })
})

describe("all failed: runAny without a winner rejects with all failures, in input order", () => {
  forEachLimit(
    races.filter(({ failsFast }) => !failsFast),
    async (verb, limit) => {
      const { options, meters } = limit.make()
      const { signal } = new AbortController()
      const p = probe((i) => ({ ...plans[i], rejects: { reason: `e${i}` } }))
      const outcome = await settle(verb.call(numbers, p, { ...options, signal }).promise)

      const starts = predict(durations, limit.limits)
      expect(p.starts).toEqual(starts)
      expect(outcome.at).toBe(Math.max(...starts.map((start, i) => start + (durations[i] ?? 0))))
      if (outcome.status === "fulfilled") throw new Error("there can be no winner")
      expect(outcome.reason).toBeInstanceOf(AggregateError)
      expect((outcome.reason as AggregateError).errors).toEqual(numbers.map((i) => `e${i}`))
      await expectNothingLeft(p, signal, limit, meters)
    }
  )
})

describe("a failing task ends the call at once with its reason, and cancels the others", () => {
  forEachLimit(
    verbs.filter(({ failsFast }) => failsFast),
    async (verb, limit) => {
      const { options, meters } = limit.make()
      const { signal } = new AbortController()
      const reason = { failed: true }
      const spans = numbers.map((i) => (i === 1 ? 137 : 4000 + i))
      const p = probe((i) => (i === 1 ? { ms: 137, rejects: { reason } } : { ms: 4000 + i }))
      const call = verb.call(numbers, p, { ...options, signal })
      const outcome = await settle(call.promise)

      const starts = predictFor(verb, spans, limit.limits)
      const end = (starts[1] ?? 0) + 137
      expect(outcome.at).toBe(end)
      expect(outcome.status === "rejected" && outcome.reason === reason).toBe(true)
      expect(call.delivered).toEqual([])
      expect(p.starts).toEqual(starts.filter((at) => at < end))
      expect(p.cancelled()).toEqual(p.order.filter((i) => i !== 1))
      for (const given of p.aborted.values()) expect(isAbortError(given)).toBe(true)
      await expectNothingLeft(p, signal, limit, meters)
    }
  )
})

describe("a task that throws before it returns a promise ends the call at that start", () => {
  forEachLimit(
    verbs.filter(({ failsFast }) => failsFast),
    async (verb, limit) => {
      const { options, meters } = limit.make()
      const { signal } = new AbortController()
      const reason = { thrown: true }
      const spans = numbers.map((i) => (i === 1 ? 0 : 4000 + i))
      const p = probe((i) => (i === 1 ? { throws: { reason } } : { ms: 4000 + i }))
      const outcome = await settle(verb.call(numbers, p, { ...options, signal }).promise)

      const [first = 0, second = 0] = predictFor(verb, spans, limit.limits)
      expect(outcome.at).toBe(second)
      expect(outcome.status === "rejected" && outcome.reason === reason).toBe(true)
      expect(p.starts, "nothing starts after the first failure").toEqual([first, second])
      expect(p.cancelled()).toEqual([0])
      expect(isAbortError(p.aborted.get(0))).toBe(true)
      await expectNothingLeft(p, signal, limit, meters)
    }
  )

  describe("but runAny continues", () => {
    forEachLimit(
      races.filter(({ failsFast }) => !failsFast),
      async (verb, limit) => {
        const { options, meters } = limit.make()
        const { signal } = new AbortController()
        const p = probe((i) => (i < 4 ? { throws: { reason: `e${i}` } } : { ms: 500 }))
        const call = verb.call(numbers, p, { ...options, signal })
        const outcome = await settle(call.promise)

        const starts = predict([0, 0, 0, 0, 500, 500, 500, 500], limit.limits)
        const end = (starts[4] ?? 0) + 500
        expect(outcome).toEqual({ status: "fulfilled", value: undefined, at: end })
        expect(call.delivered).toEqual(["v4"])
        expect(p.starts.filter((at) => at < end)).toEqual(starts.filter((at) => at < end))
        await expectNothingLeft(p, signal, limit, meters)
      }
    )
  })
})

describe("aborted before: nothing starts, and the call rejects with the caller's reason", () => {
  forEachLimit(
    verbs,
    async (verb, limit) => {
      const { options, meters } = limit.make()
      const controller = new AbortController()
      const reason = { why: "too late" }
      controller.abort(reason)
      const p = probe(() => ({ ms: 100 }))
      const s = source("sync", numbers, () => p.starts.length)
      const call = verb.call(verb.listed ? numbers : s.iterable, p, { ...options, signal: controller.signal })
      const outcome = await settle(call.promise)

      expect(outcome.at).toBe(0)
      expect(outcome.status === "rejected" && outcome.reason === reason).toBe(true)
      expect(p.starts).toEqual([])
      expect(s.pulls, "items taken from the source").toBe(0)
      expect(s.returns).toBe(s.opened)
      await expectNothingLeft(p, controller.signal, limit, meters)
    },
    withoutAndWithMeter
  )
})

describe("aborted during: it rejects with the caller's reason at that instant, and so do the tasks' signals", () => {
  forEachLimit(verbs, async (verb, limit) => {
    const { options, meters } = limit.make()
    const controller = new AbortController()
    const reason = new Error("no longer wanted")
    const p = probe((i) => ({ ms: 4000 + i }))
    const s = source("sync", naturals(50), () => p.starts.length)
    setTimeout(() => controller.abort(reason), 137)
    const items = verb.listed ? numbers : s.iterable
    const call = verb.call(items, p, { ...options, signal: controller.signal })
    const outcome = await settle(call.promise)

    expect(outcome.at).toBe(137)
    expect(outcome.status === "rejected" && outcome.reason === reason).toBe(true)
    expect(call.delivered).toEqual([])
    const spans = Array.from({ length: verb.listed ? 8 : 9 }, (_, i) => 4000 + i)
    if (limit.name !== "no limit") {
      expect(p.starts).toEqual(predict(spans, limit.limits).filter((at) => at < 137))
    }
    expect(p.cancelled()).toEqual(p.order)
    for (const given of p.aborted.values()) expect(given).toBe(reason)
    if (!verb.listed) expect(s.returns, "G5: closed unless it has ended").toBe(s.over ? 0 : 1)
    await expectNothingLeft(p, controller.signal, limit, meters)
  })
})

describe("aborted after: nothing happens any more", () => {
  forEachLimit(
    verbs,
    async (verb, limit) => {
      const { options } = limit.make()
      const controller = new AbortController()
      const signals: Array<AbortSignal> = []
      const p = probe(() => ({ ms: 10 }))
      const watched = {
        ...p,
        task: (item: unknown, context: { readonly index: number; readonly signal: AbortSignal }) => {
          signals.push(context.signal)
          return p.task(item, context)
        },
        tasks: (count: number) =>
          p.tasks(count).map((task) => (context: { readonly index: number; readonly signal: AbortSignal }) => {
            signals.push(context.signal)
            return task(context)
          })
      }
      // One task: for a race, too, it is the one that came to its end.
      const call = verb.call([0], watched, { ...options, signal: controller.signal })
      expect((await settle(call.promise)).status).toBe("fulfilled")
      expect(listeners(controller.signal), "listeners left").toBe(0)
      const delivered = [...call.delivered]
      controller.abort(new Error("after the end"))
      await flush()
      expect(call.delivered).toEqual(delivered)
      expect(signals.length).toBe(1)
      expect(signals[0]?.aborted, "a task that has ended is not aborted").toBe(false)
    },
    withoutAndWithMeter
  )
})

describe.each(["sync", "async"] as const)("a %s source that fails ends the call with its reason", (kind) => {
  forEachLimit(overItems, async (verb, limit) => {
    const { options, meters } = limit.make()
    const { signal } = new AbortController()
    const reason = { broken: true }
    const p = probe(() => ({ ms: 4000 }))
    const s = source(kind, [0, new SourceError(reason), 2], () => p.starts.length, kind === "async" ? 40 : 0)
    const call = verb.call(s.iterable, p, { ...options, signal })
    const outcome = await settle(call.promise)

    expect(outcome.status === "rejected" && outcome.reason === reason).toBe(true)
    expect(outcome.at, "at once: the first task is not waited for").toBeLessThan(1000)
    expect(call.delivered).toEqual([])
    expect(p.order).toEqual([0])
    expect(p.cancelled()).toEqual([0])
    expect(isAbortError(p.aborted.get(0))).toBe(true)
    expect(s.pulls, "not asked again").toBe(2)
    expect(s.returns, "G5: never closed after it threw").toBe(0)
    await expectNothingLeft(p, signal, limit, meters)
  })
})

describe.each(["sync", "async"] as const)("an empty %s source", (kind) => {
  forEachLimit(
    overItems,
    async (verb, limit) => {
      const { options, meters } = limit.make()
      const { signal } = new AbortController()
      const p = probe(() => ({}))
      const s = source(kind, [], () => 0)
      const call = verb.call(s.iterable, p, { ...options, signal })
      const outcome = await settle(call.promise)

      expect(outcome.at).toBe(0)
      expect(p.starts).toEqual([])
      expect([s.pulls, s.returns]).toEqual([1, 0])
      if (verb.verb === "runAny") {
        if (outcome.status === "fulfilled") throw new Error("there can be no winner")
        expect(outcome.reason).toBeInstanceOf(AggregateError)
        expect((outcome.reason as AggregateError).errors).toEqual([])
      } else {
        expect(outcome.status).toBe("fulfilled")
        expect(call.delivered).toEqual({ runOnEach: [undefined], runAll: [[]], amap: [] }[verb.verb])
      }
      await expectNothingLeft(p, signal, limit, meters)
    },
    withoutAndWithMeter
  )
})

describe("an empty list of functions", () => {
  forEachLimit(
    verbs.filter(({ listed }) => listed),
    async (verb, limit) => {
      const call = verb.call(
        [],
        probe(() => ({})),
        limit.make().options
      )
      const outcome = await settle(call.promise)
      if (verb.verb === "runAll") {
        expect(call.delivered).toEqual([[]])
      } else {
        if (outcome.status === "fulfilled") throw new Error("there can be no winner")
        expect(outcome.reason).toBeInstanceOf(AggregateError)
        expect((outcome.reason as AggregateError).errors).toEqual([])
      }
    },
    withoutAndWithMeter
  )
})

describe.each(["sync", "async"] as const)(
  "an infinite %s source is pulled no further than needed, then closed",
  (kind) => {
    const limited = limits.filter(({ name }) => name !== "no limit")

    describe.each(overItems)("$name", (verb) => {
      it.each(limited)("under $name, ended by an abort", async (limit) => {
        const { options, meters } = limit.make()
        const controller = new AbortController()
        // With `runAny` no task succeeds, and with `settled` none ends in time.
        const spans = (i: number) => (verb.verb === "runAny" && verb.failsFast ? 9000 : 50 + ((i * 37) % 91))
        const p = probe((i) => ({ ms: spans(i), ...(verb.verb === "runAny" ? { rejects: { reason: i } } : {}) }))
        const s = source(kind, naturals(), () => p.starts.length)
        setTimeout(() => controller.abort("enough"), 637)
        const outcome = await settle(verb.call(s.iterable, p, { ...options, signal: controller.signal }).promise)

        expect(outcome).toEqual({ status: "rejected", reason: "enough", at: 637 })
        expect(p.order, "G4: input order").toEqual([...naturals(p.order.length)])
        if (limit.limits.maxAtOnce !== undefined) expect(p.peak()).toBeLessThanOrEqual(limit.limits.maxAtOnce)
        expect(s.ahead(), "G5: items out and not used").toBeLessThanOrEqual(1)
        expect(s.pulls).toBeLessThanOrEqual(p.starts.length + 1)
        expect(s.returns).toBe(1)
        await expectNothingLeft(p, controller.signal, limit, meters)
      })

      it.each(limited)("under $name, ended by a task", async (limit) => {
        const { options, meters } = limit.make()
        const p = probe((i) => {
          if (verb.verb === "runAny") return i === 1 ? { ms: 137 } : { ms: 9000 }
          return i === 1 ? { ms: 137, rejects: { reason: "bad" } } : { ms: 9000 }
        })
        const s = source(kind, naturals(), () => p.starts.length)
        const call = verb.call(s.iterable, p, options)
        const outcome = await settle(call.promise)

        const [, second = 0] = predict([9000, 137], limit.limits)
        expect(outcome.at).toBe(second + 137)
        if (verb.verb === "runAny") expect(call.delivered).toEqual(["v1"])
        else expect(outcome.status === "rejected" && outcome.reason).toBe("bad")
        expect(s.ahead(), "G5: items out and not used").toBeLessThanOrEqual(1)
        expect(s.returns).toBe(1)
        await expectNothingLeft(p, undefined, limit, meters)
      })
    })
  }
)

describe("leaving amap early cancels what is in flight, closes the source, and starts nothing more", () => {
  const leavings = {
    break: async (results: AsyncIterable<unknown>, seen: Array<unknown>) => {
      for await (const result of results) {
        seen.push(result)
        if (seen.length === 2) break
      }
    },
    return: async (results: AsyncIterable<unknown>, seen: Array<unknown>) => {
      const run = async (): Promise<unknown> => {
        for await (const result of results) {
          seen.push(result)
          if (seen.length === 2) return result
        }
        return undefined
      }
      await run()
    },
    throw: async (results: AsyncIterable<unknown>, seen: Array<unknown>) => {
      const mine = new Error("the reader's own")
      const run = async () => {
        for await (const result of results) {
          seen.push(result)
          if (seen.length === 2) throw mine
        }
      }
      await expect(run()).rejects.toBe(mine)
    },
    "await using": async (results: AsyncIterable<unknown> & AsyncDisposable, seen: Array<unknown>) => {
      await using own = results as AsyncIterableIterator<unknown> & AsyncDisposable
      for (let i = 0; i < 2; i++) {
        const next = await own.next()
        if (next.done !== true) seen.push(next.value)
      }
    }
  }

  describe.each(Object.entries(leavings))("%s", (_, leave) => {
    describe.each([false, true])("ordered: %s", (ordered) => {
      it.each(limits.filter(({ name }) => name !== "no limit"))("under $name", async (limit) => {
        const { options, meters } = limit.make()
        const { signal } = new AbortController()
        const p = probe((i) => ({ ms: i < 2 ? 137 + 10 * i : 9000 }))
        const s = source("sync", naturals(), () => p.starts.length)
        const seen: Array<unknown> = []
        const outcome = await settle(leave(amap(s.iterable, p.task, { ...options, signal, ordered }), seen))

        expect(outcome.status === "rejected" ? outcome.reason : undefined).toBeUndefined()
        const starts = predict([137, 147, 9000, 9000, 9000, 9000, 9000, 9000, 9000], limit.limits)
        const end = (starts[1] ?? 0) + 147
        expect(outcome.at, "nothing is waited for").toBe(end)
        expect(seen).toEqual(["v0", "v1"])
        // The permit that the last result gave back may be taken again before the reader has it.
        expect(p.starts.filter((at) => at < end)).toEqual(starts.filter((at) => at < end))
        expect(Math.max(...p.starts)).toBeLessThanOrEqual(end)
        expect(p.cancelled()).toEqual(p.order.filter((i) => i > 1))
        for (const reason of p.aborted.values()) expect(isAbortError(reason)).toBe(true)
        expect(s.ahead(), "G5: items out and not used").toBeLessThanOrEqual(1)
        expect(s.returns).toBe(1)
        await expectNothingLeft(p, signal, limit, meters)
      })
    })
  })
})

describe("every limit can be an option, a meter, or several meters, and it is the same limit", () => {
  it.each(withoutRaces)("$name starts at the model's instants under any of them", async (verb) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 9 }),
        fc.constantFrom(1, 2, 3, 5, Number.POSITIVE_INFINITY),
        fc.constantFrom(10, 20, 25, 40, Number.POSITIVE_INFINITY),
        fc.constantFrom("options", "meter", "meters", "both"),
        async (raw, maxAtOnce, maxPerSecond, how) => {
          // Distinct, and no multiples of the interval: no instant depends on the order within it.
          const spans = raw.map((ms, i) => ms * 1000 + i * 7 + 1)
          const options = {
            options: () => ({ maxAtOnce, maxPerSecond }),
            meter: () => ({ meter: createMeter({ maxAtOnce, maxPerSecond }) }),
            meters: () => ({ meter: [createMeter({ maxAtOnce }), createMeter({ maxPerSecond })] }),
            both: () => ({ maxAtOnce, meter: createMeter({ maxPerSecond }) })
          }[how]()
          const p = probe((i) => ({ ms: spans[i] ?? 0 }))
          const begin = now()
          const call = verb.call(
            spans.map((_, i) => i),
            p,
            options
          )
          expect((await settle(call.promise)).status).toBe("fulfilled")
          const limit = {
            ...(maxAtOnce === Number.POSITIVE_INFINITY ? {} : { maxAtOnce }),
            maxPerSecond
          }
          expect(p.starts.map((at) => at - begin)).toEqual(predictFor(verb, spans, limit))
          expect(p.peak()).toBeLessThanOrEqual(maxAtOnce)
        }
      ),
      { numRuns: 25, seed: 20_240_917 }
    )
  })
})
