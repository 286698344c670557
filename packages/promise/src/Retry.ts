import type { Period } from "./Limits.ts"

/**
 * Which failures of a task are retried, and when.
 *
 * Each attempt is admitted like a new task, and so counts against every limit. Between two attempts a task holds no
 * permit. Items that are retried come before items that have not been pulled yet, and keep their index. The failure of
 * the last attempt is the failure of the task.
 *
 * @since 0.1.0
 */
export interface Retry {
  /**
   * How many attempts may follow the first one: a whole number, at least 0, or `Infinity`. Default: 2; with a `schedule`,
   * as many as it has delays.
   */
  readonly times?: number | undefined
  /**
   * The delay after a failure: a duration, or a function of the number of the next attempt (1 for the first retry) and of
   * the failure. Default: a second, then twice as long each time, up to 30 seconds.
   */
  readonly delay?: Period | ((attempt: number, reason: unknown) => Period) | undefined
  /**
   * Instead of `delay`: the delays before each further attempt. When it ends, so do the retries. Each call iterates it
   * once, so pass an array, not a generator, to `wrap`.
   */
  readonly schedule?: Iterable<Period> | undefined
  /** Whether to retry after this failure. Default: always. */
  readonly while?: ((reason: unknown, attempt: number) => boolean) | undefined
}
