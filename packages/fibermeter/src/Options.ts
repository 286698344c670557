/**
 * The options of the verbs.
 */
import type { Cost, ExcessiveCost, Limits, Meters } from "./Meter.ts"
import type { Progress } from "./Progress.ts"

/** The error that the option `cost` adds to a call. `C` is the type that it returns, or `never` without it. */
export type CostError<C> = [C] extends [never] ? never : ExcessiveCost

/**
 * The options of all verbs. Without options, nothing is limited.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<out M extends Meters = Meters, in A = any, out C extends Cost = never> extends Limits {
  /**
   * A meter, or several, whose limits this call shares with all others that use them, in addition to the call's own limits.
   * With several, a task starts when all of them admit it, and takes from all in the same step.
   */
  readonly meter?: M | undefined
  /**
   * The cost of a task, by the names of windows, those of its meters included. A window that is not named costs 1. A task
   * that costs more than the limit of a window fails the call with `Meter.ExcessiveCost`. A task can correct its cost with
   * `Meter.correct`.
   */
  readonly cost?: ((item: A, index: number) => C) | undefined
  /**
   * Called with the progress of the call ten times a second, by the `Clock`, and once when the call ends. If it throws, the
   * call dies with that error.
   */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/**
 * The options of `amap`.
 *
 * @category options
 * @since 0.1.0
 */
export interface AmapOptions<out M extends Meters = Meters, in A = any, out C extends Cost = never> extends Options<
  M,
  A,
  C
> {
  /** Whether results are emitted in the order of the items, instead of as they become available. Default: `false`. */
  readonly ordered?: boolean | undefined
  /**
   * The most tasks that are started and whose results have not been read, running or finished: a whole number, at least 1.
   * Default: twice the number that may run at once; unlimited if that is.
   */
  readonly maxUnread?: number | undefined
}

/**
 * The options of `runAny`.
 *
 * @category options
 * @since 0.1.0
 */
export interface RunAnyOptions<out M extends Meters = Meters, in A = any, out C extends Cost = never> extends Options<
  M,
  A,
  C
> {
  /**
   * Which task decides: the first to succeed (`"success"`, the default), or the first to end, even if it fails
   * (`"settled"`).
   */
  readonly until?: "success" | "settled" | undefined
}
