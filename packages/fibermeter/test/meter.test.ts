/** Meters as values: made once, shared by calls, single effects and acquired starts. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Schedule, Scope, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../src/index.ts"
import { observe, watch } from "./support/observe.ts"
import { ms, range, Spy } from "./support/Spy.ts"
import { World } from "./support/World.ts"

describe("make", () => {
  it.effect("makes a new meter each time it runs", () =>
    Effect.gen(function* () {
      const make = Meter.make({ maxAtOnce: 1 })
      const first = yield* make
      const second = yield* make
      yield* Meter.acquire(first)
      const { end, exit } = yield* observe(Meter.metered(Effect.succeed("in"), second))
      expect(exit).toEqual(Exit.succeed("in"))
      expect(end).toBe(0n)
    })
  )

  it.effect("without a limit it lets everybody in", () =>
    Effect.gen(function* () {
      for (const meter of [yield* Meter.make({}), Meter.makeUnsafe({ maxAtOnce: Infinity, maxPerSecond: Infinity })]) {
        const spy = yield* Spy.make
        yield* observe(runOnEach(range(20), spy.lasting(10), { meter }))
        expect(spy.starts).toEqual(range(20).map(() => 0n))
      }
    })
  )

  it("recognises meters", () => {
    expect(Meter.isMeter(Meter.makeUnsafe({}))).toBe(true)
    expect(Meter.isMeter(Meter.fromSemaphore(Semaphore.makeUnsafe(1)))).toBe(true)
    expect(Meter.isMeter(Meter.fromSchedule(Schedule.forever))).toBe(true)
    for (const other of [undefined, null, {}, "meter", { maxAtOnce: 1 }, Semaphore.makeUnsafe(1)]) {
      expect(Meter.isMeter(other)).toBe(false)
    }
  })

  it.effect("one meter limits all verbs, metered effects and acquired starts together", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 10 })
      const spy = yield* Spy.make
      const task = spy.lasting(150)
      const byHand = Effect.scoped(Effect.andThen(Meter.acquire(meter), spy.effect(0, Effect.sleep(150))))
      yield* observe(
        Effect.all(
          [
            runOnEach(range(2), task, { meter }),
            runAll(range(2), task, { meter }),
            Stream.runDrain(amap(range(2), task, { meter })),
            runAny([1], task, { meter }),
            Meter.metered(spy.effect(0, Effect.sleep(150)), meter),
            byHand
          ],
          { concurrency: "unbounded" }
        )
      )
      expect(spy.starts.toSorted((a, b) => Number(a - b))).toEqual(range(9).map((index) => ms(index * 100)))
      expect(spy.peak).toBe(2)
    })
  )

  it.effect("tasks of a call may use another meter themselves", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const spy = yield* Spy.make
      const { exit } = yield* observe(
        runOnEach(range(4), (n) => Meter.metered(spy.effect(n, Effect.sleep(10)), meter), { maxAtOnce: 3 })
      )
      expect(exit).toEqual(Exit.void)
      expect(spy.peak).toBe(1)
    })
  )

  it.effect("two calls that name the same two meters in opposite order do not wait for each other for ever", () =>
    Effect.gen(function* () {
      const a = Meter.makeUnsafe({ maxAtOnce: 1 })
      const b = Meter.makeUnsafe({ maxAtOnce: 1 })
      const spy = yield* Spy.make
      const call = (meter: ReadonlyArray<Meter.Meter>) => runOnEach(range(5), spy.lasting(10), { meter })
      const { end, exit } = yield* observe(Effect.all([call([a, b]), call([b, a])], { concurrency: 2 }))
      expect(Exit.isSuccess(exit)).toBe(true)
      expect(end).toBe(ms(100))
      expect(spy.peak).toBe(1)
    })
  )

  it.effect("a task that waits for the second meter holds no permit of the first", () =>
    Effect.gen(function* () {
      const a = Meter.makeUnsafe({ maxAtOnce: 1 })
      const b = Meter.makeUnsafe({ maxAtOnce: 1 })
      const holding = yield* Scope.make()
      yield* Scope.provide(Meter.acquire(b), holding)
      const waiting = yield* watch(runOnEach([0], () => Effect.void, { meter: [a, b] }))
      const other = yield* observe(Effect.timeoutOption(Meter.metered(Effect.succeed("in"), b), 1))
      expect(Exit.isSuccess(other.exit) && other.exit.value._tag).toBe("None")
      yield* Scope.close(holding, Exit.void)
      const { exit } = yield* waiting.finish
      expect(exit).toEqual(Exit.void)
      const both = yield* observe(Effect.all([Meter.metered(Effect.void, a), Meter.metered(Effect.void, b)]))
      expect(both.end).toBe(0n)
    })
  )
})

describe("metered", () => {
  it.effect("has the result of the effect, data-first and data-last", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      expect(yield* Meter.metered(Effect.succeed(1), meter)).toBe(1)
      expect(yield* Effect.succeed(2).pipe(Meter.metered(meter))).toBe(2)
      expect(yield* Effect.exit(Effect.fail("no").pipe(Meter.metered(meter)))).toEqual(Exit.fail("no"))
      expect(yield* Effect.exit(Meter.metered(Effect.die("defect"), meter))).toEqual(Exit.die("defect"))
    })
  )

  it.effect("waits for a permit and for a start, and releases the permit on every ending", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 10 })
      const spy = yield* Spy.make
      const endings = [Effect.sleep(250), Effect.fail("no"), Effect.die("defect"), Effect.interrupt, Effect.sleep(10)]
      const all = endings.map((ending, index) => Effect.exit(Meter.metered(spy.effect(index, ending), meter)))
      yield* observe(Effect.all(all, { concurrency: "unbounded" }))
      expect(spy.starts).toEqual([0, 250, 350, 450, 550].map(ms))
    })
  )

  it.effect("counts an effect until its finalizers have run", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const spy = yield* Spy.make
      const one = (index: number) =>
        Meter.metered(spy.effect(index, Effect.ensuring(Effect.sleep(10), Effect.sleep(40))), meter)
      yield* observe(Effect.all([one(0), one(1)], { concurrency: 2 }))
      expect(spy.starts).toEqual([0, 50].map(ms))
    })
  )

  it.effect("interrupted while it waits it does not run", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      yield* Meter.acquire(meter)
      const spy = yield* Spy.make
      const { end } = yield* observe(Meter.metered(spy.effect(0, Effect.void), meter), { interruptAt: 10 })
      expect(end).toBe(ms(10))
      expect(spy.started).toEqual([])
    })
  )
})

describe("acquire", () => {
  const makeScope = Scope.make()

  it.effect("holds a permit until its scope is closed", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      const scope = yield* makeScope
      yield* Scope.provide(Meter.acquire(meter), scope)
      yield* meter.pipe(Meter.acquire())
      const spy = yield* Spy.make
      const third = yield* watch(Meter.metered(spy.effect(0, Effect.void), meter))
      yield* third.advance(100)
      expect(spy.started).toEqual([])
      yield* Scope.close(scope, Exit.void)
      yield* third.finish
      expect(spy.starts).toEqual([ms(100)])
    })
  )

  it.effect.each([Exit.void, Exit.fail("no"), Exit.die("defect"), Exit.interrupt()])(
    "releases it however the scope ends: %s",
    (ending) =>
      Effect.gen(function* () {
        const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
        yield* Effect.exit(Effect.scoped(Effect.andThen(Meter.acquire(meter), ending)))
        const { free, running } = yield* Meter.snapshot(meter)
        expect({ free, running }).toEqual({ free: 1, running: 0 })
      })
  )

  it.effect("with a scope that is closed already, it is released at once", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const scope = yield* makeScope
      yield* Scope.close(scope, Exit.void)
      yield* Scope.provide(Meter.acquire(meter), scope)
      const { free, started } = yield* Meter.snapshot(meter)
      expect({ free, started }).toEqual({ free: 1, started: 1 })
    })
  )

  it.effect("interrupted while it waits, it leaves nothing in the scope and does not delay the next one", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 10 })
      const first = yield* makeScope
      yield* Scope.provide(Meter.acquire(meter), first)
      const scope = yield* makeScope
      const { end } = yield* observe(Scope.provide(Meter.acquire(meter), scope), { interruptAt: 10 })
      expect(end).toBe(ms(10))
      yield* Scope.close(first, Exit.void)
      const second = yield* observe(Meter.metered(Effect.void, meter))
      expect(second.end).toBe(ms(90))
      yield* Scope.close(scope, Exit.void)
      expect((yield* Meter.snapshot(meter)).running).toBe(0)
    })
  )

  it.effect("an uninterruptible caller waits to the end", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const holding = Effect.scoped(Effect.andThen(Meter.acquire(meter), Effect.sleep(50)))
      yield* Effect.forkDetach(holding, { startImmediately: true })
      const { end } = yield* observe(Effect.uninterruptible(Effect.scoped(Meter.acquire(meter))), { interruptAt: 10 })
      expect(end).toBe(ms(50))
    })
  )

  it.effect("spends a start of a rate", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxPerSecond: 5 })
      yield* Effect.scoped(Meter.acquire(meter))
      const spy = yield* Spy.make
      yield* observe(Meter.metered(spy.effect(0, Effect.void), meter))
      expect(spy.starts).toEqual([ms(200)])
    })
  )
})

describe("fromSemaphore", () => {
  it.effect("shares the semaphore's permits with code that takes them directly", () =>
    Effect.gen(function* () {
      const semaphore = Semaphore.makeUnsafe(2)
      const spy = yield* Spy.make
      const direct = range(4).map((index) => semaphore.withPermit(spy.effect(index, Effect.sleep(10))))
      yield* observe(
        Effect.all([runOnEach(range(6), spy.lasting(10), { meter: Meter.fromSemaphore(semaphore) }), ...direct], {
          concurrency: "unbounded"
        })
      )
      expect(spy.starts.length).toBe(10)
      expect(spy.peak).toBe(2)
      expect(yield* semaphore.takeIfAvailable(2)).toBe(true)
    })
  )

  it.effect("two meters of one semaphore share it", () =>
    Effect.gen(function* () {
      const semaphore = Semaphore.makeUnsafe(1)
      const spy = yield* Spy.make
      const call = runOnEach(range(3), spy.lasting(10), { meter: Meter.fromSemaphore(semaphore) })
      const { end } = yield* observe(
        Effect.all([call, runOnEach(range(3), spy.lasting(10), { meter: Meter.fromSemaphore(semaphore) })], {
          concurrency: 2
        })
      )
      expect(spy.peak).toBe(1)
      expect(end).toBe(ms(60))
    })
  )

  it.effect("follows the semaphore when it is resized", () =>
    Effect.gen(function* () {
      const semaphore = Semaphore.makeUnsafe(1)
      const spy = yield* Spy.make
      const run = yield* watch(runOnEach(range(8), spy.lasting(100), { meter: Meter.fromSemaphore(semaphore) }))
      yield* run.advance(150)
      expect(spy.running).toBe(1)
      yield* semaphore.resize(3)
      yield* run.advance(1)
      expect(spy.running).toBe(3)
      const { exit } = yield* run.finish
      expect(exit).toEqual(Exit.void)
    })
  )

  it.effect("queues with code that takes from it directly, and leaves the queue when it is interrupted", () =>
    Effect.gen(function* () {
      const semaphore = Semaphore.makeUnsafe(1)
      const meter = Meter.fromSemaphore(semaphore)
      const order: Array<string> = []
      const noted = (name: string) =>
        Effect.andThen(
          Effect.sync(() => order.push(name)),
          Effect.sleep(10)
        )
      yield* semaphore.take(1)
      for (const _ of range(3)) yield* observe(Meter.metered(noted("left"), meter), { interruptAt: 5 })
      const early = yield* watch(Meter.metered(noted("early"), meter))
      const direct = yield* watch(semaphore.withPermit(noted("direct")))
      const late = yield* watch(Meter.metered(noted("late"), meter))
      early.fiber.interruptUnsafe()
      yield* early.finish
      yield* semaphore.release(1)
      yield* direct.finish
      yield* late.finish
      expect(order.toSorted((a, b) => a.localeCompare(b))).toEqual(["direct", "late"])
      const again = yield* observe(runOnEach(range(2), () => Effect.sleep(10), { meter }))
      expect(again.end).toBe(ms(20))
      expect(yield* semaphore.takeIfAvailable(1)).toBe(true)
    })
  )

  it.effect("returns all permits to it", () =>
    Effect.gen(function* () {
      const semaphore = Semaphore.makeUnsafe(3)
      const meter = Meter.fromSemaphore(semaphore)
      yield* observe(runOnEach(range(9), (n) => (n === 5 ? Effect.fail("no") : Effect.sleep(10)), { meter }))
      yield* observe(
        runOnEach(range(9), () => Effect.never, { meter }),
        { interruptAt: 5 }
      )
      expect(yield* semaphore.takeIfAvailable(3)).toBe(true)
      expect(yield* semaphore.takeIfAvailable(1)).toBe(false)
    })
  )
})

describe("fromSchedule", () => {
  it.effect("steps the schedule at each start: its delay is the least time to the next", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.fromSchedule(Schedule.exponential("100 millis"))
      yield* observe(
        runOnEach(
          range(5),
          spy.watch(() => Effect.void),
          { meter }
        )
      )
      expect(spy.starts).toEqual([0, 100, 300, 700, 1500].map(ms))
    })
  )

  it.effect("measures the wait from the actual start, not from the first possible one", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.fromSchedule(Schedule.spaced("100 millis"))
      yield* observe(
        runOnEach(
          [250, 10, 10],
          spy.watch((millis: number) => Effect.sleep(millis)),
          { meter, maxAtOnce: 1 }
        )
      )
      expect(spy.starts).toEqual([0, 250, 350].map(ms))
    })
  )

  it.effect("starts at once after a time without waiters", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.fromSchedule(Schedule.spaced("100 millis"))
      const one = (index: number) => Meter.metered(spy.effect(index, Effect.void), meter)
      yield* observe(Effect.all([one(0), Effect.sleep(1000), one(1), one(2)]))
      expect(spy.starts).toEqual([0, 1000, 1100].map(ms))
    })
  )

  it.effect("is shared: two calls step one schedule", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.fromSchedule(Schedule.spaced("50 millis"))
      const call = runOnEach(
        range(3),
        spy.watch(() => Effect.void),
        { meter }
      )
      yield* observe(Effect.all([call, call], { concurrency: 2 }))
      expect(spy.starts).toEqual(range(6).map((index) => ms(50 * index)))
    })
  )

  it.effect("a schedule that fails, fails the call, after everything that ran was interrupted", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      let steps = 0
      const breaking = Schedule.modifyDelay(Schedule.spaced("10 millis"), ({ duration }) =>
        ++steps === 3 ? Effect.fail("schedule broke" as const) : Effect.succeed(duration)
      )
      const { exit, fibers } = yield* observe(
        runOnEach(
          range(9),
          spy.watch(() => Effect.never),
          { meter: Meter.fromSchedule(breaking) }
        )
      )
      expect(exit).toEqual(Exit.fail("schedule broke"))
      expect(spy.running).toBe(0)
      expect(fibers).toBe(0)
    })
  )

  it.effect("the services that a schedule needs come from the fiber that starts a task", () =>
    Effect.gen(function* () {
      class Pause extends Context.Service<Pause, { readonly millis: number }>()("test/Pause") {}
      const spy = yield* Spy.make
      const schedule = Schedule.modifyDelay(Schedule.forever, () =>
        Effect.map(Effect.service(Pause), ({ millis }) => Duration.millis(millis))
      )
      const call = runOnEach(
        range(3),
        spy.watch(() => Effect.void),
        { meter: Meter.fromSchedule(schedule) }
      )
      yield* observe(Effect.provideService(call, Pause, { millis: 70 }))
      expect(spy.starts).toEqual([0, 70, 140].map(ms))
    })
  )

  it.effect("continues after a waiter has been interrupted", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.fromSchedule(Schedule.spaced("100 millis"))
      const one = (index: number) => Meter.metered(spy.effect(index, Effect.void), meter)
      yield* observe(Effect.all([one(0), Effect.timeoutOption(one(1), 30), one(2)]))
      expect(spy.started).toEqual([0, 2])
      expect(spy.starts).toEqual([0, 100].map(ms))
    })
  )
})

describe("pacing", () => {
  it.effect("is a schedule with which Effect's own operators keep to a rate", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const tick = Effect.suspend(() => spy.effect(spy.starts.length, Effect.void))
      yield* observe(Effect.repeat(tick, { schedule: Meter.pacing({ maxPerSecond: 5 }), times: 4 }))
      expect(spy.starts).toEqual([0, 200, 400, 600, 800].map(ms))
    })
  )

  it.effect("allows for the time that the effect itself takes", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const tick = Effect.suspend(() => spy.effect(spy.starts.length, Effect.sleep(50)))
      yield* observe(Effect.repeat(tick, { schedule: Meter.pacing({ maxPerSecond: 5 }), times: 3 }))
      // Stepped when the effect has ended, it counts from there: 50 ms of work, 200 ms of pause.
      expect(spy.starts.slice(1).every((at, index) => at - (spy.starts[index] as bigint) >= ms(200))).toBe(true)
    })
  )

  it.effect("is the schedule of maxPerSecond: a meter made of it starts tasks at the same instants", () =>
    Effect.gen(function* () {
      for (const limits of [
        { maxPerSecond: 5 },
        { maxPerSecond: 40 },
        { maxPerSecond: 0.2 },
        { maxPerSecond: 5, maxBurst: 5 }
      ]) {
        const byOption = yield* Spy.make
        yield* observe(
          runOnEach(
            range(12),
            byOption.watch(() => Effect.void),
            limits
          )
        )
        const bySchedule = yield* Spy.make
        const meter = Meter.fromSchedule(Meter.pacing(limits))
        yield* observe(
          runOnEach(
            range(12),
            bySchedule.watch(() => Effect.void),
            { meter }
          )
        )
        expect(bySchedule.starts).toEqual(byOption.starts)
      }
    })
  )

  it.effect.each([{ maxPerSecond: Infinity }, { maxPerSecond: 10, maxBurst: Infinity }])(
    "without an end does not wait: %o",
    (limits) =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const tick = Effect.suspend(() => spy.effect(spy.starts.length, Effect.void))
        const { exit } = yield* observe(Effect.repeat(tick, { schedule: Meter.pacing(limits), times: 3 }))
        expect(spy.starts).toEqual([0, 0, 0, 0].map(ms))
        expect(exit).toEqual(Exit.void)
      })
  )

  it.effect("each run of a schedule has a state of its own", () =>
    Effect.gen(function* () {
      const pacing = Meter.pacing({ maxPerSecond: 5 })
      for (const _ of range(2)) {
        const { end } = yield* observe(Effect.repeat(Effect.void, { schedule: pacing, times: 2 }))
        expect(end).toBe(ms(400))
      }
    })
  )
})

describe("in a world of single steps", () => {
  it("a meter serves programs one after the other, each to its end", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
    for (const _ of range(3)) {
      const world = new World()
      const spy = new Spy(world.clock)
      await world.value(runOnEach(range(6), spy.lasting(10), { meter }))
      expect(spy.peak).toBe(2)
      expect(world.now).toBe(ms(30))
      expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
    }
  })

  it("a fiber of one program can wait for a permit that another program holds", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const order: Array<string> = []
    const isWaited = Deferred.makeUnsafe<void>()
    const holder = Effect.runFork(
      Meter.metered(
        Effect.andThen(
          Deferred.await(isWaited),
          Effect.sync(() => order.push("holder"))
        ),
        meter
      )
    )
    const waiter = Effect.runFork(
      Meter.metered(
        Effect.sync(() => order.push("waiter")),
        meter
      )
    )
    const { running, waiting } = await Effect.runPromise(Meter.snapshot(meter))
    expect([running, waiting]).toEqual([1, 1])
    Deferred.doneUnsafe(isWaited, Effect.void)
    await Effect.runPromise(Effect.all([Fiber.join(holder), Fiber.join(waiter)]))
    expect(order).toEqual(["holder", "waiter"])
  })
})
