/** Edge cases that no other file covers. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, pipe, Schedule, Semaphore, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as hooks from "node:async_hooks"
import { AsyncLocalStorage } from "node:async_hooks"
import { vi } from "vitest"
import { amap, Meter, runAll, runAny, runOnEach } from "../src/index.ts"
import { limitersOf } from "../src/internal/meter/meterLimiters.ts"

/** Starts effects at their instants, in milliseconds, and lets time pass until an end. */
const play = (until: number, ...plan: ReadonlyArray<readonly [at: number, effect: Effect.Effect<unknown, unknown>]>) =>
  Effect.gen(function* () {
    const all = plan.map(([at, effect]) => Effect.andThen(Effect.sleep(at), effect))
    const fiber = yield* Effect.forkChild(Effect.all(all, { concurrency: "unbounded", discard: true }))
    yield* TestClock.adjust(until)
    return yield* Fiber.join(fiber)
  })

const log = () => {
  const lines: Array<string> = []
  const task = (name: string, lasts = 0) =>
    Effect.andThen(
      Effect.map(Clock.currentTimeMillis, (now) => lines.push(`${name} ${now}`)),
      Effect.sleep(lasts)
    )
  return { lines, task }
}

describe("in a pipe", () => {
  const task = (n: number, index: number) => Effect.succeed(n * 10 + index)

  it.effect("every verb takes its items from the left", () =>
    Effect.gen(function* () {
      expect(yield* pipe([1, 2], runAll(task, { maxAtOnce: 1 }))).toEqual([10, 21])
      expect(yield* pipe([1, 2], runOnEach(task))).toBe(undefined)
      expect(yield* pipe([1, 2], runAny(task))).toBe(10)
      expect(yield* Stream.runCollect(pipe([1, 2], amap(task, { ordered: true })))).toEqual([10, 21])
    })
  )
})

describe("what a task returns", () => {
  it.effect.each<readonly [value: unknown, name: string]>([
    [null, "null"],
    [5, "5"],
    [{}, "an object"]
  ])("is a defect with its name if it is not an Effect: %s", ([value, name]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(runAll([1], () => value as Effect.Effect<void>))
      const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      expect(String(defect)).toContain(`a task is an Effect, but this is ${name}`)
    })
  )
})

describe("a source", () => {
  it.effect("is not read further after its iterator has returned something that is not a result", () =>
    Effect.gen(function* () {
      const broken = { [Symbol.iterator]: () => ({ next: () => 5 as never }) }
      const exit = yield* Effect.exit(runAll(broken, () => Effect.void))
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBeInstanceOf(TypeError)
    })
  )

  it.effect("that ends the call from within its own next is closed when it is back, not inside of it", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const caller: { fiber?: Fiber.Fiber<unknown, unknown> } = {}
      function* items() {
        try {
          yield 1
          events.push("interrupts")
          caller.fiber!.interruptUnsafe()
          events.push("goes on")
          yield 2
        } finally {
          events.push("closed")
        }
      }
      const fiber = yield* Effect.forkChild(runOnEach(items(), (n) => Effect.sleep(n), { maxAtOnce: 1 }))
      caller.fiber = fiber
      yield* TestClock.adjust(10)
      const exit = yield* Fiber.await(fiber)
      expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
      expect(events).toEqual(["interrupts", "goes on", "closed"])
    })
  )

  it.effect("that ends both the call and itself in its next is not closed", () =>
    Effect.gen(function* () {
      const caller: { fiber?: Fiber.Fiber<unknown, unknown> } = {}
      let returns = 0
      let nexts = 0
      const items: Iterable<number> = {
        [Symbol.iterator]: () => ({
          next: () => {
            // The first two are pulled while the caller runs, the third when the first task has ended.
            if (++nexts < 3) return { done: false, value: nexts }
            caller.fiber!.interruptUnsafe()
            return { done: true, value: undefined }
          },
          return: () => {
            returns++
            return { done: true, value: undefined }
          }
        })
      }
      caller.fiber = yield* Effect.forkChild(runOnEach(items, (n) => Effect.sleep(n), { maxAtOnce: 1 }))
      yield* TestClock.adjust(10)
      const exit = yield* Fiber.await(caller.fiber)
      expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
      expect([nexts, returns]).toEqual([3, 0])
    })
  )
})

describe("several meters", () => {
  it.effect("a waiter that returns to a meter which has closed again is still ahead of later waiters", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const older = Meter.makeUnsafe({ maxAtOnce: 1 })
      const younger = Meter.makeUnsafe({ maxAtOnce: 1 })
      yield* play(
        500,
        [0, Meter.metered(task("busy", 50), older)],
        [10, Meter.metered(task("both", 5), Meter.all(older, younger))],
        [20, Meter.pause(younger, 100)],
        [21, Meter.metered(task("behind", 5), younger)]
      )
      expect(lines).toEqual(["busy 0", "both 120", "behind 125"])
    })
  )

  it.effect("a waiter for three meters waits at one after the other and holds no permit of any", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const [oldest, middle, youngest] = [{ maxAtOnce: 1 }, { maxAtOnce: 1 }, { maxAtOnce: 1 }].map(Meter.makeUnsafe)
      yield* play(
        500,
        [0, Meter.metered(task("in the middle", 20), middle!)],
        [0, Meter.metered(task("the oldest", 40), oldest!)],
        [10, Meter.metered(task("all three"), Meter.all(oldest!, middle!, youngest!))]
      )
      expect(lines).toEqual(["in the middle 0", "the oldest 0", "all three 40"])
    })
  )

  it.effect(
    "a nested request does not wait behind a waiter that waits for its task, and later waiters do not wait behind either",
    () =>
      Effect.gen(function* () {
        const { lines, task } = log()
        const older = Meter.makeUnsafe({ maxAtOnce: 1 })
        const middle = Meter.makeUnsafe({ maxAtOnce: 1 })
        const younger = Meter.makeUnsafe({ maxAtOnce: 2 })
        const inner = Meter.metered(task("inner", 5), Meter.all(middle, younger))
        yield* play(
          50,
          [0, Meter.metered(Effect.andThen(Effect.sleep(10), inner), older)],
          [0, Meter.metered(task("busy", 30), middle)],
          [5, Meter.metered(task("first", 5), Meter.all(older, younger))],
          [22, Meter.metered(task("late"), younger)]
        )
        expect(lines).toEqual(["busy 0", "late 22", "inner 30", "first 35"])
        expect(yield* Meter.snapshot(younger)).toMatchObject({ running: 0, waiting: 0 })
        // A negative number of waiters would not show in a snapshot.
        expect(limitersOf(younger).map(({ waiting }) => waiting)).toEqual([0])
      })
  )

  it.effect(
    "room is kept for half of the time that a waiter has been first, then nested requests and others start, in order",
    () =>
      Effect.gen(function* () {
        const { lines, task } = log()
        const older = Meter.makeUnsafe({ maxAtOnce: 1 })
        const elsewhere = Meter.makeUnsafe({ maxAtOnce: 1 })
        const younger = Meter.makeUnsafe({ maxAtOnce: 1 })
        const inner = Meter.metered(task("inner", 10), younger)
        const stranger = Meter.metered(task("stranger"), younger)
        yield* play(
          500,
          [0, Meter.metered(Effect.andThen(Effect.sleep(15), inner), older)],
          [0, Meter.metered(Effect.andThen(Effect.sleep(14), stranger), elsewhere)],
          [10, Meter.metered(task("busy", 20), younger)],
          [12, Meter.metered(task("both", 5), Meter.all(older, younger))]
        )
        expect(lines).toEqual(["busy 10", "stranger 39", "inner 39", "both 49"])
      })
  )

  it.effect("two nested requests start in order once the room that was kept for another has expired", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const older = Meter.makeUnsafe({ maxAtOnce: 1 })
      const between = Meter.makeUnsafe({ maxAtOnce: 1 })
      const younger = Meter.makeUnsafe({ maxAtOnce: 1 })
      const inner = Effect.all(
        [1, 2].map((n) => Meter.metered(task(`inner ${n}`, 10), younger)),
        { concurrency: 2 }
      )
      yield* play(
        500,
        [0, Effect.timeoutOption(Meter.metered(Meter.metered(Effect.delay(inner, 15), between), older), 400)],
        [10, Meter.metered(task("busy", 20), younger)],
        [12, Meter.metered(task("both", 5), Meter.all(older, younger))]
      )
      expect(lines).toEqual(["busy 10", "inner 1 39", "inner 2 49", "both 59"])
    })
  )

  it.effect("a cost is paid where it has a name, whatever else there is", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const windows = Meter.makeUnsafe({ windows: { tokens: { limit: 10, per: 100 } } })
      const meter = Meter.all(
        Meter.fromSemaphore(Semaphore.makeUnsafe(5)),
        Meter.fromSchedule(Schedule.spaced(0)),
        windows
      )
      const first = Effect.andThen(task("first"), Meter.correct({ tokens: 4 }))
      yield* play(
        500,
        [0, Meter.metered(first, meter, { cost: { tokens: 10 } })],
        [1, Meter.metered(task("second"), meter, { cost: { tokens: 6 } })],
        [2, Meter.metered(task("third"), meter, { cost: { tokens: 1 } })]
      )
      expect(lines).toEqual(["first 0", "second 1", "third 100"])
    })
  )
})

describe("a deadlock that comes of a lower limit", () => {
  it.effect("fails the newest of the waiters in the cycle, not a later waiter outside of it", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const meter = Meter.makeUnsafe({ maxAtOnce: 3 })
      const nested = (name: string) =>
        Meter.metered(Effect.andThen(Effect.sleep(10), Meter.metered(task(name), meter)), meter)
      const defects: Array<unknown> = []
      const noting = (effect: Effect.Effect<unknown>) =>
        Effect.catchDefect(effect, (defect) => Effect.sync(() => defects.push(defect)))
      yield* play(
        500,
        [0, noting(nested("a"))],
        [1, noting(nested("b"))],
        [2, Meter.metered(task("plain", 98), meter)],
        [15, Meter.metered(task("outsider"), meter)],
        [20, Meter.resize(meter, { maxAtOnce: 2 })]
      )
      expect(defects.map((defect) => defect instanceof Meter.Deadlock)).toEqual([true])
      expect(lines).toEqual(["plain 2", "a 100", "outsider 100"])
    })
  )
})

describe("a fiber that outlives its task", () => {
  it.effect("does not make the ended task part of a deadlock", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      const left = Effect.forkDetach(Meter.metered(task("left", 5), meter))
      yield* play(
        500,
        [0, Meter.metered(task("plain", 100), meter)],
        [0, Meter.metered(Effect.andThen(left, Effect.sleep(10)), meter)]
      )
      expect(lines).toEqual(["plain 0", "left 10"])
      expect((yield* Meter.snapshot(meter)).running).toBe(0)
    })
  )
})

describe("after two months", () => {
  const later = TestClock.adjust("60 days")

  it.effect("a schedule's delay is still a delay", () =>
    Effect.gen(function* () {
      const { lines, task } = log()
      const meter = Meter.fromSchedule(Schedule.spaced(100))
      yield* Meter.metered(task("first"), meter)
      yield* later
      const start = yield* Clock.currentTimeMillis
      const fiber = yield* Effect.forkChild(runOnEach([1, 2], (n) => task(String(n)), { meter }))
      yield* TestClock.adjust(100)
      yield* Fiber.join(fiber)
      expect(lines).toEqual(["first 0", `1 ${start}`, `2 ${start + 100}`])
    })
  )

  it.effect("the pause of a semaphore's meter is over", () =>
    Effect.gen(function* () {
      const meter = Meter.fromSemaphore(Semaphore.makeUnsafe(1))
      yield* Meter.pause(meter, "1 second")
      yield* later
      expect(yield* Meter.metered(Effect.succeed("in"), meter)).toBe("in")
    })
  )

  it.effect("the pacing schedule keeps its rate", () =>
    Effect.gen(function* () {
      const step = yield* Schedule.toStep(Meter.pacing({ maxPerSecond: 10 }))
      const delay = Effect.map(step(0, undefined), ([, delay]) => Duration.toMillis(delay))
      expect(yield* delay).toBe(100)
      yield* later
      expect(yield* delay).toBe(100)
      expect(yield* delay).toBe(200)
    })
  )
})

describe("a meter", () => {
  it.effect("of a semaphore whose permits are all taken by its tasks opens when one of them ends", () =>
    Effect.gen(function* () {
      const meter = Meter.fromSemaphore(Semaphore.makeUnsafe(1))
      const { nextStart } = yield* Meter.metered(Meter.snapshot(meter), meter)
      expect(nextStart).toEqual(Duration.infinity)
    })
  )
})

describe("a clock whose sleeps do not wait", () => {
  it("starts no task early and causes no endless loop", async () => {
    let now = 0n
    const clock: Clock.Clock = Object.assign(Object.create(Context.get(Context.empty(), Clock.Clock)), {
      // A millisecond passes between two readings.
      monotonicTimeNanosUnsafe: () => (now += 1_000_000n),
      sleep: () => Effect.void
    })
    const starts: Array<bigint> = []
    const call = runOnEach([1, 2, 3], () => Effect.sync(() => starts.push(now)), { maxPerSecond: 10 })
    await Effect.runPromise(Effect.provideService(call, Clock.Clock, clock))
    expect(starts.length).toBe(3)
    expect(starts[1]! - starts[0]!).toBeGreaterThanOrEqual(100_000_000n)
    expect(starts[2]! - starts[1]!).toBeGreaterThanOrEqual(100_000_000n)
  })
})

describe("async contexts", () => {
  const withHooks = async (hooks: object | undefined) => {
    vi.resetModules()
    const getBuiltinModule = vi.spyOn(process, "getBuiltinModule").mockReturnValue(hooks)
    const { captureShared } = await import("../src/internal/runtime/sharedContext.ts")
    expect(getBuiltinModule, "asked while it loads").not.toHaveBeenCalled()
    captureShared()
    expect(getBuiltinModule).toHaveBeenCalledExactlyOnceWith("node:async_hooks")
    getBuiltinModule.mockRestore()
    // What was captured just now is let go with the jobs that are queued.
    await Promise.resolve()
    return captureShared
  }
  const storage = new AsyncLocalStorage<string>()
  const seenIn = (context: { readonly runInAsyncScope: (f: () => void) => void }) => {
    let seen: string | undefined
    storage.run("another one's", () => context.runInAsyncScope(() => (seen = storage.getStore())))
    return seen
  }

  it("calls the function where the host has no async context", async () => {
    const captureShared = await withHooks(undefined)
    expect(seenIn(storage.run("mine", captureShared))).toBe("another one's")
  })

  // Fails if Node no longer exposes the context of a resource: see `captureShared` for what that costs.
  it("what is captured twice in the same context is one", async () => {
    const captureShared = await withHooks(hooks)
    const [one, same] = storage.run("a", () => [captureShared(), captureShared()] as const)
    const other = storage.run("b", captureShared)
    const outside = captureShared()
    expect(one).toBe(same)
    expect([one, other, outside].map(seenIn)).toEqual(["a", "b", undefined])
  })

  it("what is captured is let go when the jobs of now are over", async () => {
    const captureShared = await withHooks(hooks)
    const inA = () => storage.run("a", captureShared)
    const outside = [captureShared(), captureShared()]
    await Promise.resolve()
    await Promise.resolve()
    const later = captureShared()
    expect(outside[0]).toBe(outside[1])
    expect(later).not.toBe(outside[0])
    expect([...outside, inA(), later].map(seenIn)).toEqual([undefined, undefined, "a", undefined])
  })

  it("contexts that cannot be compared count as different", async () => {
    const Untold = class {
      readonly runInAsyncScope = (() => {
        const resource = new hooks.AsyncResource("test")
        return (f: () => void) => resource.runInAsyncScope(f)
      })()
    }
    const captureShared = await withHooks({ ...hooks, AsyncResource: Untold })
    const [one, same] = storage.run("a", () => [captureShared(), captureShared()] as const)
    expect(one).not.toBe(same)
    expect([one, same, storage.run("b", captureShared)].map(seenIn)).toEqual(["a", "a", "b"])
  })
})
