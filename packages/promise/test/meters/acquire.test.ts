/** `meter.acquire`: a permit for work that does not end with a function. */
import fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { combineMeters, createKeyedMeter, createMeter, OverloadedError, runAll } from "../../src/index.ts"
import type { Meter, MeterLimits, Permit } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  listeners,
  now,
  pass,
  rejection,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Releases the permit after so many ms. */
const hold = async (permit: Permit, ms: number): Promise<void> => {
  await sleep(ms)
  permit.release()
}

describe("acquire", () => {
  it("counts as running until the permit is released, in the same step", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const permit = await value(meter.acquire())
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 0, started: 1, free: 1 })
    permit.release()
    expect(meter.snapshot()).toMatchObject({ running: 0, started: 1, free: 2 })
    await expectFree(meter, 2)
  })

  it("waits with the tasks of other calls, first come, first served", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const starts: Array<string> = []
    const note = (name: string) => starts.push(`${name} ${now()}`)
    const acquire = async (name: string): Promise<void> => {
      const permit = await meter.acquire()
      note(name)
      await hold(permit, 10)
    }
    await value(
      Promise.all([
        acquire("a"),
        meter.run(() => (note("b"), sleep(20))),
        acquire("c"),
        runAll([() => (note("d"), sleep(5))], { meter }),
        acquire("e")
      ])
    )
    expect(starts).toEqual(["a 0", "b 10", "c 30", "d 40", "e 45"])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("starts at the instants that rate and windows allow", async () => {
    const meter = createMeter({ maxPerSecond: 10, windows: { any: { limit: 3, per: 1000 } } })
    const starts = await value(
      Promise.all(
        Array.from({ length: 5 }, async () => {
          const permit = await meter.acquire()
          permit.release()
          return now()
        })
      )
    )
    expect(starts).toEqual([0, 100, 200, 1000, 1100])
  })

  it.each<readonly [string, (permit: Permit) => unknown]>([
    ["release", ({ release }) => release()],
    ["Symbol.dispose", (permit) => permit[Symbol.dispose]()],
    ["Symbol.asyncDispose", (permit) => permit[Symbol.asyncDispose]()]
  ])("%s: released twice is released once", async (_, release) => {
    const meter = createMeter({ maxAtOnce: 3 })
    const [first, second] = await value(Promise.all([meter.acquire(), meter.acquire()]))
    await release(first)
    expect(meter.snapshot().running).toBe(1)
    await release(first)
    first.release()
    expect(meter.snapshot().running).toBe(1)
    second.release()
    await expectFree(meter, 3)
  })

  it("using and await using release it at the end of the block", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    {
      using _ = await value(meter.acquire())
      expect(meter.snapshot().running).toBe(1)
    }
    expect(meter.snapshot().running).toBe(0)
    {
      await using _ = await value(meter.acquire())
      expect(meter.snapshot().running).toBe(1)
    }
    expect(meter.snapshot().running).toBe(0)
  })

  it("holds as many permits as its options say", async () => {
    const meter = createMeter({ maxAtOnce: 5 })
    const permit = await value(meter.acquire({ permits: 3 }))
    expect(meter.snapshot().free).toBe(2)
    permit.release()
    expect(meter.snapshot().free).toBe(5)
    expect(await rejection(meter.acquire({ permits: 6 }))).toBeInstanceOf(RangeError)
  })

  it("takes its cost, which can be corrected", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 100, per: 1000 } } })
    const permit = await value(meter.acquire({ cost: { tokens: 90 } }))
    expect(meter.snapshot().room).toEqual({ tokens: 10 })
    permit.correct({ tokens: 40 })
    expect(meter.snapshot().room).toEqual({ tokens: 60 })
    permit.release()
    permit.correct({ tokens: 50 })
    expect(meter.snapshot().room).toEqual({ tokens: 50 })
    expect(() => permit.correct({ tokenz: 1 })).toThrow(TypeError)
    expect(await rejection(meter.acquire({ cost: { tokens: 101 } }))).toBeInstanceOf(RangeError)
    expect(await rejection(meter.acquire({ cost: { tokenz: 1 } }))).toBeInstanceOf(TypeError)
  })

  it("reconciles as a task does: later starts are subtracted", async () => {
    const meter = createMeter({ windows: { requests: { limit: 100, per: 1000 } } })
    const permit = await value(meter.acquire())
    await value(runAll([1, 2, 3], () => {}, { meter }))
    permit.reconcile({ window: "requests", remaining: 50, resetAfter: 500 })
    expect(meter.snapshot().room).toEqual({ requests: 47 })
    permit.release()
  })

  it("is ranked by priority, by default the meter's, and by lane", async () => {
    const meter = createMeter({ maxAtOnce: 1, priority: 2 })
    const order: Array<string> = []
    const first = await value(meter.acquire())
    const acquire = async (name: string, options: Parameters<Meter["acquire"]>[0]): Promise<void> => {
      const permit = await meter.acquire(options)
      order.push(name)
      permit.release()
    }
    const all = Promise.all([
      acquire("low", { priority: 1 }),
      acquire("a1", { lane: "a" }),
      acquire("a2", { lane: "a" }),
      acquire("b", { lane: "b" }),
      acquire("high", { priority: 3, lane: "a" })
    ])
    expect(meter.snapshot().lanes).toEqual(
      new Map([
        ["a", 3],
        ["b", 1]
      ])
    )
    first.release()
    await value(all)
    expect(order).toEqual(["low", "high", "b", "a1", "a2"])
  })

  it("of several meters, takes from all of them", async () => {
    const [a, b, c] = [createMeter({ maxAtOnce: 2 }), createMeter({ maxAtOnce: 2 }), createMeter({ maxAtOnce: 2 })]
    const permit = await value(combineMeters(a, b).acquire({ meter: c }))
    expect([a, b, c].map((meter) => meter.snapshot().running)).toEqual([1, 1, 1])
    permit.release()
    for (const meter of [a, b, c]) await expectFree(meter, 2)
  })

  it("of a key: its state is kept while a permit is held", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const permit = await value(hosts.for("a").acquire())
    for (let n = 0; n < 10; n++) await value(hosts.for(`other ${n}`).run(() => n))
    expect(hosts.for("a").snapshot().running).toBe(1)
    permit.release()
    expect(hosts.for("a").snapshot().running).toBe(0)
  })

  it("timeout and retry of the meter do not apply", async () => {
    const meter = createMeter({ maxAtOnce: 1, timeout: 10, releaseOnTimeout: true, retry: { times: 3 } })
    const permit = await value(meter.acquire())
    await pass(1000)
    expect(meter.snapshot().running).toBe(1)
    expect(permit.signal.aborted).toBe(false)
    permit.release()
    expect(meter.snapshot().running).toBe(0)
  })
})

describe("its signal", () => {
  it("aborted already, nothing is acquired", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await rejection(meter.acquire({ signal: AbortSignal.abort("before") }))).toBe("before")
    expect(meter.snapshot().started).toBe(0)
  })

  it("ends the wait, and leaves the queue", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const permit = await value(meter.acquire())
    const controller = new AbortController()
    const waiting = watch(meter.acquire({ signal: controller.signal }))
    const behind = watch(meter.run(() => now()))
    await pass(5)
    controller.abort("enough")
    await flush()
    expect(waiting.outcome).toEqual({ status: "rejected", reason: "enough", at: 5 })
    expect(meter.snapshot().waiting).toBe(1)
    permit.release()
    await flush()
    expect(behind.outcome).toMatchObject({ value: 5 })
    expect(listeners(controller.signal)).toBe(0)
  })

  it("aborts the signal of a permit that is held, which remains to be released", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const permit = await value(meter.acquire({ signal: controller.signal }))
    expect(listeners(controller.signal)).toBe(1)
    controller.abort("enough")
    expect(permit.signal.reason).toBe("enough")
    await flush()
    expect(meter.snapshot().running).toBe(1)
    permit.release()
    await expectFree(meter, 1)
  })

  it("has no listener when the permit is released", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const permit = await value(meter.acquire({ signal: controller.signal }))
    permit.release()
    expect(listeners(controller.signal)).toBe(0)
    controller.abort("late")
    expect(permit.signal.aborted).toBe(false)
  })
})

describe("the ends of a meter", () => {
  it("clear rejects those that wait, and leaves permits that are held", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const permit = await value(meter.acquire())
    const waiting = rejection(meter.acquire())
    meter.clear("cleared")
    expect(await waiting).toBe("cleared")
    expect(permit.signal.aborted).toBe(false)
    permit.release()
    await expectFree(meter, 1)
  })

  it("drain and idle wait for the release", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const permit = await value(meter.acquire())
    const waiting = meter.acquire()
    const [idle, drained] = [watch(meter.idle()), watch(meter.drain())]
    expect(isAbortError(await rejection(meter.acquire()))).toBe(true)
    await pass(5)
    expect([idle.outcome, drained.outcome]).toEqual([undefined, undefined])
    permit.release()
    const second = await value(waiting)
    await pass(5)
    expect(drained.outcome).toBeUndefined()
    second.release()
    await flush()
    expect([idle.outcome?.at, drained.outcome?.at]).toEqual([10, 10])
    expect(meter.snapshot().closed).toBe(true)
  })

  it("close aborts the signal of a permit that is held, and does not wait for it", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const permit = await value(meter.acquire())
    const waiting = rejection(meter.acquire())
    await value(meter.close("closed"))
    expect(await waiting).toBe("closed")
    expect(permit.signal.reason).toBe("closed")
    expect(meter.snapshot().running).toBe(1)
    permit.release()
    expect(meter.snapshot().running).toBe(0)
    expect(await rejection(meter.acquire())).toBe("closed")
  })

  it("a permit that is acquired as the meter is closed is released by its caller", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const acquired = meter.acquire()
    void meter.close("closed")
    const permit = await value(acquired)
    expect(permit.signal.reason).toBe("closed")
    permit.release()
    expect(meter.snapshot().running).toBe(0)
  })

  it("overload: refused as calls of run are", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 1 })
    const permit = await value(meter.acquire())
    const late = rejection(meter.acquire({ waitTimeout: 10 }))
    expect(await rejection(meter.acquire())).toMatchObject({ reason: "queue-full" })
    await pass(10)
    expect(await late).toBeInstanceOf(OverloadedError)
    permit.release()
    await expectFree(meter, 1)
  })
})

interface Planned {
  readonly at: number
  readonly ms: number
  readonly cost: number
  readonly permits: number
  readonly priority: number
  readonly lane: number | undefined
  readonly abortsAfter: number | undefined
}

const planned: fc.Arbitrary<Planned> = fc.record({
  at: fc.integer({ min: 0, max: 300 }),
  ms: fc.integer({ min: 0, max: 200 }),
  cost: fc.integer({ min: 0, max: 5 }),
  permits: fc.integer({ min: 1, max: 2 }),
  priority: fc.integer({ min: 0, max: 2 }),
  lane: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
  abortsAfter: fc.option(fc.integer({ min: 0, max: 200 }), { nil: undefined })
})

const limits: fc.Arbitrary<MeterLimits> = fc.record(
  {
    maxAtOnce: fc.integer({ min: 2, max: 4 }),
    maxPerSecond: fc.constantFrom(5, 10, 20, 50),
    windows: fc.record({
      w: fc.record({ limit: fc.integer({ min: 5, max: 9 }), per: fc.integer({ min: 1, max: 300 }) })
    }),
    maxWaiting: fc.integer({ min: 0, max: 5 })
  },
  { requiredKeys: ["windows"] }
)

/** When each of the tasks starts, or how it is refused. */
const outcomes = async (
  program: readonly [MeterLimits, ReadonlyArray<Planned>],
  call: (meter: Meter, options: object, work: (signal: AbortSignal) => Promise<void>) => Promise<unknown>
): Promise<ReadonlyArray<unknown>> => {
  const [limits, tasks] = program
  const [meter, other] = [createMeter(limits), createMeter({ maxAtOnce: 3 })]
  const began = now()
  const seen: Array<unknown> = tasks.map(() => undefined)
  const calls = tasks.map(async ({ abortsAfter, at, cost, ms, ...rank }, i) => {
    await sleep(at)
    const controller = new AbortController()
    const cancel = abortsAfter === undefined ? undefined : setTimeout(() => controller.abort("aborted"), abortsAfter)
    const meters = i % 3 === 0 ? { meter: other } : {}
    const options = { ...rank, ...meters, cost: { w: cost }, signal: controller.signal }
    await call(meter, options, async (signal) => {
      seen[i] = now() - began
      await sleep(ms, signal)
    }).catch((reason: unknown) => (seen[i] ??= String(reason)))
    clearTimeout(cancel)
  })
  await value(Promise.all(calls))
  await value(Promise.all([meter.idle(), other.idle()]))
  return seen
}

it("random acquisitions start at the instants at which calls of run do, and are refused as those", async () => {
  let starts = 0
  await fc.assert(
    fc.asyncProperty(limits, fc.array(planned, { minLength: 1, maxLength: 15 }), async (limits, tasks) => {
      const byRun = await outcomes([limits, tasks], (meter, options, work) =>
        meter.run(({ signal }) => work(signal), options)
      )
      const byAcquire = await outcomes([limits, tasks], async (meter, options, work) => {
        using permit = await meter.acquire(options)
        await work(permit.signal)
      })
      expect(byAcquire).toEqual(byRun)
      starts += byRun.filter((each) => typeof each === "number").length
    }),
    { numRuns: 150, seed: 20_261_127 }
  )
  expect(starts).toBeGreaterThan(400)
})
