/** Limits on waiting of meters on a store: `maxWaiting` and `waitTimeout` count within a process. */
import { createMeter } from "@fibermeter/promise"
import type { MeterOptions, OverloadedError } from "@fibermeter/promise"
import { Effect, Exit, Fiber } from "effect"
import { Meter } from "fibermeter"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { fork, pass, run } from "./support/effect.ts"
import { troubledStore } from "./support/trouble.ts"

describe("of the facade", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 0 })
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const advance = (ms: number) => vi.advanceTimersByTimeAsync(ms)

  /** Calls of meters on one store, each with what became of it and when. */
  const scene = (limits: MeterOptions, processes = 1) => {
    const [store, trouble] = troubledStore({})
    const meters = Array.from({ length: processes }, () => createMeter({ store, name: "api", ...limits }))
    const ends: Array<string> = []
    const call = (name: string, ms: number, options?: Parameters<(typeof meters)[0]["run"]>[1], process = 0) =>
      void meters[process]!.run(() => new Promise((resolve) => setTimeout(resolve, ms)), options).then(
        () => ends.push(`${name} done ${Date.now()}`),
        (error: OverloadedError) => ends.push(`${name} ${error.reason} ${Date.now()} ${error.retryAfter}`)
      )
    return { call, ends, trouble }
  }

  it("maxWaiting counts the calls of the process, including those that only wait for the server's answer", async () => {
    const { call, ends } = scene({ maxAtOnce: 2, maxWaiting: 2 }, 2)
    for (const name of ["a", "b", "c"]) call(name, 10)
    for (const name of ["A", "B"]) call(name, 10, undefined, 1)
    await advance(1)
    // Two run, and two wait in the other process, of which no more than an eighth of the permits starts in a row.
    expect(ends).toEqual(["c queue-full 0 0"])
    for (const name of ["d", "e", "f"]) call(name, 10)
    await advance(100)
    expect(ends.slice(1).toSorted()).toEqual([
      "A done 20",
      "B done 30",
      "a done 10",
      "b done 10",
      "d done 20",
      "e done 30",
      "f queue-full 1 undefined"
    ])
  })

  it("overflow: dropOldest refuses the oldest waiter instead of the newest", async () => {
    const { call, ends } = scene({ maxAtOnce: 1, maxWaiting: 1, overflow: "dropOldest" })
    call("a", 10)
    await advance(1)
    for (const name of ["b", "c", "d"]) call(name, 10)
    await advance(100)
    expect(ends).toEqual(["b queue-full 1 undefined", "c queue-full 1 undefined", "a done 10", "d done 20"])
  })

  it("maxWaiting: 0 and waitTimeout: 0 refuse all calls without a grant at hand", async () => {
    for (const limits of [{ maxWaiting: 0 }, { waitTimeout: 0 }]) {
      const { call, ends } = scene({ maxAtOnce: 2, ...limits })
      call("a", 0)
      await advance(100)
      expect(ends).toHaveLength(1)
      expect(ends[0]).toMatch(/^a (queue-full|wait-timeout) (0|100) /)
    }
  })

  it("waitTimeout refuses a call at once if the shared rate cannot admit it in time, and otherwise when the time is up", async () => {
    const { call, ends } = scene({ maxPerSecond: 10, waitTimeout: 250 }, 2)
    for (const name of ["a", "b", "c", "d"]) call(name, 0)
    for (const name of ["A", "B"]) call(name, 0, undefined, 1)
    await advance(500)
    expect(ends[0]).toBe("d wait-timeout 0 40")
    // The two processes have the rate together, so that three start in that time, of whichever process.
    expect(ends.filter((each) => each.includes("done"))).toHaveLength(3)
    const late = ends.filter((each) => each.includes("wait-timeout 250"))
    expect(late).toEqual(["c wait-timeout 250 0", "B wait-timeout 250 0"])
  })

  it("the shorter waitTimeout of a call and its meter counts, also while the server is out of reach", async () => {
    const { call, ends, trouble } = scene({ maxAtOnce: 1, waitTimeout: 5_000 })
    trouble.isSilent = true
    call("a", 0)
    call("b", 0, { waitTimeout: 2_000 })
    await advance(6_000)
    expect(ends.map((each) => each.split(" ").slice(0, 3).join(" "))).toEqual([
      "b wait-timeout 2000",
      "a wait-timeout 5000"
    ])
    trouble.isSilent = false
    call("c", 0)
    await advance(4_000)
    expect(ends[2]).toMatch(/^c done/)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("of core", () => {
  const reasonIn = (exit: Exit.Exit<unknown, unknown>): unknown =>
    Exit.isSuccess(exit) ? "done" : Exit.findErrorOption(exit).pipe((error) => error._tag === "Some" && error.value)

  it("maxWaiting counts the calls of the process", async () => {
    const exits = await run({}, () =>
      Effect.gen(function* () {
        const make = Meter.distributed("api", { maxAtOnce: 1, maxWaiting: 2 })
        const [one, other] = yield* Effect.all([make, make])
        const task = (meter: typeof one) => fork(Meter.metered(Effect.sleep(10), meter))
        const calls = yield* Effect.forEach([one, one, one, other, other], task)
        yield* pass(60)
        return yield* Effect.forEach(calls, Fiber.await)
      })
    )
    expect(exits.map(reasonIn)).toEqual(["done", "done", expect.any(Meter.Overloaded), "done", "done"])
    expect(reasonIn(exits[2]!)).toMatchObject({ reason: "queue-full" })
  })

  it("waitTimeout ends the wait, also while the server is out of reach", async () => {
    const { early, late, refused } = await run({}, (trouble) =>
      Effect.gen(function* () {
        const meter = yield* Meter.distributed("api", { maxPerSecond: 10, waitTimeout: 250 })
        trouble.isSilent = true
        const call = fork(Meter.metered(Effect.void, meter))
        const waits = yield* Effect.all([call, call, call])
        const refused = yield* Effect.exit(Meter.metered(Effect.void, meter))
        yield* pass(249)
        const early = waits.map((fiber) => fiber.pollUnsafe())
        yield* pass(1)
        const late = yield* Effect.forEach(waits, Fiber.await)
        // The end of the scope waits for a store that has been silent for less than a second.
        yield* pass(750)
        return { early, refused, late }
      })
    )
    expect(early).toEqual([undefined, undefined, undefined])
    for (const exit of [refused, ...late]) expect(reasonIn(exit)).toMatchObject({ reason: "wait-timeout" })
  })
})
