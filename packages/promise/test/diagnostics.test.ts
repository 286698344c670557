/** Messages on the diagnostics channels, at exact instants of virtual time. */
/* oxlint-disable unicorn/no-thenable -- a task may return one */
import { AsyncLocalStorage } from "node:async_hooks"
import { execFile } from "node:child_process"
import { channel, subscribe, unsubscribe } from "node:diagnostics_channel"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterEach, describe, expect, it, vi } from "vitest"
import { combineMeters, createKeyedMeter, createMeter, runAll } from "../src/index.ts"
import type { EndMessage, EnqueueMessage, Meter, PauseMessage, RefuseMessage, StartMessage } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const events = ["enqueue", "start", "end", "refuse", "pause"] as const
type Event = (typeof events)[number]
type Message = EnqueueMessage | StartMessage | EndMessage | RefuseMessage | PauseMessage

const subscriptions: Array<() => void> = []

const on = (event: Event, f: (message: any) => void): void => {
  const name = `fibermeter:${event}`
  subscribe(name, f)
  subscriptions.push(() => unsubscribe(name, f))
}

const cancelSubscriptions = (): void => {
  for (const cancel of subscriptions.splice(0)) cancel()
}

afterEach(cancelSubscriptions)

/** What has been published, with instants since the test began, and tasks numbered from 0. */
interface Published {
  readonly all: ReadonlyArray<readonly [Event, Readonly<Record<string, unknown>>]>
  /** The given properties of the messages of that channel. */
  readonly of: (event: Event, ...properties: ReadonlyArray<string>) => ReadonlyArray<unknown>
}

const record = (from: ReadonlyArray<Event> = events): Published => {
  const all: Array<[Event, Record<string, unknown>]> = []
  const origin = performance.now()
  let first: number | undefined
  const relative = (message: Message): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(message).map(([name, value]): [string, unknown] => {
        if (name === "id") return [name, value - (first ??= value)]
        const isInstant = name === "at"
        return [name, isInstant ? value - origin : value]
      })
    )
  for (const event of from) on(event, (message: Message) => all.push([event, relative(message)]))
  return {
    all,
    of: (event, ...properties) =>
      all.filter(([name]) => name === event).map(([, message]) => properties.map((name) => message[name]))
  }
}

const meter = { name: "api", key: undefined }

it("a task that waits is enqueued, started and ended, with its times", async () => {
  const published = record()
  const api = createMeter({ name: "api", maxAtOnce: 1, windows: { tokens: { limit: 9, per: 1000 } } })
  const calls = [api.run(() => sleep(10)), api.run(() => sleep(5), { cost: { tokens: 3 }, priority: 2, lane: "a" })]
  await value(Promise.all(calls))
  expect(published.all).toEqual([
    ["start", { ...meter, id: 0, at: 0, waitTime: undefined }],
    ["enqueue", { ...meter, id: 1, at: 0, permits: 1, priority: 2, lane: "a", cost: { tokens: 3 } }],
    ["end", { ...meter, id: 0, at: 10, runTime: 10, outcome: "success", error: undefined }],
    ["start", { ...meter, id: 1, at: 10, waitTime: 10 }],
    ["end", { ...meter, id: 1, at: 15, runTime: 5, outcome: "success", error: undefined }]
  ])
})

it("a permit is a task from its start to its release", async () => {
  const published = record()
  const api = createMeter({ name: "api", maxAtOnce: 1 })
  const first = await value(api.acquire())
  const second = api.acquire({ permits: 1, lane: "a" })
  await pass(10)
  first.release()
  const { release } = await value(second)
  await pass(5)
  void api.close()
  release()
  await flush()
  expect(published.all).toEqual([
    ["start", { ...meter, id: 0, at: 0, waitTime: undefined }],
    ["enqueue", { ...meter, id: 1, at: 0, permits: 1, priority: 0, lane: "a", cost: undefined }],
    ["start", { ...meter, id: 1, at: 10, waitTime: 10 }],
    ["end", { ...meter, id: 0, at: 10, runTime: 10, outcome: "success", error: undefined }],
    ["end", { ...meter, id: 1, at: 15, runTime: 5, outcome: "cancelled", error: undefined }]
  ])
})

it("a meter needs no name", async () => {
  const published = record()
  await value(createMeter({}).run(() => 1))
  expect(published.of("start", "name", "key")).toEqual([[undefined, undefined]])
  expect(published.of("end", "name", "key")).toEqual([[undefined, undefined]])
})

/** Those that start all of two tasks, if the tasks of `runAny` fail. */
const complete = verbs.filter(({ name }) => name !== "runAny until one settles")

describe.each(complete)("$name", ({ call, verb }) => {
  const isRace = verb === "runAny"
  const tasks = () =>
    probe((index) => ({ ms: index === 0 ? 4 : 2, ...(isRace ? { rejects: { reason: new Error("lost") } } : {}) }))

  it("publishes the tasks under a meter", async () => {
    const published = record()
    const api = createMeter({ name: "api", maxAtOnce: 1 })
    await settle(call([1, 2], tasks(), { meter: api }).promise)
    const outcome = isRace ? "failure" : "success"
    expect(published.all.map(([event, message]) => [event, message["name"], message["id"], message["at"]])).toEqual([
      ["start", "api", 0, 0],
      ["enqueue", "api", 1, 0],
      ["end", "api", 0, 4],
      ["start", "api", 1, 4],
      ["end", "api", 1, 6]
    ])
    expect(published.of("end", "runTime", "outcome")).toEqual([
      [4, outcome],
      [2, outcome]
    ])
    expect(published.of("start", "waitTime")).toEqual([[undefined], [4]])
  })

  it("publishes nothing of its own limits, nor of a call without limits", async () => {
    createMeter({})
    const published = record()
    await settle(call([1, 2], tasks(), { maxPerSecond: 100 }).promise)
    await settle(call([1, 2], tasks(), {}).promise)
    expect(published.all).toEqual([])
  })

  it("publishes that a task which waits is dropped when its call ends", async () => {
    const published = record(["refuse"])
    const api = createMeter({ name: "api", maxAtOnce: 1 })
    const controller = new AbortController()
    const promise = call([1, 2], tasks(), { meter: api, signal: controller.signal }).promise
    const seen = watch(promise)
    await pass(3)
    controller.abort(new Error("enough"))
    await flush()
    expect(seen.outcome?.status).toBe("rejected")
    expect(published.of("refuse", "at", "waitTime", "reason")).toEqual([[3, 3, "cancelled"]])
  })
})

describe("the outcome of a task", () => {
  const outcomesOf = async (start: (api: Meter) => unknown): Promise<ReadonlyArray<unknown>> => {
    const published = record(["end"])
    await settle(Promise.resolve().then(() => start(createMeter({ name: "api" }))))
    await pass(100)
    return published.of("end", "outcome", "error", "runTime")
  }
  const error = new Error("failed")

  it("success, of a task that returns a value, a promise or a thenable", async () => {
    const then = vi.fn<(resolve: (value: number) => void) => void>((resolve) => resolve(1))
    expect(await outcomesOf((api) => api.run(() => 1))).toEqual([["success", undefined, 0]])
    expect(await outcomesOf((api) => api.run(() => sleep(5)))).toEqual([["success", undefined, 5]])
    expect(await outcomesOf((api) => api.run(() => ({ then }) as unknown as Promise<number>))).toEqual([
      ["success", undefined, 0]
    ])
    expect(then).toHaveBeenCalledTimes(1)
  })

  it("failure, of a task that throws or rejects", async () => {
    const throwing = (): never => {
      throw error
    }
    expect(await outcomesOf((api) => api.run(throwing))).toEqual([["failure", error, 0]])
    expect(await outcomesOf((api) => api.run(() => sleep(5).then(throwing)))).toEqual([["failure", error, 5]])
  })

  it("cancelled, of a task whose signal has aborted", async () => {
    expect(await outcomesOf((api) => api.run(() => sleep(5), { timeout: 3 }))).toEqual([["cancelled", undefined, 5]])
    expect(await outcomesOf((api) => api.runAny([() => sleep(5), () => sleep(1)]))).toEqual([
      ["success", undefined, 1],
      ["cancelled", undefined, 5]
    ])
  })

  it("each attempt is reported as a task", async () => {
    const published = record(["start", "end"])
    const api = createMeter({ name: "api" })
    let attempts = 0
    const flaky = (): number => {
      if (++attempts < 3) throw error
      return attempts
    }
    expect(await value(api.run(flaky, { retry: { times: 5, delay: 10 } }))).toBe(3)
    attempts = 0
    expect(await value(runAll([1], flaky, { meter: api, retry: { times: 5, delay: 10 } }))).toEqual([3])
    const attempt = (id: number, at: number, outcome: string) => [
      [id, at],
      [id, at, outcome]
    ]
    expect(published.of("start", "id", "at")).toEqual(
      [0, 1, 2, 3, 4, 5].map((id) => attempt(id, [0, 10, 20][id % 3]! + (id < 3 ? 0 : 20), "")[0])
    )
    expect(published.of("end", "outcome").flat()).toEqual([
      "failure",
      "failure",
      "success",
      "failure",
      "failure",
      "success"
    ])
  })
})

describe("a refused task", () => {
  const busy = (options: object): Meter => {
    const api = createMeter({ name: "api", maxAtOnce: 1, ...options })
    void watch(api.run(() => sleep(50)))
    return api
  }
  const waitFor = async (promise: Promise<unknown> | undefined): Promise<void> => {
    await rejection(promise!)
  }

  it.each<[reason: string, refuse: (api: Meter) => Promise<unknown>, options: object, about: object]>([
    ["queue-full", (api) => api.run(() => 1), { maxWaiting: 0 }, {}],
    ["wait-timeout", (api) => api.run(() => 1), { waitTimeout: 7 }, { at: 7, waitTime: 7 }],
    ["wait-timeout", (api) => api.run(() => 1), { waitTimeout: 0 }, {}],
    ["excessive", (api) => api.run(() => 1, { permits: 2 }), {}, {}],
    ["excessive", (api) => api.run(() => 1, { cost: { n: 6 } }), { windows: { n: { limit: 5, per: 10 } } }, {}],
    ["excessive", (api) => runAll([1], () => 1, { meter: api, permits: 2 }), {}, {}],
    ["aborted before", (api) => api.run(() => 1, { signal: AbortSignal.abort() }), {}, { isSilent: true }]
  ])("%s", async (reason, refuse, options, about) => {
    const api = busy(options)
    const published = record(["refuse"])
    await waitFor(refuse(api))
    const expected = { ...meter, id: 0, at: 0, waitTime: undefined, reason, ...about }
    expect(published.all).toEqual("isSilent" in about ? [] : [["refuse", expected]])
  })

  it("closed, by a meter that drains or is closed", async () => {
    const api = busy({})
    const published = record(["refuse"])
    const drained = api.drain()
    await waitFor(api.run(() => 1))
    await waitFor(runAll([1], () => 1, { meter: api }))
    await value(drained)
    await waitFor(api.run(() => 1))
    expect(published.of("refuse", "name", "at", "reason")).toEqual([
      ["api", 0, "closed"],
      ["api", 0, "closed"],
      ["api", 50, "closed"]
    ])
  })

  it("cancelled, by clear, close, or a signal that aborts", async () => {
    const published = record(["refuse"])
    const api = busy({})
    const controller = new AbortController()
    const calls = [
      api.run(() => 1, { signal: controller.signal }),
      api.run(() => 1),
      api.run(() => 1, { retry: { times: 3 } })
    ]
    const seen = calls.map(watch)
    await pass(2)
    controller.abort()
    await pass(2)
    api.clear()
    const late = watch(api.run(() => 1))
    await pass(2)
    void api.close()
    await flush()
    expect([...seen, late].map(({ outcome }) => outcome?.status)).toEqual(Array(4).fill("rejected"))
    expect(published.of("refuse", "at", "waitTime", "reason")).toEqual([
      [2, 2, "cancelled"],
      [4, 4, "cancelled"],
      [4, 4, "cancelled"],
      [6, 2, "cancelled"]
    ])
  })

  it("failed, by a store that fails", async () => {
    const published = record(["start", "refuse", "pause"])
    let meter: { readonly fail: (error: unknown) => void } | undefined
    const limit = {
      isPaused: false,
      attach: (attached: typeof meter) => {
        meter = attached
      },
      // It never grants anything.
      opensIn: () => Number.POSITIVE_INFINITY,
      added: () => {},
      rest: () => {},
      pause: () => {}
    }
    const store = { version: 1 as const, limit: () => limit }
    const api = createMeter({ name: "api", maxAtOnce: 1, store })
    const waiting = watch(api.run(() => 1))
    await pass(3)
    api.pause(5)
    api.resume()
    meter!.fail(new Error("unreachable"))
    await waitFor(api.run(() => 1))
    expect(waiting.outcome?.status).toBe("rejected")
    expect(
      published.all.map(([event, { at, duration, reason, waitTime }]) => [event, at, reason ?? duration, waitTime])
    ).toEqual([
      ["pause", 3, 5, undefined],
      ["pause", 3, 0, undefined],
      ["refuse", 3, "failed", 3],
      ["refuse", 3, "failed", undefined]
    ])
  })

  it("is not a task that has waited before", async () => {
    // A verb asks for all its items with one request.
    const published = record(["enqueue", "refuse"])
    const api = createMeter({ name: "api", maxAtOnce: 1, windows: { n: { limit: 5, per: 1000 } } })
    const cost = (n: number) => ({ n })
    await waitFor(runAll([1, 1, 6], () => sleep(10), { meter: api, cost }))
    expect(published.of("refuse", "id", "at", "waitTime", "reason")).toEqual([[1, 10, undefined, "excessive"]])
  })
})

describe("pauses", () => {
  it("are published with their duration, 0 when they end", async () => {
    const published = record()
    const api = createMeter({ name: "api" })
    api.pause("1 second")
    await pass(5)
    api.resume()
    api.pause()
    expect(published.all).toEqual([
      ["pause", { ...meter, at: 0, duration: 1000 }],
      ["pause", { ...meter, at: 5, duration: 0 }],
      ["pause", { ...meter, at: 5, duration: Infinity }]
    ])
  })

  it("include those of a Retry-After", async () => {
    const published = record(["pause"])
    const api = createMeter({ name: "api" })
    let attempts = 0
    const ask = (): string => {
      if (++attempts === 1) throw Object.assign(new Error("429"), { headers: { "retry-after": "2" } })
      return "fine"
    }
    expect(await value(api.run(ask, { retry: { times: 1 } }))).toBe("fine")
    expect(published.of("pause", "name", "at", "duration")).toEqual([["api", 0, 2000]])
  })
})

describe("several meters", () => {
  it("each of them reports the task, with the same id", async () => {
    const published = record()
    const [program, api] = [createMeter({ name: "program", maxAtOnce: 1 }), createMeter({ name: "api" })]
    const both = combineMeters(program, api)
    await value(Promise.all([both.run(() => sleep(3)), both.run(() => sleep(3))]))
    for (const event of ["start", "end"] as const) {
      const pairs = published.of(event, "name", "id") as ReadonlyArray<readonly [string, number]>
      expect(pairs.map(([name, id]) => `${name} ${id}`).toSorted()).toEqual([
        "api 0",
        "api 1",
        "program 0",
        "program 1"
      ])
    }
    expect(new Set(published.of("enqueue", "name").flat())).toEqual(new Set(["api", "program"]))
  })

  it("those of a family have its name and their key", async () => {
    const published = record()
    const hosts = createKeyedMeter<string>({ name: "hosts", maxAtOnce: 1 })
    await value(Promise.all(["a", "b"].map((host) => hosts.for(host).run(() => 1))))
    expect(published.of("start", "name", "key")).toEqual([
      ["hosts", "a"],
      ["hosts", "b"]
    ])
  })
})

it("each item is reported by the meters that it has", async () => {
  const published = record()
  const hosts = createKeyedMeter<string>({ name: "hosts", maxAtOnce: 1 })
  const program = createMeter({ name: "program" })
  const controller = new AbortController()
  const call = runAll(["a", "a", "b", "a"], (host) => sleep(host === "a" ? 10 : 5), {
    meter: (host) => [program, hosts.for(host)],
    signal: controller.signal
  })
  const seen = watch(call)
  await pass(15)
  controller.abort()
  await flush()
  expect(seen.outcome?.status).toBe("rejected")
  const messages = published.all.filter(([, { name }]) => name === "hosts")
  expect(messages.map(([event, { at, key, waitTime }]) => [at, event, key, waitTime])).toEqual([
    [0, "start", "a", undefined],
    [0, "enqueue", "a", undefined],
    [0, "start", "b", undefined],
    [0, "enqueue", "a", undefined],
    [5, "end", "b", undefined],
    [10, "end", "a", undefined],
    [10, "start", "a", 10],
    [15, "refuse", "a", 15]
  ])
  expect(published.of("start", "name")).toHaveLength(6)
})

describe("subscribers", () => {
  it("get a start in the async context of its caller", async () => {
    const storage = new AsyncLocalStorage<string>()
    const contexts: Array<unknown> = []
    on("enqueue", () => contexts.push(["enqueue", storage.getStore()]))
    on("start", () => contexts.push(["start", storage.getStore()]))
    const api = createMeter({ maxAtOnce: 1 })
    const call = (name: string) => storage.run(name, () => api.run(() => sleep(1)))
    const verb = storage.run("verb", () => runAll([1], () => sleep(1), { meter: api }))
    await value(Promise.all([call("first"), call("second"), verb]))
    expect(contexts).toEqual([
      ["start", "verb"],
      ["enqueue", "first"],
      ["enqueue", "second"],
      ["start", "first"],
      ["start", "second"]
    ])
  })

  it("may use the meter: limits and order hold", async () => {
    const api = createMeter({ name: "api", maxAtOnce: 1 })
    const order: Array<string> = []
    const inner: Array<Promise<unknown>> = []
    let running = 0
    let peak = 0
    const task = (name: string) => async () => {
      order.push(name)
      peak = Math.max(peak, ++running)
      await sleep(1)
      running--
    }
    const budget: Record<Event, number> = { enqueue: 1, start: 1, end: 1, refuse: 1, pause: 1 }
    for (const event of events) {
      on(event, () => {
        if (budget[event]-- > 0) inner.push(api.run(task(`in ${event}`)))
        api.snapshot()
      })
    }
    const controller = new AbortController()
    const calls = ["a", "b", "c"].map((name) => api.run(task(name)))
    const aborted = watch(api.run(task("never"), { signal: controller.signal }))
    controller.abort()
    api.pause(2)
    await value(Promise.all(calls))
    await value(Promise.all(inner))
    expect(aborted.outcome?.status).toBe("rejected")
    expect(peak).toBe(1)
    expect(order.toSorted()).toEqual(["a", "b", "c", "in end", "in enqueue", "in pause", "in refuse", "in start"])
    expect(api.snapshot()).toMatchObject({ running: 0, waiting: 0 })
  })

  it("that come later get no end of a task whose start they could not get", async () => {
    const api = createMeter({ maxAtOnce: 1 })
    const first = api.run(() => sleep(10))
    const second = api.run(() => sleep(10))
    await pass(5)
    const published = record()
    await value(Promise.all([first, second]))
    expect(published.all.map(([event, { at, waitTime }]) => [event, at, waitTime])).toEqual([
      ["start", 5, undefined],
      ["end", 15, undefined]
    ])
  })

  it("may be of any of the channels", async () => {
    for (const event of ["enqueue", "start", "end"] as const) {
      const published = record([event])
      const api = createMeter({ maxAtOnce: 1 })
      await value(Promise.all([api.run(() => 1), api.run(() => sleep(1)), api.run(() => 1)]))
      expect(published.all.map(([name]) => name)).toEqual(Array(event === "enqueue" ? 1 : 3).fill(event))
      cancelSubscriptions()
    }
  })

  it("that throw do not affect calls: the host reports an uncaught exception", async () => {
    const index = fileURLToPath(new URL("../src/index.ts", import.meta.url))
    const program = `
      import { subscribe } from "node:diagnostics_channel"
      import { createMeter, runAll } from ${JSON.stringify(index)}
      let uncaught = 0
      process.on("uncaughtException", () => uncaught++)
      for (const event of ${JSON.stringify(events)}) {
        subscribe("fibermeter:" + event, () => { throw new Error(event) })
      }
      const meter = createMeter({ maxAtOnce: 1, maxWaiting: 1 })
      const task = () => new Promise((resolve) => setTimeout(resolve, 1, "done"))
      const calls = [meter.run(task), meter.run(task), meter.run(task)]
      const results = (await Promise.allSettled(calls)).map(({ status }) => status)
      results.push(...(await runAll([1, 2], task, { meter })))
      meter.pause(1)
      await new Promise((resolve) => setImmediate(resolve))
      const { running, waiting } = meter.snapshot()
      console.log(JSON.stringify({ results, running, waiting, uncaught }))
    `
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program])
    expect(JSON.parse(stdout)).toEqual({
      results: ["fulfilled", "fulfilled", "rejected", "done", "done"],
      running: 0,
      waiting: 0,
      // Four starts and ends, two tasks that wait, one refusal, one pause.
      uncaught: 12
    })
  })
})

it("without subscribers, nothing is measured", async () => {
  const api = createMeter({ name: "api", maxAtOnce: 1 })
  const clock = vi.spyOn(performance, "now")
  const readings = async (): Promise<number> => {
    clock.mockClear()
    await value(Promise.all([api.run(() => 1), api.run(() => 2), runAll([1], () => 1, { meter: api })]))
    await rejection(api.run(() => 1, { permits: 2 }))
    return clock.mock.calls.length
  }
  const before = await readings()
  record(["pause"])
  expect(await readings()).toBe(before)
  record(["start"])
  expect(await readings()).toBeGreaterThan(before)
  cancelSubscriptions()
  expect(await readings()).toBe(before)
})

it("a host whose channels throw what a subscriber throws: it is an uncaught exception, and the call is not affected", async () => {
  // As on Cloudflare Workers.
  const published: Array<string> = []
  const channelOf = (name: string) => ({
    hasSubscribers: true,
    publish: () => {
      published.push(name)
      throw new Error(name)
    }
  })
  const getBuiltinModule = (id: string) => (id === "node:diagnostics_channel" ? { channel: channelOf } : undefined)
  vi.stubGlobal("process", Object.assign(Object.create(process), { getBuiltinModule }))
  const uncaught: Array<() => void> = []
  vi.spyOn(globalThis, "queueMicrotask").mockImplementation((f) => void uncaught.push(f))
  vi.resetModules()
  const { createMeter } = await import("../src/index.ts")
  const api = createMeter({ name: "api", maxAtOnce: 1, maxWaiting: 1 })
  const calls = [api.run(() => sleep(1)), api.run(() => 2), api.run(() => 3)]
  const outcomes = await value(Promise.allSettled(calls))
  vi.unstubAllGlobals()
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"])
  expect(api.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 2 })
  expect(published).toHaveLength(6)
  expect(uncaught).toHaveLength(6)
  for (const f of uncaught) expect(f).toThrow("fibermeter:")
})

describe("a host without diagnostics channels", () => {
  it.each([
    ["no built-in modules", { getBuiltinModule: undefined }],
    ["no such module", { getBuiltinModule: () => undefined }]
  ])("%s: meters work, and publish nothing", async (_, process) => {
    vi.stubGlobal("process", Object.assign(Object.create(globalThis.process), process))
    vi.resetModules()
    const { createMeter } = await import("../src/index.ts")
    vi.unstubAllGlobals()
    const published = record()
    vi.stubGlobal("process", Object.assign(Object.create(globalThis.process), process))
    const api = createMeter({ name: "api", maxAtOnce: 1 })
    const calls = [api.run(() => sleep(1)), api.run(() => 2), api.runAll([3], (n) => n)]
    api.pause(1)
    expect(await value(Promise.all(calls))).toEqual([undefined, 2, [3]])
    void api.close()
    await rejection(api.run(() => 1))
    vi.unstubAllGlobals()
    expect(published.all).toEqual([])
  })
})

it("channels are those that programs get by name", async () => {
  const seen: Array<unknown> = []
  const start = channel("fibermeter:start")
  const f = (message: unknown): void => void seen.push(message)
  start.subscribe(f)
  subscriptions.push(() => start.unsubscribe(f))
  await value(createMeter({ name: "api" }).run(() => 1))
  expect(seen).toMatchObject([{ name: "api", waitTime: undefined }])
})
