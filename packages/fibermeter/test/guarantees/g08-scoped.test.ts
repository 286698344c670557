/** G8: when a call ends, for whatever reason, none of its fibers is running. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { amap, Meter } from "../../src/index.ts"
import { observe, watch } from "../support/observe.ts"
import { Source } from "../support/Source.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

const endless = Number.POSITIVE_INFINITY

describe("G8 scoped", () => {
  describe.each(verbs)("$name", (verb) => {
    it.effect("interrupted, it has interrupted every task and waited for their finalizers when it ends", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const task = spy.watch((index: number) => Effect.ensuring(Effect.never, Effect.sleep(10 * (index + 1))))
        const { end, exit, fibers, sleeps } = yield* observe(verb.run(range(9), task, { maxAtOnce: 3 }), {
          interruptAt: 100
        })
        expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
        expect(end).toBe(ms(130))
        expect(spy.started).toEqual([0, 1, 2])
        expect(spy.interrupted).toEqual([0, 1, 2])
        expect(spy.running + fibers + sleeps).toBe(0)
      })
    )

    it.effect("what a finalizer of an interrupted task adds is not lost", () =>
      Effect.gen(function* () {
        const task = () => Effect.ensuring(Effect.never, Effect.die("finalizer"))
        const { exit } = yield* observe(verb.run(range(2), task), { interruptAt: 10 })
        expect(Exit.isFailure(exit) && exit.cause.reasons.filter(Cause.isDieReason).length).toBeGreaterThanOrEqual(1)
        expect(Exit.hasInterrupts(exit)).toBe(true)
      })
    )

    it.effect("is interruptible while it waits for a permit, for a start, for its source and for its tasks", () =>
      Effect.gen(function* () {
        const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
        yield* Meter.acquire(meter)
        const never = new Source(endless, (index) => index)
        const waits = [
          verb.run(range(3), () => Effect.never, { meter }),
          verb.run(range(3), () => Effect.never, { maxPerSecond: 0.001 }),
          verb.run(Stream.never, () => Effect.void),
          verb.run(never, () => Effect.never, { maxAtOnce: 1 })
        ]
        for (const waiting of waits) {
          const { end, fibers, sleeps } = yield* observe(waiting, { interruptAt: 50 })
          expect(end).toBe(ms(50))
          expect(fibers).toBe(0)
          expect(sleeps).toBe(0)
        }
      })
    )

    it.effect("can be interrupted by one of its own tasks, by its source, or by the call of its function", () =>
      Effect.gen(function* () {
        for (const who of ["task", "function", "source"] as const) {
          const spy = yield* Spy.make
          let self: Fiber.Fiber<unknown, unknown> | undefined
          const cut = (by: typeof who, index: number) => {
            if (by === who && index === 2) self?.interruptUnsafe()
          }
          const source = new Source(endless, (index) => {
            cut("source", index)
            return index
          })
          const task = spy.watch((_: number, index) => {
            cut("function", index)
            return Effect.andThen(
              Effect.sync(() => cut("task", index)),
              Effect.ensuring(Effect.never, Effect.sleep(20))
            )
          })
          const call = Effect.withFiber((fiber) => {
            self = fiber
            return verb.run(source, task, { maxPerSecond: 100 })
          })
          const { end, exit, fibers, sleeps } = yield* observe(call)
          expect(Exit.hasInterrupts(exit)).toBe(true)
          expect(spy.started.length).toBeLessThanOrEqual(3)
          expect(end).toBeLessThanOrEqual(ms(40))
          expect(spy.running + fibers + sleeps).toBe(0)
          expect(source.closed).toBe(1)
        }
      })
    )

    it.effect("in an uninterruptible region it is not interrupted", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const failing = spy.watch(() => Effect.andThen(Effect.sleep(100), Effect.fail("no")))
        const call =
          verb.name === "runAny"
            ? Effect.exit(verb.run(range(2), failing, { maxAtOnce: 1 }))
            : verb.run(range(2), spy.lasting(100), { maxAtOnce: 1 })
        const { end } = yield* observe(Effect.uninterruptible(call), { interruptAt: 50 })
        expect(end).toBe(ms(200))
        expect(spy.interrupted).toEqual([])
      })
    )

    it.effect("leaves nothing in the scope of its caller", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        // With three of them it keeps a map, whose size shows whether one was added and not removed.
        for (const _ of range(3)) yield* Scope.addFinalizer(scope, Effect.void)
        const finalizers = () => (scope.state._tag === "Open" ? scope.state.finalizers?.size : undefined)
        const before = finalizers()
        expect(before).toBeGreaterThanOrEqual(2)
        const call = verb.run(range(5), (n: number) => Effect.as(Effect.sleep(10), n), { maxAtOnce: 2 })
        yield* observe(Effect.provideService(call, Scope.Scope, scope))
        expect(finalizers()).toBe(before)
        yield* Scope.close(scope, Exit.void)
      })
    )

    it.effect("leaves what a task adds to the scope of its caller for that scope to close", () =>
      Effect.gen(function* () {
        const closed: Array<number> = []
        const task = (n: number) =>
          Effect.andThen(
            Effect.addFinalizer(() => Effect.sync(() => closed.push(n))),
            Effect.sleep(10)
          )
        const { exit } = yield* observe(
          Effect.scoped(
            Effect.andThen(
              verb.run([7], task),
              Effect.sync(() => closed.length)
            )
          )
        )
        expect(exit).toEqual(Exit.succeed(0))
        expect(closed).toEqual([7])
      })
    )
  })

  describe.each([false, true])("amap, ordered: %s", (ordered) => {
    /** Tasks that take 10 ms, 20 ms, … and 50 ms to clean up when interrupted. */
    const slow = (spy: Spy) =>
      spy.watch((n: number) => Effect.onInterrupt(Effect.as(Effect.sleep(10 * (n + 1)), n), () => Effect.sleep(50)))

    it.effect("take: what is in flight is interrupted and awaited, and nothing more starts", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const source = Source.indices(endless)
        const { end, exit, fibers } = yield* observe(
          amap(source, slow(spy), { ordered, maxAtOnce: 4, maxUnread: 4 }).pipe(Stream.take(1), Stream.runCollect)
        )
        expect(exit).toEqual(Exit.succeed([0]))
        expect(end).toBe(ms(10 + 50))
        expect(spy.started.length).toBeLessThanOrEqual(5)
        expect(spy.running).toBe(0)
        expect(fibers).toBe(0)
        expect(source.closed).toBe(1)
      })
    )

    it.effect("a failure downstream: the same", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const source = Source.indices(endless)
        const { end, exit, fibers } = yield* observe(
          amap(source, slow(spy), { ordered, maxAtOnce: 4, maxUnread: 4 }).pipe(
            Stream.mapEffect(() => Effect.fail("downstream")),
            Stream.runDrain
          )
        )
        expect(exit).toEqual(Exit.fail("downstream"))
        expect(end).toBe(ms(10 + 50))
        expect(spy.running).toBe(0)
        expect(fibers).toBe(0)
        expect(source.closed).toBe(1)
      })
    )

    it.effect("a reader that is interrupted: the same", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const source = Source.indices(endless)
        const { end, fibers } = yield* observe(
          Stream.runForEach(amap(source, slow(spy), { ordered, maxAtOnce: 4, maxUnread: 4 }), () => Effect.never),
          { interruptAt: 25 }
        )
        expect(end).toBe(ms(25 + 50))
        expect(spy.running).toBe(0)
        expect(fibers).toBe(0)
        expect(source.closed).toBe(1)
      })
    )

    it.effect("a stream that is not read starts nothing", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const source = Source.indices(3)
        const opened = yield* observe(
          Effect.scoped(Effect.andThen(Stream.toPull(amap(source, slow(spy), { ordered })), Effect.sleep(100)))
        )
        expect(Exit.isSuccess(opened.exit)).toBe(true)
        expect(spy.started).toEqual([])
        expect(opened.fibers).toBe(0)
      })
    )

    it.effect("a stream that is pulled first after its scope was closed starts nothing and ends", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const source = Source.indices(3)
        const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
        let reports = 0
        const onProgress = () => void reports++
        const late = Effect.gen(function* () {
          const pull = yield* Effect.scoped(Stream.toPull(amap(source, slow(spy), { ordered, meter, onProgress })))
          const end = yield* Effect.flip(pull)
          yield* Meter.idle(meter)
          yield* Effect.sleep(1000)
          return Cause.isDone(end)
        })
        const { exit, fibers, sleeps } = yield* observe(late)
        expect(exit).toEqual(Exit.succeed(true))
        expect(spy.started).toEqual([])
        expect(source.pulls).toBe(0)
        expect([reports, fibers, sleeps]).toEqual([0, 0, 0])
      })
    )

    it.effect("a stream that was pulled once runs on until its scope is closed", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const run = yield* watch(
          Effect.scoped(
            Effect.gen(function* () {
              const pull = yield* Stream.toPull(amap(range(9), slow(spy), { ordered, maxAtOnce: 2 }))
              yield* pull
              yield* Effect.sleep(35)
            })
          )
        )
        yield* run.advance(15)
        expect(spy.running).toBe(2)
        const { fibers } = yield* run.finish
        expect(spy.running).toBe(0)
        expect(fibers).toBe(0)
      })
    )
  })

  it.effect("a call that loses a race is interrupted with all of its tasks", () =>
    Effect.gen(function* () {
      const spy = yield* Spy.make
      const calls = verbs.map((verb) => verb.run(range(3), spy.lasting(1000), { maxAtOnce: 2 }))
      const { end, fibers } = yield* observe(
        Effect.raceFirst(Effect.all(calls, { concurrency: "unbounded" }), Effect.sleep(10))
      )
      expect(end).toBe(ms(10))
      expect(spy.starts.length).toBe(10)
      expect(spy.running).toBe(0)
      expect(fibers).toBe(0)
    })
  )

  it.effect("interrupting it twice is as interrupting it once", () =>
    Effect.gen(function* () {
      for (const verb of verbs) {
        const spy = yield* Spy.make
        const task = spy.watch(() => Effect.ensuring(Effect.never, Effect.sleep(100)))
        const run = yield* watch(verb.run(range(3), task))
        run.fiber.interruptUnsafe()
        yield* run.advance(10)
        const second = yield* Effect.forkChild(Fiber.interrupt(run.fiber))
        const { end } = yield* run.finish
        yield* Fiber.join(second)
        expect(end).toBe(ms(100))
        expect(spy.running).toBe(0)
      }
    })
  )
})
