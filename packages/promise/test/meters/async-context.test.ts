/** A task runs in the `AsyncLocalStorage` context of its own caller, whatever has admitted it. */
import { AsyncLocalStorage } from "node:async_hooks"
import { describe, expect, it, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Limits, Meter } from "../../src/index.ts"
import { expectNoUnhandledRejection, naturals, pass, sleep, useVirtualTime, value } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const storage = new AsyncLocalStorage<string>()

/** All ways to run three tasks on a meter; each task notes whose it is taken to be. */
const callers: ReadonlyArray<readonly [string, (meter: Meter, task: () => Promise<void>) => Promise<unknown>]> = [
  ["runOnEach", (meter, task) => runOnEach(naturals(3), task, { meter })],
  ["runAll", (meter, task) => runAll(naturals(3), task, { meter })],
  ["runAll of functions", (meter, task) => runAll([task, task, task], { meter })],
  ["amap", (meter, task) => Array.fromAsync(amap(naturals(3), task, { meter }))],
  [
    "runAny",
    (meter, task) => runAny(naturals(3), () => task().then(() => Promise.reject("lost")), { meter }).catch(() => {})
  ],
  ["meter.run", (meter, task) => Promise.all([...naturals(3)].map(() => meter.run(task)))]
]

const table: ReadonlyArray<{ readonly name: string; readonly limits: Limits }> = [
  { name: "maxAtOnce", limits: { maxAtOnce: 1 } },
  { name: "maxPerSecond", limits: { maxPerSecond: 50 } },
  { name: "a window", limits: { windows: { any: { limit: 2, per: 30 } } } },
  { name: "all together", limits: { maxAtOnce: 2, maxPerSecond: 100, windows: { any: { limit: 3, per: 40 } } } }
]

describe.each(table)("a meter that is shared, under $name", ({ limits }) => {
  const seen = (): { readonly task: (name: string) => () => Promise<void>; readonly stores: Array<string> } => {
    const stores: Array<string> = []
    const task = (name: string) => async () => {
      stores.push(`${name} as ${storage.getStore()}`)
      await sleep(7)
      stores.push(`${name} as ${storage.getStore()}`)
    }
    return { task, stores }
  }

  const expectOwn = (stores: ReadonlyArray<string>): void => {
    expect(stores.length).toBe(callers.length * 6)
    expect(stores.filter((each) => each.split(" as ")[0] !== each.split(" as ")[1])).toEqual([])
  }

  it("each caller's tasks run as that caller's", async () => {
    const meter = createMeter(limits)
    const { stores, task } = seen()
    const all = callers.map(([name, call]) => storage.run(name, () => call(meter, task(name))))
    await value(Promise.all(all))
    expectOwn(stores)
  })

  it("so they do when a pause ends, a resize makes room, or a waiter is aborted", async () => {
    const meter = createMeter(limits)
    const { stores, task } = seen()
    const controller = new AbortController()
    meter.pause()
    const first = meter.run(() => {}, { signal: controller.signal }).catch(() => {})
    const all = callers.map(([name, call]) => storage.run(name, () => call(meter, task(name))))
    storage.run("whoever aborts", () => controller.abort())
    await pass(20)
    storage.run("whoever resumes", () => meter.resume())
    await pass(20)
    storage.run("whoever resizes", () => meter.resize({ maxAtOnce: 5, maxPerSecond: 1000 }))
    await value(Promise.all([first, ...all]))
    expectOwn(stores)
  })

  it("so they do under two meters, and under a key's", async () => {
    const older = createMeter({ maxAtOnce: 1 })
    const hosts = createKeyedMeter<string>(limits)
    const stores: Array<string> = []
    const all = ["a", "b", "c", "d"].map((name) =>
      storage.run(name, () =>
        runOnEach(
          naturals(4),
          async () => {
            stores.push(`${name} as ${storage.getStore()}`)
            await sleep(5)
          },
          { meter: [hosts.for("one"), older] }
        )
      )
    )
    await value(Promise.all(all))
    expect(stores.length).toBe(16)
    expect(stores.filter((each) => each.split(" as ")[0] !== each.split(" as ")[1])).toEqual([])
  })
})

it("what a correction lets start runs as its own caller's", async () => {
  const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
  const first = storage.run("first", () =>
    meter.run(
      async ({ correct }) => {
        await sleep(10)
        correct({ tokens: 1 })
      },
      { cost: { tokens: 10 } }
    )
  )
  const second = storage.run("second", () => meter.run(() => storage.getStore()))
  expect(await value(second)).toBe("second")
  await value(first)
})

it("the cost function and the source are called in the caller's context", async () => {
  const meter = createMeter({ maxAtOnce: 1, windows: { tokens: { limit: 100, per: 1000 } } })
  const stores: Array<string | undefined> = []
  function* items() {
    for (const n of naturals(3)) {
      stores.push(storage.getStore())
      yield n
    }
  }
  const call = () =>
    runOnEach(items(), () => sleep(5), {
      meter,
      cost: () => {
        stores.push(storage.getStore())
        return {}
      }
    })
  const mine = storage.run("mine", call)
  const other = storage.run("other", () => runOnEach(naturals(5), () => sleep(5), { meter }))
  await value(Promise.all([mine, other]))
  expect(stores).toEqual(Array.from({ length: 6 }, () => "mine"))
})

it("calls so large that they yield: no task runs in another caller's context", async () => {
  const meter = createMeter({ maxAtOnce: 20 })
  const wrong = new Map<string, number>()
  let count = 0
  const note = (name: string) => {
    count += 1
    const store = `${storage.getStore()}`
    if (store !== name) wrong.set(`${name} as ${store}`, (wrong.get(`${name} as ${store}`) ?? 0) + 1)
  }
  const all = ["a", "b", "c"].flatMap((name) =>
    storage.run(name, () => [
      runOnEach(naturals(20_000), () => note(name)),
      runOnEach(naturals(20_000), async () => note(name), { maxAtOnce: 5 }),
      runOnEach(naturals(20_000), async () => note(name), { meter })
    ])
  )
  await value(Promise.all(all))
  expect(count).toBe(180_000)
  expect(Object.fromEntries(wrong)).toEqual({})
})

it("a run whose start becomes possible between two readings of the clock starts at once, in its caller's context", async () => {
  const meter = createMeter({ maxPerSecond: 10 })
  await value(runOnEach([1], () => {}, { maxPerSecond: 1000 }))
  await value(meter.run(() => 1))
  // Each reading of the clock takes 60 ms: the first one is too early for the next start, the second is not.
  let millis = performance.now()
  const clock = vi.spyOn(performance, "now").mockImplementation(() => (millis += 60))
  const seen: Array<string | undefined> = []
  const run = storage.run("mine", () => meter.run(() => void seen.push(storage.getStore())))
  expect(seen).toEqual(["mine"])
  expect(clock.mock.calls.length).toBeGreaterThan(1)
  await run
  expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 2 })
})
