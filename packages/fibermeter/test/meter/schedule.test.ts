/** Meters of schedules: of every kind that Effect has, also those that fail, need something, take time, or end. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Random, Schedule } from "effect"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { defectOf, errorOf, Log, names } from "../support/Log.ts"
import { observe } from "../support/observe.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

/** The start instants, in milliseconds, of so many tasks that all wait from the beginning. */
const startsOf = async (count: number, schedule: Schedule.Schedule<unknown, unknown, unknown>) => {
  const log = new Log()
  await log.play([0, runOnEach(range(count), (n) => log.task(String(n)), { meter: Meter.fromSchedule(schedule) })])
  // The last step may not be done: that one is the meter's.
  await log.world.value(Effect.sleep(1000))
  log.expectRest()
  return log.starts.map((start) => Number(start.split(" ")[1]))
}

describe("fromSchedule, its delay being the least time to the next start", () => {
  it("spaced", async () => {
    expect(await startsOf(4, Schedule.spaced("100 millis"))).toEqual([0, 100, 200, 300])
  })

  it("exponential", async () => {
    expect(await startsOf(6, Schedule.exponential("100 millis"))).toEqual([0, 100, 300, 700, 1500, 3100])
  })

  it("fibonacci", async () => {
    expect(await startsOf(6, Schedule.fibonacci("10 millis"))).toEqual([0, 10, 20, 40, 70, 120])
  })

  it("forever: without a delay everybody starts at once", async () => {
    expect(await startsOf(5, Schedule.forever)).toEqual([0, 0, 0, 0, 0])
  })

  it("a delay in fractions of a nanosecond's neighbourhood is not cut short", async () => {
    expect(await startsOf(3, Schedule.spaced(Duration.nanos(1n)))).toEqual([0, 0.000_001, 0.000_002])
    expect(await startsOf(2, Schedule.spaced(Duration.nanos(333_333_333_333n)))).toEqual([0, 333_333.333_333])
  })

  it("jittered: each delay lies where the jitter may put it, and they differ", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.jittered(Schedule.spaced("100 millis")))
    await log.play([0, runOnEach(range(40), (n) => log.task(String(n)), { meter }).pipe(Random.withSeed("fibermeter"))])
    const starts = log.starts.map((start) => Number(start.split(" ")[1]))
    const gaps = starts.slice(1).map((at, index) => at - starts[index]!)
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(80)
      expect(gap).toBeLessThanOrEqual(120)
    }
    expect(new Set(gaps).size).toBeGreaterThan(30)
  })

  it.effect("cron: by the wall clock, first at once and then at its times", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const meter = Meter.fromSchedule(Schedule.cron("*/10 * * * * *", "UTC"))
      const { exit } = yield* observe(
        Effect.andThen(
          Effect.sleep(3_000),
          runOnEach(
            range(4),
            spy.watch(() => Effect.void),
            { meter }
          )
        )
      )
      expect(exit).toEqual(Exit.void)
      expect(spy.starts).toEqual([3_000, 10_000, 20_000, 30_000].map(ms))
    })
  )

  it("union and intersection: the shorter and the longer of two delays", async () => {
    const short = Schedule.spaced("30 millis")
    const growing = Schedule.exponential("10 millis")
    expect(await startsOf(5, Schedule.min([short, growing]))).toEqual([0, 10, 30, 60, 90])
    expect(await startsOf(5, Schedule.max([short, growing]))).toEqual([0, 30, 60, 100, 180])
  })

  it("is stepped at each start and at no other time", async () => {
    const log = new Log()
    const steps: Array<number> = []
    const counted = Schedule.tap(Schedule.spaced(50), () => Effect.sync(() => steps.push(log.now)))
    const meter = Meter.fromSchedule(counted)
    await log.play(
      [0, Meter.metered(log.task("a"), meter)],
      [10, Effect.timeoutOption(Meter.metered(log.task("gone"), meter), 20)],
      [500, runOnEach(names(2), (name) => log.task(name), { meter })]
    )
    expect(log.starts).toEqual(["a 0", "t0 500", "t1 550"])
    expect(steps).toEqual([0, 500, 550])
  })

  it("with a permit of another meter it counts from the start, and is not stepped for a task that only waits", async () => {
    const log = new Log()
    const meter = Meter.all(Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.fromSchedule(Schedule.spaced(50)))
    await log.play([0, runOnEach([120, 10, 10], (lasting, n) => log.task(String(n), lasting), { meter })])
    expect(log.starts).toEqual(["0 0", "1 120", "2 170"])
  })
})

describe("a schedule that takes time for its step", () => {
  const thinking = (millis: number) =>
    Schedule.modifyDelay(Schedule.spaced(100), ({ duration }) => Effect.as(Effect.sleep(millis), duration))

  it("its delay still counts from the start; until it has decided nothing starts", async () => {
    expect(await startsOf(4, thinking(30))).toEqual([0, 100, 200, 300])
    expect(await startsOf(4, thinking(170))).toEqual([0, 170, 340, 510])
  })

  it("finishes its step after the task that started it has ended, so that the next start keeps its distance", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(thinking(60))
    await log.play(
      [
        0,
        Effect.timeoutOption(
          runOnEach([1], () => log.around("a", Effect.never), { meter }),
          10
        )
      ],
      [20, Meter.metered(log.task("b"), meter)]
    )
    expect(log.starts).toEqual(["a 0", "b 100"])
  })

  it("steps from many callers never overlap", async () => {
    const log = new Log()
    let stepping = 0
    let most = 0
    const careful = Schedule.modifyDelay(Schedule.forever, () =>
      Effect.gen(function* () {
        most = Math.max(most, ++stepping)
        yield* Effect.sleep(10)
        stepping--
        return Duration.zero
      })
    )
    const meter = Meter.fromSchedule(careful)
    await log.play(...names(5).map((name) => [0, Meter.metered(log.task(name), meter)] as const))
    expect(log.starts).toEqual(["t0 0", "t1 10", "t2 20", "t3 30", "t4 40"])
    expect(most).toBe(1)
  })
})

describe("a schedule that fails", () => {
  class Broken {
    readonly _tag = "Broken"
  }
  const breaking = (at: number) => {
    let steps = 0
    return Schedule.modifyDelay(Schedule.spaced(10), ({ duration }) =>
      ++steps === at ? Effect.fail(new Broken()) : Effect.succeed(duration)
    )
  }

  it("fails present and later waiters with its typed error; running tasks continue", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(breaking(2))
    const one = (name: string) => log.named(name, Meter.metered(log.task(name, 50), meter))
    await log.play([0, one("a")], [0, one("b")], [1, one("c")], [2, one("d")], [500, one("e")])
    expect(log.starts).toEqual(["a 0", "b 10"])
    expect(log.ends).toEqual(["c 10", "d 10", "a 50", "b 60", "e 500"])
    for (const name of ["c", "d", "e"]) expect(errorOf(log.exit(name))).toBeInstanceOf(Broken)
    log.expectRest()
  })

  it("its error can be caught by its tag", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(breaking(1))
    const caught = runAll(range(3), Effect.succeed, { meter }).pipe(
      Effect.map(() => "all"),
      Effect.catchTag("Broken", () => Effect.succeed("broken"))
    )
    expect(await log.world.value(caught)).toBe("broken")
  })

  it("a defect in it is a defect of the calls", async () => {
    const log = new Log()
    const dying = Schedule.modifyDelay(Schedule.forever, () => Effect.die("bug"))
    const meter = Meter.fromSchedule(dying)
    expect(await log.world.run(runAll(range(3), Effect.succeed, { meter }))).toEqual(Exit.die("bug"))
    const throwing = Schedule.modifyDelay(Schedule.forever, (): Effect.Effect<Duration.Duration> => {
      throw new Error("thrown")
    })
    const exit = await log.world.run(runAll(range(3), Effect.succeed, { meter: Meter.fromSchedule(throwing) }))
    expect(defectOf(exit)).toEqual(new Error("thrown"))
  })

  it.each(verbs)("$name fails with it, and what ran has been interrupted", async (verb) => {
    const log = new Log()
    const meter = Meter.fromSchedule(breaking(2))
    const call = verb.run(names(4), (name) => log.around(name, Effect.never), { meter })
    await log.play([0, log.named("call", call)])
    expect(log.starts).toEqual(["t0 0", "t1 10"])
    expect(log.ends).toEqual(["call 10"])
    expect(errorOf(log.exit("call"))).toBeInstanceOf(Broken)
    log.expectRest()
  })
})

describe("a schedule that needs services", () => {
  class Pause extends Context.Service<Pause, { readonly millis: number }>()("test/meter/Pause") {}
  const needing = () =>
    Schedule.modifyDelay(Schedule.forever, () =>
      Effect.map(Effect.service(Pause), ({ millis }) => Duration.millis(millis))
    )

  it.each(verbs)("$name takes them from its caller", async (verb) => {
    const log = new Log()
    const meter = Meter.fromSchedule(needing())
    const call = verb.run(
      names(3),
      (name) => log.task(name, 1000),
      // The table knows no services; the call has one.
      { meter: meter as Meter.Meter<unknown> }
    )
    await log.play([0, Effect.provideService(call, Pause, { millis: 70 })])
    expect(log.starts).toEqual(["t0 0", "t1 70", "t2 140"])
  })

  it("each start steps it with what its own caller has", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(needing())
    const one = (name: string, millis: number) =>
      Meter.metered(log.task(name), meter).pipe(Effect.provideService(Pause, { millis }))
    await log.play([0, one("a", 100)], [1, one("b", 50)], [2, one("c", 10)], [3, one("d", 0)])
    expect(log.starts).toEqual(["a 0", "b 100", "c 150", "d 160"])
  })
})

describe("a schedule that ends", () => {
  it("admits one start more than it recurs, and then nothing: ScheduleEnded, with its last output", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.upTo(Schedule.spaced(10), { times: 2 }))
    const one = (name: string) => log.named(name, Meter.metered(log.task(name), meter))
    await log.play(...names(5).map((name) => [0, one(name)] as const), [500, one("late")])
    expect(log.starts).toEqual(["t0 0", "t1 10", "t2 20"])
    expect(log.ends).toEqual(["t0 0", "t1 10", "t2 20", "t3 20", "t4 20", "late 500"])
    for (const name of ["t3", "t4", "late"]) {
      const error = errorOf(log.exit(name))
      expect(error).toBeInstanceOf(Meter.ScheduleEnded)
      expect(error).toMatchObject({ _tag: "ScheduleEnded", output: 2 })
      expect((error as Error).message).toBe("the schedule behind this meter has ended: it admits no further start")
    }
    log.expectRest()
  })

  it("a schedule that ends at once admits one start", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.recurs(0))
    await log.play([
      0,
      log.named(
        "call",
        runAll(names(2), (name) => log.task(name), { meter })
      )
    ])
    expect(log.starts).toEqual(["t0 0"])
    expect(errorOf(log.exit("call"))).toBeInstanceOf(Meter.ScheduleEnded)
  })

  it("a call that needs no more starts than there are succeeds", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.recurs(2))
    expect(await log.world.value(runAll(names(3), (name) => log.task(name), { meter }))).toEqual(names(3))
  })

  it("can be caught by its tag, as the end of what was to be done", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.recurs(1))
    const done: Array<number> = []
    const call = runOnEach(range(10), (n) => Effect.sync(() => done.push(n)), { meter })
    await log.play([0, Effect.catchTag(call, "ScheduleEnded", () => Effect.void)])
    expect(done).toEqual([0, 1])
  })

  it.each(verbs)("$name fails with it", async (verb) => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.recurs(1))
    await log.play([
      0,
      log.named(
        "call",
        verb.run(names(4), (name) => log.around(name, Effect.never), { meter })
      )
    ])
    expect(log.starts).toEqual(["t0 0", "t1 0"])
    expect(errorOf(log.exit("call"))).toBeInstanceOf(Meter.ScheduleEnded)
    log.expectRest()
  })

  it("beside a schedule that ended, other meters lose nothing", async () => {
    const log = new Log()
    const other = Meter.makeUnsafe({ maxAtOnce: 1, windows: { r: { limit: 3, per: 1000 } } })
    const meter = Meter.all(other, Meter.fromSchedule(Schedule.recurs(0)))
    await log.play(
      [0, Meter.metered(log.task("a"), meter)],
      [10, log.named("b", Meter.metered(log.task("b"), meter))],
      [20, runOnEach(names(2), (name) => log.task(name), { meter: other })]
    )
    expect(log.starts).toEqual(["a 0", "t0 20", "t1 20"])
    expect((await log.world.value(Meter.snapshot(other))).started).toBe(3)
  })
})
