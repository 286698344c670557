/** Whether memory stays bounded where the items do not: what is alive while `amap` goes through millions of them. */
import { amap as amapPromise } from "@fibermeter/promise"
import { Effect, Stream } from "effect"
import { amap } from "fibermeter"
import * as format from "../lib/format.ts"
import { liveHeap } from "../lib/heap.ts"
import { range } from "../lib/range.ts"
import type { Line, Scale, Suite } from "../lib/suite.ts"

interface Growth {
  readonly work: string
  readonly items: number
  /** The live heap after the first items, by when everything there is has been made once. */
  readonly base: number
  /** How far beyond that it was, at most and at the end. */
  readonly most: number
  readonly last: number
  readonly seconds: number
}

const limit = { maxAtOnce: 10 }
const reach = 2_000_000
const sizes = { full: 10_000_000, quick: 1_000_000, smoke: 10_000 } as const

const task = async (n: number): Promise<number> => n

const works: Readonly<Record<string, (items: number, onResult: () => void) => Promise<void>>> = {
  "promise amap": async (items, onResult) => {
    for await (const _ of amapPromise(range(items), task, limit)) onResult()
  },
  "promise amap, ordered": async (items, onResult) => {
    for await (const _ of amapPromise(range(items), task, { ...limit, ordered: true })) onResult()
  },
  "core amap": (items, onResult) =>
    Effect.runPromise(
      Stream.runForEach(
        amap(range(items), (n) => Effect.promise(() => task(n)), limit),
        () => Effect.sync(onResult)
      )
    )
}

const measure = async (work: string, items: number): Promise<Growth> => {
  const first = items / 100
  const heaps: Array<number> = []
  let read = 0
  const began = performance.now()
  await works[work]!(items, () => {
    read++
    // After the first items, then ten times more.
    if (read === first || read % (items / 10) === 0) heaps.push(liveHeap())
  })
  if (read !== items) throw new Error(`${read} results of ${items}`)
  const [base, ...later] = heaps as [number, ...Array<number>]
  return {
    work,
    items,
    base,
    most: Math.max(...later) - base,
    last: later.at(-1)! - base,
    seconds: (performance.now() - began) / 1000
  }
}

export const memory: Suite<Growth> = {
  name: "memory",
  lines: (scale: Scale): ReadonlyArray<Line<Growth>> =>
    Object.keys(works).map((work) => ({ label: work, measure: () => measure(work, sizes[scale]) })),
  report: (growths) => ({
    title: "Memory: growth of the live heap",
    notes: [
      "Items come from a generator, 10 at once. The live heap is what remains after a full garbage collection, measured after the first hundredth of the items and ten times after that."
    ],
    tables: [
      {
        columns: ["work", "items", "initial live heap", "max growth", "final growth", "target", "", "seconds"],
        rows: growths.map(({ base, items, last, most, seconds, work }) => [
          work,
          format.count(items),
          format.megabytes(base),
          format.megabytes(most),
          format.megabytes(last),
          `< ${format.megabytes(reach)}`,
          most < reach ? "reached" : "missed",
          seconds.toFixed(1)
        ])
      }
    ],
    charts: [],
    broken: []
  })
}
