/**
 * The known failures of other libraries, each with the test that shows that it does not happen here. Where no file is named, the
 * test is below.
 *
 * | failure                                                     | known from                                | test                                                            |
 * | ----------------------------------------------------------- | ----------------------------------------- | --------------------------------------------------------------- |
 * | permits leak when a process crashes                         | bottleneck#181, #194                      | `processes.test.ts`: "kill -9 of two of four"                    |
 * | running tasks vanish, and their waiters hang                | bottleneck#112                            | `processes.test.ts`: "a restart of the server"; `chaos.test.ts`  |
 * | scripts that Redis 7 rejects                                | bottleneck#205                            | `script.test.ts`, which runs on the server that is installed     |
 * | the clocks of clients decide                                | go-zero#4072, PyrateLimiter#55            | "processes whose clocks are years apart"   |
 * | a request that was refused is charged                       | upstash/ratelimit-js#156                  | "a call that is refused"                                         |
 * | a lost wake-up, or a waiter that died, blocks all others    | redisson#1104, #2099, #3730, #4595        | "no wake-up arrives", "a waiter that died"                       |
 * | locks are lost under load                                   | redis-semaphore#205                       | "a thousand tasks"                                               |
 * | each permit that comes back wakes all processes             | bullmq#909                                | "a permit that comes back"                                       |
 * | each call connects again while the server is down           | nango#7116                                | "a thousand calls while the store is out of reach", "nor do"     |
 * | an outage lets all tasks through                            | several                                   | the same                                                         |
 * | keys without a hash tag fail on a cluster                   | shenyu#5286                               | `stores.test.ts`: "any string is a name"                                 |
 * | a waiter that was interrupted is charged                    | Effect's RateLimiter                      | `meters.test.ts`: "a waiter that gives up is not charged"        |
 */
import { createMeter } from "@fibermeter/promise"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { memoryStore, type Meter, redisStore, type SharedStore } from "../src/index.ts"
import { readOptions } from "../src/session/options.ts"
import { Session } from "../src/session/Session.ts"
import { troubledStore } from "./support/trouble.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** As a store, with something else in place of its wake-ups. */
const withWakes = (inner: SharedStore, onWake: SharedStore["onWake"]): SharedStore => {
  const transport = { exchange: inner.exchange, onWake }
  let sessions = 0
  const limit: SharedStore["limit"] = (name, limits) =>
    new Session(transport, name, limits, readOptions({}), () => `s${++sessions}`)
  return { ...transport, version: 1, limit }
}

it("processes whose clocks are years apart share a rate: only the store's clock counts", async () => {
  const inner = memoryStore({ now: () => Math.floor(performance.now() * 1_000) + 1 })
  const starts: Array<number> = []
  const runs = [-30, 0, 30].map((years) => {
    // Of what a process reads of its own clock, the store gets nothing.
    const store = {
      ...inner,
      limit: ((name, limits) => shifted(inner.limit(name, limits), years)) as SharedStore["limit"]
    }
    const meter = createMeter({ store, name: "api", maxPerSecond: 10 })
    return meter.runOnEach(Array(10), () => void starts.push(performance.now()))
  })
  await pass(4_000)
  await Promise.all(runs)
  expect(starts).toHaveLength(30)
  starts.forEach((at, i) => i >= 10 && expect(at - starts[i - 10]!).toBeGreaterThanOrEqual(1_000))
  expect(starts.at(-1)! - starts[0]!).toBeLessThan(3_100)
})

/** A limit whose meter has a clock that is off by so many years. */
const shifted = (limit: ReturnType<SharedStore["limit"]>, years: number) => {
  const attach = (meter: Meter): void =>
    Session.prototype.attach.call(limit, { ...meter, now: () => meter.now() + years * 3.15e16 })
  return Object.assign(limit, { attach })
}

it("a call that is refused because it would wait too long is not charged", async () => {
  const store = memoryStore()
  const [one, other] = [1, 2].map(() => createMeter({ store, name: "api", maxPerSecond: 2 }))
  const starts: Array<number> = []
  const task = () => void starts.push(Date.now())
  const first = one!.run(task)
  await pass(1)
  await first
  const refused = Array.from({ length: 5 }, () =>
    one!.run(task, { waitTimeout: 100 }).catch((error: { readonly name: string }) => error.name)
  )
  await pass(200)
  expect(await Promise.all(refused)).toEqual(Array(5).fill("OverloadedError"))
  const next = other!.run(task)
  await pass(400)
  await next
  expect(starts).toEqual([0, 501])
})

it("no wake-up arrives: permits go from one process to another all the same, and tasks of one second do not wait long", async () => {
  const inner = memoryStore()
  const store = withWakes(inner, () => () => {})
  const meters = [1, 2, 3].map(() => createMeter({ store, name: "api", maxAtOnce: 1 }))
  const starts: Array<number> = []
  const runs = meters.map((meter) =>
    meter.run(async () => {
      starts.push(Date.now())
      await sleep(1_000)
    })
  )
  await pass(12_000)
  await Promise.all(runs)
  expect(starts).toHaveLength(3)
  // A third of the lease of 5 seconds after the permit has come back, at most.
  starts.slice(1).forEach((at, i) => expect(at - starts[i]!).toBeLessThanOrEqual(1_000 + 1_700))
})

it("a waiter that died delays those behind it by no more than a third of the lease", async () => {
  const [store, trouble] = troubledStore({})
  const meters = [1, 2, 3].map(() => createMeter({ store, name: "api", maxAtOnce: 1 }))
  const starts: Array<string> = []
  const task = (name: string) => async () => {
    starts.push(`${name} ${Date.now()}`)
    await sleep(500)
  }
  const first = meters[0]!.run(task("first"))
  await pass(1)
  const died = meters[1]!.run(task("died"))
  await pass(1)
  const last = meters[2]!.run(task("last"))
  await pass(1)
  trouble.isSilentFor = (session) => session !== "s1" && session !== "s3"
  await pass(2_500)
  expect(starts).toHaveLength(2)
  const [name, at] = starts[1]!.split(" ")
  expect(name).toBe("last")
  expect(Number(at)).toBeLessThanOrEqual(500 + 1_700)
  await pass(500)
  await Promise.all([first, last])
  const closed = meters[1]!.close("over")
  await expect(died).rejects.toBe("over")
  await pass(1_000)
  await closed
})

it("a thousand tasks that run for many leases, while others come and go, lose nothing", async () => {
  const events: Array<unknown> = []
  const [store, trouble] = troubledStore({ lease: 300, onEvent: (event) => events.push(event) })
  const meters = [1, 2, 3, 4].map(() => createMeter({ store, name: "api", maxAtOnce: 1_100 }))
  const long = meters.flatMap((meter) => Array.from({ length: 250 }, () => meter.run(() => sleep(3_000))))
  const short = meters.map((meter) => meter.runOnEach(Array(500), () => sleep(20)))
  await pass(6_000)
  await Promise.all([...long, ...short])
  expect(events).toEqual([])
  expect(new Set(trouble.messages.map(({ session }) => session)).size).toBe(4)
})

it("a permit that comes back wakes one process, not all that wait", async () => {
  const inner = memoryStore()
  let woken = 0
  const store = withWakes(inner, (name, session, listener) =>
    inner.onWake(name, session, () => {
      woken++
      listener()
    })
  )
  const meters = Array.from({ length: 20 }, () => createMeter({ store, name: "api", maxAtOnce: 1 }))
  const runs = meters.map((meter) => meter.run(() => sleep(10)))
  await pass(400)
  await Promise.all(runs)
  expect(woken).toBe(19)
})

it("a thousand calls while the store is out of reach are one message now and then, and none of them starts", async () => {
  const [store, trouble] = troubledStore({})
  const meter = createMeter({ store, name: "api", maxAtOnce: 2_000 })
  trouble.isCut = true
  let started = 0
  const runs = Array.from({ length: 1_000 }, () => meter.run(() => void started++))
  await pass(5_000)
  expect(started).toBe(0)
  expect(trouble.messages.length).toBeLessThan(13)
  trouble.isCut = false
  await pass(2_000)
  await Promise.all(runs)
  expect(started).toBe(1_000)
})

it("nor do a thousand calls reconnect while the server is down: each session opens the connection for wake-ups once", async () => {
  let opened = 0
  let sent = 0
  let started = 0
  const duplicate = () => {
    opened++
    const fail = () => Promise.reject(new Error("the server is down"))
    return { on: () => {}, unref: () => {}, connect: fail, subscribe: fail, unsubscribe: fail, destroy: () => {} }
  }
  const client = {
    duplicate,
    destroy: () => {},
    sendCommand: () => {
      sent++
      return Promise.reject(new Error("the server is down"))
    }
  }
  const meter = createMeter({ store: redisStore(client), name: "api", maxPerSecond: 2_000 })
  const runs = Array.from({ length: 1_000 }, () => meter.run(() => void started++).catch(() => {}))
  await pass(60_000)
  expect(started).toBe(0)
  // Attempts, and one look at the eviction policy.
  expect(sent).toBeLessThan(200)
  // A lease that begins so late would be over soon, so the session begins anew after a third of it.
  expect(opened).toBeLessThanOrEqual(60_000 / (5_000 / 3) + 1)
  const closed = meter.close("over")
  await pass(2_000)
  await Promise.all([closed, ...runs])
})
