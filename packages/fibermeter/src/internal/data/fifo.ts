/** A queue: first in, first out. Both take constant amortised time, however long it is. */
export class Fifo<A> {
  private items: Array<A> = []
  private head = 0
  private tail = 0

  get size(): number {
    return this.tail - this.head
  }

  push(item: A): void {
    this.items[this.tail++] = item
  }

  /** Removes the first item, which has to exist. */
  shift(): A {
    const item = this.items[this.head]!
    this.items[this.head++] = undefined!
    if (this.head === this.tail) {
      // The array is used again, since most queues are empty most of the time. It is short: see below.
      this.head = this.tail = 0
    } else if (this.head > fewItems && this.head * 2 > this.tail) {
      // At least as many items have been removed as are copied.
      this.items = this.items.slice(this.head, this.tail)
      this.tail -= this.head
      this.head = 0
    }
    return item
  }

  /** Removes the first items, at most so many. */
  take(most: number): Array<A> {
    const taken: Array<A> = []
    while (taken.length < most && this.size > 0) taken.push(this.shift())
    return taken
  }

  clear(): void {
    this.items = []
    this.head = this.tail = 0
  }
}

/** Removed items whose entries are kept. */
const fewItems = 1024
