import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { dualVerb, makeRun, stopped } from "./internal/call.ts"
import type { Call } from "./internal/call.ts"
import { Feed } from "./internal/collect.ts"
import { ofFiber } from "./internal/host.ts"
import type { Items } from "./Items.ts"
import type { Cost, MeterError, Meters, MeterServices } from "./Meter.ts"
import type { AmapOptions, CostError } from "./Options.ts"

/**
 * Runs a task for each item and gives the results as a `Stream`, as they become available.
 *
 * **Details**
 *
 * Nothing starts before the stream is run. Tasks start in the order of the items, each in a fiber of its own. With
 * `ordered: true`, results come in the order of the items. At most `maxUnread` tasks are started and not yet read, so
 * a slow reader slows the tasks down and memory stays bounded, even for items without end.
 *
 * The first failure, or a throw, stops new starts, interrupts the tasks that run and waits for their finalizers; the
 * stream gives the results that came before it, then fails. Leaving the stream early, by `Stream.take`, a failure
 * downstream or an interruption, interrupts what is in flight and waits for it.
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
  <A, B, E, R, M extends Meters = never, C extends Cost = never>(
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: AmapOptions<M, A, C>
  ): <SE = never, SR = never>(
    items: Items<A, SE, SR>
  ) => Stream.Stream<
    B,
    E | NoInfer<SE> | MeterError<NoInfer<M>> | CostError<NoInfer<C>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  <A, B, E, R, SE = never, SR = never, M extends Meters = never, C extends Cost = never>(
    items: Items<A, SE, SR>,
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: AmapOptions<M, A, C>
  ): Stream.Stream<
    B,
    E | NoInfer<SE> | MeterError<NoInfer<M>> | CostError<NoInfer<C>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
} = dualVerb((call) =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) => (Exit.isFailure(call) ? Effect.failCause(call.cause) : pull(call.value, scope)))
  )
)

/** Makes the run, which ends with the scope at the latest, and the effect that waits for the next chunk of results. */
const pull = <A, B, E>(call: Call<A, B, E>, scope: Scope.Scope) =>
  Effect.withFiber((fiber) => {
    const host = ofFiber(fiber)
    // A chunk goes downstream element by element, out of sight: its first counts as read when it is handed over, the
    // others when the next chunk is asked for. So it may be only so large that as many tasks as can may run meanwhile.
    const maxChunk = (): number => {
      const { capacity, maxUnread } = run
      return maxUnread === Infinity ? Infinity : Math.max(1, maxUnread - capacity + 1)
    }
    let hasBegun = false
    let unaccounted = 0
    let resume: ((effect: ReturnType<typeof next>) => void) | undefined

    const feed = new Feed<B>(call.options.ordered === true, () => {
      if (resume === undefined || (feed.size === 0 && run.phase !== "ended")) return
      const reader = resume
      resume = undefined
      reader(next())
    })
    const run = makeRun(call, fiber, host, feed, call.options.maxUnread)
    run.onEnd = feed.flush

    const next = (): Effect.Effect<readonly [B, ...Array<B>], E | Cause.Done> => {
      if (feed.size > 0) {
        const chunk = feed.take(maxChunk())
        unaccounted = chunk.length - 1
        run.read(1)
        return Effect.succeed(chunk as [B, ...Array<B>])
      }
      return run.failure === undefined ? Cause.done() : Effect.failCause(run.failure)
    }

    const wait = Effect.callback<readonly [B, ...Array<B>], E | Cause.Done>((onNext) => {
      if (hasBegun) run.read(unaccounted)
      else run.pump()
      hasBegun = true
      unaccounted = 0
      if (feed.size > 0 || run.phase === "ended") return onNext(next())
      resume = onNext
      return Effect.sync(() => {
        resume = undefined
      })
    })

    return Effect.as(
      Scope.addFinalizer(
        scope,
        Effect.suspend(() => {
          feed.clear()
          return stopped(run)
        })
      ),
      wait
    )
  })
