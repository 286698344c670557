/** G1: never more than `maxAtOnce` tasks run, and a task counts until its fiber has ended. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit } from "effect"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { observe } from "../support/observe.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

const Colour = Context.Reference<string>("test/Colour", { defaultValue: () => "white" })

describe("G1 at once", () => {
  describe.each(verbs)("$name", (verb) => {
    it.effect("starts a task the moment one before it has ended, and not earlier", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const lasts = [50, 20, 70, 10, 40]
        const task = spy.watch((millis: number) => Effect.andThen(Effect.sleep(millis), Effect.fail("tolerated")))
        const kept = (item: number, index: number) => Effect.exit(task(item, index))
        // A race would end with the first, so there all of them fail.
        yield* observe(verb.run(lasts, verb.name === "runAny" ? task : kept, { maxAtOnce: 2 }))
        expect(spy.starts).toEqual([0, 0, 20, 50, 60].map(ms))
        expect(spy.peak).toBe(2)
      })
    )

    it.effect("counts a task until its finalizers have run", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch(() =>
          Effect.andThen(Effect.sleep(10), Effect.fail("tolerated")).pipe(Effect.ensuring(Effect.sleep(90)))
        )
        const kept = (item: number, index: number) => Effect.exit(task(item, index))
        yield* observe(verb.run(range(3), verb.name === "runAny" ? task : kept, { maxAtOnce: 1 }))
        expect(spy.starts).toEqual([0, 100, 200].map(ms))
      })
    )

    it.effect("interrupts the children that a task forked when it ends, and counts it until they have ended", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const child = new Spy(yield* Effect.clockWith(Effect.succeed))
        const children = child.watch(() => Effect.ensuring(Effect.never, Effect.sleep(60)))
        const task = spy.watch((item: number, index) =>
          Effect.gen(function* () {
            yield* Effect.forkChild(children(item, index))
            yield* Effect.sleep(40)
            return yield* verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void
          })
        )
        const observed = yield* observe(verb.run(range(3), task, { maxAtOnce: 1 }))
        expect(spy.starts).toEqual([0, 100, 200].map(ms))
        expect(child.interrupted).toEqual([0, 1, 2])
        expect(child.peak).toBe(1)
        expect(child.running).toBe(0)
        expect(observed.end).toBe(ms(300))
        expect(observed.fibers).toBe(0)
      })
    )

    it.effect("does so for a task that ends in the very step in which it forked them", () =>
      Effect.gen(function* () {
        let alive = 0
        let most = 0
        const child = Effect.suspend(() => {
          most = Math.max(most, ++alive)
          return Effect.onExit(Effect.never, () => Effect.sync(() => alive--))
        })
        const task = () =>
          Effect.andThen(
            Effect.forkChild(child, { startImmediately: true }),
            verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void
          )
        const { end, fibers } = yield* observe(verb.run(range(20), task, { maxAtOnce: 2 }))
        expect(most).toBeGreaterThanOrEqual(1)
        expect(most).toBeLessThanOrEqual(2)
        expect(alive).toBe(0)
        expect(fibers).toBe(0)
        expect(end).toBe(0n)
      })
    )

    it.effect("keeps to it among several calls that share a meter", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
        const call = verb.run(range(6), spy.lasting(10), { meter })
        yield* observe(Effect.all([call, call, call], { concurrency: 3 }))
        expect(spy.peak).toBe(3)
        expect(spy.running).toBe(0)
      })
    )

    it.effect("keeps to the least of its own limit and its meters'", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const meter = [Meter.makeUnsafe({ maxAtOnce: 4 }), Meter.makeUnsafe({ maxAtOnce: 3 })]
        yield* observe(verb.run(range(9), spy.lasting(10), { maxAtOnce: 5, meter }))
        expect(spy.peak).toBe(3)
      })
    )

    it.effect("starts all of them at once where nothing limits, Infinity included", () =>
      Effect.gen(function* () {
        for (const options of [undefined, {}, { maxAtOnce: Number.POSITIVE_INFINITY }]) {
          const spy = yield* Spy.make
          yield* observe(verb.run(range(50), spy.lasting(10), options))
          expect(spy.peak).toBe(50)
        }
      })
    )
  })

  it.effect("each task is a fiber of its own, whether it waits or not", () =>
    Effect.gen(function* () {
      const id = Effect.withFiber((fiber) => Effect.succeed(fiber.id))
      const own = yield* id
      for (const maxAtOnce of [1, 3, Number.POSITIVE_INFINITY]) {
        const ids = yield* runAll(range(10), () => id, { maxAtOnce })
        expect(new Set([own, ...ids]).size).toBe(11)
      }
    })
  )

  it.effect("what a task changes in its own fiber no other task sees, and neither does the caller", () =>
    Effect.gen(function* () {
      const paint = Effect.withFiber((fiber) =>
        Effect.sync(() => {
          const seen = fiber.getRef(Colour)
          fiber.setContext(Context.add(fiber.context, Colour, "red"))
          return seen
        })
      )
      expect(yield* runAll(range(5), () => paint, { maxAtOnce: 2 })).toEqual(range(5).map(() => "white"))
      expect(yield* Colour).toBe("white")
    })
  )

  it.effect("a task sees the services of its caller", () =>
    Effect.gen(function* () {
      const colours = runAll(range(3), () => Effect.service(Colour), { maxAtOnce: 2 })
      expect(yield* Effect.provideService(colours, Colour, "blue")).toEqual(["blue", "blue", "blue"])
    })
  )

  it.effect("tasks that a task starts under their own limit do not use its permit", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const nested = runOnEach(range(2), () => runOnEach(range(4), spy.lasting(10), { maxAtOnce: 2 }), { maxAtOnce: 2 })
      const observed = yield* observe(nested)
      expect(observed.exit).toEqual(Exit.void)
      expect(spy.peak).toBe(4)
      expect(observed.end).toBe(ms(20))
    })
  )

  it.effect("metered effects and calls on the same meter share its permits", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      const metered = range(4).map((index) => Meter.metered(spy.effect(index, Effect.sleep(10)), meter))
      yield* observe(
        Effect.all([...metered, runOnEach(range(4), spy.lasting(10), { meter })], { concurrency: "unbounded" })
      )
      expect(spy.starts.length).toBe(8)
      expect(spy.peak).toBe(2)
    })
  )
})
