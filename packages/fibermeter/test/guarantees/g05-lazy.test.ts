/** G5: at most one pull of the source is outstanding or unused, and it is closed as `for…of` would close it. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Stream } from "effect"
import { amap, Meter, runAny, runOnEach } from "../../src/index.ts"
import { observe, watch } from "../support/observe.ts"
import { Source, StreamSource } from "../support/Source.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { verbs } from "../support/verbs.ts"

const endless = Number.POSITIVE_INFINITY

describe("G5 lazy", () => {
  describe.each(verbs)("$name", (verb) => {
    it("pulls nothing before it runs", () => {
      const source = Source.indices(endless)
      const call = verb.run(source, () => Effect.void, { maxAtOnce: 1 })
      expect(Effect.isEffect(call)).toBe(true)
      expect(source.opened).toBe(0)
    })

    it.effect("has at most one item of an iterable pulled and unused, at any time", () =>
      Effect.gen(function* () {
        const source = Source.indices(endless)
        const spy = yield* Spy.make
        const run = yield* watch(verb.run(source, spy.lasting(1000), { maxAtOnce: 3 }))
        expect(spy.started.length).toBe(3)
        expect(source.handed).toBeLessThanOrEqual(4)
        yield* run.advance(999)
        expect(source.handed).toBeLessThanOrEqual(4)
        run.fiber.interruptUnsafe()
        yield* run.finish
        expect(source.handed).toBeLessThanOrEqual(4)
      })
    )

    it.effect("has at most one item pulled and unused while the rate, or a meter, holds it back", () =>
      Effect.gen(function* () {
        const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
        for (const options of [{ maxPerSecond: 2 }, { meter }]) {
          const source = Source.indices(endless)
          const spy = yield* Spy.make
          const run = yield* watch(verb.run(source, spy.lasting(100_000), options))
          for (const _ of range(4)) {
            expect(source.handed - spy.started.length).toBeLessThanOrEqual(1)
            yield* run.advance(500)
          }
          run.fiber.interruptUnsafe()
          yield* run.finish
        }
      })
    )

    it.effect("closes an iterator once when it ends before the source, and before it returns", () =>
      Effect.gen(function* () {
        const source = Source.indices(endless)
        const failing = (_: number, index: number) =>
          verb.name === "runAny" ? Effect.succeed(index) : Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
        const closed = Effect.sync(() => source.closed)
        const call = Effect.andThen(Effect.exit(verb.run(source, failing, { maxAtOnce: 1 })), closed)
        expect((yield* observe(call)).exit).toEqual(Exit.succeed(1))
        expect(source.closed).toBe(1)
        expect(source.disturbed).toBe(0)
      })
    )

    it.effect("does not close an iterator that has ended", () =>
      Effect.gen(function* () {
        const source = Source.indices(3)
        const task = () => Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
        yield* observe(Effect.exit(verb.run(source, task, {})))
        expect(source.over).toBe(true)
        expect(source.closed).toBe(0)
        expect(source.pulls).toBe(4)
      })
    )

    it.effect("does not close an iterator that threw, and dies with what it threw", () =>
      Effect.gen(function* () {
        const source = new Source(5, (index): number => {
          if (index === 1) throw new Error("broken source")
          return index
        })
        const { exit } = yield* observe(verb.run(source, () => Effect.sleep(10), {}))
        expect(exit).toEqual(Exit.die(new Error("broken source")))
        expect(source.closed).toBe(0)
        expect(source.disturbed).toBe(0)
      })
    )

    it.effect("dies with what the making of an iterator threw", () =>
      Effect.gen(function* () {
        const items: Iterable<number> = {
          [Symbol.iterator]: () => {
            throw new Error("no iterator")
          }
        }
        const { exit } = yield* observe(verb.run(items, () => Effect.void))
        expect(exit).toEqual(Exit.die(new Error("no iterator")))
      })
    )

    it.effect("needs no `return` of an iterator", () =>
      Effect.gen(function* () {
        const items: Iterable<number> = {
          [Symbol.iterator]: () => {
            let index = 0
            return { next: () => ({ done: false, value: index++ }) }
          }
        }
        const task = (item: number) => (item === 2 && verb.name !== "runAny" ? Effect.fail("boom") : Effect.sleep(10))
        const { exit } = yield* observe(verb.run(items, task, { maxAtOnce: 1 }))
        expect(exit).toEqual(verb.name === "runAny" ? Exit.void : Exit.fail("boom"))
      })
    )

    it.effect("calls `next` and `return` on the iterator itself, as generators need", () =>
      Effect.gen(function* () {
        let finished = 0
        function* items() {
          try {
            for (let index = 0; ; index++) yield index
          } finally {
            finished++
          }
        }
        const task = (item: number) => (item === 2 ? Effect.fail("boom") : Effect.sleep(10))
        yield* observe(Effect.exit(verb.run(items(), task, { maxAtOnce: 1 })))
        expect(finished).toBe(1)
      })
    )

    it.effect("a failure of the closing does not hide why it was closed", () =>
      Effect.gen(function* () {
        const items: Iterable<number> = {
          [Symbol.iterator]: () => ({
            next: () => ({ done: false, value: 0 }),
            return: () => {
              throw new Error("cannot close")
            }
          })
        }
        const source = verb.run(items, () => Effect.andThen(Effect.sleep(10), Effect.die("boom")), { maxAtOnce: 1 })
        const { exit } = yield* observe(verb.name === "runAny" ? Effect.timeout(source, 25) : source)
        expect(Exit.isFailure(exit)).toBe(true)
        if (verb.name !== "runAny") {
          expect(Exit.isFailure(exit) && exit.cause.reasons[0]).toEqual(Cause.makeDieReason("boom"))
        }
      })
    )

    it.effect("opens a stream once, pulls a chunk only when the one before is used up, and closes it once", () =>
      Effect.gen(function* () {
        const source = StreamSource.indices(1_000_000, 3)
        const spy = yield* Spy.make
        const run = yield* watch(verb.run(source.stream, spy.lasting(1000), { maxAtOnce: 4 }))
        expect(spy.started.length).toBe(4)
        expect(source.opened).toBe(1)
        // The second chunk is in use, and no further one is pulled.
        expect(source.pulls).toBe(2)
        run.fiber.interruptUnsafe()
        yield* run.finish
        expect(source.closed).toBe(1)
        expect(source.pulls).toBe(2)
      })
    )

    it.effect("closes a stream once that came to its end", () =>
      Effect.gen(function* () {
        const source = StreamSource.indices(5, 2)
        yield* observe(
          Effect.exit(verb.run(source.stream, () => Effect.andThen(Effect.sleep(10), Effect.fail("boom"))))
        )
        expect(source.closed).toBe(1)
      })
    )

    it.effect("awaits the closing of a stream", () =>
      Effect.gen(function* () {
        const source = new StreamSource((index) => Effect.succeed([index]), Effect.sleep(70))
        const task = (_: number, index: number) =>
          verb.name === "runAny" ? Effect.sleep(30) : index === 2 ? Effect.fail("boom") : Effect.sleep(30)
        const { end } = yield* observe(Effect.exit(verb.run(source.stream, task, { maxAtOnce: 1 })))
        expect(end).toBe(ms(verb.name === "runAny" ? 100 : 130))
        expect(source.closed).toBe(1)
      })
    )

    it.effect("closes a stream that emits nothing when a task has failed", () =>
      Effect.gen(function* () {
        const source = new StreamSource((index) => (index === 0 ? Effect.succeed([0]) : Effect.never))
        const task = () => Effect.andThen(Effect.sleep(20), verb.name === "runAny" ? Effect.void : Effect.fail("boom"))
        const { end, fibers } = yield* observe(Effect.exit(verb.run(source.stream, task)))
        expect(end).toBe(ms(20))
        expect(source.closed).toBe(1)
        expect(fibers).toBe(0)
      })
    )

    it.effect("starts a task at the instant at which a slow stream emits its item", () =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const slow = new StreamSource((index) =>
          index < 3 ? Effect.as(Effect.sleep(100), [index] as const) : undefined
        )
        yield* observe(verb.run(slow.stream, spy.lasting(10_000)))
        expect(spy.starts).toEqual([100, 200, 300].map(ms))
      })
    )
  })

  it.effect("a stream's error and its services are the call's", () =>
    Effect.gen(function* () {
      const broken = Stream.fail("broken" as const)
      const { exit } = yield* observe(runOnEach(broken, () => Effect.void))
      expect(exit).toEqual(Exit.fail("broken"))
    })
  )

  it.effect("an interrupted stream source interrupts the call", () =>
    Effect.gen(function* () {
      const { exit } = yield* observe(runOnEach(Stream.fromEffect(Effect.interrupt), () => Effect.void))
      expect(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)).toBe(true)
    })
  )

  it.effect("amap closes the source before a reader that has left it continues", () =>
    Effect.gen(function* () {
      const source = Source.indices(endless)
      const { exit } = yield* observe(
        Effect.gen(function* () {
          const two = yield* amap(source, Effect.succeed, { maxAtOnce: 2 }).pipe(Stream.take(2), Stream.runCollect)
          return { two, closed: source.closed }
        })
      )
      expect(exit).toEqual(Exit.succeed({ two: [0, 1], closed: 1 }))
    })
  )

  it.effect("amap pulls no more of its source than its reader allows", () =>
    Effect.gen(function* () {
      const source = Source.indices(endless)
      const head = amap(source, Effect.succeed, { maxAtOnce: 1, maxUnread: 3 }).pipe(
        Stream.runForEach((n) => (n === 0 ? Effect.sleep(1000) : Effect.fail("enough")))
      )
      const run = yield* watch(head)
      yield* run.advance(500)
      expect(source.handed).toBeLessThanOrEqual(1 + 3 + 1)
      yield* run.finish
      expect(source.closed).toBe(1)
    })
  )

  it.effect("every run of the same effect pulls the source anew", () =>
    Effect.gen(function* () {
      const source = new Set(range(3))
      const call = runAny(source, (n) => (n === 1 ? Effect.succeed(n) : Effect.fail("no")))
      expect(yield* call).toBe(1)
      expect(yield* call).toBe(1)
      const stream = amap(source, Effect.succeed)
      expect(yield* Stream.runCollect(stream)).toEqual([0, 1, 2])
      expect(yield* Stream.runCollect(stream)).toEqual([0, 1, 2])
      expect(Option.isSome(yield* Stream.runHead(stream))).toBe(true)
    })
  )
})
