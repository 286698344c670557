/**
 * The two limits at work, with the numbers of aiometer's example. It would run for ten minutes; on a `TestClock` it takes
 * a moment.
 */
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { runOnEach } from "fibermeter"

let running = 0
let peak = 0
let starts: Array<number> = []

const work = Effect.fn("work")(function* (seconds: number) {
  starts.push(yield* Clock.currentTimeMillis)
  running++
  peak = Math.max(peak, running)
  yield* Effect.sleep(seconds * 1000)
  running--
})
const makeQuery = (_query: string) => work(0.05)
const job = (_id: number) => work(10)

const queries = Array.from({ length: 1000 }, () => "SELECT * FROM authors")
const ids = Array.from({ length: 100 }, (_, id) => id)

/** Runs a program in virtual time and prints what was observed. */
const watch = Effect.fn("watch")(function* (what: string, program: Effect.Effect<void>) {
  running = 0
  peak = 0
  starts = []
  const begun = yield* Clock.currentTimeMillis
  const timed = yield* Effect.forkChild(Effect.andThen(program, Clock.currentTimeMillis))
  yield* TestClock.adjust("1 hour")
  const seconds = ((yield* Fiber.join(timed)) - begun) / 1000
  const gaps = starts.slice(1).map((start, i) => start - (starts[i] ?? 0))
  console.log(
    `${starts.length} ${what} in ${seconds} s, at most ${peak} at once, starts at least ${Math.min(...gaps)} ms apart`
  )
})

const program = Effect.gen(function* () {
  // At most 5 queries run at once:
  yield* watch("queries", runOnEach(queries, makeQuery, { maxAtOnce: 5 }))

  // At most 10 queries start per second:
  yield* watch("queries", runOnEach(queries, makeQuery, { maxPerSecond: 10 }))

  // At most 10 jobs run at once, and one starts every 5 seconds:
  yield* watch("jobs", runOnEach(ids, job, { maxAtOnce: 10, maxPerSecond: 0.2 }))
})

await Effect.runPromise(Effect.provide(program, TestClock.layer()))
