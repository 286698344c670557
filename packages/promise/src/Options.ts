/**
 * The options of the verbs.
 */
import type { Meter } from "./createMeter.ts"

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
}

/** How a call can be cancelled. */
export interface Cancellation {
  /** Cancels the call when it aborts: the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /**
   * How long the call waits for tasks that it has cancelled to settle by themselves, in milliseconds. Default: 0, not
   * at all; `Infinity` waits for all of them.
   */
  readonly grace?: number | undefined
}

/** The options of every verb. Without any, nothing limits. */
export interface Options extends Limits, Cancellation {
  /**
   * A meter, or several, whose limits hold for this call together with all others that use them. The call's own limits
   * come on top. With several, a task starts only when all of them admit it, and takes from all in the same step.
   */
  readonly meter?: Meter | ReadonlyArray<Meter> | undefined
}

/** The options of `amap`. */
export interface AmapOptions extends Options {
  /** Results come in the order of the items instead of as they become available. Default: `false`. */
  readonly ordered?: boolean | undefined
  /**
   * The most tasks that are started and whose results have not been read yet, running or finished: a whole number, at
   * least 1. Default: twice the number that may run at once; unlimited where that is.
   */
  readonly maxUnread?: number | undefined
}

/** The options of `runAny`. */
export interface RunAnyOptions extends Options {
  /**
   * What decides: the first task to succeed (`"success"`, the default), or the first to settle, even by rejecting
   * (`"settled"`).
   */
  readonly until?: "success" | "settled" | undefined
}
