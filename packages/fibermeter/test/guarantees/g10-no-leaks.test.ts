/**
 * G10: after any ending, every permit is back, and no timer or fiber is left; a waiter that was interrupted costs the
 * next one nothing. The sweep shows it for every single step; here are the endings that a sweep does not come to.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Semaphore } from "effect"
import fc from "fast-check"
import { Meter, runOnEach } from "../../src/index.ts"
import { observe, watch } from "../support/observe.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"
import { World } from "../support/World.ts"

describe("G10 no leaks", () => {
  it("any mixture of calls, failures and interruptions leaves a meter as it was", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            verb: fc.nat(verbs.length - 1),
            begins: fc.nat(60),
            lasts: fc.array(fc.nat(30), { maxLength: 6 }),
            failing: fc.nat(8),
            leaves: fc.option(fc.nat(80), { nil: undefined })
          }),
          { minLength: 1, maxLength: 6 }
        ),
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        async (calls, maxAtOnce, fine) => {
          const world = new World({ fine })
          const semaphore = Semaphore.makeUnsafe(maxAtOnce)
          const meter = [Meter.makeUnsafe({ maxAtOnce, maxPerSecond: 1000 }), Meter.fromSemaphore(semaphore)]
          const spy = new Spy(world.clock)
          await world.value(
            Effect.forEach(
              calls,
              ({ begins, failing, lasts, leaves, verb }) => {
                const task = spy.watch((millis: number, index) =>
                  Effect.andThen(
                    millis === 0 ? Effect.void : Effect.sleep(millis),
                    index === failing ? Effect.fail("boom") : Effect.void
                  )
                )
                const call = verbs[verb]!.run(lasts, task, { meter })
                const left = leaves === undefined ? call : Effect.timeoutOption(call, leaves)
                return Effect.andThen(Effect.sleep(begins), Effect.exit(left))
              },
              { concurrency: "unbounded" }
            )
          )
          expect(spy.peak).toBeLessThanOrEqual(maxAtOnce)
          expect([spy.running, world.fibersLive, world.timersLeft, world.stepsLeft]).toEqual([0, 0, 0, 0])
          expect(await world.value(semaphore.takeIfAvailable(maxAtOnce))).toBe(true)
          await world.value(semaphore.release(maxAtOnce))
          const after = new Spy(world.clock)
          await world.value(Effect.andThen(Effect.sleep(1), runOnEach(range(maxAtOnce), after.lasting(100), { meter })))
          expect(after.peak).toBe(maxAtOnce)
          expect(after.starts).toEqual(range(maxAtOnce).map((index) => ms(1 + index)))
        }
      ),
      { numRuns: 80 }
    ))

  it.effect("a thousand waiters that were interrupted cost the next one nothing", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 10 })
      const spy = yield* Spy.make
      const first = yield* watch(Meter.metered(spy.effect(0, Effect.sleep(50)), meter))
      const waiting = yield* watch(
        Effect.forEach(range(1000), (index) => Meter.metered(spy.effect(index + 1, Effect.void), meter), {
          concurrency: "unbounded"
        })
      )
      const last = yield* watch(Meter.metered(spy.effect(1001, Effect.void), meter))
      yield* first.advance(20)
      waiting.fiber.interruptUnsafe()
      const left = yield* waiting.finish
      expect(left.fibers + left.sleeps).toBe(0)
      yield* last.finish
      expect(spy.started).toEqual([0, 1001])
      expect(spy.starts).toEqual([0n, ms(100)])
    })
  )

  it.effect("a start that was waited for in vain is not spent", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxPerSecond: 1 })
      const spy = yield* Spy.make
      const run = yield* watch(
        Effect.gen(function* () {
          yield* Meter.metered(spy.effect(0, Effect.void), meter)
          for (const _ of range(10)) yield* Effect.timeoutOption(Meter.metered(Effect.void, meter), 50)
          yield* Meter.metered(spy.effect(1, Effect.void), meter)
        })
      )
      yield* run.finish
      expect(spy.starts).toEqual([0n, ms(1000)])
    })
  )

  it.effect("an interrupted wait for a permit takes no permit", () =>
    Effect.gen(function* () {
      for (const meter of [Meter.makeUnsafe({ maxAtOnce: 1 }), Meter.fromSemaphore(Semaphore.makeUnsafe(1))]) {
        const run = yield* observe(
          Effect.gen(function* () {
            const holder = yield* Effect.forkChild(Meter.metered(Effect.sleep(100), meter), { startImmediately: true })
            for (const _ of range(10)) yield* Effect.timeoutOption(Meter.metered(Effect.void, meter), 5)
            yield* Fiber.join(holder)
            return yield* Effect.timeoutOption(Meter.metered(Effect.succeed("in"), meter), 5)
          })
        )
        expect(Exit.isSuccess(run.exit) && run.exit.value._tag).toBe("Some")
      }
    })
  )

  it.effect("a task that dies, throws or interrupts itself releases its permit", () =>
    Effect.gen(function* () {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
      const endings: ReadonlyArray<() => Effect.Effect<void, string>> = [
        () => Effect.fail("failure"),
        () => Effect.die("defect"),
        () => Effect.interrupt,
        () => {
          throw "thrown"
        }
      ]
      for (const ending of endings) {
        for (const verb of verbs) {
          const { exit } = yield* observe(verb.run([0], ending, { meter }))
          expect(Exit.isFailure(exit)).toBe(true)
        }
        yield* Effect.exit(Meter.metered(Effect.suspend(ending), meter))
      }
      const after = yield* observe(Meter.metered(Effect.succeed("in"), meter))
      expect(after.exit).toEqual(Exit.succeed("in"))
      expect(after.end).toBe(0n)
    })
  )

  it.effect("a source, a function and a task that use the call's own meter at once upset nothing", () =>
    Effect.gen(function* () {
      for (const verb of verbs) {
        const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
        const context = yield* Effect.context()
        let others = 0
        const other = () => {
          Effect.runForkWith(context)(
            Meter.metered(
              Effect.sync(() => others++),
              meter
            )
          )
        }
        function* source() {
          for (let index = 0; index < 5; index++) {
            other()
            yield index
          }
        }
        const task = (n: number) => {
          other()
          return Effect.andThen(
            Effect.sync(other),
            Effect.andThen(Effect.sleep(n + 1), verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void)
          )
        }
        yield* observe(verb.run(source(), task, { meter }))
        expect(others).toBe(15)
        const spy = yield* Spy.make
        yield* observe(runOnEach(range(4), spy.lasting(10), { meter }))
        expect(spy.starts).toEqual([0, 0, 10, 10].map(ms))
      }
    })
  )

  it("a run without a rate arms no timer, and one with a rate never more than one", async () => {
    for (const verb of verbs) {
      const plain = new World()
      await plain.value(verb.run(range(50), () => Effect.succeed(1), { maxAtOnce: 5 }))
      expect(plain.timersArmed).toBe(0)
      const paced = new World()
      await paced.value(verb.run(range(50), () => Effect.succeed(1), { maxPerSecond: 100, maxAtOnce: 5 }))
      expect(paced.mostTimers).toBeLessThanOrEqual(1)
    }
    const shared = new World()
    const meter = Meter.makeUnsafe({ maxPerSecond: 100 })
    await shared.value(Effect.forEach(range(50), () => Meter.metered(Effect.void, meter), { concurrency: "unbounded" }))
    expect(shared.mostTimers).toBe(1)
    expect(shared.timersArmed).toBeLessThanOrEqual(50)
  })
})
