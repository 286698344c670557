/** What a task costs beyond itself: ours against what people would pick instead. */
import {
  amap as amapPromise,
  createMeter,
  runAll as runAllPromise,
  runOnEach as runOnEachPromise
} from "@fibermeter/promise"
import { PromisePool } from "@supercharge/promise-pool"
import { Effect, Fiber, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runOnEach } from "fibermeter"
import pLimit from "p-limit"
import pMap, { pMapIterable } from "p-map"
import { bareQueue } from "../lib/bareQueue.ts"
import { calls, stopwatch } from "../lib/compare.ts"
import type { Contender, Elapsed } from "../lib/compare.ts"
import { line, report } from "../lib/comparisons.ts"
import type { Outcome, Race } from "../lib/comparisons.ts"
import { range } from "../lib/range.ts"
import type { Scale, Suite } from "../lib/suite.ts"

const maxAtOnce = 10
const limit = { maxAtOnce }
const concurrency = { concurrency: maxAtOnce }
/** As many results unread as ours allows, in the order of their coming as ours gives them. */
const likeAmap = { concurrency: maxAtOnce, backpressure: 2 * maxAtOnce, preserveOrder: false }

// --- tasks -----------------------------------------------------------------------------------------------------------

const atOnce = async (n: number): Promise<number> => {
  calls.count++
  return n
}

const macrotask = (n: number): Promise<number> => {
  calls.count++
  return new Promise((resolve) => setImmediate(resolve, n))
}

const promised = {
  "resolve at once": atOnce,
  "after a macrotask": macrotask
}

/** Reads its signal, and that alone. */
const heed = (signal: AbortSignal): void => {
  if (signal.aborted) throw new Error("aborted, though nobody has")
}

const effects = {
  "Effect.succeed": (n: number) => {
    calls.count++
    return Effect.succeed(n)
  },
  "Effect.sync": (n: number) =>
    Effect.sync(() => {
      calls.count++
      return n
    }),
  "resolved promises": (n: number) => Effect.promise(() => atOnce(n)),
  macrotasks: (n: number) => Effect.promise(() => macrotask(n))
}

// --- the facade ------------------------------------------------------------------------------------------------------

const facade = (items: ReadonlyArray<number>): ReadonlyArray<Race> => {
  const tasks = items.length
  const each = (make: (kind: keyof typeof promised, task: (n: number) => Promise<number>) => Omit<Race, "tasks">) =>
    Object.entries(promised).map(([kind, task]) => ({ ...make(kind as keyof typeof promised, task), tasks }))
  return [
    ...each((kind, task) => ({
      work: `promise runAll, ${kind}`,
      against: "p-map",
      reach: kind === "resolve at once" ? 0.5 : 0.8,
      ours: () => ended(runAllPromise(items, task, limit)),
      theirs: () => ended(pMap(items, task, concurrency))
    })),
    ...each((kind, task) => ({
      work: `promise runAll, tasks read signal, ${kind}`,
      against: "p-map with signal",
      reach: 1,
      ours: () => ended(runAllPromise(items, (n, { signal }) => (heed(signal), task(n)), limit)),
      theirs: () => {
        const { signal } = new AbortController()
        return ended(pMap(items, (n) => (heed(signal), task(n)), { ...concurrency, signal }))
      }
    })),
    ...each((kind, task) => ({
      work: `promise runAll, tasks read signal, ${kind}`,
      against: "p-map, an AbortController a task",
      ours: () => ended(runAllPromise(items, (n, { signal }) => (heed(signal), task(n)), limit)),
      theirs: () => ended(pMap(items, (n) => (heed(new AbortController().signal), task(n)), concurrency))
    })),
    ...each((kind, task) => ({
      work: `promise amap, ${kind}`,
      against: "pMapIterable, unordered",
      reach: kind === "resolve at once" ? 0.5 : 0.8,
      ours: () => readAll(amapPromise(items, task, limit)),
      theirs: () => readAll(pMapIterable(items, task, likeAmap))
    })),
    ...each((kind, task) => ({
      work: `promise amap ordered, ${kind}`,
      against: "pMapIterable as it comes",
      reach: kind === "resolve at once" ? 0.5 : 0.8,
      ours: () => readAll(amapPromise(items, task, { ...limit, ordered: true })),
      theirs: () => readAll(pMapIterable(items, task, concurrency))
    })),
    {
      work: "promise meter.run, all queued at once",
      against: "p-limit",
      reach: 0.6,
      tasks,
      ours: limited(items, () => createMeter(limit).run),
      theirs: limited(items, () => pLimit(maxAtOnce))
    },
    {
      // The least that this can take: callers' contexts are kept as ours does.
      work: "a bare queue that keeps async contexts",
      against: "p-limit",
      tasks,
      ours: limited(items, () => bareQueue(maxAtOnce, { keepsContext: true })),
      theirs: limited(items, () => pLimit(maxAtOnce))
    },
    ...each((kind, task) => ({
      work: `promise runOnEach, ${kind}`,
      against: "promise-pool",
      reach: 0.5,
      ours: () => runOnEachPromise(items, task, limit),
      theirs: () => ended(PromisePool.withConcurrency(maxAtOnce).for(items).dontStoreProcessedItems().process(task))
    }))
  ]
}

/** The garbage of so many waiters is most of what they cost: fewer would be another measurement. */
const queued = (items: ReadonlyArray<number>): Race => ({
  work: "promise meter.run, 100,000 queued at once",
  against: "a bare queue that keeps async contexts",
  reach: 1.1,
  tasks: items.length,
  ours: limited(items, () => createMeter(limit).run),
  theirs: limited(items, () => bareQueue(maxAtOnce, { keepsContext: true }))
})

/** All queued at once. */
const limited =
  (items: ReadonlyArray<number>, make: () => (task: () => Promise<number>) => Promise<number>): Contender =>
  () => {
    const run = make()
    return ended(Promise.all(items.map((n) => run(() => atOnce(n)))))
  }

const ended = async (promise: Promise<unknown>): Promise<void> => {
  await promise
}

const readAll = async (results: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of results);
}

// --- core ------------------------------------------------------------------------------------------------------------

const core = (items: ReadonlyArray<number>): ReadonlyArray<Race> => {
  const tasks = items.length
  type Kind = keyof typeof effects
  const verbs = (kind: Kind, reach: number, times = 1): ReadonlyArray<Race> => [
    {
      work: `core runOnEach, ${kind}`,
      against: "Effect.forEach, discard",
      reach,
      tasks,
      times,
      ours: run(() => runOnEach(items, effects[kind], limit)),
      theirs: run(() => Effect.forEach(items, effects[kind], { ...concurrency, discard: true }))
    },
    {
      work: `core runAll, ${kind}`,
      against: "Effect.forEach",
      reach,
      tasks,
      times,
      ours: run(() => runAll(items, effects[kind], limit)),
      theirs: run(() => Effect.forEach(items, effects[kind], concurrency))
    }
  ]
  const stream = (kind: Kind, reach: number): Race => ({
    work: `core amap, ${kind}`,
    against: "Stream.mapEffect, unordered",
    reach,
    tasks,
    ours: run(() => Stream.runDrain(amap(items, effects[kind], limit))),
    theirs: run(() =>
      Stream.runDrain(Stream.mapEffect(Stream.fromIterable(items), effects[kind], { ...concurrency, unordered: true }))
    )
  })
  return [
    ...verbs("resolved promises", 1),
    ...verbs("macrotasks", 1),
    ...verbs("Effect.succeed", 1.2, 20),
    ...verbs("Effect.sync", 2, 5),
    stream("Effect.sync", 0.2),
    stream("resolved promises", 0.4),
    stream("macrotasks", 0.45)
  ]
}

const run =
  (make: () => Effect.Effect<unknown, unknown>): Contender =>
  () =>
    ended(Effect.runPromise(make()))

/** Each of these fibers wants the meter, or the semaphore, for itself. */
const sharing = (fibers: ReadonlyArray<number>): Race => {
  const task = effects["resolved promises"]
  const all = { concurrency: "unbounded", discard: true } as const
  return {
    work: "core shared meter, every task a waiting fiber",
    against: "Semaphore.withPermit",
    reach: 0.1,
    tasks: fibers.length,
    ours: run(() => {
      const meter = Meter.makeUnsafe(limit)
      return Effect.forEach(fibers, (n) => Meter.metered(task(n), meter), all)
    }),
    theirs: run(() => {
      const semaphore = Semaphore.makeUnsafe(maxAtOnce)
      return Effect.forEach(fibers, (n) => semaphore.withPermit(task(n)), all)
    })
  }
}

/** Only the interruption is timed, not the start of what is interrupted. */
const cancelling = (items: ReadonlyArray<number>): Race => {
  const task = () => {
    calls.count++
    return Effect.never
  }
  const cancel =
    (make: () => Effect.Effect<unknown>): Contender =>
    async () => {
      const fiber = Effect.runFork(make())
      while (calls.count < items.length) await new Promise((resolve) => setImmediate(resolve))
      const elapsed = stopwatch()
      await Effect.runPromise(Fiber.interrupt(fiber))
      return elapsed()
    }
  return {
    work: "core cancelling running tasks",
    against: "interrupting Effect.forEach",
    reach: 1.2,
    tasks: items.length,
    ours: cancel(() => runOnEach(items, task)),
    theirs: cancel(() => Effect.forEach(items, task, { concurrency: "unbounded", discard: true }))
  }
}

// --- the first result ------------------------------------------------------------------------------------------------

/** From the call to its first result, over and over; what comes after that is not timed. */
export const firstOf =
  (times: number, make: () => AsyncIterator<unknown>): Contender =>
  async () => {
    let sum: Elapsed = { wall: 0, cpu: 0 }
    for (let i = 0; i < times; i++) {
      const elapsed = stopwatch()
      const results = make()
      const first = await results.next()
      const { cpu, wall } = elapsed()
      sum = { wall: sum.wall + wall, cpu: sum.cpu + cpu }
      if (first.done === true) throw new Error("there was no first result")
      await results.return!()
    }
    // However many each of them starts meanwhile, what is compared is one first result.
    calls.count = times
    return sum
  }

const first = (times: number, items: number): Race => ({
  work: `promise amap, first result of ${items.toLocaleString("en-GB")} lazy items`,
  against: "pMapIterable, unordered",
  reach: 1,
  tasks: times,
  ours: firstOf(times, () => amapPromise(range(items), atOnce, limit)),
  theirs: firstOf(times, () => pMapIterable(range(items), atOnce, likeAmap)[Symbol.asyncIterator]())
})

// --- all of it -------------------------------------------------------------------------------------------------------

const sizes = { full: 100_000, quick: 20_000, smoke: 200 } as const

const numbers = (length: number): ReadonlyArray<number> => Array.from({ length }, (_, i) => i)

export const races = (scale: Scale): ReadonlyArray<Race> => {
  const tasks = sizes[scale]
  return [
    ...facade(numbers(tasks)),
    queued(numbers(scale === "smoke" ? tasks : 100_000)),
    ...core(numbers(tasks)),
    sharing(numbers(tasks / 10)),
    cancelling(numbers(tasks / 10)),
    first(tasks / 100, 1_000_000)
  ]
}

export const overhead: Suite<Outcome> = {
  name: "overhead",
  lines: (scale: Scale) => races(scale).map((race) => line(scale, race)),
  report: (outcomes) =>
    report(
      "Overhead: ours / theirs",
      [
        "10 at once. Below 1, ours is faster. Each line is a process in which both alternate, 11 rounds after 2 warm-up rounds. The ratio is that of the medians, with the minimum and maximum of all rounds. `by CPU time`: the ratio of the CPU time of the thread, on which other load on the machine has less effect.",
        "`p-map with signal`: one signal for the whole call, which the mapper reads; ours creates one for each task. `pMapIterable, unordered`: `preserveOrder: false` and a `backpressure` of 20, the default of ours; `as it comes`: without these options. `a bare queue that keeps async contexts`: only promises that wait in an array, each task in its caller's context: the minimum cost of `meter.run`. `promise-pool`: without keeping the processed items. `Stream.mapEffect`: unordered, with its default buffer. All other options have their defaults."
      ],
      2.2,
      outcomes
    )
}
