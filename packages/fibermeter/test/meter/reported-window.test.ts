/** The arithmetic of a window that its server reports on, without clocks and fibers. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ReportedWindow } from "../../src/internal/limits/reportedWindow.ts"
import { SlidingWindow } from "../../src/internal/limits/slidingWindow.ts"
import { ReportModel } from "../support/reportModel.ts"

describe("what a report leaves", () => {
  const per = 100
  const window = (limit = 10) => new ReportedWindow(limit, per)

  it("is what the server has left, until it resets", () => {
    const w = window()
    w.reconcile(3, 50, 0, undefined, undefined, false)
    expect([w.room(0), w.opensAt(3, 0), w.opensAt(4, 0)]).toEqual([3, -Infinity, 50])
    w.spend(2, 10)
    expect([w.room(10), w.room(49), w.room(50)]).toEqual([1, 1, 8])
    expect(w.opensAt(2, 49)).toBe(50)
    expect(w.opensAt(2, 50)).toBe(-Infinity)
  })

  it("never more than the window's own limit", () => {
    const w = window()
    w.spend(7, 0)
    w.reconcile(1000, 500, 1, undefined, undefined, false)
    expect([w.room(1), w.opensAt(3, 1), w.opensAt(4, 1)]).toEqual([3, -Infinity, 100])
  })

  it("less the starts after the request of the task that got it", () => {
    const w = window()
    w.spend(1, 0)
    const own = w.spend(1, 0)
    w.spend(2, 0)
    w.spend(1, 5)
    w.reconcile(4, 50, 5, own, undefined, false)
    expect(w.room(5)).toBe(1)
  })

  it("less the starts after the instant at which it was sent", () => {
    const w = window()
    w.spend(1, 0)
    w.spend(1, 5)
    w.spend(1, 6)
    w.reconcile(4, 50, 6, undefined, 5, false)
    expect(w.room(6)).toBe(3)
  })

  it("less than nothing, if more has been started since", () => {
    const w = window()
    const own = w.spend(1, 0)
    w.spend(5, 0)
    w.reconcile(2, 50, 1, own, undefined, false)
    expect([w.room(1), w.opensAt(0, 1)]).toEqual([0, 50])
    w.correct(2, 0)
    expect(w.room(50)).toBe(4)
  })

  it("what a later start is corrected by, and nothing of what an earlier one is", () => {
    const w = window(100)
    const earlier = w.spend(10, 0)
    const own = w.spend(10, 0)
    const later = w.spend(10, 0)
    w.reconcile(40, 50, 1, own, undefined, false)
    expect(w.room(1)).toBe(30)
    w.correct(earlier, -10)
    w.correct(own, -10)
    expect(w.room(1)).toBe(30)
    w.correct(later, -7)
    expect(w.room(1)).toBe(37)
    w.correct(later, 20)
    expect(w.room(1)).toBe(17)
  })

  it("if the server refunds, what any start is corrected by after the report has arrived", () => {
    const w = window(100)
    const earlier = w.spend(10, 0)
    const own = w.spend(10, 0)
    const later = w.spend(10, 0)
    w.correct(earlier, -1)
    w.reconcile(40, 50, 1, own, undefined, true)
    expect(w.room(1)).toBe(30)
    w.correct(earlier, -9)
    expect(w.room(1)).toBe(39)
    w.correct(own, 5)
    expect(w.room(1)).toBe(34)
    w.correct(later, -7)
    expect(w.room(1)).toBe(41)
    // Nothing is left to refund of this one.
    w.correct(earlier, -5)
    expect(w.room(1)).toBe(41)
  })

  it("a refund does not lift an overlapping report of which no refunds are known", () => {
    const w = window(100)
    const own = w.spend(20, 0)
    w.reconcile(10, 50, 1, own, undefined, false)
    w.reconcile(5, 50, 1, undefined, undefined, true)
    expect(w.room(1)).toBe(5)
    w.correct(own, -20)
    expect([w.room(1), w.room(50)]).toEqual([10, 100])
  })

  it("is replaced by the answer to a later request, whichever leaves more", () => {
    const w = window()
    w.reconcile(0, 90, 0, undefined, undefined, false)
    expect(w.opensAt(1, 1)).toBe(90)
    const own = w.spend(1, 1)
    w.reconcile(5, 80, 2, own, undefined, false)
    expect([w.room(2), w.opensAt(6, 2)]).toEqual([5, 80])
    w.reconcile(6, 80, 3, undefined, 3, false)
    expect(w.room(3)).toBe(6)
  })

  it("is not replaced by the answer to an earlier request: the stricter counts", () => {
    const w = window()
    const first = w.spend(1, 0)
    const second = w.spend(1, 0)
    w.reconcile(2, 50, 5, second, undefined, false)
    w.reconcile(6, 50, 6, first, undefined, false)
    expect(w.room(6)).toBe(2)
    w.reconcile(7, 50, 7, undefined, 4, false)
    expect(w.room(7)).toBe(2)
    // Nor by one of which nothing is known.
    w.reconcile(8, 50, 8, undefined, undefined, false)
    expect(w.room(8)).toBe(2)
  })

  it("of overlapping reports, each holds until its own end", () => {
    const w = window()
    w.reconcile(0, 10, 5, undefined, undefined, false)
    w.reconcile(7, 90, 5, undefined, undefined, false)
    expect([w.room(5), w.room(10), w.room(90)]).toEqual([0, 7, 10])
    expect([w.opensAt(7, 5), w.opensAt(8, 5)]).toEqual([10, 90])
    expect(w.reportedUntil).toBe(90)
  })

  it("older than a window, a report replaces none", () => {
    const w = window()
    w.reconcile(1, 500, 10, undefined, undefined, false)
    w.reconcile(5, 500, 200, undefined, 15, false)
    expect(w.room(200)).toBe(1)
  })

  it("moves with the time line", () => {
    const w = window()
    w.reconcile(1, 50, 0, undefined, undefined, false)
    w.shift(-20)
    expect([w.room(29), w.room(30)]).toEqual([1, 10])
  })

  it("keeps a bounded number of reports, however many overlap", () => {
    const w = window(1e9)
    for (let n = 0; n < 1000; n++) w.reconcile(n, 1_000_000 - n, n, undefined, undefined, false)
    // Stricter and longer ones come first here, so each of them counts. The last sixteen are kept.
    expect(w.room(1000)).toBe(984)
    expect(w.reportedUntil).toBe(1_000_000 - 984)
  })
})

type Step =
  | { readonly do: "start"; readonly after: number; readonly cost: number }
  | { readonly do: "correct"; readonly back: number; readonly by: number }
  | { readonly do: "shift"; readonly delta: number }
  | {
      readonly do: "report"
      readonly after: number
      readonly remaining: number
      readonly lasts: number
      readonly refunds: boolean
      /** How many starts ago its request was, or how long ago it was sent. */
      readonly of: { readonly back: number } | { readonly age: number } | undefined
    }

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("start" as const),
        after: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60 })),
        cost: fc.integer({ min: 0, max: 5 })
      })
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("report" as const),
        after: fc.integer({ min: 0, max: 40 }),
        remaining: fc.integer({ min: 0, max: 25 }),
        lasts: fc.integer({ min: 0, max: 200 }),
        refunds: fc.boolean(),
        of: fc.oneof(
          fc.record({ back: fc.integer({ min: 1, max: 8 }) }),
          fc.record({ age: fc.integer({ min: 0, max: 250 }) }),
          fc.constant(undefined)
        )
      })
    },
    fc.record({
      do: fc.constant("correct" as const),
      back: fc.integer({ min: 1, max: 8 }),
      by: fc.integer({ min: -5, max: 8 })
    }),
    fc.record({ do: fc.constant("shift" as const), delta: fc.integer({ min: -500, max: 500 }) })
  ),
  { minLength: 5, maxLength: 60, size: "max" }
)

describe("random starts, corrections and reports", () => {
  it("leave the room that the model has, and open when it does; without the reports never later", () => {
    let tightened = 0
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 30 }), fc.integer({ min: 1, max: 300 }), steps, (limit, per, program) => {
        const window = new ReportedWindow(limit, per)
        const plain = new SlidingWindow(limit, per)
        const model = new ReportModel(limit, per)
        const numbers: Array<readonly [reported: number, plain: number]> = []
        let now = 0
        /** The time of the window, whose line may have moved. */
        let shifted = 0
        for (const step of program) {
          if ("after" in step) now += step.after
          const at = now + shifted
          if (step.do === "start") {
            model.start(step.cost, now)
            numbers.push([window.spend(step.cost, at), plain.spend(step.cost, at)])
          } else if (step.do === "shift") {
            for (const each of [window, plain]) each.shift(step.delta)
            shifted += step.delta
            continue
          } else if (step.do === "correct") {
            const start = numbers.length - step.back
            if (start < 0) continue
            model.correct(start, step.by, now)
            // A meter asks before it corrects, so what is over has left the window.
            for (const [i, each] of [window, plain].entries()) {
              each.room(at)
              each.correct(numbers[start]![i]!, step.by)
            }
          } else {
            const { lasts, of, refunds, remaining } = step
            if (of === undefined) {
              model.reportOfUnknown(remaining, now + lasts, now, refunds)
              window.reconcile(remaining, at + lasts, at, undefined, undefined, refunds)
            } else if ("age" in of) {
              model.reportSentAt(now - of.age, remaining, now + lasts, now, refunds)
              window.reconcile(remaining, at + lasts, at, undefined, at - of.age, refunds)
            } else {
              const start = numbers.length - of.back
              if (start < 0) continue
              model.reportOf(start, remaining, now + lasts, now, refunds)
              window.reconcile(remaining, at + lasts, at, numbers[start]![0], undefined, refunds)
            }
          }
          const room = window.room(at)
          expect(room).toBe(Math.max(0, model.room(now)))
          expect(room).toBeLessThanOrEqual(plain.room(at))
          tightened += Number(room < plain.room(at))
          for (const cost of [0, 1, 5]) {
            const opensAt = window.opensAt(cost, at)
            const expected = model.opensAt(cost, now) + shifted
            if (expected === at) expect(opensAt).toBeLessThanOrEqual(at)
            else expect(opensAt).toBe(expected)
          }
        }
      }),
      { numRuns: 400, seed: 20_261_127 }
    )
    expect(tightened).toBeGreaterThan(500)
  })
})
