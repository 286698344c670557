/** `createKeyedMeter`: the same limits for each key. */
import { describe, expect, it, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../../src/index.ts"
import {
  durations,
  expectFree,
  expectNoUnhandledRejection,
  flush,
  naturals,
  now,
  pass,
  probe,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "../support.ts"
import { planFor, predictStarts } from "../support/meterModel.ts"

useVirtualTime()
expectNoUnhandledRejection()

const tasks = durations.slice(0, 6).map((ms) => ({ ms }))

const table = [
  { name: "maxAtOnce", limits: { maxAtOnce: 2 } },
  { name: "maxPerSecond", limits: { maxPerSecond: 5 } },
  { name: "a window", limits: { windows: { any: { limit: 2, per: 700 } } } },
  { name: "all together", limits: { maxAtOnce: 2, maxPerSecond: 5, windows: { any: { limit: 3, per: 1500 } } } }
] as const

describe.each(table)("each key is a meter of its own, under $name", ({ limits }) => {
  it.each(verbs.filter(({ verb }) => verb !== "runAny"))("$name: keys do not wait for each other", async (verb) => {
    const hosts = createKeyedMeter<string>(limits)
    const probes = ["a", "b", "c"].map(() => probe(planFor(verb, tasks)))
    const calls = ["a", "b", "c"].map((key, i) =>
      verb.call([0, 1, 2, 3, 4, 5], probes[i]!, { meter: hosts.for(key), maxUnread: Infinity })
    )
    await value(Promise.all(calls.map(({ promise }) => promise)))
    for (const { starts } of probes) expect(starts).toEqual(predictStarts(tasks, limits))
  })

  it("run: calls for the same key share it", async () => {
    const hosts = createKeyedMeter<string>(limits)
    const p = probe((i) => tasks[i]!)
    await value(
      Promise.all(tasks.map((_, index) => hosts.for("a").run(({ signal }) => p.task(index, { index, signal }))))
    )
    expect(p.starts).toEqual(predictStarts(tasks, limits))
  })
})

it("a slow key does not hold back others", async () => {
  const hosts = createKeyedMeter<string>({ maxAtOnce: 1, windows: { any: { limit: 3, per: 1000 } } })
  const slow = watch(hosts.for("slow").run(() => sleep(100_000)))
  const behind = watch(hosts.for("slow").run(() => 1))
  const fast = probe(() => ({ ms: 10 }))
  await value(runOnEach(naturals(6), (n, context) => hosts.for("fast").run(() => fast.task(n, context))))
  expect(fast.starts).toEqual([0, 10, 20, 1000, 1010, 1020])
  expect([slow.outcome, behind.outcome]).toEqual([undefined, undefined])
  await pass(100_000)
  expect(behind.outcome).toMatchObject({ status: "fulfilled", at: 100_000 })
})

it("a key that is paused does not hold back others, and others' pauses not it", async () => {
  const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
  hosts.for("a").pause("1 second")
  expect(await value(hosts.for("b").run(() => now()))).toBe(0)
  expect(await value(hosts.for("a").run(() => now()))).toBe(1000)
})

it("a failing key harms no other", async () => {
  const hosts = createKeyedMeter<number>({ maxAtOnce: 1 })
  const bad = watch(hosts.for(0).run(() => Promise.reject("bad")))
  const good = watch(hosts.for(1).run(() => "good"))
  await flush()
  expect([bad.outcome, good.outcome]).toMatchObject([{ reason: "bad" }, { value: "good" }])
})

it("an item's own key decides, inside of a call that has a meter for all of them", async () => {
  const all = createMeter({ maxAtOnce: 3 })
  const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
  let most = 0
  const running = new Map<string, number>()
  const load = (host: string) =>
    hosts.for(host).run(async () => {
      const mine = (running.get(host) ?? 0) + 1
      running.set(host, mine)
      most = Math.max(most, mine)
      await sleep(10)
      running.set(host, mine - 1)
      return host
    })
  const urls = ["a", "a", "b", "a", "c", "b"]
  expect(await value(runAll(urls, load, { meter: all }))).toEqual(urls)
  expect(most).toBe(1)
})

describe("keys", () => {
  it("are compared as in a Map", async () => {
    const meters = createKeyedMeter<unknown>({ maxAtOnce: 1 })
    const object = {}
    const pairs: ReadonlyArray<readonly [unknown, unknown, boolean]> = [
      ["a", "a", true],
      [1, "1", false],
      [Number.NaN, Number.NaN, true],
      [0, -0, true],
      [undefined, null, false],
      [object, object, true],
      [{}, {}, false]
    ]
    for (const [one, other, isSame] of pairs) {
      const first = meters.for(one).run(() => sleep(10))
      const second = watch(meters.for(other).run(() => "started"))
      await flush()
      expect(second.outcome === undefined, `${String(one)} and ${String(other)}`).toBe(isSame)
      await value(first)
      await flush()
    }
  })

  it("a kept meter and a new one of the same key are one", async () => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    const kept = meters.for("a")
    const running = kept.run(() => sleep(10))
    expect(meters.for("a").snapshot()).toMatchObject({ running: 1, free: 0 })
    await value(running)
    for (let i = 0; i < 20; i++) meters.for(`other ${i}`)
    const again = meters.for("a").run(() => sleep(10))
    expect(kept.snapshot()).toMatchObject({ running: 1, free: 0 })
    await value(again)
  })

  it("two meters of one key in one call count a task once", async () => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    expect(await value(runAll([1, 2], (n) => n, { meter: [meters.for("a"), meters.for("a")] }))).toEqual([1, 2])
    expect(meters.for("a").snapshot().started).toBe(2)
  })
})

describe("idle keys are dropped", () => {
  const limits = {
    maxPerSecond: 10,
    windows: { short: { limit: 5, per: 100 }, long: { limit: 50, per: "1 minute" } }
  } as const

  it("a key counts until its longest window has gone by since its last start", async () => {
    const meters = createKeyedMeter<string>(limits)
    expect(meters.size).toBe(0)
    await value(meters.for("a").run(() => 1))
    await pass(30_000)
    await value(meters.for("b").run(() => 1))
    expect(meters.size).toBe(2)
    await pass(29_999)
    expect(meters.size).toBe(2)
    await pass(1)
    expect(meters.size, "b alone").toBe(1)
    await pass(30_000)
    expect(meters.size).toBe(0)
  })

  it("a key in use is kept, however long that takes", async () => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    const running = meters.for("running").run(() => sleep(600_000))
    const waiting = meters.for("running").run(() => 1)
    meters.for("paused").pause(300_000)
    const held = meters.for("held")
    held.pause()
    await pass(299_999)
    expect(meters.size).toBe(3)
    await pass(1)
    expect(meters.size).toBe(2)
    held.resume()
    expect(meters.size).toBe(1)
    await value(Promise.all([running, waiting]))
    expect(meters.size).toBe(0)
  })

  it("but not by reading the size, which changes nothing", async () => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    await value(meters.for("a").run(() => 1))
    expect(meters.size).toBe(0)
    expect(meters.for("a").snapshot().started).toBe(1)
  })

  it("without a timer", async () => {
    const meters = createKeyedMeter<string>(limits)
    await value(meters.for("a").run(() => 1))
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("in passing: memory does not grow with the number of keys that ever were", async () => {
    const meters = createKeyedMeter<number>({ windows: { any: { limit: 1, per: 10 } } })
    let most = 0
    for (const key of naturals(300)) {
      await value(meters.for(key).run(() => 1))
      await pass(1)
      most = Math.max(most, meters.size)
    }
    // Ten keys have started something in the last ten milliseconds.
    expect(most).toBeLessThanOrEqual(11)
  })

  it("with memory for what was started, not for what the limits allow", async () => {
    const meters = createKeyedMeter<number>({
      maxPerSecond: 60_000,
      maxBurst: 60_000,
      windows: { requests: { limit: 60_000, per: 60_000 } }
    })
    const before = process.memoryUsage().arrayBuffers
    for (const key of naturals(500)) {
      for (const _ of naturals(3)) await value(meters.for(key).run(() => key))
    }
    expect(meters.size).toBe(500)
    // Two histories of 60,000 starts each would be 480 MB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000)
  })

  it("and makes no difference to later calls", async () => {
    const meters = createKeyedMeter<string>({
      maxPerSecond: 10,
      maxBurst: 3,
      windows: { any: { limit: 4, per: 1000 } }
    })
    const starts: Array<number> = []
    const five = () => Promise.all([...naturals(5)].map(() => meters.for("a").run(() => void starts.push(now()))))
    await value(five())
    await pass(10_000)
    expect(meters.size).toBe(0)
    const begin = now()
    await value(five())
    expect(starts.slice(5).map((at) => at - begin)).toEqual(starts.slice(0, 5))
  })

  it("but not what has been changed: a key that was resized stays resized", async () => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    meters.for("a").resize({ maxAtOnce: 2 })
    for (let i = 0; i < 5; i++) await value(meters.for(`other ${i}`).run(() => 1))
    expect(meters.for("a").snapshot().free).toBe(2)
    await expectFree(meters.for("a"), 2)
  })

  it.each(["a source that is slow", "a reader that is slow"])("but not under a call that uses it: %s", async (what) => {
    const meters = createKeyedMeter<string>({ maxAtOnce: 1 })
    let running = 0
    let most = 0
    const task = async () => {
      running += 1
      most = Math.max(most, running)
      await sleep(50)
      running -= 1
    }
    async function* items() {
      for (const n of naturals(3)) {
        if (what === "a source that is slow") await sleep(100)
        yield n
      }
    }
    const read = async () => {
      const options = { meter: meters.for("a"), maxUnread: 1 }
      for await (const _ of amap(items(), task, options)) if (what === "a reader that is slow") await sleep(100)
    }
    const call = watch(read())
    // Between two items of the call, others come by.
    for (let i = 0; i < 12; i++) {
      await pass(61)
      await value(meters.for("b").run(() => 1))
      void watch(meters.for("a").run(task))
      await pass(23)
    }
    await pass(5000)
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
    expect(most, "tasks of one key at once").toBe(1)
  })
})

it("limits of Infinity and runAny work as with any meter", async () => {
  const meters = createKeyedMeter<string>({})
  expect(await value(runAny([() => sleep(10), () => "first"], { meter: meters.for("a") }))).toBe("first")
  await pass(10)
  expect(meters.size).toBe(0)
})

describe("several keys of a family in one call", () => {
  it("each of them is held", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const starts: Array<[string, number]> = []
    const note = (name: string) => starts.push([name, now()])
    const options = { meter: [hosts.for("a"), hosts.for("b")] }
    const calls = [
      runAll([() => (note("both"), sleep(100))], options),
      hosts.for("a").run(() => note("a")),
      hosts.for("b").run(() => note("b"))
    ]
    await value(Promise.all(calls))
    expect(Object.fromEntries(starts)).toEqual({ both: 0, a: 100, b: 100 })
  })
})
