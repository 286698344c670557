/**
 * The contract as one table: every verb, under every kind of limit, with every ending. What must come out is
 * worked out beforehand from the reference model; each run is then checked for its results, the instants of its starts
 * and of its end, how many ran at once, what is left running, the permits, and how its source was left.
 */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schedule, Semaphore, Stream } from "effect"
import { amap, Meter } from "../src/index.ts"
import { type ModelLimits, startsOf } from "./support/model.ts"
import { observe, type Observed } from "./support/observe.ts"
import { Source, StreamSource } from "./support/Source.ts"
import { ms, range, Spy } from "./support/Spy.ts"
import { type TestMeters, type TestOptions, type Verb, verbs } from "./support/verbs.ts"

// ---------------------------------------------------------------------------------------------------------------------
// The limits
// ---------------------------------------------------------------------------------------------------------------------

interface Limit {
  readonly name: string
  /** What the model has to know. */
  readonly model: ReadonlyArray<ModelLimits>
  readonly make: () => {
    readonly options: TestOptions
    /** Checks that the meter can be used again to its full width. */
    readonly permitsBack?: Effect.Effect<void>
  }
}

const perSecond = (starts: number, burst = 1) => ({ rate: { starts, seconds: 1, burst } })

/** After an idle hour, six tasks of a second each start exactly as the model predicts: every permit has been released. */
const usableAtFullWidth = (meter: TestMeters, model: ReadonlyArray<ModelLimits>) =>
  Effect.gen(function* () {
    const spy = yield* Spy.make
    const idle = yield* observe(Effect.sleep("1 hour"))
    const again = yield* observe(verbs[0]!.run(range(6), spy.lasting(1000), { meter }))
    expect(again.exit).toEqual(Exit.void)
    const seconds = range(6).map(() => ms(1000))
    expect(spy.starts.map((at) => at - idle.end)).toEqual(startsOf(seconds, ...model))
  })

const shared = (name: string, model: ReadonlyArray<ModelLimits>, meters: () => TestMeters): Limit => ({
  name,
  model,
  make: () => {
    const meter = meters()
    return { options: { meter }, permitsBack: usableAtFullWidth(meter, model) }
  }
})

const limits: ReadonlyArray<Limit> = [
  { name: "no limit", model: [], make: () => ({ options: {} }) },
  { name: "maxAtOnce", model: [{ maxAtOnce: 2 }], make: () => ({ options: { maxAtOnce: 2 } }) },
  { name: "maxPerSecond", model: [perSecond(10)], make: () => ({ options: { maxPerSecond: 10 } }) },
  { name: "maxBurst", model: [perSecond(5, 5)], make: () => ({ options: { maxPerSecond: 5, maxBurst: 5 } }) },
  shared("a shared meter", [{ maxAtOnce: 2, ...perSecond(20) }], () =>
    Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 20 })
  ),
  {
    name: "a meter from a semaphore",
    model: [{ maxAtOnce: 2 }],
    make: () => {
      const semaphore = Semaphore.makeUnsafe(2)
      const meter = Meter.fromSemaphore(semaphore)
      const all = Effect.gen(function* () {
        expect(yield* semaphore.takeIfAvailable(2)).toBe(true)
        expect(yield* semaphore.takeIfAvailable(1)).toBe(false)
        yield* semaphore.release(2)
      })
      return {
        options: { meter },
        permitsBack: Effect.andThen(all, usableAtFullWidth(meter, [{ maxAtOnce: 2 }]))
      }
    }
  },
  shared("a meter from a schedule", [perSecond(10)], () => Meter.fromSchedule(Schedule.spaced("100 millis"))),
  shared("two meters", [{ maxAtOnce: 3 }, perSecond(10)], () => [
    Meter.makeUnsafe({ maxAtOnce: 3 }),
    Meter.makeUnsafe({ maxPerSecond: 10 })
  ]),
  {
    name: "a meter per item, the same for all",
    model: [{ maxAtOnce: 2, ...perSecond(20) }],
    make: () => {
      const meter = Meter.makeUnsafe({ maxAtOnce: 2, maxPerSecond: 20 })
      return {
        // With one waiter the source is read as far as with the meter itself.
        options: { meter: () => meter, maxPending: 1 },
        permitsBack: usableAtFullWidth(meter, [{ maxAtOnce: 2, ...perSecond(20) }])
      }
    }
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// The tasks, and what the model says of them
// ---------------------------------------------------------------------------------------------------------------------

/** Milliseconds that tasks take, in turn: no two ends, and no end and start of another, ever fall together. */
const lasts = (index: number): number => ([531, 212, 433, 117, 325, 646][index % 6] as number) + Math.floor(index / 6)

interface Case {
  readonly verb: Verb
  readonly limit: Limit
  /** How many tasks the source would hold, as far as the model needs them. */
  readonly size: number
  readonly duration: (index: number) => number
  /** The task that fails, if any. */
  readonly failing?: number
}

interface Timeline {
  readonly starts: ReadonlyArray<bigint>
  readonly ends: ReadonlyArray<bigint>
  /** The tasks in the order of their ends. */
  readonly finishing: ReadonlyArray<number>
}

const timelineOf = ({ duration, limit, size }: Pick<Case, "duration" | "limit" | "size">): Timeline => {
  const durations = range(size).map((index) => ms(duration(index)))
  const starts = startsOf(durations, ...limit.model)
  const ends = starts.map((at, index) => at + (durations[index] as bigint))
  // A task that takes no time may end together with the one whose permit it took, and then ends after it.
  const finishing = range(size).sort((a, b) => Number((ends[a] as bigint) - (ends[b] as bigint)) || a - b)
  const lasting = ends.filter((_, index) => duration(index) > 0)
  expect(new Set(lasting).size, "the table must not contain two ends at one instant").toBe(lasting.length)
  return { starts, ends, finishing }
}

/** The call is over at `at`, caused by task `by` (or from outside). */
interface Stop {
  readonly at: bigint
  readonly by: number
}

/** Everything that was to start before the stop; of what starts in the same instant, what came before its cause. */
const startedBefore = (timeline: Timeline, stop: Stop): Array<number> =>
  timeline.starts.flatMap((at, index) => (at < stop.at || (at === stop.at && index <= stop.by) ? [index] : []))

/** Whether a task had ended before the call was stopped. */
const finishedBefore =
  (timeline: Timeline, stop: Stop) =>
  (index: number): boolean =>
    index !== stop.by && (timeline.ends[index] as bigint) <= stop.at

/** What `amap` hands over of the tasks that ended before the stop. */
const readBefore = (verb: Verb, timeline: Timeline, finished: (index: number) => boolean): Array<number> => {
  switch (verb.name) {
    case "amap":
      return timeline.finishing.filter(finished)
    case "amap ordered": {
      const gap = timeline.ends.findIndex((_, index) => !finished(index))
      return range(gap === -1 ? timeline.ends.length : gap)
    }
    default:
      return []
  }
}

const mostAtOnce = (timeline: Timeline, started: ReadonlyArray<number>): number =>
  Math.max(
    0,
    ...started.map(
      (self) =>
        started.filter(
          (other) =>
            other <= self && (other === self || (timeline.ends[other] as bigint) > (timeline.starts[self] as bigint))
        ).length
    )
  )

// ---------------------------------------------------------------------------------------------------------------------
// Running a case, and the checks that every one of them gets
// ---------------------------------------------------------------------------------------------------------------------

class Boom {
  readonly index: number
  constructor(index: number) {
    this.index = index
  }
}

const bodies =
  (failing: number | undefined, how: "fail" | "die", duration: (index: number) => number) =>
  (_: unknown, index: number): Effect.Effect<number, Boom> => {
    const end =
      index !== failing
        ? Effect.succeed(index)
        : how === "fail"
          ? Effect.fail(new Boom(index))
          : Effect.die(new Boom(index))
    return duration(index) === 0 ? end : Effect.andThen(Effect.sleep(duration(index)), end)
  }

interface Outcome<A, E> extends Observed<A, E> {
  readonly spy: Spy
  readonly read: ReadonlyArray<number>
}

/** The checks that do not depend on how it ended. */
const audit = (
  outcome: Outcome<unknown, unknown>,
  timeline: Timeline,
  started: ReadonlyArray<number>,
  permitsBack: Effect.Effect<void> | undefined
): Effect.Effect<void> => {
  const { spy } = outcome
  expect(spy.started, "tasks that started, in order").toEqual(started)
  expect(spy.starts, "start instants").toEqual(started.map((index) => timeline.starts[index]))
  expect(spy.peak, "tasks at once").toBe(mostAtOnce(timeline, started))
  expect(spy.running, "tasks running afterwards").toBe(0)
  expect(outcome.fibers, "fibers left").toBe(0)
  expect(outcome.sleeps, "sleeps left").toBe(0)
  return permitsBack ?? Effect.void
}

const expectClosed = (source: Source<unknown>, started: number): void => {
  expect(source.opened, "iterators made").toBe(1)
  expect(source.disturbed, "calls of next() after the end").toBe(0)
  expect(source.closed, "calls of return()").toBe(source.closings)
  expect(source.handed - started, "items pulled and not used").toBeLessThanOrEqual(1)
}

const cutAt = (verb: Verb): number => (verb.name === "runAny" ? 90 : 250)

describe.each(verbs)("$name", (verb) => {
  describe.each(limits)("under $name", (limit) => {
    const { model: _, ...rest } = limit
    const run = (
      source: Iterable<number> | Stream.Stream<number, Boom>,
      body: (item: number, index: number) => Effect.Effect<number, Boom>,
      options: { readonly interruptAt?: number; readonly leaveAt?: number } = {}
    ) =>
      Effect.gen(function* () {
        const spy = yield* Spy.make
        const { options: limiting, permitsBack } = rest.make()
        const read: Array<number> = []
        const call = verb.run(source, spy.watch(body), limiting, (result) => read.push(result))
        const left = options.leaveAt === undefined ? Effect.asSome(call) : Effect.timeoutOption(call, options.leaveAt)
        const observed = yield* observe(left, options)
        return { permitsBack, outcome: { ...observed, spy, read } }
      })

    /** What the call came to when its tasks were `size`, none of them failing. */
    const expectDone = (outcome: Outcome<unknown, unknown>, timeline: Timeline): Stop => {
      expect(outcome.exit).toEqual(Exit.succeed(Option.some(undefined)))
      const winner = timeline.finishing[0] as number
      const last = timeline.finishing.at(-1) as number
      const all = range(timeline.ends.length)
      switch (verb.name) {
        case "runOnEach":
          expect(outcome.read).toEqual([])
          return { at: timeline.ends[last] as bigint, by: last }
        case "runAny":
          expect(outcome.read).toEqual([winner])
          return { at: timeline.ends[winner] as bigint, by: winner }
        case "runAll":
          expect(outcome.read).toEqual(all)
          return { at: timeline.ends[last] as bigint, by: last }
        default:
          expect(outcome.read).toEqual(readBefore(verb, timeline, () => true))
          return { at: timeline.ends[last] as bigint, by: last }
      }
    }

    it.effect("done: it has its results at the instants of the model, and no fibers, timers or permits are left", () =>
      Effect.gen(function* () {
        const timeline = timelineOf({ limit, size: 6, duration: lasts })
        const source = Source.indices(6)
        const { outcome, permitsBack } = yield* run(source, bodies(undefined, "fail", lasts))
        const stop = expectDone(outcome, timeline)
        expect(outcome.end).toBe(stop.at)
        const started = startedBefore(timeline, stop)
        expectClosed(source, started.length)
        yield* audit(outcome, timeline, started, permitsBack)
      })
    )

    for (const how of ["fail", "die"] as const) {
      const title =
        verb.name === "runAny"
          ? `a ${how === "fail" ? "failure" : "defect"}: is passed over for the first success`
          : `a ${how === "fail" ? "failure" : "defect"}: ends it at that instant, after what had finished before`
      it.effect(title, () =>
        Effect.gen(function* () {
          const timeline = timelineOf({ limit, size: 6, duration: lasts })
          const source = Source.indices(6)
          const { outcome, permitsBack } = yield* run(source, bodies(3, how, lasts))
          let stop: Stop
          if (verb.name === "runAny") {
            const winner = timeline.finishing.find((index) => index !== 3) as number
            expect(outcome.exit).toEqual(Exit.succeed(Option.some(undefined)))
            expect(outcome.read).toEqual([winner])
            stop = { at: timeline.ends[winner] as bigint, by: winner }
          } else {
            stop = { at: timeline.ends[3] as bigint, by: 3 }
            expect(outcome.exit).toEqual(how === "fail" ? Exit.fail(new Boom(3)) : Exit.die(new Boom(3)))
            expect(outcome.read).toEqual(readBefore(verb, timeline, finishedBefore(timeline, stop)))
          }
          expect(outcome.end).toBe(stop.at)
          const started = startedBefore(timeline, stop)
          expectClosed(source, started.length)
          yield* audit(outcome, timeline, started, permitsBack)
        })
      )
    }

    it.effect("interruption: ends it at that instant, with every task interrupted", () =>
      Effect.gen(function* () {
        const timeline = timelineOf({ limit, size: 6, duration: lasts })
        const source = Source.indices(6)
        const cut = cutAt(verb)
        const { outcome, permitsBack } = yield* run(source, bodies(undefined, "fail", lasts), { interruptAt: cut })
        const stop = { at: ms(cut), by: -1 }
        expect(Exit.isFailure(outcome.exit) && Cause.hasInterruptsOnly(outcome.exit.cause)).toBe(true)
        expect(outcome.end).toBe(stop.at)
        expect(outcome.read).toEqual(readBefore(verb, timeline, finishedBefore(timeline, stop)))
        const started = startedBefore(timeline, stop)
        const running = started.filter((index) => (timeline.ends[index] as bigint) > stop.at)
        expect(outcome.spy.interrupted.toSorted((a, b) => a - b)).toEqual(running)
        expectClosed(source, started.length)
        yield* audit(outcome, timeline, started, permitsBack)
      })
    )

    it.effect("early leave: stops it there, with every task interrupted", () =>
      Effect.gen(function* () {
        const timeline = timelineOf({ limit, size: 6, duration: lasts })
        const source = Source.indices(6)
        const body = bodies(undefined, "fail", lasts)
        let stop: Stop
        let started: ReadonlyArray<number>
        let ran: Effect.Success<ReturnType<typeof run>>
        if (verb.name === "amap" || verb.name === "amap ordered") {
          const spy = yield* Spy.make
          const { options, permitsBack } = rest.make()
          const ordered = verb.name === "amap ordered"
          const read: Array<number> = []
          const results = amap(source, spy.watch(body), { ...options, ordered }).pipe(
            Stream.take(2),
            Stream.runForEach((result) => Effect.sync(() => read.push(result)))
          )
          ran = { permitsBack, outcome: { ...(yield* observe(Effect.asSome(results))), spy, read } }
          const both = ordered ? [0, 1] : timeline.finishing.slice(0, 2)
          expect(read).toEqual(both)
          const last = timeline.finishing.findLast((index) => both.includes(index)) as number
          stop = { at: timeline.ends[last] as bigint, by: last }
          expect(ran.outcome.exit).toEqual(Exit.succeed(Option.some(undefined)))
          // The second result also made room: who comes first in that instant, the next task or the reader, is open.
          const sure = startedBefore(timeline, stop).length
          const possible = timeline.starts.filter((at) => at <= stop.at).length
          expect(spy.started.length).toBeGreaterThanOrEqual(sure)
          expect(spy.started.length).toBeLessThanOrEqual(possible)
          started = range(spy.started.length)
        } else {
          ran = yield* run(source, body, { leaveAt: cutAt(verb) })
          stop = { at: ms(cutAt(verb)), by: -1 }
          expect(ran.outcome.exit).toEqual(Exit.succeed(Option.none()))
          expect(ran.outcome.read).toEqual([])
          started = startedBefore(timeline, stop)
        }
        expect(ran.outcome.end).toBe(stop.at)
        const running = started.filter((index) => (timeline.ends[index] as bigint) > stop.at)
        expect(ran.outcome.spy.interrupted.toSorted((a, b) => a - b)).toEqual(running)
        expectClosed(source, started.length)
        yield* audit(ran.outcome, timeline, started, ran.permitsBack)
      })
    )

    /** A source of three tasks fails where the fourth would come. */
    const expectSourceFailure = (
      { outcome, permitsBack }: Effect.Success<ReturnType<typeof run>>,
      failed: boolean,
      exit: Exit.Exit<never, unknown>
    ) => {
      const timeline = timelineOf({ limit, size: 4, duration: lasts })
      const three = range(3)
      const winner = three.toSorted((a, b) => Number((timeline.ends[a] as bigint) - (timeline.ends[b] as bigint)))[0]!
      if (verb.name === "runAny" && !failed) {
        // A task had won before the next pull.
        expect(outcome.exit).toEqual(Exit.succeed(Option.some(undefined)))
        expect(outcome.read).toEqual([winner])
        expect(outcome.end).toBe(timeline.ends[winner])
        return audit(outcome, timeline, startedBefore(timeline, { at: outcome.end, by: winner }), permitsBack)
      }
      expect(outcome.exit).toEqual(exit)
      // Its fourth item is pulled as soon as the third is in use, at the latest when the fourth could start.
      expect(outcome.end).toBeGreaterThanOrEqual(timeline.starts[2] as bigint)
      expect(outcome.end).toBeLessThanOrEqual(timeline.starts[3] as bigint)
      const finished = (index: number) => index < 3 && (timeline.ends[index] as bigint) <= outcome.end
      expect(outcome.read).toEqual(readBefore(verb, timeline, finished))
      return audit(outcome, timeline, three, permitsBack)
    }

    it.effect("source failure: an iterator that throws ends it with that defect, and is not closed", () =>
      Effect.gen(function* () {
        const source = new Source(6, (index) => {
          if (index === 3) throw new Boom(index)
          return index
        })
        const ran = yield* run(source, bodies(undefined, "fail", lasts))
        yield* expectSourceFailure(ran, source.over, Exit.die(new Boom(3)))
        expectClosed(source, ran.outcome.spy.started.length)
      })
    )

    it.effect("source failure: a stream that fails ends it with that failure, and is closed once", () =>
      Effect.gen(function* () {
        const source = new StreamSource<number, Boom>((index) =>
          index === 3 ? Effect.fail(new Boom(3)) : Effect.succeed([index])
        )
        const ran = yield* run(source.stream, bodies(undefined, "fail", lasts))
        yield* expectSourceFailure(ran, source.pulls === 4, Exit.fail(new Boom(3)))
        expect(source.closed).toBe(1)
        expect(source.pulls - ran.outcome.spy.started.length).toBeLessThanOrEqual(1)
      })
    )

    it.effect("empty source: nothing starts, and it ends at once", () =>
      Effect.gen(function* () {
        const source = Source.indices(0)
        const { outcome, permitsBack } = yield* run(source, bodies(undefined, "fail", lasts))
        if (verb.name === "runAny") {
          expect(Exit.isFailure(outcome.exit)).toBe(true)
          const failure = Exit.findErrorOption(outcome.exit)
          expect(Option.exists(failure, Cause.isNoSuchElementError)).toBe(true)
        } else {
          expect(outcome.exit).toEqual(Exit.succeed(Option.some(undefined)))
        }
        expect(outcome.read).toEqual([])
        expect(outcome.end).toBe(0n)
        expectClosed(source, 0)
        expect(source.pulls).toBe(1)
        yield* audit(outcome, { starts: [], ends: [], finishing: [] }, [], permitsBack)
      })
    )

    it.effect("infinite source: is pulled only as tasks start, and closed when the eighth task ends it", () =>
      Effect.gen(function* () {
        const duration = (index: number) => (index === 7 ? 0 : lasts(index))
        const timeline = timelineOf({ limit, size: 8, duration })
        const source = Source.indices(Number.POSITIVE_INFINITY)
        const { outcome, permitsBack } = yield* run(
          source,
          bodies(verb.name === "runAny" ? undefined : 7, "fail", duration)
        )
        let stop: Stop
        if (verb.name === "runAny") {
          stop = expectDone(outcome, timeline)
        } else {
          stop = { at: timeline.ends[7] as bigint, by: 7 }
          expect(outcome.exit).toEqual(Exit.fail(new Boom(7)))
          expect(outcome.read).toEqual(readBefore(verb, timeline, finishedBefore(timeline, stop)))
        }
        expect(outcome.end).toBe(stop.at)
        const started = startedBefore(timeline, stop)
        expectClosed(source, started.length)
        yield* audit(outcome, timeline, started, permitsBack)
      })
    )
  })
})
