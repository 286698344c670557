/**
 * What a meter can do.
 */
import type { Cancellation, Cost, Limits, Period } from "./Limits.ts"
import type { TaskContext } from "./Task.ts"

/**
 * Limits that many calls share, made by `createMeter`: pass it to the verbs as their option `meter`, or run single
 * tasks under it.
 *
 * @since 0.1.0
 */
export interface Meter {
  /**
   * Runs one task when the meter admits it, first come, first served, and gives its result. Rejects with the very value
   * that the task threw, or with the reason of `signal` if that aborts before: a task that waits is then dropped, one
   * that runs is cancelled, and counts as running until it has settled. A `cost` above a whole window's limit is refused
   * at once, with a `RangeError`.
   */
  readonly run: <B>(task: MeterTask<B>, options?: RunOptions) => Promise<B>
  /**
   * Holds back every start, for a duration (a number being milliseconds) or until `resume`. Tasks that run go on. Of
   * several pauses, the one that ends last counts.
   */
  readonly pause: (duration?: Period) => void
  /** Ends all pauses. */
  readonly resume: () => void
  /**
   * Changes the limits that are given, `Infinity` to lift one; at once, also for those who wait already. Tasks that run
   * go on. What started before counts in the new windows as far as the old ones still reached it.
   */
  readonly resize: (limits: Limits) => void
  /** How the meter stands at this moment. */
  readonly snapshot: () => Snapshot
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
   * How many milliseconds it takes at least until a task of cost 1 can start, if nobody waits before it: 0 if it can
   * now, `Infinity` if that depends on a task's end or on `resume`.
   */
  readonly nextStart: number
}

/** The options of a meter's `run`. */
export interface RunOptions extends Cancellation {
  /** What the task costs, by the names of the meter's windows; a window that is not named costs 1. */
  readonly cost?: Cost | undefined
}

/** A task that a meter runs by itself. */
export type MeterTask<B> = (context: Pick<TaskContext, "signal" | "correct">) => B | PromiseLike<B>

/**
 * A family of meters, one for each key: a host, a user, a tenant.
 *
 * @since 0.1.0
 */
export interface KeyedMeter<in K> {
  /** The meter of a key. It may be kept: it is the same for the same key, however long nobody has used it. */
  readonly for: (key: K) => Meter
  /** How many keys are in use, or were until less than their longest window ago. */
  readonly size: number
}
