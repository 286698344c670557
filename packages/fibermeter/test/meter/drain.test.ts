/** `Meter.drain`: accepts nothing more, finishes what it has accepted, and closes the meter. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { defectOf, Log, names } from "../support/Log.ts"
import { verbs } from "../support/verbs.ts"

const drain = (log: Log, meter: Meter.Meter<any, any>) => log.named("drain", Meter.drain(meter))

/** Starts another fiber. */
const apart = <A, E>(effect: Effect.Effect<A, E>) => Effect.forkDetach(effect, { startImmediately: true })

describe("Meter.drain", () => {
  it("of a meter without work completes at once, and closes it", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play(
      [5, drain(log, meter)],
      [10, log.named("metered", Meter.metered(log.task("m"), meter))],
      [10, log.named("if available", Meter.meteredIfAvailable(log.task("i"), meter))],
      [10, log.named("acquire", Effect.scoped(Meter.acquire(meter)))],
      [20, drain(log, Meter.all(meter))]
    )
    expect(log.ends).toEqual(["drain 5", "metered 10", "if available 10", "acquire 10", "drain 20"])
    for (const name of ["metered", "if available", "acquire"]) {
      expect(defectOf(log.exit(name)), name).toBeInstanceOf(Meter.Closed)
    }
    expect(log.starts).toEqual([])
    log.expectRest()
  })

  it.each(verbs)("rejects a later $name", async ({ run }) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play(
      [0, drain(log, meter)],
      [
        5,
        log.named(
          "call",
          run(names(2), (name) => log.task(name), { meter })
        )
      ]
    )
    expect(defectOf(log.exit("call"))).toMatchObject({ _tag: "Closed", message: expect.stringContaining("drained") })
    expect(log.starts).toEqual([])
    log.expectRest()
  })

  it.each<readonly [string, () => Meter.Meter<any>, number]>([
    ["maxAtOnce", () => Meter.makeUnsafe({ maxAtOnce: 1 }), 30],
    ["maxPerSecond", () => Meter.makeUnsafe({ maxPerSecond: 100 }), 30],
    ["a semaphore", () => Meter.fromSemaphore(Semaphore.makeUnsafe(1)), 30],
    ["a schedule", () => Meter.fromSchedule(Schedule.spaced("10 millis")), 30],
    ["several meters", () => Meter.all(Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({ maxPerSecond: 100 })), 30]
  ])("finishes what runs and waits: %s", async (_, make, end) => {
    const log = new Log()
    const meter = make()
    const one = (name: string) => Meter.metered(log.task(name, 10), meter)
    await log.play(
      [0, one("a")],
      [0, one("b")],
      [0, one("c")],
      [5, drain(log, meter)],
      [15, log.named("late", one("late"))]
    )
    expect(log.starts).toEqual(["a 0", "b 10", "c 20"])
    expect(log.ends).toEqual(["late 15", `drain ${end}`])
    expect(defectOf(log.exit("late"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("finishes nested calls of accepted tasks: of metered, of verbs, and of their tasks", async () => {
    const log = new Log()
    for (const limits of [{ maxAtOnce: 9 }, { maxPerSecond: 1000 }, { windows: { any: { limit: 100, per: 10 } } }]) {
      const meter = Meter.makeUnsafe(limits)
      const inner = (name: string) => Meter.metered(log.task(name, 5), meter)
      const nested = (name: string) =>
        Effect.andThen(
          Effect.sleep(20),
          runAll(names(3, name), (each) => inner(each), { meter })
        )
      const outcome = await log.world.value(
        Effect.gen(function* () {
          const calls = yield* Effect.forEach(
            [Meter.metered(nested("m"), meter), runOnEach(["v"], nested, { meter })],
            apart
          )
          yield* Effect.sleep(10)
          yield* Meter.drain(meter)
          return yield* Effect.forEach(calls, (fiber) => Effect.map(Fiber.await(fiber), Exit.isSuccess))
        })
      )
      expect(outcome, JSON.stringify(limits)).toEqual([true, true])
    }
    expect(log.starts.length).toBe(18)
    log.expectRest()
  })

  it("rejects calls from inside tasks of other meters", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const other = Meter.makeUnsafe({ maxAtOnce: 1 })
    const inner = Meter.metered(log.task("inner"), meter)
    await log.play(
      [0, drain(log, meter)],
      [5, log.named("metered", Meter.metered(inner, other))],
      [
        10,
        log.named(
          "verb",
          Meter.metered(
            runAll(["a"], () => inner, { meter }),
            other
          )
        )
      ]
    )
    for (const name of ["metered", "verb"]) expect(defectOf(log.exit(name)), name).toBeInstanceOf(Meter.Closed)
    expect(log.starts).toEqual([])
    log.expectRest()
  })

  it.each(verbs.filter(({ name }) => name !== "runAny"))(
    "$name with an endless source starts the item at hand, pulls one more, closes the source and dies",
    async ({ run }) => {
      const log = new Log()
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      let pulled = 0
      let isClosed = false
      const endless = function* () {
        try {
          for (;;) yield `t${pulled++}`
        } finally {
          isClosed = true
        }
      }
      await log.play(
        [
          0,
          log.named(
            "call",
            run(endless(), (name) => log.task(name, 50), { meter })
          )
        ],
        [10, drain(log, meter)]
      )
      expect(log.starts).toEqual(["t0 0", "t1 50"])
      expect(pulled).toBe(3)
      expect(isClosed).toBe(true)
      expect(log.ends.toSorted()).toEqual(["call 100", "drain 100"])
      expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
      log.expectRest()
    }
  )

  it.each(verbs)("$name whose items are all pulled ends as usual", async ({ name, run }) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play(
      [
        0,
        log.named(
          "call",
          run(names(2), (each) => log.task(each, 50), { meter })
        )
      ],
      [10, drain(log, meter)]
    )
    const end = name === "runAny" ? 50 : 100
    expect(log.ends.toSorted()).toEqual([`call ${end}`, `drain ${end}`])
    expect(log.exit("call")).toEqual(Exit.void)
    log.expectRest()
  })

  it("runAny with failures left: the item at hand may still win, otherwise the call dies", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const failing = runAny(names(9), (name) => Effect.andThen(log.task(name, 50), Effect.fail(name)), { meter })
    await log.play([0, log.named("call", failing)], [10, drain(log, meter)])
    expect(log.starts).toEqual(["t0 0", "t1 50"])
    expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("does not wait for the next item of a stream that stalls", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    const stalled = Stream.concat(Stream.make("a"), Stream.never)
    await log.play(
      [
        0,
        log.named(
          "call",
          runOnEach(stalled, (name) => log.task(name, 20), { meter })
        )
      ],
      [50, drain(log, meter)]
    )
    expect(log.ends.toSorted()).toEqual(["call 50", "drain 50"])
    expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("the reader of amap gets the results that were ready, then the defect", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    const read: Array<number> = []
    const slowly = Stream.runForEach(
      amap(
        Stream.iterate(0, (n) => n + 1),
        Effect.succeed,
        { meter, maxUnread: 3 }
      ),
      (n) =>
        Effect.andThen(
          Effect.sync(() => read.push(n)),
          Effect.sleep(20)
        )
    )
    await log.play([0, log.named("call", slowly)], [10, drain(log, meter)])
    expect(log.ends[0]).toBe("drain 10")
    expect(read).toEqual([0, 1, 2, 3])
    expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("a paused meter drains when it is resumed", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    await log.play(
      [0, Meter.pause(meter)],
      [0, Meter.metered(log.task("a"), meter)],
      [0, drain(log, meter)],
      [40, Meter.resume(meter)]
    )
    expect(log.starts).toEqual(["a 40"])
    expect(log.ends).toEqual(["drain 40"])
    log.expectRest()
  })

  it("waits for a call that needs another meter, at whose queue it waits", async () => {
    const log = new Log()
    const [drained, other] = [Meter.makeUnsafe({ maxAtOnce: 5 }), Meter.makeUnsafe({ maxAtOnce: 1 })]
    await log.play(
      [0, Meter.metered(log.task("a", 30), other)],
      [5, Meter.metered(log.task("b", 10), Meter.all(drained, other))],
      [10, drain(log, drained)],
      [50, Meter.metered(log.task("c"), other)]
    )
    expect(log.starts).toEqual(["a 0", "b 30", "c 50"])
    expect(log.ends).toEqual(["drain 40"])
    log.expectRest()
  })

  it("continues when the effect that called it is interrupted", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    await log.play(
      [0, Meter.metered(log.task("a", 50), meter)],
      [10, Effect.timeoutOption(Meter.drain(meter), 10)],
      [30, log.named("late", Meter.metered(log.task("late"), meter))]
    )
    expect(defectOf(log.exit("late"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("the meter of a key stays closed, although it is unused", async () => {
    const log = new Log()
    const meters = Meter.keyedUnsafe<number>({ maxAtOnce: 1 })
    await log.play(
      [0, Meter.drain(meters.for(0))],
      [5, runOnEach(names(50), (_, key) => Meter.metered(Effect.void, meters.for(key + 1)))],
      [10, log.named("late", Meter.metered(log.task("late"), meters.for(0)))]
    )
    expect(defectOf(log.exit("late"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("dies of what is not a meter", async () => {
    const log = new Log()
    await log.play([0, log.named("bad", Meter.drain("no" as never))])
    expect(defectOf(log.exit("bad"))).toMatchObject({ message: expect.stringContaining("a Meter") })
  })
})
