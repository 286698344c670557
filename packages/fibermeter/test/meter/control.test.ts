/** Control while running: pause, resume, resize and snapshot, for new calls and for waiters. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Schedule, Semaphore } from "effect"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { defectOf, errorOf, Log, names } from "../support/Log.ts"
import { range } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

const call = (log: Log, meter: Meter.Meter<unknown>, count: number, lasting = 0) =>
  runOnEach(names(count), (name) => log.task(name, lasting), { meter })

/** A meter of each kind, which admits at once while it is not paused. */
const kinds: ReadonlyArray<{ readonly name: string; readonly make: () => Meter.Meter<unknown> }> = [
  { name: "without limits", make: () => Meter.makeUnsafe({}) },
  { name: "at once", make: () => Meter.makeUnsafe({ maxAtOnce: 50 }) },
  { name: "a second", make: () => Meter.makeUnsafe({ maxPerSecond: 1000, maxBurst: 50 }) },
  { name: "windows", make: () => Meter.makeUnsafe({ windows: { requests: { limit: 50, per: 1000 } } }) },
  { name: "a semaphore", make: () => Meter.fromSemaphore(Semaphore.makeUnsafe(50)) },
  { name: "a schedule", make: () => Meter.fromSchedule(Schedule.forever) },
  { name: "all of them", make: () => Meter.all(...kinds.slice(0, -1).map(({ make }) => make())) }
]

it.effect("controls are the same data-first and data-last", () =>
  Effect.gen(function* () {
    const state = (meter: Meter.Meter) =>
      Effect.map(Meter.snapshot(meter), ({ free, nextStart }) => [free, Duration.toMillis(nextStart)])
    for (const control of [
      (meter: Meter.Meter) => Effect.andThen(Meter.pause(meter, 70), Meter.resize(meter, { maxAtOnce: 3 })),
      (meter: Meter.Meter) => Effect.andThen(meter.pipe(Meter.pause(70)), meter.pipe(Meter.resize({ maxAtOnce: 3 })))
    ]) {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      yield* control(meter)
      expect(yield* state(meter)).toEqual([3, 70])
    }
    for (const pause of [Meter.pause(), Meter.pause(undefined), Meter.pause]) {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      yield* pause(meter)
      expect(yield* state(meter)).toEqual([1, Infinity])
    }
  })
)

describe.each(kinds)("pause of a meter: $name", ({ make }) => {
  it("holds back all who come, in their order, for the duration, to the nanosecond", async () => {
    const log = new Log()
    const meter = make()
    const one = (name: string) => Meter.metered(log.task(name), meter)
    await log.play([0, Meter.pause(meter, 70)], [10, one("a")], [69.999_999, one("b")], [70, one("c")])
    expect(log.starts).toEqual(["a 70", "b 70", "c 70"])
    log.expectRest()
  })

  it("without a duration it lasts until resume", async () => {
    const log = new Log()
    const meter = make()
    await log.play([0, Meter.pause(meter)], [10, call(log, meter, 2)], [100_000_000, Meter.resume(meter)])
    expect(log.starts).toEqual(["t0 100000000", "t1 100000000"])
    log.expectRest()
  })

  it("resume ends it early, and waiters start at once", async () => {
    const log = new Log()
    const meter = make()
    await log.play(
      [0, Meter.pause(meter, 1000)],
      [10, call(log, meter, 2)],
      [50, Meter.resume(meter)],
      [60, Meter.metered(log.task("later"), meter)]
    )
    expect(log.starts).toEqual(["t0 50", "t1 50", "later 60"])
    log.expectRest()
  })

  it("of several pauses, the one that ends last counts, and resume ends all of them", async () => {
    const log = new Log()
    const meter = make()
    await log.play(
      [0, Meter.pause(meter, 100)],
      [10, Meter.pause(meter, 20)],
      [20, call(log, meter, 1)],
      [30, Meter.pause(meter, 90)],
      [200, Meter.pause(meter, 1000)],
      [201, Meter.pause(meter)],
      [210, call(log, meter, 1)],
      [220, Meter.resume(meter)]
    )
    expect(log.starts).toEqual(["t0 120", "t0 220"])
  })

  it("running tasks continue", async () => {
    const log = new Log()
    const meter = make()
    await log.play([0, log.named("ran", call(log, meter, 1, 50))], [10, Meter.pause(meter, 500)])
    expect(log.ends).toEqual(["ran 50"])
  })

  it("a waiter interrupted during it does not delay the next one", async () => {
    const log = new Log()
    const meter = make()
    await log.play(
      [0, Meter.pause(meter, 100)],
      ...range(60).map((n) => [n, Effect.timeoutOption(Meter.metered(log.task("gone"), meter), 0.5)] as const),
      [70, Meter.metered(log.task("stays"), meter)]
    )
    expect(log.starts).toEqual(["stays 100"])
    log.expectRest()
  })

  it("a pause of what is not paused any more does no harm to resume, nor does resume of what never was", async () => {
    const log = new Log()
    const meter = make()
    await log.play(
      [0, Meter.resume(meter)],
      [0, call(log, meter, 1)],
      [5, Meter.pause(meter, 5)],
      [20, Meter.resume(meter)],
      [21, call(log, meter, 1)]
    )
    expect(log.starts).toEqual(["t0 0", "t0 21"])
  })
})

describe("pause", () => {
  it.each(verbs)("holds back $name in the middle of its work", async (verb) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
    const lasting = verb.name === "runAny" ? Effect.fail("next") : Effect.void
    const task = (name: string) => log.around(name, Effect.andThen(Effect.sleep(40), lasting))
    await log.play([0, Effect.exit(verb.run(names(5), task, { meter }))], [50, Meter.pause(meter, 100)])
    expect(log.starts).toEqual(["t0 0", "t1 0", "t2 40", "t3 40", "t4 150"])
  })

  it("credit for a burst accrues during it while nothing waits, and not while a task waits", async () => {
    for (const [arrives, expected] of [
      [100, ["t0 2000", "t1 2200", "t2 2400", "t3 2600"]],
      [1999, ["t0 2000", "t1 2000", "t2 2000", "t3 2200"]]
    ] as const) {
      const log = new Log()
      const meter = Meter.makeUnsafe({ maxPerSecond: 5, maxBurst: 3 })
      // Spends the burst.
      await log.play(
        [0, runAll(names(3), () => Effect.void, { meter })],
        [50, Meter.pause(meter, 1950)],
        [arrives, call(log, meter, 4)]
      )
      expect(log.starts).toEqual(expected)
    }
  })

  it("the rate continues after it: missed slots are not caught up", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
    await log.play([0, call(log, meter, 6)], [150, Meter.pause(meter, 300)])
    expect(log.starts).toEqual(["t0 0", "t1 100", "t2 450", "t3 550", "t4 650", "t5 750"])
  })

  it("that ends before the next start is due changes nothing", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
    await log.play([0, call(log, meter, 4)], [110, Meter.pause(meter, 50)])
    expect(log.starts).toEqual(["t0 0", "t1 100", "t2 200", "t3 300"])
  })

  it("pauses one meter, and all waiters that need it alone or with others", async () => {
    const log = new Log()
    const a = Meter.makeUnsafe({ maxAtOnce: 5 })
    const b = Meter.makeUnsafe({ maxAtOnce: 5 })
    await log.play(
      [0, Meter.pause(a, 100)],
      [10, Meter.metered(log.task("a"), a)],
      [20, Meter.metered(log.task("b"), b)],
      [30, Meter.metered(log.task("both"), Meter.all(a, b))]
    )
    expect(log.starts).toEqual(["b 20", "a 100", "both 100"])
  })

  it("a permit of a semaphore is not held during it", async () => {
    const log = new Log()
    const semaphore = Semaphore.makeUnsafe(1)
    const meter = Meter.fromSemaphore(semaphore)
    await log.play(
      [0, semaphore.withPermit(log.task("direct", 50))],
      [10, Meter.metered(log.task("metered"), meter)],
      [20, Meter.pause(meter, 1000)],
      [100, semaphore.withPermit(log.task("direct again", 50))]
    )
    expect(log.starts).toEqual(["direct 0", "direct again 100", "metered 1020"])
  })

  it.each([0, "0 seconds", Duration.zero] as ReadonlyArray<Duration.Input>)(
    "of no time at all, %o, changes nothing",
    async (duration) => {
      const log = new Log()
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      await log.play([0, Meter.pause(meter, duration)], [0, call(log, meter, 1)])
      expect(log.starts).toEqual(["t0 0"])
    }
  )

  it("for a year and a nanosecond", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    const year = 365 * 86_400_000
    await log.play([0, Meter.pause(meter, Duration.nanos(BigInt(year) * 1_000_000n + 1n))], [1, call(log, meter, 1)])
    expect(log.starts).toEqual([`t0 ${year + 0.000_001}`])
  })

  it.each([-1, Number.NaN, "a while", null])("a duration of %o is a defect", async (duration) => {
    const log = new Log()
    const defect = defectOf(await log.world.run(Meter.pause(Meter.makeUnsafe({}), duration as never)))
    expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
    expect((defect as Error).message).toContain("the duration must be a duration")
  })
})

describe("resize", () => {
  it("with more permits, waiters start at once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play([0, call(log, meter, 4, 100)], [30, Meter.resize(meter, { maxAtOnce: 3 })])
    expect(log.starts).toEqual(["t0 0", "t1 30", "t2 30", "t3 100"])
  })

  it("with fewer permits, running tasks continue, and nothing starts until there are few enough", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
    const one = (name: string, lasting: number) => Meter.metered(log.task(name, lasting), meter)
    await log.play(
      [0, one("a", 100)],
      [0, one("b", 200)],
      [0, one("c", 300)],
      [10, one("d", 50)],
      [20, Meter.resize(meter, { maxAtOnce: 1 })],
      [30, one("e", 50)]
    )
    expect(log.starts).toEqual(["a 0", "b 0", "c 0", "d 300", "e 350"])
  })

  it("Infinity removes a limit, also for waiters", async () => {
    const limits: ReadonlyArray<readonly [Meter.Limits, Meter.Limits]> = [
      [{ maxAtOnce: 1 }, { maxAtOnce: Infinity }],
      [{ maxPerSecond: 1 }, { maxPerSecond: Infinity }],
      [{ maxPerSecond: 1 }, { maxBurst: Infinity }],
      [
        { windows: { requests: { limit: 1, per: "1 hour" } } },
        { windows: { requests: { limit: Infinity, per: "1 hour" } } }
      ]
    ]
    for (const [from, to] of limits) {
      const log = new Log()
      const meter = Meter.makeUnsafe(from)
      await log.play([0, call(log, meter, 4, 1000)], [30, Meter.resize(meter, to)])
      expect(log.starts).toEqual(["t0 0", "t1 30", "t2 30", "t3 30"])
    }
  })

  it("a new limit holds from then on", async () => {
    const cases: ReadonlyArray<readonly [Meter.Limits, ReadonlyArray<number>]> = [
      [{ maxAtOnce: 1 }, [40, 90, 140]],
      [{ maxPerSecond: 10 }, [40, 140, 240]],
      [{ windows: { requests: { limit: 2, per: 100 } } }, [40, 40, 140]]
    ]
    for (const [limits, expected] of cases) {
      const log = new Log()
      const meter = Meter.makeUnsafe({})
      await log.play([0, call(log, meter, 2, 10)], [30, Meter.resize(meter, limits)], [40, call(log, meter, 3, 50)])
      expect(log.starts).toEqual(["t0 0", "t1 0", ...expected.map((at, index) => `t${index} ${at}`)])
    }
  })

  it("a higher rate: the next start is one new interval after the last, or at once if that is past", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
    await log.play([0, call(log, meter, 4)], [300, Meter.resize(meter, { maxPerSecond: 2 })])
    expect(log.starts).toEqual(["t0 0", "t1 500", "t2 1000", "t3 1500"])
    const late = new Log()
    const another = Meter.makeUnsafe({ maxPerSecond: 1 })
    await late.play([0, call(late, another, 4)], [700, Meter.resize(another, { maxPerSecond: 2 })])
    expect(late.starts).toEqual(["t0 0", "t1 700", "t2 1200", "t3 1700"])
  })

  it("a lower rate counts earlier starts", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
    await log.play([0, call(log, meter, 10)], [450, Meter.resize(meter, { maxPerSecond: 2 })])
    // Five in the last second: no start before two of any second are left, then one every half second.
    expect(log.starts.slice(0, 5)).toEqual(["t0 0", "t1 100", "t2 200", "t3 300", "t4 400"])
    expect(log.starts.slice(5)).toEqual(["t5 1300", "t6 1800", "t7 2300", "t8 2800", "t9 3300"])
  })

  it("a higher rate is not a burst: tasks that waited through the change start evenly spread", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
    await log.play(
      [0, Meter.metered(log.task("first"), meter)],
      [10, Meter.pause(meter)],
      [5000, call(log, meter, 5)],
      [5100, Meter.resize(meter, { maxPerSecond: 100 })],
      [5200, Meter.resume(meter)]
    )
    expect(log.starts).toEqual(["first 0", "t0 5200", "t1 5210", "t2 5220", "t3 5230", "t4 5240"])
  })

  it("a lower rate counts from the last start, not from the beginning of a wait", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 100 })
    await log.play(
      [0, Meter.metered(log.task("first", 5600), meter)],
      [5000, Meter.metered(log.task("second"), meter)],
      [5500, Meter.resize(meter, { maxPerSecond: 1 })]
    )
    expect(log.starts).toEqual(["first 0", "second 5600"])
  })

  it("a longer window does not remember what the shorter one had lost sight of", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 1, per: 100 } } })
    await log.play(
      [0, Meter.metered(log.task("a"), meter)],
      [150, Meter.resize(meter, { windows: { requests: { limit: 1, per: 1000 } } })],
      [200, Meter.metered(log.task("b"), meter)]
    )
    expect(log.starts).toEqual(["a 0", "b 200"])
  })

  it("a larger burst keeps the rate, and credit for it accrues while nothing waits", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
    await log.play([0, call(log, meter, 3)], [150, Meter.resize(meter, { maxBurst: 3 })], [2000, call(log, meter, 5)])
    expect(log.starts.slice(0, 3)).toEqual(["t0 0", "t1 100", "t2 200"])
    expect(log.starts.slice(3)).toEqual(["t0 2000", "t1 2000", "t2 2000", "t3 2100", "t4 2200"])
  })

  it("a limit that is not in the options stays, also while it has no effect", async () => {
    const starts = async (...steps: ReadonlyArray<Meter.Limits>) => {
      const [first, ...others] = steps as [Meter.Limits, ...Array<Meter.Limits>]
      const log = new Log()
      const meter = Meter.makeUnsafe(first)
      for (const limits of others) await log.world.value(Meter.resize(meter, limits))
      const began = log.now
      await log.play([0, call(log, meter, 4)])
      return log.starts.map((start) => Number(start.split(" ")[1]) - began)
    }
    const burst = [0, 0, 0, 200]
    expect(await starts({ maxPerSecond: 5, maxBurst: 3 })).toEqual(burst)
    expect(await starts({ maxPerSecond: 5, maxBurst: 3 }, { maxAtOnce: 9 })).toEqual(burst)
    expect(await starts({ maxPerSecond: 1, maxBurst: 3 }, { maxPerSecond: 5 })).toEqual(burst)
    expect(await starts({ maxPerSecond: 5, maxBurst: 3 }, { maxPerSecond: Infinity }, { maxPerSecond: 5 })).toEqual(
      burst
    )
    expect(await starts({ maxBurst: 3 }, { maxPerSecond: 5 })).toEqual(burst)
    expect(await starts({ maxPerSecond: 5, maxBurst: Infinity }, { maxBurst: 3 })).toEqual(burst)
  })

  it("with a larger window, waiters start at once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 1, per: 1000 } } })
    await log.play(
      [0, call(log, meter, 5)],
      [30, Meter.resize(meter, { windows: { requests: { limit: 3, per: 1000 } } })]
    )
    expect(log.starts).toEqual(["t0 0", "t1 30", "t2 30", "t3 1000", "t4 1030"])
  })

  it("a narrower window counts what was spent before", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 4, per: 1000 } } })
    await log.play(
      [0, call(log, meter, 2)],
      [10, call(log, meter, 2)],
      [30, Meter.resize(meter, { windows: { requests: { limit: 1, per: 1000 } } })],
      [40, call(log, meter, 2)]
    )
    expect(log.starts).toEqual(["t0 0", "t1 0", "t0 10", "t1 10", "t0 1010", "t1 2010"])
  })

  it("a shorter window lets go earlier, a longer one later", async () => {
    for (const [per, expected] of [
      [100, ["t0 0", "t1 100", "t2 200"]],
      [1500, ["t0 0", "t1 1500", "t2 3000"]]
    ] as const) {
      const log = new Log()
      const meter = Meter.makeUnsafe({ windows: { requests: { limit: 1, per: 1000 } } })
      await log.play([0, call(log, meter, 3)], [30, Meter.resize(meter, { windows: { requests: { limit: 1, per } } })])
      expect(log.starts).toEqual(expected)
    }
  })

  it("a window that is not named stays, and a new one is added", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 2, per: 100 } } })
    await log.play([0, Meter.resize(meter, { windows: { tokens: { limit: 3, per: 1000 } } })], [0, call(log, meter, 5)])
    expect(log.starts).toEqual(["t0 0", "t1 0", "t2 100", "t3 1000", "t4 1000"])
    expect((await log.world.value(Meter.snapshot(meter))).room).toEqual({ requests: 0, tokens: 0 })
  })

  it("a waiter whose cost has become excessive fails at once", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 1000 } } })
    const one = (name: string, cost: number) =>
      log.named(name, Meter.metered(log.task(name), meter, { cost: { tokens: cost } }))
    await log.play(
      [0, one("a", 5)],
      [10, one("b", 8)],
      [20, one("c", 2)],
      [30, Meter.resize(meter, { windows: { tokens: { limit: 7, per: 1000 } } })]
    )
    expect(log.ends).toEqual(["a 0", "b 30", "c 30"])
    expect(errorOf(log.exit("b"))).toMatchObject({ _tag: "ExcessiveCost", cost: 8, limit: 7 })
    expect(log.starts).toEqual(["a 0", "c 30"])
  })

  it("so does a waiter that is not first in the queue", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 1000 } } })
    const one = (name: string, cost: number) =>
      log.named(name, Meter.metered(log.task(name), meter, { cost: { tokens: cost } }))
    await log.play(
      [0, one("a", 5)],
      [10, one("b", 6)],
      [20, one("c", 8)],
      [30, Meter.resize(meter, { windows: { tokens: { limit: 7, per: 1000 } } })]
    )
    expect(log.ends).toEqual(["a 0", "c 30", "b 1000"])
  })

  it("so does a waiter at another meter: a cost above a window's limit never starts", async () => {
    const log = new Log()
    const wide = Meter.makeUnsafe({ maxAtOnce: 1 })
    const narrow = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 100 } } })
    await log.play(
      [0, Meter.metered(log.task("a", 1000), wide)],
      [500, log.named("b", Meter.metered(log.task("b"), Meter.all(wide, narrow), { cost: { tokens: 8 } }))],
      [600, Meter.resize(narrow, { windows: { tokens: { limit: 7, per: 100 } } })]
    )
    expect(log.starts).toEqual(["a 0"])
    expect(errorOf(log.exit("b"))).toMatchObject({ _tag: "ExcessiveCost", cost: 8, limit: 7 })
    log.expectRest()
  })

  it("a task may resize its own meter in its first step", async () => {
    for (const limits of [
      { maxPerSecond: 10 },
      { windows: { requests: { limit: 2, per: 100 } } }
    ] as ReadonlyArray<Meter.Limits>) {
      const log = new Log()
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const first = log.around("first", Meter.resize(meter, limits))
      await log.play(
        [
          0,
          log.named(
            "first",
            runOnEach([1], () => first, { meter })
          )
        ],
        [500, call(log, meter, 2)]
      )
      expect(log.exit("first")).toEqual(Exit.void)
      expect(log.starts).toEqual(["first 0", "t0 500", limits.maxPerSecond === undefined ? "t1 500" : "t1 600"])
    }
  })

  it("a task that changes the rate in its first step does not delay the next by more than the new interval", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10 })
    await log.play(
      [0, call(log, meter, 13)],
      [2000, runOnEach([1], () => log.around("resizes", Meter.resize(meter, { maxPerSecond: 5 })), { meter })],
      [2001, call(log, meter, 6)]
    )
    const after = log.starts.slice(log.starts.indexOf("resizes 2000"))
    expect(after).toEqual(["resizes 2000", "t0 2200", "t1 2400", "t2 2600", "t3 2800", "t4 3000", "t5 3200"])
  })

  it.each([
    ["a semaphore's", () => Meter.fromSemaphore(Semaphore.makeUnsafe(1))],
    ["a schedule's", () => Meter.fromSchedule(Schedule.forever)],
    ["a combination", () => Meter.all(Meter.makeUnsafe({}), Meter.makeUnsafe({}))]
  ] as ReadonlyArray<readonly [string, () => Meter.Meter<unknown>]>)("%s meter cannot be resized", async (_, make) => {
    const log = new Log()
    const defect = defectOf(await log.world.run(Meter.resize(make(), { maxAtOnce: 2 })))
    expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
    expect((defect as Error).message).toContain("only a meter made by make, makeUnsafe or keyed can be resized")
  })

  it("invalid limits change nothing", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const limits = { maxAtOnce: 5, windows: { requests: { limit: 0, per: 1 } } }
    const defect = defectOf(await log.world.run(Meter.resize(meter, limits)))
    expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
    expect((await log.world.value(Meter.snapshot(meter))).free).toBe(1)
  })
})

describe("snapshot", () => {
  const seen = (meter: Meter.Meter<unknown>) =>
    Effect.map(Meter.snapshot(meter), ({ nextStart, ...others }) => ({
      ...others,
      nextStart: Duration.toMillis(nextStart)
    }))

  it("of a new meter: nothing runs, and a task could start at once", async () => {
    const log = new Log()
    const noLimits = { maxAtOnce: Infinity, maxPerSecond: Infinity, maxBurst: 1, windows: {} }
    const some = { maxAtOnce: 3, maxPerSecond: 5, windows: { r: { limit: 7, per: 1 } } }
    const kinds: ReadonlyArray<
      readonly [Meter.Meter<unknown>, number, Record<string, number>, Partial<typeof noLimits>]
    > = [
      [Meter.makeUnsafe({}), Infinity, {}, {}],
      [Meter.makeUnsafe(some), 3, { r: 7 }, some],
      [Meter.fromSemaphore(Semaphore.makeUnsafe(4)), 4, {}, { maxAtOnce: 4 }],
      [Meter.fromSchedule(Schedule.spaced(10)), Infinity, {}, {}],
      [Meter.all(), Infinity, {}, {}]
    ]
    for (const [meter, free, room, limits] of kinds) {
      expect(await log.world.value(seen(meter))).toEqual({
        running: 0,
        waiting: 0,
        lanes: new Map(),
        started: 0,
        limits: { ...noLimits, ...limits },
        paused: false,
        draining: false,
        free,
        room,
        nextStart: 0
      })
    }
  })

  it("has the numbers of running, waiting and started tasks", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
    const shots: Array<unknown> = []
    const shoot = Effect.map(Meter.snapshot(meter), ({ free, running, started, waiting }) =>
      shots.push([running, waiting, started, free])
    )
    await log.play(
      [0, Meter.metered(log.task("a", 100), meter)],
      [1, shoot],
      [2, Meter.metered(log.task("b", 200), meter)],
      [3, Meter.metered(log.task("c", 100), meter)],
      [4, Effect.timeoutOption(Meter.metered(log.task("d"), meter), 50)],
      [5, shoot],
      [90, shoot],
      [150, shoot],
      [500, shoot]
    )
    expect(shots).toEqual([
      [1, 0, 1, 1],
      [2, 2, 2, 0],
      [2, 1, 2, 0],
      [2, 0, 3, 0],
      [0, 0, 3, 2]
    ])
  })

  it("counts a run that waits as one waiter, and starts taken by hand as running", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const shots: Array<unknown> = []
    await log.play(
      [0, Effect.scoped(Effect.andThen(Meter.acquire(meter), Effect.sleep(50)))],
      [10, call(log, meter, 5)],
      [20, Effect.map(Meter.snapshot(meter), ({ running, waiting }) => shots.push({ running, waiting }))]
    )
    expect(shots).toEqual([{ running: 1, waiting: 1 }])
  })

  it("has the instant of the next possible start: by the rate, the windows or a pause, whichever is last", async () => {
    const next = async (limits: Meter.Limits, at: number, before: (meter: Meter.Meter) => Effect.Effect<unknown>) => {
      const log = new Log()
      const meter = Meter.makeUnsafe(limits)
      let nextStart = -1
      await log.play([0, before(meter)], [at, Effect.map(seen(meter), (shot) => (nextStart = shot.nextStart))])
      return nextStart
    }
    const one = (meter: Meter.Meter) => Meter.metered(Effect.void, meter)
    expect(await next({ maxPerSecond: 5 }, 50, one)).toBe(150)
    expect(await next({ maxPerSecond: 30 }, 0, one)).toBe(33.333_334)
    expect(await next({ maxPerSecond: 5 }, 250, one)).toBe(0)
    const windows = { a: { limit: 1, per: 300 }, b: { limit: 5, per: 10_000 } }
    expect(await next({ windows }, 50, one)).toBe(250)
    expect(await next({ maxPerSecond: 1, windows }, 50, one)).toBe(950)
    expect(await next({ windows }, 50, (meter) => Effect.andThen(one(meter), Meter.pause(meter, 700)))).toBe(650)
    expect(await next({ windows }, 50, (meter) => Effect.andThen(one(meter), Meter.pause(meter, 100)))).toBe(250)
    expect(await next({}, 50, (meter) => Meter.pause(meter))).toBe(Infinity)
    expect(
      await next({ maxAtOnce: 1 }, 50, (meter) =>
        Effect.forkDetach(Effect.scoped(Effect.andThen(Meter.acquire(meter), Effect.never)), { startImmediately: true })
      )
    ).toBe(Infinity)
  })

  it("a task starts exactly at the predicted instant", async () => {
    for (const limits of [
      { maxPerSecond: 30 },
      { maxPerSecond: 7, maxBurst: 3 },
      { windows: { r: { limit: 3, per: 77 } } },
      { maxPerSecond: 40, windows: { r: { limit: 3, per: 177 } } }
    ] as ReadonlyArray<Meter.Limits>) {
      const log = new Log()
      const meter = Meter.makeUnsafe(limits)
      const said: Array<number> = []
      const came: Array<number> = []
      const rounds = Effect.forEach(range(20), (n) =>
        Effect.gen(function* () {
          const { nextStart } = yield* seen(meter)
          said.push(Math.round((log.now + nextStart) * 1e6))
          yield* Meter.metered(
            Effect.sync(() => came.push(Math.round(log.now * 1e6))),
            meter
          )
          yield* Effect.sleep(n % 5 === 4 ? 200 : 3)
        })
      )
      await log.play([0, rounds])
      expect(came).toEqual(said)
    }
  })

  it("has the room of each window, never below zero", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 5, per: 100 }, tokens: { limit: 100, per: 200 } } })
    const rooms: Array<unknown> = []
    const shoot = Effect.map(Meter.snapshot(meter), ({ room }) => rooms.push(room))
    const one = (tokens: number, used: number) =>
      Meter.metered(Effect.delay(Meter.correct({ tokens: used }), 10), meter, { cost: { tokens } })
    await log.play([0, one(40, 140)], [5, shoot], [15, shoot], [100, shoot], [200, shoot])
    expect(rooms).toEqual([
      { requests: 4, tokens: 60 },
      { requests: 4, tokens: 0 },
      { requests: 5, tokens: 0 },
      { requests: 5, tokens: 100 }
    ])
  })

  it("of several meters the busiest counts, in every field", async () => {
    for (const reversed of [false, true]) {
      const log = new Log()
      const a = Meter.makeUnsafe({ maxAtOnce: 3, maxPerSecond: 5, windows: { r: { limit: 10, per: 1000 } } })
      const b = Meter.makeUnsafe({ maxAtOnce: 9, windows: { r: { limit: 2, per: 5000 }, s: { limit: 4, per: 10 } } })
      const both = reversed ? Meter.all(b, a) : Meter.all(a, b)
      const shots: Array<unknown> = []
      await log.play(
        [0, Meter.metered(log.task("a", 1000), both)],
        [300, Meter.metered(log.task("b", 1000), b)],
        [400, Effect.map(seen(both), (shot) => shots.push(shot))]
      )
      expect(shots).toEqual([
        {
          running: 2,
          waiting: 0,
          lanes: new Map(),
          started: 2,
          limits: {
            maxAtOnce: 3,
            maxPerSecond: 5,
            maxBurst: 1,
            windows: { r: { limit: 2, per: 5000 }, s: { limit: 4, per: 10 } }
          },
          paused: false,
          draining: false,
          free: 2,
          room: { r: 0, s: 4 },
          nextStart: 4600
        }
      ])
    }
  })

  it("says whether the meter is paused or draining", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const shots: Array<readonly [paused: boolean, draining: boolean]> = []
    const shoot = Effect.map(Meter.snapshot(meter), ({ draining, paused }) => shots.push([paused, draining]))
    await log.play(
      [0, shoot],
      [10, Meter.pause(meter, 10)],
      [15, shoot],
      [20, shoot],
      [30, Meter.pause(meter)],
      [31, shoot],
      [32, Meter.resume(meter)],
      [33, shoot],
      [40, Meter.drain(meter)],
      [41, shoot]
    )
    expect(shots).toEqual([
      [false, false],
      [true, false],
      [false, false],
      [true, false],
      [false, false],
      [false, true]
    ])
  })

  it("of an ended schedule: nothing can start any more", async () => {
    const log = new Log()
    const meter = Meter.fromSchedule(Schedule.recurs(0))
    await log.play([0, Meter.metered(log.task("a"), meter)])
    expect((await log.world.value(seen(meter))).nextStart).toBe(Infinity)
  })

  it("does not disturb: looking at every instant changes no start", async () => {
    const run = async (looking: boolean) => {
      const log = new Log()
      const meter = Meter.makeUnsafe({
        maxAtOnce: 2,
        maxPerSecond: 20,
        maxBurst: 3,
        windows: { r: { limit: 5, per: 400 } }
      })
      await log.play(
        [
          0,
          runOnEach(names(20), (name, index) => log.task(name, (index * 37) % 120), {
            meter,
            cost: (_, index) => ({ r: 1 + (index % 3) })
          })
        ],
        ...(looking ? range(300).map((n) => [n * 7, Meter.snapshot(meter)] as const) : [])
      )
      return log.starts
    }
    expect(await run(true)).toEqual(await run(false))
  })
})
