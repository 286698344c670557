/** `priority` and `lane`: the order of waiters for the same meters. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { maxOvertaken } from "../../src/internal/admission/rankedQueue.ts"
import { defectOf, Log, names } from "../support/Log.ts"

type Options = Pick<Meter.TaskOptions, "lane" | "permits" | "priority">

/** The names of the tasks that started, in order. */
const order = (log: Log): string => log.starts.map((each) => each.split(" ")[0]).join(" ")

/** Tasks that arrive in this order while a task of 10 ms runs, each of which takes 1 ms. */
const arriving = async (
  meters: ReadonlyArray<Meter.Meter<unknown>>,
  ...tasks: ReadonlyArray<readonly [name: string, options?: Options]>
): Promise<Log> => {
  const log = new Log()
  const meter = Meter.all(...meters)
  const run = ([name, options]: readonly [string, Options?], millis: number) =>
    Meter.metered(log.task(name, millis), meter, options)
  await log.play(
    [0, Effect.ignore(run(["first"], 10))],
    ...tasks.map((task, n) => [1 + n / 1000, Effect.ignore(run(task, 1))] as const)
  )
  log.expectRest()
  return log
}

const kinds: ReadonlyArray<readonly [string, () => ReadonlyArray<Meter.Meter<unknown>>]> = [
  ["one meter", () => [Meter.makeUnsafe({ maxAtOnce: 1 })]],
  ["two meters", () => [Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({ maxAtOnce: 1 })]],
  ["a semaphore", () => [Meter.fromSemaphore(Semaphore.makeUnsafe(1))]],
  ["a rate", () => [Meter.makeUnsafe({ maxPerSecond: 100 })]],
  ["a schedule", () => [Meter.fromSchedule(Schedule.spaced(10))]],
  ["a key of a family", () => [Meter.keyedUnsafe({ maxAtOnce: 1 }).for("key")]]
]

describe.each(kinds)("waiters for %s", (_, meters) => {
  it("start by priority, and of equal priority in the order of their arrival", async () => {
    const log = await arriving(
      meters(),
      ["a"],
      ["b", { priority: 1 }],
      ["c", { priority: -1 }],
      ["d", { priority: 1 }],
      ["e", { priority: 2.5 }],
      ["f", { priority: 0 }]
    )
    expect(order(log)).toBe("first e b d a f c")
  })

  it("start in turns of their lanes, and within a lane by priority", async () => {
    const log = await arriving(
      meters(),
      ...names(4, "a").map((name) => [name, { lane: "a" }] as const),
      ["b0", { lane: "b" }],
      ["b1", { lane: "b", priority: 1 }],
      ["x"],
      ["b2", { lane: "b", priority: 1 }],
      ["y"]
    )
    expect(order(log)).toBe("first a0 b1 x a1 b2 y a2 b0 a3")
  })
})

describe("a waiter of low priority", () => {
  it.each([
    ["for one meter", 1],
    ["for two meters", 2]
  ])("%s is next when 32 later arrivals have overtaken it, and so is the one after it", async (_, count) => {
    const log = new Log()
    const meter = Meter.all(...Array.from({ length: count }, () => Meter.makeUnsafe({ maxAtOnce: 1 })))
    const run = (name: string, priority: number) => Meter.metered(log.task(name, 1), meter, { priority })
    const flood = names(100, "h").map((name, n) => [0.5 * n, run(name, 1)] as const)
    await log.play([0, Meter.metered(log.task("first", 1), meter)], [0, run("low", 0)], [0, run("lower", -1)], ...flood)
    const started = order(log).split(" ")
    expect(maxOvertaken).toBe(32)
    expect(started.indexOf("low")).toBe(1 + 32)
    expect(started.indexOf("lower")).toBe(1 + 2 * 32 + 1)
    log.expectRest()
  })

  it("is not counted as overtaken by higher ones that arrived before it", async () => {
    const high = names(50, "h").map((name) => [name, { priority: 1 }] as const)
    const log = await arriving([Meter.makeUnsafe({ maxAtOnce: 1 })], ...high, ["low"], ["late", { priority: 1 }])
    expect(order(log).endsWith("h49 late low")).toBe(true)
  })
})

describe("lanes", () => {
  it("get equal numbers of permits, not of tasks", async () => {
    const log = await arriving(
      [Meter.makeUnsafe({ maxAtOnce: 4, maxPerSecond: 100 }), Meter.makeUnsafe({ maxAtOnce: 4 })],
      ...names(3, "large").map((name) => [name, { lane: "a", permits: 3 }] as const),
      ...names(6, "small").map((name) => [name, { lane: "b" }] as const)
    )
    // Waiters for several meters that need another number of permits are ordered by arrival.
    expect(order(log)).toBe("first large0 large1 large2 small0 small1 small2 small3 small4 small5")
    const one = await arriving(
      [Meter.makeUnsafe({ maxAtOnce: 4, maxPerSecond: 100 })],
      ...names(3, "large").map((name) => [name, { lane: "a", permits: 3 }] as const),
      ...names(6, "small").map((name) => [name, { lane: "b" }] as const)
    )
    expect(order(one)).toBe("first large0 small0 small1 small2 large1 small3 small4 small5 large2")
  })

  it("of a backlog do not delay a new lane by more than one turn", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const run = (name: string, lane: string) => Meter.metered(log.task(name, 1), meter, { lane })
    await log.play(...names(100, "a").map((name) => [0, run(name, "a")] as const), [50.5, run("b", "b")])
    expect(log.starts).toContain("b 51")
    log.expectRest()
  })

  it("with a sequential caller take turns with a backlog: an empty lane keeps its debt until its turn has come", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const run = (name: string, lane: string) => Meter.metered(log.task(name, 1), meter, { lane })
    await log.play(...names(6, "a").map((name) => [0, run(name, "a")] as const), [
      0.5,
      Effect.forEach(names(4, "b"), (name) => run(name, "b"), { discard: true })
    ])
    expect(order(log)).toBe("a0 a1 b0 a2 b1 a3 b2 a4 b3 a5")
    log.expectRest()
  })

  it("are counted by snapshot, over all sets of meters", async () => {
    const log = new Log()
    const [one, other] = [Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({ maxAtOnce: 1 })]
    const both = Meter.all(one, other)
    const shots: Array<unknown> = []
    const look = (meter: Meter.Meter) =>
      Effect.map(Meter.snapshot(meter), ({ lanes, waiting }) => shots.push([waiting, ...lanes]))
    const run = (meter: Meter.Meter, lane?: string) => Meter.metered(log.task("t", 10), meter, { lane })
    await log.play(
      [0, run(one)],
      [1, run(one, "a")],
      [1, run(one, "a")],
      [1, run(both, "a")],
      [1, run(both, "b")],
      [1, run(one)],
      [2, look(one)],
      [2, look(other)],
      [2, look(both)],
      [100, look(both)]
    )
    expect(shots).toEqual([[5, ["a", 3], ["b", 1]], [2, ["a", 1], ["b", 1]], [5, ["a", 3], ["b", 1]], [0]])
    log.expectRest()
  })
})

describe("a waiter that becomes the first of its set", () => {
  it("starts at once if the meters are open to it", async () => {
    const log = new Log()
    const window = Meter.makeUnsafe({ windows: { w: { limit: 10, per: 100 } } })
    const both = Meter.all(window, Meter.makeUnsafe({ maxAtOnce: 5 }))
    const run = (name: string, w: number, priority: number) =>
      Meter.metered(log.task(name, 1), both, { cost: { w }, priority })
    await log.play([0, run("a", 8, 0)], [1, run("large", 5, 0)], [2, run("small", 2, 1)], [3, run("late", 0, 0)])
    expect(log.starts).toEqual(["a 0", "small 2", "large 100", "late 100"])
    log.expectRest()
  })

  it("has the turn of the one before it, also among waiters for other meters", async () => {
    const log = new Log()
    const [one, other] = [Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({})]
    const both = Meter.all(one, other)
    const run = (name: string, meter: Meter.Meter, priority = 0) =>
      Meter.metered(log.task(name, 1), meter, { priority })
    await log.play(
      [0, run("a", one)],
      [0.1, run("b", both)],
      [0.2, run("c", one)],
      [0.3, run("d", both, 1)],
      [0.4, run("e", one)]
    )
    expect(log.starts).toEqual(["a 0", "d 1", "c 2", "b 3", "e 4"])
    log.expectRest()
  })
})

describe("the options of a verb", () => {
  const calls: ReadonlyArray<
    readonly [string, (task: Effect.Effect<unknown>, options: object) => Effect.Effect<unknown, unknown>]
  > = [
    ["runOnEach", (task, options) => runOnEach([1, 2], () => task, options)],
    ["runAll", (task, options) => runAll([1, 2], () => task, options)],
    ["amap", (task, options) => Stream.runDrain(amap([1, 2], () => task, options))],
    ["runAny", (task, options) => runAny([1, 2], () => Effect.andThen(task, Effect.fail("x")), options)]
  ]
  it.each(calls)("rank each request of %s, by value or by item", async (_, call) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const single = (name: string, options: Options) => Meter.metered(log.task(name, 1), meter, options)
    const byItem = {
      meter,
      priority: (item: number) => -item,
      lane: (_: number, index: number) => (index < 9 ? "a" : "b")
    }
    await log.play(
      [0, single("first", {})],
      [0.1, Effect.exit(call(log.task("low", 1), byItem))],
      [0.2, single("mid", { lane: "a", priority: -1.5 })],
      [0.3, Effect.exit(call(log.task("high", 1), { meter, priority: 1, lane: "a" }))]
    )
    expect(order(log)).toBe("first high high low mid low")
    log.expectRest()
  })

  it.each([
    ["priority", { priority: () => Number.NaN }, "priority must be a finite number, but is NaN"],
    ["priority", { priority: () => "high" as never }, 'priority must be a finite number, but is "high"']
  ])("%s must give a valid value for each item", async (_, options, message) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const exit = await log.world.run(runOnEach([1], () => log.task("never"), { meter, ...options }))
    expect(defectOf(exit)).toHaveProperty("message", message)
    expect(log.starts).toEqual([])
    log.expectRest()
  })

  it("without a priority for an item rank it as 0, and without a meter have no effect", async () => {
    const log = new Log()
    const lanes: Array<unknown> = []
    const options = { priority: () => undefined as never, lane: (item: number) => lanes.push(item) }
    expect(await log.world.run(runAll([1, 2], Effect.succeed, options))).toEqual(Exit.succeed([1, 2]))
    expect(lanes).toEqual([1, 2])
    log.expectRest()
  })
})
