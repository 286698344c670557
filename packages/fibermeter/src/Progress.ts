/**
 * How far a call has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  /** Tasks that have started. */
  readonly started: number
  /** Tasks that run. */
  readonly running: number
  /** Tasks that have not started, as far as they are known: all of them where `total` is, otherwise one at the most. */
  readonly waiting: number
  readonly succeeded: number
  readonly failed: number
  /** How many items there are, where the input tells: an array, a `Set`, a `Map`; `undefined` elsewhere. */
  readonly total: number | undefined
  /** Milliseconds since the call began. */
  readonly elapsed: number
  /** Tasks that have ended in a second, on average since the call began. */
  readonly rate: number
}
