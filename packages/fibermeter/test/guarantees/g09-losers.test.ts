/** G9: `runAny` returns the first success, after it has interrupted and awaited all other tasks. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import fc from "fast-check"
import { runAny, type RunAnyOptions } from "../../src/index.ts"
import { observe } from "../support/observe.ts"
import { Source } from "../support/Source.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { World } from "../support/World.ts"

const after = <A, E>(millis: number, then: Effect.Effect<A, E>) => Effect.andThen(Effect.sleep(millis), then)

const reasonsOf = (exit: Exit.Exit<unknown, unknown>) => (Exit.isFailure(exit) ? exit.cause.reasons : [])

describe("G9 losers", () => {
  it.effect("returns the first success, whatever its index in the input", () =>
    Effect.gen(function* () {
      const { end, exit } = yield* observe(runAny([300, 100, 200], (millis) => Effect.as(Effect.sleep(millis), millis)))
      expect(exit).toEqual(Exit.succeed(100))
      expect(end).toBe(ms(100))
    })
  )

  it.effect("interrupts the losers and waits for their finalizers before it returns", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const task = spy.watch((n: number) =>
        n === 1 ? after(10, Effect.succeed(n)) : Effect.ensuring(Effect.never, Effect.sleep(n * 20))
      )
      const { end, exit, fibers } = yield* observe(runAny(range(4), task))
      expect(exit).toEqual(Exit.succeed(1))
      expect(end).toBe(ms(10 + 60))
      expect(spy.interrupted).toEqual([0, 2, 3])
      expect(spy.running + fibers).toBe(0)
    })
  )

  it.effect("starts no task after the winner", () =>
    Effect.gen(function* () {
      for (const options of [{}, { maxAtOnce: 1 }, { maxAtOnce: 3 }, { maxPerSecond: 1000 }]) {
        const spy = yield* Spy.make
        const source = Source.indices(Number.POSITIVE_INFINITY)
        const task = spy.watch((n: number) =>
          n === 2 ? Effect.succeed(n) : Effect.andThen(Effect.sleep(1), Effect.fail("no"))
        )
        const { exit } = yield* observe(runAny(source, task, options))
        expect(exit).toEqual(Exit.succeed(2))
        expect(spy.started).toEqual([0, 1, 2])
        expect(source.closed).toBe(1)
      }
    })
  )

  it.effect("tolerates failures, defects, throws and self-interruption while another may succeed", () =>
    Effect.gen(function* () {
      const tasks: ReadonlyArray<() => Effect.Effect<string, string>> = [
        () => Effect.fail("failure"),
        () => Effect.die("defect"),
        () => {
          throw "thrown"
        },
        () => Effect.interrupt,
        () => after(50, Effect.interrupt),
        () => after(100, Effect.succeed("won"))
      ]
      for (const maxAtOnce of [1, 2, Number.POSITIVE_INFINITY]) {
        const { exit } = yield* observe(runAny(tasks, (task) => task(), { maxAtOnce }))
        expect(exit).toEqual(Exit.succeed("won"))
      }
    })
  )

  it.effect("when all have failed it fails with all of their causes, in input order", () =>
    Effect.gen(function* () {
      const tasks = [
        after(30, Effect.fail("first")),
        after(10, Effect.die("second")),
        after(20, Effect.interrupt),
        Effect.fail("fourth")
      ]
      for (const options of [{}, { maxAtOnce: 1 }, { maxAtOnce: 2 }]) {
        const { exit } = yield* observe(runAny(tasks, options))
        const reasons = reasonsOf(exit)
        expect(reasons.map(({ _tag }) => _tag)).toEqual(["Fail", "Die", "Interrupt", "Fail"])
        expect([reasons[0], reasons[1], reasons[3]]).toEqual([
          Cause.makeFailReason("first"),
          Cause.makeDieReason("second"),
          Cause.makeFailReason("fourth")
        ])
      }
    })
  )

  it.effect("keeps failures that are equal apart: one for each task", () =>
    Effect.gen(function* () {
      const { exit } = yield* observe(runAny(range(3), () => Effect.fail("same")))
      expect(reasonsOf(exit)).toEqual(range(3).map(() => Cause.makeFailReason("same")))
    })
  )

  it.effect("keeps what the finalizers of a failed task added, beside its failure", () =>
    Effect.gen(function* () {
      const failing = Effect.ensuring(Effect.fail("failure"), Effect.die("finalizer"))
      const byItself = reasonsOf(yield* Effect.exit(failing))
      expect(byItself.length).toBe(2)
      const { exit } = yield* observe(runAny([failing, after(10, Effect.fail("last"))]))
      expect(reasonsOf(exit)).toEqual([...byItself, Cause.makeFailReason("last")])
    })
  )

  it.effect("a loser that fails while it is interrupted does not change who won", () =>
    Effect.gen(function* () {
      const loser = Effect.ensuring(Effect.never, after(20, Effect.die("finalizer")))
      const { end, exit } = yield* observe(runAny([loser, after(10, Effect.succeed("won"))]))
      expect(exit).toEqual(Exit.succeed("won"))
      expect(end).toBe(ms(30))
    })
  )

  it.effect("of two that succeed in one instant, the first to end wins", () =>
    Effect.gen(function* () {
      const { exit } = yield* observe(runAny(range(3), (n) => after(10, Effect.succeed(n))))
      expect(exit).toEqual(Exit.succeed(0))
    })
  )

  it.effect("with no tasks at all it fails with NoSuchElementError, whatever the source and `until`", () =>
    Effect.gen(function* () {
      const none: ReadonlyArray<Effect.Effect<number>> = []
      const options: ReadonlyArray<RunAnyOptions> = [{}, { until: "success" }, { until: "settled" }]
      for (const option of options) {
        for (const call of [runAny(none, option), runAny(Source.indices(0), Effect.succeed, option)]) {
          const error = Exit.findErrorOption(yield* Effect.exit(call))
          expect(error._tag === "Some" && Cause.isNoSuchElementError(error.value)).toBe(true)
        }
      }
    })
  )

  it.effect("an interruption from outside is no failure to be tolerated", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const task = spy.watch(() => Effect.ensuring(Effect.never, Effect.sleep(30)))
      const { end, exit } = yield* observe(runAny(range(5), task, { maxAtOnce: 2 }), { interruptAt: 10 })
      expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
      expect(end).toBe(ms(40))
      expect(spy.started).toEqual([0, 1])
    })
  )

  describe('until: "settled"', () => {
    it.effect("the first task to finish settles it, also by failing", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((n: number) =>
          n === 1 ? after(10, Effect.fail("boom")) : Effect.ensuring(Effect.sleep(50), Effect.sleep(5))
        )
        const { end, exit } = yield* observe(runAny(range(3), task, { until: "settled" }))
        expect(exit).toEqual(Exit.fail("boom"))
        expect(end).toBe(ms(15))
        expect(spy.running).toBe(0)
      })
    )

    it.effect("by succeeding", () =>
      Effect.gen(function* () {
        const { exit } = yield* observe(
          runAny([after(20, Effect.fail("late")), after(10, Effect.succeed("won"))], { until: "settled" })
        )
        expect(exit).toEqual(Exit.succeed("won"))
      })
    )

    it.effect("by a defect, and by interrupting itself", () =>
      Effect.gen(function* () {
        const dying = yield* observe(runAny([Effect.die("defect"), Effect.never], { until: "settled" }))
        expect(dying.exit).toEqual(Exit.die("defect"))
        const leaving = yield* observe(runAny([Effect.interrupt, Effect.never], { until: "settled" }))
        expect(Exit.isFailure(leaving.exit) && Cause.hasInterruptsOnly(leaving.exit.cause)).toBe(true)
      })
    )

    it.effect("no task starts after it", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((n: number) => (n === 1 ? Effect.fail("boom") : Effect.never))
        yield* observe(Effect.exit(runAny(range(9), task, { until: "settled" })))
        expect(spy.started).toEqual([0, 1])
      })
    )
  })

  it("the winner is the model's, for any tasks and any limit", () =>
    fc.assert(
      fc.asyncProperty(
        // Distinct durations: in one instant several could win.
        fc.uniqueArray(fc.integer({ min: 1, max: 10_000 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
        async (lasts, succeeds) => {
          const world = new World()
          const spy = new Spy(world.clock)
          const task = spy.watch((millis: number, index) =>
            after(millis, succeeds[index] === true ? Effect.succeed(index) : Effect.fail(index))
          )
          const exit = await world.run(runAny(lasts, task))
          const fastest = range(lasts.length)
            .filter((index) => succeeds[index] === true)
            .sort((a, b) => (lasts[a] as number) - (lasts[b] as number))[0]
          if (fastest === undefined) expect(reasonsOf(exit)).toEqual(range(lasts.length).map(Cause.makeFailReason))
          else expect(exit).toEqual(Exit.succeed(fastest))
          expect(spy.running + world.fibersLive + world.timersLeft).toBe(0)
        }
      ),
      { numRuns: 60 }
    ))
})
