/** The order of waiters for the same meters, as `rankedQueue.ts` states it, on plain lists. */
import { maxOvertaken } from "../../src/internal/admission/rankedQueue.ts"

export interface QueueMember {
  /** The turn that it has. */
  rank: number
  readonly permits: number
  readonly priority: number
  readonly lane: unknown
}

interface Lane {
  tag: number
  served: number
  overtaken: number
}

export class QueueModel<A extends QueueMember> {
  /** In the order of their arrival. */
  readonly members: Array<A> = []
  private readonly lanes = new Map<unknown, Lane>()
  private clock = 0
  private services = 0
  /** Turns of lanes are counted from the first waiter on that has a lane, a priority or permits. */
  private isRanked = false

  add(member: A): void {
    this.members.push(member)
    this.isRanked ||= member.permits !== 1 || member.priority !== 0 || member.lane !== undefined
    if (!this.lanes.has(member.lane)) {
      this.lanes.set(member.lane, { tag: this.clock, served: ++this.services, overtaken: 0 })
    }
  }

  /** Gives the earliest turn to the first waiter. */
  exchangeTurns(): void {
    const { first } = this
    if (first === undefined) return
    const earliest = this.members.reduce((a, b) => (b.rank < a.rank ? b : a))
    const { rank } = earliest
    earliest.rank = first.rank
    first.rank = rank
  }

  get first(): A | undefined {
    const lanes = [...this.lanes].toSorted(([, a], [, b]) => a.tag - b.tag || a.served - b.served)
    for (const [key, lane] of lanes) {
      const members = this.in(key)
      if (members.length === 0) {
        // Its turn has come, and it is empty.
        this.lanes.delete(key)
        continue
      }
      if (lane.overtaken === maxOvertaken) return members[0]
      const highest = Math.max(...members.map(({ priority }) => priority))
      return members.find(({ priority }) => priority === highest)
    }
    return undefined
  }

  earliestWithin(permits: number): A | undefined {
    return this.members.find((each) => each.permits <= permits)
  }

  remove(member: A): void {
    if (this.in(member.lane)[0] === member) this.lanes.get(member.lane)!.overtaken = 0
    this.members.splice(this.members.indexOf(member), 1)
    if (this.members.length > 0) return
    this.lanes.clear()
    this.clock = this.services = 0
    this.isRanked = false
  }

  admit(member: A): void {
    if (!this.isRanked) return this.remove(member)
    const lane = this.lanes.get(member.lane)!
    const [earliest] = this.in(member.lane)
    if (this.first === member) this.clock = lane.tag
    lane.tag += member.permits
    lane.served = ++this.services
    if (member.priority > earliest!.priority) lane.overtaken++
    this.remove(member)
  }

  private in(lane: unknown): ReadonlyArray<A> {
    return this.members.filter((each) => each.lane === lane)
  }
}
