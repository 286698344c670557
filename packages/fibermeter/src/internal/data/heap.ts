/**
 * A priority queue whose members can leave from anywhere in it. A binary heap: adding and removing take logarithmic time,
 * reading the first takes constant time.
 */

/** A member of one heap at a time. */
export interface HeapEntry {
  /** Its index in its heap. */
  index: number
}

export class Heap<A extends HeapEntry> {
  private readonly members: Array<A> = []
  private readonly isBefore: (a: A, b: A) => boolean

  /** `isBefore` is a total order of the members. */
  constructor(isBefore: (a: A, b: A) => boolean) {
    this.isBefore = isBefore
  }

  get size(): number {
    return this.members.length
  }

  get first(): A | undefined {
    return this.members[0]
  }

  /** All members, in no particular order. */
  get all(): ReadonlyArray<A> {
    return this.members
  }

  add(member: A): void {
    this.members.push(member)
    this.moveUp(member, this.members.length - 1)
  }

  /** Removes a member, which has to be in the heap. */
  remove(member: A): void {
    const { index } = member
    const last = this.members.pop()!
    if (last === member) return
    this.moveDown(last, index)
    this.moveUp(last, last.index)
  }

  /** To be called when a member comes later in the order than before. */
  sink(member: A): void {
    this.moveDown(member, member.index)
  }

  private moveUp(member: A, from: number): void {
    const { members } = this
    let index = from
    while (index > 0) {
      const parent = members[(index - 1) >> 1]!
      if (this.isBefore(parent, member)) break
      this.put(parent, index)
      index = (index - 1) >> 1
    }
    this.put(member, index)
  }

  private moveDown(member: A, from: number): void {
    const { members } = this
    let index = from
    for (;;) {
      const left = 2 * index + 1
      if (left >= members.length) break
      const right = left + 1
      const least = right < members.length && this.isBefore(members[right]!, members[left]!) ? right : left
      const child = members[least]!
      if (this.isBefore(member, child)) break
      this.put(child, index)
      index = least
    }
    this.put(member, index)
  }

  private put(member: A, index: number): void {
    this.members[index] = member
    member.index = index
  }
}
