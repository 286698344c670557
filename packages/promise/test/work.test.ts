/**
 * The work per task, counted and not timed: it is the same for a hundred tasks and for ten thousand, and for one waiter and
 * ten thousand.
 *
 * Each table has the most that a task may need of what a program pays for: timers, readings of the clock, steps, fibers,
 * promises, async contexts. The same bound for several numbers, with a small constant, means that it does not grow. How
 * often the code itself runs is counted without bounds: it may only grow in proportion.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { Limits, Options, TaskContext } from "../src/index.ts"
import { expectAllSeen } from "../../fibermeter/test/support/Tally.ts"
import { expectLinearCode } from "../../fibermeter/test/support/linearCode.ts"
import { expectNoUnhandledRejection, listeners, useVirtualTime } from "./support.ts"
import { expectForEach, finish, promisesForATimer, see, turn } from "./support/work.ts"
import type { Work } from "./support/work.ts"

// To count ten thousand of anything one by one takes time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

useVirtualTime()
expectNoUnhandledRejection()

const sizes = [100, 1000, 10_000]
/** For scenarios that differ little from one that is counted for ten thousand. */
const fewer = [100, 1000]

const range = (count: number): Array<number> => Array.from({ length: count }, (_, index) => index)

interface Verb {
  readonly name: string
  readonly run: (
    items: Iterable<number>,
    task: (item: number, context: TaskContext) => unknown,
    options?: Options
  ) => Promise<unknown>
  /** How many promises it makes for each result. */
  readonly promises: number
}

const read = async (results: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of results) continue
}

const verbs: ReadonlyArray<Verb> = [
  { name: "runOnEach", run: (items, task, options) => runOnEach(items, task, options), promises: 0 },
  { name: "runAll", run: (items, task, options) => runAll(items, task, options), promises: 0 },
  { name: "amap", run: (items, task, options) => read(amap(items, task, options)), promises: 2 },
  {
    name: "amap in order",
    run: (items, task, options) => read(amap(items, task, { ...options, ordered: true })),
    promises: 2
  },
  { name: "runAny", run: (items, task, options) => runAny(items, task, options), promises: 0 }
]

describe("the work for a task does not grow with the number of tasks", () => {
  interface Limit {
    readonly name: string
    readonly counts: ReadonlyArray<number>
    readonly make: () => Options
    /** The work of a task that returns a value, and of one that returns a promise. */
    readonly plain: Partial<Work>
    readonly promised: Partial<Work>
    /** How many limits need a timer. */
    readonly timed: number
  }
  const limits: ReadonlyArray<Limit> = [
    {
      name: "no limit",
      counts: sizes,
      make: () => ({}),
      plain: {},
      promised: {},
      timed: 0
    },
    {
      name: "maxAtOnce",
      counts: sizes,
      make: () => ({ maxAtOnce: 10 }),
      plain: {},
      promised: {},
      timed: 0
    },
    {
      name: "a shared meter",
      counts: sizes,
      make: () => ({ meter: createMeter({ maxAtOnce: 10 }) }),
      plain: {},
      promised: {},
      timed: 0
    },
    {
      name: "two meters",
      counts: fewer,
      make: () => ({ meter: [createMeter({ maxAtOnce: 10 }), createMeter({ maxAtOnce: 100 })] }),
      plain: {},
      // The first of a set in front of a closed meter reads the clock once: room is kept in proportion to its wait.
      promised: { reads: 1 },
      timed: 0
    },
    {
      name: "maxPerSecond",
      counts: fewer,
      make: () => ({ maxPerSecond: 1000 }),
      plain: { timers: 1, reads: 4 },
      promised: { timers: 1, reads: 5 },
      timed: 1
    },
    {
      name: "a window",
      counts: fewer,
      make: () => ({ windows: { requests: { limit: 10, per: 1000 } } }),
      // One timer admits a whole window.
      plain: { timers: 0.1, reads: 2.2 },
      promised: { timers: 0.1, reads: 3.2 },
      timed: 1
    },
    {
      name: "maxPerSecond and a slower meter",
      counts: fewer,
      make: () => ({ maxPerSecond: 1000, meter: createMeter({ maxPerSecond: 900 }) }),
      // One wait after the other, except for waits that end in the same millisecond.
      plain: { timers: 1.5, reads: 12 },
      promised: { timers: 1.5, reads: 13 },
      timed: 2
    }
  ]
  const tasks = [
    { gives: "a value", makes: "plain", after: undefined },
    { gives: "a promise that has resolved", makes: "promised", after: async () => {} },
    { gives: "a promise that resolves in a later turn", makes: "promised", after: turn }
  ] as const

  describe.each(limits)("under $name", ({ counts, make, timed, ...forEach }) => {
    describe.each(tasks)("of tasks that return $gives", ({ after, makes }) => {
      it.each(verbs)("$name", async ({ name, promises, run }) => {
        for (const count of counts) {
          let calls = 0
          const end = (index: number): number => {
            // The last task of `runAny` succeeds.
            if (name === "runAny" && index < count - 1) throw index
            return index
          }
          const task = (index: number): unknown => {
            calls++
            return after === undefined ? end(index) : after().then(() => end(index))
          }
          const { mostArmed, work } = await see(() => {
            const promise = run(range(count), task, make())
            return timed === 0 ? promise : finish(promise)
          })
          expect(calls).toBe(count)
          const each = forEach[makes]
          expectForEach(count, work, {
            ...each,
            // Two are the task's own, and one observes its end.
            promises: promises + (after === undefined ? 0 : 3) + promisesForATimer * (each.timers ?? 0)
          })
          expect(mostArmed, "timers set at a time").toBeLessThanOrEqual(timed)
        }
      })
    })
  })

  it("a call that its first task decides does no work for the others", async () => {
    for (const count of sizes) {
      const items = range(count)
      const first = await see(() => runAny(items, async (item) => item, { maxAtOnce: 4 }))
      expectForEach(count, first.work, { elements: 0 })
      const failed = await see(() => runAll(items, () => Promise.reject(0), { maxAtOnce: 4 }).catch(() => {}))
      expectForEach(count, failed.work, { elements: 0 })
      const read = await see(async () => {
        for await (const _ of amap(items, async (item) => item, { maxAtOnce: 4 })) break
      })
      expectForEach(count, read.work, { elements: 0 })
    }
  })

  it("results that are all requested at once", async () => {
    for (const count of sizes) {
      const { work } = await see(() => {
        const results = amap(range(count), turn, { maxAtOnce: 10 })
        return Promise.all(range(count).map(() => results.next()))
      })
      expectForEach(count, work, { promises: 6 })
    }
  })

  it.each(["the caller aborts", "one of them fails", "the reader leaves", "the meter is closed"])(
    "running tasks that are cancelled, as %s",
    async (why) => {
      for (const count of sizes) {
        const controller = new AbortController()
        const meter = createMeter({})
        let calls = 0
        let fail = (_: unknown): void => {}
        const task = (): Promise<never> => {
          calls++
          return new Promise((_, reject) => {
            fail = reject
          })
        }
        const { work } = await see(async (tally) => {
          const results = amap(range(count), task, { signal: controller.signal, meter })
          const next = results.next()
          next.catch(() => {})
          tally.begin()
          if (why === "the caller aborts") controller.abort()
          else if (why === "one of them fails") fail(0)
          else if (why === "the meter is closed") void meter.close()
          else await results.return?.()
          await finish(next)
        })
        expect(calls).toBe(count)
        expectForEach(count, work, {})
      }
    }
  )
})

describe("the work for a waiter does not grow with the number of waiters", () => {
  interface Queue {
    readonly name: string
    readonly counts: ReadonlyArray<number>
    readonly limits: Limits
    readonly passing: Partial<Work>
    readonly leaving: Partial<Work>
    /** How many limits need a timer. */
    readonly timed: number
  }
  // Five promises for each: the call's, two of the task, one that observes its end, and one of the test.
  const passing = { captures: 1, promises: 5 }
  const paced = { ...passing, timers: 1, reads: 4, promises: 5 + promisesForATimer }
  const leaving = { promises: 3 }
  const queues: ReadonlyArray<Queue> = [
    { name: "at once", counts: sizes, limits: { maxAtOnce: 3 }, passing, leaving, timed: 0 },
    {
      name: "a second",
      counts: sizes,
      limits: { maxPerSecond: 1000 },
      passing: paced,
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "at once and a second",
      counts: fewer,
      limits: { maxAtOnce: 3, maxPerSecond: 1000 },
      passing: paced,
      leaving: { ...leaving, reads: 1 },
      timed: 1
    },
    {
      name: "in a window",
      counts: fewer,
      limits: { windows: { requests: { limit: 10, per: 1000 } } },
      // One timer admits a whole window.
      passing: { ...passing, timers: 0.1, reads: 3.1, promises: 5.4 },
      leaving: { ...leaving, reads: 1 },
      timed: 1
    }
  ]
  describe.each(queues)("on a meter with limits $name", ({ counts, leaving, limits, passing, timed }) => {
    it("when all pass, one after the other", async () => {
      for (const count of counts) {
        let passed = 0
        const task = (): Promise<void> => turn().then(() => void passed++)
        const { mostArmed, work } = await see(() => {
          const meter = createMeter(limits)
          const all = Promise.all(range(count).map(() => meter.run(task)))
          return timed === 0 ? all : finish(all)
        })
        expect(passed).toBe(count)
        expectForEach(count, work, passing)
        expect(mostArmed, "timers set at a time").toBeLessThanOrEqual(timed)
      }
    })

    const orders = [
      {
        from: "the middle",
        sizes: counts,
        nth: (n: number, count: number) => (Math.floor(count / 2) + n * 7919) % count
      },
      { from: "the front", sizes: fewer, nth: (n: number) => n },
      { from: "the back", sizes: fewer, nth: (n: number, count: number) => count - 1 - n }
    ]
    it.each(orders)("when they are aborted, from $from", async ({ nth, sizes }) => {
      for (const count of sizes) {
        const meter = createMeter(limits)
        const controllers = range(count).map(() => new AbortController())
        let rejected = 0
        const { work } = await see(async (tally) => {
          const ends: Array<Promise<void>> = []
          const end = Promise.withResolvers<void>()
          for (const { signal } of controllers) {
            ends.push(meter.run(() => end.promise, { signal }).catch(() => void rejected++))
          }
          const { running, waiting } = meter.snapshot()
          expect(waiting).toBe(count - running)
          tally.begin()
          for (let n = 0; n < count; n++) {
            const i = nth(n, count)
            if (i >= running) controllers[i]!.abort(0)
          }
          expect(meter.snapshot().waiting).toBe(0)
          // The timer is cleared with the last waiter, not when all tasks have ended.
          expect(tally.armed.size, "timers left").toBe(0)
          end.resolve()
          await Promise.all(ends)
          expect(rejected).toBe(waiting)
        })
        expectForEach(count, work, leaving)
        expect(controllers.filter(({ signal }) => listeners(signal) > 0)).toEqual([])
      }
    })

    it.each(["clear", "close"] as const)("when %s is called on the meter", async (how) => {
      for (const count of fewer) {
        let rejected = 0
        const { work } = await see(async (tally) => {
          const meter = createMeter(limits)
          const ends = range(count).map(() => meter.run(turn).catch(() => void rejected++))
          tally.begin()
          void meter[how]()
          expect(meter.snapshot().waiting).toBe(0)
          await Promise.all(ends)
        })
        expect(rejected).toBeGreaterThan(0)
        expectForEach(count, work, leaving)
      }
    })
  })

  describe("in calls that wait for two meters, the wider one open", () => {
    const calls = (count: number, task: () => unknown, options: (index: number) => Options): Array<Promise<void>> => {
      const narrow = createMeter({ maxAtOnce: 1 })
      const meter = [createMeter({ maxAtOnce: 1_000_000 }), narrow]
      return range(count).map((index) => runOnEach([0], task, { meter, ...options(index) }))
    }

    it("when all pass, one after the other", async () => {
      for (const count of sizes) {
        let passed = 0
        const task = (): Promise<void> => turn().then(() => void passed++)
        const { work } = await see(() => Promise.all(calls(count, task, () => ({}))))
        expect(passed).toBe(count)
        // The next waiter to be the first of the set reads the clock once.
        expectForEach(count, work, { reads: 1, captures: 1, promises: 6 })
      }
    })

    it.each(["the first first", "the last first"])("when they are aborted, %s", async (order) => {
      for (const count of sizes) {
        const controllers = range(count).map(() => new AbortController())
        const end = Promise.withResolvers<void>()
        let rejected = 0
        const { work } = await see(async (tally) => {
          const all = calls(
            count,
            () => end.promise,
            (index) => ({ signal: controllers[index]!.signal })
          )
          const ends = all.map((call) => call.catch(() => void rejected++))
          tally.begin()
          if (order === "the last first") controllers.reverse()
          for (const controller of controllers) controller.abort(0)
          await Promise.all(ends)
          end.resolve()
        })
        expect(rejected).toBe(count)
        expectForEach(count, work, { reads: 1, promises: 1 })
      }
    })
  })
})

it("the code that runs for a task or a waiter does not grow with their number", async () => {
  await expectLinearCode(new URL("support/count-work.ts", import.meta.url))
})

describe("timers", () => {
  it("are not set without a rate", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const { work } = await see(() =>
      Promise.all([
        ...range(1000).map(() => runOnEach(range(3), turn, { meter, maxAtOnce: 1 })),
        ...range(1000).map(() => meter.run(turn))
      ])
    )
    expect(work.timers).toBe(0)
    // Nothing needs to read a clock, either.
    expect(work.reads).toBe(0)
  })

  it("are not set for waiters that need not wait for a rate", async () => {
    const meter = createMeter({
      maxPerSecond: 1000,
      maxBurst: 1000,
      windows: { requests: { limit: 1000, per: 60_000 } }
    })
    const { work } = await see(() => Promise.all(range(1000).map(() => meter.run(turn))))
    expect(work.timers).toBe(0)
  })

  it("are set by the first waiter, and stay when others arrive or the first ones are aborted", async () => {
    for (const count of sizes) {
      const meter = createMeter({ maxPerSecond: 1 })
      const controllers = range(count).map(() => new AbortController())
      const { work } = await see(async (tally) => {
        const ends: Array<Promise<void>> = []
        for (const { signal } of controllers) {
          ends.push(meter.run(() => {}, { signal }).catch(() => {}))
          if (ends.length % 100 === 0) await turn()
        }
        expect(tally.armed.size, "timers set").toBe(1)
        for (const controller of controllers.slice(0, -1)) {
          controller.abort(0)
          if (tally.armed.size !== 1) expect.fail(`${tally.armed.size} timers armed`)
        }
        controllers.at(-1)!.abort(0)
        expect(tally.armed.size, "timers left").toBe(0)
        await Promise.all(ends)
      })
      expect(work.timers, `for ${count}`).toBe(1)
    }
  })

  it("are at most one for a meter, however many calls wait for it", async () => {
    const meter = createMeter({ maxAtOnce: 50, maxPerSecond: 200, maxBurst: 3 })
    const { mostArmed, work } = await see(() =>
      finish(
        Promise.all([
          ...range(300).map(() => meter.run(turn)),
          ...verbs.map(({ run }) => run(range(20), turn, { meter })),
          ...range(10).map(() => runOnEach(range(10), turn, { meter }))
        ])
      )
    )
    expect(work.timers).toBeGreaterThan(100)
    expect(mostArmed).toBe(1)
  })

  it("are at most one for each of several meters, in any combination of them", async () => {
    const [one, two, three] = [
      createMeter({ maxPerSecond: 90 }),
      createMeter({ maxPerSecond: 80 }),
      createMeter({ maxPerSecond: 70 })
    ]
    const combinations = [[one], [two], [three], [one, two], [three, one], [two, three], [one, two, three]]
    const { mostArmed } = await see(() =>
      finish(Promise.all(combinations.flatMap((meter) => range(20).map(() => runOnEach(range(2), turn, { meter })))))
    )
    expect(mostArmed).toBe(3)
  })

  it("are set once for a pause, and not for one without an end", async () => {
    const meter = createMeter({ maxAtOnce: 1000 })
    const { mostArmed, work } = await see(async (tally) => {
      meter.pause()
      const first = Promise.all(range(500).map(() => meter.run(turn)))
      await turn()
      expect(tally.armed.size, "timers, for ever").toBe(0)
      meter.resume()
      await first
      meter.pause(1000)
      await finish(Promise.all(range(500).map(() => meter.run(turn))))
    })
    expect(work.timers).toBe(1)
    expect(mostArmed).toBe(1)
  })

  it("are cleared when the rate is removed", async () => {
    const meter = createMeter({ maxPerSecond: 1 })
    const { work } = await see(async (tally) => {
      const call = runOnEach(range(100), turn, { meter })
      expect(tally.armed.size, "timers set").toBe(1)
      meter.resize({ maxPerSecond: Infinity })
      expect(tally.armed.size, "timers left").toBe(0)
      await call
    })
    expect(work.timers).toBe(1)
  })

  it("are armed for a report on the progress one at a time, by the time and not by the tasks", async () => {
    for (const count of fewer) {
      const sleeping = new Promise<void>((resolve) => setTimeout(resolve, 1050))
      let told = 0
      const onProgress = (): void => void told++
      const { mostArmed, work } = await see(() => finish(runOnEach(range(count), () => sleeping, { onProgress })))
      // Ten at their time, and the last at the end, by when another timer was armed.
      expect([told, work.timers, mostArmed], `for ${count}`).toEqual([11, 11, 1])
    }
  })

  it("are armed for a time limit by each attempt that runs, and taken back", async () => {
    for (const { run, name } of verbs) {
      if (name === "runAny") continue
      const { mostArmed, work } = await see(() => run(range(1000), turn, { maxAtOnce: 10, timeout: 1000 }))
      expect([work.timers, mostArmed], name).toEqual([1000, 10])
    }
  })
})

describe("async contexts", () => {
  const counts = [100, 1000, 5000]

  it.each(verbs)("$name captures one for a call on a shared meter, and none without one", async ({ run }) => {
    for (const count of counts) {
      const meter = createMeter({ maxAtOnce: 10 })
      const shared = await see(() => run(range(count), turn, { meter }))
      expect(shared.work.captures, `with a meter, for ${count}`).toBe(1)
      const own = await see(() => run(range(count), turn, { maxAtOnce: 10 }))
      expect(own.work.captures, `without, for ${count}`).toBe(0)
    }
  })

  it("none is captured for a task that starts at once", async () => {
    const meter = createMeter({ maxAtOnce: 1000 })
    const { work } = await see(() => Promise.all(range(1000).map(() => meter.run(turn))))
    expect(work.captures).toBe(0)
  })

  // Before, equal contexts cannot be recognised.
  const canTell = Number(process.versions.node.split(".")[0]) >= 24
  it.runIf(canTell)("waiters in the same context share one capture of it", async () => {
    const storage = new AsyncLocalStorage<string>()
    for (const count of counts) {
      const meter = createMeter({ maxAtOnce: 1 })
      const seen = new Map<string | undefined, number>()
      const queue = (): ReadonlyArray<Promise<unknown>> =>
        range(count).map(() =>
          meter.run(() => {
            seen.set(storage.getStore(), (seen.get(storage.getStore()) ?? 0) + 1)
            return turn()
          })
        )
      const { contexts } = await see(() =>
        Promise.all([...queue(), ...storage.run("one", queue), ...storage.run("two", queue)])
      )
      expect([...seen]).toEqual([
        [undefined, count],
        ["one", count],
        ["two", count]
      ])
      expect(contexts.size, `contexts kept, for ${count}`).toBe(3)
    }
  })
})

describe("abort controllers", () => {
  const meter = createMeter({ maxAtOnce: 3 })
  const looking = async (_: unknown, context: TaskContext): Promise<boolean> => {
    const { signal } = context
    await turn()
    // Twice is once.
    return signal === context.signal
  }

  it.each(verbs)("$name creates none, but one for each task that reads its signal", async ({ name, run }) => {
    const caller = new AbortController()
    const options: Options = { meter, maxAtOnce: 10, signal: caller.signal }
    for (const count of fewer) {
      const unread = await see(() => run(range(count), (item, { index }) => turn().then(() => item === index), options))
      expect(unread.work.controllers, `unread, for ${count}`).toBe(0)
      let calls = 0
      const read = await see(() =>
        run(
          range(count),
          (item, context) => {
            calls++
            return looking(item, context)
          },
          options
        )
      )
      expect(read.work.controllers, `read, for ${count}`).toBe(calls)
      if (name !== "runAny") expect(calls).toBe(count)
      const some = await see(() =>
        run(
          range(count),
          async (item, context) => {
            if (item % 10 === 9 && !(await looking(item, context))) return
            throw item
          },
          name === "runAny" ? options : ({ ...options, stopOnError: false, settled: true } as Options)
        ).catch(() => {})
      )
      expect(some.work.controllers, `read by one in ten, for ${count}`).toBe(count / 10)
    }
  })

  it("a meter's run creates none, but one for each task that reads its signal", async () => {
    const caller = new AbortController()
    const options = { signal: caller.signal }
    for (const count of fewer) {
      const unread = await see(() => Promise.all(range(count).map(() => meter.run(turn, options))))
      expect(unread.work.controllers, `unread, for ${count}`).toBe(0)
      const read = await see(() =>
        Promise.all(
          range(count).map((index) =>
            meter.run(async (context) => {
              await turn()
              return index % 10 === 0 && context.signal === context.signal
            }, options)
          )
        )
      )
      expect(read.work.controllers, `read by one in ten, for ${count}`).toBe(count / 10)
    }
    expect(listeners(caller.signal)).toBe(0)
  })

  it("none is created to cancel tasks, and one for each task that reads its signal afterwards", async () => {
    const caller = new AbortController()
    const aborted: Array<boolean> = []
    const { work } = await see(async (tally) => {
      const end = Promise.withResolvers<void>()
      const call = runOnEach(
        range(1000),
        async (item, context) => {
          await end.promise
          if (item % 10 === 0) aborted.push(context.signal.aborted)
        },
        { signal: caller.signal }
      )
      caller.abort(0)
      expect(await call.catch((reason: unknown) => reason)).toBe(0)
      expect(tally.work.controllers, "to cancel").toBe(0)
      end.resolve()
      await turn()
    })
    expect(aborted).toEqual(range(100).map(() => true))
    expect(work.controllers).toBe(100)
  })
})

describe("listeners on the caller's signal", () => {
  it.each(verbs)("$name puts one there for a call, and takes it away", async ({ run }) => {
    const { signal } = new AbortController()
    for (const count of fewer) {
      const { work } = await see(async () => {
        const call = run(range(count), turn, { signal, maxAtOnce: 10 })
        expect(listeners(signal), "while it runs").toBe(1)
        await call
      })
      expect(listeners(signal), "afterwards").toBe(0)
      expect(work.listeners, `for ${count}`).toBe(1)
    }
  })
})

describe("calls of a meter's run with the same signal", () => {
  it("put one listener there together", async () => {
    for (const count of sizes) {
      const meter = createMeter({ maxAtOnce: 1 })
      const { signal } = new AbortController()
      const { work } = await see(() => Promise.all(range(count).map(() => meter.run(turn, { signal }))))
      expect(work.listeners, `for ${count}`).toBe(1)
      expect(listeners(signal), "afterwards").toBe(0)
    }
  })
})

it("every kind of work is counted", async () => {
  const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 1000 })
  const { signal } = new AbortController()
  const { contexts, work } = await see(async () => {
    await finish(
      runOnEach(range(100), (_, context) => (context.signal.aborted ? undefined : turn()), { signal, meter })
    )
    // So many in a turn that the event loop gets one in between.
    await runOnEach(range(20_000), () => {})
  })
  expectAllSeen(work)
  expect(contexts.size).toBeGreaterThan(0)
})
