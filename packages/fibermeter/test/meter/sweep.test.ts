/**
 * The sweep over every kind of limit: a program is taken step by step, interrupted at each of its scheduler steps in turn,
 * coarse and fine, and afterwards the meter must be as if tasks that did not start had never requested a start.
 */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Metric, Schedule, Semaphore } from "effect"
import { Meter, runOnEach } from "../../src/index.ts"
import { busiest } from "../support/model.ts"
import { ms, range, Spy } from "../support/Spy.ts"
import { World } from "../support/World.ts"

interface Kind {
  readonly name: string
  readonly make: () => {
    readonly meter: () => Meter.Meter<unknown>
    readonly cost?: Meter.Cost
    /** Runs beside, for instance to end a pause. */
    readonly beside?: Effect.Effect<unknown>
    /** Inside each task. */
    readonly inside?: Effect.Effect<unknown, unknown>
    /** No more than so much is spent in any window so long, where a start spends `weight`. */
    readonly window?: { readonly limit: number; readonly per: number; readonly weight: number }
    readonly atOnce?: number
    readonly after?: Effect.Effect<unknown>
  }
}

const kinds: ReadonlyArray<Kind> = [
  {
    name: "windows",
    make: () => {
      const meter = Meter.makeUnsafe({ windows: { r: { limit: 2, per: 50 }, long: { limit: 3, per: 200 } } })
      return { meter: () => meter, window: { limit: 2, per: 50, weight: 1 } }
    }
  },
  {
    name: "a window and a permit",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, windows: { r: { limit: 2, per: 50 } } })
      return { meter: () => meter, atOnce: 1, window: { limit: 2, per: 50, weight: 1 } }
    }
  },
  {
    name: "costs",
    make: () => {
      const meter = Meter.makeUnsafe({ windows: { r: { limit: 5, per: 50 } } })
      return { meter: () => meter, cost: { r: 2 }, window: { limit: 5, per: 50, weight: 2 } }
    }
  },
  {
    name: "costs that are corrected",
    make: () => {
      const meter = Meter.makeUnsafe({ windows: { r: { limit: 5, per: 50 } } })
      const inside = Effect.andThen(Effect.sleep(1), Meter.correct({ r: 4 }))
      return { meter: () => meter, cost: { r: 2 }, inside }
    }
  },
  {
    name: "a window that its server reports on",
    make: () => {
      const meter = Meter.makeUnsafe({ windows: { r: { limit: 3, per: 50 } } })
      const inside = Meter.reconcile(meter, { window: "r", remaining: 1, resetAfter: 20 })
      const after = Effect.gen(function* () {
        yield* Effect.sleep(100)
        expect((yield* Meter.snapshot(meter)).room).toEqual({ r: 3 })
      })
      return { meter: () => meter, inside, window: { limit: 3, per: 50, weight: 1 }, after }
    }
  },
  {
    name: "limits on waiting that refuse nothing",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, maxWaiting: 9, waitTimeout: 1000, overflow: "dropOldest" })
      return { meter: () => meter, atOnce: 1 }
    }
  },
  {
    name: "a pause for a time",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      return { meter: () => meter, atOnce: 2, beside: Meter.pause(meter, 40) }
    }
  },
  {
    name: "a pause until it is resumed",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 100 })
      const beside = Effect.andThen(Meter.pause(meter), Effect.delay(Meter.resume(meter), 45))
      return { meter: () => meter, atOnce: 2, beside, after: Meter.resume(meter) }
    }
  },
  {
    name: "a limit that is resized",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 1, windows: { r: { limit: 1, per: 500 } } })
      const beside = Effect.delay(Meter.resize(meter, { maxAtOnce: 2, windows: { r: { limit: 3, per: 50 } } }), 15)
      return { meter: () => meter, atOnce: 2, beside, window: { limit: 3, per: 50, weight: 1 } }
    }
  },
  {
    name: "all of several",
    make: () => {
      const meter = Meter.all(
        Meter.makeUnsafe({ maxAtOnce: 2 }),
        Meter.makeUnsafe({ maxPerSecond: 50 }),
        Meter.makeUnsafe({ windows: { r: { limit: 3, per: 100 } } })
      )
      return { meter: () => meter, atOnce: 2, window: { limit: 3, per: 100, weight: 1 } }
    }
  },
  {
    name: "all, a semaphore and a schedule among them",
    make: () => {
      const semaphore = Semaphore.makeUnsafe(2)
      const meter = Meter.all(
        Meter.fromSemaphore(semaphore),
        Meter.fromSchedule(Schedule.spaced("10 millis")),
        Meter.makeUnsafe({ maxAtOnce: 1 })
      )
      const after = Effect.gen(function* () {
        expect(yield* semaphore.takeIfAvailable(2), "both permits are free").toBe(true)
        expect(yield* semaphore.takeIfAvailable(1), "and there are only two").toBe(false)
        yield* semaphore.release(2)
      })
      return { meter: () => meter, atOnce: 1, window: { limit: 1, per: 10, weight: 1 }, after }
    }
  },
  {
    name: "a key",
    make: () => {
      const keys = Meter.keyedUnsafe<string>({ maxAtOnce: 1, windows: { r: { limit: 2, per: 50 } } })
      const after = Effect.gen(function* () {
        yield* Effect.sleep(1000)
        expect(keys.size, "keys that are left").toBe(0)
      })
      return { meter: () => keys.for("a"), atOnce: 1, window: { limit: 2, per: 50, weight: 1 }, after }
    }
  },
  {
    name: "a key that is deleted meanwhile",
    make: () => {
      const keys = Meter.keyedUnsafe<string>({ maxAtOnce: 1 })
      const after = Effect.gen(function* () {
        expect(yield* keys.snapshot, "keys that are left").toEqual(new Map())
        yield* keys.idle
      })
      return { meter: () => keys.for("a"), beside: Effect.delay(keys.delete("a"), 4), after }
    }
  },
  {
    name: "a name: gauges are back at zero",
    make: () => {
      const meter = Meter.makeUnsafe({ name: "swept", maxAtOnce: 2, maxPerSecond: 100 })
      const after = Effect.map(Metric.snapshot, (all) => {
        const gauges = all.filter(({ attributes, type }) => type === "Gauge" && attributes?.["meter"] === "swept")
        for (const { id, state } of gauges) expect(state, id).toEqual({ value: 0 })
      })
      return { meter: () => meter, atOnce: 2, after }
    }
  },
  {
    name: "a semaphore that others take from",
    make: () => {
      const semaphore = Semaphore.makeUnsafe(1)
      const meter = Meter.fromSemaphore(semaphore)
      const after = Effect.gen(function* () {
        expect(yield* semaphore.takeIfAvailable(1), "the permit is free").toBe(true)
        expect(yield* semaphore.takeIfAvailable(1), "and the only one").toBe(false)
        yield* semaphore.release(1)
      })
      return { meter: () => meter, atOnce: 1, beside: semaphore.withPermit(Effect.sleep(25)), after }
    }
  },
  {
    name: "a schedule that takes time for its steps",
    make: () => {
      const thinking = Schedule.modifyDelay(Schedule.spaced(20), ({ duration }) => Effect.as(Effect.sleep(5), duration))
      const meter = Meter.fromSchedule(thinking)
      return { meter: () => meter, window: { limit: 1, per: 20, weight: 1 } }
    }
  },
  {
    name: "a schedule that ends",
    make: () => {
      const meter = Meter.fromSchedule(Schedule.upTo(Schedule.spaced(20), { times: 2 }))
      return { meter: () => meter, window: { limit: 1, per: 20, weight: 1 } }
    }
  },
  {
    name: "a deadlock",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      const inside = Effect.andThen(Effect.sleep(5), Effect.exit(Meter.metered(Effect.sleep(1), meter)))
      return { meter: () => meter, atOnce: 2, inside }
    }
  }
]

/** Programs of five starts, with the task to be run under the meter. */
const programs: ReadonlyArray<{
  readonly name: string
  readonly run: (
    task: (index: number) => Effect.Effect<unknown, unknown>,
    meter: () => Meter.Meter<unknown>,
    cost: Meter.Cost | undefined
  ) => Effect.Effect<unknown, unknown>
}> = [
  {
    name: "a verb",
    run: (task, meter, cost) =>
      Effect.suspend(() =>
        runOnEach(range(5), task, cost === undefined ? { meter: meter() } : { meter: meter(), cost: () => cost })
      )
  },
  {
    name: "metered",
    run: (task, meter, cost) =>
      Effect.forEach(
        range(5),
        (n) => Effect.suspend(() => Meter.metered(task(n), meter(), cost === undefined ? {} : { cost })),
        { concurrency: "unbounded" }
      )
  },
  {
    name: "meteredIfAvailable",
    run: (task, meter, cost) =>
      Effect.forEach(
        range(5),
        (n) =>
          Effect.andThen(
            Effect.sleep(n),
            Effect.suspend(() => Meter.meteredIfAvailable(task(n), meter(), cost === undefined ? {} : { cost }))
          ),
        { concurrency: "unbounded" }
      )
  },
  {
    name: "acquire",
    run: (task, meter, cost) =>
      Effect.forEach(
        range(5),
        (n) =>
          Effect.suspend(() =>
            Effect.scoped(
              Effect.andThen(
                Meter.acquire(meter(), cost === undefined ? {} : { cost }),
                Effect.suspend(() => task(n))
              )
            )
          ),
        { concurrency: "unbounded" }
      )
  }
]

const grains = [
  { grain: "coarse", fine: false },
  { grain: "fine", fine: true }
]

describe.each(grains)("interrupted at every single $grain step", ({ fine }) => {
  describe.each(kinds)("under $name", ({ make, name }) => {
    // A start taken by hand is known to no task: nothing inside could correct it, or be seen to wait for it.
    it.each(programs.filter((program) => program.name !== "acquire" || !/corrected|deadlock/.test(name)))(
      "$name releases everything, and others lose nothing",
      async ({ run }) => {
        for (let at = 0; ; at++) {
          const world = new World({ fine })
          const { after, atOnce, beside, cost, inside, meter, window } = make()
          const spy = new Spy(world.clock)
          const task = (index: number) =>
            spy.effect(index, Effect.andThen(Effect.sleep(3 + index), inside ?? Effect.void))
          let fiber: Fiber.Fiber<unknown, unknown> | undefined
          let steps = 0
          let interrupted = false
          const whole = world.start(
            Effect.gen(function* () {
              fiber = yield* Effect.forkChild(run(task, meter, cost))
              const other = yield* Effect.forkChild(beside ?? Effect.void)
              yield* Fiber.await(other)
              return yield* Fiber.await(fiber)
            })
          )
          const ended = await world.finish(whole, () => {
            // Until it exists, no step of it has been taken.
            if (fiber === undefined || steps++ !== at || fiber.pollUnsafe() !== undefined) return
            interrupted = true
            fiber.interruptUnsafe()
          })
          const where = interrupted ? `interrupted after step ${at}` : "not interrupted"
          const exit = Exit.isSuccess(ended) ? ended.value : ended
          if (interrupted && Exit.isFailure(exit)) expect(Cause.hasInterrupts(exit.cause), where).toBe(true)
          expect(spy.running, where).toBe(0)
          if (atOnce !== undefined) expect(spy.peak, where).toBeLessThanOrEqual(atOnce)
          // A step of a schedule belongs to the meter, and continues.
          await world.value(Effect.sleep(10))
          expect(world.fibersLive + world.timersLeft + world.stepsLeft, where).toBe(0)
          const { running, waiting } = await world.value(Meter.snapshot(meter()))
          expect({ running, waiting }, where).toEqual({ running: 0, waiting: 0 })

          // The next task starts at the predicted instant.
          if (name !== "a schedule that ends") {
            const { nextStart } = await world.value(Meter.snapshot(meter()))
            const due = world.now + BigInt(Math.round(Duration.toMillis(nextStart) * 1_000_000))
            const late = new Spy(world.clock)
            const offset = world.now
            await world.value(
              runOnEach(
                range(4),
                late.watch(() => Effect.sleep(1)),
                { meter: meter() }
              ).pipe(Effect.timeout("1 hour"))
            )
            const starts = late.starts.map((start) => start + offset)
            if (cost === undefined) expect(starts[0], where).toBe(due)
            if (window !== undefined) {
              const { limit, per, weight } = window
              const all = [...spy.starts.flatMap((start) => range(weight).map(() => start)), ...starts]
              expect(busiest(all, ms(per)), where).toBeLessThanOrEqual(limit)
            }
          }
          if (after !== undefined) await world.value(after)
          if (!interrupted) {
            expect(at).toBeGreaterThan(3)
            break
          }
        }
      }
    )
  })

  it.each(kinds.filter(({ name }) => !/ends|deadlock|corrected|deleted/.test(name)))(
    "one waiter of three under $name: interrupted, it costs the others nothing",
    async ({ make }) => {
      const reference = new Map<boolean, ReadonlyArray<bigint>>()
      // Without the one in the middle, and with it: one of these two must come out, whenever it is interrupted.
      for (const withMiddle of [false, true]) {
        const { starts } = await three(new World({ fine }), make(), withMiddle)
        reference.set(withMiddle, starts)
      }
      for (let at = 0; ; at++) {
        const { interrupted, middleStarted, starts } = await three(new World({ fine }), make(), true, at)
        if (!middleStarted) {
          // Granted in the step of the interruption, its start is spent as if it had started, though no task was called.
          expect([reference.get(false)?.at(-1), reference.get(true)?.at(-1)], `at step ${at}`).toContain(starts.at(-1))
          expect(starts.length).toBe(2)
        } else {
          expect(starts.length).toBe(3)
          expect(starts.at(-1)! <= reference.get(true)!.at(-1)!, `at step ${at}`).toBe(true)
        }
        if (!interrupted) break
      }
    }
  )
})

/** Three tasks, one after the other; the second is left out, or interrupted at a step of its own. */
const three = async (
  world: World,
  { beside, cost, inside, meter }: ReturnType<Kind["make"]>,
  withMiddle: boolean,
  at?: number
) => {
  const spy = new Spy(world.clock)
  const one = (index: number) =>
    Effect.suspend(() =>
      Meter.metered(
        spy.effect(index, Effect.andThen(Effect.sleep(4), inside ?? Effect.void)),
        meter(),
        cost === undefined ? {} : { cost }
      )
    )
  let middle: Fiber.Fiber<unknown, unknown> | undefined
  let steps = 0
  let interrupted = false
  const all = world.start(
    Effect.gen(function* () {
      const other = yield* Effect.forkChild(beside ?? Effect.void)
      const first = yield* Effect.forkChild(one(0))
      yield* Effect.sleep(1)
      if (withMiddle) middle = yield* Effect.forkChild(one(1))
      yield* Effect.sleep(1)
      const last = yield* Effect.forkChild(one(2))
      yield* Fiber.awaitAll([other, first, last, ...(middle === undefined ? [] : [middle])])
    })
  )
  expect(
    await world.finish(all, () => {
      if (middle === undefined || steps++ !== at || middle.pollUnsafe() !== undefined) return
      interrupted = true
      middle.interruptUnsafe()
    })
  ).toEqual(Exit.void)
  return { interrupted, middleStarted: spy.started.includes(1), starts: spy.starts }
}
