/**
 * The interface between a meter of `fibermeter` or `@fibermeter/promise` and a limit on a store. The meters recognise it by its
 * members and its version, so neither package imports the other. `test/interface.test-d.ts` compares these types with theirs.
 *
 * All times are nanoseconds.
 */

/** What a task costs, by the names of windows. The default is 1. */
export type Cost = Readonly<Record<string, number>>

/** What a waiter asks for. */
export interface Wish {
  readonly cost: Cost | undefined
  readonly permits: number
  /** How many starts its caller can use now. */
  readonly wanted: number
}

/** The limits of a meter, with `Infinity` for none. */
export interface MeterLimits {
  readonly maxAtOnce: number
  readonly maxPerSecond: number
  readonly maxBurst: number
  /** `per` is in milliseconds. */
  readonly windows: Readonly<Record<string, { readonly limit: number; readonly per: number }>>
}

/** The meter as the limit sees it. */
export interface Meter {
  /** The time by the monotonic clock of the meter's timers. */
  readonly now: () => number
  /** Calls `f` after that time, and returns a function that cancels it. */
  readonly after: (nanos: number, f: () => void) => () => void
  /**
   * The waiters, in order, with those for which grants are kept while they wait for another meter. Equal waiters may be one with
   * their sum in `wanted`.
   */
  readonly wishes: () => ReadonlyArray<Wish>
  /** The limit may have opened. */
  readonly wake: () => void
  /** The limit does not open: waiters are refused with this error, now and until `recover`. */
  readonly fail: (error: unknown) => void
  readonly recover: () => void
  /** Another process has changed the limits. */
  readonly resized: (limits: MeterLimits) => void
  /** Running tasks have lost their permits. */
  readonly interrupt: (error: unknown) => void
  /** An event that the meter passes on to its observers. */
  readonly event: (event: { readonly type: string }) => void
}

export interface ExternalLimit {
  readonly isPaused: boolean
  readonly attach: (meter: Meter) => void
  /** Grants are kept for the waiters in `kept`. */
  readonly opensIn: (wish: Wish, kept?: ReadonlyArray<Wish>) => number
  readonly take: (wish: Wish, kept?: ReadonlyArray<Wish>) => unknown
  readonly started: (grant: unknown) => void
  readonly correct: (grant: unknown, cost: Cost) => void
  readonly ended: (permits: number) => void
  readonly added: () => void
  readonly rest: () => void
  readonly pause: (nanos: number) => void
  readonly resize: (limits: MeterLimits) => void
  readonly close: () => Promise<void>
}

/** The option `store` of `createMeter`, and the service `MeterStore` of `fibermeter`. */
export interface Store {
  readonly version: 1
  /** The limit of the meter of that name. Throws a `RangeError` or `TypeError` if the store does not support such limits. */
  readonly limit: (name: string, limits: MeterLimits) => ExternalLimit
}
