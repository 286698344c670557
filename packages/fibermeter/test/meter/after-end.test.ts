/** A caller that continues after a call finds nothing of that call under the meter, in the very step in which the call ends. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"

const slow = (n: number) => Effect.as(Effect.sleep(10), n)

const slowFailure = (n: number) => Effect.andThen(Effect.sleep(10), Effect.fail(n))

const calls: Record<
  string,
  (options: { readonly meter: Meter.Meter<Meter.Overloaded> }) => Effect.Effect<unknown, unknown>
> = {
  "runAll that succeeds": (options) => runAll([1], slow, options),
  "runAll that fails": (options) => Effect.ignore(runAll([1], slowFailure, options)),
  "runAll that fails while another task runs": (options) =>
    Effect.ignore(runAll([1, 2], (n) => (n === 1 ? slowFailure(n) : Effect.never), options)),
  "runOnEach that fails": (options) => Effect.ignore(runOnEach([1], slowFailure, options)),
  "runAny that succeeds": (options) => runAny([1], slow, options),
  "runAny that fails": (options) => Effect.ignore(runAny([1], slowFailure, options)),
  "amap that fails": (options) => Effect.ignore(Stream.runDrain(amap([1], slowFailure, options))),
  "amap that is not read to its end": (options) => Stream.runDrain(Stream.take(amap([1, 2, 3], slow, options), 1))
}

describe.each(Object.keys(calls))("after %s", (name) => {
  it.effect("no task runs, all permits are free, and the next task does not have to wait", () =>
    Effect.gen(function* () {
      const meter = yield* Meter.make({ maxAtOnce: 2, maxWaiting: 0 })
      const caller = Effect.gen(function* () {
        yield* calls[name]!({ meter })
        const { free, running, waiting } = yield* Meter.snapshot(meter)
        const next = yield* Meter.metered(Effect.succeed("next"), meter, { permits: 2 })
        return { free, running, waiting, next }
      })
      const fiber = yield* Effect.forkChild(caller)
      yield* TestClock.adjust(10)
      expect(yield* Fiber.join(fiber)).toEqual({ free: 2, running: 0, waiting: 0, next: "next" })
    })
  )
})
