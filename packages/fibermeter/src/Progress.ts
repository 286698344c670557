/**
 * The progress of a call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  /** Tasks that have started. */
  readonly started: number
  /** Tasks that are running. */
  readonly running: number
  /**
   * Items that have been pulled and wait for their start: at most one without a meter per item. If `total` is known, also the
   * items that have not been pulled. Those of a `WorkQueue` are counted by its `size`.
   */
  readonly waiting: number
  readonly succeeded: number
  readonly failed: number
  /** The number of items, if it is known in advance: for an array, a `Set` or a `Map`. Otherwise `undefined`. */
  readonly total: number | undefined
  /** Milliseconds since the call began. */
  readonly elapsed: number
  /** Tasks that have ended per second, on average since the call began. */
  readonly rate: number
}
