/** G6: at most `maxUnread` tasks of `amap` are started and not yet read, and what waits to be read holds no permit. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Stream } from "effect"
import fc from "fast-check"
import { amap, type AmapOptions, Meter, runOnEach } from "../../src/index.ts"
import { observe, watch } from "../support/observe.ts"
import { Source } from "../support/Source.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { World } from "../support/World.ts"

const endless = Number.POSITIVE_INFINITY

/** How many tasks start while the reader processes the first result and never pulls again. */
const startedAhead = (options: AmapOptions, size = 500) =>
  Effect.gen(function* () {
    const spy = yield* Spy.make
    const stuck = amap(range(size), spy.lasting(1), options).pipe(Stream.runForEach(() => Effect.never))
    const run = yield* watch(stuck)
    yield* run.advance(10_000)
    const started = spy.started.length
    run.fiber.interruptUnsafe()
    yield* run.finish
    expect(spy.running).toBe(0)
    return started
  })

describe.each([false, true])("G6 back-pressure, ordered: %s", (ordered) => {
  it.effect("maxUnread tasks are started beyond the result in the reader's hands, and no more", () =>
    Effect.gen(function* () {
      for (const maxUnread of [1, 2, 3, 7]) {
        expect(yield* startedAhead({ ordered, maxUnread })).toBe(1 + maxUnread)
        expect(yield* startedAhead({ ordered, maxUnread, maxAtOnce: 2 })).toBe(1 + maxUnread)
      }
    })
  )

  it.effect("it caps what runs, however much may run at once", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      yield* observe(Stream.runDrain(amap(range(20), spy.lasting(10), { ordered, maxUnread: 3, maxAtOnce: 10 })))
      expect(spy.peak).toBe(3)
    })
  )

  it.effect("by default it is twice what may run at once, by options or by meters", () =>
    Effect.gen(function* () {
      const three = Meter.makeUnsafe({ maxAtOnce: 3 })
      const five = Meter.makeUnsafe({ maxAtOnce: 5 })
      expect(yield* startedAhead({ ordered, maxAtOnce: 4 })).toBe(1 + 8)
      expect(yield* startedAhead({ ordered, meter: three })).toBe(1 + 6)
      expect(yield* startedAhead({ ordered, meter: [five, three] })).toBe(1 + 6)
      expect(yield* startedAhead({ ordered, maxAtOnce: 2, meter: five })).toBe(1 + 4)
      expect(yield* startedAhead({ ordered, maxAtOnce: 7, meter: five })).toBe(1 + 10)
    })
  )

  it.effect("it is unlimited where nothing limits how many may run, and where it is Infinity", () =>
    Effect.gen(function* () {
      expect(yield* startedAhead({ ordered })).toBe(500)
      expect(yield* startedAhead({ ordered, maxUnread: endless, maxAtOnce: 2 })).toBe(500)
      expect(yield* startedAhead({ ordered, maxPerSecond: 1000 })).toBe(500)
    })
  )

  it("never more than maxUnread are started and not yet read, whatever reader and tasks do", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
        fc.array(fc.record({ lasts: fc.nat(30), reading: fc.nat(30) }), { minLength: 1, maxLength: 30 }),
        async (maxUnread, maxAtOnce, tasks) => {
          const world = new World()
          const spy = new Spy(world.clock)
          // What happens in one instant has no order that a reader could tell, so it is the end of an instant that counts.
          const unread = new Map<bigint, number>()
          let count = 0
          const changed = (by: number) => unread.set(world.now, (count += by))
          const task = spy.watch((item: (typeof tasks)[number], index) => {
            changed(1)
            return item.lasts === 0 ? Effect.succeed(index) : Effect.as(Effect.sleep(item.lasts), index)
          })
          const options = { ordered, maxUnread, ...(maxAtOnce === undefined ? {} : { maxAtOnce }) }
          const got: Array<number> = []
          await world.value(
            amap(tasks, task, options).pipe(
              Stream.runForEach((index) => {
                changed(-1)
                got.push(index)
                const { reading } = tasks[index] as (typeof tasks)[number]
                return reading === 0 ? Effect.void : Effect.sleep(reading)
              })
            )
          )
          expect(Math.max(...unread.values())).toBeLessThanOrEqual(maxUnread)
          expect(ordered ? got : got.toSorted((a, b) => a - b)).toEqual(range(tasks.length))
        }
      ),
      { numRuns: 100 }
    ))

  it.effect("a finished task that waits to be read holds no permit of a shared meter", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      const stuck = yield* watch(
        amap(range(10), () => Effect.sleep(10), { ordered, meter, maxUnread: 4 }).pipe(
          Stream.runForEach(() => Effect.never)
        )
      )
      yield* stuck.advance(100)
      const spy = yield* Spy.make
      const other = yield* observe(runOnEach(range(4), spy.lasting(100), { meter }))
      expect(other.exit).toEqual(Exit.void)
      expect(spy.starts).toEqual([0, 0, 100, 100].map(ms))
      stuck.fiber.interruptUnsafe()
      yield* stuck.finish
    })
  )

  it.effect("a task beyond maxUnread does not wait at the meter, so it spends no start", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
      const stuck = yield* watch(
        amap(range(10), () => Effect.void, { ordered, meter, maxUnread: 1 }).pipe(Stream.runForEach(() => Effect.never))
      )
      yield* stuck.advance(1000)
      const spy = yield* Spy.make
      yield* observe(runOnEach(range(3), spy.lasting(1), { meter }))
      expect(spy.starts).toEqual([0, 100, 200].map(ms))
      stuck.fiber.interruptUnsafe()
      yield* stuck.finish
    })
  )

  it.effect("a reader that is quick loses nothing by it", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const source = Source.indices(40)
      const { end } = yield* observe(Stream.runDrain(amap(source, spy.lasting(10), { ordered, maxAtOnce: 4 })))
      expect(end).toBe(ms(100))
    })
  )
})

describe("G6 back-pressure, ordered", () => {
  it.effect("a task that blocks the order counts as unread, together with all finished tasks after it", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const task = spy.watch((n: number) => Effect.as(Effect.sleep(n === 0 ? 1000 : 1), n))
      const run = yield* watch(Stream.runCollect(amap(range(20), task, { ordered: true, maxUnread: 5 })))
      yield* run.advance(900)
      expect(spy.started).toEqual([0, 1, 2, 3, 4])
      const { exit } = yield* run.finish
      expect(exit).toEqual(Exit.succeed(range(20)))
    })
  )
})
