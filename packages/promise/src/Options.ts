/**
 * The options of the verbs.
 */
import type { Cancellation, Cost, Limits } from "./Limits.ts"
import type { Meter } from "./Meter.ts"

/** The options of every verb. Without any, nothing limits. */
export interface Options<in A = any> extends Limits, Cancellation {
  /**
   * A meter, or several, whose limits hold for this call together with all others that use them. The call's own limits
   * come on top. With several, a task starts only when all of them admit it, and takes from all in the same step.
   */
  readonly meter?: Meter | ReadonlyArray<Meter> | undefined
  /**
   * What a task costs, by the names of the windows it is paid from, those of its meters included; a window that is not
   * named costs 1. A task that costs more than a whole window allows for is refused: the call rejects with a
   * `RangeError`. A task's `correct` puts right what turned out otherwise.
   */
  readonly cost?: ((item: A, index: number) => Cost) | undefined
}

/** The options of `amap`. */
export interface AmapOptions<in A = any> extends Options<A> {
  /** Results come in the order of the items instead of as they become available. Default: `false`. */
  readonly ordered?: boolean | undefined
  /**
   * The most tasks that are started and whose results have not been read yet, running or finished: a whole number, at
   * least 1. Default: twice the number that may run at once; unlimited where that is.
   */
  readonly maxUnread?: number | undefined
}

/** The options of `runAny`. */
export interface RunAnyOptions<in A = any> extends Options<A> {
  /**
   * What decides: the first task to succeed (`"success"`, the default), or the first to settle, even by rejecting
   * (`"settled"`).
   */
  readonly until?: "success" | "settled" | undefined
}
