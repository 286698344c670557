import type { Period } from "./Limits.ts"
import type { Retry } from "./Retry.ts"

/** What happens to a task that takes too long or fails. */
export interface TaskOptions {
  /**
   * How long an attempt at a task may take. Then its signal is aborted, and the attempt has failed with a `TimeoutError`, a
   * `DOMException` as from `AbortSignal.timeout`. A task that ignores its signal counts as running until it has settled.
   * Default: no limit.
   */
  readonly timeout?: Period | undefined
  /**
   * With `timeout`: a task that has timed out releases its permits at once, even if it ignores its signal and keeps running.
   * So more than `maxAtOnce` tasks may really run. Neither `grace` nor `idle` waits for such a task. Default: `false`.
   */
  readonly releaseOnTimeout?: boolean | undefined
  /**
   * Whether a failed task is retried. If a failure that is retried carries a `Retry-After` (see `retryAfter`), the meter is
   * paused for that long; of several meters, the last; without a meter, the call itself. Default: no retries.
   */
  readonly retry?: Retry | undefined
}
