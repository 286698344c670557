/**
 * Cloudflare Workers, where timers, signals and the reactions to promises belong to requests, simulated: the tests of
 * `runtimes/` are on the real one.
 */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type * as Fibermeter from "../src/index.ts"

type Timer = readonly [request: number, at: number, f: () => void]

/** The present request. A reaction to a promise of another request runs in it, as with an old compatibility date. */
let request = 0
let now = 0
let timers: Array<Timer> = []
let gone = new Set<number>()

class RequestSignal extends EventTarget {
  private readonly home = request
  private hasAborted = false

  get aborted(): boolean {
    if (request !== this.home) throw new Error("Cannot perform I/O on behalf of a different request.")
    return this.hasAborted
  }

  abort(): void {
    this.hasAborted = true
    this.dispatchEvent(new Event("abort"))
  }
}

const jobs = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** Does something in a request. */
const inRequest = async <A>(id: number, f: () => A): Promise<A> => {
  request = id
  const result = f()
  await jobs()
  return result
}

/** Time goes by: timers fire in their requests, but for those of a request that has ended. */
const pass = async (millis: number): Promise<void> => {
  const until = now + millis
  for (;;) {
    const next = timers.filter(([, at]) => at <= until).toSorted((a, b) => a[1] - b[1])[0]
    if (next === undefined) break
    timers = timers.filter((timer) => timer !== next)
    now = Math.max(now, next[1])
    if (!gone.has(next[0])) await inRequest(next[0], next[2])
  }
  now = until
}

let lib: typeof Fibermeter

const load = async (): Promise<typeof Fibermeter> => {
  vi.resetModules()
  return import("../src/index.ts")
}

beforeEach(async () => {
  request = 0
  now = 1_000_000
  timers = []
  gone = new Set()
  vi.stubGlobal("WebSocketPair", EventTarget)
  vi.stubGlobal("setImmediate", undefined)
  vi.stubGlobal(
    "AbortController",
    class {
      readonly signal = new RequestSignal()
      abort(): void {
        this.signal.abort()
      }
    }
  )
  vi.stubGlobal("setTimeout", (f: () => void, millis: number) => {
    const timer: Timer = [request, now + millis, f]
    timers.push(timer)
    return timer
  })
  vi.stubGlobal("clearTimeout", (timer: Timer) => {
    if (timer[0] === request) timers = timers.filter((each) => each !== timer)
  })
  vi.stubGlobal("performance", { now: () => now })
  vi.spyOn(Date, "now").mockImplementation(() => now)
  lib = await load()
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** What has started, and in which request. */
let starts: Array<readonly [task: string, request: number, at: number]> = []

beforeEach(() => {
  starts = []
})

const task = (name: string, millis: number) => async (): Promise<string> => {
  starts.push([name, request, now - 1_000_000])
  await sleep(millis)
  return name
}

it("a waiter starts in its own request when a task of another request ends", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 30)))
  await inRequest(2, () => void meter.run(task("b", 30)))
  await inRequest(3, () => void lib.runAll([task("c", 30), task("d", 30)], { meter }))
  await pass(500)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["b", 2],
    ["c", 3],
    ["d", 3]
  ])
  // Nothing keeps polling.
  expect(timers).toEqual([])
})

it("a permit that one request releases is acquired by a waiter of another one, in its own request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  const permits: Array<Fibermeter.Permit> = []
  const acquire = (name: string) => async (): Promise<void> => {
    permits.push(await meter.acquire())
    starts.push([name, request, now - 1_000_000])
  }
  await inRequest(1, () => void acquire("a")())
  await inRequest(2, () => void acquire("b")())
  await inRequest(3, () => permits[0]!.release())
  await pass(20)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["b", 2]
  ])
  await inRequest(2, () => void meter.close("closed"))
  await inRequest(2, () => expect(permits[1]!.signal.aborted).toBe(true))
  await inRequest(2, () => permits[1]!.release())
  await pass(100)
  expect(meter.snapshot().running).toBe(0)
  expect(timers).toEqual([])
})

it("a waiter of another request checks every 1 to 20 ms", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 100)))
  await inRequest(2, () => void meter.run(task("b", 1)))
  const looks: Array<number> = []
  for (let i = 0; i < 8; i++) {
    const at = timers.find(([where]) => where === 2)![1]
    looks.push(at - 1_000_000)
    await pass(at - now)
  }
  expect(looks).toEqual([1, 3, 7, 15, 31, 51, 71, 91])
  await pass(20)
  expect(starts).toEqual([
    ["a", 1, 0],
    ["b", 2, 111]
  ])
})

it("a waiter starts at once where reactions to a promise run in its request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 1000)))
  await inRequest(2, () => void meter.run(task("b", 1)))
  await inRequest(2, () => void meter.run(task("c", 1000)))
  await pass(40)
  for (const maxAtOnce of [2, 3]) {
    request = 1
    meter.resize({ maxAtOnce })
    request = 2
    await jobs()
  }
  expect(starts).toEqual([
    ["a", 1, 0],
    ["b", 2, 40],
    ["c", 2, 40]
  ])
})

it("waiters of a request that has ended leave the queue after about a second", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 50)))
  await inRequest(2, () => void meter.run(task("gone", 1)))
  await inRequest(2, () => void meter.run(task("gone as well", 1)))
  await inRequest(3, () => void meter.run(task("c", 1)))
  gone.add(2)
  await pass(900)
  expect(starts.map(([name]) => name)).toEqual(["a"])
  await pass(600)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["c", 3]
  ])
  expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
})

it("a waiter waits for as long as its request has to look for room", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 3000)))
  await inRequest(2, () => void meter.run(task("b", 1)))
  await inRequest(3, () => void meter.run(task("c", 1)))
  await pass(3100)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["b", 2],
    ["c", 3]
  ])
})

it("a stall of the whole isolate ends no request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 50)))
  await inRequest(2, () => void meter.run(task("b", 1)))
  await inRequest(3, () => void meter.run(task("c", 1)))
  await pass(20)
  now += 60_000
  await pass(200)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["b", 2],
    ["c", 3]
  ])
})

it("a rate continues when the request of the first waiter ends", async () => {
  const meter = lib.createMeter({ maxPerSecond: 10 })
  await inRequest(1, () => void meter.run(task("a", 1)))
  await inRequest(1, () => void meter.run(task("gone", 1)))
  await inRequest(2, () => void lib.runAll([task("b", 1), task("c", 1), task("d", 1)], { meter }))
  gone.add(1)
  await pass(2500)
  const [, b, c, d] = starts
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["b", 2],
    ["c", 2],
    ["d", 2]
  ])
  // On a timer of request 2, to the millisecond. Up to 10 ms of b's lateness are caught up.
  expect([c![2] - b![2], d![2] - c![2]]).toEqual([90, 100])
})

it("a call's own rate is on its request's timers, without looking for room", async () => {
  await inRequest(1, () => void lib.runAll([task("a", 1), task("b", 1)], { maxPerSecond: 10 }))
  await pass(50)
  expect(timers.map(([where, at]) => [where, at - 1_000_000])).toEqual([[1, 100]])
  await pass(50)
  expect(starts.map(([name, where, at]) => [name, where, at])).toEqual([
    ["a", 1, 0],
    ["b", 1, 100]
  ])
})

const many = Array.from({ length: 40_000 })

it("a call that yields continues on a timer of its own request", async () => {
  let started = 0
  await inRequest(1, () => void lib.runOnEach(many, () => void started++))
  expect(started).toBeLessThan(many.length)
  expect(timers.length).toBeGreaterThan(0)
  expect(timers.every(([where]) => where === 1)).toBe(true)
  await pass(10)
  expect(started).toBe(many.length)
})

it("a loop of calls that never wait lets the timers of its request in, after a request that ended in such a loop", async () => {
  const loop = (id: number, meter: Fibermeter.Meter, isOver: () => boolean): Promise<void> =>
    inRequest(id, () => {
      void (async () => {
        for (let i = 0; i < many.length && !isOver(); i++) await meter.run(() => i)
        starts.push([`loop ${id}`, request, 0])
      })()
    })
  const meter = lib.createMeter({ maxAtOnce: 2 })
  await loop(1, meter, () => false)
  for (let i = 0; i < 5000; i++) await jobs()
  gone.add(1)
  let isOver = false
  request = 2
  setTimeout(() => (isOver = true), 5)
  await loop(2, meter, () => isOver)
  for (let i = 0; i < 5000; i++) await jobs()
  for (let i = 0; i < 20; i++) {
    await pass(1)
    for (let j = 0; j < 5000; j++) await jobs()
  }
  expect(starts.map(([name]) => name)).toEqual(["loop 2"])
})

it("waiters of a shared meter yield, and are served by their own timers, after a request that ended with a turn ahead", async () => {
  await inRequest(1, () => void lib.runOnEach(many, () => {}))
  gone.add(1)
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(2, () => void meter.run(task("a", 5)))
  let served = 0
  await inRequest(3, () => void lib.runOnEach(many, () => void served++, { meter }))
  await pass(5)
  await pass(400)
  expect(served).toBe(many.length)
})

it("waiters of a shared meter that start in one turn yield, and check again on a timer of their request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 1000)))
  let served = 0
  let ended = 0
  const slow = (): void => {
    now += 1
    served++
    ended = now
  }
  await inRequest(2, () => {
    for (let i = 0; i < 1000; i++) void meter.run(slow)
    meter.resize({ maxAtOnce: 2000 })
  })
  expect(served).toBeLessThan(1000)
  expect(new Set(timers.map(([where]) => where))).toEqual(new Set([1, 2]))
  const [began, before] = [now, served]
  await pass(3000)
  expect(served).toBe(1000)
  // A millisecond between two turns.
  expect(ended - began).toBeLessThan(1.3 * (1000 - before))
})

it("a request that looks while a test has faked the timers continues to look", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  await inRequest(1, () => void meter.run(task("a", 30)))
  await inRequest(2, () => void meter.run(task("b", 1)))
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] })
  await pass(5)
  vi.useRealTimers()
  await pass(100)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["a", 1],
    ["b", 2]
  ])
})

it("a retry without a delay is on a timer of its request", async () => {
  let attempts = 0
  const fail = (): void => {
    if (attempts++ === 0) throw new Error("once")
  }
  await inRequest(1, () => void lib.runAll([fail], { retry: { delay: 0 } }))
  expect(attempts).toBe(1)
  expect(timers.every(([where]) => where === 1)).toBe(true)
  await pass(0)
  expect(attempts).toBe(2)
})

it("close and idle, called in another request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  const outcomes: Array<unknown> = []
  const note = (reason: unknown): void => void outcomes.push([request, reason])
  await inRequest(1, () => {
    const { signal } = new AbortController()
    const listening = ({ signal: own }: { readonly signal: AbortSignal }): Promise<void> =>
      new Promise((_, reject) => own.addEventListener("abort", () => reject(new Error("cancelled"))))
    meter.run(listening, { signal }).catch(note)
    meter.run(() => {}, { signal }).catch(note)
  })
  await inRequest(2, () => {
    void meter.close("closed").then(() => note("has closed"))
    void meter.idle().then(() => note("is idle"))
  })
  expect(outcomes).toEqual([])
  await pass(60)
  expect(outcomes).toEqual([
    [1, "closed"],
    [1, "closed"],
    [2, "has closed"],
    [2, "is idle"]
  ])
})

it("idle resolves in its own request when the last task of another request ends", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  let idleIn: number | undefined
  await inRequest(1, () => void meter.run(task("a", 50)))
  await inRequest(2, () => void meter.idle().then(() => (idleIn = request)))
  await pass(50)
  expect(idleIn).toBeUndefined()
  await pass(20)
  expect([idleIn, timers]).toEqual([2, []])
})

it("idle resolves at once where nothing runs", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  let isIdle = false
  await inRequest(1, () => void meter.idle().then(() => (isIdle = true)))
  expect([isIdle, timers]).toEqual([true, []])
})

it("resize, called in another request: an amap that waited for the old limit continues in its own request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1 })
  const homes: Array<number> = []
  const f = (n: number): number => {
    homes.push(request)
    return n
  }
  await inRequest(1, () => void lib.amap([1, 2, 3, 4, 5, 6, 7, 8], f, { meter }).next())
  expect(homes).toEqual([1, 1, 1])
  request = 2
  meter.resize({ maxAtOnce: 4 })
  request = 1
  await jobs()
  expect(homes).toEqual([1, 1, 1, 1, 1, 1, 1, 1])
  await inRequest(1, () => meter.resize({ maxAtOnce: 5 }))
})

it("resize reads the signals of no other request", async () => {
  const meter = lib.createMeter({ maxAtOnce: 1, windows: { w: { limit: 5, per: 20 } } })
  await inRequest(1, () => void meter.run(task("a", 10)))
  let outcome: unknown
  await inRequest(2, () => {
    const { signal } = new AbortController()
    meter.run(task("b", 1), { signal, cost: { w: 3 } }).catch((error: unknown) => (outcome = [request, String(error)]))
  })
  await inRequest(1, () => meter.resize({ windows: { w: { limit: 2, per: 20 } } }))
  expect(outcome).toBeUndefined()
  await pass(40)
  expect(outcome).toEqual([2, expect.stringContaining("RangeError")])
})

it("several meters, in several requests", async () => {
  const meter = [lib.createMeter({ maxAtOnce: 1 }), lib.createMeter({ maxAtOnce: 1 })]
  for (const id of [1, 2, 3]) await inRequest(id, () => void lib.runAll([task(`of ${id}`, 10)], { meter }))
  await pass(200)
  expect(starts.map(([name, where]) => [name, where])).toEqual([
    ["of 1", 1],
    ["of 2", 2],
    ["of 3", 3]
  ])
})

it("a rate's timer that was armed in another request fires there without effect", async () => {
  const meter = lib.createMeter({ maxPerSecond: 10 })
  const controller = await inRequest(1, () => new AbortController())
  await inRequest(1, () => void meter.run(task("a", 1)))
  await inRequest(1, () => void meter.run(task("cancelled", 1), { signal: controller.signal }).catch(() => {}))
  await inRequest(2, () => void meter.run(task("b", 1)))
  await inRequest(3, () => void meter.run(task("c", 1)))
  await pass(50)
  await inRequest(1, () => controller.abort())
  await pass(300)
  expect(starts.map(([name, where, at]) => [name, where, at])).toEqual([
    ["a", 1, 0],
    ["b", 2, 100],
    ["c", 3, 200]
  ])
})

it("a test's fake timers are of no request", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] })
  try {
    const meter = lib.createMeter({ maxAtOnce: 1 })
    void meter.run(() => new Promise<void>((resolve) => setTimeout(resolve, 100)))
    void meter.run(() => {})
    let isIdle = false
    void meter.idle().then(() => (isIdle = true))
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(100)
    await jobs()
    expect(isIdle).toBe(true)
    void meter.run(() => new Promise<void>((resolve) => setTimeout(resolve, 100)))
    let served = 0
    for (let i = 0; i < 30_000; i++) void meter.run(() => void served++)
    meter.resize({ maxAtOnce: 50_000 })
    expect(served).toBeLessThan(30_000)
    for (let i = 0; i < 100; i++) vi.advanceTimersByTime(1)
    await pass(10)
    expect(served).toBe(30_000)
  } finally {
    vi.useRealTimers()
  }
})
