/**
 * Under the fake timers of tests, everything that takes time follows them, at exact instants, and what takes no time needs
 * no timer. Each of the tools: installed before this package is loaded, after it was loaded, after it was used, a second
 * time, and removed while calls wait. Jest's are tested on the packed package, by `scripts/trial/program.test.cjs`.
 */
import { mock } from "node:test"
import FakeTimers from "@sinonjs/fake-timers"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type * as facade from "../src/index.ts"
import { isFake } from "../src/internal/isFake.ts"

type Facade = typeof facade

interface Fake {
  readonly install: () => void
  readonly uninstall: () => void
  readonly tick: (millis: number) => void
}

// Not `nextTick`: what Vitest's own worker schedules by it while the fakes are installed would be lost, and the worker
// would never report. `host.test.ts` has the fakes of everything, in a process without Vitest.
const sinon = (toFake?: Array<"setTimeout" | "clearTimeout">): Fake => {
  let clock: FakeTimers.Clock
  return {
    install: () => {
      clock = FakeTimers.install(toFake === undefined ? { now: 0, toNotFake: ["nextTick"] } : { now: 0, toFake })
    },
    uninstall: () => clock.uninstall(),
    tick: (millis) => void clock.tick(millis)
  }
}

const vitest = (toFake?: Array<"setTimeout" | "clearTimeout" | "Date">): Fake => ({
  install: () => void vi.useFakeTimers(toFake === undefined ? {} : { toFake }),
  uninstall: () => void vi.useRealTimers(),
  tick: (millis) => void vi.advanceTimersByTime(millis)
})

const node = (apis?: Array<"setTimeout" | "Date">): Fake => ({
  install: () => mock.timers.enable(apis && { apis }),
  uninstall: () => mock.timers.reset(),
  tick: (millis) => mock.timers.tick(millis)
})

const fakes: Readonly<Record<string, () => Fake>> = {
  "Vitest's": () => vitest(),
  "Vitest's, of timers and Date alone": () => vitest(["setTimeout", "clearTimeout", "Date"]),
  "Vitest's, of timers alone": () => vitest(["setTimeout", "clearTimeout"]),
  "Sinon's": () => sinon(),
  "Sinon's, of timers alone": () => sinon(["setTimeout", "clearTimeout"]),
  "Node's": () => node(),
  "Node's, of timers alone": () => node(["setTimeout"])
}

// Of today, before anything is faked.
const immediate = globalThis.setImmediate
const turn = (): Promise<void> => new Promise((resolve) => void immediate(resolve))

/** Lets everything happen that can without time going by. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 6; i++) await turn()
}

const load = (): Promise<Facade> => import("../src/index.ts")

describe.each(Object.entries(fakes))("under fake timers: %s", (_, make) => {
  let fake: Fake
  let time: number

  beforeEach(() => {
    vi.resetModules()
    fake = make()
    time = 0
  })
  afterEach(() => fake.uninstall())

  /** Moves the fake clock, a millisecond at a time. */
  const pass = async (millis: number): Promise<void> => {
    for (let i = 0; i < millis; i++) {
      // First: what the tick calls may start a task at once.
      time++
      fake.tick(1)
      await settle()
    }
  }

  const sleep = (millis: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, millis))

  const orders: Readonly<Record<string, () => Promise<Facade>>> = {
    "installed before it is loaded": async () => {
      fake.install()
      return load()
    },
    "installed after it was loaded": async () => {
      const facade = await load()
      fake.install()
      return facade
    },
    "installed after it was used": async () => {
      const facade = await load()
      await facade.runAll([1], () => 1, { maxPerSecond: 1000 })
      fake.install()
      return facade
    },
    "installed a second time": async () => {
      const facade = await load()
      fake.install()
      const calls = facade.runAll([1, 2], () => 1, { maxPerSecond: 100 })
      await settle()
      await pass(10)
      await calls
      fake.uninstall()
      fake.install()
      time = 0
      return facade
    }
  }

  describe.each(Object.entries(orders))("%s", (_, prepare) => {
    it("a rate", async () => {
      const { runAll } = await prepare()
      const calls = runAll([1, 2, 3, 4], () => time, { maxPerSecond: 10 })
      await settle()
      await pass(300)
      expect(await calls).toEqual([0, 100, 200, 300])
    })

    it("a window", async () => {
      const { runAll } = await prepare()
      const calls = runAll([1, 2, 3, 4, 5], () => time, { windows: { requests: { limit: 2, per: 50 } } })
      await settle()
      await pass(100)
      expect(await calls).toEqual([0, 0, 50, 50, 100])
    })

    it("a pause", async () => {
      const { createMeter } = await prepare()
      const meter = createMeter({})
      meter.pause(40)
      const calls = meter.runAll([1, 2], () => time)
      await settle()
      await pass(40)
      expect(await calls).toEqual([40, 40])
    })

    it("a timeout", async () => {
      const { runAll } = await prepare()
      const call = runAll([1], () => sleep(1000), { timeout: 30 }).catch((error: Error) => [error.name, time])
      await settle()
      await pass(30)
      expect(await call).toEqual(["TimeoutError", 30])
    })

    it("a retry", async () => {
      const { createMeter, runAll } = await prepare()
      const starts: Array<number> = []
      const task = (): number => {
        starts.push(time)
        if (starts.length % 3 !== 0) throw new Error("again")
        return time
      }
      const all = runAll([1], task, { retry: { delay: 20 } })
      await settle()
      await pass(40)
      await all
      const one = createMeter({}).run(task, { retry: { delay: 20 } })
      await settle()
      await pass(40)
      await one
      expect(starts).toEqual([0, 20, 40, 40, 60, 80])
    })

    it("concurrency alone needs no timer", async () => {
      const { createMeter, runAll } = await prepare()
      const meter = createMeter({ maxAtOnce: 2 })
      expect(await runAll([1, 2, 3], async (n) => n, { maxAtOnce: 2 })).toEqual([1, 2, 3])
      expect(await Promise.all([1, 2, 3].map((n) => meter.run(async () => n)))).toEqual([1, 2, 3])
      expect(await runAll(Array(40_000).fill(0), (n: number) => n)).toHaveLength(40_000)
      expect(await meter.run(() => "at once", { retry: { delay: 0 } })).toBe("at once")
    })
  })

  describe("removed while calls wait", () => {
    it("later calls use real time", async () => {
      const { createMeter, runAll } = await load()
      fake.install()
      const own = runAll([1], async (n) => n)
      void runAll([1, 2], () => 1, { maxPerSecond: 1000 })
      void runAll([1], () => sleep(1000), { timeout: 10 })
      await settle()
      fake.uninstall()
      expect(await own).toEqual([1])
      expect(await runAll([1, 2, 3], async (n) => n)).toEqual([1, 2, 3])
      expect(await runAll([1, 2, 3], async (n) => n, { maxAtOnce: 2 })).toEqual([1, 2, 3])
      expect(await runAll([1, 2, 3], async (n) => n, { maxPerSecond: 1000 })).toEqual([1, 2, 3])
      const inWindow = runAll([1, 2, 3], (n) => n, { windows: { requests: { limit: 2, per: 2 } } })
      expect(await inWindow).toEqual([1, 2, 3])
      const late = runAll([1], () => new Promise(() => {}), { timeout: 2 })
      await expect(late).rejects.toMatchObject({ name: "TimeoutError" })
      let attempts = 0
      const task = (): number => {
        if (++attempts < 3) throw new Error("again")
        return attempts
      }
      expect(await runAll([1], task, { retry: { delay: 2 } })).toEqual([3])
      const meter = createMeter({})
      meter.pause(2)
      expect(await meter.run(() => "after the pause")).toBe("after the pause")
    })

    it("a call that arrives at the same meter restarts its queue: one meter", async () => {
      const { createMeter } = await load()
      const meter = createMeter({ maxPerSecond: 1000 })
      fake.install()
      const waiting = Promise.all([1, 2, 3].map((n) => meter.run(() => n)))
      await settle()
      fake.uninstall()
      expect(await meter.run(() => 4)).toBe(4)
      expect(await waiting).toEqual([1, 2, 3])
    })

    it("a call that arrives at the same meter restarts its queue: it waits for the rest of its time", async () => {
      const { createMeter } = await load()
      const meter = createMeter({ maxPerSecond: 10 })
      fake.install()
      const waiting = Promise.all([1, 2].map(() => meter.run(() => time)))
      // A call of another meter sees the time pass.
      const other = createMeter({ maxPerSecond: 25 })
      void other.runOnEach([1, 2], () => {})
      await settle()
      await pass(40)
      fake.uninstall()
      // Whatever uses the genuine timers. Node's fakes may be the same functions each time that they are installed.
      void other.snapshot()
      fake.install()
      const late = meter.run(() => time)
      await settle()
      await pass(160)
      expect([...(await waiting), await late]).toEqual([0, 100, 200])
    })

    it("a call that arrives at the same meter restarts its queue: several meters", async () => {
      const { createMeter, runAll } = await load()
      const meters = [createMeter({ maxPerSecond: 1000 }), createMeter({ maxAtOnce: 9 })]
      fake.install()
      const waiting = runAll([1, 2, 3], (n) => n, { meter: meters })
      await settle()
      fake.uninstall()
      expect(await runAll([4], (n) => n, { meter: meters })).toEqual([4])
      expect(await waiting).toEqual([1, 2, 3])
    })

    it("a call that arrives at the same meter restarts its queue: a meter and a limit of the call", async () => {
      const { createMeter, runAll } = await load()
      const meter = createMeter({ maxAtOnce: 9 })
      fake.install()
      const waiting = runAll([1, 2, 3], (n) => n, { meter, maxPerSecond: 1000 })
      await settle()
      fake.uninstall()
      expect(await meter.run(() => 4)).toBe(4)
      expect(await waiting).toEqual([1, 2, 3])
    })
  })
})

describe("the marks of fakes", () => {
  const names = ["setTimeout", "setImmediate", "performance", "Date"] as const
  /** Of each, or of its method by which the time is read. */
  const marked = (): Array<string> =>
    names.filter(
      (name) => isFake(globalThis[name]) || (name === "performance" && isFake(Reflect.get(performance, "now")))
    )

  it("genuine timers have none", () => {
    expect(marked()).toEqual([])
  })

  it.each([
    ["Vitest's", vitest(), [...names]],
    ["Sinon's", sinon(), [...names]],
    ["Node's", node(), ["setTimeout", "setImmediate", "Date"]]
  ] as const)("%s have them", (_, fake, expected) => {
    fake.install()
    const found = marked()
    fake.uninstall()
    expect(found).toEqual(expected)
    expect(marked()).toEqual([])
  })
})
