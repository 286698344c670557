/** Meters that continue with a share of their limits while the store is out of reach, under virtual time. */
import { createMeter, runOnEach } from "@fibermeter/promise"
import type { MeterOptions, TaskContext } from "@fibermeter/promise"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { LeaseLostError, memoryStore, redisStore, type StoreEvent, type StoreOptions } from "../src/index.ts"
import { openClient } from "./support/client.ts"
import { random } from "./support/random.ts"
import { scene } from "./support/scene.ts"
import { describeWithServer } from "./support/server.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

/** As `scene`, with a share of the limits during an outage. */
const sceneWith = (limits: MeterOptions, share: number, count = 1, options: StoreOptions = {}) =>
  scene(limits, count, { outage: { share }, ...options })

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

/** A promise and what fulfils it. */
const promiseOf = (): [Promise<void>, () => void] => {
  const { promise, resolve } = Promise.withResolvers<void>()
  return [promise, resolve]
}

const typesOf = (events: ReadonlyArray<StoreEvent>) => events.map(({ type }) => type)

it("a task that waits for another meter when an outage begins starts after it, if it needs more than the share", async () => {
  const a = sceneWith({ name: "a", maxAtOnce: 3 }, 0.25)
  const b = sceneWith({ name: "b", maxAtOnce: 3 }, 0.25, 2, { leaseLost: "continue" })
  const other = b.meters[1]!.run(b.task("other", 12_000), { permits: 3 })
  await pass(900)
  const both = a.meters[0].run(a.task("both"), { meter: b.meters[0] })
  await pass(100)
  for (const { trouble } of [a, b]) trouble.isCut = true
  await pass(8_000)
  for (const { trouble } of [a, b]) trouble.isCut = false
  await pass(10_000)
  expect(a.log).toEqual(["both 12000"])
  await Promise.all([both, other])
  await pass(10_000)
  expect(vi.getTimerCount()).toBe(0)
})

describe("during an outage, waiting tasks start within a share of the limits, a second after the last answer", () => {
  it("of the rate, and afterwards within the whole rate again", async () => {
    const { events, log, meters, task, trouble } = sceneWith({ maxPerSecond: 40, maxBurst: 8 }, 0.25)
    trouble.isCut = true
    const all = Promise.all(Array.from({ length: 20 }, (_, i) => meters[0].run(task(`${i}`))))
    await pass(999)
    expect(log).toEqual([])
    await pass(302)
    // A burst of two, and then ten in a second.
    expect(log).toEqual(["0 1000", "1 1000", "2 1100", "3 1200", "4 1300"])
    const limits = { maxAtOnce: Infinity, maxPerSecond: 10, maxBurst: 2, windows: {} }
    expect(events).toEqual([
      { type: "outage", meter: "api", cause: new Error("no connection") },
      { type: "share", meter: "api", limits }
    ])
    trouble.isCut = false
    await pass(2_000)
    await all
    // The attempt of 1270 failed, and the next one comes a second later.
    expect(events.slice(2)).toMatchObject([{ type: "recovered" }, { type: "shareEnded", meter: "api", started: 13 }])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("of maxAtOnce, within which running tasks count", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 8 }, 0.25)
    const all = [500, 1_500, 2_000].map((ms, i) => meters[0].run(task(`${i}`, ms)))
    await pass(1)
    trouble.isCut = true
    all.push(...["a", "b"].map((name) => meters[0].run(task(name, 1_000))))
    await pass(3_000)
    // The outage is one from 1001 on, and two of the first still run then.
    expect(log.slice(3)).toEqual(["a 1500", "b 2000"])
    await Promise.all(all)
  })

  it("of windows, with costs and their corrections, and one share for all outages in a window", async () => {
    const { events, log, meters, task, trouble } = sceneWith({ windows: { tokens: { limit: 40, per: 60_000 } } }, 0.25)
    trouble.isCut = true
    const first = meters[0].run(
      ({ correct }) => {
        log.push(`a ${Date.now()}`)
        correct({ tokens: 4 })
      },
      { cost: { tokens: 9 } }
    )
    const second = meters[0].run(task("b"), { cost: { tokens: 5 } })
    await pass(1_500)
    await Promise.all([first, second])
    trouble.isCut = false
    // The share does not end before the store has been asked again.
    const next = meters[0].run(() => 1, { cost: { tokens: 0 } })
    await pass(1_000)
    await next
    trouble.isCut = true
    const third = meters[0].run(task("c"), { cost: { tokens: 2 } })
    await pass(58_000)
    // Of 10, 9 were spent in the first outage. A correction is said within 25 ms.
    expect(log).toEqual(["a 1000", "b 1025"])
    await pass(10_000)
    await third
    expect(log[2]).toBe("c 61001")
    expect(typesOf(events)).toEqual(["outage", "share", "recovered", "shareEnded", "outage", "share"])
  })

  it.each([
    ["after it to a higher cost, which leaves too little", 2, 9, 0, "b 61001"],
    ["after it to a lower cost, which leaves enough", 9, 2, 0, "b 6000"],
    ["in the next outage", 9, 2, 10_000, "b 15000"]
  ])("of windows, where a task of one outage corrects its cost %s", async (_, estimate, corrected, later, second) => {
    const { log, meters, task, trouble } = sceneWith({ windows: { tokens: { limit: 40, per: 60_000 } } }, 0.25)
    trouble.isCut = true
    const [ended, end] = promiseOf()
    const first = meters[0].run(
      async ({ correct }) => {
        log.push(`a ${Date.now()}`)
        await ended
        correct({ tokens: corrected })
      },
      { cost: { tokens: estimate } }
    )
    await pass(1_500)
    trouble.isCut = false
    // The share does not end before the store has been asked again.
    const between = meters[0].run(() => 1, { cost: { tokens: 0 } })
    await pass(3_500)
    await between
    if (later === 0) end()
    await pass(0)
    trouble.isCut = true
    const next = meters[0].run(task("b"), { cost: { tokens: 7 } })
    await pass(later)
    end()
    await first
    await pass(60_000)
    await next
    expect(log).toEqual(["a 1000", second])
  })

  it("a task that needs more than the share waits for the store, as do the tasks behind it", async () => {
    const windows = { tokens: { limit: 100, per: 1_000 } }
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 4, windows }, 0.5)
    trouble.isCut = true
    const all = [
      meters[0].run(task("fits"), { permits: 2, cost: { tokens: 50 } }),
      meters[0].run(task("costs too much"), { cost: { tokens: 51 } }),
      meters[0].run(task("needs too many permits"), { permits: 3 }),
      meters[0].run(task("behind"), { cost: { tokens: 1 } })
    ]
    await pass(10_000)
    expect(log).toEqual(["fits 1000"])
    trouble.isCut = false
    await pass(3_000)
    await Promise.all(all)
    expect(log).toHaveLength(4)
  })

  it("no task starts if the share of a limit is less than one", async () => {
    const { events, log, meters, task, trouble } = sceneWith({ maxAtOnce: 3, maxPerSecond: 100 }, 0.25)
    trouble.isCut = true
    const run = meters[0].run(task("a"))
    await pass(10_000)
    expect(log).toEqual([])
    expect(events[1]).toMatchObject({ type: "share", limits: { maxAtOnce: 0, maxPerSecond: 25 } })
    trouble.isCut = false
    await pass(2_000)
    expect(await run).toBe("a")
  })

  it("rounding errors do not reduce a share", async () => {
    const { events, meters, task, trouble } = sceneWith({ maxAtOnce: 100 }, 0.29)
    trouble.isCut = true
    const run = meters[0].run(task("a"))
    await pass(1_000)
    await run
    expect(events[1]).toMatchObject({ limits: { maxAtOnce: 29 } })
  })

  it("each process has its own share, in the order of its priorities and lanes", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxPerSecond: 40 }, 0.25, 2)
    trouble.isCut = true
    const all = meters.flatMap((meter, i) => [
      meter.run(task(`${i} low`)),
      meter.run(task(`${i} high`), { priority: 1 }),
      meter.run(task(`${i} lane`), { lane: "x" })
    ])
    await pass(1_201)
    await Promise.all(all)
    const inTurn = ["0 high 1000", "1 high 1000", "0 lane 1100", "1 lane 1100", "0 low 1200", "1 low 1200"]
    expect(log.toSorted()).toEqual(inTurn.toSorted())
  })

  it("tasks of verbs start without a fencing token", async () => {
    const { meters, trouble } = sceneWith({ maxPerSecond: 4_000 }, 0.25)
    trouble.isCut = true
    const tokens: Array<unknown> = []
    const run = meters[0].runOnEach(Array(100), (_, { fencingToken }) => void tokens.push(fencingToken))
    await pass(1_110)
    await run
    expect(tokens).toEqual(Array(100))
  })

  it("later calls start at once, and the store is asked again", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 8 }, 0.25, 1, { lease: 3_000 })
    trouble.isCut = true
    const first = meters[0].run(task("a"))
    await pass(1_000)
    await first
    await pass(60_000)
    const { length } = trouble.messages
    const second = meters[0].run(task("b"))
    await pass(100)
    await second
    expect(log).toEqual(["a 1000", "b 61000"])
    expect(trouble.messages.length).toBeGreaterThan(length)
  })
})

describe("what the process knows of the meter holds during an outage", () => {
  it("a pause that began before, or begins or ends during the outage, which then reaches all processes", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 8 }, 0.5, 2)
    const before = meters[0].run(task("before"))
    await pass(0)
    await before
    meters[0].pause(2_000)
    await pass(0)
    trouble.isCut = true
    await pass(10)
    // No message can say so yet.
    meters[0].pause(2_990)
    const first = meters[0].run(task("a"))
    await pass(1_500)
    expect(meters[0].snapshot().paused).toBe(true)
    await pass(1_590)
    expect(await first).toBe("a")
    expect(log[1]).toMatch(/^a 300\d$/)
    meters[0].pause(10_000)
    const second = meters[0].run(task("b"))
    await pass(900)
    expect(meters[0].snapshot().paused).toBe(true)
    meters[0].resume()
    await pass(1)
    expect(await second).toBe("b")
    meters[0].pause(10_000)
    trouble.isCut = false
    await pass(2_000)
    const other = meters[1]!.run(task("other"))
    await pass(100)
    expect(meters[1]!.snapshot().paused).toBe(true)
    await pass(10_000)
    expect(await other).toBe("other")
  })

  it("no pause of an earlier outage that has ended since", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxPerSecond: 100 }, 0.5)
    trouble.isCut = true
    const first = meters[0].run(task("a"))
    meters[0].pause(3_600_000)
    await pass(1_500)
    trouble.isCut = false
    await pass(2_000)
    meters[0].resume()
    await pass(1_000)
    await first
    trouble.isCut = true
    const second = meters[0].run(task("b"))
    const since = Date.now()
    await pass(1_000)
    expect(log[1]).toBe(`b ${since + 1_000}`)
    await second
  })

  it("limits that were changed before or during the outage, here or in another process", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 4 }, 0.5, 2)
    const both = Promise.all(meters.map((meter) => meter.run(task("before"))))
    await pass(0)
    await both
    meters[1]!.resize({ maxAtOnce: 8 })
    await pass(0)
    const again = meters[0].run(task("again"))
    await pass(0)
    await again
    for (const [limit, names] of [
      [8, ["a", "b", "c", "d", "e"]],
      [12, ["f", "g", "h", "i", "j", "k", "l"]]
    ] as const) {
      log.length = 0
      trouble.isCut = true
      const all = names.map((name) => meters[0].run(task(name, 5_000)))
      if (limit === 12) {
        await pass(1_000)
        expect(log).toHaveLength(4)
        meters[0].resize({ maxAtOnce: limit })
        await pass(0)
      } else {
        await pass(1_000)
      }
      expect(log).toHaveLength(limit / 2)
      await pass(10_000)
      await Promise.all(all)
      trouble.isCut = false
      await pass(2_000)
    }
    expect(() => meters[0].resize({ maxPerSecond: 5 })).toThrow(TypeError)
    expect(meters[1]!.snapshot().limits.maxAtOnce).toBe(8)
    const last = meters[1]!.run(task("last"))
    await pass(100)
    await last
    expect(meters[1]!.snapshot().limits.maxAtOnce).toBe(12)
  })
})

describe("when the lease ends during an outage", () => {
  const cutOff = async (share: number, hold: ReadonlyArray<number>, options: StoreOptions = {}) => {
    const made = sceneWith({ maxAtOnce: 8 }, share, 1, { lease: 3_000, ...options })
    const { meters, task, trouble } = made
    const all = hold.map((ms, i) => meters[0].run(task(`${i}`, ms)).catch((error: unknown) => error))
    await pass(1)
    trouble.isCut = true
    await pass(10_000)
    return { ...made, outcomes: await Promise.all(all) }
  }

  it("running tasks continue if they are within the share", async () => {
    const { events, outcomes } = await cutOff(0.25, [2_000, 5_000, 6_000])
    expect(outcomes).toEqual(["0", "1", "2"])
    expect(events).toContainEqual({ type: "leaseLost", meter: "api", permits: 2 })
  })

  it("running tasks that exceed the share are cancelled", async () => {
    const { events, outcomes } = await cutOff(0.25, [4_000, 5_000, 6_000])
    for (const outcome of outcomes) expect(outcome).toBeInstanceOf(LeaseLostError)
    expect(events).toContainEqual({ type: "leaseLost", meter: "api", permits: 3 })
  })

  it("with leaseLost: continue, running tasks always continue", async () => {
    expect((await cutOff(0.25, [4_000, 5_000, 6_000], { leaseLost: "continue" })).outcomes).toEqual(["0", "1", "2"])
  })

  it("before the share begins, running tasks are cancelled", async () => {
    const { events, outcomes } = await cutOff(1, [4_000], { lease: 500 })
    expect(outcomes[0]).toBeInstanceOf(LeaseLostError)
    expect(typesOf(events)).toEqual(["leaseLost", "outage", "share"])
  })

  it("a task started within the share holds no lease", async () => {
    const { events, log, meters, task, trouble } = sceneWith({ maxAtOnce: 8 }, 0.25, 1, { lease: 3_000 })
    const before = meters[0].run(task("before"))
    await pass(1)
    await before
    trouble.isCut = true
    const run = meters[0].run(task("a", 20_000))
    await pass(30_000)
    expect(await run).toBe("a")
    expect(log).toEqual(["before 0", "a 1001"])
    expect(typesOf(events)).toEqual(["outage", "share"])
  })
})

describe("when the store answers again", () => {
  it("the store counts the permits in use, and grants others no more than the rest", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 4 }, 0.5, 2)
    const before = meters[0].run(task("before", 10_000))
    await pass(1)
    trouble.isCut = true
    const share = meters[0].run(task("share", 10_000))
    await pass(1_400)
    expect(log).toEqual(["before 0", "share 1001"])
    trouble.isCut = false
    await pass(1_000)
    // First the new session, and then the old one leaves.
    const last = trouble.messages.slice(-3).map(({ session, leave, held }) => ({ session, leave, held }))
    expect(last).toEqual([
      { session: "s1", leave: false, held: 1 },
      { session: "s3", leave: false, held: 2 },
      { session: "s1", leave: true, held: 1 }
    ])
    const others = Array.from({ length: 4 }, (_, i) => meters[1]!.run(task(`other${i}`, 20_000)))
    await pass(1_000)
    expect(log.slice(2).map(([name]) => name)).toHaveLength(2)
    await pass(6_500)
    expect(log).toHaveLength(4)
    await pass(60_000)
    await Promise.all([before, share, ...others])
    expect(log[4]).toMatch(/^other2 100\d\d$/)
  })

  it("if the first message of the new session is lost, the old one has not left yet", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 4 }, 0.5, 2)
    const before = meters[0].run(task("before", 10_000))
    await pass(1)
    trouble.isCut = true
    const share = meters[0].run(task("share", 10_000))
    await pass(1_400)
    trouble.isCut = false
    let isLost = false
    trouble.isSilentFor = (session) => {
      if (session !== "s3" || isLost) return false
      isLost = true
      return true
    }
    for (let ms = 0; ms < 1_000 && !isLost; ms++) await pass(1)
    expect(isLost).toBe(true)
    // Two permits are in use here, and the store has the old session for both: for one it has just granted a slot.
    const others = Array.from({ length: 5 }, (_, i) => meters[1]!.run(task(`other${i}`, 20_000)))
    await pass(100)
    expect(log.slice(2)).toHaveLength(2)
    await pass(60_000)
    await Promise.all([before, share, ...others])
  })

  it("if the old session cannot leave, its lease ends, and no permit is granted twice", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 4 }, 0.5, 2)
    const before = meters[0].run(task("before", 30_000))
    await pass(1)
    trouble.isCut = true
    const share = meters[0].run(task("share", 30_000))
    await pass(1_400)
    trouble.isCut = false
    const { push } = trouble.messages
    trouble.messages.push = function (message) {
      trouble.isCut = message.leave
      return push.call(this, message)
    }
    await pass(1_000)
    expect(trouble.isCut).toBe(true)
    trouble.messages.push = push
    trouble.isCut = false
    const others = Array.from({ length: 3 }, (_, i) => meters[1]!.run(task(`other${i}`, 60_000)))
    await pass(1_000)
    // The old session has what it was granted before the outage, and a grant that it has not used.
    expect(log).toHaveLength(2)
    await pass(5_000)
    expect(log.slice(2).map((each) => each.split(" ")[0])).toEqual(["other0", "other1"])
    await pass(120_000)
    await Promise.all([before, share, ...others])
  })

  it("a task of the share that has already ended needs no new session", async () => {
    const { log, meters, task, trouble } = sceneWith({ maxAtOnce: 4 }, 0.5)
    const before = meters[0].run(task("before", 10_000))
    await pass(1)
    trouble.isCut = true
    const share = meters[0].run(task("share", 100))
    await pass(1_400)
    await share
    trouble.isCut = false
    await pass(1_000)
    await pass(20_000)
    await before
    expect(log).toHaveLength(2)
    expect(new Set(trouble.messages.map(({ session }) => session))).toEqual(new Set(["s1"]))
    expect(trouble.messages.at(-1)).toMatchObject({ held: 0, ended: 1 })
  })

  it("the store counts what was spent with the next start, as if it had been spent then", async () => {
    const windows = { tokens: { limit: 100, per: 60_000 }, short: { limit: 4, per: 1_000 } }
    const { log, meters, task, trouble } = sceneWith({ maxPerSecond: 400, windows }, 0.5, 2)
    trouble.isCut = true
    const spent = meters[0].run(task("a"), { cost: { tokens: 45, short: 0 } })
    await pass(1_100)
    await spent
    trouble.isCut = false
    await pass(2_000)
    // A task that costs no tokens cannot carry them.
    for (const tokens of [0, 1]) {
      const run = meters[0].run(task("b"), { cost: { tokens, short: 0 } })
      await pass(100)
      await run
    }
    const corrections = trouble.messages.flatMap((message) => message.corrections)
    // Of the second window by name, "tokens", and so in the third log. The rate's window is over by now.
    expect(corrections).toEqual([{ log: 2, entry: 2, by: 45 }])
    const others = [50, 10].map((tokens) => meters[1]!.run(task(`${tokens}`), { cost: { tokens } }))
    await pass(50_000)
    expect(log.at(-1)).toMatch(/^50 3\d\d\d$/)
    await pass(20_000)
    await Promise.all(others)
    expect(log.at(-1)).toMatch(/^10 63\d\d\d$/)
  })

  it("corrections made after the outage count, too", async () => {
    const { meters, trouble } = sceneWith({ maxPerSecond: 4, windows: { tokens: { limit: 100, per: 60_000 } } }, 0.5)
    trouble.isCut = true
    let later = (_: { readonly tokens: number }): void => {}
    const spent = meters[0].run(
      async ({ correct }) => {
        later = correct
        await new Promise((resolve) => setTimeout(resolve, 10_000))
      },
      { cost: { tokens: 45 } }
    )
    await pass(1_000)
    trouble.isCut = false
    for (const name of ["b", "c", "d"]) {
      const run = meters[0].run(({ correct }) => (name === "d" ? correct({ tokens: 4 }) : undefined))
      await pass(2_500)
      await run
      later({ tokens: name === "b" ? 47 : 40 })
    }
    await pass(10_000)
    await spent
    const corrections = trouble.messages.flatMap((message) => message.corrections)
    expect(corrections.filter(({ log }) => log === 1)).toEqual([
      { log: 1, entry: 2, by: 45 },
      { log: 1, entry: 3, by: 2 },
      { log: 1, entry: 4, by: 3 }
    ])
  })

  it("what the share spent longer ago than a window does not count", async () => {
    const { meters, task, trouble } = sceneWith({ maxPerSecond: 4 }, 0.5)
    trouble.isCut = true
    const first = meters[0].run(task("a"))
    await pass(3_000)
    await first
    trouble.isCut = false
    await pass(10_000)
    const second = meters[0].run(task("b"))
    await pass(10_000)
    await second
    expect(trouble.messages.flatMap((message) => message.corrections)).toEqual([])
  })
})

/** The most that is spent in any half-open window of that length. */
const mostIn = (spent: ReadonlyArray<{ readonly at: number; readonly cost: number }>, per: number): number =>
  Math.max(
    0,
    ...spent.map(({ at }) =>
      spent.reduce((sum, each) => sum + (each.at > at - per && each.at <= at ? each.cost : 0), 0)
    )
  )

describe("whatever messages are lost, and whenever", () => {
  it.each(Array.from({ length: 20 }, (_, seed) => seed))(
    "no share is exceeded, no limit is exceeded more than twofold, and each task ends (seed %i)",
    async (seed) => {
      const { chance, int, pick } = random(seed)
      const limit = 16
      const permits = 8
      const share = pick([0.25, 0.5])
      const lease = pick([700, 2_000, 5_000])
      const windows = { w: { limit, per: 1_000 } }
      const { meters, trouble } = sceneWith({ maxAtOnce: permits, windows }, share, 2, { lease })
      const byShare = meters.map((): Array<{ at: number; cost: number }> => [])
      const byStore: Array<{ at: number; cost: number }> = []
      let [running, most, left] = [0, 0, 0]
      /** It settles at once when it is cancelled. */
      const task = (log: (token: number | undefined) => void, lasts: number, held: number) => (context: TaskContext) =>
        new Promise<void>((resolve, reject) => {
          log(context.fencingToken)
          most = Math.max(most, (running += held))
          const end = (settle: () => void) => () => {
            running -= held
            clearTimeout(timer)
            settle()
          }
          const timer = setTimeout(end(resolve), lasts)
          context.signal.addEventListener("abort", end(() => reject(context.signal.reason as Error))) // prettier-ignore
        })
      const outcomes: Array<Promise<unknown>> = []
      for (let time = 0; time < 20_000; time += 50) {
        if (chance(0.05)) trouble.isCut = chance(0.5)
        if (chance(0.05)) trouble.isSilent = chance(0.3)
        if (chance(0.05)) trouble.losesAnswers = chance(0.3)
        const process = int(0, 1)
        const cost = int(0, limit * share)
        const log = (token: number | undefined) =>
          void (token === undefined ? byShare[process]! : byStore).push({ at: Date.now(), cost })
        const options = { cost: { w: cost }, permits: int(1, permits * share) }
        const run = meters[process]!.run(task(log, int(0, 1_000), options.permits) as () => Promise<void>, options)
        left++
        outcomes.push(run.catch((error: unknown) => expect(error).toBeInstanceOf(LeaseLostError)).finally(() => left--))
        await pass(50)
      }
      Object.assign(trouble, { isCut: false, isSilent: false, losesAnswers: false })
      for (let time = 0; left > 0 && time < 300; time++) await pass(1_000)
      await pass(lease)
      await pass(lease)
      await Promise.all(outcomes)
      expect(running).toBe(0)
      for (const each of byShare) expect(mostIn(each, 1_000)).toBeLessThanOrEqual(limit * share)
      expect(mostIn(byStore, 1_000)).toBeLessThanOrEqual(limit)
      expect(most).toBeLessThanOrEqual(2 * permits)
      // Nothing is held any more.
      const began = Date.now()
      const all = meters[0].run(() => Date.now(), { permits, cost: { w: limit } })
      await pass(100)
      expect((await all) - began).toBeLessThanOrEqual(1)
    }
  )
})

describe("a meter that is closed during an outage", () => {
  it("ends, as does its share when its tasks have ended", async () => {
    const { events, meters, task, trouble } = sceneWith({ maxAtOnce: 4 }, 0.5)
    trouble.isCut = true
    const run = meters[0].run(task("a", 10_000)).catch((error: unknown) => error)
    await pass(1_000)
    const closed = meters[0].close("over")
    await pass(1_000)
    await closed
    expect(await run).toBe("over")
    await pass(20_000)
    expect(vi.getTimerCount()).toBe(0)
    expect(typesOf(events)).toEqual(["outage", "share"])
    const idle = sceneWith({ maxAtOnce: 4 }, 0.5)
    await idle.meters[0].close()
  })

  it("different limits in other processes are an error, also with a share", async () => {
    const { events, meters, store, task } = sceneWith({ maxAtOnce: 4 }, 0.5)
    const run = meters[0].run(task("a"))
    await pass(0)
    await run
    const other = createMeter({ store, name: "api", maxAtOnce: 5 }).run(task("b"))
    const reason = other.catch((error: unknown) => error)
    await pass(0)
    expect(await reason).toMatchObject({ name: "LimitsDifferError" })
    expect(typesOf(events)).toEqual(["refused"])
  })
})

it.each([
  [null, new TypeError('outage must be "wait", "fail" or { share }, but is null')],
  [{}, new TypeError("outage.share must be a number, but is undefined")],
  [{ share: "1" }, new TypeError("outage.share must be a number, but is string")],
  [{ share: 0 }, new RangeError("outage.share must be more than 0 and at most 1, but is 0")],
  [{ share: 1.5 }, new RangeError("outage.share must be more than 0 and at most 1, but is 1.5")],
  [{ share: NaN }, new RangeError("outage.share must be more than 0 and at most 1, but is NaN")],
  [{ share: 0.5, of: 2 }, new TypeError("there is no option outage.of. Known: share")]
])("the option outage: %j", (outage, error) => {
  expect(() => memoryStore({ outage } as never)).toThrow(error)
})

it("a limit whose share would be too small is an error when the meter is made", () => {
  const store = memoryStore({ outage: { share: 0.01 } })
  expect(() => createMeter({ store, name: "slow", maxPerSecond: 2e-9 })).toThrow(RangeError)
})

describeWithServer("a share while the server is down", "aof", (server) => {
  it.each(["node-redis", "ioredis"] as const)(
    "two processes with %s continue within their shares, and within the limits when the server is back",
    async (kind) => {
      vi.useRealTimers()
      const { port } = server()
      const clients = await Promise.all([openClient(kind, port), openClient(kind, port)])
      const events: Array<StoreEvent> = []
      const onEvent = (event: StoreEvent) => void events.push(event)
      const limits = { name: `share ${kind}`, maxAtOnce: 8, windows: { starts: { limit: 40, per: 500 } } }
      const meters = clients.map(({ client }) =>
        createMeter({ store: redisStore(client, { outage: { share: 0.25 }, lease: 3_000, onEvent }), ...limits })
      )
      const starts: Array<ReadonlyArray<number>> = [[], []]
      let [running, most, isOver] = [0, 0, false]
      const work = meters.map((meter, process) =>
        runOnEach(
          (function* () {
            while (!isOver) yield process
          })(),
          async () => {
            ;(starts[process] as Array<number>).push(performance.now())
            most = Math.max(most, ++running)
            await new Promise((resolve) => setTimeout(resolve, 20))
            running--
          },
          { meter }
        )
      )
      const until = async (what: () => boolean) => {
        while (!what()) await new Promise((resolve) => setTimeout(resolve, 10))
      }
      const countOf = (type: string) => events.filter((event) => event.type === type).length
      await until(() => starts.every(({ length }) => length > 10))
      const begin = await server().end()
      await until(() => countOf("share") === 2)
      const before = starts.map(({ length }) => length)
      // A permit is in use when the share begins only if its task is still running.
      most = running
      await until(() => starts.every(({ length }, process) => length > before[process]! + 25))
      expect(most).toBeLessThanOrEqual(4)
      const byShare = starts.map((each, process) => each.slice(before[process]))
      await begin()
      await until(() => countOf("shareEnded") === 2)
      const after = starts.map(({ length }) => length)
      await until(() => starts.every(({ length }, process) => length > after[process]! + 25))
      isOver = true
      await Promise.all(work)
      await Promise.all(meters.map((meter) => meter.close()))
      for (const { close } of clients) close()
      // Each process had a quarter of the window of 40, at any offset.
      for (const each of byShare) {
        each.forEach((at, index) => expect(at - (each[index - 10] ?? -Infinity)).toBeGreaterThanOrEqual(500))
      }
      expect(events.filter(({ type }) => type === "leaseLost")).toEqual([])
      expect(running).toBe(0)
    }
  )
})
