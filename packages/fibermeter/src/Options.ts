/**
 * The options of the verbs.
 */
import type * as Duration from "effect/Duration"
import type { Cost, ExcessiveCost, ExcessivePermits, Limits, Meters } from "./Meter.ts"
import type { Progress } from "./Progress.ts"

/** The error that the option `cost` adds to a call. `C` is the type that it returns, or `never` without it. */
export type CostError<C> = [C] extends [never] ? never : ExcessiveCost

/** The error that `permits` adds to a call, if it is given. */
export type PermitsError<P> = [P] extends [never] ? never : ExcessivePermits

/**
 * The options of all verbs. Without options, nothing is limited.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options<
  out M extends Meters = Meters,
  in A = any,
  out C extends Cost = never,
  out P extends number = never
> extends Limits {
  /**
   * A meter, or several, whose limits this call shares with all others that use them, in addition to the call's own limits.
   * With several, a task starts when all of them admit it, and takes from all in the same step.
   *
   * Or a function that returns the meters of an item, at least one. It is called once for each item, when it is pulled. Items
   * whose meters are closed do not delay others, and items of the same meters start in input order. If it throws, or returns
   * something else, the call dies with that error.
   */
  readonly meter?: M | ((item: A, index: number) => M) | undefined
  /**
   * Where `meter` is a function: the most items that have been pulled and wait for their start, a whole number, at least 1.
   * While that many wait, no further item is pulled. Default: 1000.
   */
  readonly maxPending?: number | undefined
  /**
   * The cost of a task, by the names of windows, those of its meters included. A window that is not named costs 1. A task
   * that costs more than the limit of a window fails the call with `Meter.ExcessiveCost`. A task can correct its cost with
   * `Meter.correct`. Called once for each item, when it is pulled; so are the functions `priority` and `lane`.
   */
  readonly cost?: ((item: A, index: number) => C) | undefined
  /**
   * How many permits of `maxAtOnce` each task holds while it runs: a whole number, at least 1, which is the default. It applies
   * to the call's own limit and to its meters. A call whose tasks need more than a meter has fails with
   * `Meter.ExcessivePermits`.
   */
  readonly permits?: P | undefined
  /**
   * The priority of a task among those that wait for the same meters, or a function of the item: a finite number, the higher
   * first. Default: 0. A call asks for one start at a time, in the order of its items, so this is its rank among other calls
   * and single tasks, and with a meter per item also among its other items. A waiter that 32 later arrivals of higher priority have overtaken is next.
   */
  readonly priority?: number | ((item: A, index: number) => number) | undefined
  /**
   * The lane of a task among those that wait for the same meters, or a function of the item: any key, such as a tenant or a
   * user. Lanes take turns, and get equal numbers of permits. Within a lane, the priority counts.
   */
  readonly lane?: unknown
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
export interface AmapOptions<
  out M extends Meters = Meters,
  in A = any,
  out C extends Cost = never,
  out P extends number = never
> extends Options<M, A, C, P> {
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
export interface RunAnyOptions<
  out M extends Meters = Meters,
  in A = any,
  out C extends Cost = never,
  out P extends number = never
> extends Options<M, A, C, P> {
  /**
   * Which task decides: the first to succeed (`"success"`, the default), or the first to end, even if it fails
   * (`"settled"`).
   */
  readonly until?: "success" | "settled" | undefined
  /**
   * Staggers the starts: after a start, the next one is requested when this time has passed, or as soon as a task has failed,
   * whichever comes first. A plain number is in milliseconds. Limits apply in addition. `Infinity`: only after a failure.
   * Default: 0, all at once.
   */
  readonly stagger?: Duration.Input | undefined
}
