import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { dualVerb, makeRun, stopped } from "./internal/call/verbCall.ts"
import type { Arguments } from "./internal/call/verbCall.ts"
import { Feed } from "./internal/results/feed.ts"
import { ofFiber } from "./internal/runtime/fiberHost.ts"
import type { Run } from "./internal/run/run.ts"
import type { ItemOf, Items, ItemsError, ItemsServices } from "./Items.ts"
import type { Cost, Meters, MeterServices, VerbMeterError } from "./Meter.ts"
import type { AmapOptions, CostError, PermitsError } from "./Options.ts"

/**
 * Runs a task for each item and returns a `Stream` of the results, as they become available.
 *
 * **Details**
 *
 * Nothing starts before the stream is run. Tasks start in the order of the items, each in a fiber of its own. With
 * `ordered: true`, results are emitted in the order of the items. At most `maxUnread` tasks are started and not yet read:
 * a slow reader slows the tasks down, and memory is bounded, even if the items are infinite.
 *
 * On the first failure or throw, no further task starts, and the running tasks are interrupted and awaited; the stream emits
 * the results that came before it, then fails. Leaving the stream early, by `Stream.take`, a failure downstream or an
 * interruption, interrupts the running tasks and awaits them.
 *
 * @example
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { amap } from "fibermeter"
 *
 * const sleepSort = amap([0.3, 0.1, 0.6, 0.2], (n) => Effect.as(Effect.sleep(n * 500), n))
 *
 * await Effect.runPromise(Stream.runCollect(sleepSort)) // => [0.1, 0.2, 0.3, 0.6]
 * ```
 *
 * @category verbs
 * @since 0.1.0
 */
export const amap: {
  /**
   * Runs a task for each of the piped items and returns a `Stream` of the results, as they become available.
   *
   * **Details**
   *
   * Nothing starts before the stream is run. Without options, nothing limits how many tasks run at once. At most `maxUnread`
   * tasks are started and not yet read. On the first failure, the stream emits the results that came before it, then fails.
   * Leaving the stream early interrupts the running tasks. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect, Stream } from "effect"
   * import { amap } from "fibermeter"
   *
   * const double = (n: number) => Effect.succeed(n * 2)
   * const results = Stream.range(1, 3).pipe(amap(double, { ordered: true }))
   *
   * await Effect.runPromise(Stream.runCollect(results)) // => [2, 4, 6]
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <A, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: AmapOptions<M, A, C, P>
  ): <SE = never, SR = never>(
    items: Items<A, SE, SR>
  ) => Stream.Stream<
    B,
    E | NoInfer<SE> | VerbMeterError<NoInfer<M>> | CostError<NoInfer<C>> | PermitsError<NoInfer<P>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  /**
   * Runs a task for each item and returns a `Stream` of the results, as they become available.
   *
   * **Details**
   *
   * Nothing starts before the stream is run. Without options, nothing limits how many tasks run at once. At most `maxUnread`
   * tasks are started and not yet read. On the first failure, the stream emits the results that came before it, then fails.
   * Leaving the stream early interrupts the running tasks. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect, Stream } from "effect"
   * import { amap } from "fibermeter"
   *
   * const double = (n: number) => Effect.succeed(n * 2)
   *
   * await Effect.runPromise(Stream.runCollect(amap([1, 2, 3], double, { ordered: true }))) // => [2, 4, 6]
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <I extends Items<any, any, any>, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    items: I,
    f: (item: ItemOf<I>, index: number) => Effect.Effect<B, E, R>,
    options?: AmapOptions<M, ItemOf<I>, C, P>
  ): Stream.Stream<
    B,
    E | ItemsError<I> | VerbMeterError<M> | CostError<C> | PermitsError<P>,
    R | ItemsServices<I> | MeterServices<M>
  >
  /** Makes the compiler report wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, E, R, SE = never, SR = never>(
    items: Items<A, SE, SR>,
    f: (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
  ): Stream.Stream<B, E | SE, R | SR>
  /** Makes the compiler report wrong calls at the wrong argument: see `wrongCall.ts`. */
  <A, B, E, R, SE = never, SR = never>(
    items: Items<A, SE, SR>,
    f: (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
  ): Stream.Stream<B, E | SE, R | SR>
} = /* @__PURE__ */ dualVerb((call) =>
  Stream.transformPull(Stream.empty, (_, scope) =>
    Exit.isFailure(call) ? Effect.failCause(call.cause) : pull(call.value, scope)
  )
)

/**
 * The effect that waits for the next chunk of results. Its first run starts the tasks. The finalizer that ends them is added
 * to the scope before that, so that an interruption at any step ends them.
 */
const pull = <A, B, E>(call: Arguments<A, B, E>, scope: Scope.Scope) => {
  type Chunk = readonly [B, ...Array<B>]
  let run: Run<A, B, Cause.Cause<E>> | undefined
  /** Results of the last chunk that do not count as read yet. */
  let notCounted = 0
  let resume: ((effect: Effect.Effect<Chunk, E | Cause.Done>) => void) | undefined
  let isClosed = false

  const feed = new Feed<B>(call.options.ordered === true, () => {
    if (resume === undefined || (feed.size === 0 && run!.phase !== "ended")) return
    const reader = resume
    resume = undefined
    reader(next(run!))
  })

  const next = (run: Run<A, B, Cause.Cause<E>>): Effect.Effect<Chunk, E | Cause.Done> => {
    if (feed.size > 0) {
      const chunk = feed.take(maxChunk(run))
      notCounted = chunk.length - 1
      run.read(1)
      return Effect.succeed(chunk as [B, ...Array<B>])
    }
    return run.failure === undefined ? Cause.done() : Effect.failCause(run.failure)
  }

  const begin = (fiber: Fiber.Fiber<any, any>): Run<A, B, Cause.Cause<E>> => {
    const begun = makeRun(call, fiber, ofFiber(fiber), feed, call.options.maxUnread, feed.flush)
    run = begun
    begun.pump()
    return begun
  }

  const continueRun = (run: Run<A, B, Cause.Cause<E>>): Run<A, B, Cause.Cause<E>> => {
    run.read(notCounted)
    notCounted = 0
    return run
  }

  const wait = Effect.withFiber((fiber) =>
    Effect.callback<Chunk, E | Cause.Done>((onNext) => {
      // An operator may pull in a fiber of its own, which runs for some steps after the finalizer has run. Nothing would end
      // what starts then.
      if (run === undefined && isClosed) return onNext(Cause.done())
      const reading = run === undefined ? begin(fiber) : continueRun(run)
      if (feed.size > 0 || reading.phase === "ended") return onNext(next(reading))
      resume = onNext
      return Effect.sync(() => {
        resume = undefined
      })
    })
  )

  const finalizer = Effect.suspend(() => {
    isClosed = true
    feed.clear()
    return run === undefined ? Effect.void : abandoned(run)
  })
  return Effect.as(Scope.addFinalizer(scope, finalizer), wait)
}

/**
 * Downstream takes a chunk element by element, which cannot be observed here. So the first element counts as read when the
 * chunk is emitted, the others when the next chunk is asked for. The chunk is only so large that meanwhile as many tasks can
 * run as the limits allow.
 */
const maxChunk = ({ capacity, maxUnread }: Run<any, any, any>): number =>
  maxUnread === Infinity ? Infinity : Math.max(1, maxUnread - capacity + 1)

/**
 * Ends a run whose reader has left. Finalizers have no typed errors, so failures of tasks while they are interrupted become
 * defects. An earlier typed failure that has not been read is dropped, as unread results are.
 */
const abandoned = <E>(run: Run<any, any, Cause.Cause<E>>): Effect.Effect<void> => {
  if (run.phase === "ended") return Effect.void
  if (run.failure === undefined) return Effect.orDie(stopped(run))
  return Effect.catchCause(stopped(run), (cause) => {
    const defects = cause.reasons.filter(Cause.isDieReason)
    return defects.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons<never>(defects))
  })
}
