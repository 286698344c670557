/** Meters of semaphores that others take permits from directly: fair to them, and nothing is lost. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Semaphore } from "effect"
import fc from "fast-check"
import { Meter, runOnEach } from "../../src/index.ts"
import { Log, names } from "../support/Log.ts"
import { range } from "../support/Spy.ts"
import { World } from "../support/World.ts"

const allFree = (semaphore: Semaphore.Semaphore, permits: number) =>
  Effect.gen(function* () {
    expect(yield* semaphore.takeIfAvailable(permits), "all permits are free").toBe(true)
    expect(yield* semaphore.takeIfAvailable(1), "and no more than those").toBe(false)
    yield* semaphore.release(permits)
  })

describe("fromSemaphore, of a semaphore that is resized", () => {
  it("admits as many tasks as it has permits now", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    const free = Effect.map(Meter.snapshot(meter), (snapshot) => snapshot.free)
    const seen: Array<number> = []
    const see = Effect.map(free, (n) => seen.push(n))
    await log.play(
      [0, runOnEach(names(5), (name) => log.task(name, 100), { meter })],
      [10, see],
      [50, Effect.andThen(semaphore.resize(3), see)],
      [60, see],
      [150, semaphore.resize(1)]
    )
    expect(log.starts).toEqual(["t0 0", "t1 50", "t2 50", "t3 100", "t4 200"])
    expect(seen).toEqual([0, 2, 0])
    await log.world.value(allFree(semaphore, 1))
  })

  it("takes no nested call for a deadlock that has a permit", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.world.value(semaphore.resize(2))
    const nested = Meter.metered(log.around("outer", Meter.metered(log.task("inner", 10), meter)), meter)
    await log.play([0, nested], [5, log.named("waits", nested)])
    expect(log.starts).toEqual(["outer 0", "inner 0", "outer 10", "inner 10"])
    await log.world.value(allFree(semaphore, 2))
  })
})

describe("fromSemaphore", () => {
  it("the meter's tasks and direct takers start in the order of their arrival", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [0, semaphore.withPermit(log.task("direct 0", 100))],
      [10, Meter.metered(log.task("metered 0", 100), meter)],
      [20, semaphore.withPermit(log.task("direct 1", 100))],
      [30, Meter.metered(log.task("metered 1", 100), meter)],
      [40, semaphore.withPermit(log.task("direct 2", 100))]
    )
    expect(log.starts.slice(0, 3)).toEqual(["direct 0 0", "metered 0 100", "direct 1 200"])
    // Later metered tasks stand behind the direct takers that came while another of them stood in the queue.
    expect(log.starts.slice(3).toSorted()).toEqual(["direct 2 300", "metered 1 400"])
    await log.world.value(allFree(semaphore, 1))
    log.expectRest()
  })

  it("a long call starves no direct taker", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [0, runOnEach(names(20), (name) => log.task(name, 10), { meter })],
      [5, semaphore.withPermit(log.task("direct", 10))],
      [55, semaphore.withPermit(log.task("another", 10))]
    )
    const started = (name: string) => Number(log.starts.find((start) => start.startsWith(name))!.split(" ")[1])
    expect(started("direct")).toBeLessThanOrEqual(20)
    expect(started("another")).toBeLessThanOrEqual(70)
    expect(log.starts.length).toBe(22)
  })

  it("direct takers starve no metered task", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(2)
    const meter = Meter.fromSemaphore(semaphore)
    const greedy = (name: string) => Effect.forEach(range(30), (n) => semaphore.withPermit(log.task(`${name}${n}`, 10)))
    await log.play([0, greedy("x")], [0, greedy("y")], [0, greedy("z")], [5, Meter.metered(log.task("metered"), meter)])
    expect(log.starts).toContain("metered 10")
  })

  it("one who takes several permits at once is not kept waiting for ever, and takes all of them", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(3)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [0, runOnEach(names(6), (name) => log.task(name, 100), { meter })],
      [250, semaphore.withPermits(3)(log.task("all", 100))]
    )
    expect(log.starts).toEqual(["t0 0", "t1 0", "t2 0", "t3 100", "t4 100", "t5 100", "all 250"])
    await log.world.value(allFree(semaphore, 3))
  })

  it("without waiters it does not use the semaphore", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play([0, Meter.metered(log.task("a", 10), meter)], [20, semaphore.withPermit(log.task("b", 50))])
    expect(log.starts).toEqual(["a 0", "b 20"])
    await log.world.value(allFree(semaphore, 1))
    log.expectRest()
  })

  it("an interrupted waiter leaves the semaphore's queue", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [0, semaphore.withPermit(log.task("busy", 100))],
      [10, Effect.timeoutOption(Meter.metered(log.task("gone"), meter), 20)],
      [40, semaphore.withPermit(log.task("direct", 10))]
    )
    expect(log.starts).toEqual(["busy 0", "direct 100"])
    log.expectRest()
  })

  it("a remaining waiter gets the permit that an interrupted one had requested", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [0, semaphore.withPermit(log.task("busy", 100))],
      [10, Effect.timeoutOption(Meter.metered(log.task("gone"), meter), 50)],
      [20, Meter.metered(log.task("stays", 10), meter)],
      [30, semaphore.withPermit(log.task("direct", 10))]
    )
    expect(log.starts).toEqual(["busy 0", "stays 100", "direct 110"])
  })

  it("the permit is the task's until its finalizers have run", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [
        0,
        Effect.exit(
          Effect.timeout(Meter.metered(log.around("a", Effect.ensuring(Effect.never, Effect.sleep(40))), meter), 10)
        )
      ],
      [1, semaphore.withPermit(log.task("b"))]
    )
    expect(log.starts).toEqual(["a 0", "b 50"])
  })

  it("no permit is held for a waiter that also waits for another meter", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const younger = Meter.makeUnsafe({ maxAtOnce: 1 })
    for (const meter of [
      Meter.all(Meter.fromSemaphore(semaphore), younger),
      Meter.all(younger, Meter.fromSemaphore(semaphore))
    ]) {
      log.starts.length = 0
      const began = log.now
      await log.play(
        [0, Meter.metered(log.task("busy", 100), younger)],
        [10, Meter.metered(log.task("both", 10), meter)],
        [20, semaphore.withPermit(log.task("direct", 10))]
      )
      expect(log.starts).toEqual([`busy ${began}`, `direct ${began + 20}`, `both ${began + 100}`])
    }
  })

  it("a permit in hand goes back when another meter has closed meanwhile", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const other = Meter.makeUnsafe({ maxAtOnce: 1 })
    const both = Meter.all(other, Meter.fromSemaphore(semaphore))
    await log.play(
      [0, semaphore.withPermit(log.task("busy", 100))],
      [10, Meter.metered(log.task("both"), both)],
      [20, Meter.pause(other, 300)],
      [150, semaphore.withPermit(log.task("direct", 10))]
    )
    expect(log.starts).toEqual(["busy 0", "direct 150", "both 320"])
    await log.world.value(allFree(semaphore, 1))
  })

  it("snapshot counts the meter's own tasks, and what it would leave free", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(3)
    const meter = Meter.fromSemaphore(semaphore)
    const shots: Array<unknown> = []
    await log.play(
      [0, Meter.metered(log.task("a", 100), meter)],
      [
        10,
        Effect.map(Meter.snapshot(meter), ({ free, running, started, waiting }) =>
          shots.push({ free, running, started, waiting })
        )
      ]
    )
    expect(shots).toEqual([{ free: 2, running: 1, started: 1, waiting: 0 }])
  })

  it("a semaphore that fails makes its meter fail: present and later waiters fail with its cause", async () => {
    const log = new Log()
    const real = Semaphore.makeUnsafe(1)
    const broken = new Proxy(real, {
      get: (target, key) =>
        key === "withPermits"
          ? () => () => Effect.andThen(Effect.sleep(10), Effect.die("no semaphore"))
          : Reflect.get(target, key)
    })
    const meter = Meter.fromSemaphore(broken)
    await log.play(
      [0, log.named("a", Meter.metered(log.task("a"), meter))],
      [
        5,
        log.named(
          "b",
          runOnEach([1], () => log.task("b"), { meter })
        )
      ],
      [50, log.named("c", Meter.metered(log.task("c"), meter))]
    )
    expect(log.starts).toEqual([])
    expect(log.ends).toEqual(["a 10", "b 10", "c 50"])
    for (const name of ["a", "b", "c"]) expect(log.exit(name)).toEqual(Exit.die("no semaphore"))
    log.expectRest()
  })

  it("with an unknown number of permits is unlimited in a snapshot, and still limits", async () => {
    const log = new Log()
    const real = Semaphore.makeUnsafe(1)
    const opaque = new Proxy(real, { get: (target, key) => (key === "permits" ? undefined : Reflect.get(target, key)) })
    const meter = Meter.fromSemaphore(opaque)
    await log.play([0, runOnEach(names(3), (name) => log.task(name, 10), { meter })])
    expect(log.starts).toEqual(["t0 0", "t1 10", "t2 20"])
    expect((await log.world.value(Meter.snapshot(meter))).free).toBe(Infinity)
  })

  it("never exceeds the permits, loses none and admits every task, for any mix of takers, interruptions and resizes", async () => {
    const taker = fc.record({
      direct: fc.boolean(),
      at: fc.integer({ min: 0, max: 80 }),
      lasts: fc.integer({ min: 0, max: 30 }),
      leaves: fc.option(fc.integer({ min: 0, max: 60 }))
    })
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(taker, { maxLength: 25 }),
        fc.boolean(),
        async (permits, takers, fine) => {
          const world = new World({ fine })
          const semaphore = Semaphore.makeUnsafe(permits)
          const meters = [Meter.fromSemaphore(semaphore), Meter.fromSemaphore(semaphore)]
          let running = 0
          let peak = 0
          let ended = 0
          const task = (lasts: number) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                running++
                peak = Math.max(peak, running)
              }),
              () => Effect.map(Effect.sleep(lasts), () => void ended++),
              () => Effect.sync(() => void running--)
            )
          const each = takers.map(({ at, direct, lasts, leaves }, index) => {
            const taken = direct ? semaphore.withPermit(task(lasts)) : Meter.metered(task(lasts), meters[index % 2]!)
            return Effect.andThen(Effect.sleep(at), leaves === null ? taken : Effect.timeoutOption(taken, leaves))
          })
          await world.value(
            Effect.gen(function* () {
              const fibers = yield* Effect.forEach(each, (effect) => Effect.forkChild(effect))
              yield* Fiber.awaitAll(fibers)
            }).pipe(Effect.timeout("1 hour"))
          )
          expect(peak).toBeLessThanOrEqual(permits)
          expect(ended).toBeGreaterThanOrEqual(takers.filter(({ leaves }) => leaves === null).length)
          await world.value(allFree(semaphore, permits))
          expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
        }
      ),
      { numRuns: 120 }
    )
  })
})
