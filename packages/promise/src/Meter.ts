/**
 * The types of meters: limits that many calls share.
 *
 * The verbs take a meter as an option, and a meter has the verbs as methods, so these types refer to each other. Imports
 * of types leave nothing in the published code.
 */
import type { amap } from "./amap.ts"
import type { Disposal, SyncDisposal } from "./Disposal.ts"
import type { Cancellation, Cost, MeterLimits, Period, WindowReport } from "./Limits.ts"
import type { runAll } from "./runAll.ts"
import type { runAny } from "./runAny.ts"
import type { runOnEach } from "./runOnEach.ts"
import type { TaskContext } from "./Task.ts"
import type { TaskOptions } from "./TaskOptions.ts"

/**
 * Limits that many calls share, made by `createMeter`. Runs single tasks, and has the verbs as methods. The verbs also
 * take meters as their option `meter`.
 *
 * @since 0.1.0
 */
export interface Meter extends Disposal {
  /** The verb `runOnEach` under this meter, and the meters in its options. */
  readonly runOnEach: typeof runOnEach
  /** The verb `runAll` under this meter, and the meters in its options. */
  readonly runAll: typeof runAll
  /** The verb `amap` under this meter, and the meters in its options. */
  readonly amap: typeof amap
  /** The verb `runAny` under this meter, and the meters in its options. */
  readonly runAny: typeof runAny
  /**
   * Runs one task when the meter admits it, first come, first served, and resolves with its result. Rejects with the very
   * value that the task threw, or with the reason of `signal` if that aborts first. A task that is waiting is then dropped;
   * a task that is running is cancelled, and counts as running until it has settled. Rejects at once, with a `RangeError`,
   * if the `cost` exceeds the limit of a window.
   */
  readonly run: <B>(task: MeterTask<B>, options?: RunOptions) => Promise<B>
  /**
   * Runs one task if the meter admits it now, and returns the promise of its result; otherwise returns `undefined`, and the
   * task never runs. It does not enter the queue, and does not start before tasks that wait there. Later attempts, with
   * `retry`, wait as usual. Rejects as `run` does, also if the meter is closed.
   */
  readonly tryRun: <B>(task: MeterTask<B>, options?: RunOptions) => Promise<B> | undefined
  /**
   * Acquires a permit when the meter admits it, for work that does not end with a function: the reading of a stream, a
   * connection. It counts as a running task until it is released. Rejects as `run` does.
   */
  readonly acquire: (options?: AcquireOptions) => Promise<Permit>
  /**
   * Returns a function like `f`. Each call of it is a task of the meter: it runs when the meter admits it, with the same
   * `this` and arguments, and returns a promise. If it is cancelled by `signal`, `timeout` or the end of the meter, the
   * promise rejects, but `f` continues, because it gets no signal. Use `run` if that is not enough.
   */
  readonly wrap: <F extends (...args: any) => unknown>(f: F, options?: WrapOptions<Parameters<F>>) => Wrapped<F>
  /** Resolves as soon as nothing runs or waits under the meter, and no call of a verb uses it. */
  readonly idle: () => Promise<void>
  /**
   * Rejects the calls that wait for the meter: calls of `run` and of wrapped functions, and calls of verbs of which a task
   * waits here, with all their tasks. A call between two attempts also waits. The default reason is an `AbortError`.
   */
  readonly clear: (reason?: unknown) => void
  /**
   * Accepts no more calls, and closes the meter when those that run or wait have ended, retries included. Resolves then.
   * Calls that come later reject as after `close()`. A verb in progress finishes the items that it has pulled; it pulls at
   * most one more, to find out whether there is one, and rejects as after `close()` if there is. A paused meter drains when
   * it is resumed; `close()` ends the draining at once. A task of the meter must not wait for `drain()`, which waits for it.
   *
   * `idle()` is different: it accepts new calls, and resolves at the first moment at which there is none.
   */
  readonly drain: () => Promise<void>
  /**
   * Ends the meter. Calls that wait or run under it are cancelled and reject, and so do later calls. The default reason is
   * an `AbortError`. Resolves when all those calls have ended. It does not wait for a task that ignores its signal, beyond
   * the `grace` of its call. `await using` closes the meter at the end of the block.
   */
  readonly close: (reason?: unknown) => Promise<void>
  /**
   * Starts no task for a duration, or until `resume`. Running tasks continue. Of several pauses, the one that ends last
   * counts, so a further pause cannot end an earlier one sooner.
   */
  readonly pause: (duration?: Period) => void
  /** Ends all pauses. Waiters start within this call: a `pause` after it comes too late for them. */
  readonly resume: () => void
  /**
   * Changes the given limits at once, also for tasks that already wait. `Infinity` lifts a limit. Running tasks continue.
   * Earlier starts count in a changed window as far as the old window still covered them. A limit that the meter did not
   * have begins empty: to keep a distance from the last start, `pause` the meter as well.
   */
  readonly resize: (limits: MeterLimits) => void
  /**
   * Tightens a window to what a server reports, as `reconcile` in the context of a task does. With `sentAt`, starts after that
   * instant are subtracted, since the server may not have counted them, and the report replaces those that had arrived before
   * it. Without, the strictest of all reports counts that have not ended. Of several meters, each with such a window is
   * tightened. Throws a `TypeError` if there is none.
   */
  readonly reconcile: (report: WindowReport) => void
  /** The state of the meter at this moment. */
  readonly snapshot: () => Snapshot
}

/**
 * A family of meters, one for each key: a host, a user, a tenant.
 *
 * @since 0.1.0
 */
export interface KeyedMeter<in out K> extends Disposal {
  /** The meter of a key. You may keep it: it stays valid, however long the key is not used. */
  readonly for: (key: K) => Meter
  /**
   * How many keys are in use: something runs or waits, or started less than their longest window ago, or their meter is
   * paused, or was resized, drained or closed by itself. Reading it changes nothing, and takes time in proportion to the
   * number of keys that are kept.
   */
  readonly size: number
  /** The keys in use and their meters, as they are now. A key that is not in use behaves as one that has never been. */
  readonly entries: () => IterableIterator<[key: K, meter: Meter]>
  readonly [Symbol.iterator]: () => IterableIterator<[key: K, meter: Meter]>
  /**
   * Ends the meter of a key, as `close` of that meter does, and forgets it: calls that wait or run under it are cancelled and
   * reject, and the next use of the key begins anew, with the limits of the family. A task that ignores its signal may still
   * be running then. To let the calls finish, await `drain()` of the meter before. Returns whether the key was in use. The
   * default reason is an `AbortError`.
   */
  readonly delete: (key: K, reason?: unknown) => boolean
  /**
   * Changes the given limits of all keys at once, also of those that are used later, and of those whose meters were resized by
   * themselves. What waits and runs is treated as by `resize` of a meter.
   */
  readonly resize: (limits: MeterLimits) => void
  /** The state of the meter of each key in use. */
  readonly snapshot: () => ReadonlyMap<K, Snapshot>
  /** Resolves as soon as nothing runs or waits under any key, and no call of a verb uses one. */
  readonly idle: () => Promise<void>
  /** Drains the meters of all keys, as `drain` of a meter does. Keys that are used later are refused as well. */
  readonly drain: () => Promise<void>
  /**
   * Ends the meters of all keys, as `close` of a meter does. Keys that are used later are closed as well. `await using` closes
   * the family at the end of the block.
   */
  readonly close: (reason?: unknown) => Promise<void>
}

/** The state of a meter. */
export interface Snapshot {
  /** Tasks that have started and not settled. */
  readonly running: number
  /** Tasks that wait for admission. */
  readonly waiting: number
  /** How many of those that wait there are in each lane. Tasks without a lane are not in it. */
  readonly lanes: ReadonlyMap<unknown, number>
  /** Tasks that have ever started. */
  readonly started: number
  /**
   * The limits in force; `Infinity` for none. Of several meters, the lowest `maxAtOnce`, the lowest `maxPerSecond` with its
   * `maxBurst`, and of windows with the same name the one with the lowest `limit`. `per` is in milliseconds.
   */
  readonly limits: {
    readonly maxAtOnce: number
    readonly maxPerSecond: number
    readonly maxBurst: number
    readonly windows: Readonly<Record<string, { readonly limit: number; readonly per: number }>>
  }
  /** Whether the meter is paused, or one of several. */
  readonly paused: boolean
  /** Whether `drain` has been called, of one of several meters at least. */
  readonly draining: boolean
  /** Whether the meter is closed, or one of several. */
  readonly closed: boolean
  /** How many permits are free; `Infinity` without `maxAtOnce`. */
  readonly free: number
  /** How much may be spent now in each window. */
  readonly room: Readonly<Record<string, number>>
  /**
   * Milliseconds until a task of cost 1 can start if no other task waits: 0 if it can start now, `Infinity` if that depends
   * on the end of a task or on `resume`.
   */
  readonly nextStart: number
}

/**
 * The options of `createMeter` and `createKeyedMeter`: the limits, and defaults for the options of the meter's `run`, `wrap`
 * and verbs, and of verbs that use it as their option `meter`, unless that is a function of the item. An option of a call takes
 * precedence. Of several meters, the first that has a default counts.
 */
export interface MeterOptions extends MeterLimits, TaskOptions {
  /** What messages on diagnostics channels call the meter, and with `store`, the name by which processes share it. */
  readonly name?: string | undefined
  /** The default of the option `priority`. */
  readonly priority?: number | undefined
  /**
   * Where the limits are kept, if several processes share them, such as `redisStore(client)` of `@fibermeter/redis`. All of
   * them must have the same limits. The meter needs a `name`.
   */
  readonly store?: MeterStore | undefined
}

/**
 * Keeps the limits of meters that several processes share. Made by `redisStore` or `memoryStore` of `@fibermeter/redis`.
 */
export interface MeterStore {
  readonly version: 1
  /** For the meter. */
  readonly limit: (name: string, limits: any) => object
}

/** How many permits a task holds. */
export interface Permits {
  /**
   * How many permits of `maxAtOnce` a task holds while it runs: a whole number, at least 1, which is the default. A task that
   * needs more than there are is rejected with a `RangeError`.
   */
  readonly permits?: number | undefined
}

/** The options of a meter's `run`. */
export interface RunOptions extends Cancellation, TaskOptions, Permits {
  /**
   * The priority of the task among those that wait for the same meters: a finite number, the higher first. Default: 0. A
   * waiter that 32 later arrivals of higher priority have overtaken is next.
   */
  readonly priority?: number | undefined
  /**
   * The lane of the task among those that wait for the same meters: any key, such as a tenant or a user. Lanes take turns, and
   * get equal numbers of permits. Within a lane, the priority counts.
   */
  readonly lane?: unknown
  /** Further meters, or one, that have to admit the task as well. It takes from all of them in the same step. */
  readonly meter?: Meter | ReadonlyArray<Meter> | undefined
  /** What the task costs, by the names of the windows of its meters; a window that is not named costs 1. */
  readonly cost?: Cost | undefined
  /**
   * How long the task may wait for its start; a `waitTimeout` of a meter applies as well. The call rejects with an
   * `OverloadedError` at once if the rate and the windows cannot admit it in time, otherwise when the time is up.
   */
  readonly waitTimeout?: Period | undefined
}

/**
 * The options of a meter's `acquire`. Of the defaults of the meter, `timeout`, `releaseOnTimeout` and `retry` do not apply:
 * there is no task.
 */
export interface AcquireOptions extends Omit<RunOptions, "grace" | "signal" | keyof TaskOptions> {
  /** Cancels the wait when it aborts. Afterwards, it aborts the `signal` of the permit, which remains to be released. */
  readonly signal?: AbortSignal | undefined
}

/**
 * A permit that `acquire` has acquired, with the permits of `maxAtOnce` that its options say. `using` and `await using` release
 * it at the end of the block.
 *
 * Release each permit. One that is garbage-collected is released then, with a warning (`process.emitWarning`, or
 * `console.warn`); but that may take any time, or never happen.
 *
 * @since 0.1.0
 */
export interface Permit extends Disposal, SyncDisposal {
  /** Releases the permit. Later calls have no effect. */
  readonly release: () => void
  /**
   * Aborted when the `signal` of the options aborts, or the meter is closed. Pass it to what the permit was acquired for, and
   * release the permit when that has ended.
   */
  readonly signal: AbortSignal
  /** Replaces the cost by what it really was, as `correct` does in the context of a task. */
  readonly correct: (cost: Cost) => void
  /** Tightens a window to what a server reports, as `reconcile` does in the context of a task. */
  readonly reconcile: (report: WindowReport) => void
  /** The number of the start among those of all processes, as `fencingToken` in the context of a task. */
  readonly fencingToken: number | undefined
}

/** The options of a meter's `wrap`. They apply to each call of the function. */
export interface WrapOptions<in Args extends ReadonlyArray<any>> extends Cancellation, TaskOptions, Permits {
  /**
   * The priority of a call among the tasks that wait for the same meters, or a function of its arguments. As with `lane` and
   * `cost`, the function is called once for each call, and all attempts have the same. Default: 0.
   */
  readonly priority?: number | ((...args: Args) => number) | undefined
  /** The lane of a call among the tasks that wait for the same meters, or a function of its arguments. */
  readonly lane?: unknown
  /** Further meters, or one, that have to admit each call as well. It takes from all of them in the same step. */
  readonly meter?: Meter | ReadonlyArray<Meter> | undefined
  /** What a call costs, by its arguments. */
  readonly cost?: ((...args: Args) => Cost) | undefined
  /** How long a call may wait for its start, as with `run`. */
  readonly waitTimeout?: Period | undefined
}

/** The type of `f` if it returns a promise; otherwise the same function returning a promise. */
export type Wrapped<F extends (...args: any) => unknown> =
  ReturnType<F> extends Promise<unknown>
    ? F
    : (this: ThisParameterType<F>, ...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>>

/** A task for the `run` of a meter. */
export type MeterTask<B> = (
  context: Pick<TaskContext, "signal" | "correct" | "reconcile" | "fencingToken">
) => B | PromiseLike<B>
