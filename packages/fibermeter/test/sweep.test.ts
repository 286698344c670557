/**
 * The sweep: a run is taken step by step, and interrupted at every single one of its scheduler steps in turn. Whatever
 * the step, every permit must come back, no fiber, timer or step may be left, and the source must have been closed as
 * `for…of` would.
 *
 * Coarse steps are those that the default scheduler takes. Fine ones break a fiber off after every few operations, which
 * is where a start that was granted and not yet made, or a permit that was taken and not yet noted down, gets lost.
 */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter, runOnEach } from "../src/index.ts"
import { Source, StreamSource } from "./support/Source.ts"
import { ms, range, Spy } from "./support/Spy.ts"
import { type TestMeters, type TestOptions, verbs } from "./support/verbs.ts"
import { World } from "./support/World.ts"

/** How often a start may be rejected before the sweep stops to look for the end of a run. */
const mostSteps = 20_000

interface Limit {
  readonly name: string
  readonly make: () => {
    readonly options: TestOptions
    /** What must hold of the shared meter after the call, given the instants at which its tasks started. */
    readonly after?: (world: World, starts: ReadonlyArray<bigint>, granted?: bigint) => Promise<void>
  }
}

/**
 * As many tasks as fit run at once again, and the first of them starts when the last start allows it, not later.
 *
 * `granted` is an instant at which a start may have been made without a task: between a meter and an effect that runs
 * under it is the start, and in fine steps also a point of interruption.
 */
const unharmed =
  (meter: TestMeters, width: number, interval: bigint) =>
  async (world: World, starts: ReadonlyArray<bigint>, granted?: bigint): Promise<void> => {
    const began = world.now
    const spy = new Spy(world.clock)
    await world.value(runOnEach(range(width), spy.lasting(10_000), { meter }))
    const after = (last: bigint | undefined) =>
      last === undefined || last + interval < began ? began : last + interval
    const first = began + (spy.starts[0] as bigint)
    if (first !== after(granted)) expect(first, "the next start on the meter").toBe(after(starts.at(-1)))
    expect(spy.starts.map((at) => at + began)).toEqual(range(width).map((index) => first + BigInt(index) * interval))
    expect(spy.peak).toBe(width)
  }

const limits: ReadonlyArray<Limit> = [
  { name: "no limit", make: () => ({ options: {} }) },
  { name: "maxAtOnce", make: () => ({ options: { maxAtOnce: 2 } }) },
  { name: "maxPerSecond", make: () => ({ options: { maxPerSecond: 10 } }) },
  { name: "maxBurst", make: () => ({ options: { maxPerSecond: 2, maxBurst: 2 } }) },
  {
    name: "a shared meter at once",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      return { options: { meter }, after: unharmed(meter, 2, 0n) }
    }
  },
  {
    name: "a shared meter at once and a second",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 10 })
      return { options: { meter }, after: unharmed(meter, 2, ms(100)) }
    }
  },
  {
    name: "a meter from a semaphore",
    make: () => {
      const semaphore = Semaphore.makeUnsafe(2)
      const meter = Meter.fromSemaphore(semaphore)
      return {
        options: { meter },
        after: async (world, starts, granted) => {
          expect(await world.value(semaphore.takeIfAvailable(2)), "both permits are free").toBe(true)
          expect(await world.value(semaphore.takeIfAvailable(1)), "and there are only two").toBe(false)
          await world.value(semaphore.release(2))
          await unharmed(meter, 2, 0n)(world, starts, granted)
        }
      }
    }
  },
  {
    name: "a meter from a schedule",
    make: () => {
      const meter = Meter.fromSchedule(Schedule.spaced("100 millis"))
      return { options: { meter }, after: unharmed(meter, 2, ms(100)) }
    }
  },
  {
    name: "two meters",
    make: () => {
      const meter = [Meter.makeUnsafe({ maxAtOnce: 2 }), Meter.makeUnsafe({ maxPerSecond: 10 })]
      return { options: { meter }, after: unharmed(meter, 2, ms(100)) }
    }
  },
  {
    name: "a meter beside limits of its own",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 10 })
      return { options: { meter, maxAtOnce: 1, maxPerSecond: 20 }, after: unharmed(meter, 2, ms(100)) }
    }
  }
]

/** Meters of the items of a call, two of which may run at once; a hundred milliseconds lie between two starts. */
const limitsByItem: ReadonlyArray<Limit> = [
  {
    name: "a meter per item",
    make: () => {
      const all = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 10 })
      const keys = Meter.keyedUnsafe<number>({ maxAtOnce: 1 })
      const meter = (_: unknown, index: number) => [all, keys.for(index % 2)]
      return {
        options: { meter },
        after: async (world, starts) => {
          await unharmed(all, 2, ms(100))(world, starts)
          for (const key of [0, 1]) await unharmed(keys.for(key), 1, 0n)(world, [])
        }
      }
    }
  },
  {
    name: "a meter per item beside limits of its own",
    make: () => {
      const keys = Meter.keyedUnsafe<number>({ maxAtOnce: 1, maxPerSecond: 10 })
      const meter = (_: unknown, index: number) => keys.for(index % 2)
      return {
        options: { meter, maxAtOnce: 1, maxPerSecond: 10, maxPending: 2 },
        after: async (world) => {
          for (const key of [0, 1]) expect((await world.value(Meter.snapshot(keys.for(key)))).running).toBe(0)
          await world.value(Effect.sleep(1000))
          expect(keys.size, "keys in use").toBe(0)
        }
      }
    }
  }
]

/** The meters of options that have meters, or those of the other limits. */
const listed = (options: TestOptions): ReadonlyArray<Meter.Meter<unknown>> =>
  [(options.meter as TestMeters | undefined) ?? Meter.makeUnsafe(options as Meter.Limits)].flat()

/** Takes a fresh run to its end once for every step it has, and interrupts it after that step. */
const sweep = async (
  fine: boolean | number,
  subject: (world: World) => {
    /** Something else is on its way in this world, so that something may be left when the effect ends. */
    readonly besideOthers?: boolean
    readonly effect: Effect.Effect<unknown, unknown>
    /** `interrupted` is the instant at which it was interrupted, if it was. */
    readonly check: (world: World, exit: Exit.Exit<unknown, unknown>, interrupted: bigint | undefined) => Promise<void>
  }
): Promise<void> => {
  for (let at = 0; at <= mostSteps; at++) {
    const world = new World({ fine })
    const { besideOthers = false, check, effect } = subject(world)
    const fiber = world.start(effect)
    let interrupted: bigint | undefined
    const interrupt = (step: number) => {
      if (step !== at || fiber.pollUnsafe() !== undefined) return
      interrupted = world.now
      fiber.interruptUnsafe()
    }
    interrupt(0)
    const exit = await world.finish(fiber, interrupt)
    try {
      if (!besideOthers) {
        expect(world.fibersLive, "fibers left").toBe(0)
        expect(world.timersLeft, "timers left").toBe(0)
        expect(world.stepsLeft, "steps left").toBe(0)
      }
      await check(world, exit, interrupted)
    } catch (error) {
      throw new Error(`interrupted ${interrupted === undefined ? "never" : `after step ${at}`}: ${String(error)}`, {
        cause: error
      })
    }
    if (interrupted === undefined) {
      expect(at, "steps of a run").toBeGreaterThan(2)
      return
    }
  }
  expect.fail(`the run did not end within ${mostSteps} steps`)
}

const expectInterruptedOr = (
  exit: Exit.Exit<unknown, unknown>,
  interrupted: bigint | undefined,
  otherwise: (exit: Exit.Exit<unknown, unknown>) => boolean
): void => {
  // An interruption that comes when the outcome is settled may be too late to change it.
  const stopped = interrupted !== undefined && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
  expect(stopped || otherwise(exit), `unexpected exit ${String(exit)}`).toBe(true)
}

const grains = [
  { grain: "coarse", fine: false },
  { grain: "fine", fine: true }
]

/** Tasks sleep, but for one that ends at once unless that would end a race; their finalizers take time. */
const task = (_: unknown, index: number): Effect.Effect<number> => taking(index, true)

const taking = (index: number, atOnce: boolean): Effect.Effect<number> =>
  index === 1 && atOnce
    ? Effect.succeed(index)
    : Effect.onExit(Effect.as(Effect.sleep(130 + index * 7), index), () => Effect.sleep(5))

describe.each(grains)("interrupted at every $grain step", ({ fine }) => {
  describe.each([...limits, ...limitsByItem])("under $name", (limit) => {
    it.each(verbs)("$name releases everything", async (verb) => {
      await sweep(fine, (world) => {
        const { after, options } = limit.make()
        const spy = new Spy(world.clock)
        const source = Source.indices(4)
        return {
          effect: verb.run(
            source,
            spy.watch((_, index) => taking(index, verb.name !== "runAny")),
            options
          ),
          check: async (_, exit, interrupted) => {
            expectInterruptedOr(exit, interrupted, Exit.isSuccess)
            expect(spy.running, "tasks running").toBe(0)
            expect(source.opened, "iterators made").toBeLessThanOrEqual(1)
            expect(source.closed, "calls of return()").toBe(source.closings)
            expect(source.disturbed, "calls of next() after the end").toBe(0)
            await after?.(world, spy.starts)
          }
        }
      })
    })

    it.each(verbs)("$name releases everything when a task has failed", async (verb) => {
      await sweep(fine, (world) => {
        const { after, options } = limit.make()
        const spy = new Spy(world.clock)
        const source = Source.indices(3)
        const failing = spy.watch((item: number, index) =>
          index === 1 ? Effect.andThen(Effect.sleep(20), Effect.fail("boom" as const)) : task(item, index)
        )
        return {
          effect: verb.run(source, failing, options),
          check: async (_, exit, interrupted) => {
            const expected = verb.name === "runAny" ? Exit.isSuccess(exit) : Exit.hasFails(exit)
            expectInterruptedOr(exit, interrupted, () => expected)
            expect(spy.running, "tasks running").toBe(0)
            expect(source.closed, "calls of return()").toBe(source.closings)
            await after?.(world, spy.starts)
          }
        }
      })
    })
  })

  describe.each(limits)("under $name", (limit) => {
    it("Meter.metered releases everything", async () => {
      await sweep(fine, (world) => {
        const { after, options } = limit.make()
        const meters = listed(options)
        const spy = new Spy(world.clock)
        const metered = (index: number) =>
          meters.reduceRight<Effect.Effect<number, unknown>>(
            (self, meter) => Meter.metered(self, meter),
            spy.effect(index, task(index, index))
          )
        return {
          effect: Effect.forEach(range(3), metered, { concurrency: 3 }),
          check: async (_, exit, interrupted) => {
            expectInterruptedOr(exit, interrupted, Exit.isSuccess)
            expect(spy.running, "tasks running").toBe(0)
            await after?.(world, spy.starts, fine ? interrupted : undefined)
          }
        }
      })
    })

    it("Meter.acquire releases everything", async () => {
      await sweep(fine, (world) => {
        const { after, options } = limit.make()
        const meters = listed(options)
        const spy = new Spy(world.clock)
        // A start counts from the step after the last meter was acquired, before the task's own first step.
        const granted: Array<bigint> = []
        const note = Effect.sync(() => void granted.push(world.now))
        const held = (index: number) =>
          meters.reduceRight<Effect.Effect<unknown, unknown>>(
            (self, meter) => Effect.scoped(Effect.andThen(Meter.acquire(meter), self)),
            Effect.andThen(note, spy.effect(index, task(index, index)))
          )
        return {
          effect: Effect.forEach(range(3), held, { concurrency: 3 }),
          check: async (_, exit, interrupted) => {
            expectInterruptedOr(exit, interrupted, Exit.isSuccess)
            expect(spy.running, "tasks running").toBe(0)
            await after?.(world, granted, fine ? interrupted : undefined)
          }
        }
      })
    })
  })

  describe.each(limits.filter(({ name }) => name.startsWith("a ") || name === "two meters"))(
    "beside another call, under $name",
    (limit) => {
      it.each(verbs)("$name does not disturb that one", async (verb) => {
        await sweep(fine, (world) => {
          const { after, options } = limit.make()
          const spy = new Spy(world.clock)
          const other = world.start(runOnEach(range(3), spy.watch(task), options))
          return {
            besideOthers: true,
            effect: verb.run(
              range(3),
              spy.watch((_, index) => taking(index, verb.name !== "runAny")),
              options
            ),
            check: async (_, exit, interrupted) => {
              expectInterruptedOr(exit, interrupted, Exit.isSuccess)
              expect(await world.finish(other)).toEqual(Exit.void)
              expect(spy.peak).toBeLessThanOrEqual(2)
              expect(spy.running, "tasks running").toBe(0)
              expect(world.fibersLive + world.timersLeft + world.stepsLeft).toBe(0)
              await after?.(world, spy.starts)
            }
          }
        })
      })
    }
  )

  it.each(verbs)("$name closes a stream once, if it was opened", async (verb) => {
    await sweep(fine, () => {
      const source = StreamSource.indices(4, 2)
      return {
        effect: verb.run(source.stream, task, { maxAtOnce: 1 }),
        check: async (_, exit, interrupted) => {
          expectInterruptedOr(exit, interrupted, Exit.isSuccess)
          expect(source.opened).toBeLessThanOrEqual(1)
          expect(source.closed).toBeLessThanOrEqual(1)
          // A stream is closed from the moment it is about to be opened.
          expect(source.closed).toBeGreaterThanOrEqual(source.opened)
        }
      }
    })
  })

  it("a reader of amap that stops early releases everything", async () => {
    await sweep(fine, (world) => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 10 })
      const spy = new Spy(world.clock)
      const source = Source.indices(Number.POSITIVE_INFINITY)
      return {
        effect: amap(source, spy.watch(task), { meter, maxUnread: 2 }).pipe(
          Stream.mapEffect((result) => Effect.as(Effect.sleep(30), result)),
          Stream.take(2),
          Stream.runDrain
        ),
        check: async (_, exit, interrupted) => {
          expectInterruptedOr(exit, interrupted, Exit.isSuccess)
          expect(spy.running, "tasks running").toBe(0)
          expect(source.closed, "calls of return()").toBe(source.closings)
          await unharmed(meter, 2, ms(100))(world, spy.starts)
        }
      }
    })
  })

  describe("one waiter of three on a shared meter: a waiter that was interrupted costs the next one nothing", () => {
    const waiters: ReadonlyArray<{
      readonly name: string
      readonly meter: () => Meter.Meter<unknown>
      /** When the last one starts, had the middle one started, and had it not. */
      readonly last: (middleStarted: boolean, middleEnded: bigint | undefined) => bigint
    }> = [
      {
        name: "at once",
        meter: () => Meter.makeUnsafe({ maxAtOnce: 1 }),
        last: (_, middleEnded) => middleEnded ?? ms(50)
      },
      {
        name: "a second",
        meter: () => Meter.makeUnsafe({ maxPerSecond: 10 }),
        last: (started) => (started ? ms(200) : ms(100))
      },
      {
        name: "from a semaphore",
        meter: () => Meter.fromSemaphore(Semaphore.makeUnsafe(1)),
        last: (_, middleEnded) => middleEnded ?? ms(50)
      },
      {
        name: "from a schedule",
        meter: () => Meter.fromSchedule(Schedule.spaced("100 millis")),
        last: (started) => (started ? ms(200) : ms(100))
      },
      {
        name: "at once and a second",
        meter: () => Meter.makeUnsafe({ maxAtOnce: 1, maxPerSecond: 10 }),
        last: (started, middleEnded) => {
          const slot = started ? ms(200) : ms(100)
          return middleEnded !== undefined && middleEnded > slot ? middleEnded : slot
        }
      }
    ]

    it.each(waiters)("$name", async ({ last, meter: make }) => {
      for (let at = 0; ; at++) {
        const world = new World({ fine })
        const meter = make()
        const spy = new Spy(world.clock)
        const ends = new Map<number, bigint>()
        const one = (index: number) =>
          Meter.metered(spy.effect(index, Effect.sleep(50)), meter).pipe(
            Effect.onExit(() =>
              Effect.sync(() => {
                ends.set(index, spy.now())
              })
            )
          )
        const interrupted: Array<boolean> = []
        let interruptedAt = -1n
        let middle: Fiber.Fiber<void, unknown> | undefined
        const all = world.start(
          Effect.gen(function* () {
            const first = yield* Effect.forkChild(one(0))
            const second = yield* Effect.forkChild(one(1))
            middle = second
            const third = yield* Effect.forkChild(one(2))
            yield* Fiber.awaitAll([first, second, third])
          })
        )
        const exit = await world.finish(all, () => {
          // Only once it exists can it be interrupted; until then the steps are not counted.
          if (middle === undefined || interrupted.length > at) return
          interrupted.push(middle.pollUnsafe() === undefined)
          if (interrupted.length === at + 1) {
            interruptedAt = world.now
            middle.interruptUnsafe()
          }
        })
        expect(exit).toEqual(Exit.void)
        expect(world.fibersLive).toBe(0)
        expect(world.timersLeft).toBe(0)
        expect(spy.running).toBe(0)
        const started = spy.started.includes(1)
        const expected = started ? [0, 1, 2] : [0, 2]
        expect(spy.started, `middle interrupted at step ${at}`).toEqual(expected)
        const instants = [last(started, started ? ends.get(1) : undefined)]
        // As above: granted in this very instant, and interrupted before its first step.
        if (fine && !started && interruptedAt === ms(100)) instants.push(last(true, undefined))
        expect(instants, `middle interrupted at step ${at}, ${started ? "after" : "before"} its start`).toContain(
          spy.starts.at(-1)
        )
        if (interrupted.length <= at || interrupted[at] === false) {
          expect(at).toBeGreaterThan(3)
          break
        }
      }
    })
  })
})

/**
 * Where a fiber is broken off depends on what it has done before: with every number of operations between two steps, each
 * place where it can be comes up, the ones between setting something up and having it undone included.
 */
describe.each(range(14).map((ops) => ops + 3))("interrupted at every step of %i operations", (ops) => {
  it.each(verbs)("$name that is reported on, with a meter, leaves nothing", async (verb) => {
    await sweep(ops, (world) => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
      const spy = new Spy(world.clock)
      let isOver = false
      let late = 0
      const onProgress = () => {
        if (isOver) late++
      }
      return {
        effect: verb.run(
          Source.indices(3),
          spy.watch((_, index) => taking(index, verb.name !== "runAny")),
          { meter, onProgress }
        ),
        check: async (_, exit, interrupted) => {
          isOver = true
          expectInterruptedOr(exit, interrupted, Exit.isSuccess)
          expect(spy.running, "tasks running").toBe(0)
          // Idle in this very step: no call is known to it any more.
          const idle = world.start(Meter.idle(meter))
          expect(await world.finish(idle)).toEqual(Exit.void)
          await world.value(Effect.sleep(1000))
          expect(late, "reports after the end").toBe(0)
          await unharmed(meter, 2, 0n)(world, spy.starts)
        }
      }
    })
  })
})
