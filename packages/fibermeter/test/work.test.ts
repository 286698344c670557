/**
 * The work per task, counted and not timed: it is the same for a hundred tasks and for ten thousand, and for one waiter and
 * ten thousand.
 *
 * Each table has the most that a task may need of what a program pays for: timers, readings of the clock, steps, fibers,
 * promises, async contexts. The same bound for several numbers, with a small constant, means that it does not grow. How
 * often the code itself runs is counted without bounds: it may only grow in proportion.
 */
import { describe, expect, it, vi } from "@effect/vitest"
import { Effect, Fiber, Schedule, Semaphore } from "effect"
import { Meter, runAll, runAny, runOnEach } from "../src/index.ts"
import { range } from "./support/Spy.ts"
import { expectAllSeen } from "./support/Tally.ts"
import { type TestOptions, verbs } from "./support/verbs.ts"
import { expectForEach, see, type Work } from "./support/work.ts"
import type { WorldOptions } from "./support/World.ts"

// To count ten thousand of anything one by one takes time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const sizes = [100, 1000, 10_000]
/** For scenarios that differ little from one that is counted for ten thousand. */
const fewer = [100, 1000]

describe("the work for a task does not grow with the number of tasks", () => {
  interface Limit {
    readonly name: string
    readonly counts: ReadonlyArray<number>
    readonly make: () => TestOptions
    /** The work of a task that ends at once, and of one that ends after a step. */
    readonly atOnce: Partial<Work>
    readonly afterAStep: Partial<Work>
    /** How many limits need a timer. */
    readonly timed: number
  }
  const paced = { timers: 1, steps: 1, fibers: 1, reads: 4 }
  const pacedAfterAStep = { ...paced, steps: 2, fibers: 2, reads: 5 }
  const limits: ReadonlyArray<Limit> = [
    {
      name: "no limit",
      counts: sizes,
      make: () => ({}),
      atOnce: {},
      afterAStep: { steps: 1, fibers: 1 },
      timed: 0
    },
    {
      name: "maxAtOnce",
      counts: sizes,
      make: () => ({ maxAtOnce: 10 }),
      atOnce: {},
      afterAStep: { steps: 1, fibers: 1 },
      timed: 0
    },
    {
      name: "a shared meter",
      counts: sizes,
      make: () => ({ meter: Meter.makeUnsafe({ maxAtOnce: 10 }) }),
      atOnce: {},
      afterAStep: { steps: 1, fibers: 1 },
      timed: 0
    },
    {
      name: "two meters",
      counts: fewer,
      make: () => ({ meter: [Meter.makeUnsafe({ maxAtOnce: 10 }), Meter.makeUnsafe({ maxAtOnce: 100 })] }),
      atOnce: {},
      // The first of a set in front of a closed meter reads the clock once: room is kept in proportion to its wait.
      afterAStep: { steps: 1, fibers: 1, reads: 1 },
      timed: 0
    },
    {
      name: "a meter per item",
      counts: sizes,
      make: () => {
        const hosts = Meter.keyedUnsafe<number>({ maxAtOnce: 2 })
        return { meter: (_, index) => hosts.for(index % 100) }
      },
      // Each item asks for the meter of its key, which has a look at the clock to find keys that are not in use any more.
      atOnce: { reads: 3 },
      afterAStep: { steps: 1, fibers: 1, reads: 3 },
      timed: 0
    },
    {
      name: "a meter from a semaphore",
      counts: fewer,
      make: () => ({ meter: Meter.fromSemaphore(Semaphore.makeUnsafe(10)) }),
      atOnce: { fibers: 1 },
      afterAStep: { steps: 2, fibers: 2 },
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
      // One timer admits a whole window.
      atOnce: { timers: 0.1, steps: 0.1, fibers: 0.1, reads: 2.2 },
      afterAStep: { timers: 0.1, steps: 1.1, fibers: 1.1, reads: 3.2 },
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
      atOnce: { timers: 2, steps: 2, fibers: 2, reads: 16 },
      afterAStep: { timers: 2, steps: 3, fibers: 3, reads: 17 },
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
          // The last task of `runAny` succeeds.
          const task = (_: unknown, index: number): Effect.Effect<number, string> => {
            calls++
            const end = verb.name === "runAny" && index < count - 1 ? Effect.fail("no") : Effect.succeed(index)
            return before === undefined ? end : Effect.andThen(before, end)
          }
          const { work, world } = await see(() => verb.run(range(count), task, make()))
          expect(calls).toBe(count)
          expectForEach(count, work, forEach)
          expect(world.mostTimers, "timers set at a time").toBeLessThanOrEqual(timed)
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
      expectForEach(count, work, {})
    }
  })
})

describe("the work for a waiter does not grow with the number of waiters", () => {
  interface Queue {
    readonly name: string
    readonly counts: ReadonlyArray<number>
    readonly make: () => Meter.Meter<unknown>
    /** The work of a waiter that is admitted and ends after a step. */
    readonly passing: Partial<Work>
    /** The work of a waiter that is interrupted. */
    readonly leaving: Partial<Work>
    /** How many limits need a timer. */
    readonly timed: number
  }
  const passing = { steps: 1, fibers: 1 }
  const paced = { timers: 1, steps: 2, fibers: 2, reads: 4 }
  const leaving = {}
  const queues: ReadonlyArray<Queue> = [
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
      // One timer admits a whole window.
      passing: { timers: 0.1, steps: 1.1, fibers: 1.1, reads: 3.1 },
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "from a semaphore",
      counts: fewer,
      make: () => Meter.fromSemaphore(Semaphore.makeUnsafe(3)),
      passing: { ...passing, steps: 2, fibers: 2 },
      leaving,
      timed: 0
    },
    {
      name: "from a schedule",
      counts: fewer,
      make: () => Meter.fromSchedule(Schedule.spaced(1)),
      passing: { ...paced, fibers: 3, reads: 3 },
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "of two, the wider one made last",
      counts: sizes,
      make: () => Meter.all(Meter.makeUnsafe({ maxAtOnce: 3 }), Meter.makeUnsafe({ maxAtOnce: 1_000_000 })),
      // The next waiter to be the first of the set reads the clock once.
      passing: { ...passing, reads: 1 },
      leaving: { reads: 1 },
      timed: 0
    },
    {
      name: "of two with a rate each",
      counts: fewer,
      make: () => Meter.all(Meter.makeUnsafe({ maxPerSecond: 900 }), Meter.makeUnsafe({ maxPerSecond: 1000 })),
      passing: { timers: 2, steps: 3, fibers: 3, reads: 12 },
      leaving: { reads: 2 },
      timed: 2
    }
  ]

  describe.each(queues)("on a meter $name", ({ counts, leaving, make, passing, timed }) => {
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
        expect(world.mostTimers, "timers set at a time").toBeLessThanOrEqual(timed)
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
            // The timer is cleared with the last waiter, not when all tasks have ended.
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
      expectForEach(count, work, { reads: 3 })
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
      expectForEach(count, work, { steps: 1, fibers: 1, reads: 1 })
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
    expect(work.timers).toBe(0)
    // Nothing needs to read a clock, either.
    expect(work.reads).toBe(0)
  })

  it("are not set for waiters that need not wait for a rate", async () => {
    const limits = {
      maxPerSecond: 1000,
      maxBurst: 1000,
      windows: { requests: { limit: 1000, per: "1 minute" } }
    } as const
    const { work } = await see(() => runOnEach(range(1000), () => Effect.yieldNow, limits))
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
          expect(world.timersLeft, "timers set").toBe(1)
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
            expect(world.timersLeft, "timers set").toBe(1)
          }
          fibers.at(-1)!.interruptUnsafe()
          expect(world.timersLeft, "timers left").toBe(0)
        })
      )
      expect(work.timers, `for ${count}`).toBe(1)
    }
  })

  const timings: ReadonlyArray<{ readonly when: string; readonly options: WorldOptions }> = [
    { when: "on time", options: {} },
    { when: "early", options: { fires: (due, now) => (due - now > 300_000n ? due - 300_000n : due) } },
    { when: "late", options: { fires: (due) => due + 3_000_000n } }
  ]
  it.each(timings)("are at most one for a meter when they fire $when", async ({ options }) => {
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
    expect(work.timers).toBeGreaterThan(100)
    expect(world.mostTimers).toBe(1)
  })

  it("are at most one for each of several meters, in any combination of them", async () => {
    const [one, two, three] = [900, 800, 700].map((maxPerSecond) => Meter.makeUnsafe({ maxPerSecond }))
    const combinations = [[one], [two], [three], [one, two], [three, one], [two, three], [one, two, three]]
    const meters = combinations.map((each) => each.filter((meter) => meter !== undefined))
    const { world } = await see(() =>
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
    expect(world.mostTimers).toBe(3)
  })

  it("are set once for a pause, and not for one without an end", async () => {
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
        expect(world.timersLeft, "timers set").toBe(1)
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
    expect(work.controllers).toBe(0)
  })
})

it("every kind of work is counted", async () => {
  const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 1000 })
  const { work } = await see(() => runOnEach(range(100), () => Effect.promise(async (signal) => signal), { meter }))
  expectAllSeen(work)
})
