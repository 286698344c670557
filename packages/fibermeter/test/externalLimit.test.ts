/** Meters on the stores of other packages: which methods of their limits are called, and when. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Metric, Scope } from "effect"
import { admission } from "../src/engine.ts"
import { Meter, MeterStore, runAll, StoreError } from "../src/index.ts"
import { SharedLimiter } from "../src/internal/limits/sharedLimiter.ts"
import { defectOf, errorOf, Log } from "./support/Log.ts"

/** A store with one limit, whose grants arrive from elsewhere. It has no class in common with the engine. */
const makeStore = (limits: Meter.Limits = {}) => {
  const log: Array<unknown> = []
  let granted = 0
  let opens = Infinity
  let isPaused = false
  let meter: admission.ExternalMeter
  const limit: admission.ExternalLimit = {
    get isPaused() {
      return isPaused
    },
    attach: (given) => {
      meter = given
    },
    opensIn: ({ cost, permits, wanted }) => {
      log.push(["asked", cost, permits, wanted])
      if (isPaused) return Infinity
      return granted > 0 ? 0 : opens - meter.now()
    },
    take: () => granted--,
    started: (grant) => log.push(["started", grant]),
    correct: (grant, cost) => log.push(["corrected", grant, cost]),
    ended: (permits) => log.push(["ended", permits]),
    added: () => log.push("added"),
    rest: () => log.push("rest"),
    pause: (nanos) => {
      isPaused = nanos > 0
      log.push(["paused", nanos])
    },
    resize: (limits) => {
      if (limits.maxAtOnce === 13) throw new TypeError("not that many")
      log.push(["resized", limits])
    },
    close: async () => void log.push("closed")
  }
  const made: admission.ExternalStore = {
    version: 1,
    limit: (name, given) => {
      log.push([name, given])
      return limit
    }
  }
  return {
    limits,
    log,
    store: made,
    get meter() {
      return meter
    },
    /** Grants so many starts. */
    grant: (count: number) =>
      Effect.sync(() => {
        granted += count
        meter.wake()
      }),
    /** Grants one start for that instant. */
    openAt: (nanos: number) => {
      opens = nanos
      granted = 0
    }
  }
}

/** A meter on a store. It stays as long as the world. */
const meterOf = (seen: Log, { limits, store }: ReturnType<typeof makeStore>): Promise<Meter.Meter<StoreError>> =>
  seen.world.value(
    Meter.distributed("api", limits).pipe(Effect.provideService(MeterStore, store), Scope.provide(Scope.makeUnsafe()))
  )

const causeIn = (exit: Exit.Exit<unknown, unknown> | undefined): Cause.Cause<unknown> =>
  exit !== undefined && Exit.isFailure(exit) ? exit.cause : Cause.empty

/** What the limit was asked, without what is asked in vain. */
const calls = (log: ReadonlyArray<unknown>): ReadonlyArray<unknown> =>
  log.slice(1).filter((each) => each !== "added" && !(Array.isArray(each) && each[0] === "asked"))

describe("a meter on a store", () => {
  it("tells it of all limits, and asks it what may start: a grant that arrives starts the waiter", async () => {
    const made = makeStore({ maxAtOnce: 5, windows: { tokens: { limit: 9, per: "1 minute" } } })
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const task = Effect.andThen(seen.task("a", 10), Meter.correct({ tokens: 7 }))
    await seen.play(
      [0, Meter.metered(task, meter, { cost: { tokens: 3 }, permits: 2 })],
      [5, Effect.andThen(Effect.sync(() => made.log.push("grant")), made.grant(1))] // prettier-ignore
    )
    expect(seen.starts).toEqual(["a 5"])
    const asked = ["asked", { tokens: 3 }, 2, 1]
    const limits = { maxAtOnce: 5, maxPerSecond: Infinity, maxBurst: 1, windows: { tokens: { limit: 9, per: 60_000 } } }
    expect(made.log).toEqual([
      ["api", limits],
      asked,
      "added",
      asked,
      "grant",
      asked,
      ["started", 1],
      "rest",
      ["corrected", 1, { tokens: 7 }],
      ["ended", 2]
    ])
    seen.expectRest()
  })

  it("opens by time, too", async () => {
    const made = makeStore()
    const seen = new Log({ origin: 0n })
    made.openAt(7_000_000)
    const meter = await meterOf(seen, made)
    await seen.play([0, Meter.metered(seen.task("a"), meter)])
    expect(seen.starts).toEqual(["a 7"])
    seen.expectRest()
  })

  it("has timers by the clock of its maker", async () => {
    const made = makeStore()
    const seen = new Log()
    await meterOf(seen, made)
    let rung = 0
    made.meter.after(3_000_000, () => (rung = seen.now))
    made.meter.after(2_000_000, () => expect.fail("it was cancelled"))()
    const before = made.meter.now()
    await seen.play([5, Effect.void])
    expect(rung).toBe(3)
    expect(made.meter.now() - before).toBe(5_000_000)
    seen.expectRest()
  })

  it("learns how many starts a call could use", async () => {
    const made = makeStore()
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const call = runAll([1, 2, 3], () => seen.task("t", 10), { meter, maxAtOnce: 2 })
    await seen.play([0, call], [1, made.grant(3)])
    expect(seen.starts).toEqual(["t 1", "t 1", "t 11"])
    const wanted = made.log.filter(Array.isArray).filter(([what]) => what === "asked").map(([, , , count]) => count) // prettier-ignore
    expect(wanted).toEqual([2, 2, 2, 1, 1])
    seen.expectRest()
  })

  it("learns of all waiters: alike ones together, others one by one, of several meters the first of each set", async () => {
    const made = makeStore({ maxAtOnce: 9 })
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const other = Meter.makeUnsafe({})
    const run = (name: string, permits: number, ...more: ReadonlyArray<Meter.Meter>) =>
      Meter.metered(seen.task(name), more.length === 0 ? meter : Meter.all(meter, ...more), { permits })
    const wishes = () => made.meter.wishes().map(({ cost, permits, wanted }) => [cost, permits, wanted])
    expect(wishes()).toEqual([])
    const asked: Array<unknown> = []
    const look = Effect.sync(() => asked.push(wishes()))
    await seen.play(
      [0, run("a", 1)],
      [1, run("b", 1)],
      [2, runAll([1, 2, 3], () => seen.task("c"), { meter, maxAtOnce: 2 })],
      [3, look],
      [4, run("d", 1, other)],
      [5, run("e", 1, other)],
      [6, look],
      [7, run("f", 4)],
      [8, look],
      [9, made.grant(9)]
    )
    expect(asked).toEqual([
      [[undefined, 1, 3]],
      [[undefined, 1, 3], [undefined, 1, 1]], // prettier-ignore
      [[undefined, 1, 1], [undefined, 1, 1], [undefined, 1, 2], [undefined, 4, 1], [undefined, 1, 1]] // prettier-ignore
    ])
    seen.expectRest()
  })

  it("learns first of the waiter whose turn it is, whenever it came", async () => {
    const made = makeStore({ maxAtOnce: 9 })
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const other = Meter.makeUnsafe({})
    const run = (permits: number, priority: number, ...more: ReadonlyArray<Meter.Meter>) =>
      Meter.metered(seen.task("a"), more.length === 0 ? meter : Meter.all(meter, ...more), { permits, priority })
    const asked: Array<unknown> = []
    const look = Effect.sync(() => asked.push(made.meter.wishes().map(({ permits }) => permits)))
    await seen.play(
      [0, run(1, 0, Meter.makeUnsafe({}))],
      [1, run(2, 0, other)],
      [2, look],
      [3, run(3, 0)],
      [4, run(4, 1)],
      [5, run(5, 2)],
      [6, look],
      [7, made.grant(9)]
    )
    // Of those that need this meter alone, the first has the earliest turn of them.
    expect(asked).toEqual([
      [1, 2],
      [1, 2, 5, 4, 3]
    ])
    seen.expectRest()
  })

  it("that fails makes present and later waiters fail, until it recovers", async () => {
    const made = makeStore()
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const run = (name: string) => seen.named(name, Meter.metered(seen.task(name), meter))
    const error = new Error("the store is down")
    await seen.play(
      [0, run("a")],
      [5, Effect.sync(() => made.meter.fail(error))],
      [6, run("b")],
      [7, Effect.sync(() => made.meter.recover())],
      [8, run("c")],
      [9, made.grant(1)]
    )
    expect(seen.ends).toEqual(["a 5", "b 6", "c 9"])
    expect(errorOf(seen.exit("a"))).toEqual(new StoreError({ cause: error }))
    expect(errorOf(seen.exit("b"))).toMatchObject({ _tag: "StoreError", message: "the store is down", cause: error })
    expect(new StoreError({ cause: "?" }).message).toBe("the store of the meter has failed")
    seen.expectRest()
  })

  it("fails at once for what it can never admit, and a snapshot shows what is free in this process", async () => {
    const made = makeStore({ maxAtOnce: 2, windows: { tokens: { limit: 9, per: 1000 } } })
    const seen = new Log()
    const meter = await meterOf(seen, made)
    await seen.play(
      [0, seen.named("a", Meter.metered(seen.task("a"), meter, { permits: 3 }))],
      [0, seen.named("b", Meter.metered(seen.task("b"), meter, { cost: { tokens: 10 } }))]
    )
    expect(errorOf(seen.exit("a"))).toEqual(new Meter.ExcessivePermits({ permits: 3, limit: 2 }))
    expect(errorOf(seen.exit("b"))).toEqual(new Meter.ExcessiveCost({ window: "tokens", cost: 10, limit: 9 }))
    expect(calls(made.log)).toEqual([])
    const snapshot = Effect.map(Meter.snapshot(meter), ({ free, nextStart, room }) => [free, String(nextStart), room])
    expect(await seen.world.value(snapshot)).toEqual([2, "0 millis", {}])
    await seen.world.value(made.grant(1))
    const during = await seen.world.value(Meter.metered(snapshot, meter, { permits: 2 }))
    expect(during).toEqual([0, "Infinity", {}])
    seen.expectRest()
  })

  it("is paused and resumed by the store", async () => {
    const made = makeStore()
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const paused = Effect.map(Meter.snapshot(meter), ({ nextStart, paused }) => [paused, String(nextStart)])
    await seen.world.value(Effect.andThen(Meter.pause(meter, "2 seconds"), made.grant(1)))
    expect(await seen.world.value(paused)).toEqual([true, "Infinity"])
    await seen.play([0, Meter.metered(seen.task("a"), meter)], [7, Meter.resume(meter)])
    expect(seen.starts).toEqual(["a 7"])
    expect(await seen.world.value(paused)).toEqual([false, "0 millis"])
    expect(made.log).toContainEqual(["paused", 2e9])
    expect(made.log).toContainEqual(["paused", 0])
    seen.expectRest()
  })

  it("is resized by the store and here, unless the store refuses", async () => {
    const windows = { tokens: { limit: 9, per: 1000 } }
    const made = makeStore({ maxAtOnce: 3, maxPerSecond: 5, maxBurst: 2, windows })
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const limits = Effect.map(Meter.snapshot(meter), ({ limits }) => limits)
    await seen.world.value(Meter.resize(meter, { maxAtOnce: 4, windows: { tokens: { limit: 8, per: "2 seconds" } } }))
    const expected = { maxAtOnce: 4, maxPerSecond: 5, maxBurst: 2, windows: { tokens: { limit: 8, per: 2000 } } }
    expect(made.log.at(-1)).toEqual(["resized", expected])
    expect(await seen.world.value(limits)).toEqual(expected)
    await seen.world.value(Meter.resize(meter, { maxPerSecond: 7, maxBurst: 1 }))
    const next = { ...expected, maxPerSecond: 7, maxBurst: 1 }
    expect(await seen.world.value(limits)).toEqual(next)
    await seen.play([0, seen.named("refused", Meter.resize(meter, { maxAtOnce: 13 }))])
    expect(defectOf(seen.exit("refused"))).toEqual(new TypeError("not that many"))
    expect(await seen.world.value(limits)).toEqual(next)
    // By another process: the store is not told.
    const { length } = made.log
    made.meter.resized({ ...next, maxAtOnce: 1 })
    expect(await seen.world.value(limits)).toEqual({ ...next, maxAtOnce: 1 })
    expect(made.log).toHaveLength(length)
  })

  it("cannot be reconciled with a report, which other processes would not know of", async () => {
    const made = makeStore({ windows: { tokens: { limit: 9, per: 1000 } } })
    const seen = new Log()
    const meter = await meterOf(seen, made)
    const report = { window: "tokens", remaining: 3, resetAfter: "1 second" } as const
    await seen.play([0, seen.named("refused", Meter.reconcile(meter, report))])
    expect(defectOf(seen.exit("refused"))).toEqual(
      new TypeError("a meter on a store cannot be reconciled with a report: correct the costs of tasks, or pause it")
    )
  })

  it("counts events of the store in a metric, by event", async () => {
    const made = makeStore()
    const seen = new Log()
    const registry = new Map()
    const counted = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.provideService(effect, Metric.MetricRegistry, registry)
    const opened = Meter.distributed("api", {}).pipe(Effect.provideService(MeterStore, made.store))
    await seen.world.value(counted(Scope.provide(opened, Scope.makeUnsafe())))
    for (const type of ["outage", "recovery", "outage"]) made.meter.event({ type })
    const events = (await seen.world.value(counted(Metric.snapshot))).filter(
      ({ id }) => id === "fibermeter_store_events"
    )
    expect(events.map(({ attributes, state }) => [attributes, state])).toEqual([
      [{ meter: "api", event: "outage" }, expect.objectContaining({ count: 2 })],
      [{ meter: "api", event: "recovery" }, expect.objectContaining({ count: 1 })]
    ])
    seen.expectRest()
  })

  it("beside another meter is asked last, and keeps no room", async () => {
    const made = makeStore()
    const seen = new Log()
    const other = Meter.makeUnsafe({ maxAtOnce: 1 })
    const both = Meter.all(await meterOf(seen, made), other)
    await seen.play(
      [0, Meter.metered(seen.task("a", 10), other)],
      [1, Meter.metered(seen.task("b", 10), both)],
      [2, Effect.sync(() => expect(calls(made.log)).toEqual([]))],
      [20, made.grant(1)]
    )
    expect(seen.starts).toEqual(["a 0", "b 20"])
    seen.expectRest()
  })

  it("waits for nothing after its only waiter is interrupted", async () => {
    const made = makeStore()
    const seen = new Log()
    const waits = Effect.forkChild(Meter.metered(seen.task("a"), await meterOf(seen, made)), { startImmediately: true })
    await seen.play([0, Effect.flatMap(waits, Fiber.interrupt)])
    expect(made.log.at(-1)).toBe("rest")
    seen.expectRest()
  })

  it("accepts no tasks after the end of its scope, which waits until the store knows", async () => {
    const made = makeStore()
    const seen = new Log()
    const late = seen.world.value(
      Effect.scoped(Meter.distributed("api", {})).pipe(
        Effect.provideService(MeterStore, made.store),
        Effect.flatMap((meter) => Effect.exit(Meter.metered(Effect.void, meter)))
      )
    )
    expect(defectOf(await late)).toEqual(new Meter.Closed())
    expect(made.log.at(-1)).toBe("closed")
    seen.expectRest()
  })

  it("may be shared by requests of Workers", () => {
    const Class = admission.external(SharedLimiter)
    expect(new Class({}).isShared).toBe(true)
  })

  it.each([[0], [2], [undefined]])("of version %s is rejected with both versions", async (version) => {
    const made = makeStore()
    const store = { ...made.store, version } as never
    const make = Meter.distributed("api", {}).pipe(Effect.provideService(MeterStore, store), Effect.scoped)
    expect(defectOf(await new Log().world.value(Effect.exit(make)))).toEqual(
      new TypeError(
        `this store has version ${String(version)} of the interface, but 1 is needed: install versions of both packages that fit together`
      )
    )
  })

  it.each([
    ["the name must be a string that is not empty, but is 7", 7, {}],
    ["maxAtOnce must be a whole number of at least 1, or Infinity for no limit, but is 0", "api", { maxAtOnce: 0 }]
  ])("dies with: %s", async (message, name, limits) => {
    const make = Meter.distributed(name as string, limits).pipe(
      Effect.provideService(MeterStore, makeStore().store),
      Effect.scoped
    )
    expect(defectOf(await new Log().world.value(Effect.exit(make)))).toEqual(new Cause.IllegalArgumentError(message))
  })
})

describe("tasks of a meter on a store that have lost their permits", () => {
  const lease = new Error("the lease is lost")
  const lost = new StoreError({ cause: lease })
  const scene = async (limits: Meter.Limits = { maxAtOnce: 9 }) => {
    const made = makeStore(limits)
    const seen = new Log()
    const meter = await meterOf(seen, made)
    return { made, meter, seen, lose: Effect.sync(() => made.meter.interrupt(lease)) }
  }

  it("are interrupted, and their calls fail when the tasks have ended", async () => {
    const { lose, made, meter, seen } = await scene()
    const task = Effect.onInterrupt(seen.task("a", 100), () => Effect.sleep(7))
    await seen.play(
      [0, seen.named("a", Meter.metered(task, meter, { permits: 2 }))],
      [0, seen.named("b", Meter.meteredIfAvailable(seen.task("b"), meter))],
      [1, made.grant(1)],
      [5, lose]
    )
    expect(seen.ends).toEqual(["b 0", "a 12"])
    expect(errorOf(seen.exit("a"))).toEqual(lost)
    expect(made.log.at(-1)).toEqual(["ended", 2])
    seen.expectRest()
  })

  it("of a verb end the call", async () => {
    const { lose, made, meter, seen } = await scene()
    const call = runAll(["a", "b", "c"], (name) => seen.task(name, name === "a" ? 2 : 50), { meter, maxAtOnce: 2 })
    await seen.play([0, seen.named("call", call)], [1, made.grant(3)], [10, lose])
    expect(seen.starts).toEqual(["a 1", "b 1", "c 3"])
    expect(seen.ends).toEqual(["call 10"])
    expect(errorOf(seen.exit("call"))).toEqual(lost)
    expect(calls(made.log).filter((each) => String(each) === "ended,1")).toHaveLength(3)
    seen.expectRest()
  })

  it("fail with what their cleanup fails with, too", async () => {
    const { lose, made, meter, seen } = await scene()
    const task = Effect.onInterrupt(seen.task("a", 100), () => Effect.die("cleanup"))
    await seen.play([0, seen.named("a", Meter.metered(task, meter))], [1, made.grant(1)], [5, lose])
    expect(errorOf(seen.exit("a"))).toEqual(lost)
    expect(defectOf(seen.exit("a"))).toBe("cleanup")
    seen.expectRest()
  })

  it("that cannot be interrupted run to their end, and their calls fail then", async () => {
    const { lose, made, meter, seen } = await scene()
    const call = Effect.uninterruptible(Meter.metered(seen.task("a", 20), meter))
    await seen.play([0, seen.named("a", call)], [1, made.grant(1)], [5, lose])
    expect(seen.ends).toEqual(["a 21"])
    expect(errorOf(seen.exit("a"))).toEqual(lost)
    seen.expectRest()
  })

  it("are no others: neither those that start afterwards, nor those of a meter without permits", async () => {
    const { lose, made, meter, seen } = await scene()
    const metered = Meter.metered(Effect.andThen(seen.task("a", 10), Effect.fail("own")), meter)
    await seen.play([0, seen.named("a", metered)], [5, Effect.andThen(lose, made.grant(1))])
    expect(seen.ends).toEqual(["a 15"])
    expect(errorOf(seen.exit("a"))).toBe("own")
    const rated = await scene({ maxPerSecond: 5 })
    await rated.seen.play([0, Meter.metered(rated.seen.task("a", 10), rated.meter)], [1, rated.made.grant(1)], [5, rated.lose]) // prettier-ignore
    expect(calls(rated.made.log)).toEqual([["started", 1], "rest", ["ended", 1]])
    seen.expectRest()
  })

  it("run in a fiber of their own, which ends before a caller that is interrupted, and knows its task", async () => {
    const { made, meter, seen } = await scene({ maxAtOnce: 1, windows: { tokens: { limit: 9, per: 1000 } } })
    const task = Effect.gen(function* () {
      yield* Meter.correct({ tokens: 2 })
      yield* Effect.exit(Meter.metered(Effect.void, meter)).pipe((nested) =>
        seen.named("nested", Effect.flatten(nested))
      )
      yield* Effect.onInterrupt(seen.task("a", 100), () => Effect.andThen(Effect.sleep(5), Effect.die("cleanup")))
    })
    const interrupted = <E>(call: Effect.Effect<unknown, E>) =>
      Effect.flatMap(Effect.forkChild(call, { startImmediately: true }), (fiber) =>
        Effect.andThen(Effect.delay(Fiber.interrupt(fiber), 10), Effect.flatten(Fiber.await(fiber)))
      )
    await seen.play([0, seen.named("a", interrupted(Meter.metered(task, meter)))], [1, made.grant(1)])
    expect(seen.ends).toEqual(["nested 1", "a 15"])
    expect(defectOf(seen.exit("nested"))).toBeInstanceOf(Meter.Deadlock)
    expect(defectOf(seen.exit("a"))).toBe("cleanup")
    expect(calls(made.log).slice(-1)).toEqual([["ended", 1]])
    await seen.play([0, seen.named("b", interrupted(Meter.metered(seen.task("b", 100), meter)))], [1, made.grant(1)])
    expect(Cause.hasInterruptsOnly(causeIn(seen.exit("b")))).toBe(true)
    seen.expectRest()
  })
})

it("different pairs of a name and a key have different names in the store", () => {
  const alphabet = ["a", "/", '"', "\\", "1", "-"]
  const longer = (texts: ReadonlyArray<string>) => texts.flatMap((text) => alphabet.map((letter) => text + letter))
  const short = ["", ...longer([""]), ...longer(longer([""]))]
  const names = [...short, ...longer(longer(longer([""])))]
  const keys = [...short, "\ud800", "\\ud800", 0, 1, 11, -1, 0.1, 1e30]
  const seen = new Set(names.flatMap((name) => keys.map((key) => admission.nameOfKey(name, key))))
  expect(seen.size).toBe(names.length * keys.length)
  expect([NaN, Infinity, {}, undefined, null, 1n].some(admission.isKey)).toBe(false)
  expect(keys.every(admission.isKey)).toBe(true)
})
