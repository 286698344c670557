/**
 * The items of a call that wait for a retry: those whose delay has not passed yet, and those that are due.
 */
import { runtime } from "fibermeter/engine"

/** An item that waits for a retry. */
export interface PendingRetry<out A> {
  readonly item: A
  readonly index: number
  /** The attempts so far. */
  readonly attempts: number
}

interface Backoff {
  cancel?: () => void
}

export class RetryQueue<A> {
  /** How many items wait for another attempt, `current` included. */
  size = 0
  /** How many attempts have started, not counting the first of each item. */
  started = 0
  /** The one that is to start next. */
  current: PendingRetry<A> | undefined
  private readonly due: Array<PendingRetry<A>> = []
  private readonly backoffs = new Set<Backoff>()

  /** Calls `onDue` after so many milliseconds, when the attempt may start. */
  add(host: runtime.Host, retry: PendingRetry<A>, delay: number, onDue: () => void): void {
    this.size++
    const backoff: Backoff = {}
    this.backoffs.add(backoff)
    backoff.cancel = runtime.after(host, delay, () => {
      this.backoffs.delete(backoff)
      this.due.push(retry)
      onDue()
    })
  }

  /** Takes the first that is due as `current`, which must not be set. */
  next(): PendingRetry<A> | undefined {
    return (this.current = this.due.shift())
  }

  /** `current` is being started. */
  start(): void {
    this.current = undefined
    this.size--
    this.started++
  }

  clear(): void {
    for (const { cancel } of this.backoffs) cancel?.()
    this.backoffs.clear()
    this.due.length = 0
    this.current = undefined
    this.size = 0
  }
}
