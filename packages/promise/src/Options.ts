/**
 * The options of the verbs.
 */
import type { Cancellation, Cost, Limits, Period } from "./Limits.ts"
import type { Meter, Permits } from "./Meter.ts"
import type { Progress } from "./Progress.ts"
import type { TaskOptions } from "./TaskOptions.ts"

/** The options of every verb. Without any, nothing limits. */
export interface Options<in A = any> extends Limits, Cancellation, TaskOptions, Permits {
  /**
   * A meter, or several, shared with other calls. The limits of the call itself apply in addition. With several meters, a
   * task starts when all of them admit it, and takes from all of them in the same step.
   *
   * Or a function that returns the meters of an item, at least one. It is called once for each item, when it is pulled. Items
   * whose meters are closed do not delay others, and items of the same meters start in input order, retries first. If it throws, or returns
   * something else, the call fails with that error. Defaults that these meters have for calls, such as `retry`, do not apply.
   */
  readonly meter?: Meter | ReadonlyArray<Meter> | ((item: A, index: number) => Meter | ReadonlyArray<Meter>) | undefined
  /**
   * Where `meter` is a function: the most items that have been pulled and wait for their start or their next attempt, a
   * whole number, at least 1. While that many wait, no further item is pulled. Default: 1000.
   */
  readonly maxPending?: number | undefined
  /**
   * What a task costs, by the names of windows, including those of its meters. A window that is not named costs 1. If a
   * task costs more than the limit of a window, the call rejects with a `RangeError`. The task can change its cost by
   * `correct`. Called before each attempt, retries included.
   */
  readonly cost?: ((item: A, index: number) => Cost) | undefined
  /**
   * The priority of a task among those that wait for the same meters, or a function of the item: a finite number, the higher
   * first. Default: 0. A call asks for one start at a time, in input order, so this is its rank among other calls and single
   * tasks, and with a meter per item also among its other items. A waiter that 32 later arrivals of higher priority have overtaken is next.
   * A function is called before each attempt, so that a retry can have another priority.
   */
  readonly priority?: number | ((item: A, index: number) => number) | undefined
  /**
   * The lane of a task among those that wait for the same meters, or a function of the item: any key, such as a tenant or a
   * user. Lanes take turns, and get equal numbers of permits. Within a lane, the priority counts. A function is called before
   * each attempt.
   */
  readonly lane?: unknown
  /** Called with the progress of the call ten times a second, and once at the end. If it throws, the call fails with that. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** The options of the verbs that run every task. */
export interface EachOptions<in A = any> extends Options<A> {
  /**
   * With `false`, failures stop nothing: all tasks run. If any of them has failed, the call then rejects with an
   * `AggregateError` whose `errors` are what they threw, in input order. Default: `true`.
   */
  readonly stopOnError?: boolean | undefined
}

/** The options of `runAll`. */
export interface RunAllOptions<in A = any> extends EachOptions<A> {
  /** With `true`, the result of each task is its `Outcome`, and no failure ends the call. Default: `false`. */
  readonly settled?: boolean | undefined
}

/** Options that ask for outcomes. */
export type Settled<O> = O & { readonly settled: true }

/** Options that do not. */
export type Unsettled<O> = O & { readonly settled?: false | undefined }

/** The options of `amap`. */
export interface AmapOptions<in A = any> extends RunAllOptions<A> {
  /** Results come in the order of the items instead of as they become available. Default: `false`. */
  readonly ordered?: boolean | undefined
  /**
   * The most tasks that have started and whose results have not been read yet, running or finished: a whole number, at
   * least 1. Default: twice the number that may run at once; unlimited if that is unlimited.
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
  /**
   * Staggers the starts: after a start, the next one is requested when this time has passed, or as soon as a task has failed
   * (a retried task not before its last attempt), whichever comes first. Limits apply in addition. `Infinity`: only after a
   * failure. Default: 0, all at once.
   */
  readonly stagger?: Period | undefined
}
