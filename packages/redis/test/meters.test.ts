/** Meters on the memory store, under virtual time: what users see of limits that processes share. */
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { combineMeters, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import type { MeterOptions, RunOptions } from "@fibermeter/promise"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import {
  LeaseLostError,
  LimitsDifferError,
  memoryStore,
  ProtocolVersionError,
  type StoreEvent,
  type StoreOptions,
  StoreUnavailableError
} from "../src/index.ts"
import { readOptions } from "../src/session/options.ts"
import { Session } from "../src/session/Session.ts"
import { random } from "./support/random.ts"
import { scene } from "./support/scene.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

/** Lets time pass. */
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

/** The reason of a rejection. */
const reasonOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.fail("it has not rejected"),
    (reason) => reason
  )

describe("maxAtOnce", () => {
  it("holds over all processes, first come, first served", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 2 }, 3)
    const all = Promise.all(["a", "b", "c", "d", "e", "f"].map((name, i) => meters[i % 3]!.run(task(name, 10))))
    await pass(60)
    expect(await all).toEqual(["a", "b", "c", "d", "e", "f"])
    // The first message of a process asks for all of its waiters.
    expect(log).toEqual(["a 0", "d 0", "b 10", "c 10", "e 20", "f 20"])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("counts the permits that each task holds, and large tasks do not starve", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 4 }, 2)
    const all = [
      meters[0].run(task("a", 10), { permits: 3 }),
      meters[1]!.run(task("b", 10), { permits: 4 }),
      meters[0].run(task("c", 10)),
      meters[1]!.run(task("d", 10), { permits: 2 })
    ]
    await pass(60)
    await Promise.all(all)
    expect(log).toEqual(["a 0", "c 0", "b 10", "d 20"])
    expect(await reasonOf(meters[0].run(task("e"), { permits: 5 }))).toEqual(
      new RangeError("a task needs 5 permits, but there are 4 in all")
    )
  })

  it("short tasks of one process follow each other without a message for 10 ms, while another process waits", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 1 }, 2)
    const all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map((name) => meters[0].run(task(name, 3)))
    all.push(meters[1]!.run(task("other", 3)))
    await pass(9)
    expect(log).toEqual(["a 0", "b 3", "c 6", "d 9"])
    expect(trouble.messages.filter(({ ended }) => ended > 0)).toEqual([])
    await pass(50)
    await Promise.all(all)
    // The first process had asked for a second start before the other process came.
    expect(log.slice(4)).toEqual(["e 12", "f 15", "g 18", "h 21", "other 24", "i 27", "j 30"])
    expect(trouble.messages.at(-1)).toMatchObject({ held: 0, ended: 1 })
  })

  it("the permits of a short task go to tasks that need as many or fewer, and the rest goes back", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 4 }, 1)
    const all = [
      meters[0].run(task("a", 3), { permits: 3 }),
      meters[0].run(task("b", 20), { permits: 2 }),
      meters[0].run(task("c", 3)),
      meters[0].run(task("d", 3), { permits: 4 })
    ]
    await pass(4)
    // What needs more than a task has given back waits for the store.
    expect(log).toEqual(["a 0", "b 3", "c 3"])
    await pass(40)
    await Promise.all(all)
    expect(log.slice(3)).toEqual(["d 23"])
    expect(trouble.messages.reduce((sum, { ended }) => sum + ended, 0)).toBe(3 + 1 + 4)
  })

  it("one slot is for 32 tasks at most, each with a higher fencing token", async () => {
    const { meters, trouble } = scene({ maxAtOnce: 1 }, 1)
    const tokens: Array<number> = []
    const all = Array.from({ length: 70 }, () => meters[0].run(({ fencingToken }) => tokens.push(fencingToken!)))
    await pass(1)
    await Promise.all(all)
    expect(tokens).toEqual(Array.from(tokens, (_, index) => tokens[0]! + index))
    expect(trouble.messages.filter(({ ended }) => ended > 0)).toHaveLength(3)
  })

  it("no task takes over permits while the meter is paused, or once the lease is over", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 1 }, 2, { lease: 200 })
    const all = [meters[0].run(task("a", 3)), meters[0].run(task("b"))]
    await pass(1)
    meters[1]!.pause(50)
    await pass(1)
    expect(log).toEqual(["a 0"])
    await pass(100)
    await Promise.all(all)
    expect(log).toEqual(["a 0", expect.stringMatching(/^b 5\d$/)])
  })

  it("a task that needs fewer permits than were granted for another gives the rest back", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 3, maxPerSecond: 10 })
    const first = meters[0].run(task("a"))
    const controller = new AbortController()
    const large = reasonOf(meters[0].run(task("b"), { permits: 3, signal: controller.signal }))
    await pass(99)
    await first
    // It has been granted a slot by now.
    controller.abort("no longer wanted")
    expect(await large).toBe("no longer wanted")
    const small = meters[0].run(task("c", 10), { permits: 2 })
    await pass(2)
    expect(log).toEqual(["a 0", "c 101"])
    expect(trouble.messages.at(-1)).toMatchObject({ held: 2, ended: 1 })
    await pass(20)
    await small
    expect(trouble.messages.at(-1)).toMatchObject({ held: 0, ended: 2 })
  })
})

describe("maxPerSecond", () => {
  it("holds over all processes, at even distances", async () => {
    const { log, meters, task } = scene({ maxPerSecond: 100 }, 2)
    const all = Promise.all(Array.from({ length: 100 }, (_, i) => meters[i % 2]!.run(task(`${i}`))))
    await pass(1_000)
    await all
    const starts = log.map((each) => Number(each.split(" ")[1]))
    // Clocks may differ by 500 ppm, and fake timers have whole milliseconds.
    starts.forEach((at, i) => expect(at - 10 * i).toBeOneOf([0, 1]))
  })

  it("a waiter that gives up is not charged: its slot goes to the next one, of another process", async () => {
    const { log, meters, task } = scene({ maxPerSecond: 2 }, 2)
    const controller = new AbortController()
    const first = meters[0].run(task("a"))
    const gone = reasonOf(meters[0].run(task("x"), { signal: controller.signal }))
    await pass(1)
    const next = meters[1]!.run(task("b"))
    await pass(100)
    controller.abort("gone")
    expect(await gone).toBe("gone")
    await pass(1_000)
    await Promise.all([first, next])
    // Without that, at 1000.
    expect(log).toEqual(["a 0", "b 501"])
  })

  it("allows for bursts after a time in which none waited", async () => {
    const { log, meters, task } = scene({ maxPerSecond: 10, maxBurst: 3 }, 2)
    const all = Promise.all(["a", "b", "c", "d"].map((name, i) => meters[i % 2]!.run(task(name))))
    await pass(200)
    await all
    expect(log).toEqual(["a 0", "c 0", "b 0", "d 100"])
  })
})

describe("windows", () => {
  it("count what tasks cost over all processes, as it is corrected", async () => {
    const windows = { tokens: { limit: 10, per: 1_000 }, other: { limit: Infinity, per: 1 } }
    const { log, meters, task } = scene({ windows }, 2)
    const estimate = meters[0].run(
      ({ correct }) => {
        log.push(`a ${Date.now()}`)
        correct({ tokens: 2 })
      },
      { cost: { tokens: 8 } }
    )
    await pass(50)
    await estimate
    const all = [
      meters[1]!.run(task("b"), { cost: { tokens: 8 } }),
      meters[1]!.run(task("c"), { cost: { tokens: 1, other: 3 } }),
      meters[0].run(task("d"), { cost: { tokens: 0 } })
    ]
    await pass(2_500)
    await Promise.all(all)
    expect(log).toEqual(["a 0", "b 50", "c 1001", "d 1001"])
    expect(await reasonOf(meters[0].run(task("e"), { cost: { tokens: 11 } }))).toBeInstanceOf(RangeError)
  })

  it("a correction of one window leaves the others as they are", async () => {
    const windows = { tokens: { limit: 10, per: 1_000 }, requests: { limit: 10, per: 1_000 } }
    const { meters, trouble } = scene({ windows })
    const run = meters[0].run(({ correct }) => correct({ requests: 3 }), { cost: { tokens: 8 } })
    await pass(50)
    await run
    // Windows are in the order of their names.
    expect(trouble.messages.flatMap(({ corrections }) => corrections)).toEqual([{ log: 0, entry: 1, by: 2 }])
  })

  it("a correction of what had no cost, of a name that is not there, or after lost state, is none", async () => {
    const { meters, trouble } = scene({ windows: { tokens: { limit: 10, per: 200 } } })
    let later = (_: Record<string, number>): void => {}
    const run = meters[0].run(
      ({ correct }) => {
        correct({ tokens: 3 })
        later = correct
      },
      { cost: { tokens: 0 } }
    )
    await pass(20)
    await run
    trouble.lose()
    const again = meters[0].run(() => 1)
    await pass(6_000)
    await again
    later({ tokens: 5 })
    await pass(1_000)
    expect(trouble.messages.flatMap(({ corrections }) => corrections)).toEqual([])
  })

  it("the rate counts starts, whatever they cost", async () => {
    const { log, meters, task } = scene({ maxPerSecond: 100, windows: { tokens: { limit: 10, per: 1_000 } } })
    const all = [3, 3, 4].map((tokens, i) => meters[0].run(task(`${i}`), { cost: { tokens } }))
    await pass(100)
    await Promise.all(all)
    expect(log).toEqual(["0 0", "1 11", "2 21"])
  })
})

describe("under a meter on a store", () => {
  it("verbs run", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 2 }, 2)
    const own = meters[1]!
    const results = Promise.all([
      runAll([1, 2, 3], (n) => task(`all${n}`, 10)(), { meter: meters[0] }),
      own.runOnEach([1, 2], (n) => task(`each${n}`, 10)()),
      runAny([() => task("any1", 10)(), () => task("any2", 10)()], { meter: own }),
      Array.fromAsync(meters[0].amap([1, 2], (n) => task(`map${n}`, 10)()))
    ])
    await pass(200)
    const [all, , any, mapped] = await results
    expect(all).toEqual(["all1", "all2", "all3"])
    expect(any).toBe("any1")
    expect(mapped).toEqual(["map1", "map2"])
    for (const instant of new Set(log.map((each) => each.split(" ")[1]))) {
      expect(log.filter((each) => each.endsWith(` ${instant}`)).length).toBeLessThanOrEqual(2)
    }
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a verb asks for as many starts as it could use: all of a rate is used with one waiter", async () => {
    const { meters, trouble } = scene({ maxPerSecond: 1_000 })
    const starts: Array<number> = []
    const done = runOnEach(Array(500), () => void starts.push(Date.now()), { meter: meters[0] })
    await pass(600)
    await done
    expect(starts.at(-1)).toBeLessThanOrEqual(505)
    expect(trouble.messages.length).toBeLessThan(40)
  })

  it("tasks are retried, time out, and are aborted", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 1 }, 2)
    let attempts = 0
    const retried = meters[0].run(
      async () => {
        log.push(`attempt ${Date.now()}`)
        if (++attempts < 3) throw new Error("again")
      },
      { retry: { times: 2, delay: 20 } }
    )
    const timedOut = reasonOf(meters[1]!.run(() => new Promise(() => {}), { timeout: 5, releaseOnTimeout: true }))
    const controller = new AbortController()
    const aborted = reasonOf(meters[1]!.run(task("never"), { signal: controller.signal }))
    controller.abort("gone")
    await pass(100)
    await retried
    expect(await timedOut).toMatchObject({ name: "TimeoutError" })
    expect(await aborted).toBe("gone")
    expect(log).toEqual(["attempt 0", "attempt 20", "attempt 40"])
  })

  it("each start has a fencing token, which rises over all processes", async () => {
    const { meters, store } = scene({ maxAtOnce: 2, maxPerSecond: 1_000 }, 2)
    const tokens: Array<number | undefined> = []
    const read = ({ fencingToken }: { readonly fencingToken: number | undefined }): number => tokens.push(fencingToken)
    for (const meter of meters) {
      const run = meter.run(read)
      await pass(10)
      await run
    }
    const verb = runOnEach([1, 2], (_, context) => read(context), { meter: meters[0] })
    await pass(50)
    await verb
    const acquired = meters[1]!.acquire()
    await pass(10)
    const permit = await acquired
    read(permit)
    permit.release()
    let attempts = 0
    const retried = meters[0].run(
      (context) => {
        read(context)
        if (++attempts < 2) throw new Error("again")
      },
      { retry: { times: 1, delay: 1 } }
    )
    await pass(50)
    await retried
    // Slots that go unused have tokens, too.
    expect(tokens).toEqual(Array.from(new Set(tokens as Array<number>)).toSorted((a, b) => a - b))
    expect(tokens).toHaveLength(7)
    const local = createMeter({ maxAtOnce: 1, windows: { w: { limit: 5, per: 1_000 } } })
    const unstored = await local.acquire()
    read(unstored)
    unstored.release()
    await local.run(read)
    await runAll([1], (_, context) => read(context))
    expect(tokens.slice(7)).toEqual([undefined, undefined, undefined])
    // Of several meters on stores, that of the first by name.
    const first = createMeter({ store, name: "a", maxAtOnce: 1 })
    const [both, before] = [combineMeters(meters[0], first), tokens.length]
    const run = both.run(read)
    await pass(300)
    await run
    expect(tokens[before]).toBeGreaterThan(0)
    const inFirst = meters[0].run(read)
    await pass(100)
    await inFirst
    const apart = tokens.at(-1)! - tokens[6]!
    expect(apart).toBeGreaterThan(0)
    expect(Math.abs(tokens[before]! - tokens[6]!)).toBeGreaterThan(apart)
  })

  it("a task whose process has lost its lease has a lower token than the next holder of its permit", async () => {
    const { meters, trouble } = scene({ maxAtOnce: 1 }, 2, { lease: 1_000, leaseLost: "continue" })
    const tokens: Array<number> = []
    const hold = (ms: number) => async (context: { readonly fencingToken: number | undefined }) => {
      await new Promise((resolve) => setTimeout(resolve, ms))
      tokens.push(context.fencingToken!)
    }
    const stale = meters[0].run(hold(3_000))
    await pass(1)
    const next = meters[1]!.run(hold(1))
    // The other process is not cut off.
    trouble.isSilentFor = (session) => session !== "s2"
    await pass(5_000)
    await Promise.all([stale, next])
    expect(tokens).toHaveLength(2)
    expect(tokens[1]).toBeLessThan(tokens[0]!)
  })

  it("wrapped functions, priorities, lanes and limits on waiting work within a process", async () => {
    const { create, log, task } = scene({ maxAtOnce: 1 })
    const meter = create({ maxWaiting: 2 })
    const call = meter.wrap((name: string) => task(name, 10)(), { priority: (name) => (name === "c" ? 1 : 0) })
    const all = [call("a"), call("b"), call("c")]
    // The first does not run yet: the store has not been asked.
    expect(await reasonOf(all[2]!)).toMatchObject({ name: "OverloadedError", reason: "queue-full" })
    await pass(5)
    const rest = call("c")
    await pass(50)
    await Promise.all([...all.slice(0, 2), rest])
    expect(log).toEqual(["a 0", "c 10", "b 20"])
  })

  it.each<[string, MeterOptions, RunOptions, ReadonlyArray<string>]>([
    ["permits", { maxAtOnce: 4 }, { permits: 3 }, ["HIGH 100", "high 200", "4 200", "5 300", "6 300", "7 300"]],
    [
      "a cost",
      { windows: { tokens: { limit: 4, per: 1_000 } } },
      { cost: { tokens: 3 } },
      ["HIGH 1001", "high 2002", "4 2002", "5 3003", "6 3003", "7 3003"]
    ],
    [
      "permits with a rate",
      { maxAtOnce: 4, maxPerSecond: 50 },
      { permits: 3 },
      // The slot at 60 was granted before they came. It is used when they have started.
      ["HIGH 120", "high 220", "3 241", "4 320", "5 340", "6 360", "7 381"]
    ]
  ])("waiters of a priority with %s of their own come first, and then the others", async (_, limits, needs, rest) => {
    const { events, log, meters, task } = scene(limits)
    const all = Array.from({ length: 8 }, (_, i) => meters[0].run(task(`${i}`, 100)))
    await pass(50)
    for (const name of ["HIGH", "high"]) all.push(meters[0].run(task(name, 100), { ...needs, priority: 1 }))
    await pass(5_000)
    await Promise.all(all)
    expect(log.slice(-rest.length)).toEqual(rest)
    expect(events).toEqual([])
  })

  it("what others were granted before such a waiter came is given back when they cannot start in time", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 4 })
    const all = Array.from({ length: 8 }, (_, i) => meters[0].run(task(`${i}`, 100)))
    await pass(50)
    trouble.keepsAnswers = true
    await pass(55)
    all.push(meters[0].run(task("high"), { permits: 4, priority: 1 }))
    trouble.flush()
    await pass(1_000)
    await Promise.all(all)
    // At 100, the others were granted what had been given back. It is too late for them 248 ms later.
    expect(log.slice(4)).toEqual(["high 349", "4 349", "5 349", "6 349", "7 349"])
  })

  it("takes the place of an earlier waiter of its process among those of others, which takes the next one", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 2 }, 2)
    const run = (process: number, name: string, options: RunOptions) => meters[process]!.run(task(name, 100), options)
    const all = [run(0, "a", { permits: 2 }), run(0, "b", {})]
    await pass(20)
    all.push(run(1, "other", { permits: 2 }))
    await pass(20)
    all.push(run(0, "high", { permits: 2, priority: 1 }))
    await pass(1_000)
    await Promise.all(all)
    expect(log).toEqual(["a 0", "high 100", "other 200", "b 300"])
  })

  it("no waiter is lost among those of other permits, costs, priorities and lanes, some of which give up", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { chance, int, pick } = random(seed)
      const [hasPermits, hasRate, hasWindow] = [seed % 2 === 0, chance(0.3), seed % 2 === 1 || chance(0.5)]
      const { meters } = scene(
        {
          ...(hasPermits && { maxAtOnce: 6 }),
          ...(hasRate && { maxPerSecond: 100 }),
          ...(hasWindow && { windows: { tokens: { limit: 20, per: 500 } } })
        },
        3
      )
      const controllers: Array<AbortController> = []
      let waiting = 0
      for (let i = 0; i < 100; i++) {
        const controller = new AbortController()
        controllers.push(controller)
        waiting++
        const options: RunOptions = {
          signal: controller.signal,
          priority: int(0, 2),
          permits: hasPermits ? int(1, 6) : 1,
          ...(chance(0.5) && { lane: int(0, 2) }),
          ...(hasWindow && { cost: { tokens: int(0, 7) } })
        }
        const task = () => new Promise((resolve) => setTimeout(resolve, int(0, 30)))
        const end = () => waiting--
        void pick(meters).run(task, options).then(end, end)
        if (chance(0.25)) await pass(int(0, 40))
        if (chance(0.2)) pick(controllers).abort()
      }
      await pass(60_000)
      expect(waiting, `seed ${seed}`).toBe(0)
    }
  })

  it("tryRun runs a task only if a grant is at hand", async () => {
    const { meters, task } = scene({ maxAtOnce: 1 })
    expect(meters[0].tryRun(task("a"))).toBeUndefined()
    await pass(100)
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([2, 3])(
    "tasks of %d meters with different permits and costs do not take turns in having some of them",
    async (n) => {
      const windows = { tokens: { limit: 60, per: 500 } }
      const sizes: ReadonlyArray<RunOptions> = [
        { permits: 1, cost: { tokens: 2 } },
        { permits: 2, cost: { tokens: 1 } },
        { permits: 1, cost: { tokens: 3 } }
      ]
      const { chance, int } = random(1)
      for (let round = 0; round < 60; round++) {
        // Each has a store of its own, whose answers take some time.
        const scenes = Array.from({ length: n }, () => scene({ maxAtOnce: 2, windows }))
        const [meter, ...others] = scenes.map(({ meters }) => meters[0])
        const answering = setInterval(() => {
          for (const { trouble } of scenes) {
            if (chance(0.5)) trouble.flush()
            trouble.keepsAnswers = true
          }
        }, 1)
        const begun = Date.now()
        const ends: Array<number> = []
        const all = sizes.map(async (size) => {
          await new Promise((resolve) => setTimeout(resolve, int(0, 5)))
          const millis = int(1, 10)
          await meter!.run(() => new Promise((resolve) => setTimeout(resolve, millis)), { meter: others, ...size })
          ends.push(Date.now() - begun)
        })
        await pass(1_000)
        expect(ends).toHaveLength(3)
        await Promise.all(all)
        clearInterval(answering)
        for (const { trouble } of scenes) trouble.flush()
        await Promise.all([meter!, ...others].map((each) => each.close()))
      }
    }
  )

  it("a task of several meters takes from all of them when it starts, and returns what it has to wait too long with", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 1 }, 2)
    const local = createMeter({ maxAtOnce: 1 })
    const both = combineMeters(meters[0], local)
    const blocker = local.run(task("local", 400))
    const first = both.run(task("both", 10))
    const other = meters[1]!.run(task("other", 10))
    await pass(400)
    await blocker
    await pass(300)
    await Promise.all([first, other])
    expect(log).toEqual(["local 0", "other 0", "both 400"])
    const [two, three] = [scene({ maxAtOnce: 1 }).meters[0], scene({ maxAtOnce: 1 }).meters[0]]
    const stored = combineMeters(two, three).run(task("stored"))
    await pass(300)
    expect(await stored).toBe("stored")
    expect(vi.getTimerCount()).toBe(0)
  })

  it("families of meters share by name and key", async () => {
    const { log, store, task } = scene({})
    const make = () => createKeyedMeter<string | number>({ store, name: "hosts", maxAtOnce: 1 })
    const [one, other] = [make(), make()]
    const all = [
      one.for("a").run(task("one a", 10)),
      other.for("a").run(task("other a", 10)),
      other.for("b").run(task("other b", 10)),
      one.for(1).run(task("one 1", 10)),
      one.for("1").run(task("one '1'", 10))
    ]
    await pass(50)
    await Promise.all(all)
    expect(log.toSorted()).toEqual(["one '1' 0", "one 1 0", "one a 0", "other a 10", "other b 0"])
    expect(() => createKeyedMeter({ store, name: "hosts", maxAtOnce: 1 }).for({})).toThrow(
      new TypeError("a key must be a string or a finite number with a store, but is an object")
    )
    one.resize({ maxAtOnce: 2 })
    const pair = Promise.all([one.for("new").run(task("p", 10)), one.for("new").run(task("q", 10))])
    await pass(50)
    await pair
    expect(log.slice(-2)).toEqual(["p 50", "q 50"])
    expect(one.delete("new")).toBe(true)
    const busy = one.for("busy").run(task("busy", 10))
    await pass(1)
    expect(one.delete("busy")).toBe(true)
    expect(await reasonOf(busy)).toMatchObject({ name: "AbortError" })
    // A key that makes no difference any more is dropped, and its session leaves.
    one.for("c").pause(5)
    await pass(1)
    for (const key of ["x", "y", "z"]) one.for(key).snapshot()
    await pass(1)
    expect(one.for("c").snapshot().paused).toBe(true)
  })
})

describe("control", () => {
  it("pause and resume reach all processes, and revoke slots that were granted", async () => {
    const { log, meters, task } = scene({ maxPerSecond: 20 }, 2)
    const all = Promise.all(Array.from({ length: 6 }, (_, i) => meters[i % 2]!.run(task(`${i}`))))
    await pass(40)
    meters[1]!.pause(500)
    expect(meters[1]!.snapshot().paused).toBe(true)
    expect(meters[1]!.snapshot().nextStart).toBe(Infinity)
    await pass(100)
    expect(meters[0].snapshot().paused).toBe(true)
    expect(log).toHaveLength(1)
    await pass(900)
    expect(meters[0].snapshot().paused).toBe(false)
    await all
    const [, second] = log.map((each) => Number(each.split(" ")[1]))
    expect(second).toBeGreaterThanOrEqual(540)
    meters[0].pause()
    await pass(10)
    const later = meters[1]!.run(task("later"))
    await pass(10_000)
    expect(log).toHaveLength(6)
    meters[1]!.resume()
    expect(meters[1]!.snapshot().paused).toBe(false)
    await pass(100)
    expect(await later).toBe("later")
  })

  it("a pause ends with a later one, or by resume, whichever the store hears last", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 1 })
    meters[0].pause(50)
    const run = meters[0].run(task("a"))
    // Before the first has reached the store.
    await Promise.resolve()
    meters[0].pause(100)
    await pass(99)
    expect(log).toEqual([])
    await pass(30)
    await run
    meters[0].pause(50)
    meters[0].resume()
    const next = meters[0].run(task("b"))
    await pass(1)
    await next
    expect(log).toHaveLength(2)
  })

  it("resize changes a window of any name", async () => {
    const windowsOf = (limit: number) =>
      JSON.parse(`{"__proto__":{"limit":${limit},"per":1000}}`) as Record<string, never>
    const { log, meters, task } = scene({ windows: windowsOf(1) })
    meters[0].resize({ windows: windowsOf(3) })
    const all = ["a", "b", "c"].map((name) => meters[0].run(task(name)))
    await pass(900)
    expect(log).toEqual(["a 0", "b 0", "c 0"])
    await Promise.all(all)
  })

  it("resize reaches all processes, if no limit is added or lifted", async () => {
    const { create, log, meters, task } = scene({ maxAtOnce: 1, windows: { w: { limit: 100, per: 1_000 } } }, 2)
    const all = Promise.all(Array.from({ length: 6 }, (_, i) => meters[i % 2]!.run(task(`${i}`, 100))))
    await pass(50)
    meters[1]!.resize({ maxAtOnce: 3, windows: { w: { limit: 50, per: 500 } } })
    expect(meters[1]!.snapshot().limits).toMatchObject({ maxAtOnce: 3, windows: { w: { limit: 50, per: 500 } } })
    await pass(10)
    expect(meters[0].snapshot().limits).toEqual(meters[1]!.snapshot().limits)
    expect(log).toHaveLength(3)
    // A process that comes later has the limits of the others, though it is configured with the old ones.
    const late = create()
    const run = late.run(task("late", 10))
    await pass(400)
    await Promise.all([all, run])
    expect(late.snapshot().limits.maxAtOnce).toBe(3)
    const error = new TypeError("resize can change the numbers of a meter on a store, but cannot add or remove a limit")
    expect(() => late.resize({ maxPerSecond: 5 })).toThrow(error)
    expect(() => late.resize({ maxAtOnce: Infinity })).toThrow(error)
    // Back to what they were configured with.
    late.resize({ maxAtOnce: 1, windows: { w: { limit: 100, per: 1_000 } } })
    await pass(10)
    const again = meters[0].run(task("again"))
    await pass(100)
    await again
    expect(meters[0].snapshot().limits.maxAtOnce).toBe(1)
  })

  it("what changes while a message is under way is said with the next", async () => {
    const { events, meters, task, trouble } = scene({ maxAtOnce: 1 }, 2)
    const run = meters[0].run(task("a"))
    await Promise.resolve()
    expect(trouble.messages).toHaveLength(1)
    meters[0].resize({ maxAtOnce: 2 })
    await pass(0)
    await run
    meters[0].resize({ maxAtOnce: 3 })
    await Promise.resolve()
    meters[0].resize({ maxAtOnce: 4 })
    await pass(0)
    expect(trouble.messages.map(({ resize }) => resize).filter((each) => each !== "")).toEqual([
      "[2,0,1,5000000,[]]",
      "[3,0,1,5000000,[]]",
      "[4,0,1,5000000,[]]"
    ])
    expect(meters[0].snapshot().limits.maxAtOnce).toBe(4)
    // A meter that is closed while its first message is under way leaves after it.
    const gone = reasonOf(meters[1]!.run(task("b")))
    await Promise.resolve()
    const closed = meters[1]!.close("over")
    await pass(0)
    expect(await gone).toBe("over")
    await closed
    expect(trouble.messages.at(-1)).toMatchObject({ session: "s2", seq: 2, leave: true })
    expect(events).toEqual([])
  })

  it("a snapshot shows this process; drain and close give back what it holds", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 2 }, 2)
    const run = meters[0].run(task("a", 20))
    await pass(0)
    expect(meters[0].snapshot()).toMatchObject({ running: 1, waiting: 0, started: 1, free: 1, room: {} })
    expect(meters[1]!.snapshot()).toMatchObject({ running: 0, free: 2, nextStart: 0 })
    const drained = meters[0].drain()
    await pass(30)
    await Promise.all([run, drained])
    expect(trouble.messages.at(-1)).toMatchObject({ leave: true, held: 0 })
    const closed = reasonOf(meters[1]!.run(task("b", 1_000)))
    await pass(0)
    const over = meters[1]!.close("over")
    expect(await closed).toBe("over")
    await pass(0)
    // The task ignores its signal, so it still counts, and the session stays with it.
    await over
    expect(trouble.messages.at(-1)).toMatchObject({ leave: false, held: 1 })
    await pass(1_000)
    expect(trouble.messages.at(-1)).toMatchObject({ leave: true, held: 0 })
    expect(log).toEqual(["a 0", "b 30"])
    expect(vi.getTimerCount()).toBe(0)
    // Twice is once, and one that was never used has nothing to say.
    const { length } = trouble.messages
    await meters[1]!.close()
    await scene({ maxAtOnce: 1 }).meters[0].close()
    expect(trouble.messages).toHaveLength(length)
  })
})

describe("what does not fit", () => {
  it("other limits, in another process: a typed error shows both", async () => {
    const { create, events, meters, task } = scene({ maxAtOnce: 2 })
    const run = meters[0].run(task("a"))
    await pass(0)
    await run
    const other = create({ maxAtOnce: 3 })
    const waits = reasonOf(other.run(task("b")))
    await pass(0)
    const error = (await waits) as LimitsDifferError
    expect(error).toBeInstanceOf(LimitsDifferError)
    expect([error.own, error.known]).toEqual(["[3,0,1,5000000,[]]", "[2,0,1,5000000,[]]"])
    expect(await reasonOf(other.run(task("c")))).toBe(error)
    await pass(0)
    expect(events).toEqual([{ type: "refused", meter: "api", cause: error }])
    await other.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("another version of the protocol, also at a close", async () => {
    const { events, meters, store, task } = scene({ maxAtOnce: 2 }, 2)
    const { exchange } = memoryStore()
    void store
    const version9 = memoryStore()
    const limit = new Session(
      {
        exchange: (name, message, now) => exchange(name, { ...message, version: 9 }, now),
        onWake: version9.onWake
      },
      "api",
      { maxAtOnce: 1, maxPerSecond: Infinity, maxBurst: 1, windows: {} },
      readOptions({ onEvent: (event) => events.push(event) }),
      () => "s"
    )
    const meter = createMeter({ store: { version: 1, limit: () => limit }, name: "api", maxAtOnce: 1 })
    const waits = reasonOf(meter.run(task("a")))
    const closed = Promise.resolve().then(() => limit.close())
    await pass(0)
    expect(await waits).toBeInstanceOf(ProtocolVersionError)
    await closed
    expect(events).toMatchObject([{ type: "refused" }])
    void meters
  })

  it.each([
    [{ store: {} }, "store must be a store, such as redisStore(client), but is an object"],
    [{ store: 7 }, "store must be a store, such as redisStore(client), but is 7"],
    [{ store: memoryStore() }, "name must be a string that is not empty, but is undefined"],
    [
      { store: { ...memoryStore(), version: 2 }, name: "a" },
      "this store has version 2 of the interface, but 1 is needed: install versions of both packages that fit together"
    ]
  ])("%#: a store without a name, or what is no store", (options, message) => {
    expect(() => createMeter({ maxAtOnce: 1, ...options } as MeterOptions)).toThrow(new TypeError(message))
  })

  it.each([
    [{ windows: { w: { limit: 1, per: 49 } } }, "windows.w.per must be from 50 milliseconds to 30 years on a store, but is 49 ms"], // prettier-ignore
    [{ windows: { w: { limit: 1, per: Infinity } } }, "windows.w.per must be from 50 milliseconds to 30 years on a store, but is Infinity ms"], // prettier-ignore
    [{ maxPerSecond: 1e-10 }, "maxPerSecond must be at least one in 30 years on a store, but is 1e-10"]
  ])("%#: limits that a store cannot have", (limits, message) => {
    expect(() => createMeter({ store: memoryStore(), name: "a", ...limits })).toThrow(new RangeError(message))
  })

  it("any burst is no rate", async () => {
    const { log, meters, task } = scene({ maxPerSecond: 1, maxBurst: Infinity })
    const all = ["a", "b"].map((name) => meters[0].run(task(name)))
    await pass(0)
    await Promise.all(all)
    expect(log).toEqual(["a 0", "b 0"])
  })

  it.each([
    [{ leese: 1 }, new TypeError("there is no option leese. Known: lease, outage, leaseLost, lostState, onEvent")],
    [{ lease: "1" }, new TypeError("lease must be a number of milliseconds, but is string")],
    [{ lease: 199 }, new RangeError("lease must be from 200 milliseconds to a day, but is 199")],
    [{ lease: NaN }, new RangeError("lease must be from 200 milliseconds to a day, but is NaN")],
    [{ outage: "panic" }, new TypeError('outage must be "wait", "fail" or { share }, but is "panic"')],
    [{ leaseLost: 1 }, new TypeError('leaseLost must be "interrupt" or "continue", but is 1')],
    [{ lostState: "panic" }, new TypeError('lostState must be "wait" or "startAfresh", but is "panic"')],
    [{ onEvent: 1 }, new TypeError("onEvent must be a function, but is number")]
  ])("options of stores: %j", (options, error) => {
    expect(() => memoryStore(options as never)).toThrow(error)
  })
})

describe("a store that is out of reach", () => {
  it("makes waiters wait, and is reported; the same message is sent again, ever less often", async () => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 1 })
    trouble.isCut = true
    const run = meters[0].run(task("a"))
    await pass(999)
    expect(events).toEqual([])
    await pass(4_001)
    expect(events).toEqual([{ type: "outage", meter: "api", cause: new Error("no connection") }])
    // A new session after a third of the lease, since the lease counts from the first attempt.
    const sent = trouble.messages.map(({ session, seq }) => `${session} ${seq}`)
    expect(new Set(sent)).toEqual(new Set(["s1 1", "s2 1", "s3 1"]))
    // After 10, 20, 40, … milliseconds, and then once a second.
    expect(sent.length).toBeLessThan(13)
    trouble.isCut = false
    await pass(2_000)
    expect(await run).toBe("a")
    expect(log).toHaveLength(1)
    expect(events.slice(1)).toEqual([{ type: "recovered", meter: "api", after: expect.any(Number) }])
    expect(events[1]).toSatisfy(({ after }: { after: number }) => after >= 5_000 && after < 6_100)
  })

  it("is published on the diagnostics channel of stores, with the name of the meter", async () => {
    const { events, meters, task, trouble } = scene({ maxAtOnce: 1 })
    const messages: Array<unknown> = []
    const listener = (message: unknown): void => void messages.push(message)
    subscribe("fibermeter:store", listener)
    try {
      trouble.isCut = true
      const run = meters[0].run(task("a"))
      await pass(2_000)
      trouble.isCut = false
      await pass(2_000)
      await run
    } finally {
      unsubscribe("fibermeter:store", listener)
    }
    expect(events.map(({ type }) => type)).toEqual(["outage", "recovered"])
    const at: unknown = expect.any(Number)
    expect(messages).toEqual(events.map((event) => ({ name: "api", key: undefined, at, event })))
  })

  it("fails them after a second if it is to (outage: fail), until the store answers", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 1 }, 1, { outage: "fail" })
    trouble.isCut = true
    const waits = reasonOf(meters[0].run(task("a")))
    await pass(1_000)
    const error = await waits
    expect(error).toBeInstanceOf(StoreUnavailableError)
    expect(error).toMatchObject({
      message: 'the store of the meter "api" has not answered for 1000 ms',
      cause: new Error("no connection")
    })
    expect(await reasonOf(meters[0].run(task("b")))).toBe(error)
    trouble.isCut = false
    await pass(1_000)
    const run = meters[0].run(task("c"))
    await pass(0)
    await run
    expect(log.map(([name]) => name)).toEqual(["c"])
  })

  it("with outage: fail, later calls ask it again, however long ago the outage began", async () => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 1 }, 1, { outage: "fail" })
    trouble.isCut = true
    const waits = reasonOf(meters[0].run(task("a")))
    await pass(1_000)
    expect(await waits).toBeInstanceOf(StoreUnavailableError)
    await pass(60_000)
    // Nothing waits, so no timer keeps the program alive.
    expect(vi.getTimerCount()).toBe(0)
    const again = reasonOf(meters[0].run(task("b")))
    await pass(1_000)
    expect(await again).toBeInstanceOf(StoreUnavailableError)
    await pass(60_000)
    trouble.isCut = false
    const run = meters[0].run(task("c"))
    await pass(0)
    await run
    expect(log).toEqual(["c 122000"])
    expect(events.map(({ type }) => type)).toEqual(["outage", "outage"])
    await pass(10_000)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("whose client sends queued messages late: abandoned sessions give back what they are granted", async () => {
    for (const outage of ["wait", { share: 0.5 }] as const) {
      const limits = { maxAtOnce: 8, windows: { w: { limit: 1_000, per: 60_000 } } }
      const { log, meters, task, trouble } = scene(limits, 2, { outage, lease: 60_000 })
      trouble.isOffline = true
      const one = Array.from({ length: 20 }, (_, i) => meters[0].run(task(`one ${i}`, 5_000)))
      // A new session after a third of the lease.
      await pass(62_000)
      const sessions = new Set(trouble.messages.map(({ session }) => session)).size
      expect(sessions).toBeGreaterThan(1)
      const before = log.length
      const began = Date.now()
      trouble.flush()
      await pass(100)
      // All permits are in use at once, and no lease has to end.
      if (outage === "wait") expect(log.length - before).toBe(8)
      await pass(20_000)
      await Promise.all(one)
      const all = meters[1]!.run(() => Date.now() - began, { permits: 8 })
      await pass(1_000)
      expect(await all).toBeLessThan(21_000)
    }
  })

  it("that answers both attempts at a message is heard once, and the session continues", async () => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 1 })
    trouble.keepsAnswers = true
    const run = meters[0].run(task("a", 10))
    await pass(500)
    trouble.keepsAnswers = false
    await pass(501)
    trouble.flush()
    await pass(100)
    await run
    expect(log).toEqual(["a 1000"])
    const sent = trouble.messages.map(({ seq, session, leave }) => `${session} ${seq} ${leave}`)
    expect(sent).toEqual(["s1 1 false", "s1 1 false", "s1 2 false", "s1 3 false"])
  })

  it("a message that arrives after its session is forgotten is ignored, and not taken for lost state", async () => {
    for (const lease of [1_000, 5_000]) {
      const { log, meters, task, trouble } = scene({ maxAtOnce: 2 }, 2, { lease })
      const first = meters[0].run(task("a"))
      await pass(1)
      await first
      // Like a network that delivers a message after a minute.
      trouble.isOffline = true
      const second = meters[0].run(task("b"))
      await pass(1)
      trouble.isOffline = false
      trouble.isSilentFor = (session) => session !== "s2"
      for (let passed = 0; passed < 15; passed++) {
        // Of one session, whose lease is renewed.
        const other = meters[1]!.run(task("c", lease - 2))
        await pass(lease)
        await other
      }
      trouble.isSilentFor = () => false
      trouble.flush()
      // An attempt that is not answered is repeated after 30 seconds at most.
      await pass(lease + 31_000)
      await second
      // The state is the same as at first.
      const generations = trouble.messages.map(({ generation }) => generation).filter((each) => each > 0)
      expect(new Set(generations).size).toBe(1)
      expect(log.filter((each) => each.startsWith("b"))).toHaveLength(1)
    }
  })

  it("a process that reads an answer after its session is forgotten does not take it for lost state", async () => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 2 }, 2, { lease: 1_000 })
    const first = meters[0].run(task("a"))
    await pass(1)
    await first
    // The answers to the next message are not read for longer than the store remembers the session.
    trouble.keepsAnswers = true
    const second = meters[0].run(task("b"))
    await pass(1)
    const session = trouble.messages.at(-1)!
    trouble.isSilent = true
    await pass(1_000)
    trouble.isSilent = false
    const other = meters[1]!.run(task("c", 60_000))
    trouble.keepsAnswers = false
    await pass(20_000)
    trouble.flush()
    await pass(1_000)
    await second
    const late = meters[1]!.run(task("d"))
    await pass(100)
    await late
    expect(trouble.messages.filter(({ leave }) => leave)).toMatchObject([{ session: session.session, generation: 0 }])
    expect(events.map(({ type }) => type)).not.toContain("stateLost")
    expect(log.map((each) => each.split(" ")[0])).toEqual(["a", "c", "b", "d"])
    await pass(60_000)
    await other
  })

  it("does not hold up the end of a program: close waits for a second", async () => {
    const { meters, task, trouble } = scene({ maxAtOnce: 1 })
    trouble.isSilent = true
    const waits = reasonOf(meters[0].run(task("a")))
    await pass(10)
    const closed = meters[0].close("over")
    expect(await waits).toBe("over")
    await pass(1_000)
    await closed
    expect(vi.getTimerCount()).toBe(0)
  })

  it("an answer that comes after the next attempt counts once", async () => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 1 })
    trouble.isSilent = true
    const run = meters[0].run(task("a", 10))
    await pass(500)
    trouble.isSilent = false
    await pass(600)
    await run
    expect(log).toEqual(["a 1000"])
    expect(events.map(({ type }) => type)).toEqual(["outage", "recovered"])
  })
})

describe("a lease that is over", () => {
  const cutOff = async (options: StoreOptions) => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 2 }, 1, { lease: 1_000, ...options })
    const run = meters[0].run(task("a", 3_000))
    const settled = run.catch((error: unknown) => error)
    await pass(100)
    const waits = meters[0].run(task("b", 3_000), { permits: 2 })
    await pass(1)
    trouble.isSilent = true
    await pass(1_400)
    trouble.isSilent = false
    return { events, log, settled, trouble, waits }
  }

  it("cancels the tasks that run, and what waits is declared again", async () => {
    const { events, log, settled, trouble, waits } = await cutOff({})
    expect(await settled).toBeInstanceOf(LeaseLostError)
    expect(String(await settled)).toBe(
      'LeaseLostError: the meter "api" has lost its lease: the store was out of reach, or this process stood still'
    )
    expect(events).toContainEqual({ type: "leaseLost", meter: "api", permits: 1 })
    await pass(10_000)
    expect(await waits).toBe("b")
    // What it held is accounted for until it has settled, although it was cancelled.
    const again = trouble.messages.find(({ session }) => session === "s2")
    expect(again).toMatchObject({ held: 1, demand: [{ count: 1, weight: 2, arrival: expect.any(Number) }] })
    expect(log[1]!.split(" ")[1]).toSatisfy((at: string) => Number(at) >= 3_000)
  })

  it("ends 20 ms before the store frees its permits, since timers may be late", async () => {
    const { meters, task, trouble } = scene({ maxAtOnce: 1 }, 1, { lease: 1_000 })
    const failed: Array<number> = []
    const run = meters[0].run(task("a", 3_000)).catch(() => void failed.push(Date.now()))
    await pass(1)
    trouble.isSilent = true
    await pass(2_000)
    await run
    // 1,000 ms after it was sent, less 500 ppm and 20 ms.
    expect(failed).toEqual([980])
  })

  it("or lets them run on (leaseLost: continue)", async () => {
    const { events, log, settled, waits } = await cutOff({ leaseLost: "continue" })
    await pass(10_000)
    expect(await settled).toBe("a")
    expect(await waits).toBe("b")
    expect(events).toContainEqual({ type: "leaseLost", meter: "api", permits: 1 })
    expect(log[1]!.split(" ")[1]).toSatisfy((at: string) => Number(at) >= 3_000)
  })

  it("fails attempts, which are retried like other failures, also in verbs, unless retry.while prevents it", async () => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 4 }, 1, { lease: 1_000 })
    const seen: Array<unknown> = []
    const retry = { times: 1, delay: 10, while: (error: unknown) => seen.push(error) > 0 }
    // It settles when it is cancelled, as a fetch does.
    const cancellable = (name: string) => (signal: AbortSignal) =>
      new Promise<string>((resolve, reject) => {
        log.push(`${name} ${Date.now()}`)
        setTimeout(() => resolve(name), 1_500)
        signal.addEventListener("abort", () => reject(signal.reason as Error))
      })
    const single = meters[0].run(({ signal }) => cancellable("single")(signal), { retry })
    const verb = runAll([1], (_, { signal }) => cancellable("verb")(signal), { meter: meters[0], retry })
    // A task that ignores its signal holds its permit until it has settled.
    const deaf = meters[0].run(task("deaf", 2_000), { retry, releaseOnTimeout: true, timeout: 60_000 })
    const refused = meters[0].run(({ signal }) => cancellable("refused")(signal), { retry: { while: () => false } })
    const settled = refused.catch((error: unknown) => error)
    await pass(1)
    trouble.isSilent = true
    await pass(1_200)
    trouble.isSilent = false
    expect(await settled).toBeInstanceOf(LeaseLostError)
    expect(seen).toEqual(Array(3).fill(await settled))
    await pass(10_000)
    expect(await Promise.all([single, verb, deaf])).toEqual(["single", ["verb"], "deaf"])
    expect(log.map((each) => each.split(" ")[0])).toEqual([
      "single",
      "verb",
      "deaf",
      "refused",
      "single",
      "verb",
      "deaf"
    ])
    expect(events.filter(({ type }) => type === "leaseLost")).toHaveLength(1)
    // The permits of the cancelled attempts were given back once.
    expect(meters[0].snapshot()).toMatchObject({ running: 0, free: 4 })
    expect(trouble.messages.at(-1)).toMatchObject({ held: 0 })
  })

  it("fails only holders of permits: waiters, calls between two attempts and tasks without permits continue", async () => {
    const { create, log, meters, task, trouble } = scene({ maxAtOnce: 1 }, 1, { lease: 1_000 })
    const rate = create({ name: "rate", maxAtOnce: undefined, maxPerSecond: 1_000 })
    const lost = meters[0].run(task("lost", 3_000)).catch((error: unknown) => error)
    await pass(1)
    let attempts = 0
    const between = rate.run(
      () => {
        if (++attempts === 1) throw new Error("again")
        return "again"
      },
      { retry: { delay: 1_500 } }
    )
    const waits = [
      meters[0].run(task("single")),
      meters[0].run(task("with retry"), { retry: {} }),
      combineMeters(meters[0], createMeter({ maxAtOnce: 1 })).run(task("of several")),
      runAll([1, 2], (n) => task(`verb ${n}`)(), { meter: meters[0] })
    ]
    const timed = rate.run(task("rate", 3_000), { timeout: 5_000 })
    await pass(10)
    trouble.isSilent = true
    await pass(1_500)
    trouble.isSilent = false
    expect(await lost).toBeInstanceOf(LeaseLostError)
    await pass(20_000)
    expect(await Promise.all([...waits, between, timed])).toEqual([
      "single",
      "with retry",
      "of several",
      ["verb 1", "verb 2"],
      "again",
      "rate"
    ])
    expect(log).toHaveLength(7)
  })

  it("does not affect attempts that have settled: a process that stood still may have several", async () => {
    const { events, meters } = scene({ maxAtOnce: 2 }, 1, { lease: 1_000 })
    const gate = Promise.withResolvers<string>()
    const all = Promise.all([meters[0].run(() => gate.promise), meters[0].run(() => gate.promise)])
    await pass(10)
    // The clock advances, but no timer fires.
    vi.spyOn(performance, "now").mockImplementation(() => Date.now())
    vi.setSystemTime(2_000)
    gate.resolve("done")
    expect(await all).toEqual(["done", "done"])
    vi.restoreAllMocks()
    expect(events).toContainEqual({ type: "leaseLost", meter: "api", permits: 2 })
    await pass(5_000)
    expect(meters[0].snapshot()).toMatchObject({ running: 0, free: 2 })
  })

  it("is an outcome of a task, but not after its timeout, and aborts the signal of a permit", async () => {
    const { meters, task, trouble } = scene({ maxAtOnce: 4 }, 1, { lease: 1_000 })
    const outcomes = runAll([1], () => task("a", 3_000)(), { meter: meters[0], settled: true })
    const timedOut = meters[0].run(task("b", 3_000), { timeout: 500 }).catch((error: Error) => error.name)
    const released = meters[0].run(task("c", 3_000), { timeout: 500, releaseOnTimeout: true }).catch(() => "c")
    const acquired = meters[0].acquire()
    await pass(1)
    const permit = await acquired
    trouble.isSilent = true
    await pass(1_500)
    trouble.isSilent = false
    expect(await outcomes).toMatchObject([{ status: "rejected", reason: expect.any(LeaseLostError) }])
    expect(await timedOut).toBe("TimeoutError")
    expect(await released).toBe("c")
    expect(permit.signal.reason).toBeInstanceOf(LeaseLostError)
    await pass(5_000)
    expect(meters[0].snapshot()).toMatchObject({ running: 1, free: 3 })
    permit.release()
    await pass(100)
    expect(trouble.messages.at(-1)).toMatchObject({ held: 0 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("makes no difference to a process that holds nothing", async () => {
    const { events, log, meters, task, trouble } = scene({ maxAtOnce: 1 }, 1, { lease: 1_000 })
    for (const name of ["a", "b"]) {
      const run = meters[0].run(task(name))
      await pass(0)
      await run
      await pass(60_000)
    }
    expect(log).toEqual(["a 0", "b 60000"])
    expect(events).toEqual([])
    expect(new Set(trouble.messages.map(({ session }) => session))).toEqual(new Set(["s1", "s2"]))
    expect(vi.getTimerCount()).toBe(0)
  })

  it("frees the permits of a process that was killed after its first message, even without a wake-up for a waiter of another", async () => {
    for (const lease of [200, 1_000, 5_000]) {
      const { log, meters, task, trouble } = scene({ maxAtOnce: 1 }, 2, { lease, leaseLost: "continue" })
      const began = Date.now()
      const killed = meters[0].run(task("killed", 60_000))
      await pass(1)
      const waits = meters[1]!.run(task("waits"))
      await pass(1)
      // Its last message was the first, and what it says afterwards is lost.
      trouble.isSilentFor = (session) => session !== "s2"
      await pass(lease + 100)
      await waits
      expect(Number(log[1]!.split(" ")[1]) - began).toBeOneOf([lease, lease + 1])
      await pass(70_000)
      await killed
    }
  })

  it("is renewed in time while a task runs", async () => {
    const { events, meters, task } = scene({ maxAtOnce: 1 }, 2, { lease: 300 })
    const first = meters[0].run(task("a", 5_000))
    await pass(1)
    const second = meters[1]!.run(task("b"))
    await pass(6_000)
    expect(await Promise.all([first, second])).toEqual(["a", "b"])
    expect(events).toEqual([])
  })
})

describe("lost state", () => {
  it("is reported, and nothing starts before the longest window is over", async () => {
    const { events, log, meters, task, trouble } = scene({ maxPerSecond: 100 }, 1, { lease: 500 })
    const all = Promise.all(Array.from({ length: 20 }, (_, i) => meters[0].run(task(`${i}`))))
    await pass(55)
    const before = log.length
    trouble.lose()
    await pass(5_000)
    await all
    expect(events).toEqual([{ type: "stateLost", meter: "api", quarantine: 1_450 }])
    const starts = log.map((each) => Number(each.split(" ")[1]))
    // What was granted before may still start; all else is later than a window.
    const gap = starts.findIndex((at, i) => i > 0 && at - starts[i - 1]! > 1_000)
    expect(gap).toBeGreaterThanOrEqual(before)
  })

  it("or the windows begin anew (lostState: startAfresh)", async () => {
    const windows = { day: { limit: 2, per: 86_400_000 } }
    const { events, log, meters, task, trouble } = scene({ windows }, 2, { lostState: "startAfresh" })
    const all = Promise.all(Array.from({ length: 6 }, (_, i) => meters[i % 2]!.run(task(`${i}`))))
    await pass(10)
    expect(log).toHaveLength(2)
    trouble.lose()
    await pass(5_000)
    expect(log).toHaveLength(4)
    const event = { type: "stateLost", meter: "api", quarantine: 0 }
    expect(events).toEqual([event, event])
    trouble.lose()
    await pass(5_000)
    await all
    expect(log).toHaveLength(6)
  })

  it("with maxAtOnce, waits for one lease in any case, so that no permit is used twice", async () => {
    const limits = { maxAtOnce: 1, windows: { day: { limit: 9, per: 86_400_000 } } }
    const { events, log, meters, task, trouble } = scene(limits, 2, { lostState: "startAfresh", lease: 1_000 })
    const first = meters[0].run(task("a", 3_000))
    await pass(1)
    const second = meters[1]!.run(task("b"))
    await pass(1)
    trouble.lose()
    await pass(5_000)
    expect(log).toEqual(["a 0", expect.stringMatching(/^b 3/)])
    await Promise.all([first, second])
    expect(events).toContainEqual({ type: "stateLost", meter: "api", quarantine: 1_000 })
  })

  it("that no process remembers is not detected", async () => {
    const { events, log, meters, task, trouble } = scene({ maxPerSecond: 100 }, 1, { lease: 500 })
    const first = meters[0].run(task("a"))
    await pass(0)
    await first
    await pass(60_000)
    trouble.lose()
    const second = meters[0].run(task("b"))
    await pass(0)
    await second
    expect(events).toEqual([])
    expect(log).toEqual(["a 0", "b 60000"])
  })
})

describe("time", () => {
  it("a process that stood still misses its slots, says so, and is granted others", async () => {
    const { events, log, meters, task } = scene({ maxPerSecond: 20 })
    const all = Promise.all(["a", "b", "c"].map((name) => meters[0].run(task(name))))
    await pass(10)
    // As a long synchronous step: the clock advances, but no timer fires.
    vi.setSystemTime(600)
    vi.spyOn(performance, "now").mockImplementation(() => Date.now())
    await pass(1_000)
    await all
    vi.restoreAllMocks()
    expect(events.some(({ type }) => type === "late")).toBe(true)
    expect(log[0]).toBe("a 0")
    expect(log).toHaveLength(3)
  })

  it.each([
    ["below", 240, ["a 240"]],
    ["above", 255, []]
  ])("tasks start only if a round trip takes less than 0.25 s: %s", async (_, trip, expected) => {
    const { log, meters, task, trouble } = scene({ maxAtOnce: 1 })
    trouble.keepsAnswers = true
    // The first message is sent at once, and each later one when the answer to the previous one has arrived.
    const answering = setInterval(() => {
      trouble.flush()
      trouble.keepsAnswers = true
    }, trip)
    const abort = new AbortController()
    const run = meters[0].run(task("a"), { signal: abort.signal })
    await pass(3_000)
    expect(log).toEqual(expected)
    abort.abort("given up")
    await expect(run.catch((reason: unknown) => reason)).resolves.toBe(expected.length === 0 ? "given up" : "a")
    clearInterval(answering)
  })

  it("a task that starts too late for the proof is reported", async () => {
    const { events, meters } = scene({ maxPerSecond: 20 })
    vi.spyOn(performance, "now").mockImplementation(() => Date.now())
    // Its own first step takes longer than the slack.
    const run = meters[0].run(() => vi.setSystemTime(Date.now() + 300))
    await pass(1)
    await run
    await pass(0)
    vi.restoreAllMocks()
    expect(events).toEqual([{ type: "stalled", meter: "api", by: expect.any(Number) }])
  })

  it("a permit starts when its caller has it, once, and how late that is reaches the store", async () => {
    const { events, meters, trouble } = scene({ maxPerSecond: 20 })
    vi.spyOn(performance, "now").mockImplementation(() => Date.now())
    const acquired = meters[0].acquire()
    // Runs between the admission and what follows.
    void acquired.then(() => vi.setSystemTime(Date.now() + 300))
    const released = acquired.then((permit) => permit.release())
    await pass(1)
    await released
    await pass(1_000)
    vi.restoreAllMocks()
    expect(events.filter(({ type }) => type === "stalled")).toHaveLength(1)
    const reports = trouble.messages.flatMap((message) => message.reports)
    expect(reports).toEqual([expect.objectContaining({ unused: 0 })])
    expect(reports[0]!.late).toBeGreaterThanOrEqual(300_000)
  })

  it("a store whose clock is set is reported", async () => {
    let now = 0
    const events: Array<StoreEvent> = []
    const store = memoryStore({ now: () => now, onEvent: (event) => events.push(event) })
    const meter = createMeter({ store, name: "api", maxPerSecond: 100 })
    for (const time of [0, 5_000_000]) {
      now = time
      const run = meter.run(() => 1)
      await pass(20)
      now += 20_000
      await pass(20)
      await run
    }
    expect(events.map(({ type }) => type)).toContain("clockStep")
  })

  it("what a listener of events throws is reported as an unhandled rejection, and harms no meter", async () => {
    const errors: Array<unknown> = []
    const listener = (error: unknown): void => void errors.push(error)
    process.on("unhandledRejection", listener)
    const others = process.listeners("unhandledRejection").filter((each) => each !== listener)
    for (const each of others) process.off("unhandledRejection", each)
    try {
      const { create, meters, task } = scene({ maxAtOnce: 1 }, 1, {
        onEvent: () => {
          throw new Error("the listener's")
        }
      })
      const run = meters[0].run(task("a"))
      await pass(0)
      await run
      const refused = reasonOf(create({ maxAtOnce: 2 }).run(task("b")))
      await pass(0)
      expect(await refused).toBeInstanceOf(LimitsDifferError)
      vi.useRealTimers()
      await new Promise((resolve) => setTimeout(resolve, 1))
      expect(errors).toEqual([new Error("the listener's")])
    } finally {
      process.off("unhandledRejection", listener)
      for (const each of others) process.on("unhandledRejection", each)
    }
  })
})
