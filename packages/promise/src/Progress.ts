/**
 * The progress of a call.
 *
 * @since 0.1.0
 */
export interface Progress {
  /** Tasks that have started. A retry does not count again. */
  readonly started: number
  /** Tasks that run. */
  readonly running: number
  /**
   * Items that have been pulled and wait for their start or for a retry: at most one without a meter per item and retries. If
   * `total` is known, also the items that have not been pulled. Those of a work queue are counted by its `size`.
   */
  readonly waiting: number
  readonly succeeded: number
  readonly failed: number
  /** Attempts after the first one of a task. */
  readonly retried: number
  /** How many items there are, for an array, a `Set` or a `Map`; otherwise `undefined`. */
  readonly total: number | undefined
  /** Milliseconds since the call began. */
  readonly elapsed: number
  /** Tasks that ended per second, on average since the call began. */
  readonly rate: number
}
