/** Waiting until a meter is idle, and what a server says about when to retry. */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { Meter, runOnEach } from "../../src/index.ts"
import { Log, names } from "../support/Log.ts"

describe("Meter.idle", () => {
  const idle = (log: Log, meter: Meter.Meter<any>) => log.named("idle", Meter.idle(meter))

  it("is at once where nothing is", async () => {
    const log = new Log()
    await log.play([5, idle(log, Meter.makeUnsafe({ maxAtOnce: 1 }))])
    expect(log.ends).toEqual(["idle 5"])
    log.expectRest()
  })

  it("waits for what runs and for what waits", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const one = (name: string) => Meter.metered(log.task(name, 20), meter)
    await log.play([0, one("a")], [0, one("b")], [10, idle(log, meter)], [15, idle(log, meter)], [30, one("c")])
    expect(log.ends).toEqual(["idle 60", "idle 60"])
    log.expectRest()
  })

  it("waits for a call that may come again, between its tasks and where its items stall", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    const pages = runOnEach(names(2), (name) => Effect.andThen(log.task(name), Effect.sleep(30)), {
      meter,
      maxAtOnce: 1
    })
    await log.play([0, pages], [10, idle(log, meter)])
    expect(log.ends).toEqual(["idle 60"])
    log.expectRest()
  })

  it("interrupted waiters are not waited for", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
    const one = (name: string) => Meter.metered(log.task(name), meter)
    await log.play(
      [0, one("a")],
      [0, Effect.flatMap(Effect.forkChild(one("b")), (fiber) => Effect.delay(Fiber.interrupt(fiber), 40))],
      [10, idle(log, meter)]
    )
    expect(log.ends).toEqual(["idle 40"])
    log.expectRest()
  })

  it("of a meter that combines several, all have to be idle", async () => {
    const log = new Log()
    const [a, b] = [Meter.makeUnsafe({}), Meter.makeUnsafe({})]
    await log.play(
      [0, Meter.metered(log.task("a", 20), a)],
      [0, Meter.metered(log.task("b", 50), b)],
      [10, idle(log, Meter.all(a, b))],
      [30, Meter.metered(log.task("a", 40), a)]
    )
    // Idle when b ends at 50 is not enough: a is in use again until 70.
    expect(log.ends).toEqual(["idle 70"])
    log.expectRest()
  })

  it("an interrupted wait for it leaves nothing", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({})
    await log.play(
      [0, Meter.metered(log.task("a", 50), meter)],
      [0, Effect.timeout(Meter.idle(meter), 20).pipe(Effect.ignore)],
      [10, idle(log, meter)]
    )
    expect(log.ends).toEqual(["idle 50"])
    log.expectRest()
  })
})

describe("Meter.retryAfter", () => {
  const headers = (value: string) => ({ headers: { "retry-after": value } })

  it.effect("is a time from now, on the program's clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2031, 0, 1))
      const read = (source: unknown) => Effect.map(Meter.retryAfter(source), Option.map(Duration.toMillis))
      expect(yield* read(headers("2"))).toEqual(Option.some(2000))
      expect(yield* read({ response: headers("Wed, 01 Jan 2031 00:00:07 GMT") })).toEqual(Option.some(7000))
      expect(yield* read({ response: headers("Tue, 31 Dec 2030 23:59:59 GMT") })).toEqual(Option.some(0))
      expect(yield* read({ cause: { headers: new Map([["retry-after", "0.5"]]) } })).toEqual(Option.some(500))
      expect(yield* read(headers("soon"))).toEqual(Option.none())
      expect(yield* read(undefined)).toEqual(Option.none())
    })
  )
})
