/**
 * G14: however fast the tasks resolve, control returns to the event loop every few milliseconds. These run on the real
 * event loop; the tests assert how many tasks had run when other code ran, not how long it took.
 */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { afterEach, vi } from "vitest"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { verbs } from "../support/verbs.ts"

function* indices(size: number) {
  for (let index = 0; index < size; index++) yield index
}

/** Numbers of tasks that take several times as long as the event loop may be blocked. */
const tasks: ReadonlyArray<{ readonly name: string; readonly task: Effect.Effect<void>; readonly count: number }> = [
  { name: "Effect.succeed", task: Effect.void, count: 300_000 },
  { name: "Effect.sync", task: Effect.sync(() => {}), count: 300_000 },
  { name: "a resolved promise", task: Effect.promise(() => Promise.resolve()), count: 60_000 }
]

const limits = [
  { name: "ten at once", make: () => ({ maxAtOnce: 10 }) },
  { name: "a shared meter", make: () => ({ meter: Meter.makeUnsafe({ maxAtOnce: 10 }) }) },
  {
    name: "a meter per item",
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 10 })
      return { meter: () => meter }
    }
  },
  { name: "a rate that is never in the way", make: () => ({ maxAtOnce: 10, maxPerSecond: 1e9, maxBurst: 1e9 }) }
]

describe("G14 yields", () => {
  describe.each(verbs)("$name", (verb) => {
    for (const [which, { make, name: limited }] of limits.entries()) {
      // Each limit with one kind of task, the first with all of them: that is where the ways through the engine differ.
      for (const { count, name, task } of which === 0 ? tasks : tasks.slice(2)) {
        it(`timers and I/O are served while tasks of ${name} run, ${limited}`, async () => {
          let done = 0
          let timer = -1
          let immediates = 0
          const counting = () =>
            Effect.flatMap(task, () => {
              done++
              return verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void
            })
          setTimeout(() => {
            timer = done
          }, 1)
          const turn = () => {
            immediates++
            if (done < count) setImmediate(turn)
          }
          setImmediate(turn)
          await Effect.runPromiseExit(verb.run(indices(count), counting, make()))
          expect(done).toBe(count)
          expect(timer, "the timer fired while tasks ran").toBeGreaterThanOrEqual(0)
          expect(timer, "the timer fired long before the end").toBeLessThan(count / 2)
          expect(immediates, "turns of the event loop").toBeGreaterThanOrEqual(2)
        }, 60_000)
      }
    }

    it("can be interrupted by a timer while tasks that resolve at once never end", async () => {
      let done = 0
      const counting = () => {
        done++
        return verb.name === "runAny" ? Effect.fail("tolerated") : Effect.void
      }
      const forever = verb.run(indices(Number.POSITIVE_INFINITY), counting, { maxAtOnce: 10 })
      // runAny keeps every failure, so it is not left running for long.
      const left = await Effect.runPromise(Effect.timeoutOption(Effect.exit(forever), 20))
      expect(left._tag).toBe("None")
      expect(done).toBeGreaterThan(0)
    }, 60_000)
  })

  it("an endless list of tasks without any limit does not keep everybody else out", async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 5)
    let started = 0
    const forever = amap(indices(Number.POSITIVE_INFINITY), () => {
      started++
      return Effect.never
    })
    const exit = await Effect.runPromiseExit(Stream.runDrain(forever), { signal: controller.signal })
    expect(exit._tag).toBe("Failure")
    expect(started).toBeGreaterThan(0)
  }, 60_000)

  it("waiters on a shared meter that start one after the other without a pause do not block the event loop", async () => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    let done = 0
    let timer = -1
    setTimeout(() => {
      timer = done
    }, 1)
    const loop = (left: number): Effect.Effect<void> =>
      left === 0
        ? Effect.void
        : Effect.flatMap(
            Meter.metered(
              Effect.sync(() => done++),
              meter
            ),
            () => Effect.suspend(() => loop(left - 1))
          )
    await Effect.runPromise(Effect.all([loop(50_000), loop(50_000), loop(50_000)], { concurrency: 3 }))
    expect(done).toBe(150_000)
    expect(timer).toBeGreaterThanOrEqual(0)
    expect(timer).toBeLessThan(75_000)
  }, 60_000)
})

const MANY = 100_000

describe("G14 a loop of calls that never wait lets a timer fire", () => {
  const meter = Meter.makeUnsafe({ maxAtOnce: 10 })
  const one = () => Effect.void

  it.each<readonly [string, Effect.Effect<unknown, unknown>]>([
    ["metered", Meter.metered(Effect.succeed(1), meter)],
    ["metered, a rate", Meter.metered(Effect.succeed(1), Meter.makeUnsafe({ maxPerSecond: 1e9, maxBurst: 1e9 }))],
    ["metered, a failing task", Effect.exit(Meter.metered(Effect.fail("bad"), meter))],
    ["acquire", Effect.scoped(Meter.acquire(meter))],
    ["runOnEach", runOnEach([1], one)],
    ["runAll", runAll([1], one)],
    ["runAll under a meter", runAll([1], one, { meter })],
    ["runAny", runAny([1], one)],
    ["amap", Stream.runDrain(amap([1], one))]
  ])(
    "%s",
    async (_, call) => {
      for (const loops of [1, 3]) {
        let stop = false
        let calls = 0
        setTimeout(() => {
          stop = true
        }, 0)
        const loop = async () => {
          while (!stop && calls < MANY) {
            calls++
            await Effect.runPromise(call)
          }
        }
        await Promise.all(Array.from({ length: loops }, loop))
        expect(calls, `${loops} loops`).toBeLessThan(MANY)
        expect(meter).toSatisfy(() => Effect.runSync(Meter.snapshot(meter)).running === 0)
      }
    },
    60_000
  )
})

describe("G14 where tasks are slow", () => {
  let time = performance.now()
  afterEach(() => void vi.restoreAllMocks())

  /** Every call of what this returns takes ten milliseconds, without taking them. */
  const slowness = (): (() => void) => {
    time = Math.max(time, performance.now())
    vi.spyOn(performance, "now").mockImplementation(() => time)
    return () => {
      time += 10
    }
  }

  /** How many of the tasks started in each turn of the event loop. */
  const perTurn = async (
    count: number,
    run: (task: () => void) => Promise<unknown>
  ): Promise<ReadonlyArray<number>> => {
    const turns = [0]
    let isOver = false
    const turn = () => {
      turns.push(0)
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    await run(() => void turns[turns.length - 1]!++)
    isOver = true
    expect(turns.reduce((a, b) => a + b)).toBe(count)
    return turns
  }

  it.each(limits)("slow tasks after cheap ones do not block the event loop, $name", async ({ make }) => {
    const slow = slowness()
    await Effect.runPromise(runAll(indices(5000), () => Effect.void, make()))
    const turns = await perTurn(30, (count) =>
      Effect.runPromise(
        runAll(
          indices(30),
          () =>
            Effect.sync(() => {
              count()
              slow()
            }),
          make()
        )
      )
    )
    expect(Math.max(...turns)).toBeLessThanOrEqual(3)
  })

  it("a fiber that calls metered in a loop yields between them, long before Effect's scheduler would make it", async () => {
    const slow = slowness()
    const meter = Meter.makeUnsafe({ maxAtOnce: 10 })
    const turns = await perTurn(200, (count) => {
      const task = Effect.sync(() => {
        count()
        slow()
      })
      return Effect.runPromise(Effect.forEach(indices(200), () => Meter.metered(task, meter), { discard: true }))
    })
    expect(Math.max(...turns)).toBeLessThanOrEqual(66)
  })

  it("synchronous programs stay synchronous", () => {
    const slow = slowness()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    const task = Effect.sync(slow)
    for (let n = 0; n < 100; n++) {
      expect(Effect.runSync(Effect.as(Meter.metered(task, meter), n))).toBe(n)
      expect(Effect.runSync(runAll([n, n], (n) => Effect.as(task, n)))).toEqual([n, n])
      expect(Effect.runSync(Effect.scoped(Effect.as(Meter.acquire(meter), n)))).toBe(n)
    }
    const scope = Scope.makeUnsafe()
    Effect.runSync(Scope.provide(Meter.acquire(meter), scope))
    for (let n = 0; n < 100; n++) Effect.runSync(Meter.metered(task, Meter.makeUnsafe({ maxAtOnce: 1 })))
    expect(Effect.runSync(Effect.as(Scope.close(scope, Exit.void), "released"))).toBe("released")
  })

  it("a result is not lost by an interruption while its call yields", async () => {
    const slow = slowness()
    const meter = Meter.makeUnsafe({ maxAtOnce: 1 })
    for (let n = 0; n < 20; n++) {
      let ended = false
      const task = Meter.metered(
        Effect.sync(() => {
          slow()
          ended = true
          return n
        }),
        meter
      )
      const fiber = Effect.runFork(Effect.exit(Effect.uninterruptible(task)))
      fiber.interruptUnsafe()
      expect(ended).toBe(true)
      const exit = await Effect.runPromise(Fiber.await(fiber))
      if (Exit.isSuccess(exit)) expect(exit.value).toEqual(Exit.succeed(n))
      expect(Effect.runSync(Meter.snapshot(meter)).running).toBe(0)
    }
  })
})

describe("G14 at the beginning of a turn of the event loop, no start is deferred", () => {
  /** So long that the time would be a long turn, were the program not idle. */
  const idle = () => new Promise((resolve) => setTimeout(resolve, 10))
  // Each several times: what is noted of one turn must not tell in the next.
  const rounds = Array.from({ length: 5 }, (_, round) => round)

  /** A meter of two with three more calls than `held`, after idle time. */
  const queue = async (held: number, isPaused: boolean) => {
    const meter = Meter.makeUnsafe({ maxAtOnce: 2 })
    const ends = Array.from({ length: held + 3 }, () => Deferred.makeUnsafe<void>())
    let running = 0
    const start = (end: Deferred.Deferred<void>) =>
      Effect.runFork(
        Meter.metered(
          Effect.suspend(() => {
            running++
            return Effect.onExit(Deferred.await(end), () => Effect.sync(() => running--))
          }),
          meter
        )
      )
    const fibers = ends.slice(0, held).map(start)
    if (isPaused) Effect.runSync(Meter.pause(meter))
    fibers.push(...ends.slice(held).map(start))
    await idle()
    const end = async () => {
      Effect.runSync(Meter.resume(meter))
      for (const end of ends) Deferred.doneUnsafe(end, Effect.void)
      await Effect.runPromise(Fiber.awaitAll(fibers))
      expect(running).toBe(0)
    }
    return { end, ends, fibers, meter, running: () => running }
  }

  it.each(rounds)("a call after idle time starts within it, round %i", async () => {
    const { end, running } = await queue(0, false)
    expect(running()).toBe(2)
    await end()
  })

  it.each(rounds)("waiters start within the call of resume, round %i", async () => {
    const { end, meter, running } = await queue(0, true)
    expect(running()).toBe(0)
    Effect.runSync(Meter.resume(meter))
    expect(running()).toBe(2)
    await end()
  })

  it.each(rounds)("waiters start within the call of resize, round %i", async () => {
    const { end, meter, running } = await queue(2, false)
    Effect.runSync(Meter.resize(meter, { maxAtOnce: 4 }))
    expect(running()).toBe(4)
    await end()
  })

  it.each(rounds)("a waiter starts in the step in which a task ends, round %i", async () => {
    const { end, ends, running } = await queue(2, false)
    Deferred.doneUnsafe(ends[0]!, Effect.void)
    expect(running()).toBe(2)
    await end()
  })
})
