/** Several meters at once: what `Meter.all` promises, and that no order and no nesting of them can block. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Schedule, Semaphore } from "effect"
import fc from "fast-check"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { Log, names } from "../support/Log.ts"
import { busiest } from "../support/model.ts"
import { ms } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

/** An older meter and a younger one. */
const pair = (older: Meter.Limits, younger: Meter.Limits) =>
  [Meter.makeUnsafe(older), Meter.makeUnsafe(younger)] as const

const orders = [
  { order: "the older first", both: (a: Meter.Meter, b: Meter.Meter) => Meter.all(a, b) },
  { order: "the younger first", both: (a: Meter.Meter, b: Meter.Meter) => Meter.all(b, a) },
  {
    order: "nested, and twice over",
    both: (a: Meter.Meter, b: Meter.Meter) => Meter.all(b, Meter.all(a, Meter.all(b)), a)
  }
]

describe.each(orders)("all, $order", ({ both }) => {
  it("a task starts when all of them admit it, and counts in each", async () => {
    const log = new Log()
    const [a, b] = pair({ maxAtOnce: 2 }, { maxPerSecond: 10 })
    await log.play([0, runOnEach(names(5), (name) => log.task(name, 250), { meter: both(a, b) })])
    expect(log.starts).toEqual(["t0 0", "t1 100", "t2 250", "t3 350", "t4 500"])
    const started = await log.world.value(Effect.all([Meter.snapshot(a), Meter.snapshot(b)]))
    expect(started.map(({ running, started }) => ({ running, started }))).toEqual([
      { running: 0, started: 5 },
      { running: 0, started: 5 }
    ])
  })

  it("a waiter holds nothing: neither a permit nor a start of one meter while it waits for the other", async () => {
    const log = new Log()
    const [a, b] = pair({ maxAtOnce: 1, maxPerSecond: 10 }, { maxAtOnce: 1, maxPerSecond: 10 })
    for (const [busy, other] of [
      [a, b],
      [b, a]
    ] as const) {
      const began = log.now
      const isFree = Effect.map(Meter.snapshot(other), ({ free, running }) =>
        expect({ free, running }).toEqual({ free: 1, running: 0 })
      )
      await log.play(
        [0, Meter.metered(log.task("busy", 500), busy)],
        [10, Effect.timeoutOption(Meter.metered(log.task("never"), both(a, b)), 300)],
        [20, isFree],
        // If the interrupted one had spent a start or kept a permit, this one would have to wait.
        [315, Meter.metered(log.task("other"), other)]
      )
      expect(log.starts).toEqual([`busy ${began}`, `other ${began + 315}`])
      log.starts.length = 0
      await log.world.value(Effect.sleep(1000))
    }
  })

  it("a waiter at a slow narrow meter does not delay waiters at the wide one", async () => {
    const log = new Log()
    const [wide, narrow] = pair({ maxAtOnce: 10, maxPerSecond: 1000 }, { maxAtOnce: 1 })
    await log.play(
      [0, Meter.metered(log.task("slow", 1000), narrow)],
      [10, Meter.metered(log.task("both", 10), both(wide, narrow))],
      [20, runOnEach(names(4), (name) => log.task(name), { meter: wide })]
    )
    expect(log.starts).toEqual(["slow 0", "t0 20", "t1 21", "t2 22", "t3 23", "both 1000"])
  })

  it("one meter in it twice counts once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, windows: { r: { limit: 2, per: 100 } } })
    const twice = both(meter, meter)
    await log.play([0, runAll(names(3), (name) => log.task(name), { meter: [twice, meter, twice] })])
    expect(log.starts).toEqual(["t0 0", "t1 0", "t2 100"])
  })

  it("first come, first served at each of them; a meter that another waiter does not wait at is not kept from others", async () => {
    const log = new Log()
    const [a, b] = pair({ maxAtOnce: 1 }, { maxAtOnce: 1 })
    await log.play(
      [0, Meter.metered(log.task("first", 100), a)],
      [10, Meter.metered(log.task("both", 100), both(a, b))],
      [20, Meter.metered(log.task("b", 100), b)],
      [30, Meter.metered(log.task("a", 100), a)]
    )
    // At 100, `b` is taken: for 45 ms, half of what "both" has waited at `a`, `a` is kept for it.
    expect(log.starts).toEqual(["first 0", "b 20", "both 120", "a 220"])
  })

  it("a waiter that is interrupted does not delay later waiters, whichever meter it waits for", async () => {
    for (const [first, second] of [
      [60, 5],
      [5, 60]
    ] as const) {
      const log = new Log()
      const [a, b] = pair({ maxAtOnce: 1 }, { maxAtOnce: 1 })
      await log.play(
        [0, Meter.metered(log.task("in a", first), a)],
        [0, Meter.metered(log.task("in b", second), b)],
        [1, Effect.timeoutOption(Meter.metered(log.task("gone"), both(a, b)), 29)],
        [20, Meter.metered(log.task("last"), both(a, b))]
      )
      expect(log.starts).toEqual(["in a 0", "in b 0", "last 60"])
      log.expectRest()
    }
  })

  it("spends a cost at every meter that has the window", async () => {
    const log = new Log()
    const [a, b] = pair(
      { windows: { tokens: { limit: 10, per: 100 } } },
      { windows: { tokens: { limit: 6, per: 50 } } }
    )
    const body = Effect.gen(function* () {
      yield* Meter.correct({ tokens: 2 })
      return [(yield* Meter.snapshot(a)).room, (yield* Meter.snapshot(b)).room]
    })
    const rooms = await log.world.value(Meter.metered(body, both(a, b), { cost: { tokens: 6 } }))
    expect(rooms).toEqual([{ tokens: 8 }, { tokens: 4 }])
  })

  it("a meter that was open may have closed meanwhile: all are checked again in the step of the start", async () => {
    const log = new Log()
    const [a, b] = pair({ maxAtOnce: 1 }, { maxAtOnce: 5 })
    await log.play(
      [0, Meter.metered(log.task("busy", 100), a)],
      [0, Meter.metered(log.task("one", 300), b)],
      [10, Meter.metered(log.task("both"), both(a, b))],
      [20, Meter.resize(b, { maxAtOnce: 1 })]
    )
    expect(log.starts).toEqual(["busy 0", "one 0", "both 300"])
  })

  it("pause and resume reach all of them", async () => {
    const log = new Log()
    const [a, b] = pair({}, {})
    await log.play(
      [0, Meter.pause(both(a, b))],
      [1, Meter.metered(log.task("a"), a)],
      [1, Meter.metered(log.task("b"), b)],
      [50, Meter.resume(both(b, a))]
    )
    expect(log.starts.toSorted()).toEqual(["a 50", "b 50"])
  })

  it.each(verbs)("$name under it starts what it starts under the list", async (verb) => {
    const starts = async (list: boolean) => {
      const log = new Log()
      const [a, b] = pair({ maxAtOnce: 3 }, { maxPerSecond: 20, windows: { r: { limit: 4, per: 700 } } })
      const lasting = verb.name === "runAny" ? Effect.fail("next") : Effect.void
      const task = (name: string) => log.around(name, Effect.andThen(Effect.sleep(130), lasting))
      await log.play([0, Effect.exit(verb.run(names(9), task, { meter: list ? [a, b] : both(a, b) }))])
      return log.starts
    }
    const expected = await starts(true)
    expect(expected.length).toBe(9)
    expect(await starts(false)).toEqual(expected)
  })
})

describe("all", () => {
  it("of no meters limits nothing", async () => {
    const log = new Log()
    await log.play([0, runOnEach(names(3), (name) => log.task(name, 10), { meter: Meter.all() })])
    expect(log.starts).toEqual(["t0 0", "t1 0", "t2 0"])
  })

  it("a task that holds a permit of one meter and needs another is not blocked by waiters for both", async () => {
    for (const reversed of [false, true]) {
      const log = new Log()
      const meters = pair({ maxAtOnce: 1 }, { maxAtOnce: 1 })
      const [outer, inner] = reversed ? (meters.toReversed() as [Meter.Meter, Meter.Meter]) : meters
      await log.play(
        [
          0,
          Effect.timeoutOption(
            Meter.metered(
              log.around("outer", Effect.andThen(Effect.sleep(50), Meter.metered(log.task("inner", 10), inner))),
              outer
            ),
            "1 hour"
          )
        ],
        [10, Effect.timeoutOption(Meter.metered(log.task("both"), Meter.all(outer, inner)), "2 hours")]
      )
      expect(log.starts).toEqual(["outer 0", "inner 50", "both 60"])
    }
  })

  it("cannot deadlock: any program of any combinations ends, and every limit holds", async () => {
    const kinds = ["atOnce", "rate", "window", "semaphore", "schedule", "mixed"] as const
    const meter = fc.record({ kind: fc.constantFrom(...kinds), size: fc.integer({ min: 1, max: 3 }) })
    // Indices of meters; a nested array is an `all` within the `all`.
    const combination = fc.array(fc.oneof(fc.nat({ max: 4 }), fc.array(fc.nat({ max: 4 }), { maxLength: 3 })), {
      minLength: 1,
      maxLength: 4
    })
    const call = fc.record({
      at: fc.integer({ min: 0, max: 60 }),
      meters: combination,
      tasks: fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 5 }),
      leavesAfter: fc.option(fc.integer({ min: 1, max: 150 })),
      atOnce: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined })
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(meter, { minLength: 5, maxLength: 5 }),
        fc.array(call, { maxLength: 8 }),
        async (specs, calls) => {
          const world = new World()
          const seen = specs.map(() => ({ running: 0, peak: 0, starts: [] as Array<bigint> }))
          const semaphores: Array<[Semaphore.Semaphore, number]> = []
          const meters = specs.map(({ kind, size }): Meter.Meter<unknown> => {
            const windows = { r: { limit: size, per: 25 } }
            if (kind === "atOnce") return Meter.makeUnsafe({ maxAtOnce: size })
            if (kind === "rate") return Meter.makeUnsafe({ maxPerSecond: size * 20 })
            if (kind === "window") return Meter.makeUnsafe({ windows })
            if (kind === "mixed") return Meter.makeUnsafe({ maxAtOnce: size, maxPerSecond: 50, windows })
            if (kind === "schedule") return Meter.fromSchedule(Schedule.spaced(size * 5))
            const semaphore = Semaphore.makeUnsafe(size)
            semaphores.push([semaphore, size])
            return Meter.fromSemaphore(semaphore)
          })
          let ended = 0
          const one = (used: ReadonlyArray<number>, lasting: number) =>
            Effect.suspend(() => {
              for (const index of used) {
                const each = seen[index]!
                each.running++
                each.peak = Math.max(each.peak, each.running)
                each.starts.push(world.now)
              }
              return Effect.ensuring(
                Effect.map(Effect.sleep(lasting), () => void ended++),
                Effect.sync(() => {
                  for (const index of used) seen[index]!.running--
                })
              )
            })
          const program = calls.map(({ at, atOnce, leavesAfter, meters: combined, tasks }) => {
            const meter = Meter.all(
              ...combined.map((each) =>
                typeof each === "number" ? meters[each]! : Meter.all(...each.map((i) => meters[i]!))
              )
            )
            const used = [...new Set(combined.flat())]
            const options = atOnce === undefined ? { meter } : { meter, maxAtOnce: atOnce }
            const run = runOnEach(tasks, (lasting) => one(used, lasting), options)
            const whole = leavesAfter === null ? run : Effect.timeoutOption(run, leavesAfter)
            return Effect.andThen(Effect.sleep(at), whole)
          })
          const exit = await world.run(Effect.timeout(Effect.all(program, { concurrency: "unbounded" }), "1 hour"))
          expect(Exit.isSuccess(exit), String(exit)).toBe(true)
          const stay = calls.filter(({ leavesAfter }) => leavesAfter === null).flatMap(({ tasks }) => tasks)
          expect(ended).toBeGreaterThanOrEqual(stay.length)
          specs.forEach(({ kind, size }, index) => {
            const { peak, running, starts } = seen[index]!
            expect(running).toBe(0)
            if (kind === "atOnce" || kind === "mixed" || kind === "semaphore") expect(peak).toBeLessThanOrEqual(size)
            if (kind === "window" || kind === "mixed") expect(busiest(starts, ms(25))).toBeLessThanOrEqual(size)
            if (kind === "rate") expect(busiest(starts, ms(1000))).toBeLessThanOrEqual(size * 20)
            if (kind === "schedule") expect(busiest(starts, ms(size * 5))).toBeLessThanOrEqual(1)
          })
          for (const [semaphore, size] of semaphores)
            expect(await world.value(semaphore.takeIfAvailable(size))).toBe(true)
          const free = await world.value(Effect.forEach(meters, Meter.snapshot))
          expect(free.every(({ running, waiting }) => running === 0 && waiting === 0)).toBe(true)
          expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
        }
      ),
      { numRuns: 150 }
    )
  })
})
