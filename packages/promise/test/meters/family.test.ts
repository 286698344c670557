/** What `createKeyedMeter` can do with all of its keys: list, delete, resize, drain, close. */
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter, runAll } from "../../src/index.ts"
import type { KeyedMeter } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  naturals,
  now,
  pass,
  rejection,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"
import type { Untyped } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const keysOf = <K>(meters: KeyedMeter<K>): ReadonlyArray<K> => Array.from(meters, ([key]) => key)

describe("iteration", () => {
  it("has the keys in use with their meters, in the order in which they came into use", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    expect(keysOf(hosts)).toEqual([])
    const running = ["a", "b", "c"].map((key) => hosts.for(key).run(() => sleep(key === "b" ? 5 : 10)))
    hosts.for("never used").snapshot()
    expect(keysOf(hosts)).toEqual(["a", "b", "c"])
    expect([...hosts.entries()].map(([key]) => key)).toEqual(["a", "b", "c"])
    for (const [, meter] of hosts) expect(meter.snapshot().running).toBe(1)
    await pass(5)
    expect(keysOf(hosts)).toEqual(["a", "c"])
    await value(Promise.all(running))
    expect(keysOf(hosts)).toEqual([])
  })

  it("is of the keys at its beginning, whatever changes meanwhile", async () => {
    const hosts = createKeyedMeter<number>({ windows: { any: { limit: 1, per: 1000 } } })
    for (const key of naturals(5)) await value(hosts.for(key).run(() => key))
    const seen: Array<number> = []
    for (const [key, meter] of hosts) {
      seen.push(key)
      hosts.delete((key + 1) % 5)
      await value(hosts.for(key + 100).run(() => key))
      meter.pause(1)
    }
    expect(seen).toEqual([0, 1, 2, 3, 4])
  })

  it("keeps what is dropped otherwise from being no longer than that", async () => {
    const hosts = createKeyedMeter<string>({ windows: { any: { limit: 1, per: 100 } } })
    await value(hosts.for("a").run(() => 1))
    const [[, kept]] = [...hosts] as [[string, ReturnType<typeof hosts.for>]]
    await pass(100)
    for (const key of naturals(5)) await value(hosts.for(`other ${key}`).run(() => key))
    expect(keysOf(hosts)).not.toContain("a")
    // The meter of a key that has been dropped begins anew, and is the key's again.
    expect(await value(kept.run(() => now()))).toBe(100)
    expect(hosts.for("a").snapshot().room).toEqual({ any: 0 })
  })
})

describe("delete", () => {
  it("rejects the calls that wait and cancels those that run; the key begins anew", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1, windows: { any: { limit: 2, per: 1000 } } })
    const meter = hosts.for("a")
    const signals: Array<AbortSignal> = []
    const running = watch(meter.run(({ signal }) => (signals.push(signal), sleep(50, signal))))
    const waiting = watch(meter.run(() => "never"))
    const verb = watch(runAll([1, 2], () => "never", { meter }))
    const permit = watch(meter.acquire())
    const other = watch(hosts.for("b").run(() => sleep(50)))
    await flush()
    expect(hosts.delete("a", "gone")).toBe(true)
    await flush()
    expect(signals[0]!.reason).toBe("gone")
    for (const { outcome } of [running, waiting, verb, permit]) expect(outcome).toMatchObject({ reason: "gone", at: 0 })
    expect(keysOf(hosts)).toEqual(["b"])
    expect(meter.snapshot()).toMatchObject({ running: 0, started: 0, closed: false, room: { any: 2 } })
    expect(await value(Promise.all([meter.run(() => now()), hosts.for("a").run(() => now())]))).toEqual([0, 0])
    await pass(50)
    expect(other.outcome).toMatchObject({ status: "fulfilled" })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("ends a call whose items have meters of their own, if one of them waits or runs there", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const meter = (key: string) => hosts.for(key)
    const ended = watch(runAll(["a", "b", "a"], (_, { signal }) => sleep(50, signal), { meter }))
    const other = watch(runAll(["b", "c"], () => now(), { meter }))
    await flush()
    hosts.delete("a", "gone")
    await flush()
    expect(ended.outcome).toMatchObject({ reason: "gone", at: 0 })
    await flush()
    expect(other.outcome).toMatchObject({ value: [0, 0] })
    expect(keysOf(hosts)).toEqual([])
  })

  it("by default with an AbortError", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const running = rejection(hosts.for("a").run(() => sleep(50)))
    hosts.delete("a")
    expect(isAbortError(await running)).toBe(true)
  })

  it("a task that ignores its signal does not count for the new meter", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const permit = await value(hosts.for("a").acquire())
    hosts.delete("a", "gone")
    expect(permit.signal.reason).toBe("gone")
    const next = await value(hosts.for("a").acquire())
    permit.release()
    expect(hosts.for("a").snapshot().running).toBe(1)
    next.release()
    await expectFree(hosts.for("a"), 1)
  })

  it("after a drain, nothing is cancelled", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const calls = Promise.all([hosts.for("a").run(() => sleep(5)), hosts.for("a").run(() => now())])
    await value(hosts.for("a").drain())
    expect((await calls)[1]).toBe(5)
    expect(hosts.for("a").snapshot().closed).toBe(true)
    expect(hosts.delete("a")).toBe(true)
    expect(await value(hosts.for("a").run(() => "again"))).toBe("again")
  })

  it("forgets pauses, limits and reports of the key alone", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1, windows: { any: { limit: 5, per: 1000 } } })
    hosts.for("a").resize({ maxAtOnce: 7 })
    hosts.for("a").pause()
    hosts.for("a").reconcile({ window: "any", remaining: 0, resetAfter: 1000 })
    expect(hosts.delete("a")).toBe(true)
    expect(hosts.for("a").snapshot()).toMatchObject({ free: 1, paused: false, room: { any: 5 } })
  })

  it("of a key that is not in use returns false", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    expect(hosts.delete("a")).toBe(false)
    await value(hosts.for("a").run(() => 1))
    expect(hosts.delete("a")).toBe(false)
  })
})

describe("resize", () => {
  it("changes all keys: those in use, those that were resized, and those to come", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1, windows: { any: { limit: 10, per: 1000 } } })
    const running = ["a", "b"].map((key) => hosts.for(key).run(() => sleep(10)))
    const waiting = watch(hosts.for("a").run(() => now()))
    hosts.for("b").resize({ maxAtOnce: 5, windows: { own: { limit: 1, per: 1 } } })
    hosts.resize({ maxAtOnce: 2, windows: { more: { limit: 3, per: 500 } } })
    await flush()
    expect(waiting.outcome).toMatchObject({ value: 0 })
    expect(hosts.for("a").snapshot()).toMatchObject({ free: 1, room: { any: 8, more: 2 } })
    expect(hosts.for("b").snapshot()).toMatchObject({ free: 1, room: { any: 9, more: 3, own: 1 } })
    expect(hosts.for("c").snapshot()).toMatchObject({ free: 2, room: { any: 10, more: 3 } })
    await value(Promise.all(running))
  })

  it("keys are dropped as before, but not those that were resized by themselves", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    await value(hosts.for("a").run(() => 1))
    hosts.for("own").resize({ maxAtOnce: 9 })
    hosts.resize({ maxPerSecond: 1 })
    await value(hosts.for("b").run(() => 1))
    expect(keysOf(hosts)).toEqual(["own", "b"])
    await pass(1000)
    expect(keysOf(hosts)).toEqual(["own"])
    expect(hosts.for("own").snapshot().free).toBe(9)
    expect(hosts.for("a").snapshot().limits.maxPerSecond).toBe(1)
  })

  it("lifts limits with Infinity", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    hosts.resize({ maxAtOnce: Infinity })
    expect(hosts.for("a").snapshot().free).toBe(Infinity)
  })

  it("tasks that start by it may use further keys", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const first = hosts.for("a").run(() => sleep(10))
    const nested = watch(hosts.for("a").run(() => hosts.for("b").run(() => hosts.for("b").snapshot().free)))
    hosts.resize({ maxAtOnce: 2 })
    await flush()
    expect(nested.outcome).toMatchObject({ value: 1 })
    await value(first)
  })

  it("rejects invalid limits, and changes nothing", () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const resize = hosts.resize as Untyped
    expect(() => resize({ maxAtOnce: 0 })).toThrow(RangeError)
    expect(() => resize({ concurrency: 5 })).toThrow("Did you mean maxAtOnce?")
    expect(() => resize()).toThrow(TypeError)
    expect(hosts.for("a").snapshot().free).toBe(1)
  })
})

it("snapshot has the state of each key in use, and uses none", async () => {
  const hosts = createKeyedMeter<string>({ maxAtOnce: 2 })
  const running = [
    hosts.for("a").run(() => sleep(10)),
    hosts.for("a").run(() => sleep(10)),
    hosts.for("b").run(() => sleep(5))
  ]
  const snapshot = hosts.snapshot()
  expect(Array.from(snapshot, ([key, { free, running }]) => [key, running, free])).toEqual([
    ["a", 2, 0],
    ["b", 1, 1]
  ])
  expect(snapshot.get("a")).toEqual(hosts.for("a").snapshot())
  await value(Promise.all(running))
  expect(hosts.snapshot()).toEqual(new Map())
})

describe("idle", () => {
  it("of a family without work resolves at once", async () => {
    await value(createKeyedMeter({ maxAtOnce: 1 }).idle())
    expect(now()).toBe(0)
  })

  it("resolves when no key is in use any more, also keys that came later", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const calls = [
      hosts.for("a").run(() => sleep(10)),
      hosts.for("b").run(() => sleep(5)),
      hosts.for("b").run(() => sleep(15)),
      hosts.for("c").run(async () => {
        await sleep(12)
        calls.push(hosts.for("a").run(() => sleep(20)))
      })
    ]
    const idle = watch(hosts.idle())
    await pass(31)
    expect(idle.outcome).toBeUndefined()
    await pass(1)
    expect(idle.outcome?.at).toBe(32)
    await value(Promise.all(calls))
  })
})

describe("drain and close", () => {
  it("drain finishes what runs and waits, and refuses all later calls, of whichever key", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    await value(hosts.for("idle").run(() => 1))
    const calls = [
      hosts.for("a").run(() => sleep(10)),
      hosts.for("a").run(() => sleep(10)),
      hosts.for("b").run(() => sleep(5))
    ]
    const drained = watch(hosts.drain())
    for (const key of ["a", "idle", "new"])
      expect(isAbortError(await rejection(hosts.for(key).run(() => 1)))).toBe(true)
    expect(hosts.for("new").snapshot()).toMatchObject({ draining: true })
    await pass(19)
    expect(drained.outcome).toBeUndefined()
    await pass(1)
    expect(drained.outcome?.at).toBe(20)
    await value(Promise.all(calls))
    for (const key of ["a", "new"]) expect(hosts.for(key).snapshot().closed).toBe(true)
  })

  it("drain of a family without work closes it", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    await value(hosts.drain())
    await value(hosts.drain())
    expect(isAbortError(await rejection(hosts.for("a").acquire()))).toBe(true)
  })

  it.each<readonly [string, (hosts: KeyedMeter<string>) => Promise<void>, (reason: unknown) => boolean]>([
    ["close with a reason", (hosts) => hosts.close("closed"), (reason) => reason === "closed"],
    ["close", (hosts) => hosts.close(), isAbortError],
    [
      "await using",
      async (hosts) => {
        await using _ = hosts
      },
      isAbortError
    ]
  ])("%s cancels all calls, and refuses later ones of whichever key", async (_, close, isReason) => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const calls = [hosts.for("a").run(() => sleep(10)), hosts.for("a").run(() => 1), hosts.for("b").run(() => sleep(5))]
    const reasons = Promise.all(calls.map(rejection))
    await value(close(hosts))
    for (const reason of await reasons) expect(isReason(reason)).toBe(true)
    for (const key of ["a", "new"]) {
      expect(isReason(await rejection(hosts.for(key).run(() => 1)))).toBe(true)
      expect(isReason(await rejection(runAll([() => 1], { meter: [createMeter({}), hosts.for(key)] })))).toBe(true)
    }
    expect(hosts.delete("a")).toBe(true)
    expect(isReason(await rejection(hosts.for("a").run(() => 1)))).toBe(true)
  })

  it("close ends a drain", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const call = rejection(hosts.for("a").run(({ signal }) => sleep(1000, signal)))
    const drained = watch(hosts.drain())
    await value(hosts.close("closed"))
    expect(await call).toBe("closed")
    expect(await rejection(hosts.for("new").run(() => 1))).not.toBe(undefined)
    await flush()
    expect(drained.outcome).toMatchObject({ status: "fulfilled", at: 0 })
  })

  it("a closed family does not grow with the keys that are used", async () => {
    const hosts = createKeyedMeter<number>({ maxAtOnce: 1 })
    await value(hosts.for(1).run(() => 1))
    await value(hosts.close())
    for (const key of naturals(100)) await rejection(hosts.for(key).run(() => key))
    expect(hosts.size).toBe(0)
  })
})
