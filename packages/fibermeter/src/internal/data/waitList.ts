/**
 * A queue whose members can leave from any position, in constant time. If only the first one leaves, `fifo.ts` is simpler.
 *
 * It is an array with gaps and not a linked list: with a hundred thousand members linked both ways, a task that waits took
 * about twice as long, most of it in the garbage collector.
 */

/** A member of one list at a time. */
export interface WaitListEntry {
  /** Its index in its list. */
  position: number
}

/** Gaps that are tolerated, besides as many as there are members. */
const fewGaps = 256

export class WaitList<A extends WaitListEntry> {
  /** The members are from `head` to before `tail`, with gaps where some have left. */
  private entries: Array<A | undefined> = []
  /** The index of the first member, if there is one. */
  private head = 0
  private tail = 0
  size = 0

  get first(): A | undefined {
    return this.entries[this.head]
  }

  /** All members, in their order. */
  get members(): ReadonlyArray<A> {
    return this.entries.filter((each) => each !== undefined)
  }

  has(member: A): boolean {
    return this.entries[member.position] === member
  }

  /** Adds a member behind all others. */
  add(member: A): void {
    member.position = this.tail
    this.entries[this.tail++] = member
    this.size++
  }

  /** Removes a member, if it is in the list. Returns whether it was the first. */
  remove(member: A): boolean {
    if (!this.has(member)) return false
    const wasFirst = member.position === this.head
    const { entries } = this
    entries[member.position] = undefined
    this.size--
    if (this.size === 0) {
      this.head = this.tail = 0
      if (entries.length > fewGaps) this.entries = []
      return wasFirst
    }
    // Each gap is passed once.
    while (entries[this.head] === undefined) this.head++
    // At least as many members have left as are moved.
    if (this.tail > 2 * this.size + fewGaps) this.closeUp()
    return wasFirst
  }

  /** Moves all members up, which removes the gaps. */
  private closeUp(): void {
    const { entries } = this
    let end = 0
    for (let i = this.head; i < this.tail; i++) {
      const each = entries[i]
      if (each === undefined) continue
      each.position = end
      entries[end++] = each
    }
    entries.length = end
    this.head = 0
    this.tail = end
  }
}
