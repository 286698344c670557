/** Waits that end in an unusual step: while a meter admits or returns a waiter, or behind a full meter. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule, Semaphore } from "effect"
import { Meter, runAll } from "../../src/index.ts"
import { errorOf, Log } from "../support/Log.ts"

/** A call whose `f` notes its items, the fiber that it is, and what was noted. */
const noting = (log: Log, meter: ReadonlyArray<Meter.Meter<any>>) => {
  const called: Array<number> = []
  const noted: { readonly called: ReadonlyArray<number>; fiber: Fiber.Fiber<unknown, unknown> | undefined } = {
    called,
    fiber: undefined
  }
  const call = runAll(
    [1, 2, 3],
    (n) => {
      called.push(n)
      return log.task(`task ${n}`)
    },
    { meter }
  )
  const run = Effect.gen(function* () {
    noted.fiber = yield* Effect.forkChild(call)
    yield* Fiber.await(noted.fiber)
  })
  return { noted, run }
}

const expectFree = async (log: Log, ...meters: ReadonlyArray<Meter.Meter<any>>): Promise<void> => {
  for (const meter of meters) {
    expect(await log.world.value(Meter.snapshot(meter))).toMatchObject({ running: 0, waiting: 0 })
    await log.world.value(Effect.sleep(1000))
    expect(await log.world.value(Meter.metered(Effect.succeed("free"), meter))).toBe("free")
    await log.world.value(Effect.sleep(1000))
  }
  log.expectRest()
}

describe("G8: a call starts nothing after its end", () => {
  it("that a schedule's step brings about, and the permit of a semaphore beside it comes back", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    let steps = 0
    const schedule = Schedule.tap(Schedule.spaced(50), () =>
      Effect.sync(() => {
        if (++steps === 2) noted.fiber!.interruptUnsafe()
      })
    )
    const { noted, run } = noting(log, [Meter.fromSchedule(schedule), Meter.fromSemaphore(semaphore)])
    await log.play([0, run])
    expect(noted.called).toEqual([1])
    expect(await log.world.value(semaphore.withPermit(Effect.succeed("free")))).toBe("free")
    log.expectRest()
  })

  it("that comes of a task which starts where it has just moved from", async () => {
    const log = new Log()
    const wide = Meter.makeUnsafe({ maxAtOnce: 2 })
    const narrow = Meter.makeUnsafe({ maxAtOnce: 1 })
    const { noted, run } = noting(log, [narrow, wide])
    const interrupts = log.around(
      "interrupts",
      Effect.sync(() => noted.fiber!.interruptUnsafe())
    )
    await log.play(
      [0, Meter.metered(log.task("one", 40), narrow)],
      [0, Meter.metered(log.task("two", 60), wide)],
      [0, Meter.metered(log.task("three", 60), wide)],
      [5, Meter.metered(log.task("four"), wide)],
      // Waits for the narrow one, and from 40 on for the wide one, behind "four".
      [10, run],
      [15, Meter.metered(interrupts, narrow)]
    )
    expect(log.starts).toEqual(["one 0", "two 0", "three 0", "interrupts 40", "four 60"])
    expect(noted.called).toEqual([])
    await expectFree(log, narrow, wide)
  })

  it("that comes of the step of a meter's schedule which lets its next one start", async () => {
    const log = new Log()
    let steps = 0
    const schedule = Schedule.tap(Schedule.spaced(50), () =>
      Effect.sync(() => {
        if (++steps === 2) noted.fiber!.interruptUnsafe()
      })
    )
    const meter = Meter.fromSchedule(schedule)
    const { noted, run } = noting(log, [meter])
    await log.play([0, run])
    expect(noted.called).toEqual([1])
    await expectFree(log, meter)
  })

  it("that comes of the same, where it is a single task", async () => {
    const log = new Log()
    let steps = 0
    let fiber: Fiber.Fiber<unknown, unknown> | undefined
    const schedule = Schedule.tap(Schedule.spaced(50), () =>
      Effect.sync(() => {
        if (++steps === 2) fiber!.interruptUnsafe()
      })
    )
    const meter = Meter.fromSchedule(schedule)
    const second = Effect.gen(function* () {
      fiber = yield* Effect.forkChild(Meter.metered(log.task("second"), meter))
      yield* Fiber.await(fiber)
    })
    await log.play([0, Meter.metered(log.task("first"), meter)], [10, second])
    expect(log.starts).toEqual(["first 0"])
    await expectFree(log, meter)
  })
})

describe("G10: no waiter waits for ever", () => {
  it("behind a full meter for a schedule that has ended, while the task that fills it waits for that schedule", async () => {
    const log = new Log()
    const ended = Meter.fromSchedule(Schedule.recurs(0))
    const full = Meter.makeUnsafe({ maxAtOnce: 1 })
    const task = Effect.gen(function* () {
      const child = yield* Effect.forkChild(Meter.metered(Effect.void, Meter.all(full, ended)))
      return yield* Fiber.await(child)
    })
    let outcome: Exit.Exit<void, Meter.ScheduleEnded> | undefined
    const holder = Effect.map(Meter.metered(task, full), (exit) => {
      outcome = exit
    })
    const use = Effect.exit(Meter.metered(Effect.void, ended))
    await log.play([0, holder], [10, use], [20, use], [30, Meter.resume(full)])
    expect(Exit.isFailure(outcome!)).toBe(true)
    expect(await log.world.value(Meter.snapshot(full))).toMatchObject({ running: 0, waiting: 0 })
    log.expectRest()
  })

  it("for a schedule that ends with the start of another task, whichever other meter is waited at", async () => {
    const log = new Log()
    const ending = Meter.fromSchedule(Schedule.upTo(Schedule.spaced(10), { times: 1 }))
    const full = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play(
      [0, Meter.metered(log.task("busy", 100), full)],
      [0, Meter.metered(log.task("first"), ending)],
      [1, log.named("second", Meter.metered(log.task("second"), ending))],
      [5, log.named("both", Meter.metered(log.task("never"), Meter.all(ending, full)))]
    )
    expect(log.starts).toEqual(["busy 0", "first 0", "second 10"])
    expect(log.ends).toEqual(["second 10", "both 10"])
    expect(errorOf(log.exit("both"))).toBeInstanceOf(Meter.ScheduleEnded)
    log.expectRest()
  })
})
