/**
 * A program that counts how often each stretch of code runs while a number of tasks or waiters is run to its end, for two
 * or more numbers, and prints the counts. They include loops inside a single step, which neither a scheduler nor a clock
 * can see, and need no knowledge of the code.
 *
 * It is a process of its own, because test coverage uses the same counters.
 */
import { Effect, Fiber, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { countWork } from "./countWork.ts"

type Scenario = (count: number) => Effect.Effect<unknown, unknown>

const indices = (count: number): Array<number> => Array.from({ length: count }, (_, index) => index)
const later = Effect.andThen(Effect.yieldNow, Effect.void)

/** That many waiters, which start one after the other. */
const waiters =
  (make: () => Meter.Meter<unknown>): Scenario =>
  (count) => {
    const one = Meter.metered(later, make())
    return Effect.forEach(indices(count), () => one, { concurrency: "unbounded", discard: true })
  }

const orders: Readonly<Record<string, (n: number, count: number) => number>> = {
  "from the front": (n) => n,
  "from the back": (n, count) => count - 1 - n,
  "from the middle": (n, count) => (Math.floor(count / 2) + n * 7919) % count
}

/** That many waiters, which are interrupted in an order. */
const interrupted =
  (make: () => Meter.Meter<unknown>, nth: (n: number, count: number) => number): Scenario =>
  (count) =>
    Effect.gen(function* () {
      const one = Meter.metered(Effect.never, make())
      const fibers: Array<Fiber.Fiber<void, unknown>> = []
      for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(one))
      yield* Effect.yieldNow
      for (let n = 0; n < count; n++) fibers[nth(n, count)]!.interruptUnsafe()
      yield* Fiber.awaitAll(fibers)
    })

const meters: Readonly<Record<string, () => Meter.Meter<unknown>>> = {
  "a meter with maxAtOnce": () => Meter.makeUnsafe({ maxAtOnce: 3 }),
  "a meter with maxPerSecond": () => Meter.makeUnsafe({ maxPerSecond: 1e6 }),
  "a meter with both": () => Meter.makeUnsafe({ maxAtOnce: 3, maxPerSecond: 1e6 }),
  "a meter with a window": () => Meter.makeUnsafe({ windows: { requests: { limit: 100, per: 1 } } }),
  "a meter from a semaphore": () => Meter.fromSemaphore(Semaphore.makeUnsafe(3)),
  "a meter from a schedule": () => Meter.fromSchedule(Schedule.spaced("1 micro")),
  "two meters, the wider one made last": () =>
    Meter.all(Meter.makeUnsafe({ maxAtOnce: 3 }), Meter.makeUnsafe({ maxAtOnce: 1e6 })),
  "two meters, the wider one made first": () => {
    const wide = Meter.makeUnsafe({ maxAtOnce: 1e6 })
    return Meter.all(wide, Meter.makeUnsafe({ maxAtOnce: 3 }))
  },
  "two meters with rates": () =>
    Meter.all(Meter.makeUnsafe({ maxPerSecond: 1e6 }), Meter.makeUnsafe({ maxPerSecond: 9e5 }))
}

/** Items of a hundred keys, in turn or one key after the other. */
const byItem =
  (keyOf: (index: number, count: number) => number, task: Effect.Effect<void>, maxAtOnce?: number): Scenario =>
  (count) => {
    const hosts = Meter.keyedUnsafe<number>({ maxAtOnce: 2 })
    const all = Meter.makeUnsafe({ maxAtOnce: 50 })
    const meter = (index: number) => [all, hosts.for(keyOf(index, count))]
    return runOnEach(indices(count), () => task, { meter, maxAtOnce, maxPending: count })
  }

const inTurn = (index: number): number => index % 100
const oneAfterTheOther = (index: number, count: number): number => Math.floor((index * 100) / count)

const scenarios: Record<string, Scenario> = {
  "items with a meter per item": byItem(inTurn, later),
  "items with a meter per item, one key after the other": byItem(oneAfterTheOther, later),
  "items with a meter per item, beside a limit of the call": byItem(oneAfterTheOther, later, 20),
  "items with a meter per item, interrupted": (count) =>
    Effect.gen(function* () {
      const all = Meter.makeUnsafe({ maxAtOnce: 1 })
      const hosts = Meter.keyedUnsafe<number>({ maxAtOnce: 2 })
      const meter = (index: number) => [all, hosts.for(inTurn(index))]
      const call = runOnEach(indices(count), () => Effect.never, { meter, maxPending: count })
      const fiber = yield* Effect.forkChild(call)
      while ((yield* Meter.snapshot(all)).waiting < count - 1) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
    }),
  "calls that share a meter": (count) => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
    return Effect.forEach(indices(count), () => runOnEach([0, 1], () => later, { meter }), {
      concurrency: "unbounded",
      discard: true
    })
  },
  "tasks that each wait for two other meters": (count) => {
    const meter = Meter.makeUnsafe({ maxAtOnce: count })
    const inner = Meter.all(Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.makeUnsafe({ maxAtOnce: count }))
    return runOnEach(indices(count), () => Meter.metered(later, inner), { meter })
  },
  "resizes while as many wait, then interrupted": (count) =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, windows: { requests: { limit: 100_000, per: "1 hour" } } })
      const fibers: Array<Fiber.Fiber<void, unknown>> = []
      for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(Meter.metered(Effect.never, meter)))
      yield* Effect.yieldNow
      for (let i = 0; i < count; i++) {
        yield* Meter.resize(meter, { maxAtOnce: 1, windows: { requests: { limit: 100_000 + i, per: "1 hour" } } })
      }
      for (const fiber of fibers.toReversed()) fiber.interruptUnsafe()
      yield* Fiber.awaitAll(fibers)
    }),
  "waiters for an idle meter, interrupted": (count) =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const busy = yield* Effect.forkChild(Meter.metered(Effect.never, meter))
      const fibers: Array<Fiber.Fiber<void>> = []
      for (let i = 0; i < count; i++) fibers.push(yield* Effect.forkChild(Meter.idle(meter)))
      yield* Effect.yieldNow
      for (const fiber of fibers) fiber.interruptUnsafe()
      yield* Fiber.awaitAll(fibers)
      busy.interruptUnsafe()
    }),
  "tasks of runOnEach": (count) => runOnEach(indices(count), () => later, { maxAtOnce: 10 }),
  "tasks of runOnEach, without a limit": (count) => runOnEach(indices(count), () => later),
  "tasks of runOnEach, interrupted": (count) =>
    Effect.timeoutOption(
      runOnEach(indices(count), () => Effect.never),
      1
    ),
  "tasks of runOnEach, cancelled by a failure": (count) =>
    Effect.flip(
      runOnEach(indices(count), (index) =>
        index === count - 1 ? Effect.andThen(later, Effect.fail("no")) : Effect.never
      )
    ),
  "tasks of runAll": (count) => runAll(indices(count), () => later, { maxAtOnce: 10 }),
  "tasks of runAny, of which the last succeeds": (count) =>
    runAny(indices(count), (index) => Effect.andThen(later, index < count - 1 ? Effect.fail("no") : Effect.void), {
      maxAtOnce: 10
    }),
  "tasks of amap": (count) => Stream.runDrain(amap(indices(count), () => later, { maxAtOnce: 10 })),
  "tasks of amap, all of them unread": (count) => Stream.runDrain(amap(indices(count), Effect.succeed)),
  "tasks of amap, in reverse order": (count) =>
    Stream.runDrain(
      amap(indices(count), (index) => (index === 0 ? Effect.sleep(20) : later), { ordered: true, maxUnread: count })
    )
}
for (const [name, make] of Object.entries(meters)) {
  scenarios[`waiters at ${name}`] = waiters(make)
  scenarios[`tasks of runOnEach at ${name}`] = (count) => runOnEach(indices(count), () => later, { meter: make() })
  for (const [order, nth] of Object.entries(orders)) {
    scenarios[`waiters at ${name}, interrupted ${order}`] = interrupted(make, nth)
  }
}

await countWork(scenarios, (effect) => Effect.runPromise(effect))
