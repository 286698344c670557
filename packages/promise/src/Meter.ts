/**
 * Limits that many calls share, the verbs under them, and what else a meter can do.
 *
 * The verbs take a meter as an option, and a meter has the verbs as methods, so these types refer to each other. Imports of
 * types alone leave nothing in what is published.
 */
import type { amap } from "./amap.ts"
import type { Disposal } from "./Disposal.ts"
import type { Cancellation, Cost, Limits, Period } from "./Limits.ts"
import type { runAll } from "./runAll.ts"
import type { runAny } from "./runAny.ts"
import type { runOnEach } from "./runOnEach.ts"
import type { TaskContext } from "./Task.ts"
import type { TaskOptions } from "./TaskOptions.ts"

/**
 * Limits that many calls share, made by `createMeter`: run single tasks under it, or the verbs,
 * which also take it as their option `meter`, beside others.
 *
 * @since 0.1.0
 */
export interface Meter extends Disposal {
  /** The verb `runOnEach` under this meter, and under those that its options name. */
  readonly runOnEach: typeof runOnEach
  /** The verb `runAll` under this meter, and under those that its options name. */
  readonly runAll: typeof runAll
  /** The verb `amap` under this meter, and under those that its options name. */
  readonly amap: typeof amap
  /** The verb `runAny` under this meter, and under those that its options name. */
  readonly runAny: typeof runAny
  /**
   * Runs one task when the meter admits it, first come, first served, and gives its result. Rejects with the very value
   * that the task threw, or with the reason of `signal` if that aborts before: a task that waits is then dropped, one
   * that runs is cancelled, and counts as running until it has settled. A `cost` above a whole window's limit is refused
   * at once, with a `RangeError`.
   */
  readonly run: <B>(task: MeterTask<B>, options?: RunOptions) => Promise<B>
  /**
   * A function like `f`, each call of which is a task of the meter: it runs when the meter admits it, with the same
   * `this` and arguments. What `f` gives at once comes as a promise. With `signal`, `timeout` or the end of the meter the
   * promise rejects, but `f`, which gets no signal, continues; use `run` where that is not enough.
   */
  readonly wrap: <F extends (...args: any) => unknown>(f: F, options?: WrapOptions<Parameters<F>>) => Wrapped<F>
  /** Resolves as soon as nothing runs or waits under the meter, and no call of a verb uses it. */
  readonly idle: () => Promise<void>
  /**
   * Rejects what waits for the meter: calls of `run` and of wrapped functions, and, with all their tasks, calls of verbs one
   * task of which waits here. What is between two attempts waits as well. The reason is an `AbortError` unless another is
   * given.
   */
  readonly clear: (reason?: unknown) => void
  /**
   * Ends the meter: what waits or runs under it is cancelled and rejects, as is whatever comes later. The reason is an
   * `AbortError` unless another is given. Resolves when all those calls have ended; a task that ignores its signal is
   * not waited for beyond its call's `grace`. `await using` does this when the block is left.
   */
  readonly close: (reason?: unknown) => Promise<void>
  /**
   * Holds back every start, for a duration (a number being milliseconds) or until `resume`. Tasks that run go on. Of
   * several pauses, the one that ends last counts.
   */
  readonly pause: (duration?: Period) => void
  /** Ends all pauses. */
  readonly resume: () => void
  /**
   * Changes the limits that are given, `Infinity` to lift one; at once, also for tasks that already wait. Tasks that run
   * go on. What started before counts in the new windows as far as the old ones still reached it.
   */
  readonly resize: (limits: Limits) => void
  /** How the meter stands at this moment. */
  readonly snapshot: () => Snapshot
}

/**
 * A family of meters, one for each key: a host, a user, a tenant.
 *
 * @since 0.1.0
 */
export interface KeyedMeter<in K> {
  /** The meter of a key. It may be kept: it is the same for the same key, however long nobody has used it. */
  readonly for: (key: K) => Meter
  /**
   * How many keys are in use, or were until less than their longest window ago. Reading it changes nothing; it takes
   * time in proportion to the number of keys that are kept.
   */
  readonly size: number
}

/** How a meter stands. */
export interface Snapshot {
  /** Tasks that have started and not settled. */
  readonly running: number
  /** Tasks that wait for their start. */
  readonly waiting: number
  /** Tasks that have ever started. */
  readonly started: number
  /** How many more may run at once; `Infinity` where nothing limits that. */
  readonly free: number
  /** How much may be spent now, window by window. */
  readonly room: Readonly<Record<string, number>>
  /**
   * How many milliseconds it takes at least until a task of cost 1 can start, if there are no waiters before it: 0 if it can
   * now, `Infinity` if that depends on a task's end or on `resume`.
   */
  readonly nextStart: number
}

/** The options of a meter's `run`. */
export interface RunOptions extends Cancellation, TaskOptions {
  /** What the task costs, by the names of the meter's windows; a window that is not named costs 1. */
  readonly cost?: Cost | undefined
}

/** The options of a meter's `wrap`, which hold for each call of the function. */
export interface WrapOptions<in Args extends ReadonlyArray<any>> extends Cancellation, TaskOptions {
  /** What a call costs, by its arguments. */
  readonly cost?: ((...args: Args) => Cost) | undefined
}

/** The function itself where it gives a promise, and otherwise one that does. */
export type Wrapped<F extends (...args: any) => unknown> =
  ReturnType<F> extends Promise<unknown>
    ? F
    : (this: ThisParameterType<F>, ...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>>

/** A task that a meter runs by itself. */
export type MeterTask<B> = (context: Pick<TaskContext, "signal" | "correct">) => B | PromiseLike<B>
