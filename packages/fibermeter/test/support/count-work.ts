/**
 * A program of its own that counts how often any stretch of code runs while a number of tasks is taken to its end, and
 * prints the counts. Loops inside a single step, which no scheduler or clock sees, are counted like everything else.
 *
 * It runs in its own process, since the counters are those that test coverage uses as well.
 */
import { Session } from "node:inspector/promises"
import { Effect, Semaphore, Stream } from "effect"
import { amap, Meter, runAll, runOnEach } from "../../src/index.ts"

type Scenario = (count: number) => Effect.Effect<unknown, unknown>

const indices = (count: number): Array<number> => Array.from({ length: count }, (_, index) => index)
const later = Effect.andThen(Effect.yieldNow, Effect.void)

const waiters =
  (make: () => Meter.Meter<unknown>, body: Effect.Effect<void>): Scenario =>
  (count) => {
    const meter = make()
    const one = Meter.metered(body, meter)
    return Effect.forEach(indices(count), () => one, { concurrency: "unbounded", discard: true })
  }

const leaving =
  (make: () => Meter.Meter): Scenario =>
  (count) =>
    Effect.timeoutOption(waiters(make, Effect.never)(count), 1)

const calls =
  (make: () => Meter.Meter): Scenario =>
  (count) => {
    const meter = make()
    return Effect.forEach(indices(count), () => runOnEach([0, 1], () => later, { meter }), {
      concurrency: "unbounded",
      discard: true
    })
  }

const scenarios: Record<string, Scenario> = {
  "waiters at once": waiters(() => Meter.makeUnsafe({ maxAtOnce: 3 }), later),
  "waiters at once and a second": waiters(() => Meter.makeUnsafe({ maxAtOnce: 3, maxPerSecond: 1e6 }), later),
  "waiters on a semaphore": waiters(() => Meter.fromSemaphore(Semaphore.makeUnsafe(3)), later),
  "waiters that leave": leaving(() => Meter.makeUnsafe({ maxAtOnce: 3 })),
  "calls that share a meter": calls(() => Meter.makeUnsafe({ maxAtOnce: 3 })),
  "tasks of runOnEach": (count) => runOnEach(indices(count), () => later, { maxAtOnce: 10 }),
  "tasks of runOnEach, without a limit": (count) => runOnEach(indices(count), () => later),
  "tasks of runOnEach, cancelled": (count) =>
    Effect.timeoutOption(
      runOnEach(indices(count), () => Effect.never),
      1
    ),
  "tasks of runAll": (count) => runAll(indices(count), () => later, { maxAtOnce: 10 }),
  "tasks of amap": (count) => Stream.runDrain(amap(indices(count), () => later, { maxAtOnce: 10 })),
  "tasks of amap, all of them unread": (count) => Stream.runDrain(amap(indices(count), Effect.succeed)),
  "tasks of amap, in reverse order": (count) =>
    Stream.runDrain(
      amap(indices(count), (index) => (index === 0 ? Effect.sleep(20) : later), { ordered: true, maxUnread: count })
    )
}

const session = new Session()
session.connect()
await session.post("Profiler.enable")
await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true })

const work = async (effect: Effect.Effect<unknown, unknown>): Promise<number> => {
  await session.post("Profiler.takePreciseCoverage")
  await Effect.runPromise(effect)
  const { result } = await session.post("Profiler.takePreciseCoverage")
  let sum = 0
  for (const { functions } of result) {
    for (const { ranges } of functions) for (const { count } of ranges) sum += count
  }
  return sum
}

const sizes = process.argv.slice(2).map(Number)
const counts: Record<string, Array<number>> = {}
for (const [name, scenario] of Object.entries(scenarios)) {
  // Once beforehand, so that what is done only the first time counts for none of them.
  await work(scenario(10))
  counts[name] = []
  for (const size of sizes) counts[name].push(await work(scenario(size)))
}
console.log(JSON.stringify(counts))
