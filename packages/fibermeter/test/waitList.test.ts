/** The line of those who wait, against a plain list that does the same. */
import { describe, expect, it } from "@effect/vitest"
import fc from "fast-check"
import { WaitList } from "../src/internal/data/waitList.ts"
import type { WaitListEntry } from "../src/internal/data/waitList.ts"

interface Member extends WaitListEntry {
  readonly id: number
}

const member = (id: number): Member => ({ id, position: 0 })

const expectSame = (line: WaitList<Member>, list: ReadonlyArray<Member>): void => {
  expect(line.members).toEqual(list)
  expect(line.size).toBe(list.length)
  expect(line.first).toBe(list[0])
  expect(line["entries"].length).toBeLessThanOrEqual(2 * list.length + 256)
}

describe("a wait list", () => {
  it("behaves like an array, whichever members are added and removed", () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.record({ does: fc.constant("add" as const), at: fc.nat() }) },
        { weight: 3, arbitrary: fc.record({ does: fc.constant("remove" as const), at: fc.nat() }) },
        { weight: 3, arbitrary: fc.record({ does: fc.constant("remove the first" as const), at: fc.nat() }) },
        // Many at a time, so that gaps are closed.
        { weight: 2, arbitrary: fc.record({ does: fc.constant("add many" as const), at: fc.nat(1000) }) },
        { weight: 2, arbitrary: fc.record({ does: fc.constant("remove many" as const), at: fc.nat(1000) }) }
      ),
      { maxLength: 60 }
    )
    fc.assert(
      fc.property(steps, (all) => {
        const line = new WaitList<Member>()
        const list: Array<Member> = []
        let born = 0
        const add = (): void => {
          const each = member(born++)
          line.add(each)
          list.push(each)
        }
        const remove = (at: number): void => {
          if (list.length === 0) return
          const [gone] = list.splice(at % list.length, 1)
          expect(line.has(gone!)).toBe(true)
          line.remove(gone!)
          expect(line.has(gone!)).toBe(false)
        }
        for (const { at, does } of all) {
          if (does === "add") add()
          else if (does === "remove") remove(at)
          else if (does === "remove the first") remove(0)
          else if (does === "add many") for (let i = 0; i < at; i++) add()
          else for (let i = 0; i < at; i++) remove(i * 7919)
          expectSame(line, list)
        }
      }),
      { numRuns: 100 }
    )
  })

  it("a removed member is not in it, also when another one has its position; removing it again changes nothing", () => {
    const line = new WaitList<Member>()
    const [a, b, c] = [member(1), member(2), member(3)]
    line.add(a)
    line.remove(a)
    line.add(b)
    expect(b.position).toBe(a.position)
    expect(line.has(a)).toBe(false)
    line.add(c)
    line.remove(a)
    expectSame(line, [b, c])
    line.remove(c)
    line.remove(c)
    expectSame(line, [b])
  })

  it("keeps few entries when the last has left, however many there were", () => {
    for (const count of [1, 256, 257, 258, 259, 1000]) {
      const line = new WaitList<Member>()
      const all = Array.from({ length: count }, (_, id) => member(id))
      for (const each of all) line.add(each)
      for (const each of all) line.remove(each)
      expectSame(line, [])
    }
  })

  it("keeps at most twice as many entries as there are members, and a constant", () => {
    const line = new WaitList<Member>()
    const all = Array.from({ length: 10_000 }, (_, id) => member(id))
    for (const each of all) line.add(each)
    for (const each of all.slice(10).toReversed()) line.remove(each)
    expectSame(line, all.slice(0, 10))
    for (const each of all.slice(0, 10)) line.remove(each)
    expectSame(line, [])
  })
})
