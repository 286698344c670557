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
  /** Tasks that have not started, as far as they are known: all of them if `total` is known, otherwise at most one. */
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
