/**
 * G13: time per task does not grow with the number of tasks or waiters, and memory is bounded by what is in flight.
 *
 * The tests do not measure time but work: steps of the scheduler, timers, readings of the clock, fibers begun, stretches of
 * code run, objects alive.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Semaphore, Stream } from "effect"
import { amap, Meter, runOnEach } from "../../src/index.ts"
import { expectLinearCode } from "../support/linearCode.ts"
import { range } from "../support/Spy.ts"
import { type TestOptions, verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

interface Work {
  readonly steps: number
  readonly timersArmed: number
  readonly clockReads: number
  readonly fibersBegun: number
}

const workOf = async (effect: Effect.Effect<unknown, unknown>): Promise<Work> => {
  const world = new World()
  await world.run(effect)
  const { clockReads, fibersBegun, steps, timersArmed } = world
  return { clockReads, fibersBegun, steps, timersArmed }
}

/** Ten times as many tasks are ten times the work, give or take what the first and the last of them do not need. */
const expectLinear = async (count: number, call: (count: number) => Effect.Effect<unknown, unknown>): Promise<void> => {
  const one = await workOf(call(count))
  const ten = await workOf(call(10 * count))
  for (const kind of ["steps", "timersArmed", "clockReads", "fibersBegun"] as const) {
    expect(ten[kind], `${kind}, for ten times ${count}`).toBeLessThanOrEqual(10.5 * one[kind] + 50)
  }
}

const limits: ReadonlyArray<{ readonly name: string; readonly make: () => TestOptions }> = [
  { name: "no limit", make: () => ({}) },
  { name: "maxAtOnce", make: () => ({ maxAtOnce: 10 }) },
  { name: "maxPerSecond", make: () => ({ maxPerSecond: 1000 }) },
  { name: "maxBurst", make: () => ({ maxPerSecond: 1000, maxBurst: 10 }) },
  { name: "a shared meter", make: () => ({ meter: Meter.makeUnsafe({ maxAtOnce: 10, maxPerSecond: 10_000 }) }) },
  { name: "a meter from a semaphore", make: () => ({ meter: Meter.fromSemaphore(Semaphore.makeUnsafe(10)) }) }
]

const tasks: ReadonlyArray<{ readonly name: string; readonly task: Effect.Effect<void, string> }> = [
  { name: "at once", task: Effect.fail("tolerated") },
  { name: "after a step", task: Effect.andThen(Effect.yieldNow, Effect.fail("tolerated")) },
  { name: "after a while", task: Effect.andThen(Effect.sleep(5), Effect.fail("tolerated")) }
]

/** Collects garbage, so that weak references are cleared. */
const collectGarbage = (() => {
  setFlagsFromString("--expose-gc")
  const gc = runInNewContext("gc") as () => void
  return async () => {
    for (const _ of range(3)) {
      await new Promise((resolve) => setImmediate(resolve))
      gc()
    }
  }
})()

describe("G13 scale", () => {
  describe.each(verbs)("$name", (verb) => {
    describe.each(limits)("under $name", ({ make }) => {
      it.each(tasks)("the work for a task that ends $name does not grow with their number", ({ task }) =>
        expectLinear(100, (count) =>
          verb.run(range(count), verb.name === "runAny" ? () => task : () => Effect.exit(task), make())
        )
      )
    })
  })

  const meters: ReadonlyArray<{ readonly name: string; readonly make: () => Meter.Meter }> = [
    { name: "at once", make: () => Meter.makeUnsafe({ maxAtOnce: 3 }) },
    { name: "a second", make: () => Meter.makeUnsafe({ maxPerSecond: 1000 }) },
    { name: "at once and a second", make: () => Meter.makeUnsafe({ maxAtOnce: 3, maxPerSecond: 1000 }) },
    { name: "from a semaphore", make: () => Meter.fromSemaphore(Semaphore.makeUnsafe(3)) }
  ]

  describe.each(meters)("waiters on a meter $name", ({ make }) => {
    const all = (count: number, body: (index: number) => Effect.Effect<unknown>) => {
      const meter = make()
      return Effect.forEach(range(count), (index) => Meter.metered(body(index), meter), {
        concurrency: "unbounded",
        discard: true
      })
    }

    it("the work for one of them does not grow with their number", () =>
      expectLinear(100, (count) => all(count, () => Effect.sleep(1))))

    it("the work for one of them does not grow with their number, when all are interrupted", () =>
      expectLinear(100, (count) =>
        Effect.timeoutOption(
          all(count, () => Effect.never),
          10
        )
      ))
  })

  it("the code that runs for a task or a waiter does not grow with their number", async () => {
    await expectLinearCode(new URL("../support/count-work.ts", import.meta.url))
  })

  it("a hundred thousand waiters on one meter are ordinary", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 10 })
    let done = 0
    const one = Meter.metered(
      Effect.andThen(
        Effect.yieldNow,
        Effect.sync(() => done++)
      ),
      meter
    )
    await Effect.runPromise(Effect.forEach(range(100_000), () => one, { concurrency: "unbounded", discard: true }))
    expect(done).toBe(100_000)
  }, 60_000)

  it("thirty thousand waiters that leave, the first of them first, are ordinary", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    let left = 0
    const one = Effect.onInterrupt(Meter.metered(Effect.never, meter), () => Effect.sync(() => left++))
    const all = Effect.forEach(range(30_000), () => one, { concurrency: "unbounded", discard: true })
    await Effect.runPromise(Effect.raceFirst(all, Effect.sleep(0)))
    expect(left).toBe(30_000)
    expect(
      await Effect.runPromise(Effect.timeoutOption(Meter.metered(Effect.succeed("in"), meter), 1000))
    ).toMatchObject({ value: "in" })
  }, 60_000)

  describe("memory", () => {
    type Run = (items: Iterable<object>, f: (item: object) => Effect.Effect<void>) => Effect.Effect<unknown>
    const lazy: ReadonlyArray<{ readonly name: string; readonly run: Run }> = [
      { name: "runOnEach", run: (items, f) => runOnEach(items, f, { maxAtOnce: 10 }) },
      { name: "runOnEach, paced", run: (items, f) => runOnEach(items, f, { maxPerSecond: 1_000_000, maxAtOnce: 10 }) },
      {
        name: "runOnEach of a stream",
        run: (items, f) => runOnEach(Stream.fromIterable(items, { chunkSize: 16 }), f, { maxAtOnce: 10 })
      },
      { name: "amap", run: (items, f) => Stream.runDrain(amap(items, f, { maxAtOnce: 10 })) },
      { name: "amap ordered", run: (items, f) => Stream.runDrain(amap(items, f, { maxAtOnce: 10, ordered: true })) }
    ]

    it.each(lazy)(
      "$name keeps no item beyond what is in flight",
      async ({ run }) => {
        const items: Array<WeakRef<object>> = []
        let alive = -1
        function* source() {
          for (let index = 0; index < 20_000; index++) {
            const item = { index }
            items.push(new WeakRef(item))
            yield item
          }
          // The last item keeps the call running until the memory has been examined.
          yield { last: true }
        }
        const lookRound = Effect.promise(async () => {
          await collectGarbage()
          alive = items.filter((item) => item.deref() !== undefined).length
        })
        await Effect.runPromise(run(source(), (item) => ("last" in item ? lookRound : Effect.void)))
        expect(items.length).toBe(20_000)
        expect(alive).toBeGreaterThanOrEqual(0)
        expect(alive).toBeLessThan(200)
      },
      60_000
    )

    it.each([false, true])("amap keeps no result that has been read (ordered: %s)", async (ordered) => {
      const results: Array<WeakRef<object>> = []
      let alive = -1
      const lookRound = Effect.promise(async () => {
        await collectGarbage()
        alive = results.filter((result) => result.deref() !== undefined).length
      })
      const task = (index: number): Effect.Effect<object> => {
        if (index === 999) return Effect.as(lookRound, {})
        const result = Effect.sync(() => ({ index }))
        // Of any two, the second ends first.
        return index % 2 === 0 ? Effect.andThen(Effect.yieldNow, result) : result
      }
      const read = Stream.runForEach(amap(range(1000), task, { maxAtOnce: 10, ordered }), (result) =>
        Effect.sync(() => results.push(new WeakRef(result)))
      )
      await Effect.runPromise(read)
      expect(results.length).toBe(1000)
      expect(alive).toBeGreaterThanOrEqual(0)
      expect(alive).toBeLessThan(100)
    })
  })
})
