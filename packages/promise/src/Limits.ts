/**
 * Limits and cancellation: options of meters and of calls.
 */

/**
 * The limits of a meter, which are also options of every verb. A limit that is left out, `undefined` or `Infinity` has no
 * effect.
 */
export interface Limits {
  /** The most tasks that run at the same time: a whole number, at least 1. */
  readonly maxAtOnce?: number | undefined
  /**
   * The most tasks that start in a second: a number greater than 0. Starts are spread evenly; 0.2 is one every 5 s.
   * A fraction counts over a longer time: 2.5 is at most two in any 0.8 s. After a start that was late, the next gap may be
   * up to 10 ms shorter: for a minimum time between two starts, use a window with `limit: 1`.
   */
  readonly maxPerSecond?: number | undefined
  /**
   * With `maxPerSecond`: how many tasks may start together after a time in which none waited. A whole number, at least
   * 1. Default: 1.
   */
  readonly maxBurst?: number | undefined
  /**
   * Limits over sliding windows, by names of your own: in any window of length `per`, at most `limit` tasks start or, if
   * tasks have a `cost`, at most `limit` is spent. `limit` is a whole number, at least 1.
   */
  readonly windows?: { readonly [name: string]: Window | undefined } | undefined
}

/**
 * The limits of a meter: beside those that verbs also have, limits on how many calls of `run` and of wrapped functions may
 * wait, and for how long. A call that is refused rejects with an `OverloadedError`.
 *
 * The items of verbs are neither counted nor refused: a verb pulls an item only when it can wait for its start. Retries are
 * not refused either.
 */
export interface MeterLimits extends Limits {
  /** The most calls that wait at the same time: a whole number, at least 0. One more is refused at once. */
  readonly maxWaiting?: number | undefined
  /**
   * How long a call may wait. It is refused at once if the rate and the windows cannot admit it in time, counting the calls
   * that wait before it; otherwise when the time is up. The time that a task runs does not count.
   */
  readonly waitTimeout?: Period | undefined
  /**
   * Which call is refused if `maxWaiting` wait already: the new one, whatever its priority (`"refuse"`, the default), or the
   * one that has waited longest among those of the lowest priority (`"dropOldest"`); the new one if all others have a higher
   * priority.
   */
  readonly overflow?: "refuse" | "dropOldest" | undefined
}

/** A limit over a sliding window. */
export interface Window {
  readonly limit: number
  readonly per: Period
}

/** A duration: a number of milliseconds, or a number with a unit, such as "1 minute". */
export type Period =
  | number
  | `${number} ${"milli" | "second" | "minute" | "hour" | "day" | "week"}`
  | `${number} ${"millis" | "seconds" | "minutes" | "hours" | "days" | "weeks"}`

/** What a task costs, by the names of windows. A window that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** What a server has reported of a quota that a window stands for. */
export interface WindowReport {
  /** The name of the window. */
  readonly window: string
  /** How much may still be spent, after the request that this is the answer to: a number of at least 0. */
  readonly remaining: number
  /**
   * In which time the quota is reset. Until then the report counts. A number is in milliseconds. If the server refills
   * gradually, some room comes back before that, of which only its next answer tells. A shorter time starts tasks sooner; if it
   * is too short, they get responses of status 429.
   */
  readonly resetAfter: Period
  /**
   * When the request was sent: an instant of `performance.now()`. Starts after it are not in the report, and are subtracted.
   * Default: in the context of a task, the start of the task. On a meter, nothing is subtracted, and earlier reports remain in
   * force.
   */
  readonly sentAt?: number | undefined
  /**
   * Whether the server returns what a task has reserved and not used, as Anthropic does for output tokens. If so, corrections
   * of tasks that this report has counted change it, too. If not, they do not: the server has counted the reservation, and
   * keeps it until the reset. Default: `false`.
   */
  readonly refunds?: boolean | undefined
  /** Whether the report is ignored if there is no such window, instead of throwing a `TypeError`. Default: `false`. */
  readonly optional?: boolean | undefined
}

/** How a call can be cancelled. */
export interface Cancellation {
  /**
   * Cancels the call when it aborts. The call then rejects with the signal's reason, unless a failure or the winner of a
   * race has already decided it and only its `grace` is left.
   */
  readonly signal?: AbortSignal | undefined
  /**
   * How long the call waits for tasks that it has cancelled, or that have exceeded their `timeout`, to settle. A call
   * that is aborted also waits at most this long for its source to close. Default: 0. `Infinity` waits for all of them; a
   * task that waits for the end of its own call then waits forever.
   */
  readonly grace?: Period | undefined
}
