/** `Meter.meteredIfAvailable`: runs an effect now or not at all. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Schedule, Semaphore } from "effect"
import { Meter } from "../../src/index.ts"
import { defectOf, errorOf, Log } from "../support/Log.ts"

const seen = (log: Log, name: string) => {
  const exit = log.exit(name)
  return exit !== undefined && Exit.isSuccess(exit) ? exit.value : exit
}

/** An attempt whose result is noted by its name. */
const attempt = (log: Log, name: string, meter: Meter.Meter<unknown>, options: Meter.TaskOptions = {}) =>
  Effect.map(Effect.exit(Meter.meteredIfAvailable(log.task(name, 20), meter, options)), (exit) => {
    log.exits.set(name, exit)
  })

describe("Meter.meteredIfAvailable", () => {
  it.each<readonly [string, () => Meter.Meter<unknown>, number]>([
    ["maxAtOnce: while a task runs", () => Meter.makeUnsafe({ maxAtOnce: 1 }), 20],
    ["maxPerSecond: until the next start is due", () => Meter.makeUnsafe({ maxPerSecond: 20 }), 50],
    ["a window that is used up", () => Meter.makeUnsafe({ windows: { any: { limit: 1, per: 80 } } }), 80],
    ["a semaphore without a permit", () => Meter.fromSemaphore(Semaphore.makeUnsafe(1)), 20],
    ["a schedule", () => Meter.fromSchedule(Schedule.spaced("30 millis")), 30],
    [
      "one of several meters",
      () => Meter.all(Meter.makeUnsafe({ maxAtOnce: 5 }), Meter.makeUnsafe({ maxPerSecond: 10 })),
      100
    ]
  ])("None, without waiting: %s", async (_, make, free) => {
    const log = new Log()
    const meter = make()
    await log.play(
      [0, attempt(log, "a", meter)],
      [5, attempt(log, "b", meter)],
      [free - 1, attempt(log, "c", meter)],
      [free + 1, attempt(log, "d", meter)]
    )
    expect(["a", "b", "c", "d"].map((name) => seen(log, name))).toEqual([
      Option.some("a"),
      Option.none(),
      Option.none(),
      Option.some("d")
    ])
    expect(log.starts).toEqual(["a 0", `d ${free + 1}`])
    log.expectRest()
  })

  it("takes nothing from the meters that are open where another is closed", async () => {
    const log = new Log()
    const [open, closed] = [Meter.makeUnsafe({ maxPerSecond: 10 }), Meter.makeUnsafe({ maxAtOnce: 1 })]
    const permits = Semaphore.makeUnsafe(1)
    await log.play(
      [0, Meter.metered(log.task("a", 50), closed)],
      [5, attempt(log, "b", Meter.all(open, closed, Meter.fromSemaphore(permits)))],
      [6, Meter.metered(log.task("c"), open)],
      [7, permits.withPermitsIfAvailable(1)(log.task("d"))]
    )
    expect(seen(log, "b")).toEqual(Option.none())
    expect(log.starts).toEqual(["a 0", "c 6", "d 7"])
    log.expectRest()
  })

  it("does not start before tasks that wait", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { units: { limit: 10, per: 100 } } })
    await log.play(
      [0, Meter.metered(log.task("a"), meter, { cost: { units: 5 } })],
      [5, Meter.metered(log.task("b"), meter, { cost: { units: 8 } })],
      [10, attempt(log, "c", meter, { cost: { units: 1 } })]
    )
    expect(seen(log, "c")).toEqual(Option.none())
    expect(log.starts).toEqual(["a 0", "b 100"])
    log.expectRest()
  })

  it("fails with the errors of the task and of the meter, and for a cost that is too high", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { units: { limit: 10, per: 100 } } })
    const ended = Meter.fromSchedule(Schedule.recurs(0))
    await log.play(
      [0, log.named("fails", Meter.meteredIfAvailable(Effect.fail("no"), meter))],
      [5, attempt(log, "too much", meter, { cost: { units: 11 } })],
      [5, attempt(log, "last", ended)],
      [50, attempt(log, "ended", ended)],
      [60, log.named("piped", Effect.succeed(1).pipe(Meter.meteredIfAvailable(meter)))],
      [60, log.named("no effect", Meter.meteredIfAvailable("no" as never, meter))]
    )
    expect(errorOf(log.exit("fails"))).toBe("no")
    expect(errorOf(log.exit("too much"))).toMatchObject({ _tag: "ExcessiveCost" })
    expect(errorOf(log.exit("ended"))).toMatchObject({ _tag: "ScheduleEnded" })
    expect(log.exit("piped")).toEqual(Exit.succeed(Option.some(1)))
    expect(defectOf(log.exit("no effect"))).toMatchObject({ message: expect.stringContaining("an Effect") })
    log.expectRest()
  })

  it("an interruption releases the permit", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play(
      [
        0,
        Effect.flatMap(Effect.forkChild(Meter.meteredIfAvailable(log.task("a", 50), meter)), (fiber) =>
          Effect.delay(Fiber.interrupt(fiber), 10)
        )
      ],
      [11, attempt(log, "b", meter)]
    )
    expect(seen(log, "b")).toEqual(Option.some("b"))
    log.expectRest()
  })
})
