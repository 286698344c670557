import type { Period } from "./Limits.ts"

/**
 * Which failures of a task are followed by another attempt, and when.
 *
 * Each attempt is admitted like a task that is new, and so counts against every limit; between two of them, no place is
 * held. Items that are tried again come before those that have not been taken yet, and keep their index. The last
 * attempt's failure is the task's.
 *
 * @since 0.1.0
 */
export interface Retry {
  /**
   * How many attempts may follow the first one: a whole number, at least 0, or `Infinity`. Default: 2; with a `schedule`,
   * as many as that has.
   */
  readonly times?: number | undefined
  /**
   * How long to wait after a failure: always the same, or by the number of the attempt that follows (1 for the first
   * retry) and the reason. Default: a second, then twice as long each time, up to 30 seconds.
   */
  readonly delay?: Period | ((attempt: number, reason: unknown) => Period) | undefined
  /**
   * Instead of `delay`: how long to wait before each further attempt. Its end is the end of the retries. It is gone
   * through once for each call, so give an array, rather than a generator, to a function that is wrapped.
   */
  readonly schedule?: Iterable<Period> | undefined
  /** Whether this failure is worth another attempt. Default: each is. */
  readonly while?: ((reason: unknown, attempt: number) => boolean) | undefined
}
