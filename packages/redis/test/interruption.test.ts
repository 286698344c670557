/** A call that is interrupted at any step, while its grant is requested, in flight, at hand or used, gives back what it held. */
import { createMeter, runOnEach, type Meter as Facade, type MeterOptions } from "@fibermeter/promise"
import { Effect, Exit, Fiber, ManagedRuntime, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Redis } from "ioredis"
import { Meter, MeterStore, runOnEach as runOnEachEffect } from "fibermeter"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { advance, redisStore, type Answer, type Message, type SharedStore, type State } from "../src/index.ts"
import { sharedStore } from "../src/session/sharedStore.ts"
import { describeWithServer } from "./support/server.ts"

/** A store by hand, two milliseconds away, whose state shows what is held. */
const distantStore = (sleep: (millis: number) => Promise<void>, now: () => number) => {
  let state: State | undefined
  const listeners = new Map<string, () => void>()
  const exchange = async (_: string, message: Message): Promise<Answer> => {
    await sleep(2)
    const advanced = advance(state, message, now())
    state = advanced.state
    for (const session of advanced.wakes) void sleep(2).then(() => listeners.get(session)?.())
    await sleep(2)
    return advanced.answer
  }
  const onWake = (_: string, session: string, listener: () => void) => {
    listeners.set(session, listener)
    return () => listeners.delete(session)
  }
  return {
    store: sharedStore({ exchange, onWake }, {}),
    held: () => ({ inUse: state?.inUse ?? 0, queue: state?.queue ?? [] })
  }
}

/** Milliseconds, and turns of the promises after each of them. A grant takes four milliseconds, and the task two more. */
const steps = Array.from({ length: 9 * 14 }, (_, index) => [Math.floor(index / 14), index % 14] as const)

const limits: Record<string, MeterOptions & { readonly maxAtOnce: number }> = {
  permits: { maxAtOnce: 2 },
  "permits and a rate": { maxAtOnce: 2, maxPerSecond: 1_000 },
  "permits and a window": { maxAtOnce: 2, windows: { w: { limit: 100, per: 200 } } }
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await Promise.resolve()
}

describe("for promises, on a store in memory", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000 })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
  const task = (): Promise<void> => sleep(2)

  const calls: Record<string, (meter: Facade, signal: AbortSignal) => Promise<unknown>> = {
    run: (meter, signal) => meter.run(task, { signal }),
    "a large task": (meter, signal) => meter.run(task, { signal, permits: 2 }),
    acquire: async (meter, signal) => {
      const permit = await meter.acquire({ signal })
      await task()
      permit.release()
    },
    "a verb": (meter, signal) => runOnEach([1, 2], task, { meter, signal })
  }

  describe.each(Object.keys(limits))("%s", (kind) => {
    it.each(Object.keys(calls))("%s", async (name) => {
      const ended = new Set<string>()
      for (const [millis, turn] of steps) {
        const where = `after ${millis} ms and ${turn} turns`
        const { held, store } = distantStore(sleep, () => Date.now() * 1_000)
        const [one, other] = [1, 2].map(() => createMeter({ store, name: "api", ...limits[kind] }))
        const abort = new AbortController()
        const call = calls[name]!(one!, abort.signal).then(
          () => "done",
          (reason) => String(reason)
        )
        if (millis > 0) {
          await vi.advanceTimersByTimeAsync(millis - 1)
          vi.advanceTimersByTime(1)
        }
        await turns(turn)
        abort.abort("over")
        // A task that runs ends by itself. What it holds is back with the next message, far before the store takes it back.
        await vi.advanceTimersByTimeAsync(14)
        ended.add(await call)
        expect(held(), where).toEqual({ inUse: 0, queue: [] })
        const next = other!.run(() => Date.now(), { permits: 2 })
        await vi.advanceTimersByTimeAsync(60)
        await next
        const closed = Promise.all([one!.close(), other!.close()])
        await vi.advanceTimersByTimeAsync(10)
        await closed
        expect(vi.getTimerCount(), where).toBe(0)
      }
      expect(ended).toEqual(new Set(["done", "over"]))
    })
  })
})

describe("for Effect, on a store in memory", () => {
  const task = Effect.sleep(2)

  const calls: Record<string, (meter: Meter.Meter<unknown>) => Effect.Effect<unknown, unknown>> = {
    metered: (meter) => Meter.metered(task, meter),
    "a large task": (meter) => Meter.metered(task, meter, { permits: 2 }),
    acquire: (meter) => Effect.scoped(Effect.andThen(Meter.acquire(meter), task)),
    "a verb": (meter) => runOnEachEffect([1, 2], () => task, { meter })
  }

  describe.each(Object.keys(limits))("%s", (kind) => {
    it.each(Object.keys(calls))("%s", async (name) => {
      const ended = new Set<boolean>()
      for (const [millis, turn] of steps) {
        const where = `after ${millis} ms and ${turn} turns`
        const clock = ManagedRuntime.make(TestClock.layer())
        const pass = (millis: number) => clock.runPromise(TestClock.adjust(millis))
        let time = 0
        await clock.runPromise(Effect.void)
        const { held, store } = distantStore(
          (millis) => clock.runPromise(Effect.sleep(millis)),
          () => time * 1_000
        )
        const scope = Scope.makeUnsafe()
        const make = Meter.distributed("api", limits[kind]!).pipe(
          Effect.provideService(MeterStore, store),
          Effect.provideService(Scope.Scope, scope)
        )
        const [one, other] = [await clock.runPromise(make), await clock.runPromise(make)]
        const fiber = clock.runFork(calls[name]!(one))
        for (; time < millis; time++) await pass(1)
        await turns(turn)
        fiber.interruptUnsafe()
        for (const until = time + 14; time < until; time++) await pass(1)
        ended.add(Exit.isSuccess(await clock.runPromise(Fiber.await(fiber))))
        expect(held(), where).toEqual({ inUse: 0, queue: [] })
        const next = clock.runPromise(Meter.metered(Effect.void, other, { permits: 2 }))
        for (const until = time + 60; time < until; time++) await pass(1)
        await next
        const closed = clock.runPromise(Scope.close(scope, Exit.void))
        for (const until = time + 10; time < until; time++) await pass(1)
        await closed
      }
      expect(ended).toEqual(new Set([true, false]))
    })
  })
})

describeWithServer("on a server", "none", (server) => {
  /** Calls back at once, or after some milliseconds of a few hundred steps. */
  const wait = async (index: number): Promise<void> => {
    const until = performance.now() + index / 20
    while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve))
  }
  // A permit that is not given back would stay in use until the end of this lease, and delay the test.
  const options = { lease: 3_600_000 }
  const open = (): { readonly store: SharedStore; readonly close: () => Promise<unknown> } => {
    const client = new Redis(server().port, "127.0.0.1")
    return { store: redisStore(client, options), close: () => client.quit() }
  }

  it("for promises", async () => {
    const { close, store } = open()
    const [one, other] = [1, 2].map(() => createMeter({ store, name: "promises", maxAtOnce: 2 }))
    const task = () => new Promise<void>((resolve) => setImmediate(resolve))
    const ended = new Set<string>()
    for (let index = 0; index < 60; index++) {
      const abort = new AbortController()
      const call = one!.run(task, { signal: abort.signal }).then(
        () => "done",
        (reason) => String(reason)
      )
      await wait(index)
      abort.abort("over")
      ended.add(await call)
      await other!.run(() => {}, { permits: 2 })
    }
    expect(ended).toEqual(new Set(["done", "over"]))
    await Promise.all([one!.close(), other!.close()])
    await close()
  })

  it("for Effect, where the end of the scope also gives back what it holds", async () => {
    const { close, store } = open()
    const program = Effect.gen(function* () {
      const one = yield* Meter.distributed("effects", { maxAtOnce: 2 })
      const other = yield* Meter.distributed("effects", { maxAtOnce: 2 })
      const ended = new Set<boolean>()
      for (let index = 0; index < 60; index++) {
        const fiber = yield* Effect.forkChild(Meter.metered(Effect.yieldNow, one), { startImmediately: true })
        yield* Effect.promise(() => wait(index))
        yield* Fiber.interrupt(fiber)
        ended.add(Exit.isSuccess(yield* Fiber.await(fiber)))
        yield* Meter.metered(Effect.void, other, { permits: 2 })
      }
      return ended
    })
    const run = () => Effect.runPromise(program.pipe(Effect.scoped, Effect.provideService(MeterStore, store)))
    expect(await run()).toEqual(new Set([true, false]))
    // By itself: its first message is about both permits.
    const next = Meter.distributed("effects", { maxAtOnce: 2 }).pipe(
      Effect.flatMap((meter) => Meter.metered(Effect.succeed("free"), meter, { permits: 2 })),
      Effect.scoped,
      Effect.provideService(MeterStore, store)
    )
    expect(await Effect.runPromise(next)).toBe("free")
    await close()
  })
})
