/**
 * What the engine relies on and Effect does not document. If one of these fails after an update of Effect, fix
 * `effectInternals.ts`: all code that depends on it is there.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Scheduler, Semaphore, Tracer } from "effect"
import {
  isDuration,
  isEffect,
  isExit,
  isUninterruptible,
  mayYieldSoon,
  permitsOf,
  tracerOf
} from "../src/internal/runtime/effectInternals.ts"

const others = [undefined, null, 5, "text", {}, [], () => Effect.void, Promise.resolve(1)]

describe("values of Effect are recognised by their type ids", () => {
  it("exits", () => {
    for (const exit of [Exit.void, Exit.succeed(1), Exit.fail("no"), Exit.die("defect"), Exit.interrupt()]) {
      expect(isExit(exit)).toBe(true)
    }
    for (const other of [...others, Effect.sync(() => 1), Effect.never]) expect(isExit(other)).toBe(false)
  })

  it("effects, exits among them", () => {
    for (const effect of [Effect.sync(() => 1), Effect.never, Effect.sleep(1), Exit.void, Exit.fail("no")]) {
      expect(isEffect(effect)).toBe(true)
    }
    for (const other of others) expect(isEffect(other)).toBe(false)
  })

  it("durations", () => {
    for (const duration of [Duration.zero, Duration.millis(1.5), Duration.nanos(5n), Duration.infinity]) {
      expect(isDuration(duration)).toBe(true)
    }
    for (const other of [{}, [], { seconds: 5 }, Effect.void]) expect(isDuration(other)).toBe(false)
  })
})

it.effect("a fiber tells whether it can be interrupted", () =>
  Effect.gen(function* () {
    const asked = Effect.withFiber((fiber) => Effect.succeed(isUninterruptible(fiber)))
    expect(yield* asked).toBe(false)
    expect(yield* Effect.uninterruptible(asked)).toBe(true)
    expect(yield* Effect.uninterruptibleMask((restore) => Effect.all([asked, restore(asked)]))).toEqual([true, false])
  })
)

it.effect("a semaphore tells how many permits it has, however many are taken", () =>
  Effect.gen(function* () {
    const semaphore = yield* Semaphore.make(3)
    yield* semaphore.take(2)
    expect(permitsOf(semaphore)).toBe(3)
    yield* semaphore.resize(5)
    expect(permitsOf(semaphore)).toBe(5)
    // Of another implementation nothing is known.
    expect(permitsOf({} as Semaphore.Semaphore)).toBe(Infinity)
  })
)

it.effect("a fiber counts its steps, up to those after which it yields", () =>
  Effect.gen(function* () {
    const seen: Array<boolean> = []
    const ask = Effect.withFiber((fiber) => Effect.sync(() => void seen.push(mayYieldSoon(fiber))))
    const asking = Effect.gen(function* () {
      yield* Effect.yieldNow
      yield* ask
      for (let step = 0; step < 60; step++) yield* Effect.sync(() => step)
      yield* ask
      yield* Effect.yieldNow
      yield* ask
    })
    yield* Effect.provideService(asking, Scheduler.MaxOpsBeforeYield, 100)
    expect(seen).toEqual([false, true, false])
  })
)

it.effect("a fiber tells which tracer it has been given", () =>
  Effect.gen(function* () {
    const asked = Effect.withFiber((fiber) => Effect.succeed(tracerOf(fiber)))
    const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
    expect(yield* asked).toBe(undefined)
    expect(yield* Effect.withTracer(asked, tracer)).toBe(tracer)
    expect(yield* Effect.provideService(asked, Tracer.Tracer, tracer)).toBe(tracer)
    expect(yield* asked).toBe(undefined)
  })
)
