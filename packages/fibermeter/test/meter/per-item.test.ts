/** A meter per item: items of different meters do not hold each other up, and only a stated number of them waits. */
import { describe, expect, it, vi } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach, WorkQueue } from "../../src/index.ts"
import { ItemRequest, ItemRequests } from "../../src/internal/admission/itemRequests.ts"
import { defectOf, errorOf, Log, names } from "../support/Log.ts"
import { Source } from "../support/Source.ts"
import { range } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

/** An item by its name: the key of its meter, and a number. */
const keyOf = (name: string): string => name.slice(0, 1)

const keyed = (limits: Meter.Limits) => {
  const family = Meter.keyedUnsafe<string>(limits)
  return { family, meter: (name: string) => family.for(keyOf(name)) }
}

/** Nothing of the meter is in use, and nothing waits for it. */
const expectIdle = async (log: Log, ...meters: ReadonlyArray<Meter.Meter>): Promise<void> => {
  for (const meter of meters) {
    const { running, waiting } = await log.world.value(Meter.snapshot(meter))
    expect({ running, waiting }).toEqual({ running: 0, waiting: 0 })
    await log.world.value(Meter.idle(meter))
  }
}

describe("items of different meters", () => {
  it.each(verbs.filter(({ name }) => name !== "runAny"))(
    "$name starts each item as soon as its own meter admits it",
    async ({ run }) => {
      const log = new Log()
      const { meter } = keyed({ maxAtOnce: 1 })
      await log.play([
        0,
        run(["a0", "a1", "b0", "a2", "b1"], (name) => log.task(name, name < "b" ? 100 : 10), { meter })
      ])
      expect(log.starts).toEqual(["a0 0", "b0 0", "b1 10", "a1 100", "a2 200"])
      log.expectRest()
    }
  )

  it("the results of runAll are in input order, whichever tasks start first", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    const items = ["a0", "a1", "b0", "b1"]
    await log.play([
      0,
      Effect.map(
        runAll(items, (name) => log.task(name, name < "b" ? 100 : 10), { meter }),
        (results) => expect(results).toEqual(items)
      )
    ])
    expect(log.starts).toEqual(["a0 0", "b0 0", "b1 10", "a1 100"])
  })

  it("the index of a task is that of its item", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    const seen: Array<string> = []
    const note = (name: string, index: number) =>
      Effect.andThen(
        Effect.sync(() => void seen.push(`${name} ${index}`)),
        Effect.sleep(10)
      )
    await log.play([0, runOnEach(["a0", "a1", "b0"], note, { meter })])
    expect(seen).toEqual(["a0 0", "b0 2", "a1 1"])
  })

  it("effects without items have meters by the effect and its index", async () => {
    const log = new Log()
    const { family } = keyed({ maxAtOnce: 1 })
    const effects = [log.task("a0", 10), log.task("a1", 10), log.task("b0", 10)] as const
    const meter = (effect: Effect.Effect<string>, index: number) => {
      expect(effects).toContain(effect)
      return family.for(index < 2 ? "a" : "b")
    }
    await log.play([0, runAll(effects, { meter })])
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 10"])
  })

  it("a list of meters admits an item all in one step", async () => {
    const log = new Log()
    const all = Meter.makeUnsafe({ maxAtOnce: 2 })
    const { family } = keyed({ maxAtOnce: 1 })
    const meter = (name: string) => [all, family.for(keyOf(name))]
    await log.play([
      0,
      runOnEach(["a0", "a1", "a2", "b0", "c0"], (name) => log.task(name, name < "b" ? 100 : 30), { meter })
    ])
    // c0 waits for one of the two permits, although a1 and a2 have arrived before it.
    expect(log.starts).toEqual(["a0 0", "b0 0", "c0 30", "a1 100", "a2 200"])
    expect(log.peak).toBe(2)
    await expectIdle(log, all)
  })

  it("a combined meter counts as the meters that it combines", async () => {
    const log = new Log()
    const all = Meter.makeUnsafe({ maxPerSecond: 10 })
    const { family } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      runOnEach(["a0", "a1", "b0"], (name) => log.task(name, 500), {
        meter: (name) => Meter.all(all, family.for(keyOf(name)))
      })
    ])
    expect(log.starts).toEqual(["a0 0", "b0 100", "a1 500"])
  })

  it("a meter that is listed twice is taken from once", async () => {
    const log = new Log()
    const one = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play([0, runOnEach(names(2), (name) => log.task(name, 10), { meter: () => [one, one] })])
    expect(log.starts).toEqual(["t0 0", "t1 10"])
    await expectIdle(log, one)
  })

  it("items of the same meters start in input order, also behind other waiters of these", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    await log.play(
      [0, Meter.metered(log.task("first", 100), family.for("a"))],
      [1, runOnEach(["a0", "a1", "b0", "a2"], (name) => log.task(name, 10), { meter })],
      [2, Meter.metered(log.task("last", 10), family.for("a"))]
    )
    expect(log.starts).toEqual(["first 0", "b0 1", "a0 100", "a1 110", "a2 120", "last 130"])
  })

  it.each([
    ["a semaphore", () => Meter.fromSemaphore(Semaphore.makeUnsafe(1))],
    ["a meter of one permit", () => Meter.makeUnsafe({ maxAtOnce: 1 })]
  ])("items wait for %s beside other meters", async (_, make) => {
    const log = new Log()
    const one = make()
    const { family } = keyed({ maxAtOnce: 1 })
    const meter = (name: string) => (name === "b0" ? [family.for("b")] : [one, family.for("a")])
    await log.play([0, runOnEach(["a0", "a1", "b0"], (name) => log.task(name, 100), { meter })])
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 100"])
  })
})

describe("the call's own limits", () => {
  it("maxAtOnce holds together with the meters, and a permit is not held for an item whose meter is closed", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      runOnEach(["a0", "a1", "b0", "c0", "d0"], (name) => log.task(name, name < "b" ? 100 : 10), {
        meter,
        maxAtOnce: 2
      })
    ])
    expect(log.starts).toEqual(["a0 0", "b0 0", "c0 10", "d0 20", "a1 100"])
    expect(log.peak).toBe(2)
  })

  it("maxPerSecond spreads the starts of all items", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      runOnEach(["a0", "a1", "b0", "c0"], (name) => log.task(name, name < "b" ? 250 : 10), { meter, maxPerSecond: 10 })
    ])
    expect(log.starts).toEqual(["a0 0", "b0 100", "c0 200", "a1 300"])
  })

  it("windows count the costs of all items, at the meters and the call", async () => {
    const log = new Log()
    const family = Meter.keyedUnsafe<string>({ windows: { bytes: { limit: 5, per: 1000 } } })
    await log.play([
      0,
      runOnEach(["a0", "a1", "b0", "c0"], (name) => log.task(name), {
        meter: (name) => family.for(keyOf(name)),
        windows: { tokens: { limit: 10, per: 500 } },
        cost: (name) => ({ tokens: 4, bytes: name === "a0" ? 5 : 1 })
      })
    ])
    // a1 waits for the bytes of its meter, c0 for the tokens of the call.
    expect(log.starts).toEqual(["a0 0", "b0 0", "c0 500", "a1 1000"])
  })

  it("a cost may name the windows of the item's meters, and no others", async () => {
    const log = new Log()
    const tokens = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 1000 } } })
    const bytes = Meter.makeUnsafe({ windows: { bytes: { limit: 10, per: 1000 } } })
    await log.play([
      0,
      log.named(
        "call",
        runOnEach(["a0", "b0"], (name) => log.task(name), {
          meter: (name) => (name === "a0" ? tokens : bytes),
          cost: () => ({ tokens: 2 })
        })
      )
    ])
    expect(log.starts).toEqual(["a0 0"])
    expect(defectOf(log.exit("call"))).toMatchObject({
      message: "there is no window tokens that the cost could be counted in. Known: bytes"
    })
  })

  it("each task corrects what it has taken itself", async () => {
    const log = new Log()
    const family = Meter.keyedUnsafe<string>({ windows: { tokens: { limit: 10, per: 1000 } } })
    const correcting = (name: string) =>
      Effect.andThen(log.task(name), name === "a0" ? Meter.correct({ tokens: 2 }) : Effect.void)
    await log.play([
      0,
      runOnEach(["a0", "b0", "a1", "b1"], correcting, {
        meter: (name) => family.for(keyOf(name)),
        cost: () => ({ tokens: 8 })
      })
    ])
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 0", "b1 1000"])
  })

  it("each task holds its permits at all of its meters", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 3 })
    await log.play([
      0,
      runOnEach(["a0", "a1", "b0", "c0"], (name) => log.task(name, 10), { meter, permits: 2, maxAtOnce: 5 })
    ])
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 10", "c0 10"])
  })

  it("a task that needs more permits than a meter has fails the call", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      log.named(
        "call",
        runOnEach(["a0"], (name) => log.task(name), { meter, permits: 2 })
      )
    ])
    expect(errorOf(log.exit("call"))).toMatchObject({ _tag: "ExcessivePermits", permits: 2, limit: 1 })
  })

  it("priorities order the items of the same meters, and lanes take turns", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    await log.play(
      [
        0,
        runOnEach(["a0", "a1", "a2"], (name) => log.task(name, 10), {
          meter,
          priority: (name) => (name === "a2" ? 1 : 0)
        })
      ],
      [0, runOnEach(["b0", "b1", "b2"], (name) => log.task(name, 10), { meter, lane: (name: string) => name === "b2" })]
    )
    expect(log.starts).toEqual(["a0 0", "b0 0", "a2 10", "b1 10", "a1 20", "b2 20"])
  })
})

describe("how far the source is read (G5)", () => {
  it("at most maxPending items wait", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    const pulled: Array<string> = []
    const source = new Source(8, (index) => {
      const name = ["a0", "a1", "a2", "b0", "a3", "b1", "a4", "c0"][index]!
      pulled.push(`${name} ${log.now}`)
      return name
    })
    await log.play([0, runOnEach(source, (name) => log.task(name, name < "b" ? 100 : 10), { meter, maxPending: 2 })])
    expect(pulled).toEqual(["a0 0", "a1 0", "a2 0", "b0 100", "a3 100", "b1 200", "a4 200", "c0 300"])
    expect(log.starts).toEqual(["a0 0", "a1 100", "b0 100", "a2 200", "b1 200", "a3 300", "c0 300", "a4 400"])
  })

  it("by default 1000 items wait", async () => {
    const log = new Log()
    const source = Source.indices(Infinity)
    const one = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play([
      0,
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(runOnEach(source, () => Effect.never, { meter: () => one }))
        yield* Effect.sleep(10)
        expect((yield* Meter.snapshot(one)).waiting).toBe(1000)
        yield* Fiber.interrupt(fiber)
      })
    ])
    expect(source.pulls).toBe(1001)
    expect(source.closed).toBe(1)
    await expectIdle(log, one)
    log.expectRest()
  })

  it("a stream is read one chunk at a time", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    const pulled: Array<string> = []
    const items = Stream.fromIterable(["a0", "a1", "b0", "a2"]).pipe(
      Stream.rechunk(1),
      Stream.tap((name) => Effect.sync(() => void pulled.push(`${name} ${log.now}`)))
    )
    await log.play([0, runOnEach(items, (name) => log.task(name, 100), { meter, maxPending: 1 })])
    expect(pulled).toEqual(["a0 0", "a1 0", "b0 100", "a2 100"])
    expect(log.starts).toEqual(["a0 0", "a1 100", "b0 100", "a2 200"])
  })

  it("the meters of an item are asked for once, when it is pulled", async () => {
    const log = new Log()
    const { family } = keyed({ maxAtOnce: 1 })
    const asked: Array<string> = []
    const meter = (name: string, index: number) => {
      asked.push(`${name} ${index} ${log.now}`)
      return family.for("a")
    }
    await log.play([0, runOnEach(names(4), (name) => log.task(name, 10), { meter, maxPending: 1 })])
    expect(asked).toEqual(["t0 0 0", "t1 1 0", "t2 2 10", "t3 3 20"])
  })
})

describe("back-pressure (G6)", () => {
  const reading = (log: Log, stream: Stream.Stream<string, unknown>, millis: number) => {
    const read: Array<string> = []
    const effect = Stream.runForEach(stream, (name) =>
      Effect.andThen(
        Effect.sync(() => void read.push(`${name} ${log.now}`)),
        Effect.sleep(millis)
      )
    )
    return { read, effect }
  }

  it("without an order, an item counts as unread from its start", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    const items = ["a0", "a1", "a2", "b0", "c0", "d0"]
    const { effect, read } = reading(
      log,
      amap(items, (name) => log.task(name, name < "b" ? 1000 : 10), { meter, maxUnread: 2 }),
      50
    )
    await log.play([0, effect])
    // b0, c0 and d0 do not wait for a1 and a2, which have been pulled before them; each start needs room to be read.
    expect(log.starts).toEqual(["a0 0", "b0 0", "c0 10", "d0 60", "a1 1000", "a2 2000"])
    expect(read).toEqual(["b0 10", "c0 60", "d0 110", "a0 1000", "a1 2000", "a2 3000"])
    log.expectRest()
  })

  it("with ordered, an item counts as unread from its pull, so the first can always start", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const items = ["a0", "b0", "b1", "a1", "c0"]
    const { effect, read } = reading(
      log,
      amap(items, (name) => log.task(name, 10), { meter, maxUnread: 2, ordered: true }),
      0
    )
    await log.play([0, Meter.metered(log.task("holder", 500), family.for("a"))], [1, effect])
    expect(log.starts).toEqual(["holder 0", "b0 1", "a0 500", "b1 510", "a1 510", "c0 520"])
    expect(read).toEqual(["a0 510", "b0 510", "b1 520", "a1 520", "c0 530"])
  })

  it("by default twice the number that the call itself may run at once", async () => {
    const log = new Log()
    const { meter } = keyed({})
    await log.play([
      0,
      Effect.gen(function* () {
        const stream = amap(range(20), (n) => log.task(`t${n}`), { meter: () => meter("a"), maxAtOnce: 3 })
        yield* Stream.runForEach(stream, () => Effect.andThen(Effect.sleep(10), Effect.never)).pipe(
          Effect.timeoutOption(1000)
        )
      })
    ])
    // The first chunk holds as many results as leave room for three tasks.
    expect(log.starts.length).toBe(7)
  })

  it("without limits of the call, nothing limits the number of unread results", async () => {
    const log = new Log()
    const one = Meter.makeUnsafe({ maxAtOnce: 2 })
    await log.play([
      0,
      Stream.runForEach(
        amap(range(20), (n) => log.task(`t${n}`), { meter: () => one }),
        () => Effect.never
      ).pipe(Effect.timeoutOption(1000))
    ])
    expect(log.starts.length).toBe(20)
  })

  it("the time that an item waits for the reader does not count for room that is kept", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const { effect } = reading(
      log,
      amap(["a0", "a1", "b0", "c0", "d0"], (name) => log.task(name, name < "b" ? 100 : 10), { meter, maxUnread: 2 }),
      1000
    )
    await log.play(
      [0, effect],
      [1005, Meter.metered(log.task("one", 100), family.for("a"))],
      [1300, Meter.metered(log.task("two", 100), family.for("a"))]
    )
    // a1 has been first at its meter for 100 ms, and after the reader's turn at 1010 for 95 ms. At 1105 room is kept for half.
    expect(log.starts).toEqual(["a0 0", "b0 0", "c0 10", "one 1005", "d0 1010", "two 1300", "a1 2010"])
  })

  it("an item whose meter opens while results are unread waits for the reader", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const { effect, read } = reading(
      log,
      amap(["a0", "a1", "b0", "c0", "a2"], (name) => log.task(name, name < "b" ? 100 : 10), { meter, maxUnread: 2 }),
      1000
    )
    await log.play([0, effect], [500, Meter.metered(log.task("other", 10), family.for("a"))])
    // From 100 on, a0 and c0 are unread. At 1010 the first of them is read.
    expect(log.starts).toEqual(["a0 0", "b0 0", "c0 10", "other 500", "a1 1010", "a2 2010"])
    expect(read).toEqual(["b0 10", "c0 1010", "a0 2010", "a1 3010", "a2 4010"])
    log.expectRest()
  })

  it("results that will never be read make room for items that wait", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      Effect.exit(Stream.runDrain(amap(["a0", "a1", "b0"], (name) => log.task(name, 10), { meter, maxUnread: 1 })))
    ])
    expect(log.starts).toEqual(["a0 0", "a1 10", "b0 20"])
  })
})

describe("wrong meters", () => {
  const wrong: ReadonlyArray<readonly [string, () => unknown, string]> = [
    ["undefined", () => undefined, "the meter of items[1] must be a Meter, but is undefined"],
    ["a limit", () => 5, "the meter of items[1] must be a Meter, but is 5"],
    ["an empty list", () => [], "the meter of items[1] must be one or more meters, but is an empty array"],
    [
      "a list with something else",
      () => [Meter.makeUnsafe({}), {}],
      "the meter of items[1][1] must be a Meter, but is an object"
    ],
    ["a promise", () => Promise.reject(new Error("late")), "the meter of items[1] must be a Meter, but is a Promise"],
    [
      "a meter of another copy",
      () => ({ "~fibermeter/Meter": {} }),
      "the meter of items[1] was made by another copy of fibermeter that this program has loaded: make all meters by the same one"
    ]
  ]

  it.each(wrong)("%s: the call dies, and running tasks are interrupted", async (_, make, message) => {
    const log = new Log()
    const { family } = keyed({ maxAtOnce: 1 })
    const first = family.for("a")
    const source = Source.indices(5)
    const meter = (_item: number, index: number) => (index === 1 ? (make() as Meter.Meter) : first)
    await log.play([
      0,
      log.named(
        "call",
        runOnEach(source, (n) => log.task(`t${n}`, 100), { meter })
      )
    ])
    expect(log.ends).toEqual(["call 0"])
    expect(defectOf(log.exit("call"))).toBeInstanceOf(Cause.IllegalArgumentError)
    expect(defectOf(log.exit("call"))).toMatchObject({ message })
    expect(source.closed).toBe(1)
    await expectIdle(log, first)
    log.expectRest()
  })

  it("a function that throws: the call dies of that, runAny as well", async () => {
    const log = new Log()
    const boom = new Error("boom")
    const { family } = keyed({ maxAtOnce: 1 })
    const meter = (_: number, index: number) => {
      if (index === 2) throw boom
      return family.for("a")
    }
    await log.play([
      0,
      log.named(
        "call",
        runAny(range(3), (n) => log.task(`t${n}`, 100), { meter })
      )
    ])
    expect(defectOf(log.exit("call"))).toBe(boom)
    expect(log.starts).toEqual(["t0 0"])
    await expectIdle(log, family.for("a"))
    log.expectRest()
  })

  it("a cost function that throws leaves nothing of its item", async () => {
    const log = new Log()
    const boom = new Error("boom")
    const one = Meter.makeUnsafe({ windows: { tokens: { limit: 5, per: 1000 } } })
    const cost = (): Meter.Cost => {
      throw boom
    }
    await log.play([
      0,
      log.named(
        "call",
        runOnEach(["a0"], (name) => log.task(name), { meter: () => one, cost })
      )
    ])
    expect(defectOf(log.exit("call"))).toBe(boom)
    await expectIdle(log, one)
  })

  it("if a cost function throws, the call waits for its running tasks, and a queue gets the item back", async () => {
    const log = new Log()
    const boom = new Error("boom")
    const queue = WorkQueue.makeUnsafe(["a0", "b0", "c0"])
    const { meter } = keyed({ windows: { tokens: { limit: 5, per: 1000 } } })
    const cost = (name: string): Meter.Cost => {
      if (name === "b0") throw boom
      return { tokens: 1 }
    }
    const task = (name: string) => Effect.onInterrupt(log.task(name, 100), () => Effect.sleep(10))
    await log.play([0, log.named("call", runOnEach(queue, task, { meter, cost }))])
    expect(log.ends).toEqual(["call 10"])
    expect(defectOf(log.exit("call"))).toBe(boom)
    expect(await log.world.value(runAll(queue, Effect.succeed, { maxAtOnce: 1 }))).toEqual(["b0", "c0"])
    log.expectRest()
  })
})

describe("endings", () => {
  it("a failure stops the items that wait, and nothing of them is left", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      log.named(
        "call",
        runOnEach(
          ["a0", "a1", "a2", "b0"],
          (name) => (name === "b0" ? Effect.andThen(Effect.sleep(10), Effect.fail("boom")) : log.task(name, 100)),
          { meter }
        )
      )
    ])
    expect(log.starts).toEqual(["a0 0"])
    expect(log.ends).toEqual(["call 10"])
    expect(errorOf(log.exit("call"))).toBe("boom")
    await expectIdle(log, family.for("a"), family.for("b"))
    log.expectRest()
  })

  it("a waiter of another call starts at once when the items before it leave", async () => {
    const log = new Log()
    const tokens = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 1000 } } })
    await log.play(
      [0, Meter.metered(log.task("first"), tokens, { cost: { tokens: 5 } })],
      [
        1,
        Effect.timeoutOption(
          runOnEach(names(3), (name) => log.task(name), { meter: () => tokens, cost: () => ({ tokens: 6 }) }),
          100
        )
      ],
      [2, Meter.metered(log.task("other"), tokens, { cost: { tokens: 5 } })]
    )
    expect(log.starts).toEqual(["first 0", "other 101"])
    await expectIdle(log, tokens)
  })

  it("items that wait do not start while the call ends, whatever makes room", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const slowly = (name: string) => Effect.onExit(log.task(name, 100), () => Effect.sleep(50))
    await log.play([
      0,
      log.named(
        "call",
        runAny(["a0", "a1", "b0", "b1"], (name) => (name === "b0" ? log.task(name, 10) : slowly(name)), { meter })
      )
    ])
    expect(log.starts).toEqual(["a0 0", "b0 0"])
    expect(log.ends).toEqual(["call 60"])
    expect(log.exit("call")).toEqual(Exit.succeed("b0"))
    await expectIdle(log, family.for("a"), family.for("b"))
  })

  it("an item that a leaving one has kept waiting does not start any more", async () => {
    const log = new Log()
    const tokens = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 1000 } } })
    const correcting = Effect.andThen(Effect.sleep(10), Meter.correct({ tokens: 4 }))
    const costs: Readonly<Record<string, number>> = { small: 6, large: 8 }
    await log.play(
      [0, Meter.metered(correcting, tokens, { cost: { tokens: 5 } })],
      [
        1,
        Effect.timeoutOption(
          runOnEach(["small", "large"], (name) => log.task(name), {
            meter: () => tokens,
            cost: (name) => ({ tokens: costs[name]! }),
            // The large one is the first, and would still have to wait when the small one could start.
            priority: (name) => costs[name]!
          }),
          100
        )
      ],
      // Of the window, only what the first task has kept is taken.
      [200, Meter.metered(log.task("next"), tokens, { cost: { tokens: 6 } })]
    )
    expect(log.starts).toEqual(["next 200"])
    await expectIdle(log, tokens)
  })

  it("a reader of amap that leaves early ends the items that wait", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const source = new Source(Infinity, (index) => `${"ab"[index % 2]}${index}`)
    await log.play([
      0,
      Stream.runDrain(
        Stream.take(
          amap(source, (name) => log.task(name, name < "b" ? 100 : 10), { meter }),
          2
        )
      )
    ])
    expect(log.starts).toEqual(["a0 0", "b1 0", "b3 10", "b5 20"])
    expect(source.closed).toBe(1)
    await expectIdle(log, family.for("a"), family.for("b"))
    log.expectRest()
  })

  it("a schedule that ends fails the call with its error", async () => {
    const log = new Log()
    const twice = Meter.fromSchedule(Schedule.recurs(1))
    const free = Meter.makeUnsafe({})
    const call: Effect.Effect<void, Meter.ScheduleEnded> = runOnEach(
      ["a0", "b0", "a1", "a2"],
      (name) => log.task(name, 10),
      { meter: (name) => (name < "b" ? twice : free) }
    )
    await log.play([0, log.named("call", call)])
    expect(errorOf(log.exit("call"))).toMatchObject({ _tag: "ScheduleEnded" })
    log.expectRest()
  })
})

describe("a stack without room", () => {
  it.each([
    ["before the request is asked", ItemRequests.prototype, "start"],
    ["in the request", ItemRequest.prototype, "requestStart"],
    ["after the admission", ItemRequest.prototype, "started"]
  ] as const)("%s: the call dies, and each permit comes back", async (_, owner, method) => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const overflow = new RangeError("Maximum call stack size exceeded")
    const spy = vi.spyOn(owner as any, method).mockImplementation(() => {
      throw overflow
    })
    await log.play([
      0,
      log.named(
        "call",
        runOnEach(["a0", "b0"], (name) => log.task(name, 100), { meter })
      )
    ])
    spy.mockRestore()
    expect(defectOf(log.exit("call"))).toBe(overflow)
    await expectIdle(log, family.for("a"), family.for("b"))
  })
})

describe("work queues", () => {
  it("a queue does not end while items of it wait at their meters", async () => {
    const log = new Log()
    const queue = WorkQueue.makeUnsafe(["a0", "a1", "b0"])
    const { meter } = keyed({ maxAtOnce: 1 })
    const task = (name: string) =>
      Effect.andThen(log.task(name, 100), name === "a1" ? WorkQueue.addAll(queue, ["a2", "b1", "a3"]) : Effect.void)
    await log.play([0, log.named("call", runOnEach(queue, task, { meter }))])
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 100", "a2 200", "b1 200", "a3 300"])
    expect(log.ends).toEqual(["call 400"])
  })

  it("a call that ends early gives back the items that wait, in their order", async () => {
    const log = new Log()
    const queue = WorkQueue.makeUnsafe(["a0", "a1", "b0", "a2", "b1", "a3"])
    const { meter } = keyed({ maxAtOnce: 1 })
    await log.play([
      0,
      Effect.timeoutOption(
        runOnEach(queue, (name) => log.task(name, 100), { meter, maxPending: 3 }),
        50
      )
    ])
    const rest = await log.world.value(runAll(queue, Effect.succeed, { maxAtOnce: 1 }))
    expect(rest).toEqual(["a1", "a2", "b1", "a3"])
  })

  it("a call that ends because a meter drains gives back the item that it has not started", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const queue = WorkQueue.makeUnsafe(["b0", "a0"])
    await log.play(
      [0, log.named("drain", Meter.drain(family.for("a")))],
      [
        1,
        log.named(
          "call",
          runOnEach(queue, (name) => log.task(name, 10), { meter })
        )
      ]
    )
    expect(log.ends).toEqual(["drain 0", "call 11"])
    expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
    expect(await log.world.value(runAll(queue, Effect.succeed, { maxAtOnce: 1 }))).toEqual(["a0"])
  })
})

describe("what calls with a meter per item do like others", () => {
  it("a meter that limits how many calls wait refuses none of their items, and does not count them", async () => {
    const log = new Log()
    const one = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 1, waitTimeout: 50 })
    await log.play(
      [0, runOnEach(names(3), (name) => log.task(name, 100), { meter: () => one })],
      [60, log.named("first call", Meter.metered(log.task("first call"), one))],
      [90, log.named("second call", Meter.metered(log.task("second call"), one))]
    )
    expect(log.starts).toEqual(["t0 0", "t1 100", "t2 200"])
    // The first call may wait, although two items do.
    expect(log.ends).toEqual(["second call 90", "first call 110"])
    expect(errorOf(log.exit("first call"))).toMatchObject({ _tag: "Overloaded", reason: "wait-timeout" })
    expect(errorOf(log.exit("second call"))).toMatchObject({ _tag: "Overloaded", reason: "queue-full" })
  })

  it("runAny asks for the next start after the stagger, while earlier items wait at their meters", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    await log.play(
      [0, Meter.metered(log.task("holder", 1000), family.for("a"))],
      [1, runAny(["a0", "a1", "b0"], (name) => log.task(name, 10), { meter, stagger: 100 })]
    )
    expect(log.starts).toEqual(["holder 0", "b0 201"])
    await expectIdle(log, family.for("a"), family.for("b"))
  })

  it("inside of a task that holds what an item waits for, the call waits: another item may end it", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const inner = runOnEach(
      ["a0", "b0"],
      (name) => Effect.andThen(log.task(name, 10), name === "b0" ? Effect.fail("boom") : Effect.void),
      { meter }
    )
    await log.play([0, log.named("outer", Meter.metered(inner, family.for("a")))])
    expect(log.starts).toEqual(["b0 0"])
    expect(log.ends).toEqual(["outer 10"])
    expect(errorOf(log.exit("outer"))).toBe("boom")
    await expectIdle(log, family.for("a"), family.for("b"))
  })
})

describe("administration", () => {
  it("a paused meter delays its own items", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    await log.play(
      [0, Meter.pause(family.for("a"))],
      [1, runOnEach(["a0", "b0", "a1"], (name) => log.task(name, 10), { meter })],
      [100, Meter.resume(family.for("a"))]
    )
    expect(log.starts).toEqual(["b0 1", "a0 100", "a1 110"])
  })

  it("items of a meter that begins to drain later start; then the call dies with Closed at the next one", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    const items = ["a0", "a1", "b0", "b1", "a2", "b2"]
    await log.play(
      [
        0,
        log.named(
          "call",
          runOnEach(items, (name) => log.task(name, 100), { meter, maxPending: 2 })
        )
      ],
      [50, log.named("drain", Meter.drain(family.for("a")))]
    )
    // a2 is pulled at 100, when a1 has started. What has been pulled before it starts and ends.
    expect(log.starts).toEqual(["a0 0", "b0 0", "a1 100", "b1 100"])
    expect(log.ends.toSorted()).toEqual(["call 200", "drain 200"])
    expect(defectOf(log.exit("call"))).toBeInstanceOf(Meter.Closed)
    log.expectRest()
  })

  it("a call inside of a task of the draining meter is part of that task", async () => {
    const log = new Log()
    const one = Meter.makeUnsafe({ maxAtOnce: 2 })
    const inner = runOnEach(names(2), (name) => log.task(name, 10), { meter: () => one })
    await log.play(
      [0, Meter.metered(Effect.andThen(Effect.sleep(100), inner), one)],
      [50, log.named("drain", Meter.drain(one))]
    )
    expect(log.starts).toEqual(["t0 100", "t1 110"])
    expect(log.ends).toEqual(["drain 120"])
  })

  it("a meter is idle as soon as no item of it is left, while the call continues", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    await log.play(
      [0, runOnEach(["a0", "a1", "b0"], (name) => log.task(name, name < "b" ? 10 : 100), { meter })],
      [5, log.named("idle", Meter.idle(family.for("a")))]
    )
    expect(log.ends).toEqual(["idle 20"])
  })

  it("the meter of a key is kept while items of it wait or run", async () => {
    const log = new Log()
    const { family, meter } = keyed({ maxAtOnce: 1 })
    await log.play(
      [0, runOnEach(["a0", "a1"], (name) => log.task(name, 100), { meter })],
      [10, Effect.sync(() => range(100).forEach((n) => family.for(`x${n}`)))],
      [20, Meter.metered(log.task("other", 10), family.for("a"))]
    )
    expect(log.starts).toEqual(["a0 0", "a1 100", "other 200"])
  })

  it("progress counts items that wait at their meters as waiting", async () => {
    const log = new Log()
    const { meter } = keyed({ maxAtOnce: 1 })
    const reports: Array<unknown> = []
    const onProgress = ({
      running,
      started,
      total,
      waiting
    }: { [K in "running" | "started" | "waiting"]: number } & { total: number | undefined }) =>
      void reports.push({ started, running, waiting, total })
    const items = ["a0", "a1", "b0", "a2"]
    // One item has been pulled and not started; how many more there are is not known.
    const unknown = new Source(4, (index) => items[index]!)
    await log.play([0, runOnEach(items, (name) => log.task(name, 90), { meter, onProgress })])
    await log.play([0, runOnEach(unknown, (name) => log.task(name, 90), { meter, onProgress, maxPending: 1 })])
    expect(reports).toEqual([
      { started: 3, running: 1, waiting: 1, total: 4 },
      { started: 4, running: 1, waiting: 0, total: 4 },
      { started: 4, running: 0, waiting: 0, total: 4 },
      { started: 3, running: 2, waiting: 1, total: undefined },
      { started: 4, running: 1, waiting: 0, total: undefined },
      { started: 4, running: 0, waiting: 0, total: undefined }
    ])
  })
})
