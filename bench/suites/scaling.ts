/** Whether a task costs more where there are more of them: ours against ourselves. */
import {
  amap as amapPromise,
  createMeter,
  runAll as runAllPromise,
  runAny as runAnyPromise,
  runOnEach as runOnEachPromise
} from "@fibermeter/promise"
import { Effect, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "fibermeter"
import pLimit from "p-limit"
import { bareQueue } from "../lib/bareQueue.ts"
import { calls } from "../lib/compare.ts"
import type { Contender } from "../lib/compare.ts"
import { line, report } from "../lib/comparisons.ts"
import type { Outcome, Race } from "../lib/comparisons.ts"
import { range } from "../lib/range.ts"
import type { Scale, Suite } from "../lib/suite.ts"
import { firstOf } from "./overhead.ts"

const limit = { maxAtOnce: 10 }

const atOnce = async (n: number): Promise<number> => {
  calls.count++
  return n
}

const effect = (n: number) => Effect.promise(() => atOnce(n))

const failure = new Error("not the last")

/** All of them have to fail but the last, or there would be nothing to run. */
const lastAtOnce = (n: number) => async (i: number) => {
  calls.count++
  if (i < n - 1) throw failure
  return i
}
const lastEffect = (n: number) => (i: number) =>
  Effect.suspend(() => {
    calls.count++
    return i < n - 1 ? Effect.fail(failure) : Effect.succeed(i)
  })

type Work = (n: number) => Promise<unknown>

const verbs: Readonly<Record<string, Work>> = {
  "promise runOnEach": (n) => runOnEachPromise(range(n), atOnce, limit),
  "promise runAll": (n) => runAllPromise(range(n), atOnce, limit),
  "promise amap": async (n) => {
    for await (const _ of amapPromise(range(n), atOnce, limit));
  },
  "promise runAny": (n) => runAnyPromise(range(n), lastAtOnce(n), limit),
  "core runOnEach": (n) => Effect.runPromise(runOnEach(range(n), effect, limit)),
  "core runAll": (n) => Effect.runPromise(runAll(range(n), effect, limit)),
  "core amap": (n) => Effect.runPromise(Stream.runDrain(amap(range(n), effect, limit))),
  "core runAny": (n) => Effect.runPromise(runAny(range(n), lastEffect(n), limit))
}

const waiters: Readonly<Record<string, Work>> = {
  "promise meter.run": (n) => {
    const meter = createMeter(limit)
    return Promise.all(Array.from(range(n), (i) => meter.run(() => atOnce(i))))
  },
  "core metered": (n) => {
    const meter = Meter.makeUnsafe(limit)
    const all = { concurrency: "unbounded", discard: true } as const
    return Effect.runPromise(Effect.forEach(range(n), (i) => Meter.metered(effect(i), meter), all))
  }
}

/** What waiting costs others, and at the very least: what is left of the ratio is the garbage collector's and the caches'. */
const yardsticks: Readonly<Record<string, Work>> = {
  "p-limit": (n) => {
    const run = pLimit(limit.maxAtOnce)
    return Promise.all(Array.from(range(n), (i) => run(() => atOnce(i))))
  },
  "a bare queue": (n) => {
    const run = bareQueue(limit.maxAtOnce)
    return Promise.all(Array.from(range(n), (i) => run(() => atOnce(i))))
  }
}

/** As many tasks either way: in one call, or in calls of `few` one after the other. */
const race = (name: string, unit: string, work: Work, many: number, few: number, reach?: number): Race => {
  const repeat =
    (n: number): Contender =>
    async () => {
      for (let done = 0; done < many; done += n) await work(n)
    }
  return {
    work: `${name}, ${many.toLocaleString("en-GB")} ${unit}`,
    against: `${few.toLocaleString("en-GB")} ${unit}`,
    ...(reach === undefined ? {} : { reach }),
    tasks: many,
    ours: repeat(many),
    theirs: repeat(few)
  }
}

const sizes = { full: 1, quick: 0.2, smoke: 0.001 } as const

export const races = (scale: Scale): ReadonlyArray<Race> => {
  const size = sizes[scale]
  const times = 1000 * size
  return [
    ...Object.entries(verbs).map(([name, work]) => race(name, "tasks", work, 1_000_000 * size, 10_000 * size, 1.2)),
    ...Object.entries(waiters).map(([name, work]) => race(name, "waiters", work, 100_000 * size, 10_000 * size, 1.3)),
    ...Object.entries(yardsticks).map(([name, work]) => race(name, "waiters", work, 100_000 * size, 10_000 * size)),
    {
      work: "promise amap, first result of 1,000,000 lazy items",
      against: "of 1,000 lazy items",
      reach: 1.2,
      tasks: times,
      ours: firstOf(times, () => amapPromise(range(1_000_000), atOnce, limit)),
      theirs: firstOf(times, () => amapPromise(range(1000), atOnce, limit))
    }
  ]
}

export const scaling: Suite<Outcome> = {
  name: "scaling",
  lines: (scale: Scale) => races(scale).map((each) => line(scale, each)),
  report: (outcomes) =>
    report(
      "Scaling: many / few, time per task",
      [
        "Ours compared with itself: the same number of tasks in one call and in many consecutive calls. 10 at once. At 1, a task costs the same in both.",
        "`p-limit`, and `a bare queue`, in which promises only wait in an array, are measured in the same way, to show the effect of the machine: 100,000 waiters exceed the garbage collector's young generation and the CPU caches."
      ],
      2.2,
      outcomes
    )
}
