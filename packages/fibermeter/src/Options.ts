/**
 * The options of the verbs.
 */
import type { Cost, ExcessiveCost, Limits, Meters } from "./Meter.ts"
import type { Progress } from "./Progress.ts"

/** The error that `cost` brings into a call, where it is given: `C` is what it returns. */
export type CostError<C> = [C] extends [never] ? never : ExcessiveCost

/**
 * The options of every verb. Without any, nothing limits.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<out M extends Meters = Meters, in A = any, out C extends Cost = never> extends Limits {
  /**
   * A meter, or several, whose limits hold for this call together with all others that use them. The call's own limits
   * come on top. With several, a task starts only when all of them admit it, and takes from all in the same step.
   */
  readonly meter?: M | undefined
  /**
   * What a task costs, by the names of the windows it is paid from, those of its meters included; a window that is not
   * named costs 1. A task that costs more than a whole window allows for fails the call with `Meter.ExcessiveCost`.
   * `Meter.correct` puts right what turned out otherwise.
   */
  readonly cost?: ((item: A, index: number) => C) | undefined
  /**
   * Told how far the call has come, ten times a second on the program's clock, and once when it ends. If it throws, the
   * call dies with that.
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
  /** Results come in the order of the items instead of as they become available. Default: `false`. */
  readonly ordered?: boolean | undefined
  /**
   * The most tasks that are started and whose results have not been read yet, running or finished: a whole number, at
   * least 1. Default: twice the number that may run at once; unlimited where that is.
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
   * What decides: the first task to succeed (`"success"`, the default), or the first to end, even by failing
   * (`"settled"`).
   */
  readonly until?: "success" | "settled" | undefined
}
