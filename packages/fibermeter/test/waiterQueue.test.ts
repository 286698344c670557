/** The queue of waiters for the same limiters, compared with its order on plain lists. */
import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import type { Waiter } from "../src/internal/admission/types.ts"
import { WaiterQueue } from "../src/internal/admission/waiterQueue.ts"
import { QueueModel, type QueueMember } from "./support/queueModel.ts"

interface Member extends QueueMember {
  position: number
}

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
        const model = new QueueModel<Member>()
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
            const member: Member = { rank, position: 0, permits, priority, lane }
            waiting.push(member)
            model.add(member)
            expect(queue.add(member as unknown as Waiter)).toBe(model.first === member)
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
          expect(queue.size).toBe(model.members.length)
          expect(queue.members).toEqual(waiting)
          // Each waiter has a turn of its own.
          expect(new Set(waiting.map(({ rank }) => rank)).size).toBe(waiting.length)
          if (waiting.length > 0) expect(queue.first!.rank).toBe(Math.min(...waiting.map(({ rank }) => rank)))
        }
      }),
      { numRuns: 150 }
    )
  })

  it("counts the waiters of each lane", () => {
    const queue = new WaiterQueue()
    expect([...queue.lanes]).toEqual([])
    const waiters = ["a", "b", undefined, "a"].map((lane, n) => ({ rank: n + 1, permits: 1, priority: 0, lane }))
    for (const waiter of waiters) queue.add(waiter as unknown as Waiter)
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
