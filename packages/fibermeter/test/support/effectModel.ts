/**
 * The executable model: what a meter and the four verbs do, composed from Effect's own `forkChild`, `Semaphore`,
 * `Schedule` and `Queue`.
 *
 * It is slow and simple, which makes it the specification: `effectModel.test.ts` checks that the engine starts
 * the same tasks at the same instants, with the same results, failures and interruptions. `docs/how-it-works.md` explains
 * the library by this code and shows all of it. A test compares the two.
 *
 * Left out: several meters for one task, windows and costs, sources other than iterables, and the checks of arguments.
 * The order of events within one instant is not specified either.
 */
import {
  Cause,
  Clock,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Pull,
  Queue,
  Schedule,
  Semaphore,
  Stream
} from "effect"

// Part 1: a meter

export interface Meter<E, R> {
  /** Waits until a task may start, then counts it as running. */
  readonly acquire: Effect.Effect<void, E, R>
  /** Reports that a task has ended. */
  readonly release: Effect.Effect<unknown>
}

class ScheduleEnded extends Data.TaggedError("ScheduleEnded")<{ readonly output: unknown }> {}

export const makeMeter = Effect.fnUntraced(function* <E, R>(
  maxAtOnce: number,
  schedule: Schedule.Schedule<unknown, unknown, E, R>
) {
  const queue = yield* Semaphore.make(1)
  const permits = yield* Semaphore.make(maxAtOnce)
  const step = yield* Schedule.toStep(schedule)
  /** Waits until the schedule allows the next start. */
  let delay: Effect.Effect<void, E | ScheduleEnded, R> = Effect.void

  const acquire = Effect.gen(function* () {
    yield* permits.take(1)
    yield* Effect.onError(delay, () => permits.release(1))
    const startMillis = yield* Clock.currentTimeMillis
    const startNanos = yield* Clock.monotonicTimeNanos
    delay = Effect.gen(function* () {
      const ended = (output: unknown) => Effect.fail(new ScheduleEnded({ output }))
      const [, duration] = yield* Pull.catchDone(step(startMillis, undefined), ended)
      delay = sleepUntil(startNanos + BigInt(Math.ceil(Duration.toMillis(duration) * 1_000_000)))
      yield* delay
    })
  })
  // One waiter at a time checks the schedule and the permits. The others queue, first come, first served.
  return { acquire: queue.withPermit(acquire), release: permits.release(1) }
})

const sleepUntil = (nanos: bigint) =>
  Effect.flatMap(Clock.monotonicTimeNanos, (now) => Effect.sleep(Duration.nanos(nanos > now ? nanos - now : 0n)))

// Part 2: a call

export interface Outcome<B, E> {
  /** The index of the task; none where the meter refused to admit another one. */
  readonly index?: number
  readonly exit: Exit.Exit<B, E>
}

/** Starts a fiber for each item when the meter admits it, until the call is decided, and reports how each of them ends. */
const startAll = Effect.fnUntraced(function* <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>,
  isDecided: () => boolean,
  report: (outcome: Outcome<B, E | ME>) => Effect.Effect<unknown>
) {
  const reports: Array<Fiber.Fiber<unknown>> = []
  let count = 0
  for (const item of items) {
    const index = count++
    const start = Effect.gen(function* () {
      const task = yield* Effect.forkChild(
        Effect.suspend(() => f(item, index)),
        { startImmediately: true }
      )
      const end = Effect.gen(function* () {
        yield* report({ index, exit: yield* Fiber.await(task) })
        yield* meter.release
      })
      // Uninterruptible: a task that is interrupted still reports its end and releases its permit.
      reports.push(yield* Effect.forkChild(end, { startImmediately: true, uninterruptible: true }))
    })
    yield* Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(meter.acquire), () => (isDecided() ? meter.release : start))
    )
  }
  yield* Fiber.awaitAll(reports)
})

/** Runs a task for each item until all have ended, or until `decides` says that an outcome ends the call. */
const run = Effect.fnUntraced(function* <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>,
  decides: (outcome: Outcome<B, E | ME>) => Effect.Effect<boolean, E | ME>
) {
  const end = yield* Deferred.make<void, E | ME>()
  let isDecided = false
  const late: Array<Outcome<B, E | ME>> = []
  const report = Effect.fnUntraced(function* (outcome: Outcome<B, E | ME>) {
    if (isDecided) late.push(outcome)
    if (isDecided) return
    const exit = yield* Effect.exit(decides(outcome))
    isDecided = Exit.isFailure(exit) || exit.value
    if (isDecided) yield* Deferred.done(end, Exit.asVoid(exit))
  })
  const work = startAll(items, f, meter, () => isDecided, report).pipe(
    Effect.andThen(Deferred.succeed(end, undefined)),
    Effect.catchCause((cause) => Effect.andThen(report({ exit: Exit.failCause(cause) }), Effect.never))
  )
  return yield* Effect.uninterruptibleMask(
    Effect.fnUntraced(function* (restore) {
      const starter = yield* Effect.forkChild(work)
      const exit = yield* Effect.exit(restore(Deferred.await(end)))
      isDecided = true
      // The tasks are children of this fiber. They end with it, their finalizers included.
      yield* Fiber.interrupt(starter)
      if (Exit.isSuccess(exit)) return
      // What finalizers fail with is part of how the call fails.
      const reasons = late.flatMap(({ exit }) => (Exit.isFailure(exit) ? exit.cause.reasons : []))
      const added = reasons.filter((reason) => !Cause.isInterruptReason(reason))
      return yield* Effect.failCause(Cause.fromReasons([...exit.cause.reasons, ...added]))
    })
  )
})

// Part 3: the verbs

/** The first failure ends the call. */
const runUntilFailure = <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>,
  onSuccess: (value: B, index: number) => Effect.Effect<unknown>
) =>
  run(items, f, meter, ({ exit, index = 0 }) =>
    Effect.flatMap(exit, (value) => Effect.as(onSuccess(value, index), false))
  )

export const runOnEach = <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>
) => runUntilFailure(items, f, meter, () => Effect.void)

export const runAll = Effect.fnUntraced(function* <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>
) {
  const results: Array<B> = []
  yield* runUntilFailure(items, f, meter, (value, index) => Effect.sync(() => (results[index] = value)))
  return results
})

export const runAny = Effect.fnUntraced(function* <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>,
  until: "success" | "settled" = "success"
) {
  const failures: Array<Cause.Cause<E | ME>> = []
  let winner: { readonly value: B } | undefined
  yield* run(items, f, meter, ({ exit, index }) => {
    if (Exit.isSuccess(exit)) winner = exit
    else if (index === undefined || until === "settled") return Effect.failCause(exit.cause)
    else failures[index] = exit.cause
    return Effect.succeed(winner !== undefined)
  })
  if (winner !== undefined) return winner.value
  if (failures.length === 0) return yield* new Cause.NoSuchElementError()
  return yield* Effect.failCause(Cause.fromReasons(failures.flatMap(({ reasons }) => reasons)))
})

export const amap = <A, B, E, R, ME, MR>(
  items: Iterable<A>,
  f: (item: A, index: number) => Effect.Effect<B, E, R>,
  meter: Meter<ME, MR>,
  maxUnread: number,
  ordered = false
) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const unread = yield* Semaphore.make(maxUnread)
      const bounded = { ...meter, acquire: Effect.andThen(unread.take(1), meter.acquire) }
      const results = yield* Queue.unbounded<B, E | ME | Cause.Done>()
      const early = new Map<number, B>()
      let next = 0
      const inOrder = Effect.fnUntraced(function* (value: B, index: number) {
        early.set(index, value)
        for (; early.has(next); next++) yield* Queue.offer(results, early.get(next)!)
      })
      const work = runUntilFailure(items, f, bounded, ordered ? inOrder : (value) => Queue.offer(results, value))
      // The fiber belongs to the scope of the stream: leaving the stream interrupts it.
      yield* Effect.forkScoped(
        Effect.onExit(work, (exit) =>
          Exit.isSuccess(exit) ? Queue.end(results) : Queue.failCause(results, exit.cause)
        )
      )
      return Stream.fromEffectRepeat(Effect.tap(Queue.take(results), unread.release(1)))
    })
  )
