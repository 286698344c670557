import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Effect from "effect/Effect"
import { dualVerb, execute, ofEffects } from "./internal/call/verbCall.ts"
import type { Arguments } from "./internal/call/verbCall.ts"
import { Any } from "./internal/results/any.ts"
import { Staggered } from "./internal/results/staggered.ts"
import type { AnyFunction, Meant } from "./internal/call/wrongCall.ts"
import type { ItemOf, Items, ItemsError, ItemsServices } from "./Items.ts"
import type { Cost, Meters, MeterServices, VerbMeterError } from "./Meter.ts"
import type { CostError, PermitsError, RunAnyOptions } from "./Options.ts"

type AnyEffect = Effect.Effect<any, any, any>

/** An iterable of effects; an Effect itself is not one. */
type Effects = Iterable<AnyEffect> & { readonly [K in typeof Effect.TypeId]?: never }

type MemberOf<T> = T extends Iterable<infer Each extends AnyEffect> ? Each : never

/** The error if there is no task at all: not possible with a tuple that is known not to be empty. */
type NoneError<T> = T extends readonly [unknown, ...ReadonlyArray<unknown>] ? never : Cause.NoSuchElementError

/**
 * Runs a list of effects, or a task for each item, and returns the first success. The other tasks are interrupted and
 * awaited before the call returns; no task starts after the first success.
 *
 * **Details**
 *
 * The call fails only if all tasks fail: then with all their causes, defects and interruptions included, in the order of
 * the input. With `until: "settled"`, the first task to end decides, even if it fails. If there is no task at all, the call
 * fails with a `Cause.NoSuchElementError`. With `stagger`, tasks start one after the other: the next one after that time, or
 * as soon as a task has failed.
 *
 * **Gotchas**
 *
 * The losers are interrupted even if the caller is uninterruptible, as by `Effect.raceAll`. `maxPerSecond` and `maxAtOnce`
 * also apply to a race: tasks that start later can only win later.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { runAny } from "fibermeter"
 *
 * const fromMirror = (delay: number) => Effect.delay(Effect.succeed(`mirror after ${delay} ms`), delay)
 *
 * await Effect.runPromise(runAny([500, 5, 1000], fromMirror)) // => "mirror after 5 ms"
 * ```
 *
 * @category verbs
 * @since 0.1.0
 */
export const runAny: {
  /**
   * Runs a task for each of the piped items and returns the first success. The losers are interrupted and awaited.
   *
   * **Details**
   *
   * Without options, nothing limits how many tasks run at once. If all tasks fail, the call fails with all their causes, in
   * the order of the input; if there is no task, with a `Cause.NoSuchElementError`. With `until: "settled"`, the first task to
   * end decides. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect, pipe } from "effect"
   * import { runAny } from "fibermeter"
   *
   * const fromMirror = (delay: number) => Effect.delay(Effect.succeed(`mirror after ${delay} ms`), delay)
   *
   * await Effect.runPromise(pipe([500, 5, 1000], runAny(fromMirror))) // => "mirror after 5 ms"
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <A, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: RunAnyOptions<M, A, C, P>
  ): <SE = never, SR = never>(
    items: Items<A, SE, SR>
  ) => Effect.Effect<
    B,
    | E
    | NoInfer<SE>
    | Cause.NoSuchElementError
    | VerbMeterError<NoInfer<M>>
    | CostError<NoInfer<C>>
    | PermitsError<NoInfer<P>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  /**
   * Runs a task for each item and returns the first success. The losers are interrupted and awaited.
   *
   * **Details**
   *
   * Without options, nothing limits how many tasks run at once. If all tasks fail, the call fails with all their causes, in
   * the order of the input; if there is no task, with a `Cause.NoSuchElementError`. With `until: "settled"`, the first task to
   * end decides. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { runAny } from "fibermeter"
   *
   * const fromMirror = (delay: number) => Effect.delay(Effect.succeed(`mirror after ${delay} ms`), delay)
   *
   * await Effect.runPromise(runAny([500, 5, 1000], fromMirror)) // => "mirror after 5 ms"
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <I extends Items<any, any, any>, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    items: I,
    f: (item: ItemOf<I>, index: number) => Effect.Effect<B, E, R>,
    options?: RunAnyOptions<M, ItemOf<I>, C, P>
  ): Effect.Effect<
    B,
    E | ItemsError<I> | Cause.NoSuchElementError | VerbMeterError<M> | CostError<C> | PermitsError<P>,
    R | ItemsServices<I> | MeterServices<M>
  >
  /**
   * Runs a list of effects and returns the first success. The losers are interrupted and awaited.
   *
   * **Details**
   *
   * Without options, nothing limits how many tasks run at once. If all tasks fail, the call fails with all their causes, in
   * the order of the input; if there is no task, with a `Cause.NoSuchElementError`. With `until: "settled"`, the first task to
   * end decides. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { runAny } from "fibermeter"
   *
   * const slow = Effect.delay(Effect.succeed("slow"), 500)
   *
   * await Effect.runPromise(runAny([slow, Effect.succeed("quick")])) // => "quick"
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <const T extends Effects, M extends Meters = never, C extends Cost = never, P extends number = never>(
    effects: T,
    options?: RunAnyOptions<M, MemberOf<T>, C, P>
  ): Effect.Effect<
    Effect.Success<MemberOf<T>>,
    | Effect.Error<MemberOf<T>>
    | NoneError<T>
    | VerbMeterError<NoInfer<M>>
    | CostError<NoInfer<C>>
    | PermitsError<NoInfer<P>>,
    Effect.Services<MemberOf<T>> | MeterServices<NoInfer<M>>
  >
  /** Makes the compiler report wrong calls at the wrong argument: see `wrongCall.ts`. */
  <
    A,
    B,
    E,
    R,
    const T,
    SE = never,
    SR = never,
    M extends Meters = never,
    C extends Cost = never,
    P extends number = never,
    Q = AnyFunction
  >(
    items: T & (Q extends AnyFunction ? Items<A, SE, SR> : Effects),
    f: (Q extends AnyFunction
      ? (item: NoInfer<A>, index: number) => Effect.Effect<B, E, R>
      : RunAnyOptions<M, MemberOf<T>, C, P>) &
      Meant<Q>
  ): Effect.Effect<
    Q extends AnyFunction ? B : Effect.Success<MemberOf<T>>,
    | (Q extends AnyFunction ? E | SE | Cause.NoSuchElementError : Effect.Error<MemberOf<T>> | NoneError<T>)
    | VerbMeterError<NoInfer<M>>
    | CostError<NoInfer<C>>
    | PermitsError<NoInfer<P>>,
    (Q extends AnyFunction ? R | SR : Effect.Services<MemberOf<T>>) | MeterServices<NoInfer<M>>
  >
} = /* @__PURE__ */ dualVerb(
  (call) => race(call),
  (effects, options) => race(ofEffects(() => effects, options))
)

const race = (call: Exit.Exit<Arguments<any, any, any>>): Effect.Effect<any, any, any> =>
  execute(
    call,
    ({ options }): Any<unknown, Cause.Cause<unknown>> => {
      const untilSettled = options.until === "settled"
      // Read as milliseconds.
      const stagger = (options.stagger as number | undefined) ?? 0
      return stagger > 0 ? new Staggered(untilSettled, stagger) : new Any(untilSettled)
    },
    ({ failures, winner }) => {
      if (winner !== undefined) return Exit.succeed(winner.value)
      if (failures.length === 0) return Exit.fail(new Cause.NoSuchElementError("runAny was given no tasks"))
      return Exit.failCause(Cause.fromReasons(failures.flatMap((failure) => failure.reasons)))
    }
  )
