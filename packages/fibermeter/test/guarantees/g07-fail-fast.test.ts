/** G7: the first failure stops new starts, interrupts what runs, awaits its finalizers, and nothing that was ready is lost. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Stream } from "effect"
import { amap, Meter } from "../../src/index.ts"
import { observe } from "../support/observe.ts"
import { Source } from "../support/Source.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

const failFast = verbs.filter(({ name }) => name !== "runAny")

const reasons = (exit: Exit.Exit<unknown, unknown>) => (Exit.isFailure(exit) ? exit.cause.reasons : [])

describe("G7 fail fast, nothing lost", () => {
  describe.each(failFast)("$name", (verb) => {
    it.effect("fails with the very cause of the first failure, and with nothing beside it", () =>
      Effect.gen(function* () {
        const causes = [
          Cause.fail("boom"),
          Cause.die("boom"),
          Cause.fromReasons([...Cause.fail("one").reasons, ...Cause.die("two").reasons])
        ]
        for (const cause of causes) {
          const task = (index: number) =>
            index === 2 ? Effect.andThen(Effect.sleep(10), Effect.failCause(cause)) : Effect.sleep(50)
          const { end, exit } = yield* observe(verb.run(range(5), task, { maxAtOnce: 3 }))
          expect(reasons(exit)).toEqual(cause.reasons)
          expect(end).toBe(ms(10))
        }
      })
    )

    it.effect("starts nothing after the first failure", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const source = Source.indices(100)
        const task = spy.watch((index: number) => (index === 3 ? Effect.fail("boom") : Effect.sleep(10)))
        yield* observe(Effect.exit(verb.run(source, task, { maxAtOnce: 2 })))
        expect(spy.started).toEqual([0, 1, 2, 3])
        const unlimited = yield* Spy.make
        const failing = unlimited.watch((index: number) => (index === 3 ? Effect.fail("boom") : Effect.sleep(10)))
        yield* observe(Effect.exit(verb.run(Source.indices(100), failing)))
        expect(unlimited.started).toEqual([0, 1, 2, 3])
      })
    )

    it.effect("takes a throw inside `f` for a defect", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((index: number): Effect.Effect<void> => {
          if (index === 2) throw new Error("thrown")
          return Effect.sleep(10)
        })
        const { exit, fibers } = yield* observe(verb.run(range(5), task))
        expect(exit).toEqual(Exit.die(new Error("thrown")))
        expect(spy.started).toEqual([0, 1, 2])
        expect(spy.running).toBe(0)
        expect(fibers).toBe(0)
      })
    )

    it.effect("takes a task that interrupts itself for a failure", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((index: number) =>
          index === 1 ? Effect.andThen(Effect.sleep(10), Effect.interrupt) : Effect.sleep(50)
        )
        const { end, exit } = yield* observe(verb.run(range(4), task))
        expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
        expect(end).toBe(ms(10))
        expect(spy.running).toBe(0)
      })
    )

    it.effect("a task that does not return an Effect is a defect", () =>
      Effect.gen(function* () {
        const notAnEffect = (): Effect.Effect<number> => 5 as never
        const { exit, fibers } = yield* observe(verb.run(range(3), notAnEffect))
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
        expect(fibers).toBe(0)
      })
    )

    it.effect("interrupts the running tasks at once, and waits for all of their finalizers", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((index: number) =>
          index === 0
            ? Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
            : Effect.ensuring(Effect.never, Effect.sleep(index * 20))
        )
        const { end, exit } = yield* observe(verb.run(range(4), task))
        expect(exit).toEqual(Exit.fail("boom"))
        expect(end).toBe(ms(10 + 60))
        expect(spy.interrupted).toEqual([1, 2, 3])
        expect(spy.running).toBe(0)
      })
    )

    it.effect("adds to the cause what the finalizers added", () =>
      Effect.gen(function* () {
        const task = (index: number) =>
          index === 0
            ? Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
            : Effect.ensuring(
                Effect.never,
                Effect.andThen(Effect.sleep(index * 20), index === 2 ? Effect.die("finalizer") : Effect.void)
              )
        const { end, exit } = yield* observe(verb.run(range(4), task))
        const notInterrupts = reasons(exit).filter((reason) => !Cause.isInterruptReason(reason))
        expect(notInterrupts).toEqual([Cause.makeFailReason("boom"), Cause.makeDieReason("finalizer")])
        expect(reasons(exit)[0]).toEqual(Cause.makeFailReason("boom"))
        expect(end).toBe(ms(70))
      })
    )

    it.effect("waits for a task that cannot be interrupted", () =>
      Effect.gen(function* () {
        const task = (index: number) => (index === 0 ? Effect.fail("boom") : Effect.uninterruptible(Effect.sleep(100)))
        const { end, exit } = yield* observe(verb.run([1, 2, 0, 3], task))
        expect(exit).toEqual(Exit.fail("boom"))
        expect(end).toBe(ms(100))
      })
    )

    it.effect("a success or failure that comes while it waits for finalizers changes nothing", () =>
      Effect.gen(function* () {
        const task = (index: number) => {
          if (index === 0) return Effect.andThen(Effect.sleep(10), Effect.fail("first"))
          return Effect.uninterruptible(
            Effect.andThen(Effect.sleep(30 + index), index === 1 ? Effect.succeed(1) : Effect.fail("second"))
          )
        }
        const { end, exit } = yield* observe(verb.run(range(3), task))
        expect(reasons(exit)[0]).toEqual(Cause.makeFailReason("first"))
        expect(end).toBe(ms(32))
      })
    )

    it.effect("of two tasks that fail in one instant, the first to end decides", () =>
      Effect.gen(function* () {
        const task = (index: number) => Effect.andThen(Effect.sleep(10), Effect.fail(index))
        const { exit } = yield* observe(verb.run(range(3), task))
        expect(reasons(exit)[0]).toEqual(Cause.makeFailReason(0))
      })
    )

    it.effect("fails at once while tasks wait for their start, not when their start is due", () =>
      Effect.gen(function* () {
        const task = (index: number) =>
          index === 0 ? Effect.andThen(Effect.sleep(10), Effect.fail("boom")) : Effect.void
        for (const options of [{ maxPerSecond: 1 }, { maxAtOnce: 1, meter: Meter.makeUnsafe({ maxPerSecond: 1 }) }]) {
          const { end, exit, sleeps } = yield* observe(verb.run(range(3), task, options))
          expect(exit).toEqual(Exit.fail("boom"))
          expect(end).toBe(ms(10))
          expect(sleeps).toBe(0)
        }
      })
    )
  })

  const slowly = (got: Array<number>, millis: number) =>
    Stream.runForEach((n: number) => {
      got.push(n)
      return Effect.sleep(millis)
    })

  it.effect("amap: what had finished reaches a slow reader before the failure does", () =>
    Effect.gen(function* () {
      const got: Array<number> = []
      const task = (index: number) =>
        index === 5
          ? Effect.andThen(Effect.sleep(60), Effect.fail("boom"))
          : Effect.as(Effect.sleep((index + 1) * 10), index)
      const { end, exit } = yield* observe(amap(range(9), task).pipe(slowly(got, 100)))
      expect(got).toEqual([0, 1, 2, 3, 4])
      expect(exit).toEqual(Exit.fail("boom"))
      expect(end).toBe(ms(10 + 5 * 100))
    })
  )

  it.effect("amap ordered: results before the first gap reach the reader, results after it do not", () =>
    Effect.gen(function* () {
      const got: Array<number> = []
      const lasts = [10, 20, 90, 30, 40, 50]
      const task = (millis: number, index: number) =>
        millis === 50
          ? Effect.andThen(Effect.sleep(millis), Effect.fail("boom"))
          : Effect.as(Effect.sleep(millis), index)
      const { exit } = yield* observe(amap(lasts, task, { ordered: true }).pipe(slowly(got, 100)))
      expect(got).toEqual([0, 1])
      expect(exit).toEqual(Exit.fail("boom"))
    })
  )

  it.effect("amap ordered: a failure right after finished tasks loses none of their results", () =>
    Effect.gen(function* () {
      const got: Array<number> = []
      const task = (index: number) => (index === 3 ? Effect.fail("boom") : Effect.succeed(index))
      const { exit } = yield* observe(amap(range(9), task, { ordered: true }).pipe(slowly(got, 10)))
      expect(got).toEqual([0, 1, 2])
      expect(exit).toEqual(Exit.fail("boom"))
    })
  )

  it.effect("amap: the running tasks are interrupted at the failure, not when the reader hears of it", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const ends: Array<bigint> = []
      const task = spy.watch((index: number) => {
        if (index === 0) return Effect.succeed(index)
        if (index === 1) return Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
        return Effect.onExit(Effect.never, () => Effect.sync(() => ends.push(spy.now())))
      })
      const got: Array<number> = []
      yield* observe(Effect.exit(amap(range(4), task).pipe(slowly(got, 1000))))
      expect(got).toEqual([0])
      expect(ends).toEqual([ms(10), ms(10)])
    })
  )

  it.effect("amap: what a source's failure found finished reaches the reader first, too", () =>
    Effect.gen(function* () {
      const got: Array<number> = []
      const items = new Source(9, (index) => {
        if (index === 4) throw "broken source"
        return index
      })
      const { exit } = yield* observe(
        amap(items, (index) => Effect.as(Effect.sleep(10), index), { maxAtOnce: 2 }).pipe(slowly(got, 1))
      )
      expect(got.toSorted((a, b) => a - b)).toEqual(got)
      expect(got.slice(0, 2)).toEqual([0, 1])
      expect(exit).toEqual(Exit.die("broken source"))
    })
  )
})
