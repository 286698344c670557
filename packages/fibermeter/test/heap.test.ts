/** The priority queue, compared with a sorted list. */
import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { Heap, type HeapEntry } from "../src/internal/data/heap.ts"

interface Member extends HeapEntry {
  rank: number
}

describe("a heap", () => {
  it("returns its members by rank, whichever are added, removed or moved down", () => {
    const steps = fc.array(
      fc.record({ does: fc.constantFrom("add", "add", "remove", "remove the first", "sink"), which: fc.nat() }),
      { maxLength: 100 }
    )
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (all, ranks) => {
        const heap = new Heap<Member>((a, b) => a.rank < b.rank)
        const list: Array<Member> = []
        const remove = (at: number): void => {
          const [member] = list.splice(at, 1)
          heap.remove(member!)
        }
        for (const { does, which } of all) {
          const at = which % Math.max(1, list.length)
          if (does === "add") {
            const member = { rank: ranks.next().value!, index: -1 }
            list.push(member)
            heap.add(member)
          } else if (list.length === 0) {
            continue
          } else if (does === "sink") {
            list[at]!.rank += ranks.next().value!
            heap.sink(list[at]!)
          } else {
            remove(does === "remove" ? at : 0)
          }
          list.sort((a, b) => a.rank - b.rank)
          expect(heap.size).toBe(list.length)
          expect(heap.first?.rank).toBe(list[0]?.rank)
        }
        while (list.length > 0) {
          expect(heap.first?.rank).toBe(list[0]?.rank)
          list.splice(list.indexOf(heap.first!), 1)
          heap.remove(heap.first!)
        }
        expect(heap.first).toBe(undefined)
      })
    )
  })
})
