/** `meter.close`, and `await using`: the end of a meter, and of all that uses it. */
import { describe, expect, it, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  leave,
  listeners,
  naturals,
  now,
  over,
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
  it("that wait or run reject with the reason, and the signals of running tasks abort with it", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const reasons: Array<unknown> = []
    const hearing = ({ signal }: { readonly signal: AbortSignal }) => {
      signal.addEventListener("abort", () => reasons.push(signal.reason))
      return sleep(1000, signal)
    }
    const f = vi.fn<() => void>()
    const all = [
      meter.run(hearing),
      meter.run(hearing, { retry: {} }),
      meter.run(f),
      meter.wrap(f)(),
      meter.run(f, { retry: {} })
    ].map(watch)
    await pass(50)
    const closed = watch(meter.close("end"))
    await flush()
    for (const { outcome } of all) expect(outcome).toEqual({ status: "rejected", reason: "end", at: 50 })
    expect(closed.outcome).toEqual({ status: "fulfilled", value: undefined, at: 50 })
    await pass(1000)
    expect(reasons).toEqual(["end", "end"])
    expect(f).not.toHaveBeenCalled()
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, started: 2 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("that read their signal only later find it aborted", async () => {
    const meter = createMeter({})
    let reason: unknown
    const run = watch(
      meter.run(async (context) => {
        await sleep(100)
        reason = context.signal.reason
      })
    )
    await flush()
    void meter.close("end")
    await pass(200)
    expect(run.outcome).toMatchObject({ reason: "end", at: 0 })
    expect(reason).toBe("end")
  })

  it("that wait get no permit of running ones that end", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const order: Array<number> = []
    const all = [...naturals(4)].map((n) =>
      watch(
        meter.run(({ signal }) => {
          order.push(n)
          return sleep(100, signal)
        })
      )
    )
    await flush()
    await meter.close("end")
    await pass(1000)
    expect(order).toEqual([0])
    expect(all.map(({ outcome }) => outcome?.at)).toEqual([0, 0, 0, 0])
  })

  it("that wait and have held up another: neither starts", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    await value(runOnEach([1], () => {}, { maxPerSecond: 1000 }))
    await value(meter.run(() => 1, { cost: { tokens: 5 } }))
    const f = vi.fn<() => void>()
    const all = [8, 1, 2].map((tokens) => watch(meter.run(f, { cost: { tokens } })))
    await flush()
    await meter.close("end")
    await pass(5000)
    for (const { outcome } of all) expect(outcome).toMatchObject({ reason: "end", at: 0 })
    expect(f).not.toHaveBeenCalled()
  })

  it("that wait behind a call that also waits at another meter do not start when that call is ended", async () => {
    for (const order of [0, 1]) {
      const make = [
        () => createMeter({ maxAtOnce: 1 }),
        () => createMeter({ windows: { tokens: { limit: 10, per: 10_000 } } })
      ]
      const made =
        order === 0
          ? make.map((one) => one())
          : make
              .toReversed()
              .map((one) => one())
              .toReversed()
      const [busy, window] = [made[0]!, made[1]!]
      const running = busy.run(() => sleep(100))
      await value(window.run(() => 1, { cost: { tokens: 5 } }))
      const f = vi.fn<() => void>()
      const large = watch(runOnEach([0], f, { meter: [busy, window], cost: () => ({ tokens: 10 }) }))
      const small = watch(runOnEach([0], f, { meter: [busy, window], cost: () => ({ tokens: 1 }) }))
      await flush()
      await (order === 0 ? busy : window).close("end")
      await value(running.catch(() => {}))
      await pass(100_000)
      for (const { outcome } of [large, small]) expect(outcome).toMatchObject({ status: "rejected", reason: "end" })
      expect(f).not.toHaveBeenCalled()
    }
  })

  it("that are ended by close release their permits without a start", async () => {
    const closed = createMeter({ windows: { tokens: { limit: 10, per: 10_000 } } })
    const other = createMeter({ maxAtOnce: 1 })
    await value(closed.run(() => 1, { cost: { tokens: 5 } }))
    const f = vi.fn<() => void>()
    // The first holds up the second, which the abort of the first would let through.
    const first = watch(closed.run(f, { cost: { tokens: 10 } }))
    const second = watch(runOnEach([0], f, { meter: [other, closed], cost: () => ({ tokens: 1 }) }))
    await flush()
    const done = closed.close("end")
    await flush()
    await done
    await pass(100_000)
    for (const { outcome } of [first, second]) expect(outcome).toMatchObject({ status: "rejected", reason: "end" })
    expect(f).not.toHaveBeenCalled()
  })

  it("that are between two attempts reject, and are not tried again", async () => {
    const meter = createMeter({})
    const f = vi.fn<() => Promise<never>>(() => Promise.reject("again"))
    const run = watch(meter.run(f, { retry: { delay: 500, times: 9 } }))
    await pass(50)
    const closed = watch(meter.close("end"))
    await flush()
    expect(run.outcome).toEqual({ status: "rejected", reason: "end", at: 50 })
    expect(closed.outcome).toMatchObject({ status: "fulfilled", at: 50 })
    expect(vi.getTimerCount()).toBe(0)
    await pass(5000)
    expect(f).toHaveBeenCalledTimes(1)
  })

  it("leave no listener at their signals", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const { signal } = new AbortController()
    const all = [{ grace: 100 }, { timeout: 500 }, {}, { retry: {} }].map((options) =>
      watch(meter.run(() => sleep(200), { signal, ...options }))
    )
    await flush()
    expect(listeners(signal)).toBe(1)
    void meter.close("end")
    expect(listeners(signal), "not even while the grace is taken").toBe(0)
    await pass(1000)
    for (const { outcome } of all) expect(outcome).toMatchObject({ reason: "end" })
  })

  it("that have ended are not concerned", async () => {
    const meter = createMeter({})
    let own: AbortSignal | undefined
    await value(meter.run(({ signal }) => void (own = signal)))
    await meter.close("end")
    expect(own?.aborted).toBe(false)
  })
})

describe.each(verbs)("a call of $name", (verb) => {
  it("rejects with the reason, and its tasks are aborted with it", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const { signal } = new AbortController()
    const waits = probe(() => ({ ms: 1000 }))
    const runs = probe(() => ({ ms: 1000 }))
    const calls = [
      watch(verb.call([0], runs, { meter, signal }).promise),
      watch(verb.call([0, 1, 2], waits, { meter, signal }).promise)
    ]
    await pass(50)
    const closed = watch(meter.close("end"))
    await flush()
    for (const { outcome } of calls) expect(outcome).toEqual({ status: "rejected", reason: "end", at: 50 })
    expect(closed.outcome).toMatchObject({ status: "fulfilled", at: 50 })
    expect([...runs.aborted]).toEqual([[0, "end"]])
    expect([...waits.aborted]).toEqual([[0, "end"]])
    expect(listeners(signal)).toBe(0)
    await pass(1000)
    expect([...runs.order, ...waits.order]).toEqual([0, 0])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("that uses other meters, too, is aborted: what it holds of them comes back", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    const other = createMeter({ maxAtOnce: 1 })
    const p = probe(() => ({ ms: 1000 }))
    const call = watch(verb.call([0, 1], p, { meter: [other, meter] }).promise)
    await pass(10)
    await meter.close("end")
    await flush()
    expect(call.outcome).toMatchObject({ reason: "end", at: 10 })
    await expectFree(other, 1)
    await other.close()
  })

  it("made later rejects with the reason, and nothing starts or is taken from its source", async () => {
    const meter = createMeter({})
    await meter.close("end")
    const p = probe(() => ({}))
    for (const given of [meter, [createMeter({}), meter]]) {
      const call = watch(verb.call([0, 1], p, { meter: given }).promise)
      await flush()
      expect(call.outcome).toMatchObject({ status: "rejected", reason: "end" })
    }
    expect(p.starts).toEqual([])
  })
})

describe("later calls", () => {
  const made = async (meter: Meter): Promise<Array<unknown>> => {
    const f = vi.fn<() => void>()
    const wrapped = meter.wrap(f)
    const reasons = [
      await rejection(meter.run(f)),
      await rejection(meter.run(f, { retry: {} })),
      await rejection(wrapped()),
      await rejection(meter.runOnEach([1], f)),
      await rejection(meter.runAll([f])),
      await rejection(meter.runAny([f])),
      await rejection(meter.amap([1], f).next()),
      await rejection(Array.fromAsync(amap([1], f, { meter })))
    ]
    expect(f).not.toHaveBeenCalled()
    return reasons
  }

  it.each([
    ["an error", new Error("end")],
    ["a text", "end"],
    ["null", null]
  ])("rejects with the reason itself: %s", async (_, reason) => {
    const meter = createMeter({})
    await meter.close(reason)
    for (const each of await made(meter)) expect(each).toBe(reason)
  })

  it.each([
    ["no reason", []],
    ["undefined", [undefined]]
  ])("rejects with one AbortError if close is called with %s", async (_, args) => {
    const meter = createMeter({})
    await meter.close(...args)
    const reasons = await made(meter)
    expect(isAbortError(reasons[0])).toBe(true)
    expect((reasons[0] as Error).message).toContain("closed")
    expect(new Set(reasons).size).toBe(1)
  })

  it("rejects in the very step of the close, in which others still end", async () => {
    const meter = createMeter({})
    let nested: ReturnType<typeof watch<number>> | undefined
    const run = watch(
      meter.run(({ signal }) => {
        signal.addEventListener("abort", () => {
          nested = watch(meter.run(() => 1))
        })
        return sleep(100, signal)
      })
    )
    await flush()
    await meter.close("end")
    await flush()
    expect([run.outcome, nested?.outcome]).toMatchObject([{ reason: "end" }, { reason: "end" }])
    expect(meter.snapshot().started).toBe(1)
  })

  it("report invalid arguments, and reject with the reason of a signal that has aborted", async () => {
    const meter = createMeter({})
    await meter.close("end")
    expect(await rejection((meter.run as (task: unknown) => Promise<unknown>)(5))).toBeInstanceOf(TypeError)
    expect(await rejection(meter.run(() => 1, { signal: AbortSignal.abort("mine") }))).toBe("mine")
  })

  it("can still use the meter: it is idle, has a snapshot, and its limits can be changed", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    await meter.close()
    await value(meter.idle())
    meter.pause(10)
    meter.resume()
    meter.resize({ maxAtOnce: 2 })
    meter.clear()
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, free: 2 })
  })

  it("of an amap made before and read after: its first next() rejects, the next is done", async () => {
    const meter = createMeter({})
    const results = meter.amap([1], (n) => n)
    await meter.close("end")
    expect(await rejection(results.next())).toBe("end")
    expect(await value(results.next())).toEqual(over)
  })
})

describe("resolves", () => {
  it("at once without calls", async () => {
    expect(await settle(createMeter({ maxAtOnce: 1 }).close())).toEqual({
      status: "fulfilled",
      value: undefined,
      at: 0
    })
  })

  it("without waiting for tasks that ignore their signal, which keep their permits", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const all = [watch(meter.run(() => sleep(500))), watch(meter.runAll([() => sleep(500)]))]
    await pass(10)
    expect((await settle(meter.close("end"))).at).toBe(10)
    expect(all.map(({ outcome }) => outcome?.at)).toEqual([10, 10])
    expect(meter.snapshot().running).toBe(2)
    await pass(1000)
    expect(meter.snapshot().running).toBe(0)
  })

  it.each([
    ["a run", (meter: Meter, grace: number) => meter.run(() => sleep(500), { grace })],
    ["a run that may be retried", (meter: Meter, grace: number) => meter.run(() => sleep(500), { grace, retry: {} })],
    ["a wrapped function", (meter: Meter, grace: number) => meter.wrap(() => sleep(500), { grace })()],
    ["a verb", (meter: Meter, grace: number) => meter.runOnEach([1], () => sleep(500), { grace })],
    ["amap", (meter: Meter, grace: number) => meter.amap([1], () => sleep(500), { grace }).next()]
  ])("when the grace of the last call is over, or its task has settled: %s", async (_, make) => {
    for (const [grace, after] of [
      [100, 100],
      [5000, 490],
      [Infinity, 490]
    ] as const) {
      const meter = createMeter({})
      const from = now()
      const calls = [watch<unknown>(make(meter, grace)), watch<unknown>(make(meter, 20))]
      await pass(10)
      const closed = watch(meter.close("end"))
      await pass(1000)
      expect(closed.outcome?.at).toBe(from + 10 + after)
      expect(calls.map(({ outcome }) => outcome)).toEqual([
        { status: "rejected", reason: "end", at: from + 10 + after },
        { status: "rejected", reason: "end", at: from + 30 }
      ])
      expect(vi.getTimerCount()).toBe(0)
    }
  })

  it("when a call that was aborted before has taken its grace, counted from then", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = watch(meter.run(() => sleep(1000), { signal: controller.signal, grace: 100 }))
    await pass(10)
    controller.abort("stop")
    await pass(60)
    const closed = watch(meter.close("end"))
    await pass(2000)
    expect(run.outcome, "the first reason counts").toEqual({ status: "rejected", reason: "stop", at: 110 })
    expect(closed.outcome?.at).toBe(110)
  })

  it("when a source has been closed, within the grace", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const source: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: 1 }),
        return: async () => {
          await sleep(70)
          return { done: true, value: undefined }
        }
      })
    }
    const call = watch(meter.runOnEach(source, (_, { signal }) => sleep(1000, signal), { grace: 100 }))
    await pass(10)
    const closed = watch(meter.close("end"))
    await pass(1000)
    expect([call.outcome?.at, closed.outcome?.at]).toEqual([80, 80])
  })

  it("after the promises of the calls have settled", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    const told: Array<string> = []
    const tell = (name: string) => () => told.push(name)
    const inside = async (call: () => Promise<unknown>) => await call()
    for (const [name, call] of Object.entries({
      run: () => meter.run(() => sleep(100)),
      wrap: () => meter.wrap(() => sleep(100))(),
      all: () => meter.runAll({ a: () => sleep(100) }),
      waits: () => meter.runOnEach([1], () => sleep(100))
    })) {
      inside(call).catch(tell(name))
    }
    await flush()
    await meter.close("end")
    told.push("closed")
    expect(told).toHaveLength(5)
    expect(told.at(-1)).toBe("closed")
    await pass(200)
  })

  it("from inside of a task of the meter, too", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let went = ""
    const run = watch(
      meter.run(async () => {
        await meter.close("end")
        went = `on at ${now()}`
      })
    )
    const sync = watch(meter.run(() => meter.close("end")))
    await pass(10)
    expect([run.outcome, sync.outcome]).toMatchObject([{ reason: "end" }, { reason: "end" }])
    expect(went).toBe("on at 0")
  })

  it("a task that closes the meter and then fails at once has its call reject with the meter's reason", async () => {
    const meter = createMeter({})
    const f = vi.fn<() => void>(() => {
      void meter.close("end")
      throw "bad"
    })
    expect(await rejection(meter.run(f, { retry: { delay: 0 } }))).toBe("end")
    await pass(100)
    expect(f).toHaveBeenCalledTimes(1)
  })

  it("of two meters when their calls have ended, also if one of them had other calls before", async () => {
    const busy = createMeter({})
    const idle = createMeter({})
    const before = watch(busy.run(() => sleep(50)))
    const call = watch(runOnEach([1], () => sleep(10), { meter: [busy, idle] }))
    await pass(100)
    expect(before.outcome).toMatchObject({ status: "fulfilled" })
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
    const closed = [watch(busy.close()), watch(idle.close())]
    await pass(100)
    for (const { outcome } of closed) expect(outcome).toMatchObject({ status: "fulfilled" })
  })
})

describe("a second close", () => {
  it("waits as the first does, and changes neither the reason nor the time", async () => {
    const meter = createMeter({})
    const run = watch(meter.run(() => sleep(1000), { grace: 100 }))
    const verb = watch(meter.runOnEach([1], () => sleep(1000), { grace: 100 }))
    const first = watch(meter.close("first"))
    const second = watch(meter.close("second"))
    await pass(50)
    const third = watch(meter.close("third"))
    await pass(2000)
    for (const { outcome } of [run, verb]) expect(outcome).toEqual({ status: "rejected", reason: "first", at: 100 })
    expect([first, second, third].map(({ outcome }) => outcome?.at)).toEqual([100, 100, 100])
    expect(await rejection(meter.run(() => 1))).toBe("first")
  })

  it("after the first resolves at once", async () => {
    const meter = createMeter({})
    await meter.close("first")
    expect((await settle(meter.close("second"))).at).toBe(0)
    expect(await rejection(meter.run(() => 1))).toBe("first")
  })
})

describe("await using", () => {
  it("closes the meter when the block is left, and waits for its calls", async () => {
    const seen: Array<string> = []
    let meter: Meter | undefined
    const block = async () => {
      await using api = createMeter({ maxAtOnce: 1 })
      meter = api
      const task = async ({ signal }: { readonly signal: AbortSignal }) => {
        await sleep(1000, signal).catch((reason: unknown) => {
          seen.push(`${isAbortError(reason)} at ${now()}`)
          return sleep(30)
        })
        throw "late"
      }
      void watch(api.run(task, { grace: 50 }))
      await sleep(20)
      return "left"
    }
    expect(await settle(block())).toEqual({ status: "fulfilled", value: "left", at: 50 })
    expect(seen).toEqual(["true at 20"])
    expect(isAbortError(await rejection(meter!.run(() => 1)))).toBe(true)
  })

  it("keeps the error that the block is left with", async () => {
    const block = async () => {
      await using meter = createMeter({})
      const run = watch(meter.run(() => sleep(1000)))
      await sleep(20)
      expect(run.outcome).toBeUndefined()
      throw "mine"
    }
    expect(await settle(block())).toEqual({ status: "rejected", reason: "mine", at: 20 })
    await pass(1000)
  })
})

describe("the meter of a key", () => {
  it("stays closed, and leaves other keys alone", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const a = hosts.for("a")
    const all = ["a", "a", "b", "b"].map((key) => watch(hosts.for(key).run(() => sleep(100))))
    await pass(10)
    await a.close("end")
    await pass(1000)
    expect(all.map(({ outcome }) => outcome)).toMatchObject([
      { reason: "end", at: 10 },
      { reason: "end", at: 10 },
      { status: "fulfilled", at: 100 },
      { status: "fulfilled", at: 200 }
    ])
    // However many others come by, what is known of it is not dropped.
    for (const key of naturals(50)) await value(hosts.for(`${key}`).run(() => 1))
    await pass(100_000)
    expect(hosts.size, "the closed one").toBe(1)
    expect(await rejection(hosts.for("a").run(() => 1))).toBe("end")
    expect(await rejection(a.run(() => 1))).toBe("end")
    expect(await value(hosts.for("b").run(() => "b"))).toBe("b")
  })
})

describe("an amap", () => {
  it("yields the results it has, then rejects; it need not be read", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const read = meter.amap([10, 20, 1000], (ms, { signal }) => sleep(ms, signal).then(() => ms))
    expect(await value(read.next())).toEqual({ done: false, value: 10 })
    const unread = meter.amap([1], (_, { signal }) => sleep(1000, signal), { maxUnread: 1 })
    void watch(unread.next())
    await pass(20)
    await meter.close("end")
    await flush()
    expect(await value(read.next())).toEqual({ done: false, value: 20 })
    expect(await rejection(read.next())).toBe("end")
    expect(await value(read.next())).toEqual(over)
  })

  it("that is being left when the meter is closed: both wait for its grace", async () => {
    const meter = createMeter({})
    const results = meter.amap(
      [0, 1],
      async (n) => {
        if (n === 1) await sleep(1000)
      },
      { grace: 100 }
    )
    await value(results.next())
    const left = watch(leave(results))
    await pass(30)
    const closed = watch(meter.close("end"))
    await pass(2000)
    expect([left.outcome, closed.outcome]).toMatchObject([
      { status: "fulfilled", at: 100 },
      { status: "fulfilled", at: 100 }
    ])
  })
})

it("calls that never used the meter are not concerned", async () => {
  const meter = createMeter({})
  const all = [
    watch(runAll([1], () => sleep(100))),
    watch(runAny([() => sleep(50)])),
    watch(createMeter({}).run(() => sleep(70)))
  ]
  await meter.close("end")
  await pass(1000)
  expect(all.map(({ outcome }) => [outcome?.status, outcome?.at])).toEqual([
    ["fulfilled", 100],
    ["fulfilled", 50],
    ["fulfilled", 70]
  ])
})
