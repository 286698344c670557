/** Limits on waiting: `maxWaiting`, `waitTimeout`, `overflow`, and the error `Overloaded`. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Option, Semaphore } from "effect"
import fc from "fast-check"
import { Meter, runAll, runOnEach } from "../../src/index.ts"
import { defectOf, errorOf, Log, names } from "../support/Log.ts"
import { verbs } from "../support/verbs.ts"

/** A named call whose task is seen to start. */
const call = (log: Log, meter: Meter.Meter<any>, options: Meter.TaskOptions = {}, millis = 50) => {
  return (name: string) => log.named(name, Meter.metered(log.task(name, millis), meter, options))
}

const refusalOf = (log: Log, name: string) => {
  const error = errorOf(log.exit(name))
  if (!(error instanceof Meter.Overloaded)) return error
  return [error.reason, Option.map(error.retryAfter, Duration.toMillis)]
}

describe("maxWaiting", () => {
  it("refuses one more at once, with a typed error", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 1 })
    const one = call(log, meter)
    await log.play(
      [0, one("a")],
      [5, one("b")],
      [10, one("c")],
      [20, log.named("acquire", Effect.scoped(Meter.acquire(meter)))]
    )
    expect(log.starts).toEqual(["a 0", "b 50"])
    expect(log.ends).toEqual(["c 10", "acquire 20", "a 50", "b 100"])
    expect(refusalOf(log, "c")).toEqual(["queue-full", Option.none()])
    expect(errorOf(log.exit("acquire"))).toMatchObject({
      _tag: "Overloaded",
      message: "the meter is overloaded: as many calls wait as its maxWaiting allows"
    })
    log.expectRest()
  })

  it("retryAfter comes true: a call after that time is accepted, one before it is not", async () => {
    for (const [after, starts] of [
      [79, ["a 0", "b 100"]],
      [80, ["a 0", "b 100", "d 200"]]
    ] as const) {
      const log = new Log()
      const one = call(log, Meter.makeUnsafe({ maxPerSecond: 10, maxWaiting: 1 }))
      await log.play([0, one("a")], [10, one("b")], [20, one("c")], [20 + after, one("d")])
      expect(refusalOf(log, "c")).toEqual(["queue-full", Option.some(80)])
      expect(log.starts).toEqual(starts)
      log.expectRest()
    }
  })

  it("a pause counts for retryAfter", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxWaiting: 1 })
    const one = call(log, meter)
    await log.play([0, Meter.pause(meter, 100)], [10, one("a")], [20, one("b")])
    expect(refusalOf(log, "b")).toEqual(["queue-full", Option.some(80)])
    expect(log.starts).toEqual(["a 100"])
    log.expectRest()
  })

  it.each(verbs)("$name is never refused, nor counted", async ({ name, run }) => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 0, waitTimeout: 10 })
    const others = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 1 })
    await log.play(
      [0, call(log, meter)("first")],
      [
        0,
        log.named(
          "verb",
          run(names(2), (each) => log.task(each, 50), { meter })
        )
      ],
      [5, run(["x", "y"], (each) => log.task(each, 50), { meter: others })],
      [10, call(log, others)("counted")],
      [10, call(log, others)("too many")]
    )
    expect(log.starts).toContain("t0 50")
    expect(log.exit("verb")?._tag).toBe("Success")
    if (name !== "runAny") expect(log.starts).toContain("t1 100")
    expect([log.exit("counted")?._tag, refusalOf(log, "too many")]).toEqual(["Success", ["queue-full", Option.none()]])
    log.expectRest()
  })

  it("an interrupted waiter counts no more", async () => {
    const log = new Log()
    const one = call(log, Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 1, waitTimeout: 1000 }))
    await log.play([0, one("a")], [5, Effect.timeoutOption(one("b"), 10)], [20, one("c")])
    expect(log.starts).toEqual(["a 0", "c 50"])
    log.expectRest()
  })
})

describe("waitTimeout", () => {
  it("refuses at once what the rate cannot admit in time, and when the time is up what waits for a task", async () => {
    const log = new Log()
    const paced = call(log, Meter.makeUnsafe({ maxPerSecond: 10, waitTimeout: "150 millis" }), {}, 0)
    const limited = call(log, Meter.makeUnsafe({ maxAtOnce: 1 }), { waitTimeout: 30 }, 100)
    await log.play([0, paced("a")], [0, paced("b")], [0, paced("c")], [0, limited("d")], [10, limited("e")])
    expect(log.ends).toEqual(["a 0", "c 0", "e 40", "b 100", "d 100"])
    expect(refusalOf(log, "c")).toEqual(["wait-timeout", Option.some(50)])
    expect(refusalOf(log, "e")).toEqual(["wait-timeout", Option.none()])
    log.expectRest()
  })

  it("with priorities or lanes, only the next start counts: nothing is known of the order", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 10, waitTimeout: 150 })
    const plain = call(log, meter, {}, 0)
    await log.play(
      [0, plain("a")],
      [0, plain("b")],
      [10, call(log, meter, { priority: 1 }, 0)("first")],
      [10, plain("last")],
      [20, call(log, meter, { lane: "x", waitTimeout: 50 }, 0)("lane")]
    )
    // The call of higher priority takes the start that was b's.
    expect(log.starts).toEqual(["a 0", "first 100"])
    expect(log.ends).toEqual(["a 0", "lane 20", "first 100", "b 150", "last 160"])
    expect(refusalOf(log, "lane")).toEqual(["wait-timeout", Option.some(30)])
    log.expectRest()
  })

  it("the calls that wait before it count in a window, unless they have costs: those do not tell how much they spend", async () => {
    const log = new Log()
    const counted = call(
      log,
      Meter.makeUnsafe({ windows: { starts: { limit: 2, per: 100 } } }),
      { waitTimeout: 150 },
      0
    )
    await log.play(...["a", "b", "c", "d", "e"].map((name) => [0, counted(name)] as const))
    expect(log.starts).toEqual(["a 0", "b 0", "c 100", "d 100"])
    expect(refusalOf(log, "e")).toEqual(["wait-timeout", Option.some(50)])
    const weighed = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 100 } } })
    const spend = (name: string) => call(log, weighed, { cost: { tokens: 5 }, waitTimeout: 40 }, 0)(name)
    const { now } = log
    await log.play([0, spend("f")], [50, spend("g")], [70, Effect.timeoutOption(spend("leaves"), 10)], [75, spend("h")])
    expect(log.starts.slice(4)).toEqual([`f ${now}`, `g ${now + 50}`, `h ${now + 100}`])
    log.expectRest()
  })

  it("several meters: all of them have to admit the task in time", async () => {
    const log = new Log()
    const meter = Meter.all(Meter.makeUnsafe({ maxAtOnce: 5, waitTimeout: 60 }), Meter.makeUnsafe({ maxPerSecond: 10 }))
    const one = call(log, meter, {}, 0)
    await log.play([0, one("a")], [30, one("b")], [50, one("c")])
    expect(refusalOf(log, "b")).toEqual(["wait-timeout", Option.some(10)])
    expect(log.starts).toEqual(["a 0", "c 100"])
    log.expectRest()
  })

  it("a semaphore tells nothing: the time is waited for", async () => {
    const log = new Log()
    const one = call(log, Meter.fromSemaphore(Semaphore.makeUnsafe(1)), { waitTimeout: 20 })
    await log.play([0, one("a")], [5, one("b")])
    expect(log.ends).toEqual(["b 25", "a 50"])
    log.expectRest()
  })
})

describe("overflow: dropOldest", () => {
  it("drops the oldest of the lowest priority; a call of a lower one is refused itself", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 3, overflow: "dropOldest" })
    const at = (priority: number) => call(log, meter, { priority })
    await log.play(
      [0, at(0)("running")],
      [1, at(1)("high")],
      [2, at(0)("old")],
      [3, at(0)("young")],
      [4, at(-1)("lowest")],
      [5, at(2)("highest")],
      [6, at(2)("another")]
    )
    expect(log.starts.map((start) => start.split(" ")[0])).toEqual(["running", "highest", "another", "high"])
    expect(log.ends.slice(0, 3)).toEqual(["lowest 4", "old 5", "young 6"])
    for (const name of ["lowest", "old", "young"]) expect(refusalOf(log, name)).toEqual(["queue-full", Option.none()])
    log.expectRest()
  })

  it("a call that has started is no longer dropped: the next one is", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 1, overflow: "dropOldest" })
    const one = call(log, meter)
    await log.play([0, one("a")], [10, call(log, meter, { priority: -1 })("b")], [60, one("c")], [70, one("d")])
    expect(log.starts).toEqual(["a 0", "b 50", "d 100"])
    expect(log.ends).toEqual(["a 50", "c 70", "b 100", "d 150"])
    expect(refusalOf(log, "c")).toEqual(["queue-full", Option.none()])
    log.expectRest()
  })

  it("a waiter at another meter of its own is dropped, too, and the queue continues", async () => {
    const log = new Log()
    const dropping = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 1, overflow: "dropOldest" })
    const other = Meter.makeUnsafe({ maxAtOnce: 1 })
    await log.play(
      [0, call(log, other)("a")],
      [5, call(log, Meter.all(dropping, other))("b")],
      [6, Meter.pause(dropping, 10)],
      [10, call(log, dropping)("c")]
    )
    expect(refusalOf(log, "b")).toEqual(["queue-full", Option.none()])
    expect(log.starts).toEqual(["a 0", "c 16"])
    log.expectRest()
  })

  it("of twenty thousand calls, the oldest are dropped", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 10_000, overflow: "dropOldest" })
    const ends = await log.world.value(
      Effect.gen(function* () {
        yield* Effect.forkChild(Meter.metered(Effect.never, meter), { startImmediately: true })
        const fibers = yield* Effect.forEach(names(20_000), () =>
          Effect.forkChild(Effect.exit(Meter.metered(Effect.void, meter)), { startImmediately: true })
        )
        return fibers.map((fiber) => fiber.pollUnsafe() !== undefined)
      })
    )
    expect(ends.lastIndexOf(true)).toBe(9999)
    expect(ends.indexOf(false)).toBe(10_000)
  })
})

it.each([false, true])("interrupted at each step, leaves nothing (fine: %s)", async (fine) => {
  for (let at = 0; ; at++) {
    const log = new Log({ fine })
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 2, waitTimeout: 5, overflow: "dropOldest" })
    const program = Effect.forEach(
      names(6),
      (name, index) => Effect.delay(Effect.exit(Meter.metered(log.task(name, 3), meter)), index),
      { concurrency: "unbounded" }
    )
    let fiber: Fiber.Fiber<unknown, unknown> | undefined
    let steps = 0
    let interrupted = false
    const whole = log.world.start(
      Effect.gen(function* () {
        fiber = yield* Effect.forkChild(program)
        return yield* Fiber.await(fiber)
      })
    )
    await log.world.finish(whole, () => {
      if (fiber === undefined || steps++ !== at || fiber.pollUnsafe() !== undefined) return
      interrupted = true
      fiber.interruptUnsafe()
    })
    log.expectRest()
    const { running, waiting } = await log.world.value(Meter.snapshot(meter))
    expect({ running, waiting }, `interrupted after step ${at}`).toEqual({ running: 0, waiting: 0 })
    // As many may wait as before.
    const after = await log.world.value(
      Effect.forEach(names(4), () => Effect.exit(Meter.metered(Effect.sleep(1), meter)), { concurrency: "unbounded" })
    )
    expect(after.map(Exit.isSuccess), `interrupted after step ${at}`).toEqual([true, false, true, true])
    if (!interrupted) {
      expect(at).toBeGreaterThan(10)
      break
    }
  }
})

/** What becomes of calls that arrive at these milliseconds, under one start each 100 ms. The queue is a list. */
const model = (
  arrivals: ReadonlyArray<number>,
  { maxWaiting, overflow, waitTimeout }: { maxWaiting: number; overflow: string; waitTimeout: number }
): ReadonlyArray<string> => {
  const outcomes: Array<string> = []
  const queue: Array<number> = []
  let next = 0
  const startUntil = (time: number): void => {
    for (; queue.length > 0 && next <= time; next += 100) outcomes[queue.shift()!] = `starts ${next}`
  }
  for (const [index, at] of arrivals.entries()) {
    startUntil(at)
    const wait = next + queue.length * 100 - at
    if (queue.length === 0 && next <= at) {
      outcomes[index] = `starts ${at}`
      next = at + 100
    } else if (waitTimeout === 0 || wait > waitTimeout) {
      outcomes[index] = `wait-timeout ${at}, again after ${wait - waitTimeout}`
    } else if (queue.length < maxWaiting) {
      queue.push(index)
    } else if (overflow === "refuse" || queue.length === 0) {
      outcomes[index] = `queue-full ${at}, again after ${next - at}`
    } else {
      outcomes[queue.shift()!] = `queue-full ${at}, again after ${next - at}`
      queue.push(index)
    }
  }
  startUntil(Infinity)
  return outcomes
}

const modelRuns = 300

it("random arrivals under a rate have the outcomes of the model", { timeout: 60_000 }, async () => {
  const limits = fc.record({
    maxWaiting: fc.integer({ min: 0, max: 4 }),
    overflow: fc.constantFrom("refuse" as const, "dropOldest" as const),
    waitTimeout: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 500 }), fc.constant(10_000))
  })
  // Small steps make queues, large ones let them empty.
  const steps = fc.array(fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 300 })), { maxLength: 15 })
  await fc.assert(
    fc.asyncProperty(limits, steps, async (limits, steps) => {
      let at = 0
      const arrivals = steps.map((step) => (at += step))
      const log = new Log()
      const one = call(log, Meter.makeUnsafe({ maxPerSecond: 10, ...limits }), {}, 0)
      await log.play(...arrivals.map((at, index) => [at, one(`${index}`)] as const))
      const ends = new Map(log.ends.map((end) => end.split(" ") as [string, string]))
      const outcomes = arrivals.map((_, index) => {
        const refused = refusalOf(log, `${index}`) as [string, Option.Option<number>] | undefined
        const end = ends.get(`${index}`)
        if (refused === undefined) return `starts ${end}`
        return `${refused[0]} ${end}, again after ${Option.getOrUndefined(refused[1])}`
      })
      expect(outcomes).toEqual(model(arrivals, limits))
      log.expectRest()
    }),
    { numRuns: modelRuns }
  )
})

describe("meters with limits on waiting", () => {
  it("by make, keyed and layer", async () => {
    const log = new Log()
    class Api extends Context.Service<Api, Meter.Meter<Meter.Overloaded>>()("Api") {
      static readonly layer = Meter.layer(Api, { maxAtOnce: 1, maxWaiting: 0 })
    }
    const both = (meter: Meter.Meter<Meter.Overloaded>) =>
      Effect.all([Meter.metered(Effect.sleep(10), meter), Meter.metered(Effect.void, meter)], {
        concurrency: "unbounded"
      })
    const ofLayer = Effect.provide(Effect.flatMap(Effect.service(Api), both), Api.layer)
    await log.play(
      [0, log.named("make", Effect.flatMap(Meter.make({ maxAtOnce: 1, maxWaiting: 0 }), both))],
      [
        0,
        log.named(
          "keyed",
          Effect.flatMap(Meter.keyed<number>({ maxAtOnce: 1, waitTimeout: 5 }), (family) => both(family.for(1)))
        )
      ],
      [0, log.named("keyedUnsafe", both(Meter.keyedUnsafe<number>({ maxAtOnce: 1, maxWaiting: 0 }).for(1)))],
      [0, log.named("layer", ofLayer)]
    )
    for (const name of ["make", "keyed", "keyedUnsafe", "layer"]) {
      expect(errorOf(log.exit(name)), name).toBeInstanceOf(Meter.Overloaded)
    }
    log.expectRest()
  })

  it("can be resized; a meter made without them cannot get them, since its type says that it does not fail", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: Infinity })
    await log.play(
      [0, runAll([Meter.resize(meter, { maxWaiting: 0 })])],
      [1, call(log, meter)("a")],
      [2, call(log, meter)("b")],
      [3, log.named("bad", Meter.resize(Meter.makeUnsafe({}), { maxWaiting: 1 }))],
      [3, log.named("bad, too", Meter.resize(Meter.makeUnsafe({}), { waitTimeout: 1 }))]
    )
    expect(refusalOf(log, "b")).toEqual(["queue-full", Option.none()])
    for (const name of ["bad", "bad, too"]) {
      expect(defectOf(log.exit(name))).toMatchObject({ message: expect.stringContaining("maxWaiting: Infinity") })
    }
    log.expectRest()
  })

  it("are suggested for the names that other libraries use", () => {
    expect(() => Meter.makeUnsafe({ highWater: 5 } as {})).toThrow("no option highWater. Did you mean maxWaiting?")
  })

  it("are no options of verbs", async () => {
    const log = new Log()
    await log.play([
      0,
      log.named(
        "verb",
        runOnEach([1], () => Effect.void, { maxWaiting: 1 } as {})
      )
    ])
    expect(defectOf(log.exit("verb"))).toMatchObject({
      message: expect.stringContaining("there is no option maxWaiting")
    })
  })
})
