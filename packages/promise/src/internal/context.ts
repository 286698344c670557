/**
 * What a task is told about itself. The signal is made when the task first looks at it, since most do not.
 */

/** What a task is called with. */
export interface TaskContext {
  /** The place of the task's item, or of the task itself, in the input; from 0. */
  readonly index: number
  /**
   * Aborted when the task is cancelled: with the caller's reason where the caller aborted, otherwise with an
   * `AbortError`. To be passed on to whatever can be aborted, such as `fetch`.
   */
  readonly signal: AbortSignal
}

export class Context implements TaskContext {
  readonly index: number
  private controller: AbortController | undefined
  private cancelled: { readonly reason: unknown } | undefined

  constructor(index: number) {
    this.index = index
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController()
      if (this.cancelled !== undefined) this.controller.abort(this.cancelled.reason)
    }
    return this.controller.signal
  }

  abort(reason: unknown): void {
    this.cancelled = { reason }
    this.controller?.abort(reason)
  }
}
