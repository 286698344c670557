/** `Meter.reconcile` and `Meter.rateLimitsOf`: windows follow what a server reports. */
import { describe, expect, it } from "@effect/vitest"
import { vi } from "vitest"
import { Cause, Clock, Duration, Effect, Fiber, Stream } from "effect"
import { amap, Meter, runAll, runOnEach } from "../../src/index.ts"
import { defectOf, Log, names } from "../support/Log.ts"
import { verbs } from "../support/verbs.ts"

const requests = (limit = 10, per = 60_000) => Meter.makeUnsafe({ windows: { requests: { limit, per } } })
const room = (meter: Meter.AnyMeter) => Effect.map(Meter.snapshot(meter), ({ room }) => room["requests"])
const report = (remaining: number, resetAfter: Duration.Input = 60_000): Meter.Report => ({
  window: "requests",
  remaining,
  resetAfter
})

describe("Meter.reconcile", () => {
  it("leaves what the server has left, until it resets: data-first and data-last", async () => {
    const log = new Log()
    const meter = requests()
    await log.play(
      [0, Meter.reconcile(meter, report(1, "5 seconds"))],
      [0, runOnEach(names(3), (name) => log.task(name), { meter })],
      [20_000, meter.pipe(Meter.reconcile(report(0, Duration.seconds(4))))],
      [20_000, Meter.metered(log.task("m"), meter)]
    )
    expect(log.starts).toEqual(["t0 0", "t1 5000", "t2 5000", "m 24000"])
    log.expectRest()
  })

  it("does not widen the window", async () => {
    const log = new Log()
    const meter = requests(1, 100)
    await log.play(
      [0, Meter.reconcile(meter, report(50, 1))],
      [0, runOnEach(names(2), (name) => log.task(name), { meter })]
    )
    expect(log.starts).toEqual(["t0 0", "t1 100"])
  })

  it.each(verbs.slice(0, 3))("in a task of $name: starts after the task's own are subtracted", async ({ run }) => {
    const log = new Log()
    const meter = requests(100)
    const task = (name: string) =>
      log.around(
        name,
        Effect.andThen(Effect.sleep(10), name === "t1" ? Meter.reconcile(meter, report(40)) : Effect.void)
      )
    await log.play([0, run(names(5), task, { meter })])
    expect(await log.world.value(room(meter))).toBe(37)
  })

  it("in a task of metered; also from a fiber and a nested task of it", async () => {
    const log = new Log()
    const meter = requests(100)
    const other = Meter.makeUnsafe({ maxAtOnce: 1 })
    const answers = [
      Meter.reconcile(meter, report(40)),
      Effect.flatMap(Effect.forkChild(Meter.reconcile(meter, report(39))), Fiber.join),
      Meter.metered(Meter.reconcile(meter, report(38)), other)
    ]
    for (const [i, answer] of answers.entries()) {
      await log.play(
        [0, Meter.metered(Effect.andThen(Effect.sleep(10), answer), meter)],
        [5, Meter.metered(Effect.void, meter)]
      )
      expect(await log.world.value(room(meter))).toBe(39 - i)
    }
  })

  it("if the server refunds, costs that are corrected later are returned, also of tasks that it had counted", async () => {
    const starts = async (refunds: boolean | undefined) => {
      const log = new Log()
      const meter = Meter.makeUnsafe({ windows: { tokens: { limit: 10_000, per: 60_000 } } })
      const task = Effect.fn("task")(function* (name: string) {
        yield* Effect.sleep(10)
        // The first two requests have reserved 4000 each.
        if (name === "t1")
          yield* Meter.reconcile(meter, { window: "tokens", remaining: 2000, resetAfter: 60_000, refunds })
        yield* Effect.sleep(1000)
        yield* Meter.correct({ tokens: 50 })
      })
      const cost = () => ({ tokens: 4000 })
      await log.play([0, runOnEach(names(3), (name) => log.around(name, task(name)), { meter, cost })])
      return log.starts
    }
    expect(await starts(true)).toEqual(["t0 0", "t1 0", "t2 1010"])
    expect(await starts(undefined)).toEqual(["t0 0", "t1 0", "t2 60010"])
  })

  it("the answer to a later task replaces the report", async () => {
    const log = new Log()
    const meter = requests(100)
    const seen: Array<unknown> = []
    const answer = (remaining: number) =>
      Effect.andThen(
        Meter.metered(Meter.reconcile(meter, report(remaining, 10)), meter),
        Effect.map(room(meter), (room) => seen.push(room))
      )
    await log.play([0, answer(5)], [1, answer(20)], [2, Meter.reconcile(meter, report(80))], [2, answer(30)])
    expect(seen).toEqual([5, 20, 30])
    expect(await log.world.value(room(meter))).toBe(30)
  })

  it("outside of a task, sentAt says when the request was sent; without it, the strictest counts", async () => {
    const log = new Log()
    const meter = requests(100)
    const program = Effect.gen(function* () {
      yield* Meter.reconcile(meter, report(5))
      yield* Meter.reconcile(meter, report(50))
      const before = yield* room(meter)
      yield* Effect.sleep(10)
      const sentAt = yield* Clock.monotonicTimeNanos
      yield* Effect.sleep(10)
      yield* runOnEach(names(3), () => Effect.void, { meter })
      yield* Meter.reconcile(meter, { ...report(50), sentAt })
      return [before, yield* room(meter)]
    })
    expect(await log.world.value(program)).toEqual([5, 47])
  })

  it("admits waiters at once if a later report leaves more", async () => {
    const log = new Log()
    const meter = requests(100)
    const later = Effect.flatMap(Clock.monotonicTimeNanos, (sentAt) => Meter.reconcile(meter, { ...report(1), sentAt }))
    await log.play([0, Meter.reconcile(meter, report(0))], [0, Meter.metered(log.task("a"), meter)], [70, later])
    expect(log.starts).toEqual(["a 70"])
    log.expectRest()
  })

  it("of several meters, each with such a window is tightened; limits of the verb itself are not", async () => {
    const log = new Log()
    const [a, b, plain] = [requests(), requests(20), Meter.makeUnsafe({ maxAtOnce: 5 })]
    await log.world.value(Meter.reconcile(Meter.all(a, b, plain), report(3)))
    expect(await log.world.value(Effect.all([room(a), room(b)]))).toEqual([3, 3])
    const windows = { requests: { limit: 1, per: 100 } }
    const call = runAll(names(2), () => Meter.reconcile(a, report(2)), { meter: [a, b], windows })
    await log.play([0, call])
    expect(await log.world.value(Effect.all([room(a), room(b)]))).toEqual([2, 1])
  })

  it("an acquired permit reconciles and corrects as a task does", async () => {
    const log = new Log()
    const meter = Meter.makeUnsafe({
      windows: { requests: { limit: 100, per: 60_000 }, tokens: { limit: 100, per: 60_000 } }
    })
    const program = Effect.scoped(
      Effect.gen(function* () {
        const permit = yield* Meter.acquire(meter, { cost: { tokens: 60 } })
        yield* runOnEach(names(3), () => Effect.void, { meter })
        yield* permit.reconcile(report(50))
        yield* permit.correct({ tokens: 20 })
        return (yield* Meter.snapshot(meter)).room
      })
    )
    expect(await log.world.value(program)).toEqual({ requests: 47, tokens: 77 })
    const bad = Effect.scoped(Effect.flatMap(Meter.acquire(meter), (permit) => permit.correct({ tokenz: 1 })))
    expect(defectOf(await log.world.run(bad))).toMatchObject({ message: expect.stringContaining("tokenz") })
    const wrong = Effect.scoped(Effect.flatMap(Meter.acquire(meter), (permit) => permit.reconcile(report(-1))))
    expect(defectOf(await log.world.run(wrong))).toMatchObject({ message: expect.stringContaining("report.remaining") })
  })

  it("results that wait to be read are not affected", async () => {
    const log = new Log()
    const meter = requests(2, 100)
    const seen: Array<string> = []
    const stream = amap(names(2), (name) => log.task(name), { meter, ordered: true })
    const read = Effect.map(Effect.andThen(Meter.reconcile(meter, report(0, 50)), Stream.runCollect(stream)), (all) =>
      seen.push(...all)
    )
    await log.play([0, read])
    expect(log.starts).toEqual(["t0 50", "t1 50"])
    expect(seen).toEqual(["t0", "t1"])
  })

  it.each<readonly [string, object, string]>([
    ["remaining", { remaining: -1 }, "report.remaining must be a finite number of at least 0, but is -1"],
    ["window", { window: 3 }, "report.window must be the name of a window, but is 3"],
    ["resetAfter", { resetAfter: Infinity }, "report.resetAfter must be a finite duration"],
    ["sentAt", { sentAt: 5 }, "report.sentAt must be an instant of Clock.monotonicTimeNanos, but is 5"],
    [
      "sentAt to come",
      { sentAt: 2n ** 70n },
      "report.sentAt must be an instant of Clock.monotonicTimeNanos that is not to come"
    ],
    ["refunds", { refunds: "yes" }, 'report.refunds must be true or false, but is "yes"'],
    ["another name", { reset: 5 }, "there is no option report.reset. Did you mean report.resetAfter?"],
    [
      "another window",
      { window: "tokens" },
      "there is no window tokens of a meter that could be reconciled. Known: requests"
    ]
  ])("dies of an invalid report: %s", async (_, part, message) => {
    const log = new Log()
    const meter = requests()
    const defect = defectOf(await log.world.run(Meter.reconcile(meter, { ...report(2), ...part })))
    expect(defect).toBeInstanceOf(Cause.IllegalArgumentError)
    expect((defect as Error).message).toContain(message)
    expect(await log.world.value(room(meter))).toBe(10)
  })

  it("ignores an optional report on a window that the meter does not have", async () => {
    const log = new Log()
    const meter = requests()
    await log.world.value(Meter.reconcile(meter, { ...report(2), window: "tokens", optional: true }))
    expect(await log.world.value(room(meter))).toBe(10)
  })
})

describe("Meter.rateLimitsOf", () => {
  it("reads reports, with resets by the Clock", async () => {
    const source = {
      headers: { "x-ratelimit-remaining": "5", "x-ratelimit-reset": "2000000000", ratelimit: '"a";r=1;t=2' }
    }
    const wall = vi.spyOn(Date, "now").mockReturnValue(1_999_999_990_000)
    const limits = await Effect.runPromise(Meter.rateLimitsOf(source))
    wall.mockRestore()
    expect(limits).toEqual([
      { window: "requests", remaining: 5, resetAfter: Duration.seconds(10), optional: true },
      { window: "a", remaining: 1, resetAfter: Duration.seconds(2), optional: true }
    ])
    const log = new Log()
    const meter = requests()
    await log.world.value(Effect.forEach(limits, (limit) => Meter.reconcile(meter, limit)))
    expect(await log.world.value(room(meter))).toBe(5)
  })

  it("is empty without such headers", () =>
    expect(Effect.runPromise(Meter.rateLimitsOf(new Error("no response")))).resolves.toEqual([]))
})
