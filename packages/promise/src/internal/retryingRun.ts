/**
 * A call whose tasks can fail more than once: tasks that have failed are attempted again, and tasks that have timed out
 * count as failed while they still run.
 *
 * A retry is admitted like a new task, before items that have not been pulled. It holds no permit between two attempts.
 * Its result already has room, so back-pressure does not concern it. A task that has timed out holds its permit until it
 * settles.
 */
import { calls } from "fibermeter/engine"
import type { admission } from "fibermeter/engine"
import type { PromiseWorker } from "./promiseWorker.ts"
import type { Rejection } from "./rejection.ts"
import { RetryQueue } from "./retryQueue.ts"

export class RetryingRun<A, B> extends calls.Run<A, B, Rejection> {
  declare readonly worker: PromiseWorker<A, B>
  /** Created for the first retry: most calls have none. */
  private retries: RetryQueue<A> | undefined
  /** Tasks that have timed out and not settled. They are among those that run. */
  private timedOut = 0

  /** An attempt has failed and settled. The next one may start after so many milliseconds. */
  retry(item: A, index: number, attempts: number, delay: number): void {
    this.schedule(item, index, attempts, delay)
    this.running--
    this.release(index)
  }

  /** An attempt has timed out and not settled. The next one may start after so many milliseconds. */
  retryBeforeEnd(item: A, index: number, attempts: number, delay: number): void {
    this.timedOut++
    this.schedule(item, index, attempts, delay)
    this.proceed()
  }

  /** The last attempt has timed out and not settled. */
  failedBeforeEnd(index: number, failure: Rejection): void {
    this.timedOut++
    this.countFailure(index, failure)
    this.proceed()
    this.itemEnded()
  }

  /** An attempt that had timed out has settled. */
  settledLate(index: number): void {
    this.timedOut--
    this.running--
    this.release(index)
  }

  private schedule(item: A, index: number, attempts: number, delay: number): void {
    // The callbacks that decide on a retry may have ended the call.
    if (this.phase !== "open") return
    this.retries ??= new RetryQueue()
    this.items?.backOff(index)
    this.retries.add(this.host, { item, index, attempts }, delay, () => this.pump())
  }

  /** How many items are between two attempts. */
  private get backingOff(): number {
    return this.retries === undefined ? 0 : this.retries.size
  }

  override counts(total: number | undefined): calls.Counts & { readonly retried: number } {
    const counts = super.counts(total)
    return {
      ...counts,
      running: counts.running - this.timedOut,
      waiting: counts.waiting + this.backingOff,
      retried: (this.retries?.started ?? 0) - (this.items?.notRetried ?? 0)
    }
  }

  override isWaitingAt(limiter: admission.Limiter): boolean {
    return this.backingOff > 0 || super.isWaitingAt(limiter)
  }

  protected override hasItem(): boolean {
    // The admission request is for the item at hand, so that one comes first.
    if (this.retries === undefined || this.input === "item") return super.hasItem()
    if (this.retries.current !== undefined) return true
    const next = this.retries.next()
    if (next === undefined) return super.hasItem()
    this.weigh(next.item, next.index)
    return this.phase === "open"
  }

  protected override mayPull(): boolean {
    // Where all tasks fail, an endless source must not be read to the end.
    return super.mayPull() && (this.backingOff === 0 || this.backingOff < this.capacity)
  }

  protected override startTask(): void {
    const retry = this.retries?.current
    if (retry === undefined) return super.startTask()
    this.retries!.start()
    this.starter.start(this, retry.item, retry.index, retry.attempts)
  }

  override stop(): void {
    if (this.phase === "open") this.retries?.clear()
    super.stop()
  }

  protected override get isDone(): boolean {
    return this.running === this.timedOut && this.backingOff === 0 && this.input !== "item"
  }
}
