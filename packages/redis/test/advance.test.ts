/** The protocol, message by message. Times are microseconds. */
import { describe, expect, it } from "vitest"
import { step } from "../src/protocol/advance.ts"
import { encodeLimits, type Limits } from "../src/protocol/limits.ts"
import type { Grant } from "../src/protocol/message.ts"
import { demand, message, none, slots, Table } from "./support/messages.ts"

const ms = 1_000
const second = 1_000_000
const rate = (rate: number, burst = 1): Limits => ({ ...none, rate, burst })
const permits = (permits: number): Limits => ({ ...none, permits })
const window = (limit: number, per: number): Limits => ({ ...none, windows: [{ name: "w", limit, per }] })

describe("rates", () => {
  it("slots are one interval apart, as far ahead as the horizon", () => {
    const table = new Table(rate(100))
    const { grants, visit } = table.say("a", { demand: [demand(1, 10)] })
    expect(slots(grants)).toEqual([0, 10, 20, 30, 40, 50].map((slot) => slot * ms))
    // The next slot, at 60, is within the horizon at 25 at the latest: half of the horizon from now.
    expect(visit).toBe(25 * ms)
    table.now = 25 * ms
    expect(slots(table.say("a").grants)).toEqual([60, 70].map((slot) => slot * ms))
  })

  it("a waiter far from its slot is asked to come one horizon before it", () => {
    const table = new Table({ ...rate(1), lease: 1_500 * ms })
    expect(slots(table.say("a", { demand: [demand(1, 2)] }).grants)).toEqual([0])
    const lease = table.limits.lease
    // Its lease has to be renewed before that.
    expect(table.say("a").visit).toBe(Math.floor(lease / 3))
    table.now = 800 * ms
    expect(table.say("a").visit).toBe(150 * ms + 250 * ms)
  })

  it("a burst is granted at once after an idle time, and then the pace continues", () => {
    const table = new Table(rate(100, 3))
    expect(slots(table.say("a", { demand: [demand(1, 5)] }).grants)).toEqual([0, 0, 0, 10 * ms, 20 * ms])
    table.now = 25 * ms
    table.say("a")
    // Credit for two more has accrued since the slot at 30.
    table.now = 50 * ms
    expect(slots(table.say("a", { demand: [demand(2, 3)] }).grants)).toEqual([50 * ms, 50 * ms, 50 * ms])
  })

  it.each([
    ["is what has accrued", 45, [45, 45, 50, 60]],
    ["is no more than the burst", 60, [60, 60, 60, 70]]
  ])("the credit after an idle time %s", (_, idle, expected) => {
    const table = new Table(rate(100, 3))
    table.say("a", { demand: [demand(1, 5)] })
    table.now = idle * ms
    expect(slots(table.say("a", { demand: [demand(2, 4)] }).grants)).toEqual(expected.map((slot) => slot * ms))
  })

  it("a rate below one start per second has a pace, too", () => {
    const table = new Table({ ...rate(0.5, 2), lease: 60 * second })
    const { grants } = table.say("a", { demand: [demand(1, 4)] })
    expect(slots(grants)).toEqual([0, 0])
    table.now = 3_980 * ms
    const next = table.say("a", { reports: [{ grant: grants[0]!.id, late: 0, unused: 0 }] }).grants
    expect(slots(next)).toEqual([4 * second])
    table.now = 5_980 * ms
    expect(slots(table.say("a").grants)).toEqual([6 * second])
  })

  it("a visit that is late catches up 10 ms and no more", () => {
    const table = new Table(rate(100))
    table.say("a", { demand: [demand(1, 30)] })
    table.now = 500 * ms
    expect(slots(table.say("a").grants).slice(0, 3)).toEqual([500 * ms, 500 * ms, 510 * ms])
  })

  it("start n + R follows start n by the window, however late start n was", () => {
    const table = new Table(rate(2))
    const first = table.say("a", { demand: [demand(1, 2)] }).grants
    expect(slots(first)).toEqual([0])
    table.now = 460 * ms
    const next = table.say("a", { reports: [{ grant: first[0]!.id, late: 70 * ms, unused: 0 }] }).grants
    expect(slots(next)).toEqual([500 * ms])
    table.now = 960 * ms
    // Its window is open at 1,070, and the pace at 1,000.
    const late = table.say("a", { demand: [demand(2, 2)] })
    expect(late.grants).toEqual([])
    table.now = 1_030 * ms
    expect(slots(table.say("a").grants)).toEqual([1_070 * ms])
    // 10 of the 70 ms are caught up. What has not been reported may be late by the slack.
    table.now = 1_705 * ms
    expect(slots(table.say("a").grants)).toEqual([1_750 * ms])
  })
})

describe("slots that were not used", () => {
  const unused = (grants: ReadonlyArray<Grant>) => ({
    reports: grants.map(({ count, id }) => ({ grant: id, late: 0, unused: count }))
  })

  it("cost the rate nothing if nothing was granted after them", () => {
    const table = new Table(rate(5))
    const { grants } = table.say("a", { demand: [demand(1, 1)] })
    expect(slots(grants)).toEqual([0])
    table.now = 120 * ms
    const next = table.say("a", { ...unused(grants), demand: [demand(2, 1)] }).grants
    expect(slots(next)).toEqual([120 * ms])
    // Given back before its time.
    table.now = 290 * ms
    const early = table.say("a", { demand: [demand(3, 1)] }).grants
    expect(slots(early)).toEqual([320 * ms])
    expect(slots(table.say("a", { ...unused(early), demand: [demand(4, 1)] }).grants)).toEqual([320 * ms])
  })

  it("give no credit", () => {
    const table = new Table(rate(100, 3))
    const { grants } = table.say("a", { demand: [demand(1, 3)] })
    expect(slots(grants)).toEqual([0, 0, 0])
    table.now = 5 * ms
    // All three at once again would be what a burst is after an idle time.
    const next = table.say("a", { ...unused(grants), demand: [demand(2, 3)] }).grants
    expect(slots(next)).toEqual([5, 15, 25].map((slot) => slot * ms))
  })

  it("keep their places if others were granted after them, or if some of them were used", () => {
    const table = new Table(rate(10))
    const { grants } = table.say("a", { demand: [demand(1, 1)] })
    table.now = 60 * ms
    const others = table.say("b", { demand: [demand(1, 1)] }).grants
    expect(slots(others)).toEqual([100 * ms])
    table.say("a", unused(grants))
    table.now = 160 * ms
    expect(slots(table.say("c", { demand: [demand(1, 1)] }).grants)).toEqual([200 * ms])
    const fast = new Table(rate(100))
    const two = fast.say("a", { demand: [demand(1, 2)] }).grants
    expect(slots(two)).toEqual([0, 10 * ms])
    const report = { grant: two[0]!.id, late: 0, unused: 1 }
    expect(slots(fast.say("a", { reports: [report], demand: [demand(2, 1)] }).grants)).toEqual([20 * ms])
  })
})

it("a slot that waits for a late start in the window of the rate is caught up by 10 ms", () => {
  const table = new Table(rate(2))
  const starts = (now: number, late: number): ReadonlyArray<Grant> => {
    table.now = now * ms
    const reports = known.map(({ id }) => ({ grant: id, late: late * ms, unused: 0 }))
    return (known = table.say("a", { reports }).grants)
  }
  let known = table.say("a", { demand: [demand(1, 4)] }).grants
  expect(slots(known)).toEqual([0])
  expect(slots(starts(460, 70))).toEqual([500 * ms])
  expect(slots(starts(1_030, 0))).toEqual([1_070 * ms])
  // The window is open at 1,500, and the pace was at 1,000 before.
  expect(slots(starts(1_555, 0))).toEqual([1_560 * ms])
})

describe("runs", () => {
  /** What is granted at each visit, 25 ms apart, until the second second is under way; each report says how late it was. */
  const visits = (lateness: (visit: number) => number) => {
    const table = new Table(rate(1_000))
    let grants = table.say("a", { demand: [demand(1, 5_000)] }).grants
    return Array.from({ length: 60 }, (_, index) => {
      table.now = (index + 1) * 25 * ms
      const reports = grants.map(({ id }) => ({ grant: id, late: lateness(index), unused: 0 }))
      grants = table.say("a", { reports }).grants
      return grants
    })
  }
  const grantedAfter = (granted: ReadonlyArray<ReadonlyArray<Grant>>) =>
    granted.filter((grants) => slots(grants).some((slot) => slot >= second))

  it("a slot that waits for a run to leave the window follows that run", () => {
    const later = grantedAfter(visits(() => 2 * ms)).slice(1)
    expect(later.length).toBeGreaterThan(10)
    expect(new Set(later.map(({ length }) => length))).toEqual(new Set([1]))
    const all = later.flatMap(slots)
    expect(all[0]! % ms).toBe(0)
    expect(all).toEqual(Array.from(all, (_, index) => all[0]! + index * ms))
  })

  it("a run continues if that delays the next slot by at most a millisecond", () => {
    // From one visit to the next, lateness falls by 0.9 ms, or rises: only that begins another run.
    const little = grantedAfter(visits((visit) => (visit % 2 === 0 ? 2_000 : 1_100))).slice(1)
    expect(Math.max(...little.map(({ length }) => length))).toBeLessThanOrEqual(2)
    for (const slot of little.flatMap(slots)) expect(slot % 100).toBe(0)
    const gaps = little.flatMap(slots).map((slot, index, all) => slot - (all[index - 1] ?? slot - ms))
    expect(Math.max(...gaps)).toBeLessThan(2 * ms)
    // By 5 ms: slots that could start earlier are not delayed for long.
    const much = grantedAfter(visits((visit) => (visit % 2 === 0 ? 6_000 : 1_000))).slice(1)
    const delay = much.flatMap(slots).map((slot, index, all) => slot - all[0]! - index * ms)
    expect(Math.max(...delay)).toBeLessThanOrEqual(6 * ms)
  })
})

describe("windows", () => {
  const cost = (batch: number, count: number, cost: number) => demand(batch, count, { costs: [cost] })

  it("what was spent leaves after the window and the slack, or after how late it was", () => {
    const table = new Table(window(10, 200 * ms))
    const { grants } = table.say("a", { demand: [cost(1, 2, 5), cost(2, 1, 4)] })
    expect(slots(grants)).toEqual([0, 0])
    table.now = 160 * ms
    // 50 ms of slack, which a report makes less.
    expect(slots(table.say("a").grants)).toEqual([])
    expect(slots(table.say("a", { reports: [{ grant: grants[0]!.id, late: 3 * ms, unused: 0 }] }).grants)).toEqual([
      203 * ms
    ])
  })

  it("slots that were not used give back what they cost, and the rest counts as the later ones", () => {
    const table = new Table({ ...window(4, second), rate: 100 })
    const { grants } = table.say("a", { demand: [demand(1, 4, { costs: [1] })] })
    expect(slots(grants)).toEqual([0, 10 * ms, 20 * ms, 30 * ms])
    table.now = 40 * ms
    // Three are left over: the one that was used may be that of 30 ms.
    const next = table.say("a", {
      reports: [{ grant: grants[0]!.id, late: 0, unused: 3 }],
      demand: [demand(2, 4, { costs: [1] })]
    })
    expect(next.grants.map(({ count }) => count).reduce((sum, count) => sum + count)).toBe(3)
    table.now = 990 * ms
    expect(slots(table.say("a").grants)).toEqual([1_030 * ms])
  })

  it("a correction counts from the next grant on, upwards and downwards", () => {
    const table = new Table(window(10, 400 * ms))
    const { grants } = table.say("a", { demand: [cost(1, 1, 6)] })
    const [entry] = grants[0]!.entries
    table.say("a", { corrections: [{ log: 0, entry: entry!, by: 3 }] })
    expect(table.say("a", { demand: [cost(2, 1, 2)] }).grants).toEqual([])
    const fewer = table.say("a", { corrections: [{ log: 0, entry: entry!, by: -8 }] })
    expect(slots(fewer.grants)).toEqual([0])
    expect(slots(table.say("a", { demand: [cost(3, 1, 7)] }).grants)).toEqual([0])
    // No less than nothing is spent.
    table.say("a", { corrections: [{ log: 0, entry: entry!, by: -100 }] })
    expect(table.say("a", { demand: [cost(4, 1, 2)] }).grants).toEqual([])
    expect(table.state!.logs[0]!.used).toBe(9)
  })

  it("a correction downwards is ignored once a slot of its entry has been passed", () => {
    const table = new Table(window(10, 40 * ms))
    const { grants } = table.say("a", { demand: [cost(1, 2, 5)] })
    table.now = 30 * ms
    table.say("a", { demand: [cost(2, 1, 5)] })
    expect(table.state!.logs[0]!.off).toBe(1)
    table.say("a", { corrections: [{ log: 0, entry: grants[0]!.entries[0]!, by: -5 }] })
    expect(table.state!.logs[0]!.used).toBe(10)
    table.say("a", {
      corrections: [
        { log: 0, entry: 99, by: -5 },
        { log: 0, entry: grants[0]!.entries[0]!, by: 1 }
      ]
    })
    expect(table.state!.logs[0]!.used).toBe(11)
  })

  it("a downward correction ends with the first slot that is passed, and does not return with the last", () => {
    const table = new Table(window(10, 40 * ms))
    const { grants } = table.say("a", { demand: [cost(1, 2, 5)] })
    table.say("a", { corrections: [{ log: 0, entry: grants[0]!.entries[0]!, by: -3 }] })
    expect(slots(table.say("a", { demand: [cost(2, 1, 4)] }).grants)).toEqual([50 * ms])
    table.now = 50 * ms
    expect(slots(table.say("a", { demand: [cost(3, 1, 6)] }).grants)).toEqual([50 * ms])
  })

  it("a correction upwards counts once, also when its slot has been passed before it", () => {
    const table = new Table(window(10, 40 * ms))
    const { grants } = table.say("a", { demand: [cost(1, 1, 6)] })
    table.say("a", { corrections: [{ log: 0, entry: grants[0]!.entries[0]!, by: 3 }] })
    const next = table.say("a", { demand: [cost(2, 1, 4), cost(3, 1, 4), cost(4, 1, 3)] }).grants
    expect(slots(next)).toEqual([50 * ms, 50 * ms])
  })

  it("a correction of a slot that is later reported as unused ends with that slot", () => {
    const table = new Table(window(10, 400 * ms))
    const { grants } = table.say("a", { demand: [cost(1, 1, 6)] })
    table.say("a", { corrections: [{ log: 0, entry: grants[0]!.entries[0]!, by: -4 }] })
    const reports = [{ grant: grants[0]!.id, late: 0, unused: 1 }]
    expect(slots(table.say("a", { reports, demand: [cost(2, 1, 10), cost(3, 1, 5)] }).grants)).toEqual([0])
    expect(table.say("a").grants).toEqual([])
  })

  it("sums of fractional costs leave no remainder when all slots have been passed", () => {
    const table = new Table(window(10, 40 * ms))
    // In floating point, 0.1 + 0.1 + 4 − 0.1 − 0.1 − 4 is more than nothing.
    const fractions = [cost(1, 2, 0.1), cost(2, 1, 4)]
    const { grants } = table.say("a", { demand: [...fractions, cost(3, 1, 6.4), cost(4, 1, 3.6)] })
    expect(slots(grants)).toEqual([0, 0, 0, 50 * ms, 50 * ms])
    // The same with a correction: 1.1 + 1.1 + 2 + 5.1.
    const corrected = new Table(window(10, 40 * ms))
    const before = corrected.say("a", { demand: [cost(1, 2, 1.1), cost(2, 1, 2)] }).grants
    corrected.say("a", { corrections: [{ log: 0, entry: before[1]!.entries[0]!, by: 5.1 }] })
    expect(slots(corrected.say("a", { demand: [cost(3, 1, 5), cost(4, 1, 5)] }).grants)).toEqual([50 * ms, 50 * ms])
  })

  it("instants never fall in the order of the grants, even if a later task has less to wait for", () => {
    const table = new Table({
      ...none,
      windows: [
        { name: "a", limit: 1, per: 40 * ms },
        { name: "b", limit: 10, per: 40 * ms }
      ]
    })
    const { grants } = table.say("a", { demand: [demand(1, 2, { costs: [1, 1] }), demand(2, 1, { costs: [0, 1] })] })
    expect(grants.map(({ batch }) => batch)).toEqual([1, 1, 2])
    expect(slots(grants)).toEqual([0, 50 * ms, 50 * ms])
  })

  it("from 1,024 entries on, grants at the same time share the last entry and everything spent in it", () => {
    const table = new Table({ ...window(3_000, second), lease: 60 * second })
    const { grants } = table.say("a", { demand: Array.from({ length: 1_024 }, (_, index) => cost(index + 1, 1, 1)) })
    const entry = grants.at(-1)!.entries[0]!
    table.say("a", {
      corrections: [
        { log: 0, entry, by: 10 },
        { log: 0, entry, by: -4 }
      ]
    })
    expect(table.say("a", { demand: [cost(2_000, 2, 5)] }).grants).toMatchObject([{ count: 2, entries: [entry] }])
    table.now = 200 * ms
    table.say("a", { demand: [cost(2_001, 1, 100)] })
    table.now = 1_250 * ms
    // The slack is over, too: only the last 100 count.
    expect(slots(table.say("a", { demand: [cost(2_002, 1, 2_900)] }).grants)).toEqual([1_250 * ms])
    expect(table.say("a", { demand: [cost(2_003, 1, 1)] }).grants).toEqual([])
  })

  it("a task that costs more than the limit takes the whole window", () => {
    const table = new Table(window(10, 400 * ms))
    expect(table.say("a", { demand: [cost(1, 1, 50)] }).grants).toHaveLength(1)
    expect(table.say("a", { demand: [cost(2, 1, 1)] }).grants).toEqual([])
  })

  it("a task that costs nothing waits for nothing", () => {
    const table = new Table(window(1, 400 * ms))
    table.say("a", { demand: [cost(1, 1, 1)] })
    const { grants } = table.say("a", { demand: [cost(2, 3, 0)] })
    expect(slots(grants)).toEqual([0, 0, 0])
    expect(grants).toMatchObject([{ count: 3, entries: [0] }])
  })
})

describe("permits", () => {
  const weigh = (batch: number, count: number, weight: number) => demand(batch, count, { weight })

  it("are granted up to the limit, and again when they are given back; the waiter is woken", () => {
    const table = new Table(permits(4))
    expect(table.say("a", { demand: [weigh(1, 3, 1)] }).grants.map(({ count }) => count)).toEqual([3])
    expect(table.say("b", { demand: [weigh(1, 2, 2)] }).grants).toEqual([])
    table.say("a", { ended: 1 })
    expect(table.wakes).toEqual(["b"])
    expect(table.say("b").grants).toMatchObject([{ count: 1, weight: 2 }])
    expect(table.state!.inUse).toBe(4)
  })

  it("a heavy waiter is not overtaken by light ones", () => {
    const table = new Table(permits(4))
    table.say("a", { demand: [weigh(1, 3, 1)] })
    table.say("b", { demand: [weigh(1, 1, 4)] })
    expect(table.say("c", { demand: [weigh(1, 1, 1)] }).grants).toEqual([])
    table.say("a", { ended: 3 })
    expect(table.wakes).toEqual(["b"])
  })

  it("a task that needs more permits than there are takes all of them", () => {
    const table = new Table(permits(4))
    expect(table.say("a", { demand: [weigh(1, 1, 9)] }).grants).toMatchObject([{ weight: 4 }])
  })

  it("a session does not get all of them in a row while another one waits", () => {
    const table = new Table(permits(8))
    table.say("a", { demand: [weigh(1, 1_000, 1)] })
    table.say("b", { demand: [weigh(1, 1_000, 1)] })
    const counts = { a: 0, b: 0 }
    for (let round = 0; round < 20; round++) {
      for (const session of ["a", "b"] as const) {
        counts[session] += table.say(session, { ended: table.state!.sessions.get(session)!.held }).grants.length
      }
    }
    expect(counts).toEqual({ a: 100, b: 102 })
  })

  it("never more is given back than is held", () => {
    const table = new Table(permits(2))
    table.say("a", { demand: [weigh(1, 1, 1)] })
    table.say("a", { ended: 50 })
    expect(table.state!.inUse).toBe(0)
  })
})

describe("the queue", () => {
  it("is served in the order of arrival, whatever the session", () => {
    const table = new Table(rate(10))
    table.say("a", { demand: [demand(1, 1)] })
    for (const session of ["b", "c", "d"]) table.say(session, { demand: [demand(1, 1)] })
    table.say("b", { demand: [demand(2, 1)] })
    expect(table.state!.queue.map(({ batch, session }) => [session, batch])).toEqual([
      ["b", 1],
      ["c", 1],
      ["d", 1],
      ["b", 2]
    ])
  })

  it("more demand joins its batch if a quantum of it is left, and otherwise waits behind the others", () => {
    const table = new Table(permits(16))
    const waiting = () => table.state!.queue.map(({ session, count }) => [session, count])
    const wants = (batch: number, count: number) => demand(batch, count, { weight: 1 })
    table.say("a", { demand: [wants(1, 16)] })
    const [first] = table.say("a", { demand: [wants(2, 3)] }).arrivals
    table.say("b", { demand: [wants(1, 1)] })
    expect(table.say("a", { demand: [wants(2, 5)] }).arrivals).toEqual([first])
    expect(waiting()).toEqual([
      ["a", 8],
      ["b", 1]
    ])
    table.say("b", { demand: [wants(1, 4)] })
    expect(waiting()).toEqual([
      ["a", 8],
      ["b", 1],
      ["b", 4]
    ])
    // The last tasks of a batch are withdrawn first.
    table.say("b", { withdrawn: [{ batch: 1, count: 2 }] })
    expect(waiting()).toEqual([
      ["a", 8],
      ["b", 1],
      ["b", 2]
    ])
    table.say("b", { demand: [wants(1, 2)] })
    // The quantum is 2: then the rest of the batch waits behind the others.
    table.say("a", { ended: 3 })
    expect(waiting()).toEqual([
      ["b", 4],
      ["a", 6]
    ])
  })

  it("demand that is withdrawn is charged nothing and delays no other", () => {
    const table = new Table(rate(10))
    table.say("a", { demand: [demand(1, 4)] })
    table.say("b", { demand: [demand(1, 1)] })
    table.say("a", {
      withdrawn: [
        { batch: 1, count: 1 },
        { batch: 7, count: 1 }
      ]
    })
    expect(table.state!.queue.map(({ count }) => count)).toEqual([2, 1])
    table.say("a", { withdrawn: [{ batch: 1, count: 9 }] })
    expect(table.state!.queue.map(({ session }) => session)).toEqual(["b"])
    table.now = 60 * ms
    expect(slots(table.say("b").grants)).toEqual([100 * ms])
  })

  it("a delivery wakes its session only if it is due before the session's next visit", () => {
    const table = new Table(rate(100))
    table.say("a", { demand: [demand(1, 6)] })
    table.say("b", { demand: [demand(1, 1)], visit: 20 * ms })
    table.now = 15 * ms
    table.say("a")
    expect(table.wakes).toEqual([])
    expect(table.state!.sessions.get("b")!.deliveries).toHaveLength(1)
    table.say("c", { demand: [demand(1, 1)], visit: 500 * ms })
    table.now = 30 * ms
    table.say("a")
    expect(table.wakes).toEqual(["c"])
  })
})

describe("messages", () => {
  it("that are sent again get the same answer and count once", () => {
    const table = new Table(permits(4))
    const answer = table.say("a", { demand: [demand(1, 2, { weight: 1 })] })
    const { state } = table
    const before = structuredClone(state)
    table.now = 50 * ms
    expect(table.repeat("a")).toEqual(answer)
    expect(state).toEqual(before)
  })

  it("that a later one has overtaken change nothing", () => {
    const table = new Table(permits(4))
    const old = message(table.limits, { demand: [demand(1, 1, { weight: 1 })] })
    table.send(old)
    table.say("b")
    table.send(message(table.limits, { seq: 2, generation: table.state!.generation, tick: 1 }))
    const before = structuredClone(table.state)
    expect(table.send(old).status).toBe("stale")
    expect(table.state).toEqual(before)
  })

  it("of another version of the protocol change nothing", () => {
    const table = new Table(rate(10))
    expect(table.say("a", { version: 2 })).toMatchObject({ status: "version", version: 1 })
    expect(table.state).toBeUndefined()
  })

  it("with other limits are refused, and told the limits", () => {
    const table = new Table(rate(10))
    table.say("a")
    expect(table.say("b", { limits: encodeLimits(rate(20)) })).toMatchObject({
      status: "limits",
      limits: encodeLimits(rate(10))
    })
    expect(table.state!.sessions.has("b")).toBe(false)
  })

  it("the pure form leaves the state alone", () => {
    const first = step(undefined, message(rate(10), { demand: [demand(1, 1)] }), 0)
    const before = structuredClone(first.state)
    const second = step(first.state, message(rate(10), { session: "b", demand: [demand(1, 1)] }), 5)
    expect(first.state).toEqual(before)
    expect(second.state).not.toEqual(before)
  })

  it("the store's time never falls", () => {
    const table = new Table(rate(10))
    table.now = 500
    table.say("a")
    table.now = 100
    expect(table.say("a").now).toBe(500)
    expect(table.say("a", { limits: "[]" }).now).toBe(500)
  })
})

describe("silence", () => {
  it("frees what a session holds at the end of its lease, not before, and its waiters leave the queue", () => {
    const table = new Table(permits(2))
    table.say("a", { demand: [demand(1, 3, { weight: 1 })] })
    const { visit } = table.say("b", { demand: [demand(1, 1, { weight: 1 })] })
    expect(visit).toBe(Math.floor(second / 3))
    table.now = second - 1
    // The next visit is when the lease ends, which nothing else tells.
    expect(table.say("b")).toMatchObject({ grants: [], visit: 1 * ms })
    table.now = second
    expect(table.say("b").grants).toHaveLength(1)
    expect(table.state!.inUse).toBe(1)
    expect(table.state!.queue).toEqual([])
  })

  it("a delivery that is not fetched is taken back after the slack, and its session is passed over until it comes", () => {
    const table = new Table(permits(1))
    table.say("a", { demand: [demand(1, 1, { weight: 1 })] })
    table.say("b", { demand: [demand(1, 1, { weight: 1 })] })
    table.say("c", { demand: [demand(1, 1, { weight: 1 })] })
    table.say("a", { ended: 1 })
    expect(table.wakes).toEqual(["b"])
    table.now = 249 * ms
    expect(table.say("c").grants).toEqual([])
    table.now = 250 * ms
    expect(table.say("c").grants).toHaveLength(1)
    // It keeps its place.
    table.say("d", { demand: [demand(1, 1, { weight: 1 })] })
    table.say("b")
    expect(table.state!.queue.map(({ session }) => session)).toEqual(["b", "d"])
  })

  it("a session that is back after its lease is adopted, and declares its demand again in its old place", () => {
    const table = new Table(permits(2))
    const [first] = table.say("a", { demand: [demand(1, 3, { weight: 1 })] }).arrivals
    table.now = 2 * second
    table.say("b", { demand: [demand(1, 3, { weight: 1 })] })
    expect(table.say("a", { held: 1, demand: [demand(2, 5, { weight: 1 })] })).toMatchObject({
      adopted: true,
      arrivals: []
    })
    expect(table.state!.inUse).toBe(3)
    table.say("a", { demand: [demand(1, 1, { weight: 1, arrival: first!.arrival })] })
    expect(table.state!.queue.map(({ session }) => session)).toEqual(["a", "b"])
  })

  it("permits of an adopted session are free when they are given back, or at the end of the lease", () => {
    const table = new Table(permits(3))
    table.say("new", { held: 1 })
    table.say("silent", { held: 1 })
    expect(table.state!.inUse).toBe(2)
    table.say("new", { ended: 1 })
    expect(table.state!.inUse).toBe(1)
    table.now = second
    table.say("other")
    expect(table.state!.inUse).toBe(0)
  })

  it("a session that leaves holds nothing and is forgotten in time", () => {
    const table = new Table(permits(2))
    table.say("a", { demand: [demand(1, 2, { weight: 1 })] })
    table.say("b", { demand: [demand(1, 1, { weight: 1 })] })
    const gone = table.say("a", { leave: true })
    expect(gone).toMatchObject({ visit: 0, grants: [] })
    expect(table.wakes).toEqual(["b"])
    expect(table.repeat("a")).toEqual(gone)
    table.now = 11 * second
    table.say("c")
    expect(table.state!.sessions.has("a")).toBe(false)
    expect(table.say("c").status).toBe("ok")
  })

  it("a session is remembered for ten leases, within which its return is not taken for lost state", () => {
    for (const [late, quarantine] of [
      [-1, 0],
      [0, 12 * second]
    ] as const) {
      const table = new Table(permits(2))
      table.say("a")
      table.now = second
      table.say("b")
      table.now = 11 * second + late
      table.say("b")
      expect(table.say("a")).toMatchObject({ adopted: true, quarantine })
    }
  })

  it("a session with grants to report is asked to come; with permits, to renew; with nothing, not at all", () => {
    const table = new Table({ ...permits(2), rate: 100 })
    const { grants, visit } = table.say("a", { demand: [demand(1, 1, { weight: 1 })] })
    expect(visit).toBe(270 * ms)
    expect(table.say("a", { reports: [{ grant: grants[0]!.id, late: 0, unused: 0 }] }).visit).toBe(
      Math.floor(second / 3)
    )
    expect(table.say("a", { ended: 1 }).visit).toBe(0)
    // A report of what is not known changes nothing.
    expect(table.say("a", { reports: [{ grant: 5, late: 0, unused: 1 }] }).status).toBe("ok")
  })
})

describe("pausing", () => {
  it("revokes what was not fetched, wakes all, and grants nothing until its end", () => {
    const table = new Table(rate(100))
    table.say("a", { demand: [demand(1, 20)] })
    table.say("b", { demand: [demand(1, 5)] })
    table.now = 40 * ms
    table.say("a")
    expect(table.state!.sessions.get("b")!.deliveries).not.toEqual([])
    table.now = 100 * ms
    const answer = table.say("c", { pause: 300 * ms })
    expect(answer.paused).toBe(400 * ms)
    expect(table.wakes).toEqual(["a", "b"])
    expect([...table.state!.sessions.values()].flatMap(({ deliveries }) => deliveries)).toEqual([])
    const asked = table.state!.queue.reduce((sum, { count }) => sum + count, 0)
    expect(table.say("a")).toMatchObject({ grants: [], visit: 270 * ms })
    table.now = 400 * ms
    table.say("a")
    expect(table.state!.queue.reduce((sum, { count }) => sum + count, 0)).toBeLessThan(asked)
  })

  it("is over when a session resumes", () => {
    const table = new Table(rate(100))
    table.say("a", { pause: 300 * ms, demand: [demand(1, 1)] })
    expect(slots(table.say("a", { pause: 0 }).grants)).toEqual([0])
  })

  it("earns no credit: time stands still for the pace", () => {
    const table = new Table(rate(100, 5))
    table.say("a", { demand: [demand(1, 5)] })
    table.say("a", { pause: 200 * ms, demand: [demand(2, 4)] })
    table.now = 200 * ms
    expect(slots(table.say("a").grants).slice(0, 2)).toEqual([200 * ms, 210 * ms])
    const idle = new Table(rate(100, 5))
    idle.say("a", { demand: [demand(1, 1)], pause: 200 * ms })
    idle.now = 100 * ms
    // All of the burst was there before.
    idle.say("a", { pause: 0, demand: [demand(2, 6)] })
    expect(idle.state!.queue).toEqual([])
    const ahead = new Table(rate(20))
    ahead.say("a", { demand: [demand(1, 2)] })
    ahead.say("a", { demand: [demand(2, 1)], pause: 300 * ms })
    ahead.now = 310 * ms
    expect(slots(ahead.say("a").grants)).toEqual([310 * ms])
  })

  it("takes back what the session that pauses has not fetched, before that withdraws it", () => {
    const table = new Table(permits(1))
    table.say("a", { demand: [demand(1, 1, { weight: 1 })] })
    table.say("b", { demand: [demand(1, 1, { weight: 1 })] })
    table.say("a", { ended: 1 })
    expect(table.state!.inUse).toBe(1)
    const answer = table.say("b", { pause: 100 * ms, withdrawn: [{ batch: 1, count: 1 }] })
    expect(answer.grants).toEqual([])
    expect(table.state).toMatchObject({ inUse: 0, queue: [] })
    table.now = 100 * ms
    expect(table.say("b").grants).toEqual([])
    expect(slots(table.say("a", { demand: [demand(2, 1, { weight: 1 })] }).grants)).toEqual([100 * ms])
  })
})

describe("resizing", () => {
  it("reaches all sessions, and those that are configured with the old limits may stay and join", () => {
    const table = new Table(rate(10))
    table.say("a", { demand: [demand(1, 9)] })
    table.say("b")
    const resized = table.say("a", { resize: encodeLimits(rate(100)) })
    expect(table.wakes).toEqual(["b"])
    expect(resized).toMatchObject({ revision: 2, limits: encodeLimits(rate(100)) })
    expect(slots(resized.grants)).toEqual([10, 20, 30, 40, 50].map((slot) => slot * ms))
    expect(table.say("b", { revision: 2 }).limits).toBe("")
    expect(table.say("c", { limits: encodeLimits(rate(100)) }).status).toBe("ok")
    // The same again is no change.
    expect(table.say("a", { resize: encodeLimits(rate(100)) }).revision).toBe(2)
  })

  it("is refused for another kind of limits", () => {
    for (const limits of [permits(5), window(1, second), { ...rate(10), permits: 1 }]) {
      const table = new Table(rate(10))
      expect(table.say("a", { resize: encodeLimits(limits) })).toMatchObject({ status: "limits", limits: "" })
      expect(table.say("b")).toMatchObject({ status: "ok" })
    }
    const table = new Table(window(1, second))
    const other = encodeLimits({ ...none, windows: [{ name: "other", limit: 1, per: second }] })
    expect(table.say("a", { resize: other }).status).toBe("limits")
  })

  it("outlives the loss of the state", () => {
    const table = new Table(rate(10))
    table.say("a")
    table.say("a", { resize: encodeLimits(rate(100)) })
    table.state = undefined
    table.say("a", { resized: encodeLimits(rate(100)) })
    expect(table.state).toMatchObject({ limits: encodeLimits(rate(100)), original: encodeLimits(rate(10)) })
  })
})

describe("lost state", () => {
  const quarantine = 1_450 * ms

  it("nothing is granted until what was granted before has left the longest window", () => {
    const table = new Table(rate(100))
    table.say("a", { demand: [demand(1, 3)] })
    table.now = 500 * ms
    table.state = undefined
    const lost = table.say("a")
    expect(lost).toMatchObject({ adopted: true, quarantine: 500 * ms + quarantine })
    expect(table.say("a", { demand: [demand(2, 3)] })).toMatchObject({ grants: [], visit: Math.floor(second / 3) })
    table.now = 500 * ms + quarantine - 1
    expect(table.say("b", { demand: [demand(1, 1)] }).grants).toEqual([])
    table.now++
    expect(table.say("b").grants).not.toEqual([])
  })

  it("is noticed later if a new session came first, and a second session that knew does not prolong it", () => {
    const table = new Table(rate(10))
    table.say("a", { demand: [demand(1, 1)] })
    table.say("c")
    table.now = 300 * ms
    table.state = undefined
    expect(table.say("b", { demand: [demand(1, 5)] }).grants).toHaveLength(1)
    table.now = 310 * ms
    expect(table.say("a").quarantine).toBe(310 * ms + quarantine)
    table.now = 320 * ms
    expect(table.say("c").quarantine).toBe(310 * ms + quarantine)
  })

  it.each(["a gap in the numbers of a session", "a higher tick", "a later generation", "an unknown session"])(
    "that was rolled back shows by %s",
    (sign) => {
      const table = new Table(permits(9))
      const join = (session: string) => table.say(session, { demand: [demand(1, 1, { weight: 1 })] })
      join("a")
      join("b")
      const old = structuredClone(table.state)
      if (sign === "a gap in the numbers of a session") {
        table.say("a")
        table.state = old
        table.say("b")
        expect(table.say("a", { tick: 0 }).adopted).toBe(true)
      } else if (sign === "a higher tick") {
        table.say("b")
        table.say("a")
        table.state = old
        expect(table.say("b", { seq: 2 }).quarantine).toBeGreaterThan(0)
      } else if (sign === "a later generation") {
        const later = table.state!.generation + 1
        expect(table.say("b", { generation: later })).toMatchObject({ adopted: true })
        expect(table.state!.generation).toBeGreaterThan(later)
      } else {
        join("c")
        table.state = old
        expect(table.say("c", { tick: 0 }).adopted).toBe(true)
      }
      expect(table.state!.quarantine).toBeGreaterThan(0)
      expect(table.state!.arrival).toBeGreaterThan(old!.arrival - 1)
      expect(table.state!.token).toBeGreaterThan(old!.token)
    }
  )

  it.each([
    ["a rate begins anew at once", rate(10), 300 * ms],
    ["permits are held for one lease", permits(2), 1_300 * ms],
    ["and both for one lease", { ...rate(10), permits: 2 }, 1_300 * ms]
  ])("with `afresh`, %s", (_, limits, quarantine) => {
    const table = new Table(limits)
    table.say("a")
    table.now = 300 * ms
    table.state = undefined
    expect(table.say("a", { afresh: true })).toMatchObject({ adopted: true, quarantine })
  })

  it("a session without a generation starts afresh at once: that is the choice not to wait", () => {
    const table = new Table(rate(10))
    table.say("a")
    table.state = undefined
    expect(table.say("a", { generation: 0, tick: 0 }).quarantine).toBe(0)
  })
})

it("a message that arrives too late changes nothing, and is not taken for lost state", () => {
  const table = new Table(rate(10))
  table.say("a")
  const { tick } = table.state!
  table.now = second
  for (const [seq, state] of [
    [2, table.state],
    [9, table.state],
    [2, undefined]
  ] as const) {
    table.state = state
    expect(table.say("a", { seq, until: second - 1 })).toMatchObject({ status: "stale", generation: 0, grants: [] })
    expect(table.state?.tick).toBe(state === undefined ? undefined : tick)
  }
  expect(table.say("a", { seq: 1, until: second }).status).toBe("ok")
})

it("with many sessions, slots are granted further ahead, up to 200 ms", () => {
  const table = new Table(rate(1_000))
  for (let index = 0; index < 150; index++) table.say(`s${index}`)
  const { grants } = table.say("a", { demand: [demand(1, 500)] })
  expect(slots(grants).at(-1)).toBe(75 * ms)
  for (let index = 150; index < 600; index++) table.say(`s${index}`)
  expect(slots(table.say("a").grants).at(-1)).toBe(200 * ms)
})

it("a session that never reports is remembered by its last 256 grants", () => {
  const table = new Table({ ...none, windows: [{ name: "w", limit: 1e6, per: second }], lease: 60 * second })
  for (let index = 0; index < 300; index++) {
    table.say("a", { demand: [demand(index, 1, { costs: [1] })] })
  }
  expect(table.state!.sessions.get("a")!.outstanding).toHaveLength(256)
})
