/**
 * The shape of the work, counted and not timed: what is done for one task is the same whether there are a hundred or ten
 * thousand of them, and whether one waits or ten thousand do.
 *
 * Each table says how much of each kind of work a task may make. To say so for several sizes, with next to nothing on
 * top, is to say that it does not grow; and a change that has more done for each task has to say so here.
 */
import { describe, expect, it, vi } from "@effect/vitest"
import { Effect, Fiber, Schedule, Semaphore } from "effect"
import { Meter, runAll, runAny, runOnEach } from "../src/index.ts"
import { range } from "./support/Spy.ts"
import { expectAllSeen } from "./support/Tally.ts"
import { type TestOptions, verbs } from "./support/verbs.ts"
import { expectForEach, see, type Work } from "./support/work.ts"
import type { WorldOptions } from "./support/World.ts"

// Ten thousand of anything, counted one by one, take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const sizes = [100, 1000, 10_000]
/** For what differs little from what is counted for ten thousand. */
const fewer = [100, 1000]

describe("the work for a task does not grow with the number of tasks", () => {
  interface Limit {
    readonly name: string
    readonly counts: ReadonlyArray<number>
    readonly make: () => TestOptions
    /** What a task makes that ends at once, and one that ends after a step of its own. */
    readonly atOnce: Partial<Work>
    readonly afterAStep: Partial<Work>
    /** The limits that go by the time. */
    readonly timed: number
  }
  const gated = { asks: 1, looks: 3, rounds: 4, places: 12.2 }
  const paced = { asks: 1, timers: 1, steps: 1, fibers: 1, looks: 3, reads: 4, rounds: 4, places: 7 }
  const pacedAfterAStep = { ...paced, steps: 2, fibers: 2, looks: 4, reads: 5, rounds: 5, places: 12 }
  const limits: ReadonlyArray<Limit> = [
    {
      name: "no limit",
      counts: sizes,
      make: () => ({}),
      atOnce: { rounds: 1 },
      afterAStep: { steps: 1, fibers: 1, rounds: 1, places: 7 },
      timed: 0
    },
    {
      name: "maxAtOnce",
      counts: sizes,
      make: () => ({ maxAtOnce: 10 }),
      atOnce: { rounds: 1.2 },
      afterAStep: { steps: 1, fibers: 1, rounds: 1, places: 5.2 },
      timed: 0
    },
    {
      name: "a shared meter",
      counts: sizes,
      make: () => ({ meter: Meter.makeUnsafe({ maxAtOnce: 10 }) }),
      atOnce: { asks: 1, looks: 1, rounds: 1.2 },
      afterAStep: { ...gated, steps: 1, fibers: 1 },
      timed: 0
    },
    {
      name: "two meters",
      counts: fewer,
      make: () => ({ meter: [Meter.makeUnsafe({ maxAtOnce: 10 }), Meter.makeUnsafe({ maxAtOnce: 100 })] }),
      atOnce: { asks: 1, looks: 2, rounds: 1.2 },
      // The first of a set in front of a closed meter reads the clock once: room is kept in proportion to its wait.
      afterAStep: { ...gated, steps: 1, fibers: 1, looks: 5, rounds: 5, places: 13.2, reads: 1 },
      timed: 0
    },
    {
      name: "a meter from a semaphore",
      counts: fewer,
      make: () => ({ meter: Meter.fromSemaphore(Semaphore.makeUnsafe(10)) }),
      atOnce: { asks: 1, looks: 1, rounds: 1.2, fibers: 1 },
      afterAStep: { asks: 1, looks: 2.2, rounds: 2.3, places: 6.6, steps: 2, fibers: 2 },
      timed: 0
    },
    {
      name: "maxPerSecond",
      counts: fewer,
      make: () => ({ maxPerSecond: 1000 }),
      atOnce: paced,
      afterAStep: pacedAfterAStep,
      timed: 1
    },
    {
      name: "a window",
      counts: fewer,
      make: () => ({ windows: { requests: { limit: 10, per: "1 second" } } }),
      // A timer lets a whole window through.
      atOnce: { asks: 1, timers: 0.1, steps: 0.1, fibers: 0.1, looks: 1.2, reads: 2.2, rounds: 1.3, places: 0.7 },
      afterAStep: { asks: 1, timers: 0.1, steps: 1.1, fibers: 1.1, looks: 2.2, reads: 3.2, rounds: 2.3, places: 6.6 },
      timed: 1
    },
    {
      name: "a meter from a schedule",
      counts: fewer,
      make: () => ({ meter: Meter.fromSchedule(Schedule.spaced(1)) }),
      // Each step of a schedule is a fiber.
      atOnce: { ...paced, fibers: 2 },
      afterAStep: { ...pacedAfterAStep, fibers: 3 },
      timed: 1
    },
    {
      name: "maxPerSecond and a slower meter",
      counts: fewer,
      make: () => ({ maxPerSecond: 1000, meter: Meter.makeUnsafe({ maxPerSecond: 900 }) }),
      // One wait after the other.
      atOnce: { asks: 1, timers: 2, steps: 2, fibers: 2, looks: 8, reads: 16, rounds: 8, places: 16 },
      afterAStep: { asks: 1, timers: 2, steps: 3, fibers: 3, looks: 9, reads: 17, rounds: 9, places: 20.9 },
      timed: 2
    }
  ]

  describe.each(limits)("under $name", ({ afterAStep, atOnce, counts, make, timed }) => {
    const tasks = [
      { ends: "at once", before: undefined, forEach: atOnce },
      { ends: "after a step", before: Effect.yieldNow, forEach: afterAStep }
    ]
    describe.each(tasks)("of tasks that end $ends", ({ before, forEach }) => {
      it.each(verbs)("$name", async (verb) => {
        for (const count of counts) {
          let calls = 0
          // Of those of `runAny`, the last is the one to succeed.
          const task = (_: unknown, index: number): Effect.Effect<number, string> => {
            calls++
            const end = verb.name === "runAny" && index < count - 1 ? Effect.fail("no") : Effect.succeed(index)
            return before === undefined ? end : Effect.andThen(before, end)
          }
          const { work, world } = await see(() => verb.run(range(count), task, make()))
          expect(calls).toBe(count)
          expectForEach(count, work, forEach)
          expect(world.mostTimers, "timers armed at a time").toBeLessThanOrEqual(timed)
        }
      })
    })
  })

  it("a call that its first task decides does no work for the others", async () => {
    const none = { elements: 0 }
    for (const count of sizes) {
      const items = range(count)
      const first = await see(() => runAny(items, Effect.succeed, { maxAtOnce: 10 }))
      expectForEach(count, first.work, none)
      const failed = await see(() => Effect.flip(runAll(items, Effect.fail, { maxAtOnce: 10 })))
      expectForEach(count, failed.work, none)
    }
  })

  it.each(["the call is interrupted", "one of them fails"])("running tasks that are cancelled, as %s", async (why) => {
    for (const count of sizes) {
      let interrupted = 0
      const { work } = await see((tally) =>
        Effect.gen(function* () {
          let fail = (): void => {}
          const failing = Effect.callback<never, string>((resume) => {
            fail = () => resume(Effect.fail("no"))
          })
          const running = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
          const call = yield* Effect.forkChild(
            runOnEach(range(count + 1), (index) => (index === count ? failing : running))
          )
          yield* Effect.yieldNow
          tally.begin()
          if (why === "one of them fails") fail()
          else call.interruptUnsafe()
          yield* Fiber.await(call)
        })
      )
      expect(interrupted).toBeGreaterThanOrEqual(count)
      expectForEach(count, work, { places: 7 })
    }
  })
})

describe("the work for a waiter does not grow with the number of waiters", () => {
  interface Queue {
    readonly name: string
    readonly counts: ReadonlyArray<number>
    readonly make: () => Meter.Meter<unknown>
    /** What one makes that waits, passes, and ends after a step. */
    readonly passing: Partial<Work>
    /** What one makes that gives up. */
    readonly leaving: Partial<Work>
    /** The limits that go by the time. */
    readonly timed: number
  }
  const passing = { asks: 1, steps: 1, fibers: 1, looks: 2, rounds: 1, places: 10.8 }
  const paced = { asks: 1, timers: 1, steps: 2, fibers: 2, looks: 3, reads: 4, rounds: 2, places: 12 }
  const leaving = { looks: 1, rounds: 1, places: 7 }
  const lines: ReadonlyArray<Queue> = [
    { name: "at once", counts: sizes, make: () => Meter.makeUnsafe({ maxAtOnce: 3 }), passing, leaving, timed: 0 },
    {
      name: "a second",
      counts: sizes,
      make: () => Meter.makeUnsafe({ maxPerSecond: 1000 }),
      passing: paced,
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "at once and a second",
      counts: fewer,
      make: () => Meter.makeUnsafe({ maxAtOnce: 3, maxPerSecond: 1000 }),
      passing: paced,
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "in a window",
      counts: fewer,
      make: () => Meter.makeUnsafe({ windows: { requests: { limit: 10, per: "1 second" } } }),
      // A timer lets a whole window through.
      passing: { asks: 1, timers: 0.1, steps: 1.1, fibers: 1.1, looks: 2.1, reads: 3.1, rounds: 1.1, places: 9 },
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "from a semaphore",
      counts: fewer,
      make: () => Meter.fromSemaphore(Semaphore.makeUnsafe(3)),
      passing: { ...passing, steps: 2, fibers: 2, looks: 2.4, rounds: 2 },
      leaving,
      timed: 0
    },
    {
      name: "from a schedule",
      counts: fewer,
      make: () => Meter.fromSchedule(Schedule.spaced(1)),
      passing: { ...paced, fibers: 3, reads: 3, rounds: 3 },
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "of two, the wider one inside of the narrower",
      counts: sizes,
      make: () => Meter.all(Meter.makeUnsafe({ maxAtOnce: 3 }), Meter.makeUnsafe({ maxAtOnce: 1_000_000 })),
      // The next waiter to be the first of the set reads the clock once.
      passing: { ...passing, looks: 6, rounds: 6, places: 16.9, reads: 1 },
      leaving: { looks: 4, rounds: 3, places: 12.8, reads: 1 },
      timed: 0
    },
    {
      name: "of two with a pace each",
      counts: fewer,
      make: () => Meter.all(Meter.makeUnsafe({ maxPerSecond: 900 }), Meter.makeUnsafe({ maxPerSecond: 1000 })),
      passing: { asks: 1, timers: 2, steps: 3, fibers: 3, looks: 8, reads: 12, rounds: 8, places: 18 },
      leaving: { looks: 4, rounds: 3, places: 7, reads: 2 },
      timed: 2
    }
  ]

  describe.each(lines)("on a meter $name", ({ counts, leaving, make, passing, timed }) => {
    it("when all pass, one after the other", async () => {
      for (const count of counts) {
        const meter = make()
        let passed = 0
        const task = Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => passed++)
        )
        const { work, world } = await see(() =>
          Effect.forEach(range(count), () => Meter.metered(task, meter), { concurrency: "unbounded", discard: true })
        )
        expect(passed).toBe(count)
        expectForEach(count, work, passing)
        expect(world.mostTimers, "timers armed at a time").toBeLessThanOrEqual(timed)
      }
    })

    const orders = [
      {
        from: "the middle",
        sizes: counts,
        nth: (n: number, count: number) => (Math.floor(count / 2) + n * 7919) % count
      },
      { from: "the front", sizes: fewer, nth: (n: number) => n },
      { from: "the back", sizes: fewer, nth: (n: number, count: number) => count - 1 - n }
    ]
    it.each(orders)("when they are interrupted, from $from", async ({ nth, sizes }) => {
      for (const count of sizes) {
        const meter = make()
        let waiting: number | undefined
        const { work } = await see((tally, world) =>
          Effect.gen(function* () {
            const fibers: Array<Fiber.Fiber<void, unknown>> = []
            for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(Meter.metered(Effect.never, meter)))
            yield* Effect.yieldNow
            const before = yield* Meter.snapshot(meter)
            expect(before.waiting).toBe(count - before.running)
            tally.begin()
            for (let n = 0; n < count; n++) {
              const i = nth(n, count)
              if (i >= before.running) fibers[i]!.interruptUnsafe()
            }
            waiting = (yield* Meter.snapshot(meter)).waiting
            // The timer goes with the last who has waited for it, not when all is over.
            expect(world.timersLeft, "timers left").toBe(0)
            for (const fiber of fibers) fiber.interruptUnsafe()
          })
        )
        expect(waiting).toBe(0)
        expectForEach(count, work, leaving)
      }
    })
  })

  it.each([
    { name: "one meter", make: () => [] },
    { name: "two meters", make: () => [Meter.makeUnsafe({ maxAtOnce: 2 })] }
  ])("when a limit of $name is changed once for each waiter", async ({ make }) => {
    for (const count of sizes) {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, windows: { requests: { limit: 100_000, per: "1 hour" } } })
      const both = Meter.all(meter, ...make())
      const { work } = await see((tally) =>
        Effect.gen(function* () {
          const fibers: Array<Fiber.Fiber<void, unknown>> = []
          for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(Meter.metered(Effect.never, both)))
          yield* Effect.yieldNow
          tally.begin()
          for (let i = 0; i < count; i++) {
            yield* Meter.resize(meter, { maxAtOnce: 1, windows: { requests: { limit: 100_000 + i, per: "1 hour" } } })
          }
          expect((yield* Meter.snapshot(meter)).waiting).toBe(count - 1)
          for (const fiber of fibers.toReversed()) fiber.interruptUnsafe()
        })
      )
      expectForEach(count, work, { looks: 3, rounds: 3, reads: 3, places: 20 })
    }
  })

  it("that waits for a meter to be idle and is interrupted", async () => {
    for (const count of sizes) {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const { work } = await see((tally) =>
        Effect.gen(function* () {
          const busy = yield* Effect.forkChild(Meter.metered(Effect.never, meter))
          const fibers: Array<Fiber.Fiber<void>> = []
          for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(Meter.idle(meter)))
          yield* Effect.yieldNow
          tally.begin()
          for (const fiber of fibers) fiber.interruptUnsafe()
          yield* Fiber.awaitAll(fibers)
          busy.interruptUnsafe()
        })
      )
      expectForEach(count, work, {})
    }
  })

  it("in the tasks of a call under another meter, on two meters, the wider one open", async () => {
    for (const count of sizes) {
      const outer = Meter.makeUnsafe({ maxAtOnce: count })
      const inner = Meter.all(Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({ maxAtOnce: count }))
      let passed = 0
      const task = Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => passed++)
      )
      const { work } = await see(() => runOnEach(range(count), () => Meter.metered(task, inner), { meter: outer }))
      expect(passed).toBe(count)
      expectForEach(count, work, { steps: 1, fibers: 1, asks: 2, looks: 7, rounds: 8, places: 23.6, reads: 1 })
    }
  })
})

describe("timers", () => {
  const second = 1000
  const ever = Effect.never

  it("are not set without a rate", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
    const { work } = await see(() =>
      Effect.forEach(range(1000), () => runOnEach(range(3), () => Effect.yieldNow, { meter, maxAtOnce: 1 }), {
        concurrency: "unbounded"
      })
    )
    expect(work.asks).toBe(3000)
    expect(work.timers).toBe(0)
    // There is nothing to look at a clock for, either.
    expect(work.reads).toBe(0)
  })

  it("are not set for waiters that need not wait for a rate", async () => {
    const limits = {
      maxPerSecond: 1000,
      maxBurst: 1000,
      windows: { requests: { limit: 1000, per: "1 minute" } }
    } as const
    const { work } = await see(() => runOnEach(range(1000), () => Effect.yieldNow, limits))
    expect(work.asks).toBe(1000)
    expect(work.timers).toBe(0)
  })

  it("are set by the first waiter, not by later ones", async () => {
    for (const count of sizes) {
      const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
      const { work } = await see((tally, world) =>
        Effect.gen(function* () {
          yield* Effect.forkChild(Meter.metered(ever, meter))
          yield* Effect.yieldNow
          tally.begin()
          for (let i = 0; i < count; i++) {
            yield* Effect.forkChild(Meter.metered(ever, meter))
            yield* Effect.yieldNow
          }
          expect(world.timersLeft, "timers armed").toBe(1)
        })
      )
      expect(work.timers, `for ${count}`).toBe(1)
    }
  })

  it("are set once for a whole queue whose first waiters are interrupted", async () => {
    for (const count of sizes) {
      const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
      const { work } = await see((_, world) =>
        Effect.gen(function* () {
          const fibers: Array<Fiber.Fiber<void>> = []
          for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(Meter.metered(ever, meter)))
          yield* Effect.yieldNow
          for (const fiber of fibers.slice(1, -1)) {
            fiber.interruptUnsafe()
            expect(world.timersLeft, "timers armed").toBe(1)
          }
          fibers.at(-1)!.interruptUnsafe()
          expect(world.timersLeft, "timers left").toBe(0)
        })
      )
      expect(work.timers, `for ${count}`).toBe(1)
    }
  })

  const moods: ReadonlyArray<{ readonly when: string; readonly options: WorldOptions }> = [
    { when: "on time", options: {} },
    { when: "early", options: { fires: (due, now) => (due - now > 300_000n ? due - 300_000n : due) } },
    { when: "late", options: { fires: (due) => due + 3_000_000n } }
  ]
  it.each(moods)("are one at a time for a meter at most, when they fire $when", async ({ options }) => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 50, maxPerSecond: 200, maxBurst: 3 })
    const { work, world } = await see(
      () =>
        Effect.all(
          [
            Effect.forEach(range(300), () => Meter.metered(Effect.yieldNow, meter), { concurrency: "unbounded" }),
            ...range(10).map(() => runOnEach(range(20), () => Effect.yieldNow, { meter }))
          ],
          { concurrency: "unbounded" }
        ),
      options
    )
    expect(work.asks).toBe(500)
    expect(work.timers).toBeGreaterThan(100)
    expect(world.mostTimers).toBe(1)
  })

  it("are one at a time for each of several meters at most, in whatever company they are used", async () => {
    const [one, two, three] = [900, 800, 700].map((maxPerSecond) => Meter.makeUnsafe({ maxPerSecond }))
    const companies = [[one], [two], [three], [one, two], [three, one], [two, three], [one, two, three]]
    const meters = companies.map((each) => each.filter((meter) => meter !== undefined))
    const { work, world } = await see(() =>
      Effect.forEach(
        meters.flatMap((meter) => range(50).map(() => meter)),
        (meter) =>
          Effect.all(
            [
              Meter.metered(Effect.yieldNow, Meter.all(...meter)),
              runOnEach(range(2), () => Effect.yieldNow, { meter })
            ],
            {
              concurrency: "unbounded"
            }
          ),
        { concurrency: "unbounded" }
      )
    )
    expect(work.asks).toBe(3 * 50 * companies.length)
    expect(world.mostTimers).toBe(3)
  })

  it("are armed for a pause once, and not at all for one without an end", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 1000 })
    let passed = 0
    const { work, world } = await see((_, world) =>
      Effect.gen(function* () {
        yield* Meter.pause(meter)
        const waiting = yield* Effect.forkChild(
          Effect.forEach(
            range(500),
            () =>
              Meter.metered(
                Effect.sync(() => passed++),
                meter
              ),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.yieldNow
        expect(world.timersLeft, "timers, for ever").toBe(0)
        yield* Meter.resume(meter)
        yield* Fiber.join(waiting)
        yield* Meter.pause(meter, second)
        yield* Effect.forEach(
          range(500),
          () =>
            Meter.metered(
              Effect.sync(() => passed++),
              meter
            ),
          { concurrency: "unbounded" }
        )
      })
    )
    expect(passed).toBe(1000)
    expect(work.timers).toBe(1)
    expect(world.mostTimers).toBe(1)
  })

  it("are cleared when the rate is removed", async () => {
    const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
    const { work } = await see((_, world) =>
      Effect.gen(function* () {
        const call = yield* Effect.forkChild(runOnEach(range(100), () => Effect.yieldNow, { meter }))
        yield* Effect.yieldNow
        expect(world.timersLeft, "timers armed").toBe(1)
        yield* Meter.resize(meter, { maxPerSecond: Infinity })
        expect(world.timersLeft, "timers left").toBe(0)
        yield* Fiber.join(call)
      })
    )
    expect(work.timers).toBe(1)
  })
})

describe("async contexts", () => {
  const sizes = [100, 1000, 5000]
  const task = Effect.andThen(Effect.yieldNow, Effect.succeed(1))

  it.each(verbs)("$name captures one for a call on a shared meter, and none without one", async ({ run }) => {
    for (const count of sizes) {
      const meter = Meter.makeUnsafe({ maxAtOnce: 10 })
      const shared = await see(() => run(range(count), () => task, { meter }))
      expect(shared.work.captures, `with a meter, for ${count}`).toBe(1)
      const own = await see(() => run(range(count), () => task, { maxAtOnce: 10 }))
      expect(own.work.captures, `without, for ${count}`).toBe(0)
    }
  })

  it("no context is captured for waiting fibers: they keep their own", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
    const { work } = await see(() =>
      Effect.forEach(range(1000), () => Meter.metered(task, meter), { concurrency: "unbounded" })
    )
    expect(work.asks).toBe(1000)
    expect(work.captures).toBe(0)
  })
})

describe("abort controllers", () => {
  const meter = Meter.makeUnsafe({ maxAtOnce: 3 })

  it.each(verbs)("$name makes none; what a task makes is its own", async ({ run }) => {
    const without = await see(() => run(range(100), () => Effect.promise(async () => 1), { meter, maxAtOnce: 10 }))
    expect(without.work.controllers).toBe(0)
    let calls = 0
    const listening = Effect.promise(async (signal) => {
      calls++
      return signal.aborted
    })
    const within = await see(() => run(range(100), () => listening, { meter, maxAtOnce: 10 }))
    expect(within.work.controllers).toBe(calls)
    expect(calls).toBeGreaterThan(0)
  })

  it("none is made for a task that waits, starts or is interrupted", async () => {
    const { work } = await see(() =>
      Effect.gen(function* () {
        const fibers: Array<Fiber.Fiber<void>> = []
        for (let i = 0; i < 100; i++) fibers.push(yield* Effect.forkChild(Meter.metered(Effect.sleep(1), meter)))
        yield* Effect.yieldNow
        for (const fiber of fibers.slice(50)) fiber.interruptUnsafe()
        yield* Fiber.awaitAll(fibers)
      })
    )
    expect(work.asks).toBe(100)
    expect(work.controllers).toBe(0)
  })
})

it("all that is counted here is seen where it happens", async () => {
  const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 1000 })
  const { work } = await see(() => runOnEach(range(100), () => Effect.promise(async (signal) => signal), { meter }))
  expectAllSeen(work)
})
