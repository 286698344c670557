/** A line: first in, first out, either in constant time, however long it is. */
export class Fifo<A> {
  private items: Array<A> = []
  private head = 0

  get size(): number {
    return this.items.length - this.head
  }

  push(item: A): void {
    this.items.push(item)
  }

  /** The first; there has to be one. */
  shift(): A {
    const item = this.items[this.head]!
    this.items[this.head++] = undefined!
    if (this.head === this.items.length) {
      this.clear()
    } else if (this.head > 1024 && this.head * 2 > this.items.length) {
      // Half of it and more has been taken: what is copied was paid for by that.
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return item
  }

  /** All of them, at most so many; and they are gone. */
  take(most: number): Array<A> {
    if (this.head === 0 && this.items.length <= most) {
      const all = this.items
      this.items = []
      return all
    }
    const taken: Array<A> = []
    while (taken.length < most && this.size > 0) taken.push(this.shift())
    return taken
  }

  clear(): void {
    this.items = []
    this.head = 0
  }
}
