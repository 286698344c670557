import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { dualVerb, execute, ofEffects } from "./internal/call/verbCall.ts"
import type { Arguments } from "./internal/call/verbCall.ts"
import { isIterable, isThenable } from "./internal/input/validate.ts"
import { All } from "./internal/results/all.ts"
import type { AnyFunction, Meant } from "./internal/call/wrongCall.ts"
import type { ItemOf, Items, ItemsError, ItemsServices } from "./Items.ts"
import type { Cost, Meters, MeterServices, VerbMeterError } from "./Meter.ts"
import type { CostError, PermitsError, Options } from "./Options.ts"

type AnyEffect = Effect.Effect<any, any, any>

/** An iterable or a record of effects; an Effect itself is neither. */
type Effects = (Iterable<AnyEffect> | { readonly [name: string]: AnyEffect }) & {
  readonly [K in typeof Effect.TypeId]?: never
}

/** The results of the effects: a tuple for a tuple, a record for a record, otherwise an array. */
type Results<T> =
  T extends ReadonlyArray<AnyEffect>
    ? number extends T["length"]
      ? Array<Effect.Success<T[number]>>
      : { -readonly [K in keyof T]: Effect.Success<T[K]> }
    : T extends Iterable<infer Each extends AnyEffect>
      ? Array<Effect.Success<Each>>
      : { -readonly [K in keyof T]: T[K] extends Effect.Effect<infer A, any, any> ? A : never }

type MemberOf<T> = T extends Iterable<infer Each> ? Each : T[keyof T]

type ErrorOf<T> = MemberOf<T> extends infer Each ? (Each extends Effect.Effect<any, infer E, any> ? E : never) : never

type ServicesOf<T> =
  MemberOf<T> extends infer Each ? (Each extends Effect.Effect<any, any, infer R> ? R : never) : never

/**
 * Runs a list of effects, or a task for each item, and returns their results in the order of the input.
 *
 * **Details**
 *
 * Effects are passed as a tuple, a record or another iterable, and the results are a tuple, a record or an array, as with
 * `Effect.all`. Tasks start in the order of the input, each in a fiber of its own. On the first failure or throw, no
 * further task starts, the running tasks are interrupted, and the call fails with the same cause when their finalizers
 * have run.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { runAll } from "fibermeter"
 *
 * const greeting = (name: string) => Effect.succeed(`Hello, ${name}!`)
 *
 * await Effect.runPromise(runAll(["Robert", "Carmen"], greeting, { maxAtOnce: 2 })) // => ["Hello, Robert!", "Hello, Carmen!"]
 *
 * await Effect.runPromise(runAll({ one: greeting("Robert"), two: Effect.succeed(2) })) // => { one: "Hello, Robert!", two: 2 }
 * ```
 *
 * @category verbs
 * @since 0.1.0
 */
export const runAll: {
  /**
   * Runs a task for each of the piped items and returns their results in the order of the items.
   *
   * **Details**
   *
   * Tasks start in the order of the input, each in a fiber of its own. Without options, nothing limits how many run at once.
   * On the first failure, no further task starts, the running tasks are interrupted, and the call fails with the same cause
   * when their finalizers have run. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect, pipe } from "effect"
   * import { runAll } from "fibermeter"
   *
   * const greeting = (name: string) => Effect.succeed(`Hello, ${name}!`)
   *
   * await Effect.runPromise(pipe(["Robert", "Carmen"], runAll(greeting))) // => ["Hello, Robert!", "Hello, Carmen!"]
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <A, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: Options<M, A, C, P>
  ): <SE = never, SR = never>(
    items: Items<A, SE, SR>
  ) => Effect.Effect<
    Array<B>,
    E | NoInfer<SE> | VerbMeterError<NoInfer<M>> | CostError<NoInfer<C>> | PermitsError<NoInfer<P>>,
    R | NoInfer<SR> | MeterServices<NoInfer<M>>
  >
  /**
   * Runs a task for each item and returns their results in the order of the items.
   *
   * **Details**
   *
   * Tasks start in the order of the input, each in a fiber of its own. Without options, nothing limits how many run at once.
   * On the first failure, no further task starts, the running tasks are interrupted, and the call fails with the same cause
   * when their finalizers have run. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { runAll } from "fibermeter"
   *
   * const greeting = (name: string) => Effect.succeed(`Hello, ${name}!`)
   *
   * await Effect.runPromise(runAll(["Robert", "Carmen"], greeting, { maxAtOnce: 2 })) // => ["Hello, Robert!", "Hello, Carmen!"]
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <I extends Items<any, any, any>, B, E, R, M extends Meters = never, C extends Cost = never, P extends number = never>(
    items: I,
    f: (item: ItemOf<I>, index: number) => Effect.Effect<B, E, R>,
    options?: Options<M, ItemOf<I>, C, P>
  ): Effect.Effect<
    Array<B>,
    E | ItemsError<I> | VerbMeterError<M> | CostError<C> | PermitsError<P>,
    R | ItemsServices<I> | MeterServices<M>
  >
  /**
   * Runs a list of effects and returns their results in the order of the input: a tuple for a tuple, a record for a record,
   * otherwise an array.
   *
   * **Details**
   *
   * Tasks start in the order of the input, each in a fiber of its own. Without options, nothing limits how many run at once.
   * On the first failure, no further task starts, the running tasks are interrupted, and the call fails with the same cause
   * when their finalizers have run. Dies with a `Cause.IllegalArgumentError` if an option is invalid.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { runAll } from "fibermeter"
   *
   * await Effect.runPromise(runAll({ one: Effect.succeed(1), two: Effect.succeed("two") })) // => { one: 1, two: "two" }
   * ```
   *
   * @category verbs
   * @since 0.1.0
   */
  <const T extends Effects, M extends Meters = never, C extends Cost = never, P extends number = never>(
    effects: T,
    options?: Options<M, MemberOf<T>, C, P>
  ): Effect.Effect<
    Results<T>,
    ErrorOf<T> | VerbMeterError<NoInfer<M>> | CostError<NoInfer<C>> | PermitsError<NoInfer<P>>,
    ServicesOf<T> | MeterServices<NoInfer<M>>
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
      : Options<M, MemberOf<T>, C, P>) &
      Meant<Q>
  ): Effect.Effect<
    Q extends AnyFunction ? Array<B> : Results<T>,
    | (Q extends AnyFunction ? E | SE : ErrorOf<T>)
    | VerbMeterError<NoInfer<M>>
    | CostError<NoInfer<C>>
    | PermitsError<NoInfer<P>>,
    (Q extends AnyFunction ? R | SR : ServicesOf<T>) | MeterServices<NoInfer<M>>
  >
} = /* @__PURE__ */ dualVerb(
  (call) => collect(call),
  (effects, options) => {
    // Set when the record is read, before the run begins.
    let names: ReadonlyArray<string> | undefined
    const call = ofEffects(() => {
      if (!isRecord(effects)) return effects
      const entries = Object.entries(effects)
      names = entries.map(([name]) => name)
      return entries.map(([, effect]) => effect)
    }, options)
    const results = collect(call)
    if (names === undefined) return results
    return Effect.map(results, (values) => Object.fromEntries(names!.map((name, i) => [name, values[i]])))
  }
)

const collect = <A, B, E>(call: Exit.Exit<Arguments<A, B, E>>): Effect.Effect<Array<B>, E, any> =>
  execute(
    call,
    ({ items }) => new All<B>(items),
    (all) => Exit.succeed(all.results)
  )

/** Whether the input is a record of effects, not a list or something that is refused. */
const isRecord = (input: unknown): input is Record<string, unknown> =>
  typeof input === "object" && input !== null && !isIterable(input) && !Stream.isStream(input) && !isThenable(input)
