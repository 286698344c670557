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
  /** Tasks that wait for another attempt and tasks that have not started: all of them if `total` is known, otherwise at most one. */
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
