/** The wait list, compared with a plain array. */
import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { WaitList } from "../src/internal/data/waitList.ts"
import type { WaitListEntry } from "../src/internal/data/waitList.ts"

interface Member extends WaitListEntry {
  readonly id: number
}

const member = (id: number): Member => ({ id, position: 0 })

/** How many elements all arrays have that the wait list refers to. */
const slotsOf = (waiters: WaitList<Member>): number =>
  Object.values(waiters)
    .filter((value) => Array.isArray(value))
    .reduce((sum, { length }) => sum + length, 0)

/** The same members in the same order, in memory that is bounded by their number. */
const expectSame = (waiters: WaitList<Member>, list: ReadonlyArray<Member>): void => {
  expect(waiters.members).toEqual(list)
  expect(waiters.size).toBe(list.length)
  expect(waiters.first).toBe(list[0])
  expect(slotsOf(waiters)).toBeLessThanOrEqual(2 * list.length + 256)
  expect(slotsOf(waiters)).toBeGreaterThanOrEqual(list.length)
}

describe("a wait list", () => {
  it("behaves like an array, whichever members are added and removed", () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.record({ does: fc.constant("add" as const), at: fc.nat() }) },
        { weight: 3, arbitrary: fc.record({ does: fc.constant("remove" as const), at: fc.nat() }) },
        { weight: 3, arbitrary: fc.record({ does: fc.constant("remove the first" as const), at: fc.nat() }) },
        // Many at a time, so that gaps are removed.
        { weight: 2, arbitrary: fc.record({ does: fc.constant("add many" as const), at: fc.nat(1000) }) },
        { weight: 2, arbitrary: fc.record({ does: fc.constant("remove many" as const), at: fc.nat(1000) }) }
      ),
      { maxLength: 60 }
    )
    fc.assert(
      fc.property(steps, (all) => {
        const waiters = new WaitList<Member>()
        const list: Array<Member> = []
        let born = 0
        const add = (): void => {
          const each = member(born++)
          waiters.add(each)
          list.push(each)
        }
        const remove = (at: number): void => {
          if (list.length === 0) return
          const [gone] = list.splice(at % list.length, 1)
          expect(waiters.has(gone!)).toBe(true)
          waiters.remove(gone!)
          expect(waiters.has(gone!)).toBe(false)
        }
        for (const { at, does } of all) {
          if (does === "add") add()
          else if (does === "remove") remove(at)
          else if (does === "remove the first") remove(0)
          else if (does === "add many") for (let i = 0; i < at; i++) add()
          else for (let i = 0; i < at; i++) remove(i * 7919)
          expectSame(waiters, list)
        }
      }),
      { numRuns: 100 }
    )
  })

  it("a removed member is not in it, also when another one has its position; removing it again changes nothing", () => {
    const waiters = new WaitList<Member>()
    const [a, b, c] = [member(1), member(2), member(3)]
    waiters.add(a)
    waiters.remove(a)
    waiters.add(b)
    expect(b.position).toBe(a.position)
    expect(waiters.has(a)).toBe(false)
    waiters.add(c)
    waiters.remove(a)
    expectSame(waiters, [b, c])
    waiters.remove(c)
    waiters.remove(c)
    expectSame(waiters, [b])
  })

  it("keeps few entries when the last has left, however many there were", () => {
    for (const count of [1, 256, 257, 258, 259, 1000]) {
      const waiters = new WaitList<Member>()
      const all = Array.from({ length: count }, (_, id) => member(id))
      for (const each of all) waiters.add(each)
      for (const each of all) waiters.remove(each)
      expectSame(waiters, [])
    }
  })

  it("keeps at most twice as many entries as there are members, and a constant", () => {
    const waiters = new WaitList<Member>()
    const all = Array.from({ length: 10_000 }, (_, id) => member(id))
    for (const each of all) waiters.add(each)
    for (const each of all.slice(10).toReversed()) waiters.remove(each)
    expectSame(waiters, all.slice(0, 10))
    for (const each of all.slice(0, 10)) waiters.remove(each)
    expectSame(waiters, [])
  })
})
