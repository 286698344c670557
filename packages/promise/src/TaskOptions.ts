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
   * Whether a task that fails is tried again. If the failure carries a `Retry-After` (see `retryAfter`), the meter is
   * paused for that long; of several, the first; without one, the call itself. Default: not at all.
   */
  readonly retry?: Retry | undefined
}
