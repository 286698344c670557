/** Families of meters on the memory store, under virtual time: one meter for each key, which processes share. */
import { createKeyedMeter } from "@fibermeter/promise"
import { Cause, Effect, Exit, Fiber } from "effect"
import { Meter } from "fibermeter"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { fork, pass, run } from "./support/effect.ts"
import { troubledStore } from "./support/trouble.ts"
import type { Trouble } from "./support/trouble.ts"

/** The sessions that have said anything, and those of them that have left. */
const sessionsIn = ({ messages }: Trouble) => ({
  all: new Set(messages.map(({ session }) => session)).size,
  left: messages.filter(({ leave }) => leave).length
})

describe("of core", () => {
  const defectIn = (exit: Exit.Exit<unknown, unknown>): unknown =>
    Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isDieReason)?.defect : undefined

  it("each key has its own meter, which processes share, and a number and its text are different keys", async () => {
    const log = await run({}, () =>
      Effect.gen(function* () {
        const make = Meter.keyedDistributed<string | number>("hosts", { maxAtOnce: 1, maxPerSecond: 1_000 })
        const [one, other] = yield* Effect.all([make, make])
        const log: Array<string> = []
        const began = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const task = (name: string) =>
          Effect.andThen(
            Effect.clockWith((clock) =>
              Effect.map(clock.currentTimeMillis, (now) => log.push(`${name} ${now - began}`))
            ),
            Effect.sleep(10)
          )
        const tasks = yield* Effect.forEach(
          [
            Meter.metered(task("one a"), one.for("a")),
            Meter.metered(task("other a"), other.for("a")),
            Meter.metered(task("other b"), other.for("b")),
            Meter.metered(task("one 1"), one.for(1)),
            Meter.metered(task("one '1'"), one.for("1"))
          ],
          fork
        )
        yield* pass(30)
        yield* Effect.forEach(tasks, Fiber.join)
        return log.toSorted()
      })
    )
    expect(log).toEqual(["one '1' 0", "one 1 0", "one a 0", "other a 10", "other b 0"])
  })

  it("an idle key leaves the store when other keys are used, but its starts still count", async () => {
    await run({}, (trouble) =>
      Effect.gen(function* () {
        const windows = { w: { limit: 1, per: 1_000 } }
        const tenants = yield* Meter.keyedDistributed<number>("tenants", { maxAtOnce: 5, windows })
        const once = (key: number) => Meter.metered(Effect.void, tenants.for(key))
        for (let key = 0; key < 100; key++) {
          const task = yield* fork(once(key))
          yield* pass(1)
          yield* Fiber.join(task)
        }
        const { all, left } = sessionsIn(trouble)
        expect(all).toBe(100)
        // A use drops those that were used before.
        expect(left).toBeGreaterThan(95)
        expect(tenants.size).toBe(0)
        const again = yield* fork(once(0))
        yield* pass(850)
        expect(again.pollUnsafe()).toBeUndefined()
        yield* pass(100)
        yield* Fiber.join(again)
      })
    )
  })

  it("delete refuses waiters, and the key leaves the store when its tasks have ended", async () => {
    await run({}, (trouble) =>
      Effect.gen(function* () {
        const tenants = yield* Meter.keyedDistributed<string>("tenants", { maxAtOnce: 1 })
        const meter = tenants.for("a")
        const runs = yield* fork(Meter.metered(Effect.sleep(10), meter))
        yield* pass(1)
        const waits = yield* fork(Meter.metered(Effect.void, meter))
        expect(yield* tenants.delete("a")).toBe(true)
        expect(defectIn(yield* Fiber.await(waits))).toBeInstanceOf(Meter.Closed)
        expect(yield* tenants.delete("a")).toBe(false)
        // A new meter of the same key waits for the permit, as one of another process.
        const next = yield* fork(Meter.metered(Effect.void, meter))
        yield* pass(5)
        expect(sessionsIn(trouble)).toEqual({ all: 2, left: 0 })
        expect(next.pollUnsafe()).toBeUndefined()
        yield* pass(10)
        yield* Fiber.join(runs)
        yield* Fiber.join(next)
        expect(sessionsIn(trouble)).toEqual({ all: 2, left: 1 })
      })
    )
  })

  it("resize changes keys in use and keys used later, in all processes", async () => {
    await run({}, () =>
      Effect.gen(function* () {
        const make = Meter.keyedDistributed<string>("tenants", { maxAtOnce: 1 })
        const [one, other] = yield* Effect.all([make, make])
        const hold = (meter: Meter.Meter<unknown>) => fork(Meter.metered(Effect.never, meter))
        yield* hold(one.for("a"))
        yield* hold(one.for("a"))
        yield* hold(other.for("b"))
        yield* pass(1)
        yield* one.resize({ maxAtOnce: 2 })
        yield* hold(one.for("b"))
        yield* pass(30)
        const states = (yield* one.snapshot).values()
        for (const { limits, running } of states) expect([limits.maxAtOnce, running]).toEqual([2, running])
        expect((yield* one.snapshot).get("a")).toMatchObject({ running: 2 })
        expect((yield* one.snapshot).get("b")).toMatchObject({ running: 1 })
        expect((yield* other.snapshot).get("b")?.limits.maxAtOnce).toBe(2)
        expect([...one].map(([key]) => key)).toEqual(["a", "b"])
        const patient = yield* Effect.exit(one.resize({ maxWaiting: 1 }))
        expect(String(defectIn(patient))).toContain("its type says that it never fails with Overloaded")
        const added = yield* Effect.exit(one.resize({ maxPerSecond: 1 }))
        expect(String(defectIn(added))).toContain("cannot add or remove a limit")
      })
    )
  })

  it("drain and close refuse all keys, and the end of the scope gives everything back", async () => {
    await run({}, (trouble) =>
      Effect.gen(function* () {
        for (const end of ["drain", "close"] as const) {
          trouble.messages.length = 0
          yield* Effect.scoped(
            Effect.gen(function* () {
              const tenants = yield* Meter.keyedDistributed<string>("tenants", { maxAtOnce: 1 })
              const runs = yield* fork(Meter.metered(Effect.sleep(10), tenants.for("a")))
              yield* pass(1)
              const ended = yield* fork(tenants[end])
              for (const key of ["a", "b"]) {
                const late = yield* Effect.exit(Meter.metered(Effect.void, tenants.for(key)))
                expect(defectIn(late)).toBeInstanceOf(Meter.Closed)
              }
              yield* pass(10)
              yield* Fiber.join(runs)
              yield* Fiber.join(ended)
            })
          )
          expect(sessionsIn(trouble)).toEqual({ all: 1, left: 1 })
        }
      })
    )
  })

  it("refuses calls with Overloaded if too many wait for a key in this process", async () => {
    await run({}, () =>
      Effect.gen(function* () {
        const tenants = yield* Meter.keyedDistributed<string>("tenants", { maxAtOnce: 1, maxWaiting: 1 })
        yield* fork(Meter.metered(Effect.never, tenants.for("a")))
        yield* pass(1)
        yield* fork(Meter.metered(Effect.never, tenants.for("a")))
        const refused = yield* Effect.flip(Meter.metered(Effect.void, tenants.for("a")))
        expect(refused).toBeInstanceOf(Meter.Overloaded)
        const other = yield* fork(Meter.metered(Effect.succeed("b"), tenants.for("b")))
        yield* pass(1)
        expect(yield* Fiber.join(other)).toBe("b")
      })
    )
  })

  it.each([
    ["", { maxAtOnce: 1 }, "the name must be a string that is not empty"],
    ["a", { maxAtOnce: 0.5 }, "maxAtOnce must be"],
    ["a", { windows: { w: { limit: 1, per: 1 } } }, "windows.w.per must be from 50 milliseconds to 30 years on a store"]
  ])("%#: a name or limits that cannot be are an error when the family is made", async (name, limits, message) => {
    const exit = await run({}, () => Effect.exit(Meter.keyedDistributed<string>(name, limits)))
    expect(String(defectIn(exit))).toContain(message)
  })

  it.each([NaN, Infinity, {}, undefined])("%s is no key on a store", async (key) => {
    await run({}, () =>
      Effect.gen(function* () {
        const tenants = yield* Meter.keyedDistributed<string>("tenants", { maxAtOnce: 1 })
        expect(() => tenants.for(key as never)).toThrow("the key must be a string or a finite number, but is")
      })
    )
  })
})

describe("of the facade", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 0 })
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms)
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

  it("an idle key leaves the store when other keys are used, but its starts still count", async () => {
    const [store, trouble] = troubledStore({})
    const tenants = createKeyedMeter<number>({ store, name: "tenants", windows: { w: { limit: 1, per: 1_000 } } })
    for (let key = 0; key < 100; key++) {
      const run = tenants.for(key).run(() => key)
      await advance(1)
      await run
    }
    const { all, left } = sessionsIn(trouble)
    expect(all).toBe(100)
    expect(left).toBeGreaterThan(95)
    expect(tenants.size).toBe(0)
    const again = tenants.for(0).run(() => Date.now())
    await advance(2_000)
    expect(await again).toBe(1_001)
  })

  it("delete and close at the same time wait for the same end", async () => {
    const [store, trouble] = troubledStore({})
    const tenants = createKeyedMeter<string>({ store, name: "tenants", maxAtOnce: 1 })
    const meter = tenants.for("a")
    const run = meter.run(() => sleep(10)).catch((error: unknown) => error)
    await advance(1)
    const ended = Promise.all([meter.drain(), meter.close("over"), tenants.close()])
    await advance(20)
    await ended
    expect(await run).toBe("over")
    expect(sessionsIn(trouble)).toEqual({ all: 1, left: 1 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([NaN, -Infinity, {}, undefined])("%s is no key on a store", (key) => {
    const [store] = troubledStore({})
    const tenants = createKeyedMeter<unknown>({ store, name: "tenants", maxAtOnce: 1 })
    expect(() => tenants.for(key)).toThrow("a key must be a string or a finite number with a store, but is")
  })

  it("limits that the store does not support are an error when the family is made", () => {
    const [store] = troubledStore({})
    expect(() => createKeyedMeter({ store, name: "a", windows: { w: { limit: 1, per: 1 } } })).toThrow(RangeError)
  })
})
