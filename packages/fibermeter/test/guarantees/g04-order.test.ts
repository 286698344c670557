/** G4: tasks start in input order, and waiters on a shared meter are served first come, first served. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Semaphore } from "effect"
import fc from "fast-check"
import { Meter, runOnEach } from "../../src/index.ts"
import { observe, watch } from "../support/observe.ts"
import { StreamSource } from "../support/Source.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

const meters: ReadonlyArray<{ readonly name: string; readonly make: () => Meter.Meter<unknown> }> = [
  { name: "at once", make: () => Meter.makeUnsafe({ maxAtOnce: 1 }) },
  { name: "a second", make: () => Meter.makeUnsafe({ maxPerSecond: 10 }) },
  { name: "at once and a second", make: () => Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 10 }) },
  { name: "from a semaphore", make: () => Meter.fromSemaphore(Semaphore.makeUnsafe(1)) },
  { name: "from a schedule", make: () => Meter.fromSchedule(Schedule.spaced("100 millis")) }
]

describe("G4 order", () => {
  describe.each(verbs)("$name", (verb) => {
    it("starts tasks in input order, however long each of them takes", () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat(50), { minLength: 1, maxLength: 30 }),
          fc.integer({ min: 1, max: 8 }),
          async (lasts, maxAtOnce) => {
            const world = new World()
            const spy = new Spy(world.clock)
            const task = spy.watch((millis: number) => (millis === 0 ? Effect.void : Effect.sleep(millis)))
            await world.run(verb.run(lasts, task, { maxAtOnce }))
            expect(spy.started).toEqual(range(spy.started.length))
          }
        ),
        { numRuns: 40 }
      ))

    it.effect("passes each task its item and the item's index, also for a stream", () =>
      Effect.gen(function* () {
        for (const items of [["a", "b", "c"], new Set(["a", "b", "c"])]) {
          const seen: Array<[string, number]> = []
          const task = (item: string, index: number) =>
            Effect.andThen(
              Effect.sync(() => seen.push([item, index])),
              Effect.sleep(10)
            )
          yield* observe(verb.run(items, task, { maxPerSecond: 1000 }))
          expect(seen).toEqual([
            ["a", 0],
            ["b", 1],
            ["c", 2]
          ])
        }
        const source = StreamSource.indices(5, 2)
        const seen: Array<[number, number]> = []
        const task = (item: number, index: number) =>
          Effect.andThen(
            Effect.sync(() => seen.push([item, index])),
            Effect.sleep(10)
          )
        yield* observe(verb.run(source.stream, task, { maxPerSecond: 1000 }))
        expect(seen).toEqual(range(5).map((n) => [n, n]))
      })
    )

    it.effect("does not starve another call on the same meter, however many tasks it has itself", () =>
      Effect.gen(function* () {
        const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
        const order: Array<string> = []
        const task = (name: string) => (_: number, index: number) =>
          Effect.andThen(
            Effect.sync(() => order.push(`${name}${index}`)),
            Effect.sleep(10)
          ).pipe(Effect.andThen(verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void))
        const first = yield* watch(Effect.exit(verb.run(range(20), task("a"), { meter })))
        const second = yield* watch(Effect.exit(verb.run(range(5), task("b"), { meter })))
        yield* first.advance(300)
        yield* second.finish
        // From the second call's first turn on they alternate: each has one task waiting at a time.
        const from = order.indexOf("b0")
        expect(from).toBeLessThanOrEqual(2)
        expect(order.slice(from, from + 9).filter((name) => name.startsWith("b"))).toEqual([
          "b0",
          "b1",
          "b2",
          "b3",
          "b4"
        ])
      })
    )
  })

  describe.each(meters)("waiters on a meter $name", ({ make }) => {
    it.effect("are served in the order in which they came", () =>
      Effect.gen(function* () {
        const meter = make()
        const spy = yield* Spy.make
        yield* observe(
          Effect.forEach(
            range(20),
            (index) => Meter.metered(spy.effect(index, Effect.sleep(10 + (index % 3) * 50)), meter),
            {
              concurrency: "unbounded"
            }
          )
        )
        expect(spy.started).toEqual(range(20))
      })
    )

    it.effect("keep their order when some of them leave", () =>
      Effect.gen(function* () {
        const meter = make()
        const spy = yield* Spy.make
        const run = yield* watch(
          Effect.gen(function* () {
            const fibers: Array<Fiber.Fiber<void, unknown>> = []
            for (const index of range(12)) {
              fibers.push(yield* Effect.forkChild(Meter.metered(spy.effect(index, Effect.sleep(10)), meter)))
            }
            yield* Effect.sleep(5)
            yield* Fiber.interruptAll(fibers.filter((_, index) => index % 3 === 2))
            yield* Fiber.awaitAll(fibers)
          })
        )
        yield* run.finish
        expect(spy.started).toEqual(range(12).filter((index) => index % 3 !== 2))
      })
    )
  })

  it.effect("a waiter that arrives while another is admitted does not overtake the queue", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const order: Array<string> = []
      const noted = (name: string) => Effect.sync(() => order.push(name))
      const late = Meter.metered(noted("late"), meter)
      const run = yield* watch(
        Effect.gen(function* () {
          const first = yield* Effect.forkChild(
            Effect.gen(function* () {
              yield* Meter.metered(Effect.sleep(10), meter)
              // The permit has just been released: another waiter is ahead.
              yield* late
            })
          )
          const waiting = yield* Effect.forkChild(
            Meter.metered(Effect.andThen(noted("waiting"), Effect.sleep(10)), meter)
          )
          yield* Fiber.joinAll<Array<Fiber.Fiber<unknown>>>([first, waiting])
        })
      )
      yield* run.finish
      expect(order).toEqual(["waiting", "late"])
    })
  )

  it.effect("a waiter for two meters is not starved by waiters for one of them", () =>
    Effect.gen(function* () {
      const a = Meter.makeUnsafe({ maxAtOnce: 1 })
      const b = Meter.makeUnsafe({ maxAtOnce: 1 })
      const busy = (meter: Meter.Meter, millis: number) =>
        Effect.forever(Meter.metered(Effect.sleep(millis), meter), { disableYield: true })
      const crowd = yield* watch(
        Effect.all([busy(a, 10), busy(a, 10), busy(a, 10), busy(b, 7), busy(b, 7), busy(b, 7)], {
          concurrency: "unbounded"
        })
      )
      yield* crowd.advance(25)
      const spy = yield* Spy.make
      const both = yield* watch(runOnEach(range(3), spy.lasting(5), { meter: [a, b] }))
      yield* both.advance(1000)
      expect(spy.started).toEqual([0, 1, 2])
      crowd.fiber.interruptUnsafe()
      yield* crowd.finish
    })
  )

  it.effect("two calls that share a rate start tasks alternately", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
      const starts: Record<"a" | "b", Spy> = { a: yield* Spy.make, b: yield* Spy.make }
      const call = (spy: Spy) =>
        runOnEach(
          range(5),
          spy.watch(() => Effect.void),
          { meter }
        )
      yield* observe(Effect.all([call(starts.a), call(starts.b)], { concurrency: 2 }))
      expect([...starts.a.starts, ...starts.b.starts].toSorted((a, b) => Number(a - b))).toEqual(
        range(10).map((index) => ms(100 * index))
      )
      expect(starts.b.starts[0]).toBeLessThanOrEqual(ms(200))
    })
  )
})
