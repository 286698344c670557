/**
 * How far a call has come.
 *
 * @since 0.1.0
 */
export interface Progress {
  /** Tasks that have started; another attempt at one does not count again. */
  readonly started: number
  /** Tasks that run. */
  readonly running: number
  /** Tasks that wait for another attempt and, where `total` is known, all that have not started, otherwise one more at the most. */
  readonly waiting: number
  readonly succeeded: number
  readonly failed: number
  /** Attempts that were not a task's first. */
  readonly retried: number
  /** How many items there are, where the input tells: an array, a `Set`, a `Map`; `undefined` elsewhere. */
  readonly total: number | undefined
  /** Milliseconds since the call began. */
  readonly elapsed: number
  /** Tasks that have ended in a second, on average since the call began. */
  readonly rate: number
}
