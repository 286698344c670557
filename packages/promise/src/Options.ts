/**
 * The options of the verbs.
 */
import type { Cancellation, Cost, Limits } from "./Limits.ts"
import type { Meter } from "./Meter.ts"
import type { Progress } from "./Progress.ts"
import type { TaskOptions } from "./TaskOptions.ts"

/** The options of every verb. Without any, nothing limits. */
export interface Options<in A = any> extends Limits, Cancellation, TaskOptions {
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
  /** Told how far the call has come, ten times a second, and once when it ends. If it throws, the call fails with that. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** The options of the verbs that run every task. */
export interface EachOptions<in A = any> extends Options<A> {
  /**
   * With `false`, failures stop nothing: all tasks run, and in the end the call rejects with an `AggregateError` whose
   * `errors` are what they threw, in the order of the input, if any has failed. Default: `true`.
   */
  readonly stopOnError?: boolean | undefined
}

/** The options of `runAll`. */
export interface RunAllOptions<in A = any> extends EachOptions<A> {
  /** With `true`, nothing fails the call: each task gives what has become of it, an `Outcome`. Default: `false`. */
  readonly settled?: boolean | undefined
}

/** Options that ask for outcomes. */
export type Settled<O> = O & { readonly settled: true }

/** The options of `amap`. */
export interface AmapOptions<in A = any> extends RunAllOptions<A> {
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
