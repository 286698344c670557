/** Meters of core on the memory store, under virtual time. */
import { Cause, Clock, Effect, Exit, Fiber, Metric, Option } from "effect"
import { TestClock } from "effect/testing"
import { Meter, runOnEach, StoreError } from "fibermeter"
import { describe, expect, it } from "vitest"
import { LeaseLostError, type StoreOptions } from "../src/index.ts"
import { fork, pass, run } from "./support/effect.ts"

const errorIn = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined

/** Cuts a process off for longer than its lease, while a task of it runs for four seconds. */
const cutOff = (options: StoreOptions) =>
  run({ lease: 1_000, ...options }, (trouble, events) =>
    Effect.gen(function* () {
      const meter = yield* Meter.distributed("api", { maxAtOnce: 3 })
      const log: Array<string> = []
      const task = (name: string) =>
        Effect.onExit(Effect.as(Effect.sleep(4_000), name), (exit) =>
          Effect.sync(() => void log.push(`${name} ${Exit.isSuccess(exit) ? "done" : "interrupted"}`))
        )
      const single = yield* fork(Meter.metered(task("single"), meter))
      const verb = yield* fork(runOnEach(["one", "two", "three"], task, { meter }))
      yield* TestClock.adjust(100)
      trouble.isSilent = true
      yield* TestClock.adjust(1_400)
      const during = [...log]
      trouble.isSilent = false
      yield* TestClock.adjust(20_000)
      return {
        during,
        events: events.filter(({ type }) => type === "leaseLost"),
        counted: (yield* Metric.snapshot).filter(({ id }) => id === "fibermeter_store_events"),
        exits: [yield* Fiber.await(single), yield* Fiber.await(verb)]
      }
    })
  )

describe("fencing tokens", () => {
  it("rise with each start over all processes, and are read in a task, by a meter's name, or from a permit", async () => {
    const tokens = await run({}, () =>
      Effect.gen(function* () {
        const [one, other, third] = yield* Effect.all([
          Meter.distributed("api", { maxAtOnce: 1 }),
          Meter.distributed("api", { maxAtOnce: 1 }),
          Meter.distributed("third", { maxPerSecond: 1_000 })
        ])
        const local = Meter.makeUnsafe({ maxAtOnce: 1 })
        const read = Effect.all([Meter.fencingToken(one), Meter.fencingToken(local), Meter.fencingToken(third)])
        const outside = yield* read
        const first = yield* Meter.metered(read, Meter.all(one, local))
        const nested = yield* Meter.metered(Meter.metered(read, third), one)
        const permit = yield* Effect.scoped(Meter.acquire(other))
        const verb: Array<unknown> = []
        yield* runOnEach([1, 2], () => Effect.map(Meter.fencingToken(other), (token) => verb.push(token)), {
          meter: other
        })
        const without = yield* Effect.scoped(Meter.acquire(local))
        return { outside, first, nested, permit: permit.fencingToken, verb, without: without.fencingToken }
      })
    )
    const some = (value: unknown) => Option.getOrThrow(value as Option.Option<number>)
    expect(tokens.outside).toEqual([Option.none(), Option.none(), Option.none()])
    expect(tokens.first.slice(1)).toEqual([Option.none(), Option.none()])
    expect(Option.isSome(tokens.nested[2])).toBe(true)
    const risen = [some(tokens.first[0]), some(tokens.nested[0]), tokens.permit!, ...tokens.verb.map(some)]
    expect(risen).toEqual(Array.from(new Set(risen)).toSorted((a, b) => a - b))
    expect(tokens.without).toBeUndefined()
  })
})

it("a task of two meters starts although as many as can wait at each of them all the time", async () => {
  const started = await run({}, () =>
    Effect.gen(function* () {
      // Not in the order of their names.
      const [b, a] = yield* Effect.all([
        Meter.distributed("b", { maxAtOnce: 1 }),
        Meter.distributed("a", { maxAtOnce: 1 })
      ])
      for (const meter of [a, b]) {
        for (let index = 0; index < 6; index++) yield* fork(Effect.forever(Meter.metered(Effect.sleep(300), meter)))
        yield* pass(100)
      }
      const both: Array<number> = []
      for (let index = 0; index < 3; index++) {
        yield* fork(
          Meter.metered(
            Effect.sync(() => void both.push(index)),
            Meter.all(a, b)
          )
        )
      }
      yield* pass(10_000)
      return both
    })
  )
  expect(started).toEqual([0, 1, 2])
})

describe("a lease that is over", () => {
  it("interrupts the tasks that run, and their calls fail with what the store says", async () => {
    const { counted, during, events, exits } = await cutOff({})
    expect(during).toEqual(["single interrupted", "one interrupted", "two interrupted"])
    for (const exit of exits) {
      const error = errorIn(exit)
      expect(error).toBeInstanceOf(StoreError)
      expect((error as StoreError).cause).toBeInstanceOf(LeaseLostError)
    }
    expect(events).toEqual([{ type: "leaseLost", meter: "api", permits: 3 }])
    // Metrics of the same name in other tests have another meter, or are of another registry.
    const lost = counted.find(({ attributes }) => attributes?.["event"] === "leaseLost")
    expect(lost).toMatchObject({ attributes: { meter: "api", event: "leaseLost" }, state: { count: 1 } })
  })

  it("a repeated call waits for a new permit, as do earlier waiters", async () => {
    const { during, values } = await run({ lease: 1_000 }, (trouble) =>
      Effect.gen(function* () {
        const meter = yield* Meter.distributed("api", { maxAtOnce: 1 })
        let attempts = 0
        const task = Effect.andThen(
          Effect.suspend(() => Effect.sleep(++attempts === 1 ? 4_000 : 10)),
          Effect.sync(() => attempts)
        )
        const repeated = yield* fork(Effect.retry(Meter.metered(task, meter), { times: 1 }))
        yield* TestClock.adjust(1)
        const waits = yield* fork(Meter.metered(Effect.succeed("waited"), meter))
        const verb = yield* fork(runOnEach([1], () => Effect.void, { meter }))
        yield* TestClock.adjust(100)
        trouble.isSilent = true
        yield* TestClock.adjust(1_400)
        const during = attempts
        trouble.isSilent = false
        for (let passed = 0; passed < 100; passed++) {
          yield* TestClock.adjust(100)
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        return { during, values: [yield* Fiber.join(repeated), yield* Fiber.join(waits), yield* Fiber.join(verb)] }
      })
    )
    expect(during).toBe(1)
    expect(values).toEqual([2, "waited", undefined])
  })

  it("or lets them run on (leaseLost: continue)", async () => {
    const { during, events, exits } = await cutOff({ leaseLost: "continue" })
    expect(during).toEqual([])
    expect(exits).toEqual([Exit.succeed("single"), Exit.succeed(undefined)])
    expect(events).toHaveLength(1)
  })
})

describe("an outage", () => {
  it("with outage: { share } lets tasks start within the share, and is counted", async () => {
    const { counted, starts } = await run({ outage: { share: 0.25 } }, (trouble) =>
      Effect.gen(function* () {
        const meter = yield* Meter.distributed("shared", { maxPerSecond: 40 })
        const starts: Array<number> = []
        trouble.isCut = true
        const task = Effect.map(Clock.currentTimeMillis, (now) => void starts.push(Math.floor(now)))
        const verb = yield* fork(runOnEach([1, 2, 3], () => task, { meter }))
        // What the store has answered is read in later steps of the event loop.
        for (let passed = 0; passed < 1_300; passed += 10) {
          yield* TestClock.adjust(10)
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        yield* Fiber.await(verb)
        return { starts, counted: yield* Metric.snapshot }
      })
    )
    expect(starts).toEqual([1_000, 1_100, 1_200])
    const events = counted.filter(({ attributes }) => attributes?.["meter"] === "shared")
    expect(events.map(({ attributes }) => attributes?.["event"])).toEqual(expect.arrayContaining(["outage", "share"]))
  })
})
