/** `meter.clear`: waiting calls are rejected, running ones continue. */
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter, runAll, runOnEach } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  listeners,
  naturals,
  now,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

describe("calls of run", () => {
  it("that wait reject, the running one continues", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let own: AbortSignal | undefined
    const running = watch(
      meter.run(async ({ signal }) => {
        own = signal
        await sleep(100, signal)
        return "done"
      })
    )
    const f = vi.fn<() => void>()
    const waiting = [watch(meter.run(f)), watch(meter.wrap(f)()), watch(meter.run(f, { retry: {} }))]
    await pass(50)
    meter.clear("cleared")
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 0 })
    await pass(1000)
    for (const { outcome } of waiting) expect(outcome).toEqual({ status: "rejected", reason: "cleared", at: 50 })
    expect(running.outcome).toEqual({ status: "fulfilled", value: "done", at: 100 })
    expect(own?.aborted).toBe(false)
    expect(f).not.toHaveBeenCalled()
    await expectFree(meter, 1)
  })

  it.each([
    ["no reason", []],
    ["undefined", [undefined]]
  ])("that wait reject with an AbortError also if clear is called with %s", async (_, args) => {
    const meter = createMeter({})
    meter.pause()
    const waiting = [watch(meter.run(() => 1)), watch(meter.runAll([() => 1]))]
    await flush()
    meter.clear(...args)
    await flush()
    const [one, two] = waiting.map(({ outcome }) => (outcome as { readonly reason: unknown }).reason)
    expect(isAbortError(one)).toBe(true)
    expect(two).toBe(one)
    expect((one as Error).message).toContain("cleared")
  })

  it.each([
    ["null", null],
    ["an error", new RangeError("mine")],
    ["a text", "text"]
  ])("that wait reject with the reason of clear: %s", async (_, reason) => {
    const meter = createMeter({})
    meter.pause()
    const waiting = rejection(meter.run(() => 1))
    meter.clear(reason)
    expect(await waiting).toBe(reason)
  })

  it("leave no listener on their signals", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const { signal } = controller
    const running = watch(meter.run(() => sleep(100), { signal }))
    const waiting = [watch(meter.run(() => 1, { signal })), watch(meter.run(() => 1, { signal, retry: {}, grace: 50 }))]
    expect(listeners(signal)).toBe(1)
    meter.clear("cleared")
    expect(listeners(signal)).toBe(1)
    controller.abort("stop")
    await flush()
    expect(waiting.map(({ outcome }) => outcome)).toMatchObject([{ reason: "cleared" }, { reason: "cleared" }])
    expect(running.outcome).toMatchObject({ reason: "stop" })
    expect(listeners(signal)).toBe(0)
    expect(vi.getTimerCount(), "that of the task itself").toBe(1)
  })

  it("of which one has held up another: neither starts", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    // A turn of the event loop has just begun, so that nothing is deferred to the next.
    await value(runOnEach([1], () => {}, { maxPerSecond: 1000 }))
    await value(meter.run(() => 1, { cost: { tokens: 5 } }))
    const f = vi.fn<() => void>()
    const large = watch(meter.run(f, { cost: { tokens: 8 } }))
    const small = [1, 2].map((tokens) => watch(meter.run(f, { cost: { tokens } })))
    const verb = watch(meter.runOnEach([1], f, { cost: () => ({ tokens: 1 }) }))
    await flush()
    meter.clear("cleared")
    await pass(5000)
    for (const { outcome } of [large, ...small, verb]) expect(outcome).toMatchObject({ reason: "cleared", at: 0 })
    expect(f).not.toHaveBeenCalled()
    expect(meter.snapshot()).toMatchObject({ waiting: 0, started: 1 })
  })

  it("behind a call that is cleared are cleared, too", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    await value(runOnEach([1], () => {}, { maxPerSecond: 1000 }))
    await value(meter.run(() => 1, { cost: { tokens: 5 } }))
    const f = vi.fn<() => void>()
    const verb = watch(meter.runAll([8], f, { cost: (tokens) => ({ tokens }) }))
    await flush()
    const small = watch(meter.run(f, { cost: { tokens: 1 } }))
    meter.clear("cleared")
    await pass(5000)
    for (const { outcome } of [verb, small]) expect(outcome).toMatchObject({ reason: "cleared", at: 0 })
    expect(f).not.toHaveBeenCalled()
  })

  it("that wait by the thousand", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const limiter = Promise.withResolvers<void>()
    const running = meter.run(() => limiter.promise)
    const f = vi.fn<() => void>()
    const waiting = Array.from({ length: 5000 }, () => rejection(meter.run(f)))
    meter.clear("cleared")
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["cleared"]))
    limiter.resolve()
    await running
    expect(f).not.toHaveBeenCalled()
  })
})

describe.each(verbs)("a call of $name", (verb) => {
  it("that waits with a task is aborted, the tasks that run as well", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe(() => ({ ms: 100 }))
    const call = watch(verb.call([0, 1, 2], p, { meter, maxUnread: Infinity }).promise)
    await pass(50)
    meter.clear("cleared")
    await pass(1000)
    expect(call.outcome).toEqual({ status: "rejected", reason: "cleared", at: 50 })
    expect(p.order).toEqual([0, 1])
    expect([...p.aborted]).toEqual([
      [0, "cleared"],
      [1, "cleared"]
    ])
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    await expectFree(meter, 2)
  })

  it("with nothing but a task between two attempts waits as well", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe(() => ({ rejects: { reason: "again" } }))
    const call = watch(verb.call([0], p, { meter, retry: { delay: 100 } }).promise)
    await pass(50)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    meter.clear("cleared")
    await pass(1000)
    expect(call.outcome).toEqual({ status: "rejected", reason: "cleared", at: 50 })
    expect(p.order).toEqual([0])
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(meter, 2)
  })

  it("whose tasks all run is left alone", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe(() => ({ ms: 100 }))
    const call = watch(verb.call([0, 1], p, { meter }).promise)
    await pass(50)
    meter.clear("cleared")
    expect(p.aborted.size).toBe(0)
    await pass(1000)
    expect(call.outcome).toMatchObject({ status: "fulfilled", at: 100 })
  })

  it("that waits for limits of its own, or at another meter, is left alone", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const p = probe(() => (verb.verb === "runAny" ? { ms: 100, rejects: { reason: "next" } } : { ms: 100 }))
    const own = watch(verb.call([0, 1], p, { meter, maxAtOnce: 1 }).promise)
    const narrow = createMeter({ maxAtOnce: 1 })
    const other = watch(verb.call([0, 1], p, { meter: [meter, narrow] }).promise)
    await pass(50)
    meter.clear("cleared")
    expect(p.aborted.size).toBe(0)
    await pass(1000)
    const at = verb.name === "runAny until one settles" ? 100 : 200
    expect([own.outcome?.at, other.outcome?.at]).toEqual([at, at])
  })
})

describe("others", () => {
  it("that are made later are admitted as usual, also in the same step", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const running = meter.run(() => sleep(100))
    const waiting = rejection(meter.run(() => 1))
    meter.clear("cleared")
    const later = [watch(meter.run(() => now())), watch(meter.runAll([1], () => now()))]
    expect(await waiting).toBe("cleared")
    await value(running)
    await flush()
    expect(later.map(({ outcome }) => outcome)).toMatchObject([{ value: 100 }, { value: [100] }])
  })

  it("that are made by a task while it is cancelled wait, and are admitted", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    let nested: ReturnType<typeof watch<number>> | undefined
    const call = watch(
      meter.runOnEach([0, 1, 2], (_, { signal }) => {
        signal.addEventListener("abort", () => {
          nested ??= watch(meter.run(() => now()))
        })
        return sleep(100, signal)
      })
    )
    // The first tasks may start a turn of the event loop after the call.
    await pass(0)
    const behind = watch(meter.run(() => 1))
    await pass(10)
    meter.clear("cleared")
    await pass(1000)
    expect([call.outcome, behind.outcome]).toMatchObject([
      { reason: "cleared", at: 10 },
      { reason: "cleared", at: 10 }
    ])
    expect(nested?.outcome).toMatchObject({ value: 10 })
    await expectFree(meter, 2)
  })

  it("that are made while the queue is cleared, with a free permit, start and are not cleared", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    let nested: ReturnType<typeof watch<number>> | undefined
    const call = watch(
      meter.runOnEach(
        [5, 8],
        (_, { signal }) => {
          signal.addEventListener("abort", () => {
            nested = watch(meter.run(() => now(), { cost: { tokens: 5 } }))
          })
          // It continues, so that it is not its end that admits a waiter.
          return sleep(100)
        },
        { cost: (tokens) => ({ tokens }) }
      )
    )
    await pass(10)
    meter.clear("cleared")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "cleared", at: 10 })
    expect(nested?.outcome).toMatchObject({ value: 10 })
  })

  it("that wait are also cleared by a task while it is cancelled", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let nested: ReturnType<typeof watch<number>> | undefined
    const call = watch(
      meter.runOnEach([0, 1], (_, { signal }) => {
        signal.addEventListener("abort", () => {
          nested = watch(meter.run(() => now()))
          meter.clear("cleared again")
        })
        return sleep(100, signal)
      })
    )
    const behind = watch(meter.run(() => 1))
    await pass(10)
    meter.clear("cleared")
    await pass(1000)
    expect(call.outcome).toMatchObject({ reason: "cleared", at: 10 })
    expect(behind.outcome, "cleared by whoever comes first").toMatchObject({ status: "rejected", at: 10 })
    expect(nested?.outcome).toMatchObject({ reason: "cleared again" })
    await expectFree(meter, 1)
  })

  it("at another meter, or under another key, are left alone", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const all = ["a", "a", "b", "b"].map((key) => watch(hosts.for(key).run(() => sleep(100))))
    hosts.for("a").clear("cleared")
    await pass(1000)
    expect(all.map(({ outcome }) => outcome?.at)).toEqual([100, 0, 100, 200])
    expect(all[1]?.outcome).toMatchObject({ reason: "cleared" })
  })

  it("that are between two attempts wait as well: they are cleared, and not tried again", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const { signal } = new AbortController()
    const f = vi.fn<() => Promise<never>>(() => Promise.reject("again"))
    const run = watch(meter.run(f, { retry: { delay: 100 }, signal }))
    const behind = meter.run(() => sleep(20))
    await pass(50)
    meter.clear("cleared")
    await flush()
    expect(run.outcome).toEqual({ status: "rejected", reason: "cleared", at: 50 })
    expect(listeners(signal)).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    await pass(1000)
    expect(f).toHaveBeenCalledTimes(1)
    await behind
    expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
  })

  it("that run their second attempt continue", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let attempts = 0
    const run = watch(
      meter.run(
        async () => {
          attempts += 1
          if (attempts === 1) throw "again"
          await sleep(50)
          return "done"
        },
        { retry: { delay: 10 } }
      )
    )
    await pass(30)
    meter.clear("cleared")
    await pass(100)
    expect(run.outcome).toMatchObject({ status: "fulfilled", value: "done", at: 60 })
  })

  it("that wait for their next attempt are cleared, and not tried again", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let attempts = 0
    const run = watch(
      meter.run(
        () => {
          attempts += 1
          throw "again"
        },
        { retry: { delay: 100, times: 5 } }
      )
    )
    const other = meter.run(() => sleep(300))
    await pass(150)
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 1 })
    meter.clear("cleared")
    await pass(1000)
    expect(run.outcome).toEqual({ status: "rejected", reason: "cleared", at: 150 })
    expect(attempts).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
    await other
    expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
  })

  it("that wait for a meter beside a wider one are ended with the queue of either", async () => {
    for (const which of [0, 1]) {
      const meters = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 1 })] as const
      const busy = meters.map((meter) => meter.run(() => sleep(100)))
      const calls = [1, 2].map((n) => watch(runAll([n], () => n, { meter: [...meters] })))
      await flush()
      const at = now()
      meters[which]!.clear("cleared")
      await pass(1000)
      for (const { outcome } of calls) expect(outcome).toMatchObject({ reason: "cleared", at })
      for (const meter of meters) expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
      await Promise.all(busy)
    }
  })

  it("that wait at another meter are not cleared if this meter has room for them", async () => {
    const [wide, narrow] = [createMeter({ maxAtOnce: 5 }), createMeter({ maxAtOnce: 1 })]
    const busy = narrow.run(() => sleep(100))
    const calls = [1, 2].map((n) => watch(runAll([n], () => n, { meter: [narrow, wide] })))
    wide.clear("cleared")
    await pass(1000)
    for (const { outcome } of calls) expect(outcome).toMatchObject({ status: "fulfilled", at: 100 })
    await busy
  })
})

describe("what is not touched", () => {
  it("the rate: the next start comes when it would have come", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const all = [...naturals(5)].map(() => watch(meter.run(() => now())))
    await pass(250)
    meter.clear("cleared")
    expect(all.map(({ outcome }) => outcome?.status)).toEqual([
      "fulfilled",
      "fulfilled",
      "fulfilled",
      undefined,
      undefined
    ])
    const next = [meter.run(() => now()), meter.run(() => now())]
    expect(await value(Promise.all(next))).toEqual([300, 400])
  })

  it("windows: what was spent stays spent, and what was not is not", async () => {
    const meter = createMeter({ windows: { any: { limit: 2, per: 1000 } } })
    const all = [...naturals(4)].map(() => watch(meter.run(() => now())))
    await pass(100)
    meter.clear("cleared")
    expect(meter.snapshot().room).toEqual({ any: 0 })
    expect(await value(meter.run(() => now()))).toBe(1000)
    expect(all.map(({ outcome }) => outcome?.at)).toEqual([0, 0, 100, 100])
  })

  it("pauses", async () => {
    const meter = createMeter({})
    meter.pause(500)
    const waiting = rejection(meter.run(() => 1))
    meter.clear("cleared")
    expect(await waiting).toBe("cleared")
    expect(vi.getTimerCount()).toBe(0)
    expect(await value(meter.run(() => now()))).toBe(500)
  })

  it("a meter without waiters", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 10 })
    meter.clear()
    const running = meter.run(() => sleep(10))
    meter.clear()
    expect((await settle(running)).status).toBe("fulfilled")
    expect(await value(meter.run(() => now()))).toBe(100)
  })
})
