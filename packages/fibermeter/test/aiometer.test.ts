/** What aiometer's own tests check, for our verbs: results, their order, and both limits, for each of them. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Stream } from "effect"
import { amap, runAll, runAny, runOnEach } from "../src/index.ts"
import { timeOf } from "./support/model.ts"
import { observe } from "./support/observe.ts"
import { ms, range, Spy } from "./support/Spy.ts"
import { verbs } from "./support/verbs.ts"

describe("results", () => {
  it.effect("runOnEach runs the function on each item and has no result", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { exit } = yield* observe(
        runOnEach(["a", "b", "c"], (item) =>
          Effect.andThen(
            Effect.sleep(10),
            Effect.sync(() => seen.push(item))
          )
        )
      )
      expect(exit).toEqual(Exit.void)
      expect(seen).toEqual(["a", "b", "c"])
    })
  )

  it.effect("runAll returns the results in input order, not in order of completion", () =>
    Effect.gen(function* () {
      const square = (n: number) => Effect.as(Effect.sleep(100 - n * 10), n * n)
      const { exit } = yield* observe(runAll(range(10), square))
      expect(exit).toEqual(Exit.succeed([0, 1, 4, 9, 16, 25, 36, 49, 64, 81]))
    })
  )

  it.effect("runAll runs listed effects and keeps the shape of tuples and records", () =>
    Effect.gen(function* () {
      const late = <A>(millis: number, value: A) => Effect.as(Effect.sleep(millis), value)
      const tuple = yield* observe(runAll([late(20, 1), late(10, "two")], { maxAtOnce: 2 }))
      expect(tuple.exit).toEqual(Exit.succeed([1, "two"]))
      expect(tuple.end).toBe(ms(20))
      const record = yield* observe(runAll({ one: late(20, 1), two: late(10, "two") }, { maxAtOnce: 1 }))
      expect(record.exit).toEqual(Exit.succeed({ one: 1, two: "two" }))
      expect(record.end).toBe(ms(30))
      const set = yield* observe(runAll(new Set([late(20, 1), late(10, 2)])))
      expect(set.exit).toEqual(Exit.succeed([1, 2]))
      expect(yield* runAll([])).toEqual([])
      expect(yield* runAll({})).toEqual({})
    })
  )

  it.effect("amap emits results as they become available: sleep sort", () =>
    Effect.gen(function* () {
      const numbers = [0.3, 0.1, 0.6, 0.2, 0.7, 0.5, 0.5, 0.2]
      const process = (n: number) => Effect.as(Effect.sleep(n * 1000), n)
      const { end, exit } = yield* observe(Stream.runCollect(amap(numbers, process)))
      expect(exit).toEqual(Exit.succeed([0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.6, 0.7]))
      expect(end).toBe(ms(700))
    })
  )

  it.effect("amap hands over each result at the moment it becomes available", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const got: Array<readonly [value: number, at: bigint]> = []
      yield* observe(
        amap(
          [30, 10, 20],
          spy.watch((millis: number) => Effect.as(Effect.sleep(millis), millis))
        ).pipe(Stream.runForEach((value) => Effect.sync(() => got.push([value, spy.now()]))))
      )
      expect(got).toEqual([
        [10, ms(10)],
        [20, ms(20)],
        [30, ms(30)]
      ])
    })
  )

  it.effect("amap ordered emits results in input order, each as soon as all before it have been emitted", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const got: Array<readonly [value: number, at: bigint]> = []
      const task = spy.watch((millis: number) => Effect.as(Effect.sleep(millis), millis))
      yield* observe(
        amap([30, 10, 40, 20], task, { ordered: true }).pipe(
          Stream.runForEach((value) => Effect.sync(() => got.push([value, spy.now()])))
        )
      )
      expect(got).toEqual([
        [30, ms(30)],
        [10, ms(30)],
        [40, ms(40)],
        [20, ms(40)]
      ])
    })
  )

  it.effect("a failing task ends amap with that failure", () =>
    Effect.gen(function* () {
      const got: Array<number> = []
      const task = (n: number) =>
        Effect.andThen(Effect.sleep(n * 10), n === 3 ? Effect.fail("broken" as const) : Effect.succeed(n))
      const { exit, fibers } = yield* observe(
        Stream.runForEach(amap(range(6), task), (n) => Effect.sync(() => got.push(n)))
      )
      expect(exit).toEqual(Exit.fail("broken"))
      expect(got).toEqual([0, 1, 2])
      expect(fibers).toBe(0)
    })
  )

  it.effect("runAny returns the result of the fastest task", () =>
    Effect.gen(function* () {
      const greet = (name: string, millis: number) => Effect.as(Effect.sleep(millis), `Hello, ${name}`)
      const { end, exit } = yield* observe(runAny([greet("Robert", 300), greet("Carmen", 100), greet("Lucas", 200)]))
      expect(exit).toEqual(Exit.succeed("Hello, Carmen"))
      expect(end).toBe(ms(100))
    })
  )

  it.effect("without items there are no results and no winner", () =>
    Effect.gen(function* () {
      const none: ReadonlyArray<number> = []
      expect(yield* runOnEach(none, Effect.succeed)).toBeUndefined()
      expect(yield* runAll(none, Effect.succeed)).toEqual([])
      expect(yield* Stream.runCollect(amap(none, Effect.succeed))).toEqual([])
      const error = yield* Effect.flip(runAny(none, Effect.succeed))
      expect(Cause.isNoSuchElementError(error)).toBe(true)
    })
  )
})

describe.each(verbs)("$name", (verb) => {
  // A race ends with its first success, so there the tasks fail and all of them have their turn.
  const tasks = (spy: Spy, millis: number) =>
    spy.watch(() =>
      Effect.andThen(Effect.sleep(millis), verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void)
    )

  it.effect.each([1, 2, 5, 10, 20])("of 30 tasks never more than %d at once run, and that many do", (maxAtOnce) =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const { end } = yield* observe(Effect.exit(verb.run(range(30), tasks(spy, 10), { maxAtOnce })))
      expect(spy.started).toEqual(range(30))
      expect(spy.peak).toBe(maxAtOnce)
      expect(end).toBe(ms(10 * Math.ceil(30 / maxAtOnce)))
    })
  )

  it.effect("without a limit all 30 run at once", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      yield* observe(Effect.exit(verb.run(range(30), tasks(spy, 10))))
      expect(spy.peak).toBe(30)
    })
  )

  it.effect.each([5, 10, 20, 30, 40, 50, 70, 100])("%d a second: each start on its slot", (maxPerSecond) =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      yield* observe(Effect.exit(verb.run(range(30), tasks(spy, 1), { maxPerSecond })))
      expect(spy.starts).toEqual(range(30).map((index) => timeOf(index, { starts: maxPerSecond, seconds: 1 })))
    })
  )

  it.effect("both options together: ten at once, one every five seconds", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      yield* observe(Effect.exit(verb.run(range(15), tasks(spy, 10_000), { maxAtOnce: 10, maxPerSecond: 0.2 })))
      expect(spy.starts).toEqual(range(15).map((index) => ms(5000 * index)))
      expect(spy.peak).toBe(2)
    })
  )

  it.effect("both options together: the tighter limit counts", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      yield* observe(Effect.exit(verb.run(range(6), tasks(spy, 1000), { maxAtOnce: 2, maxPerSecond: 10 })))
      expect(spy.starts).toEqual([0, 100, 1000, 1100, 2000, 2100].map(ms))
      expect(spy.peak).toBe(2)
    })
  )

  it.effect.each([
    { maxAtOnce: 0 },
    { maxAtOnce: -1 },
    { maxAtOnce: 1.5 },
    { maxPerSecond: 0 },
    { maxPerSecond: -1 },
    { maxPerSecond: Number.NaN }
  ])("rejects %o before anything starts", (options) =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const { exit } = yield* observe(verb.run(range(3), tasks(spy, 1), options))
      const defect = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isDieReason)?.defect : undefined
      expect(Cause.isIllegalArgumentError(defect)).toBe(true)
      expect(spy.started).toEqual([])
    })
  )
})
