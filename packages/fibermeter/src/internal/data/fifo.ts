/** A line: first in, first out, either in constant time, however long it is. */
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

  /** The first; there has to be one. */
  shift(): A {
    const item = this.items[this.head]!
    this.items[this.head++] = undefined!
    if (this.head === this.tail) {
      // The array is used again, since most lines are empty most of the time. It is short: see below.
      this.head = this.tail = 0
    } else if (this.head > fewItems && this.head * 2 > this.tail) {
      // Half of it and more has been taken: what is copied was paid for by that.
      this.items = this.items.slice(this.head, this.tail)
      this.tail -= this.head
      this.head = 0
    }
    return item
  }

  /** All of them, at most so many; and they are gone. */
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

/** Places that are kept although nothing is in them. */
const fewItems = 1024
