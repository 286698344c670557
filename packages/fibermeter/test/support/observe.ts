/**
 * Runs an effect to its end under TestClock, lets time pass as far as it needs, and takes stock of what is left.
 */
import { Clock, Effect, Metric, Scheduler } from "effect"
import type { Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"

export interface Observed<A, E> {
  readonly exit: Exit.Exit<A, E>
  /** When it ended, in nanoseconds since it began. */
  readonly end: bigint
  /** Its fibers that have not ended. */
  readonly fibers: number
  /** Its sleeps that have neither ended nor been interrupted. */
  readonly sleeps: number
}

/** What a run has under way: asked while it runs, and when it is over. */
export class Ledger {
  fibers = 0
  sleeps = 0
  /** Tasks handed to the scheduler that have not run yet. */
  queued = 0
}

const watched = <A, E, R>(effect: Effect.Effect<A, E, R>, ledger: Ledger): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const scheduler = fiber.getRef(Scheduler.Scheduler)
    return effect.pipe(
      Effect.provideService(Clock.Clock, {
        currentTimeMillis: clock.currentTimeMillis,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeNanos: clock.currentTimeNanos,
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        sleep: (duration) =>
          Effect.suspend(() => {
            ledger.sleeps++
            return Effect.onExit(clock.sleep(duration), () =>
              Effect.sync(() => {
                ledger.sleeps--
              })
            )
          })
      }),
      Effect.provideService(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => {
          ledger.fibers++
        },
        recordFiberEnd: () => {
          ledger.fibers--
        }
      }),
      Effect.provideService(Scheduler.Scheduler, {
        executionMode: scheduler.executionMode,
        shouldYield: (self) => scheduler.shouldYield(self),
        makeDispatcher: () => {
          const dispatcher = scheduler.makeDispatcher()
          return {
            scheduleTask: (task, priority) => {
              ledger.queued++
              dispatcher.scheduleTask(() => {
                ledger.queued--
                task()
              }, priority)
            },
            flush: () => dispatcher.flush()
          }
        }
      })
    )
  })

/** Waits until nothing is left to do at this instant. */
const settle = (ledger: Ledger): Effect.Effect<void> => {
  const turn = Effect.callback<void>((resume) => {
    setImmediate(() => resume(Effect.void))
  })
  const loop = (quiet: number): Effect.Effect<void> =>
    quiet === 3 ? Effect.void : Effect.flatMap(turn, () => loop(ledger.queued === 0 ? quiet + 1 : 0))
  return loop(0)
}

/** A running effect: time does not pass unless `advance` is called. */
export interface Watched<A, E> {
  readonly fiber: Fiber.Fiber<A, E>
  readonly ledger: Ledger
  readonly advance: (millis: number) => Effect.Effect<void>
  /** Lets everything happen that can happen at this instant. */
  readonly settle: Effect.Effect<void>
  /** Lets time pass, at most an hour, until it ends. */
  readonly finish: Effect.Effect<Observed<A, E>>
}

export const watch = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Watched<A, E>, never, R> =>
  Effect.gen(function* () {
    // The clock warns about a sleep before it was first adjusted, in a fiber of its own that disturbs finalizers.
    yield* TestClock.adjust(0)
    const clock = yield* Clock.Clock
    const begun = clock.monotonicTimeNanosUnsafe()
    const ledger = new Ledger()
    let end: bigint | undefined
    const fiber = yield* Effect.forkDetach(watched(effect, ledger))
    fiber.addObserver(() => {
      end = clock.monotonicTimeNanosUnsafe() - begun
    })
    const rest = settle(ledger)
    yield* rest
    const advance = (millis: number) => Effect.andThen(TestClock.adjust(millis), rest)
    const finish = Effect.gen(function* () {
      if (fiber.pollUnsafe() === undefined) yield* advance(3_600_000)
      const exit = fiber.pollUnsafe()
      if (exit === undefined || end === undefined) {
        const { fibers, sleeps } = ledger
        fiber.interruptUnsafe()
        return yield* Effect.die(new Error(`it did not end within an hour (${fibers} fibers, ${sleeps} sleeps)`))
      }
      return { exit, end, fibers: ledger.fibers, sleeps: ledger.sleeps }
    })
    return { fiber, ledger, advance, settle: rest, finish }
  })

/** Runs it to its end; `interruptAt` says after how many milliseconds it is interrupted from outside. */
export const observe = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: { readonly interruptAt?: number } = {}
): Effect.Effect<Observed<A, E>, never, R> =>
  Effect.gen(function* () {
    const run = yield* watch(effect)
    if (options.interruptAt !== undefined) {
      yield* run.advance(options.interruptAt)
      run.fiber.interruptUnsafe()
      yield* run.settle
    }
    return yield* run.finish
  })
