/** What the engine offers beyond what the verbs of this package use: attempts, tasks given up, results that never come. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { admission, calls, check } from "../src/engine.ts"
import { ofFiber } from "../src/internal/runtime/fiberHost.ts"

interface Start {
  readonly item: string
  readonly index: number
  readonly attempts: number
  readonly at: number
}

/** How a run is set up, where it is not the plainest there is. */
interface Setup {
  readonly items?: Iterable<string>
  readonly limits?: ConstructorParameters<typeof admission.LocalLimiter>[0]
  readonly collector?: calls.Collector<string, string>
  readonly maxUnread?: number
  readonly grace?: number
  readonly weigh?: (item: string, index: number) => Record<string, number>
  /** Called in each start. */
  readonly onStart?: (run: calls.Run<string, string, string>, start: Start) => void
}

/** A run whose tasks do nothing by themselves: the test says how they end. */
const begin = (setup: Setup = {}) =>
  Effect.withFiber((fiber) => {
    const host = ofFiber(fiber)
    const starts: Array<Start> = []
    const ends: Array<number> = []
    const at = () => host.clock.currentTimeMillisUnsafe()
    const worker: calls.Worker<string, string, string> = {
      start: (run, item, index, attempts) => {
        const start = { item, index, attempts, at: at() }
        starts.push(start)
        setup.onStart?.(run, start)
      },
      combine: (first) => first,
      refused: () => "refused",
      weigh: setup.weigh,
      crash: String,
      grace: setup.grace ?? 0
    }
    const run = new calls.Run<string, string, string>(
      host,
      calls.ofIterable(setup.items ?? ["a"], String),
      admission.LocalLimiter.forCall(setup.limits ?? {}),
      [],
      worker,
      setup.collector ?? calls.nothing,
      setup.maxUnread ?? Infinity
    )
    run.onEnd = () => void ends.push(at())
    run.pump()
    return Effect.succeed({ run, starts, ends })
  })

const counted = { started: 0, running: 0, waiting: 0, succeeded: 0, failed: 0, retried: 0 }

describe("an item whose task is begun again", () => {
  it.effect("starts after so many milliseconds, with its index and the number of attempts before", () =>
    Effect.gen(function* () {
      const { ends, run, starts } = yield* begin({ items: ["a", "b"] })
      run.again("a", 0, 1, 50)
      run.left()
      run.succeeded(1, "B")
      expect(ends).toEqual([])
      expect(run.counts(2)).toMatchObject({
        ...counted,
        started: 2,
        waiting: 1,
        succeeded: 1,
        retried: expect.any(Number)
      })
      yield* TestClock.adjust(49)
      expect(starts).toHaveLength(2)
      yield* TestClock.adjust(1)
      expect(starts[2]).toEqual({ item: "a", index: 0, attempts: 1, at: 50 })
      run.succeeded(0, "A")
      expect(ends).toEqual([50])
      expect(run.counts(2)).toEqual({ ...counted, started: 2, succeeded: 2, retried: 1 })
    })
  )

  it.effect("holds no place meanwhile, and waits for one then", () =>
    Effect.gen(function* () {
      const { run, starts } = yield* begin({ items: ["a", "b", "c"], limits: { maxAtOnce: 1 } })
      run.again("a", 0, 1, 50)
      run.left()
      expect(starts.map(({ item }) => item)).toEqual(["a", "b"])
      yield* TestClock.adjust(100)
      expect(starts).toHaveLength(2)
      run.succeeded(1, "B")
      expect(starts.slice(2)).toEqual([{ item: "a", index: 0, attempts: 1, at: 100 }])
      run.succeeded(0, "A")
      expect(starts.slice(3)).toMatchObject([{ item: "c", index: 2, attempts: 0 }])
    })
  )

  it.effect("is weighed again, and paid for again", () =>
    Effect.gen(function* () {
      const weighed: Array<string> = []
      const { run, starts } = yield* begin({
        limits: { windows: { units: { limit: 10, per: 1000 } } },
        weigh: (item, index) => {
          weighed.push(`${item}${index}`)
          return { units: 10 }
        }
      })
      run.again("a", 0, 1, 10)
      run.left()
      yield* TestClock.adjust(999)
      expect(starts).toHaveLength(1)
      yield* TestClock.adjust(1)
      expect(starts[1]).toMatchObject({ at: 1000, attempts: 1 })
      expect(weighed).toEqual(["a0", "a0"])
    })
  )

  it.effect("does not start where what says its cost throws then: the call fails", () =>
    Effect.gen(function* () {
      let isBroken = false
      const { ends, run, starts } = yield* begin({
        limits: { windows: { units: { limit: 10, per: 1000 } } },
        weigh: () => {
          if (isBroken) throw "broken"
          return {}
        }
      })
      run.again("a", 0, 1, 10)
      run.left()
      isBroken = true
      yield* TestClock.adjust(10)
      expect(starts).toHaveLength(1)
      expect(ends).toEqual([10])
      expect(run.failure).toBe("broken")
    })
  )

  it.effect("is dropped when the call ends, with its timer", () =>
    Effect.gen(function* () {
      const { ends, run, starts } = yield* begin({ items: ["a", "b", "c"], limits: { maxAtOnce: 2 } })
      run.again("a", 0, 1, 50)
      run.left()
      run.again("b", 1, 1, 60)
      run.failed(1, "bad")
      expect(ends).toEqual([0])
      yield* TestClock.adjust(1000)
      expect(starts.map(({ item }) => item)).toEqual(["a", "b", "c"])
      expect(run.counts(3).waiting).toBe(0)
    })
  )

  it.effect("is not begun again once the call has ended", () =>
    Effect.gen(function* () {
      const { run, starts } = yield* begin({ items: ["a", "b"] })
      run.stop()
      run.again("a", 0, 1, 50)
      run.left()
      yield* TestClock.adjust(1000)
      expect(starts).toHaveLength(2)
      expect(run.counts(2).retried).toBe(0)
    })
  )

  it.effect("from within its start, too", () =>
    Effect.gen(function* () {
      const { ends, starts } = yield* begin({
        onStart: (run, { attempts, index, item }) => {
          if (attempts === 2) return run.succeeded(index, item)
          run.again(item, index, attempts + 1, 10)
          run.left()
        }
      })
      yield* TestClock.adjust(100)
      expect(starts.map(({ at, attempts }) => [at, attempts])).toEqual([
        [0, 0],
        [10, 1],
        [20, 2]
      ])
      expect(ends).toEqual([20])
    })
  )

  it.effect("an endless source is read no further than for as many as may run", () =>
    Effect.gen(function* () {
      let pulls = 0
      const endless = function* () {
        for (;;) yield `${pulls++}`
      }
      const { run, starts } = yield* begin({
        items: endless(),
        limits: { maxAtOnce: 2 },
        onStart: (run, { attempts, index, item }) => {
          run.again(item, index, attempts + 1, 1000)
          run.left()
        }
      })
      expect(pulls).toBeLessThanOrEqual(3)
      yield* TestClock.adjust(5000)
      expect(pulls).toBeLessThanOrEqual(3)
      expect(starts.at(-1)!.attempts).toBeGreaterThanOrEqual(4)
      run.stop()
    })
  )
})

describe("a task that is given up", () => {
  it.effect("has failed at once, and keeps its place until it has ended", () =>
    Effect.gen(function* () {
      const failures: Array<readonly [number, string]> = []
      const collector: calls.Collector<string, string> = {
        succeeded: () => false,
        failed: (index, failure) => {
          failures.push([index, failure])
          return false
        }
      }
      const { ends, run, starts } = yield* begin({ items: ["a", "b"], limits: { maxAtOnce: 1 }, collector })
      run.failedEarly(0, "late")
      expect(failures).toEqual([[0, "late"]])
      expect(run.counts(2)).toEqual({ ...counted, started: 1, running: 0, waiting: 1, failed: 1 })
      expect(starts).toHaveLength(1)
      run.leftLate()
      expect(starts.map(({ item }) => item)).toEqual(["a", "b"])
      run.succeeded(1, "B")
      expect(ends).toHaveLength(1)
    })
  )

  it.effect("ends the call where its failure does", () =>
    Effect.gen(function* () {
      const { ends, run } = yield* begin({ items: ["a", "b"] })
      run.failedEarly(0, "late")
      expect(run.failure).toBe("late")
      expect(ends).toEqual([0])
      run.leftLate()
      expect(ends).toEqual([0])
    })
  )

  it.effect("is not waited for where nothing else is left, but for the time of grace", () =>
    Effect.gen(function* () {
      const collector: calls.Collector<string, string> = { succeeded: () => false, failed: () => false }
      const hasty = yield* begin({ collector })
      hasty.run.failedEarly(0, "late")
      expect(hasty.ends).toEqual([0])

      const patient = yield* begin({ collector, grace: 100 })
      patient.run.failedEarly(0, "late")
      expect(patient.ends).toEqual([])
      yield* TestClock.adjust(40)
      patient.run.leftLate()
      expect(patient.ends).toEqual([40])

      const leaving = yield* begin({ collector, grace: 100 })
      leaving.run.failedEarly(0, "late")
      yield* TestClock.adjust(200)
      expect(leaving.ends).toEqual([140])
    })
  )

  it.effect("may be begun again beside itself, where there is room", () =>
    Effect.gen(function* () {
      const { ends, run, starts } = yield* begin({ limits: { maxAtOnce: 2 } })
      run.againEarly("a", 0, 1, 30)
      expect(run.counts(1)).toMatchObject({ running: 0, waiting: 1 })
      yield* TestClock.adjust(30)
      expect(starts[1]).toEqual({ item: "a", index: 0, attempts: 1, at: 30 })
      run.leftLate()
      expect(ends).toEqual([])
      run.succeeded(0, "A")
      expect(ends).toEqual([30])
    })
  )

  it.effect("and waits for its own end, where there is none", () =>
    Effect.gen(function* () {
      const { run, starts } = yield* begin({ limits: { maxAtOnce: 1 } })
      run.againEarly("a", 0, 1, 30)
      yield* TestClock.adjust(50)
      expect(starts).toHaveLength(1)
      run.leftLate()
      expect(starts[1]).toMatchObject({ attempts: 1, at: 50 })
    })
  )

  it.effect("may be told of after the call has ended: nothing comes of it", () =>
    Effect.gen(function* () {
      const { ends, run, starts } = yield* begin({ items: ["a", "b"] })
      run.failed(0, "first")
      run.againEarly("b", 1, 1, 10)
      run.leftLate()
      yield* TestClock.adjust(100)
      expect(run.failure).toBe("first")
      expect(ends).toEqual([0])
      expect(starts).toHaveLength(2)
    })
  )
})

describe("a feed", () => {
  const feed = (isOrdered: boolean) => new calls.Feed<string>(isOrdered, () => {})

  it("counts a result that will not come once, at once where order does not matter", () => {
    const results = feed(false)
    results.skip(3)
    results.succeeded(0, "a")
    results.skip(1)
    expect(results.takeSkipped()).toBe(2)
    expect(results.takeSkipped()).toBe(0)
    expect(results.take(9)).toEqual(["a"])
  })

  it("in order, counts it when its turn has come", () => {
    const results = feed(true)
    results.skip(1)
    results.succeeded(2, "c")
    results.skip(4)
    expect([results.takeSkipped(), results.size]).toEqual([0, 0])
    results.skip(0)
    expect(results.takeSkipped()).toBe(2)
    expect(results.take(9)).toEqual(["c"])
    results.succeeded(3, "d")
    expect(results.takeSkipped()).toBe(1)
    results.succeeded(5, "f")
    expect(results.take(9)).toEqual(["d", "f"])
  })

  it("keeps undefined apart from what will not come", () => {
    const results = new calls.Feed<undefined>(true, () => {})
    results.succeeded(1, undefined)
    results.succeeded(0, undefined)
    expect(results.size).toBe(2)
    expect(results.takeSkipped()).toBe(0)
  })
})

describe("retryAfter", () => {
  const now = Date.UTC(2026, 0, 5, 12)
  it.each<readonly [string, unknown, number | undefined]>([
    ["seconds", { headers: { "Retry-After": "1.5" } }, 1500],
    ["a number", { headers: { "retry-after": 2 } }, 2000],
    ["Headers", new Headers({ "retry-after": "3" }), 3000],
    ["a date", { "retry-after": "Mon, 05 Jan 2026 12:00:04 GMT" }, 4000],
    ["a date that leaves out its zone", { "retry-after": "Mon Jan  5 12:00:04 2026" }, 4000],
    ["a date that has passed", { "retry-after": "Mon, 05 Jan 2026 11:00:00 GMT" }, 0],
    ["a cause", new Error("a", { cause: { response: { headers: { "retry-after": "5" } } } }), 5000],
    ["a cause too far away", { cause: { cause: { cause: { cause: { cause: { "retry-after": "5" } } } } } }, undefined],
    [
      "a getter that throws",
      {
        get: () => {
          throw new Error("x")
        }
      },
      undefined
    ],
    ["no date", { "retry-after": "soon 12" }, undefined],
    ["no end", { "retry-after": "9".repeat(400) }, undefined],
    ["another kind of value", { "retry-after": true }, undefined],
    ["nothing", null, undefined]
  ])("%s", (_, source, millis) => {
    expect(calls.retryAfter(source, now)).toBe(millis)
  })
})

describe("checks", () => {
  const { delay } = check.times(() => true)
  const nested = check.object("an object { times, wait }", { times: check.count, wait: check.functionOr(delay) })

  it.each<readonly [string, unknown]>([
    ["nothing in it", {}],
    ["some", { times: 0 }],
    ["all", { times: Infinity, wait: 5 }],
    ["a function", { wait: () => 5 }],
    ["undefined", { times: undefined, wait: undefined }],
    ["no time at all", { wait: 0 }]
  ])("object: %s is fine", (_, value) => {
    const copy = nested("retry", value)
    expect(copy).not.toBe(value)
    expect(Object.keys(copy as object)).toEqual(
      Object.keys(value as object).filter((name) => (value as Record<string, unknown>)[name] !== undefined)
    )
  })

  it.each<readonly [string, unknown, "range" | "type", string]>([
    ["null", null, "type", "retry must be an object { times, wait }, but is null"],
    ["an array", [], "type", "retry must be an object { times, wait }, but is an array"],
    ["a promise", Promise.resolve(), "type", "retry must be an object { times, wait }, but is a Promise"],
    ["a number", 3, "type", "retry must be an object { times, wait }, but is 3"],
    ["a name that is unknown", { tmies: 3 }, "type", "no option retry.tmies. Did you mean retry.times?"],
    [
      "times below 0",
      { times: -1 },
      "range",
      "retry.times must be a whole number of at least 0, or Infinity, but is -1"
    ],
    ["half a time", { times: 0.5 }, "range", "but is 0.5"],
    ["no number", { times: "3" }, "type", 'retry.times must be a whole number of at least 0, or Infinity, but is "3"'],
    ["a wait below 0", { wait: -1 }, "range", "retry.wait must be a finite length of time"],
    ["a wait without end", { wait: Infinity }, "range", "but is Infinity"],
    ["a wait that is NaN", { wait: NaN }, "range", "but is NaN"],
    ["a wait that is no time", { wait: "x" }, "type", 'but is "x"']
  ])("object: %s is refused, by its whole name", (_, value, kind, message) => {
    expect(nested("retry", value)).toMatchObject({ kind, message: expect.stringContaining(message) as string })
  })

  it("iterable: what can be gone through", () => {
    const iterable = check.iterable(delay)
    for (const fine of [new Set(), [1].values()]) expect(iterable("schedule", fine)).toBe(fine)
    // Of an array a copy is kept, checked as a whole.
    for (const fine of [[], [1]]) {
      expect(iterable("schedule", fine)).toEqual(fine)
      expect(iterable("schedule", fine)).not.toBe(fine)
    }
    for (const bad of [5, null, undefined, {}, () => []]) {
      expect(iterable("schedule", bad)).toMatchObject({
        kind: "type",
        message: expect.stringContaining("schedule must be an Iterable")
      })
    }
  })
})

describe("All", () => {
  it("makes room ahead, but not for so many results that the engine could not keep them in an array", () => {
    const lengthAfter = (index: number): number => {
      const all = new calls.All<number>(undefined)
      all.succeeded(index, 1)
      return all["places"].length
    }
    expect(lengthAfter(1000)).toBe(2016)
    // It would be 2 ** 25 and more, which ends the process when there are so many.
    expect(lengthAfter(2 ** 24)).toBe(2 ** 24 + 1)
  })
})
