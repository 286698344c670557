/** Costs: what a task spends in each window, large and impossible costs, and corrections. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import { amap, Meter, runAll, runOnEach } from "../../src/index.ts"
import { defectOf, errorOf, Log, names } from "../support/Log.ts"
import { verbs } from "../support/verbs.ts"
import type { Verb } from "../support/verbs.ts"

const tokens = (limit: number, per = 100) => Meter.makeUnsafe({ windows: { tokens: { limit, per } } })

const badCosts: ReadonlyArray<readonly [cost: unknown, message: string]> = [
  [{ tokenz: 1 }, "there is no window tokenz that the cost could be counted in. Known: tokens"],
  ...(
    [
      [-0.5, "-0.5"],
      [Number.NaN, "NaN"],
      [Infinity, "Infinity"],
      ["5", '"5"'],
      [null, "null"]
    ] as const
  ).map(([tokens, shown]): readonly [unknown, string] => [
    { tokens },
    `cost.tokens must be a finite number of at least 0, but is ${shown}`
  ]),
  ...(
    [
      [5, "5"],
      [[1], "an array"],
      [null, "null"],
      [undefined, "undefined"]
    ] as const
  ).map(([cost, shown]): readonly [unknown, string] => [
    cost,
    `cost must be an object of amounts by the names of windows, but is ${shown}`
  ])
]

const expectInvalid = async (verb: Verb, second: unknown, message: string): Promise<void> => {
  const log = new Log()
  const cost = (_: string, index: number) => (index === 1 ? second : { tokens: 1 })
  const call = verb.run(["a", "b", "c"], (name) => log.around(name, Effect.never), { meter: tokens(5), cost } as never)
  await log.play([0, log.named("call", call)])
  expect(log.starts).toEqual(["a 0"])
  const defect = defectOf(log.exit("call"))
  expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
  expect((defect as Error).message).toBe(message)
  log.expectRest()
}

describe("an invalid cost is a defect that names it, and its task does not start", () => {
  it.each(badCosts)("%o from the function of a verb", async (cost, message) => {
    await expectInvalid(verbs[1]!, cost, message)
  })

  it.each(badCosts.filter(([cost]) => cost !== undefined))("%o of metered and acquire", async (cost, message) => {
    const log = new Log()
    const options = { cost } as never
    const effects: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      Meter.metered(log.task("a"), tokens(5), options),
      Effect.scoped(Meter.acquire(tokens(5), options))
    ]
    for (const effect of effects) {
      const defect = defectOf(await log.world.run(effect))
      expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
      expect((defect as Error).message).toBe(message)
    }
    expect(log.starts).toEqual([])
  })

  it("without windows, no name is known", async () => {
    const log = new Log()
    const exit = await log.world.run(
      Meter.metered(Effect.void, Meter.makeUnsafe({ maxAtOnce: 1 }), { cost: { tokens: 1 } })
    )
    expect((defectOf(exit) as Error).message).toBe(
      "there is no window tokens that the cost could be counted in. No window has a name here"
    )
  })
})

describe("cost", () => {
  it("is spent from its window: tasks start as long as their sum fits", async () => {
    const log = new Log()
    const meter = tokens(10)
    const cost = { a: 4, b: 6, c: 3, d: 7, e: 10, f: 1 } as const
    await log.play([
      0,
      runOnEach(Object.keys(cost) as Array<keyof typeof cost>, (name) => log.task(name), {
        meter,
        cost: (name) => ({ tokens: cost[name] })
      })
    ])
    expect(log.starts).toEqual(["a 0", "b 0", "c 100", "d 100", "e 200", "f 300"])
  })

  it("a window that is not named costs 1", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({
      windows: { requests: { limit: 2, per: 100 }, tokens: { limit: 100, per: 300 } }
    })
    const one = (name: string, cost: Meter.Cost) => Meter.metered(log.task(name), meter, { cost })
    await log.play(
      [0, one("a", { tokens: 50 })],
      [0, one("b", { tokens: 40 })],
      [0, one("c", {})],
      [0, one("d", { tokens: 10 })],
      [0, one("e", { requests: 2 })]
    )
    // 50 + 40 + 1 leave no room for 10 until the first two count no more.
    expect(log.starts).toEqual(["a 0", "b 0", "c 100", "d 300", "e 400"])
  })

  it("also where its name is one by which every object has something", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({
      windows: { constructor: { limit: 2, per: 100 }, tokens: { limit: 100, per: 300 } }
    })
    const one = (name: string) => Meter.metered(log.task(name), meter, { cost: { tokens: 1 } })
    await log.play([0, one("a")], [0, one("b")], [0, one("c")])
    expect(log.starts).toEqual(["a 0", "b 0", "c 100"])
    const { room } = await log.world.value(Meter.snapshot(meter))
    expect(room).toEqual({ constructor: 1, tokens: 97 })
  })

  it("windows of requests and of tokens hold together", async () => {
    const log = new Log()
    const windows = { requests: { limit: 3, per: "1 minute" }, tokens: { limit: 1000, per: "1 minute" } } as const
    const weights = [400, 400, 300, 100, 100, 100]
    await log.play([
      0,
      runAll(weights, (_, index) => log.task(`t${index}`), { windows, cost: (weight) => ({ tokens: weight }) })
    ])
    expect(log.starts).toEqual(["t0 0", "t1 0", "t2 60000", "t3 60000", "t4 60000", "t5 120000"])
  })

  it("nothing may cost nothing: it starts even when the window is full", async () => {
    const log = new Log()
    const meter = tokens(2)
    await log.play(
      [0, Meter.metered(log.task("a"), meter, { cost: { tokens: 2 } })],
      [0, Meter.metered(log.task("free"), meter, { cost: { tokens: 0 } })],
      [0, Meter.metered(log.task("b"), meter)]
    )
    expect(log.starts).toEqual(["a 0", "free 0", "b 100"])
  })

  it("may be a fraction, and sums of fractions leave no remainder", async () => {
    const log = new Log()
    const meter = tokens(1)
    const call = (prefix: string) =>
      runOnEach(names(30, prefix), (name) => log.task(name), { meter, cost: () => ({ tokens: 0.1 }) })
    await log.play([0, call("a")], [1000, call("b")])
    const perInstant = new Map<string, number>()
    for (const start of log.starts) {
      const [, at = ""] = start.split(" ")
      perInstant.set(at, (perInstant.get(at) ?? 0) + 1)
    }
    expect(Object.fromEntries(perInstant)).toEqual({ 0: 10, 100: 10, 200: 10, 1000: 10, 1100: 10, 1200: 10 })
    expect((await log.world.value(Effect.andThen(Effect.sleep(500), Meter.snapshot(meter)))).room).toEqual({
      tokens: 1
    })
  })

  it("large requests are not overtaken by later small ones", async () => {
    const log = new Log()
    const meter = tokens(10)
    const one = (name: string, cost: number) => Meter.metered(log.task(name), meter, { cost: { tokens: cost } })
    await log.play(
      [0, one("first", 5)],
      [10, one("large", 10)],
      ...names(20, "small").map((name, index) => [20 + index, one(name, 1)] as const)
    )
    expect(log.starts.slice(0, 3)).toEqual(["first 0", "large 100", "small0 200"])
    expect(log.starts.slice(3, 12).every((start) => start.endsWith(" 200"))).toBe(true)
    expect(log.starts.slice(12).every((start) => start.endsWith(" 300"))).toBe(true)
  })

  it("a small request starts at once when the large one before it is interrupted", async () => {
    const log = new Log()
    const meter = tokens(10)
    const one = (name: string, cost: number) => Meter.metered(log.task(name), meter, { cost: { tokens: cost } })
    await log.play([0, one("first", 5)], [10, Effect.timeoutOption(one("large", 10), 30)], [20, one("small", 5)])
    expect(log.starts).toEqual(["first 0", "small 40"])
  })

  it("acquire spends its cost, too", async () => {
    const log = new Log()
    const meter = tokens(10)
    const one = (name: string, cost: number) =>
      Effect.scoped(Effect.andThen(Meter.acquire(meter, { cost: { tokens: cost } }), log.task(name)))
    await log.play([0, one("a", 6)], [0, one("b", 6)])
    expect(log.starts).toEqual(["a 0", "b 100"])
  })

  describe.each(verbs)("$name", (verb) => {
    it("weighs each item with its index, and hands both to the windows of the call and of its meter", async () => {
      const log = new Log()
      const weighed: Array<readonly [string, number]> = []
      const options = {
        meter: tokens(5),
        windows: { bytes: { limit: 100, per: 300 } },
        cost: (name: string, index: number) => {
          weighed.push([name, index])
          return { tokens: index + 1, bytes: 20 }
        }
      }
      await log.play([
        0,
        verb.run(["a", "b", "c", "d", "e", "f"].slice(0, 5), (name) => log.task(name, 10_000), options)
      ])
      expect(weighed).toEqual([
        ["a", 0],
        ["b", 1],
        ["c", 2],
        ["d", 3],
        ["e", 4]
      ])
      expect(log.starts).toEqual(["a 0", "b 0", "c 100", "d 200", "e 300"])
    })

    it("an excessive cost fails the call at once, typed; what runs is interrupted and nothing more starts", async () => {
      const log = new Log()
      const options = { meter: tokens(5), cost: (_: string, index: number) => ({ tokens: index === 1 ? 6 : 1 }) }
      const call = verb.run(["a", "b", "c"], (name) => log.around(name, Effect.never), options)
      await log.play([0, log.named("call", call)])
      expect(log.ends).toEqual(["call 0"])
      expect(log.starts).toEqual(["a 0"])
      expect(errorOf(log.exit("call"))).toEqual(new Meter.ExcessiveCost({ window: "tokens", cost: 6, limit: 5 }))
      log.expectRest()
    })

    it("an invalid cost is a defect that names it, and its task does not start", async () => {
      for (const [cost, message] of [badCosts[0]!, badCosts[1]!]) await expectInvalid(verb, cost, message)
    })

    it("a throw inside cost is a defect, treated like one inside the task", async () => {
      const log = new Log()
      const cost = (_: string, index: number) => {
        if (index === 1) throw new Error("no idea")
        return { tokens: 1 }
      }
      const call = verb.run(["a", "b"], (name) => log.around(name, Effect.never), { meter: tokens(5), cost })
      await log.play([0, log.named("call", call)])
      expect(defectOf(log.exit("call"))).toEqual(new Error("no idea"))
      log.expectRest()
    })
  })
})

describe("an excessive cost", () => {
  it("fails at once with a typed error that has the window, the cost and the limit", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 5, per: 100 }, tokens: { limit: 10, per: 100 } } })
    await log.play([0, log.named("a", Meter.metered(log.task("a"), meter, { cost: { tokens: 11 } }))])
    expect(log.ends).toEqual(["a 0"])
    expect(log.starts).toEqual([])
    const error = errorOf(log.exit("a"))
    expect(error).toBeInstanceOf(Meter.ExcessiveCost)
    expect(error).toMatchObject({ _tag: "ExcessiveCost", window: "tokens", cost: 11, limit: 10 })
    expect((error as Error).message).toBe(
      "a task costs 11 tokens, but no more than 10 are allowed for in the whole window"
    )
  })

  it("can be caught by its tag", async () => {
    const log = new Log()
    const caught = Meter.metered(Effect.succeed("ran"), tokens(1), { cost: { tokens: 2 } }).pipe(
      Effect.catchTag("ExcessiveCost", ({ cost }) => Effect.succeed(`too much: ${cost}`))
    )
    expect(await log.world.value(caught)).toBe("too much: 2")
  })

  it("fails at once while others wait, and does not delay them", async () => {
    const log = new Log()
    const meter = tokens(10)
    const one = (name: string, cost: number) =>
      log.named(name, Meter.metered(log.task(name), meter, { cost: { tokens: cost } }))
    await log.play([0, one("a", 10)], [10, one("b", 10)], [20, one("impossible", 11)], [30, one("c", 10)])
    expect(log.starts).toEqual(["a 0", "b 100", "c 200"])
    expect(log.ends).toEqual(["a 0", "impossible 20", "b 100", "c 200"])
  })

  it("fails by the meter that has the window, whichever of several, before any meter is changed", async () => {
    const log = new Log()
    const older = tokens(5)
    const younger = Meter.makeUnsafe({ maxAtOnce: 1, windows: { requests: { limit: 1, per: 1000 } } })
    for (const meter of [Meter.all(older, younger), Meter.all(younger, older)]) {
      const exit = await log.world.run(Meter.metered(Effect.void, meter, { cost: { tokens: 6 } }))
      expect(errorOf(exit)).toMatchObject({ window: "tokens", limit: 5 })
      const { free, room, started } = await log.world.value(Meter.snapshot(meter))
      expect({ free, room, started }).toEqual({ free: 1, room: { requests: 1, tokens: 5 }, started: 0 })
    }
  })

  it("exactly the whole window is not excessive", async () => {
    const log = new Log()
    expect(await log.world.value(Meter.metered(log.task("a"), tokens(10), { cost: { tokens: 10 } }))).toBe("a")
  })

  it("an impossible item of amap fails the stream after the results before it", async () => {
    const log = new Log()
    const read: Array<number> = []
    const stream = amap([1, 2, 30, 4], (n) => Effect.succeed(n), { meter: tokens(10), cost: (n) => ({ tokens: n }) })
    const exit = await log.world.run(Stream.runForEach(stream, (n) => Effect.sync(() => read.push(n))))
    expect(read).toEqual([1, 2])
    expect(errorOf(exit)).toBeInstanceOf(Meter.ExcessiveCost)
  })
})

describe("correct", () => {
  const one = (log: Log, meter: Meter.Meter, name: string, cost: number, body: Effect.Effect<unknown> = Effect.void) =>
    Meter.metered(log.around(name, body), meter, { cost: { tokens: cost } })

  it("frees an overestimated cost at once, for tasks that already wait", async () => {
    const log = new Log()
    const meter = tokens(10)
    await log.play(
      [0, one(log, meter, "a", 10, Effect.delay(Meter.correct({ tokens: 4 }), 30))],
      [10, one(log, meter, "b", 6)],
      [20, one(log, meter, "c", 1)]
    )
    expect(log.starts).toEqual(["a 0", "b 30", "c 100"])
  })

  it("charges an underestimated cost: later tasks wait for it", async () => {
    const log = new Log()
    const meter = tokens(10)
    await log.play(
      [0, one(log, meter, "a", 2, Effect.delay(Meter.correct({ tokens: 9 }), 30))],
      [40, one(log, meter, "b", 1)],
      [41, one(log, meter, "c", 1)]
    )
    expect(log.starts).toEqual(["a 0", "b 40", "c 100"])
  })

  it("more than the whole window may have been used: nothing starts until that has gone out of it", async () => {
    const log = new Log()
    const meter = tokens(10)
    await log.play(
      [0, one(log, meter, "a", 2, Effect.delay(Meter.correct({ tokens: 25 }), 30))],
      [20, one(log, meter, "early", 8)],
      [40, one(log, meter, "b", 1)],
      [50, one(log, meter, "c", 10)]
    )
    expect(log.starts).toEqual(["a 0", "early 20", "b 100", "c 200"])
  })

  it("is what it was in the end, not the sum of all corrections", async () => {
    const log = new Log()
    const meter = tokens(10)
    const body = Effect.gen(function* () {
      yield* Meter.correct({ tokens: 10 })
      expect((yield* Meter.snapshot(meter)).room).toEqual({ tokens: 0 })
      yield* Meter.correct({ tokens: 1 })
      expect((yield* Meter.snapshot(meter)).room).toEqual({ tokens: 9 })
      yield* Meter.correct({ tokens: 0 })
      expect((yield* Meter.snapshot(meter)).room).toEqual({ tokens: 10 })
      yield* Meter.correct({ tokens: 3 })
      expect((yield* Meter.snapshot(meter)).room).toEqual({ tokens: 7 })
    })
    await log.play([0, one(log, meter, "a", 5, body)])
    expect(log.starts).toEqual(["a 0"])
  })

  it("changes the windows that it names alone", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ windows: { requests: { limit: 5, per: 100 }, tokens: { limit: 10, per: 100 } } })
    const body = Effect.gen(function* () {
      yield* Meter.correct({ tokens: 2 })
      return (yield* Meter.snapshot(meter)).room
    })
    expect(await log.world.value(Meter.metered(body, meter, { cost: { tokens: 8 } }))).toEqual({
      requests: 4,
      tokens: 8
    })
  })

  it("changes nothing any more when no window reaches the start", async () => {
    const log = new Log()
    const meter = tokens(10)
    await log.play(
      [0, one(log, meter, "a", 10, Effect.delay(Meter.correct({ tokens: 1000 }), 150))],
      [120, one(log, meter, "b", 4)],
      [160, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ tokens: 6 }))]
    )
    expect(log.starts).toEqual(["a 0", "b 120"])
  })

  it("corrects its own task among many, whatever the order", async () => {
    const log = new Log()
    const meter = tokens(12)
    await log.play(
      [0, one(log, meter, "a", 4, Effect.delay(Meter.correct({ tokens: 1 }), 60))],
      [10, one(log, meter, "b", 4, Effect.delay(Meter.correct({ tokens: 2 }), 10))],
      [20, one(log, meter, "c", 4, Effect.delay(Meter.correct({ tokens: 3 }), 10))],
      [65, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ tokens: 6 }))],
      [105, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ tokens: 7 }))],
      [115, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ tokens: 9 }))],
      [125, Effect.map(Meter.snapshot(meter), ({ room }) => expect(room).toEqual({ tokens: 12 }))]
    )
    expect(log.starts).toEqual(["a 0", "b 10", "c 20"])
  })

  it("in a forked child or a nested task, corrects the nearest task that has the window", async () => {
    const log = new Log()
    const outer = tokens(10)
    const inner = Meter.makeUnsafe({ windows: { bytes: { limit: 10, per: 100 } } })
    const body = Effect.gen(function* () {
      yield* Fiber.join(yield* Effect.forkChild(Meter.correct({ tokens: 2 })))
      yield* Meter.metered(Meter.correct({ bytes: 7 }), inner)
      yield* runOnEach([1], () => Meter.correct({ tokens: 4 }), { meter: inner })
      return [yield* Meter.snapshot(outer), yield* Meter.snapshot(inner)].map(({ room }) => room)
    })
    const rooms = await log.world.value(Meter.metered(body, outer, { cost: { tokens: 10 } }))
    expect(rooms).toEqual([{ tokens: 6 }, { bytes: 2 }])
  })

  it.each(verbs)("works in the tasks of $name, for its own windows and those of its meters", async (verb) => {
    const log = new Log()
    const meter = tokens(10)
    const task = (name: string) =>
      log.around(name, Effect.andThen(Meter.correct({ tokens: 5, bytes: 30 }), Effect.sleep(10_000)))
    const options = { meter, windows: { bytes: { limit: 100, per: 200 } }, cost: () => ({ tokens: 10, bytes: 100 }) }
    await log.play([0, verb.run(["a", "b", "c", "d"], task, options)])
    // 10 and 100 have to be free for each: tokens would be at 100, but bytes only at 200.
    expect(log.starts).toEqual(["a 0", "b 200", "c 400", "d 600"])
  })

  it("a task that was started without a cost is corrected from 1", async () => {
    const log = new Log()
    const meter = tokens(10)
    const room = Effect.map(Effect.andThen(Meter.correct({ tokens: 6 }), Meter.snapshot(meter)), ({ room }) => room)
    expect(await log.world.value(Meter.metered(room, meter))).toEqual({ tokens: 4 })
  })

  it("outside of a task with such a window it is a defect", async () => {
    const log = new Log()
    const message =
      "there is nothing to correct: this does not run inside a task with a cost by one of these names: tokens"
    const unmetered = defectOf(await log.world.run(Meter.correct({ tokens: 1 })))
    const another = defectOf(
      await log.world.run(Meter.metered(Meter.correct({ tokens: 1 }), Meter.makeUnsafe({ maxAtOnce: 1 })))
    )
    for (const defect of [unmetered, another]) {
      expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
      expect((defect as Error).message).toBe(message)
    }
  })

  it("an invalid amount or an unknown name beside a known one is a defect, and corrects nothing", async () => {
    const log = new Log()
    const meter = tokens(10)
    for (const [cost, message] of [
      [{ tokens: -1 }, "cost.tokens must be a finite number of at least 0, but is -1"],
      [{ tokens: 1, tokenz: 1 }, "there is no window tokenz that the cost could be counted in. Known: tokens"]
    ] as ReadonlyArray<readonly [Meter.Cost, string]>) {
      const body = Effect.gen(function* () {
        const exit = yield* Effect.exit(Meter.correct(cost))
        return { exit, room: (yield* Meter.snapshot(meter)).room }
      })
      const { exit, room } = await log.world.value(Meter.metered(body, meter, { cost: { tokens: 5 } }))
      expect((defectOf(exit) as Error).message).toBe(message)
      expect(room).toEqual({ tokens: 5 })
      await log.world.value(Effect.sleep(1000))
    }
  })

  it("has no effect on a window that was not there when the task started", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
    const body = Effect.gen(function* () {
      yield* Meter.resize(meter, { windows: { tokens: { limit: 10, per: 100 } } })
      yield* Meter.correct({ tokens: 7 })
      return (yield* Meter.snapshot(meter)).room
    })
    expect(await log.world.run(Meter.metered(Effect.andThen(Effect.sleep(1), body), meter))).toEqual(
      Exit.succeed({ tokens: 10 })
    )
  })

  it("applies to all meters of the task before the waiters of any are checked", async () => {
    for (const order of [0, 1]) {
      const log = new Log()
      const make = (name: string) => Meter.makeUnsafe({ windows: { [name]: { limit: 10, per: 100 } } })
      const made = order === 0 ? [make("spent"), make("saved")] : [make("saved"), make("spent")].toReversed()
      const meter = Meter.all(...made)
      const corrects = Effect.andThen(Effect.sleep(10), Meter.correct({ spent: 10, saved: 1 }))
      await log.play(
        [0, Meter.metered(corrects, meter, { cost: { spent: 1, saved: 10 } })],
        // What is given back in one window is there for it, what is spent in the other one is not.
        [5, Meter.metered(log.task("next"), meter, { cost: { spent: 5, saved: 5 } })]
      )
      expect(log.starts).toEqual(["next 100"])
    }
  })
})
