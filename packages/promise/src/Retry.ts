import type { Period } from "./Limits.ts"
import type { Meter } from "./Meter.ts"

/**
 * Which failures of a task are retried, and when.
 *
 * Each attempt is admitted like a new task, and so counts against every limit. Between two attempts a task holds no
 * permit. Items that are retried come before new items, and keep their index; with a meter per item, before the call's waiting
 * items with the same meters, priority, lane and cost. The failure of the last attempt is the failure of the task.
 *
 * @since 0.1.0
 */
export interface Retry {
  /**
   * How many attempts may follow the first one: a whole number, at least 0, or `Infinity`. Default: 2; with a `schedule`,
   * as many as it has delays. For responses of status 429, set more: the window of a quota is often longer than two delays.
   */
  readonly times?: number | undefined
  /**
   * The delay after a failure: a duration, or a function of the number of the next attempt (1 for the first retry) and of
   * the failure. Default: exponential backoff with full jitter, a random part of a second, then of twice as long each time,
   * up to 30 seconds. If the failure carries a `Retry-After` that is longer, that is the delay. It is never shorter than the
   * backoff, as a `Retry-After` may be 0, and is often the same for all requests that were refused together.
   */
  readonly delay?: Period | ((attempt: number, reason: unknown) => Period) | undefined
  /**
   * Instead of `delay`: the delays before each further attempt. When it ends, so do the retries. Each call iterates it
   * once, so pass an array, not a generator, to `wrap`.
   */
  readonly schedule?: Iterable<Period> | undefined
  /** Whether to retry after this failure. Default: after each, programming errors included. */
  readonly while?: ((reason: unknown, attempt: number) => boolean) | undefined
  /**
   * The longest delay. Also limits how long a `Retry-After` pauses a meter. Default: one hour for a `Retry-After`, and no
   * limit for `delay` and `schedule`.
   */
  readonly maxDelay?: Period | undefined
  /** The meter that a `Retry-After` pauses. Default: the last of the task's meters, so list the narrowest last; without a meter, the call itself. */
  readonly pauses?: Meter | undefined
}
