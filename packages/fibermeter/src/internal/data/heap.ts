/**
 * A priority queue: members come out by rank, the smallest first, and can leave from anywhere in it. A binary heap, so
 * adding and removing take logarithmic time; reading the first takes constant time.
 */

/** What can be in a heap, in one at a time. */
export interface Ranked {
  readonly rank: number
  /** For its heap: the index at which it is. */
  index: number
}

export class Heap<A extends Ranked> {
  private readonly members: Array<A> = []

  get size(): number {
    return this.members.length
  }

  get first(): A | undefined {
    return this.members[0]
  }

  add(member: A): void {
    this.members.push(member)
    this.moveUp(member, this.members.length - 1)
  }

  /** Removes a member, which has to be there. */
  remove(member: A): void {
    const { index } = member
    const last = this.members.pop()!
    if (last === member) return
    this.moveDown(last, index)
    this.moveUp(last, last.index)
  }

  /** To be called when the rank of a member has become greater. */
  sink(member: A): void {
    this.moveDown(member, member.index)
  }

  private moveUp(member: A, from: number): void {
    const { members } = this
    let index = from
    while (index > 0) {
      const parent = members[(index - 1) >> 1]!
      if (parent.rank < member.rank) break
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
      const least = right < members.length && members[right]!.rank < members[left]!.rank ? right : left
      const child = members[least]!
      if (member.rank < child.rank) break
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
