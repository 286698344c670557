/**
 * A race with staggered starts, as RFC 8305 ("Happy Eyeballs") staggers the attempts to connect: the next task may start when
 * a delay has passed since the last start, or as soon as a task has failed.
 *
 * The items are held back, not the starts: limits admit the tasks as those of every call, and retries need no new item. The
 * next item is pulled during the delay, so a slow source does not add to it. A run asks for the next item in the step in
 * which it has started the last one, or with a meter per item, in which that one waits for its meters; the delay begins then.
 */
import { after } from "../runtime/host.ts"
import type { Host } from "../runtime/host.ts"
import { Next } from "../source/source.ts"
import type { Source } from "../source/source.ts"
import { Any } from "./any.ts"

export class Staggered<B, F> extends Any<B, F> {
  private readonly millis: number
  private source!: StaggeredSource<unknown, unknown>

  constructor(untilSettled: boolean, millis: number) {
    super(untilSettled)
    this.millis = millis
  }

  pace<A, G>(source: Source<A, G>, host: Host): Source<A, G> {
    const staggered = new StaggeredSource(source, host, this.millis)
    this.source = staggered
    return staggered
  }

  override succeeded(index: number, value: B): boolean {
    // The losers may take a while to end.
    this.source.cancelTimer()
    return super.succeeded(index, value)
  }

  override failed(index: number, failure: F): boolean {
    this.source.failed(index)
    return super.failed(index, failure)
  }

  /** Called when the permits of a failed task are free. */
  flush(): void {
    this.source.answerIfDue()
  }
}

class StaggeredSource<A, F> implements Source<A, F> {
  onReady!: () => void
  settled?: () => void
  private readonly source: Source<A, F>
  private readonly host: Host
  private readonly millis: number
  /** How many items the run has got. */
  private given = 0
  /** Whether the run waits for an answer. If so, the last item has started. */
  private isAsked = false
  /** Whether the next item may start. */
  private isDue = true
  private answer: Next = Next.pending
  /** Whether the run knows that there is an answer, and has not asked for it yet. */
  private isReady = false
  private cancelDelay: (() => void) | undefined

  constructor(source: Source<A, F>, host: Host, millis: number) {
    this.source = source
    this.host = host
    this.millis = millis
    if (source.settled !== undefined) this.settled = () => source.settled!()
    source.onReady = () => {
      this.answer = source.next()
      this.answerIfDue()
    }
  }

  get item(): A {
    return this.source.item
  }

  get failure(): F {
    return this.source.failure
  }

  next(): Next {
    if (!this.isAsked) {
      this.isAsked = true
      if (!this.isDue && this.millis < Infinity) this.cancelDelay = after(this.host, this.millis, () => this.due())
      this.answer = this.source.next()
    }
    if (!this.hasAnswer) return Next.pending
    this.cancelTimer()
    this.isAsked = this.isDue = this.isReady = false
    if (this.answer === Next.item) this.given++
    return this.answer
  }

  /** A task has failed. One that started before an item that has not started yet only makes room for that one. */
  failed(index: number): void {
    if (!this.isAsked && index < this.given - 1) return
    this.isDue = true
    this.cancelTimer()
  }

  answerIfDue(): void {
    if (!this.isAsked || this.isReady || !this.hasAnswer) return
    this.isReady = true
    this.onReady()
  }

  giveBack(item: A): void {
    this.source.giveBack?.(item)
  }

  close(onClosed: (failure?: F) => void): void {
    this.cancelTimer()
    if (this.isAsked && this.answer === Next.item) this.giveBack(this.item)
    this.source.close(onClosed)
  }

  cancelTimer(): void {
    this.cancelDelay?.()
    this.cancelDelay = undefined
  }

  private due(): void {
    this.isDue = true
    this.answerIfDue()
  }

  private get hasAnswer(): boolean {
    return this.answer !== Next.pending && (this.isDue || this.answer !== Next.item)
  }
}
