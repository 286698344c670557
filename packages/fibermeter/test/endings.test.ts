/** The exit of a call that has failed and is interrupted while it waits for its finalizers. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { amap, Meter, runOnEach } from "../src/index.ts"
import { verbs } from "./support/verbs.ts"

const failing = (n: number): Effect.Effect<number, string> =>
  n === 1
    ? Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
    : Effect.onInterrupt(Effect.as(Effect.sleep(1000), n), () => Effect.sleep(100))

const summary = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> =>
  Exit.isFailure(exit) ? exit.cause.reasons.map(({ _tag }) => _tag) : ["success"]

/** The exit of an effect that is interrupted after so many milliseconds. */
const interruptedAfter = <E>(millis: number, effect: Effect.Effect<unknown, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust(millis)
    fiber.interruptUnsafe()
    yield* TestClock.adjust(1000)
    return yield* Fiber.await(fiber)
  })

describe("a call that has failed and is then interrupted", () => {
  it.effect.each(verbs.filter(({ name }) => name !== "runAny"))("$name ends as Effect's own do", ({ name, run }) =>
    Effect.gen(function* () {
      const own = name.startsWith("amap")
        ? Stream.runDrain(Stream.mapEffect(Stream.make(1, 2), failing, { concurrency: 2, unordered: true }))
        : Effect.forEach([1, 2], failing, { concurrency: 2 })
      const expected = name.startsWith("amap") ? ["Interrupt"] : ["Interrupt", "Fail"]
      expect(summary(yield* interruptedAfter(50, own))).toEqual(expected)
      expect(summary(yield* interruptedAfter(50, run([1, 2], failing)))).toEqual(expected)
    })
  )

  it.effect("a typed failure of a task while the call is interrupted keeps its type", () =>
    Effect.gen(function* () {
      const late = () => Effect.uninterruptible(Effect.andThen(Effect.sleep(100), Effect.fail("late")))
      const own = yield* interruptedAfter(50, Effect.forEach([1], late, { concurrency: 2 }))
      const exit = yield* interruptedAfter(50, runOnEach([1], late))
      expect(summary(own)).toEqual(["Interrupt", "Fail"])
      expect(summary(exit)).toEqual(["Interrupt", "Fail"])
    })
  )

  it.effect("amap whose reader is busy elsewhere: an unread failure is dropped, a defect is not", () =>
    Effect.gen(function* () {
      const read = (f: (n: number) => Effect.Effect<number, string>) =>
        interruptedAfter(
          50,
          amap([0, 1, 2], f).pipe(
            Stream.mapEffect(() => Effect.never),
            Stream.runDrain
          )
        )
      const first = (n: number) => (n === 0 ? Effect.succeed(0) : failing(n))
      expect(summary(yield* read(first))).toEqual(["Interrupt"])
      const dying = (n: number) => (n === 1 ? Effect.andThen(Effect.sleep(10), Effect.die("defect")) : first(n))
      expect(summary(yield* read(dying))).toEqual(["Interrupt", "Die"])
    })
  )
})

describe("a reader that was held up by a limit", () => {
  it.effect("continues when the limit is raised, without reading more first", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      let started = 0
      const read: Array<number> = []
      const fiber = yield* amap([1, 2, 3, 4, 5, 6, 7, 8], (n) => Effect.sync(() => (started++, n)), { meter }).pipe(
        Stream.runForEach((n) =>
          Effect.gen(function* () {
            read.push(n)
            if (n !== 1) return
            yield* Effect.sleep(20)
            expect(started).toBe(3)
            yield* Meter.resize(meter, { maxAtOnce: 4 })
            expect(started).toBe(8)
            // Of no concern to a call that is not held up any more.
            yield* Meter.resize(meter, { maxAtOnce: 5 })
          })
        ),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust(20)
      yield* Fiber.join(fiber)
      expect(read).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    })
  )
})
