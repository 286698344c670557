import { calls, data } from "fibermeter/engine"
import { makeRun, ofItems } from "./internal/arguments.ts"
import type { Call } from "./internal/arguments.ts"
import { throwIfAborted } from "./internal/signal.ts"
import { settlingOrTolerating } from "./internal/outcomes.ts"
import type { CallCollector } from "./internal/outcomes.ts"
import type { Rejection } from "./internal/rejection.ts"
import type { RetryingRun } from "./internal/retryingRun.ts"
import { isLate, settleCall, settleInOrder, settleLater } from "./internal/settle.ts"
import type { Settle } from "./internal/settle.ts"
import type { AmapOptions, Settled, Unsettled } from "./Options.ts"
import type { Outcome } from "./Outcome.ts"
import type { Results } from "./Results.ts"
import type { Items, ItemTask } from "./Task.ts"

/**
 * Runs a task for each item and yields the results as they become available, to be read by `for await`.
 *
 * Nothing starts before the first `next()`. Tasks start in input order; with `ordered: true`, results come in that
 * order, too. At most `maxUnread` tasks are started and not yet read, so a slow reader slows the tasks down and memory stays
 * bounded, even for an infinite source. Leaving the loop early (`break`, `return`, a throw), `return()`, `throw()` and
 * `await using` cancel the tasks in flight and start nothing more.
 *
 * `return()` resolves when the call has ended, and rejects only with what the source throws when it is closed, or what
 * `onProgress` throws at its last call: a failure of a task that has not been read is dropped, as results are. It does not
 * wait for a source that is already being closed, which may be the caller of `return()`.
 *
 * The first task to throw or reject stops new starts and cancels the others. The iterator yields the results that came
 * before it, then rejects with the very value that the task threw. Throws a `RangeError` or `TypeError` at once if an
 * option is invalid.
 *
 * @example
 * ```ts
 * import { setTimeout } from "node:timers/promises"
 * import { amap } from "@fibermeter/promise"
 *
 * const sorted: Array<number> = []
 * for await (const n of amap([150, 50, 300, 100], (n) => setTimeout(n, n))) sorted.push(n)
 * console.log(sorted) // => [50, 100, 150, 300]
 * ```
 *
 * @since 0.1.0
 */
export const amap: {
  /**
   * Runs a task for each item and yields the outcome of each as it becomes available.
   *
   * Nothing starts before the first `next()`. Without options nothing limits how many run at once.
   * Throws a `RangeError` or `TypeError` at once if an option is invalid.
   *
   * @example
   * ```ts
   * import { amap } from "@fibermeter/promise"
   *
   * const statuses: Array<string> = []
   * for await (const { status } of amap([1, 2], async (n) => n, { settled: true })) statuses.push(status)
   *
   * statuses // => ["fulfilled", "fulfilled"]
   * ```
   *
   * @since 0.1.0
   */
  <A, B>(items: Items<A>, task: ItemTask<NoInfer<A>, B>, options: Settled<AmapOptions<A>>): Results<Outcome<B, A>>
  /**
   * Runs a task for each item and yields the results as they become available.
   *
   * Nothing starts before the first `next()`. Without options nothing limits how many run at once.
   * Throws a `RangeError` or `TypeError` at once if an option is invalid.
   *
   * @example
   * ```ts
   * import { amap } from "@fibermeter/promise"
   *
   * const results: Array<number> = []
   * for await (const result of amap([1, 2, 3], async (n) => n * 2, { ordered: true })) results.push(result)
   *
   * results // => [2, 4, 6]
   * ```
   *
   * @since 0.1.0
   */
  <A, B>(items: Items<A>, task: ItemTask<NoInfer<A>, B>, options?: Unsettled<AmapOptions<A>>): Results<B>
  /** Runs a task for each item. Whether it yields the results or the outcomes depends on the value of `settled`. */
  <A, B>(items: Items<A>, task: ItemTask<NoInfer<A>, B>, options: AmapOptions<A>): Results<B> | Results<Outcome<B, A>>
} = <A>(items: Items<A>, task: ItemTask<A, any>, options?: AmapOptions<A>): Results<any> =>
  new ResultIterator(ofItems<A, any>(items, task, options))

interface Reader<B> {
  readonly resolve: Settle<IteratorResult<B, undefined>>
  readonly reject: (reason: unknown) => void
}

class ResultIterator<A, B> implements Results<B> {
  private readonly call: Call<A, B>
  private readonly feed: calls.Feed<B>
  private readonly collector: CallCollector<B>
  private run: RetryingRun<A, B> | undefined
  /** Pending calls of `next`, in order. */
  private readonly readers = new data.Fifo<Reader<B>>()
  private hasBegun = false
  /** The run has ended; results may still wait to be read. */
  private hasEnded = false
  /** How the call rejects, until a reader has got it. */
  private rejection: Rejection | undefined
  private unlisten: (() => void) | undefined
  private onEnded: (() => void) | undefined
  /** Settles when the reader has left. */
  private left: Promise<void> | undefined

  constructor(call: Call<A, B>) {
    this.call = call
    this.feed = new calls.Feed<B>(call.options.ordered === true, () => this.deliver())
    this.collector = settlingOrTolerating(call.options, this.feed)
  }

  next(): Promise<IteratorResult<B, undefined>> {
    if (this.feed.size > 0) {
      const result = { done: false, value: this.feed.shift() } as const
      // Results that are ready could be read without ever leaving the microtask queue.
      const next = isLate()
        ? new Promise<typeof result>((resolve) => settleLater(resolve, result))
        : Promise.resolve(result)
      this.run!.read(1)
      if (this.hasEnded && this.feed.size === 0) this.unlisten?.()
      return next
    }
    return new Promise((resolve, reject) => {
      this.readers.push({ resolve, reject })
      if (!this.hasBegun && !this.hasEnded) this.begin()
      else this.deliver()
    })
  }

  async return(value?: undefined): Promise<IteratorResult<B, undefined>> {
    await this.leave()
    return { done: true, value }
  }

  async throw(error?: unknown): Promise<never> {
    await this.leave()
    throw error
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  private begin(): void {
    const { maxUnread, signal } = this.call.options
    this.hasBegun = true
    let begun: ReturnType<typeof makeRun<A, B>>
    try {
      throwIfAborted(signal)
      begun = makeRun(
        this.call,
        this.collector,
        (rejection, unclosed) => this.end(rejection ?? this.collector.rejection ?? unclosed),
        maxUnread,
        (reason) => this.drop(reason)
      )
    } catch (reason) {
      return this.end({ reason })
    }
    this.run = begun.run
    this.unlisten = begun.unlisten
    // Code of the caller that ran since may have left.
    if (this.left === undefined) begun.begin()
    else begun.run.abandon()
  }

  private end(rejection: Rejection | undefined): void {
    this.hasEnded = true
    this.rejection = rejection
    if (rejection !== undefined) this.unlisten?.()
    this.onEnded?.()
    this.deliver()
  }

  /** An abort drops unread results, even when the last task has ended. */
  private drop(reason: unknown): void {
    this.feed.clear()
    if (this.hasEnded) this.end({ reason })
  }

  /** Settles pending reads. */
  private deliver(): void {
    while (this.readers.size > 0 && this.feed.size > 0) {
      settleInOrder(this.readers.shift().resolve, { done: false, value: this.feed.shift() })
      this.run!.read(1)
    }
    if (!this.hasEnded || this.feed.size > 0) return
    this.unlisten?.()
    for (const { reject, resolve } of this.readers.take(Infinity)) {
      if (this.rejection === undefined) settleCall(resolve, done)
      else reject(this.rejection.reason)
      this.rejection = undefined
    }
  }

  /**
   * Cancels the tasks in flight, once. Pending reads resolve as done. A reader that leaves while the source is being closed
   * does not wait for it: the reader may be the source itself.
   */
  private leave(): Promise<void> {
    const isClosing = this.run?.phase === "closing"
    if (this.left === undefined) {
      let settle!: (result: void | Promise<never>) => void
      this.left = new Promise((resolve) => (settle = resolve))
      // After the promise exists, because this may call `leave` again.
      this.depart(settle)
    }
    return isClosing ? Promise.resolve() : this.left
  }

  private depart(settle: (result: void | Promise<never>) => void): void {
    const { run } = this
    this.unlisten?.()
    this.feed.clear()
    this.collector.forgive?.()
    this.rejection = undefined
    if (run === undefined || this.hasEnded) {
      this.hasEnded = true
      settle()
    } else {
      const isEnding = run.phase === "open"
      this.onEnded = () => {
        const { rejection } = this
        this.rejection = undefined
        // An error of the source's `return()`, if this call closes the source. An earlier failure of the call is dropped
        // unread, whether or not the source had closed by then.
        settle(isEnding && rejection !== undefined ? Promise.reject(rejection.reason) : undefined)
      }
    }
    for (const reader of this.readers.take(Infinity)) reader.resolve(done)
    run?.abandon()
  }
}

const done = { done: true, value: undefined } as const
