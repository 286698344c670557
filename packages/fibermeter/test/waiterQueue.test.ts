/** The queue of waiters for the same limiters, compared with its order on plain lists. */
import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import type { Waiter } from "../src/internal/admission/types.ts"
import { maxOvertaken, RankedQueue } from "../src/internal/admission/rankedQueue.ts"
import { WaiterQueue } from "../src/internal/admission/waiterQueue.ts"

interface Member {
  readonly arrival: number
  rank: number
  position: number
  readonly permits: number
  readonly priority: number
  readonly lane: unknown
}

/** Slow, and short enough to be compared with the head comment of `waiterQueue.ts`. */
class Model {
  private readonly waiters: Array<Member> = []
  private readonly tags = new Map<unknown, { tag: number; served: number; overtaken: number }>()
  private clock = 0
  private services = 0
  /** Turns of lanes are counted from the first waiter on that has a lane, a priority or permits. */
  private isRanked = false

  get size(): number {
    return this.waiters.length
  }

  get ranks(): ReadonlyArray<number> {
    return this.waiters.map(({ rank }) => rank).toSorted((a, b) => a - b)
  }

  add(member: Member): void {
    this.waiters.push(member)
    this.isRanked ||= member.permits !== 1 || member.priority !== 0 || member.lane !== undefined
    if (!this.tags.has(member.lane)) {
      this.tags.set(member.lane, { tag: this.clock, served: ++this.services, overtaken: 0 })
    }
  }

  get first(): Member | undefined {
    const lanes = [...this.tags].toSorted(([, a], [, b]) => a.tag - b.tag || a.served - b.served)
    for (const [key, lane] of lanes) {
      const members = this.in(key)
      if (members.length === 0) {
        // Its turn has come, and it is empty.
        this.tags.delete(key)
        continue
      }
      if (lane.overtaken === maxOvertaken) return members[0]
      const highest = Math.max(...members.map(({ priority }) => priority))
      return members.find(({ priority }) => priority === highest)
    }
    return undefined
  }

  earliestWithin(permits: number): Member | undefined {
    return this.waiters.find((each) => each.permits <= permits)
  }

  remove(member: Member): void {
    if (this.in(member.lane)[0] === member) this.tags.get(member.lane)!.overtaken = 0
    this.waiters.splice(this.waiters.indexOf(member), 1)
    if (this.waiters.length === 0) {
      this.tags.clear()
      this.clock = this.services = 0
      this.isRanked = false
    }
  }

  admit(member: Member): void {
    if (!this.isRanked) return this.remove(member)
    const lane = this.tags.get(member.lane)!
    const [earliest] = this.in(member.lane)
    if (this.first === member) this.clock = lane.tag
    lane.tag += member.permits
    lane.served = ++this.services
    if (member.priority > earliest!.priority) lane.overtaken++
    this.remove(member)
  }

  private in(lane: unknown): ReadonlyArray<Member> {
    return this.waiters.filter((each) => each.lane === lane)
  }
}

const rankedQueue = () => new RankedQueue()

type Does = "add" | "admit" | "admit a smaller one" | "remove"

const step = (
  permits: ReadonlyArray<number>,
  priorities: ReadonlyArray<number>,
  lanes: ReadonlyArray<unknown>,
  does: ReadonlyArray<Does> = ["add", "add", "add", "admit", "admit", "admit a smaller one", "remove"]
) =>
  fc.record({
    does: fc.constantFrom(...does),
    which: fc.nat(),
    permits: fc.constantFrom(...permits),
    priority: fc.constantFrom(...priorities),
    lane: fc.constantFrom(...lanes)
  })

const steps = fc.oneof(
  fc.array(step([1, 1, 1, 2, 5], [0, 0, 1, -1, 7], [undefined, undefined, "a", "b", 3]), { maxLength: 300 }),
  // Few have any of these.
  fc.array(step([1, 1, 1, 1, 1, 1, 1, 2], [0, 0, 0, 0, 0, 1], [undefined, undefined, undefined, "a"]), {
    maxLength: 60
  }),
  // One low priority among high ones, so that it ages.
  fc.array(step([1], [...Array.from({ length: 40 }, () => 1), 0], [undefined], ["add", "admit"]), {
    minLength: 100,
    maxLength: 300
  })
)

describe("the queue of a limiter", () => {
  it("orders by lanes, priorities and permits as its statement says, and the first has the earliest turn", () => {
    fc.assert(
      fc.property(steps, (all) => {
        const queue = new WaiterQueue()
        const model = new Model()
        const waiting: Array<Member> = []
        let arrivals = 0
        const drop = (member: Member): void => {
          waiting.splice(waiting.indexOf(member), 1)
          member.rank = 0
        }
        for (const { does, lane, permits, priority, which } of all) {
          const before = queue.first
          if (does === "add" || waiting.length === 0) {
            const rank = ++arrivals
            const member: Member = { arrival: rank, rank, position: 0, permits, priority, lane }
            waiting.push(member)
            model.add(member)
            expect(queue.add(member as unknown as Waiter, rankedQueue)).toBe(model.first === member)
          } else if (does === "remove") {
            const member = waiting[which % waiting.length]!
            model.remove(member)
            expect(queue.remove(member as unknown as Waiter)).toBe(before === (member as unknown))
            expect(queue.remove(member as unknown as Waiter)).toBe(false)
            drop(member)
          } else {
            const smaller = queue.earliestWithin(permits) as unknown as Member | undefined
            expect(smaller).toBe(model.earliestWithin(permits))
            const member = does === "admit" ? model.first! : smaller
            if (member === undefined) continue
            model.admit(member)
            queue.removeAdmitted(member as unknown as Waiter)
            drop(member)
          }
          expect(queue.first).toBe(model.first)
          expect(queue.size).toBe(model.size)
          expect(queue.members).toEqual(waiting)
          // Each waiter has a turn of its own.
          expect(new Set(waiting.map(({ rank }) => rank)).size).toBe(waiting.length)
          if (model.first !== undefined) expect(model.first.rank).toBe(model.ranks[0])
        }
      }),
      { numRuns: 150 }
    )
  })

  it("counts the waiters of each lane", () => {
    const queue = new WaiterQueue()
    expect([...queue.lanes]).toEqual([])
    const waiters = ["a", "b", undefined, "a"].map((lane, n) => ({ rank: n + 1, permits: 1, priority: 0, lane }))
    for (const waiter of waiters) queue.add(waiter as unknown as Waiter, rankedQueue)
    expect([...queue.lanes]).toEqual([
      ["a", 2],
      ["b", 1]
    ])
    // Lane a has had its turn, and is empty before the next.
    queue.removeAdmitted(waiters[0] as unknown as Waiter)
    queue.remove(waiters[3] as unknown as Waiter)
    expect([...queue.lanes]).toEqual([["b", 1]])
  })
})
