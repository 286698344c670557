/** G2: in any window of R / maxPerSecond seconds at most R tasks start, and starts are spread evenly while tasks wait. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import fc from "fast-check"
import { Meter, runOnEach } from "../../src/index.ts"
import {
  busiest,
  expectCreditHeld,
  expectWindowsHeld,
  type ModelRate,
  startsOf,
  startsOfArrivals,
  timeOf,
  windowOf
} from "../support/model.ts"
import { observe } from "../support/observe.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

const at = (starts: ReadonlyArray<bigint>, index: number): bigint => starts[index] as bigint
const gaps = (starts: ReadonlyArray<bigint>): Array<bigint> =>
  starts.slice(1).map((instant, index) => instant - at(starts, index))

/** Starts of `count` tasks that end at once, in a world of its own. */
const startsIn = async (world: World, count: number, options: Meter.Limits) => {
  const spy = new Spy(world.clock)
  await world.value(
    runOnEach(
      range(count),
      spy.watch(() => Effect.void),
      options
    )
  )
  return spy.starts
}

describe("G2 per second", () => {
  describe.each(verbs)("$name", (verb) => {
    // Each task outlasts the run, so that a race does not end before the last start.
    const startsOfVerb = (count: number, options: Parameters<typeof verb.run>[2]) =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        yield* observe(verb.run(range(count), spy.lasting(600_000), options))
        return spy.starts
      })

    it.effect("five a second: every 200 ms", () =>
      Effect.gen(function* () {
        expect(yield* startsOfVerb(7, { maxPerSecond: 5 })).toEqual([0, 200, 400, 600, 800, 1000, 1200].map(ms))
      })
    )

    it.effect("thirty a second: every thirtieth, rounded up to the nanosecond, and exact again each second", () =>
      Effect.gen(function* () {
        const starts = yield* startsOfVerb(95, { maxPerSecond: 30 })
        expect(starts.slice(0, 5)).toEqual([0n, 33_333_334n, 66_666_667n, 100_000_000n, 133_333_334n])
        expect(at(starts, 30)).toBe(ms(1000))
        expect(at(starts, 90)).toBe(ms(3000))
        expect(busiest(starts, ms(1000))).toBe(30)
      })
    )

    it.effect("one every five seconds", () =>
      Effect.gen(function* () {
        expect(yield* startsOfVerb(4, { maxPerSecond: 0.2 })).toEqual([0, 5000, 10_000, 15_000].map(ms))
      })
    )

    it.effect("a burst of a full second: five at once, and then one every 200 ms after that second", () =>
      Effect.gen(function* () {
        const starts = yield* startsOfVerb(9, { maxPerSecond: 5, maxBurst: 5 })
        expect(starts).toEqual([0, 0, 0, 0, 0, 1000, 1200, 1400, 1600].map(ms))
      })
    )

    it.effect("Infinity a second limits nothing", () =>
      Effect.gen(function* () {
        expect(yield* startsOfVerb(5, { maxPerSecond: Number.POSITIVE_INFINITY })).toEqual(range(5).map(() => 0n))
      })
    )
  })

  describe("bursts", () => {
    const bursts: ReadonlyArray<ModelRate & { readonly burst: number }> = [
      { starts: 5, seconds: 1, burst: 2 },
      { starts: 5, seconds: 1, burst: 3 },
      { starts: 5, seconds: 1, burst: 5 },
      { starts: 10, seconds: 1, burst: 9 },
      { starts: 30, seconds: 1, burst: 7 },
      { starts: 1, seconds: 5, burst: 3 },
      { starts: 5, seconds: 2, burst: 2 },
      { starts: 2, seconds: 1, burst: 10 }
    ]

    it.each(bursts)(
      "of $burst at $starts in $seconds s: all at once first, then never two closer than the rate",
      async (rate) => {
        const starts = await startsIn(new World(), rate.burst + 60, {
          maxPerSecond: rate.starts / rate.seconds,
          maxBurst: rate.burst
        })
        expect(starts.slice(0, rate.burst)).toEqual(range(rate.burst).map(() => 0n))
        expectCreditHeld(starts, rate)
        for (const gap of gaps(starts.slice(rate.burst))) expect(gap).toBeGreaterThanOrEqual(timeOf(1, rate) - 1n)
        expectWindowsHeld(starts, rate)
      }
    )

    it.each(bursts)("of $burst at $starts in $seconds s keep to the rate over a long run", async (rate) => {
      const count = rate.burst + 400
      const starts = await startsIn(new World(), count, {
        maxPerSecond: rate.starts / rate.seconds,
        maxBurst: rate.burst
      })
      const took = at(starts, count - 1)
      // One window late at most, however the burst is paid back.
      const window = timeOf(windowOf(rate), rate)
      expect(took).toBeLessThanOrEqual(timeOf(count - 1, rate) + window)
    })

    it.effect("credit comes back while nothing waits, up to the burst and no further", () =>
      Effect.gen(function* () {
        const meter = Meter.makeUnsafe({ maxPerSecond: 5, maxBurst: 5 })
        const spy = yield* Spy.make
        const call = (count: number) =>
          runOnEach(
            range(count),
            spy.watch(() => Effect.void),
            { meter }
          )
        yield* observe(
          Effect.gen(function* () {
            yield* call(7)
            yield* Effect.sleep("30 minutes")
            yield* call(7)
          })
        )
        const later = at(spy.starts, 6) + ms(1_800_000)
        expect(spy.starts.slice(7).map((instant) => instant - later)).toEqual([0, 0, 0, 0, 0, 1000, 1200].map(ms))
      })
    )

    it.effect("part of the time accrues part of the credit", () =>
      Effect.gen(function* () {
        const meter = Meter.makeUnsafe({ maxPerSecond: 10, maxBurst: 5 })
        const spy = yield* Spy.make
        const call = runOnEach(
          range(5),
          spy.watch(() => Effect.void),
          { meter }
        )
        yield* observe(Effect.all([call, Effect.sleep(300), call]))
        const again = spy.starts.slice(5)
        expect(again.filter((instant) => instant === ms(300)).length).toBeLessThanOrEqual(3)
        expectCreditHeld(spy.starts, { starts: 10, seconds: 1, burst: 5 })
      })
    )

    it.effect("no credit for a burst accrues while a task waits for a permit", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((_: number, index) => (index < 2 ? Effect.sleep(5000) : Effect.void))
        yield* observe(runOnEach(range(6), task, { maxPerSecond: 10, maxBurst: 2, maxAtOnce: 2 }))
        expect(spy.starts).toEqual([0, 0, 5000, 5100, 5200, 5300].map(ms))
      })
    )
  })

  describe("with a limit on how many at once", () => {
    it.effect("time spent waiting for a permit is not caught up", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const lasts = [350, 40, 40, 40, 40]
        yield* observe(
          runOnEach(
            lasts,
            spy.watch((millis) => Effect.sleep(millis)),
            { maxPerSecond: 10, maxAtOnce: 1 }
          )
        )
        expect(spy.starts).toEqual([0, 350, 450, 550, 650].map(ms))
      })
    )
  })

  describe("lateness", () => {
    it("a punctual timer accrues no credit: every start falls on its slot", async () => {
      const starts = await startsIn(new World(), 50, { maxPerSecond: 5 })
      expect(starts).toEqual(range(50).map((index) => ms(200 * index)))
    })

    it("the lateness of a timer is caught up: the next timer is set for its slot, not for a whole interval later", async () => {
      const late = new World({ fires: (due) => due + ms(3) })
      // The seventh would have to wait until a second after the second one, which was late.
      const starts = await startsIn(late, 6, { maxPerSecond: 5 })
      expect(starts).toEqual([0, 203, 403, 603, 803, 1003].map(ms))
    })

    it.each([50, 200, 1000])("of a stall of %d ms about 10 ms are caught up, no more", async (stall) => {
      const world = new World({ stalls: { every: ms(2000), lasts: ms(stall) } })
      const starts = await startsIn(world, 4000, { maxPerSecond: 1000 })
      expectWindowsHeld(starts, { starts: 1000, seconds: 1 })
      const made = starts.filter((instant) => instant < ms(3500)).length
      const caughtUp = made - (3500 - stall)
      expect(caughtUp).toBeGreaterThanOrEqual(5)
      expect(caughtUp).toBeLessThanOrEqual(12)
    })

    it("timers that fire early make nothing start early", async () => {
      for (const early of [1n, 999n, ms(0.4), ms(1)]) {
        const world = new World({ fires: (due, now) => (due - early > now ? due - early : due) })
        const starts = await startsIn(world, 40, { maxPerSecond: 30 })
        starts.forEach((instant, index) =>
          expect(instant).toBeGreaterThanOrEqual(timeOf(index, { starts: 30, seconds: 1 }))
        )
        expectWindowsHeld(starts, { starts: 30, seconds: 1 })
        expect(world.timersArmed, "a few timers for each start: it does not loop").toBeLessThanOrEqual(4 * 40)
      }
    })
  })

  describe("properties", () => {
    // Rates whose window is a whole number of nanoseconds: with others, rounding up leaves more than one answer.
    const rates = fc.oneof(
      fc.record({ starts: fc.integer({ min: 1, max: 100 }), seconds: fc.constant(1) }),
      fc.record({ starts: fc.constantFrom(250, 1000, 5000, 30_000), seconds: fc.constant(1) }),
      fc.constantFrom(
        { starts: 1, seconds: 5 },
        { starts: 5, seconds: 2 },
        { starts: 25, seconds: 10 },
        { starts: 1, seconds: 3 }
      )
    )
    const durations = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 40 })

    it("every start instant is the model's, for any rate, limit at once, durations and failure", () =>
      fc.assert(
        fc.asyncProperty(
          rates,
          fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
          durations,
          fc.option(fc.nat(39), { nil: undefined }),
          async (rate, maxAtOnce, lasts, failing) => {
            const world = new World()
            const spy = new Spy(world.clock)
            const task = spy.watch((millis: number, index) =>
              Effect.andThen(
                millis === 0 ? Effect.void : Effect.sleep(millis),
                index === failing ? Effect.fail("boom") : Effect.void
              )
            )
            const options = {
              maxPerSecond: rate.starts / rate.seconds,
              ...(maxAtOnce === undefined ? {} : { maxAtOnce })
            }
            const exit = await world.run(runOnEach(lasts, task, options))
            const expected = startsOf(lasts.map(ms), maxAtOnce === undefined ? { rate } : { rate, maxAtOnce })
            const fails = failing !== undefined && failing < lasts.length
            expect(exit).toEqual(fails ? Exit.fail("boom") : Exit.void)
            const stop = fails ? at(expected, failing) + ms(lasts[failing] as number) : undefined
            const sure = expected.filter(
              (instant, index) => stop === undefined || instant < stop || index <= (failing ?? 0)
            )
            // What else was to start in the very instant of the failure may have come before it.
            const open = expected.filter((instant) => instant === stop).length
            expect(spy.starts).toEqual(expected.slice(0, spy.starts.length))
            expect(spy.starts.length).toBeGreaterThanOrEqual(sure.length)
            expect(spy.starts.length).toBeLessThanOrEqual(sure.length + open)
            expectWindowsHeld(spy.starts, rate)
          }
        ),
        { numRuns: 150 }
      ))

    it("waiters that arrive at any time start in order, as soon as the rate and the permits allow", () =>
      fc.assert(
        fc.asyncProperty(
          rates,
          fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
          fc.array(fc.record({ after: fc.nat(300), lasts: fc.integer({ min: 1, max: 300 }) }), {
            minLength: 1,
            maxLength: 25
          }),
          async (rate, maxAtOnce, waiters) => {
            const world = new World()
            const meter = Meter.makeUnsafe({
              maxPerSecond: rate.starts / rate.seconds,
              ...(maxAtOnce === undefined ? {} : { maxAtOnce })
            })
            const spy = new Spy(world.clock)
            await world.value(
              Effect.gen(function* () {
                const fibers: Array<Fiber.Fiber<void>> = []
                for (const [index, { after, lasts }] of waiters.entries()) {
                  if (after > 0) yield* Effect.sleep(after)
                  fibers.push(
                    yield* Effect.forkChild(Meter.metered(spy.effect(index, Effect.sleep(lasts)), meter), {
                      startImmediately: true
                    })
                  )
                }
                yield* Fiber.joinAll(fibers)
              })
            )
            let clock = 0
            const tasks = waiters.map(({ after, lasts }) => ({ arrives: ms((clock += after)), lasts: ms(lasts) }))
            expect(spy.started).toEqual(range(waiters.length))
            expect(spy.starts).toEqual(
              startsOfArrivals(tasks, maxAtOnce === undefined ? { rate } : { rate, maxAtOnce })
            )
          }
        ),
        { numRuns: 150 }
      ))

    it("a burst is never larger than the credit that has accrued since the one before", () =>
      fc.assert(
        fc.asyncProperty(
          fc.record({
            starts: fc.integer({ min: 1, max: 100 }),
            seconds: fc.constantFrom(1, 2, 5),
            burst: fc.integer({ min: 1, max: 12 })
          }),
          fc.array(fc.record({ pause: fc.nat(1500), tasks: fc.integer({ min: 1, max: 15 }) }), {
            minLength: 1,
            maxLength: 8
          }),
          async (rate, calls) => {
            const world = new World()
            const meter = Meter.makeUnsafe({ maxPerSecond: rate.starts / rate.seconds, maxBurst: rate.burst })
            const spy = new Spy(world.clock)
            await world.value(
              Effect.gen(function* () {
                for (const { pause, tasks } of calls) {
                  if (pause > 0) yield* Effect.sleep(pause)
                  yield* runOnEach(
                    range(tasks),
                    spy.watch(() => Effect.void),
                    { meter }
                  )
                }
              })
            )
            expect(spy.starts.length).toBe(calls.reduce((sum, { tasks }) => sum + tasks, 0))
            expectCreditHeld(spy.starts, rate)
            expectWindowsHeld(spy.starts, rate)
          }
        ),
        { numRuns: 100 }
      ))

    it("no window has more starts than allowed, for any rate and burst, whatever the timers and the event loop do", () =>
      fc.assert(
        fc.asyncProperty(
          fc.record({
            starts: fc.integer({ min: 1, max: 300 }),
            seconds: fc.constantFrom(1, 3, 7, 10),
            burst: fc.integer({ min: 1, max: 20 })
          }),
          fc.array(fc.nat(500), { maxLength: 6 }),
          fc.infiniteStream(fc.integer({ min: -1_000_000, max: 20_000_000 })),
          fc.infiniteStream(fc.constantFrom(0, 0, 0, 1000, 300_000, 3_000_000)),
          async (rate, pauses, jitter, busy) => {
            const world = new World({
              fires: (due, now) => {
                const moved = due + BigInt(jitter.next().value)
                return moved > now ? moved : now
              },
              stepCost: 700n,
              lookCost: () => BigInt(busy.next().value / 10),
              stalls: { every: ms(333), lasts: ms(40) }
            })
            const meter = Meter.makeUnsafe({ maxPerSecond: rate.starts / rate.seconds, maxBurst: rate.burst })
            const spy = new Spy(world.clock)
            await world.value(
              Effect.gen(function* () {
                for (const pause of [...pauses, 0]) {
                  yield* runOnEach(
                    range(15),
                    spy.watch(() => {
                      world.pass(BigInt(busy.next().value))
                      return Effect.void
                    }),
                    { meter }
                  )
                  yield* Effect.sleep(pause)
                }
              })
            )
            expect(spy.starts.length).toBe(15 * (pauses.length + 1))
            expectWindowsHeld(spy.starts, rate)
          }
        ),
        { numRuns: 150 }
      ))
  })

  it("a window of hundreds of thousands of starts is kept, and is not much longer than needed", async () => {
    const rate = { starts: 1000, seconds: 1, burst: 300_000 }
    const starts = await startsIn(new World(), 301_000, { maxPerSecond: 1000, maxBurst: 300_000 })
    expectWindowsHeld(starts, rate)
    expect(at(starts, 299_999)).toBe(0n)
    expect(at(starts, 300_999)).toBeLessThanOrEqual((timeOf(301_000, rate) * 1005n) / 1000n)
  })

  it.effect("a rate next to nothing lets one start, and the rest wait until they are interrupted", () =>
    Effect.gen(function* () {
      for (const maxPerSecond of [1e-9, 1e-12]) {
        const spy = yield* Spy.make
        const { end, exit } = yield* observe(
          runOnEach(
            range(3),
            spy.watch(() => Effect.void),
            { maxPerSecond }
          ),
          {
            interruptAt: 1_000_000
          }
        )
        expect(Exit.hasInterrupts(exit)).toBe(true)
        expect(end).toBe(ms(1_000_000))
        expect(spy.started).toEqual([0])
      }
    })
  )

  it.effect("several calls on one meter keep to its rate together", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
      const spy = yield* Spy.make
      const call = runOnEach(
        range(5),
        spy.watch(() => Effect.void),
        { meter }
      )
      yield* observe(Effect.all([call, call, call], { concurrency: 3 }))
      expect(spy.starts).toEqual(range(15).map((index) => ms(100 * index)))
    })
  )

  it.effect("several meters are kept to, each of them", () =>
    Effect.gen(function* () {
      const meter = [Meter.makeUnsafe({ maxPerSecond: 10 }), Meter.makeUnsafe({ maxPerSecond: 4, maxBurst: 4 })]
      const spy = yield* Spy.make
      yield* observe(
        runOnEach(
          range(12),
          spy.watch(() => Effect.void),
          { meter }
        )
      )
      expectWindowsHeld(spy.starts, { starts: 10, seconds: 1 })
      expectWindowsHeld(spy.starts, { starts: 4, seconds: 1, burst: 4 })
      expect(spy.starts.slice(0, 5)).toEqual([0, 100, 200, 300, 1000].map(ms))
    })
  )
})
