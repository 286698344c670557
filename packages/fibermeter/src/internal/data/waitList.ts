/**
 * A line that its members can leave from anywhere in it, in constant time. Where nobody leaves but the first, `fifo.ts` is
 * simpler.
 *
 * It is an array with gaps, not members linked to each other: with a hundred thousand members linked both ways, a task that
 * waits took about twice as long, most of it in the garbage collector.
 */

/** What can stand in a line, in one at a time. */
export interface WaitListEntry {
  /** For its line: where it stands there. */
  position: number
}

/** Gaps that are left alone, besides as many as there are members. */
const fewGaps = 256

export class WaitList<A extends WaitListEntry> {
  /** The members are from `head` to before `tail`, with gaps where some have left; all other places are empty. */
  private entries: Array<A | undefined> = []
  /** Where the first member stands, if there is one. */
  private head = 0
  private tail = 0
  size = 0

  get first(): A | undefined {
    return this.entries[this.head]
  }

  /** All of them, in their order. */
  get members(): ReadonlyArray<A> {
    return this.entries.filter((each) => each !== undefined)
  }

  has(member: A): boolean {
    return this.entries[member.position] === member
  }

  /** Puts it behind all others. */
  add(member: A): void {
    member.position = this.tail
    this.entries[this.tail++] = member
    this.size++
  }

  /** Takes it out, if it is there: its place may be another member's by now. Returns whether it was the first. */
  remove(member: A): boolean {
    if (!this.has(member)) return false
    const wasFirst = member.position === this.head
    const { entries: places } = this
    places[member.position] = undefined
    this.size--
    if (this.size === 0) {
      this.head = this.tail = 0
      if (places.length > fewGaps) this.entries = []
      return wasFirst
    }
    // Each place that is left is passed once.
    while (places[this.head] === undefined) this.head++
    // At least as many have left as are moved.
    if (this.tail > 2 * this.size + fewGaps) this.closeUp()
    return wasFirst
  }

  /** Moves all of them up, and so does away with the gaps. */
  private closeUp(): void {
    const { entries: places } = this
    let at = 0
    for (let i = this.head; i < this.tail; i++) {
      const each = places[i]
      if (each === undefined) continue
      each.position = at
      places[at++] = each
    }
    places.length = at
    this.head = 0
    this.tail = at
  }
}
