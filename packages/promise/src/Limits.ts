/**
 * What a meter, and every call, can be told: its limits, and how it can be cancelled.
 */

/**
 * The limits that a meter can have, and every verb as options. One that is left out, `undefined` or `Infinity` does
 * not limit.
 */
export interface Limits {
  /** The most tasks that run at the same time: a whole number, at least 1. */
  readonly maxAtOnce?: number | undefined
  /**
   * The most tasks that start in a second: a number greater than 0. Starts are spread evenly; 0.2 is one every 5 s.
   * A fraction counts over a longer time: 2.5 is at most two in any 0.8 s.
   */
  readonly maxPerSecond?: number | undefined
  /**
   * With `maxPerSecond`: how many tasks may start together after a time in which none waited. A whole number, at least
   * 1, which is the default.
   */
  readonly maxBurst?: number | undefined
  /**
   * Limits over windows of time, by names of your own: in any window of length `per`, wherever it is laid, at most
   * `limit` tasks start or, where tasks have a `cost`, at most `limit` is spent. `limit` is a whole number, at least 1.
   */
  readonly windows?: { readonly [name: string]: Window | undefined } | undefined
}

/** A limit over any window of time of that length. */
export interface Window {
  readonly limit: number
  readonly per: Period
}

/** A length of time: a number of milliseconds, or a number with its unit, as in "1 minute". */
export type Period =
  | number
  | `${number} ${"milli" | "second" | "minute" | "hour" | "day" | "week"}`
  | `${number} ${"millis" | "seconds" | "minutes" | "hours" | "days" | "weeks"}`

/** What a task costs, by the names of windows. A window that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** How a call can be cancelled. */
export interface Cancellation {
  /**
   * Cancels the call when it aborts: the call then rejects with the signal's reason, unless a failure or the winner of a
   * race has decided it before, and it only waits out its `grace`.
   */
  readonly signal?: AbortSignal | undefined
  /**
   * How long the call waits for tasks that it has cancelled, or that have exceeded their `timeout`, to settle by
   * themselves; a number is in milliseconds. A call that is aborted waits no longer than that for its source to close,
   * either. Default: 0, not at all; `Infinity` waits for all of them, so a task that waits for the end of its own call then
   * waits for itself.
   */
  readonly grace?: Period | undefined
}
