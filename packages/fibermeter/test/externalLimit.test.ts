/** Limits from other packages: which of their methods are called, and when. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Fiber } from "effect"
import { admission } from "../src/engine.ts"
import { Meter, runAll } from "../src/index.ts"
import { refusalOf } from "../src/internal/admission/errors.ts"
import { CopyId, TypeId } from "../src/internal/meter/meterLimiters.ts"
import { errorOf, Log } from "./support/Log.ts"

/** A limit whose grants arrive from elsewhere. It has no class in common with the engine. */
const store = (capacity = Infinity) => {
  const log: Array<unknown> = []
  let granted = 0
  let opens = Infinity
  let events: Parameters<admission.ExternalLimit["attach"]>[0]
  const limit: admission.ExternalLimit = {
    version: 1,
    capacity,
    names: ["tokens"],
    attach: (given) => {
      events = given
    },
    opensIn: ({ cost, permits, wanted }, clock) => {
      log.push(["asked", cost, permits, wanted])
      return granted > 0 ? 0 : opens - Number(clock.monotonicTimeNanosUnsafe())
    },
    take: () => granted--,
    started: (grant) => log.push(["started", grant]),
    correct: (grant, cost) => log.push(["corrected", grant, cost]),
    ended: (permits) => log.push(["ended", permits]),
    rest: () => log.push("rest")
  }
  return {
    limit,
    log,
    /** Grants so many starts. */
    grant: (count: number) =>
      Effect.sync(() => {
        granted += count
        events.wake()
      }),
    /** Grants one start for that instant. */
    openAt: (nanos: number) => {
      opens = nanos
      granted = 0
    },
    fail: (error: unknown) => Effect.sync(() => events.fail(error))
  }
}

const meterOf = (...limits: ReadonlyArray<admission.ExternalLimit>): Meter.Meter => {
  const limiters = limits.map((limit) => new admission.ExternalLimiter(limit, (error) => refusalOf(Cause.fail(error))))
  return Object.assign(Object.create(Meter.makeUnsafe({})), { [TypeId]: {}, [CopyId]: true, limiters })
}

describe("an external limit", () => {
  it("is asked what is wanted, and a grant that arrives starts the waiter", async () => {
    const { grant, limit, log } = store(5)
    const seen = new Log()
    const meter = meterOf(limit)
    const task = Effect.andThen(seen.task("a", 10), Meter.correct({ tokens: 7 }))
    await seen.play(
      [0, Meter.metered(task, meter, { cost: { tokens: 3 }, permits: 2 })],
      [5, Effect.andThen(Effect.sync(() => log.push("grant")), grant(1))] // prettier-ignore
    )
    expect(seen.starts).toEqual(["a 5"])
    const asked = ["asked", { tokens: 3 }, 2, 1]
    expect(log).toEqual([
      asked,
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
    const { limit, openAt } = store()
    const seen = new Log({ origin: 0n })
    openAt(7_000_000)
    await seen.play([0, Meter.metered(seen.task("a"), meterOf(limit))])
    expect(seen.starts).toEqual(["a 7"])
    seen.expectRest()
  })

  it("learns how many starts a call could use", async () => {
    const { grant, limit, log } = store()
    const seen = new Log()
    const call = runAll([1, 2, 3], () => seen.task("t", 10), { meter: meterOf(limit), maxAtOnce: 2 })
    await seen.play([0, call], [1, grant(3)])
    expect(seen.starts).toEqual(["t 1", "t 1", "t 11"])
    const wanted = log.filter(Array.isArray).filter(([what]) => what === "asked").map(([, , , count]) => count) // prettier-ignore
    expect(wanted).toEqual([2, 2, 2, 1, 1])
    seen.expectRest()
  })

  it("that fails makes present and later waiters fail", async () => {
    const { fail, limit } = store()
    const seen = new Log()
    const meter = meterOf(limit)
    const run = (name: string) => seen.named(name, Meter.metered(seen.task(name), meter))
    await seen.play([0, run("a")], [5, fail("the store is down")], [6, run("b")])
    expect(seen.ends).toEqual(["a 5", "b 6"])
    expect([errorOf(seen.exit("a")), errorOf(seen.exit("b"))]).toEqual(["the store is down", "the store is down"])
    seen.expectRest()
  })

  it("fails at once for more permits than it has, and a snapshot shows what is free", async () => {
    const { grant, limit } = store(2)
    const seen = new Log()
    const meter = meterOf(limit)
    await seen.play([0, seen.named("a", Meter.metered(seen.task("a"), meter, { permits: 3 }))])
    expect(errorOf(seen.exit("a"))).toEqual(new Meter.ExcessivePermits({ permits: 3, limit: 2 }))
    const snapshot = Effect.map(Meter.snapshot(meter), ({ free, nextStart }) => [free, String(nextStart)])
    expect(await seen.world.value(snapshot)).toEqual([2, "0 millis"])
    await seen.world.value(grant(1))
    const during = await seen.world.value(Meter.metered(snapshot, meter, { permits: 2 }))
    expect(during).toEqual([0, "Infinity"])
    seen.expectRest()
  })

  it("beside another meter is asked last, and keeps no room", async () => {
    const { grant, limit, log } = store()
    const seen = new Log()
    const other = Meter.makeUnsafe({ maxAtOnce: 1 })
    const both = Meter.all(meterOf(limit), other)
    await seen.play(
      [0, Meter.metered(seen.task("a", 10), other)],
      [1, Meter.metered(seen.task("b", 10), both)],
      [2, Effect.sync(() => expect(log).toEqual([]))],
      [20, grant(1)]
    )
    expect(seen.starts).toEqual(["a 0", "b 20"])
    seen.expectRest()
  })

  it("may be shared by requests of Workers", () => {
    const { limit } = store()
    expect(new admission.ExternalLimiter(limit, () => expect.fail("it has not failed")).isShared).toBe(true)
  })

  it("waits for nothing after its only waiter is interrupted", async () => {
    const { limit, log } = store()
    const seen = new Log()
    const waits = Effect.forkChild(Meter.metered(seen.task("a"), meterOf(limit)), { startImmediately: true })
    await seen.play([0, Effect.flatMap(waits, Fiber.interrupt)])
    expect(log.at(-1)).toBe("rest")
    seen.expectRest()
  })

  it.each([[0], [2], [undefined]])("of version %s is rejected with both versions", (version) => {
    const limit = { ...store().limit, version } as never
    expect(() => meterOf(limit)).toThrow(
      new TypeError(
        `this limit has version ${String(version)} of the interface, but 1 is needed: install versions of both packages that fit together`
      )
    )
  })
})
