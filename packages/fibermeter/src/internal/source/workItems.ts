/**
 * The items of a work queue, which tasks add to while they run.
 *
 * An empty queue can still grow while an item is in work: from the step in which a call takes it until its task has ended,
 * waits for a start and for retries included. So a call waits at an empty queue, and the queue ends in the step in which the
 * last item in work is done, for all calls at once.
 *
 * A call that ends early stops working on its items: those that have started are done, and the one that has not goes back. That
 * does not end the queue, so that another call can take what is left, unless one waits for it already.
 */
import { Fifo } from "../data/fifo.ts"
import { Next } from "./source.ts"
import type { Source } from "./source.ts"

/** What the errors of both packages say of an item that comes too late. */
export const queueEnded =
  "the work queue has ended, because it was empty and none of its tasks was left: add items in its tasks, or before the call"

export class WorkItems<A> {
  hasEnded = false
  /** The sources that wait for an item, or for the end, in their order. */
  readonly waiting = new Set<() => void>()
  private readonly items = new Fifo<A>()
  /** Items that a call has given back. They come first. */
  private readonly returned: Array<A> = []
  private inWork = 0
  private readonly key: ((item: A) => unknown) | undefined
  /** All keys that there have been: a duplicate may come at any time. */
  private readonly keys = new Set<unknown>()

  constructor(key: ((item: A) => unknown) | undefined) {
    this.key = key
  }

  /** How many items wait. */
  get size(): number {
    return this.returned.length + this.items.size
  }

  /** Adds items, unless the queue has ended. A throw of `key` adds none. */
  add(items: ReadonlyArray<A>): void {
    const { key } = this
    if (key === undefined) {
      for (const item of items) this.items.push(item)
    } else {
      const keyed = items.map((item) => ({ item, key: key(item) }))
      for (const { item, key } of keyed) {
        if (this.keys.has(key)) continue
        this.keys.add(key)
        this.items.push(item)
      }
    }
    this.wakeNext()
  }

  /** Takes the next item, which has to exist. */
  take(): A {
    this.inWork++
    return this.returned.length > 0 ? this.returned.shift()! : this.items.shift()
  }

  /** The item has not started, and is for another call. */
  giveBack(item: A): void {
    this.inWork--
    this.returned.push(item)
    this.wakeNext()
  }

  /** So many items are done. Ends the queue if that was the last work. */
  done(items: number): void {
    this.inWork -= items
    if (this.inWork > 0 || this.size > 0) return
    this.hasEnded = true
    for (const wake of this.waiting) wake()
    this.waiting.clear()
  }

  /** A call that ends early stops working on so many items. */
  abandon(items: number): void {
    if (this.waiting.size > 0) this.done(items)
    else this.inWork -= items
  }

  /** The source of one more call. */
  source(): WorkSource<A> {
    return new WorkSource(this)
  }

  /**
   * Wakes the first source that waits, if there is an item. That one wakes the next: its call may have room for fewer items
   * than there are, or for none. To wake all of them for each item would take time in proportion to their number.
   */
  wakeNext(): void {
    const [wake] = this.waiting
    if (wake === undefined || this.size === 0) return
    this.waiting.delete(wake)
    wake()
  }
}

export class WorkSource<A> implements Source<A, never> {
  item!: A
  failure!: never
  onReady!: () => void
  private readonly items: WorkItems<A>
  private inWork = 0
  private wake: (() => void) | undefined

  constructor(items: WorkItems<A>) {
    this.items = items
  }

  next(): Next {
    const { items } = this
    if (items.size > 0) {
      this.inWork++
      this.item = items.take()
      return Next.item
    }
    // Without work, it ends now.
    items.done(0)
    if (items.hasEnded) return Next.done
    // A promise that is made here, so that what it leads to runs in the async context of this call, not in that of the task
    // that adds an item, and on an empty stack: a chain of tasks that add one item each may be long.
    void new Promise<void>((resolve) => {
      this.wake = resolve
      items.waiting.add(resolve)
    }).then(() => {
      this.onReady()
      items.wakeNext()
    })
    return Next.pending
  }

  settled(): void {
    this.inWork--
    this.items.done(1)
  }

  giveBack(item: A): void {
    this.inWork--
    this.items.giveBack(item)
  }

  close(onClosed: () => void): void {
    this.items.waiting.delete(this.wake!)
    this.items.abandon(this.inWork)
    onClosed()
  }
}
