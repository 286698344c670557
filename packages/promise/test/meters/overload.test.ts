/** Limits on waiting: `maxWaiting`, `waitTimeout`, `overflow`. */
import { describe, expect, it, vi } from "vitest"
import { createMeter, OverloadedError, runAll } from "../../src/index.ts"
import type { Meter, MeterLimits, RunOptions } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  now,
  pass,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Starts so many tasks of that length. Each notes when it starts. */
const start = (meter: Meter, count: number, ms = 0, options: RunOptions = {}) =>
  Array.from({ length: count }, () => {
    const call: { startedAt?: number } = {}
    const run = meter.run(() => {
      call.startedAt = now()
      return ms === 0 ? undefined : sleep(ms)
    }, options)
    return Object.assign(watch(run), { call })
  })

const startsOf = (calls: ReturnType<typeof start>) => calls.map(({ call }) => call.startedAt)

const overloaded = (reason: OverloadedError["reason"], retryAfter: number | undefined, at: number) => ({
  status: "rejected",
  at,
  reason: { name: "OverloadedError", reason, retryAfter }
})

const errorOf = ({ outcome }: ReturnType<typeof start>[number]) =>
  outcome?.status === "rejected" && outcome.reason instanceof OverloadedError
    ? overloaded(outcome.reason.reason, outcome.reason.retryAfter, outcome.at)
    : outcome

describe("maxWaiting", () => {
  it("refuses one more at once; those that wait start as usual", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 2 })
    const calls = start(meter, 4, 100)
    await flush()
    expect(errorOf(calls[3]!)).toEqual(overloaded("queue-full", undefined, 0))
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 2 })
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, 100, 200, undefined])
    await expectFree(meter, 1)
  })

  it.each([
    ["depends on the end of a task at another", { maxPerSecond: 1, maxWaiting: 0 }, { maxAtOnce: 1 }, undefined],
    ["is the time until another opens", { maxPerSecond: 1 }, { maxAtOnce: 9, maxWaiting: 0 }, 1_000],
    ["is the longest", { maxPerSecond: 4, maxWaiting: 0 }, { maxPerSecond: 2, maxWaiting: 0 }, 500]
  ])("of one of several meters: retryAfter %s", async (_, limits, others, expected) => {
    const [meter, other] = [createMeter(limits), createMeter(others)]
    const [first, second] = start(meter, 2, 100, { meter: other })
    await flush()
    expect(errorOf(second!)).toEqual(overloaded("queue-full", expected, 0))
    await pass(expected ?? 1_000)
    // It comes true.
    const [third] = start(meter, 1, 0, { meter: other })
    await flush()
    expect([first, third].map((call) => call!.outcome?.status)).toEqual(["fulfilled", "fulfilled"])
  })

  it("retryAfter counts the permits that a task needs", async () => {
    const meter = createMeter({ maxAtOnce: 3, maxWaiting: 0 })
    const [first] = start(meter, 1, 100, { permits: 2 })
    const [second] = start(meter, 1, 0, { permits: 2 })
    await flush()
    expect(errorOf(second!)).toEqual(overloaded("queue-full", undefined, 0))
    await pass(100)
    expect(first!.outcome?.status).toBe("fulfilled")
  })

  it("0 refuses all that would have to wait", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 0 })
    const [first, second] = start(meter, 2, 100)
    await pass(100)
    expect(first!.outcome).toMatchObject({ status: "fulfilled", at: 100 })
    expect(errorOf(second!)).toEqual(overloaded("queue-full", undefined, 0))
    expect(await value(meter.run(() => "free"))).toBe("free")
  })

  it.each<readonly [string, MeterLimits]>([
    ["a rate", { maxPerSecond: 10, maxWaiting: 2 }],
    ["a window", { windows: { calls: { limit: 1, per: 100 } }, maxWaiting: 2 }]
  ])("retryAfter by %s comes true", async (_, limits) => {
    const meter = createMeter(limits)
    const calls = start(meter, 4)
    await pass(30)
    const [late] = start(meter, 1)
    await flush()
    expect([errorOf(calls[3]!), errorOf(late!)]).toEqual([
      overloaded("queue-full", 100, 0),
      overloaded("queue-full", 70, 30)
    ])
    await pass(69)
    expect(errorOf(start(meter, 1)[0]!)).toBeUndefined()
    await pass(1)
    const [accepted] = start(meter, 1)
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, 100, 200, undefined])
    expect(accepted!.call.startedAt).toBe(300)
  })

  it("a call that comes in the very instant of a start is accepted", async () => {
    const meter = createMeter({ maxPerSecond: 10, maxWaiting: 1 })
    // Its timer was set before that of the meter.
    const late: Array<ReturnType<typeof start>[number]> = []
    setTimeout(() => late.push(...start(meter, 1)), 100)
    start(meter, 2)
    await pass(1000)
    expect(late[0]!.call.startedAt).toBe(200)
  })

  it("counts neither tasks that run nor the items of verbs, and refuses no verb", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 1 })
    const verb = watch(runAll([1, 2, 3], () => sleep(100), { meter }))
    await flush()
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 1 })
    const calls = start(meter, 2, 100)
    await flush()
    expect(errorOf(calls[1]!)).toEqual(overloaded("queue-full", undefined, 0))
    const second = watch(runAll([1], () => sleep(100), { meter }))
    await pass(1000)
    expect([verb.outcome?.status, second.outcome?.status, calls[0]!.outcome?.status]).toEqual(
      Array(3).fill("fulfilled")
    )
  })

  it("a retry is not refused, but counts", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 1 })
    let attempts = 0
    const flaky = async () => {
      await sleep(10)
      if (++attempts === 1) throw new Error("once")
    }
    const retried = watch(meter.run(flaky, { retry: { delay: 5 } }))
    await pass(11)
    const [running, waiting] = start(meter, 2, 100)
    await pass(10)
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 2 })
    const [refused] = start(meter, 1)
    await pass(1000)
    expect(errorOf(refused!)).toEqual(overloaded("queue-full", undefined, 21))
    expect([running!.outcome?.at, waiting!.outcome?.at, retried.outcome?.at]).toEqual([111, 211, 221])
  })

  it("holds for calls that come after a resize", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const calls = start(meter, 4, 100)
    await flush()
    meter.resize({ maxWaiting: 1 })
    calls.push(...start(meter, 1))
    await pass(250)
    calls.push(...start(meter, 1, 100))
    meter.resize({ maxWaiting: Infinity })
    calls.push(...start(meter, 2, 100))
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, 100, 200, 300, undefined, undefined, 400, 500])
  })
})

describe("waitTimeout", () => {
  it("refuses at once what the rate cannot admit in time, with a retryAfter that comes true", async () => {
    const meter = createMeter({ maxPerSecond: 10, waitTimeout: 250 })
    const calls = start(meter, 5)
    await flush()
    expect(calls.map(errorOf)).toEqual([
      { status: "fulfilled", value: undefined, at: 0 },
      undefined,
      undefined,
      overloaded("wait-timeout", 50, 0),
      overloaded("wait-timeout", 50, 0)
    ])
    await pass(49)
    expect(errorOf(start(meter, 1)[0]!)).toBeUndefined()
    await flush()
    await pass(1)
    const [accepted] = start(meter, 1)
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, 100, 200, undefined, undefined])
    expect(accepted!.call.startedAt).toBe(300)
  })

  it("likewise for a window, however many windows the calls in front take", async () => {
    const meter = createMeter({ windows: { calls: { limit: 2, per: 100 } }, waitTimeout: 250 })
    const calls = start(meter, 8)
    await flush()
    expect(calls.slice(6).map(errorOf)).toEqual(Array(2).fill(overloaded("wait-timeout", 50, 0)))
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, 0, 100, 100, 200, 200, undefined, undefined])
  })

  it("a cost of its own counts; what is in front does not if that has costs", async () => {
    const meter = createMeter({ windows: { units: { limit: 10, per: 100 } }, waitTimeout: 50 })
    start(meter, 1, 0, { cost: { units: 5 } })
    await pass(60)
    const [large] = start(meter, 1, 0, { cost: { units: 8 } })
    const [small] = start(meter, 1, 0, { cost: { units: 1 } })
    const [full] = start(meter, 1, 0, { cost: { units: 10 } })
    await pass(1000)
    expect(startsOf([large!, small!, full!])).toEqual([100, 100, undefined])
    expect(errorOf(full!)).toMatchObject({ at: 110 })
  })

  it.each<readonly [string, MeterLimits, RunOptions]>([
    ["of the meter", { waitTimeout: 60 }, {}],
    ["of the call", {}, { waitTimeout: 60 }],
    ["of the meter, which is shorter", { waitTimeout: 60 }, { waitTimeout: "1 minute" }],
    ["of the call, which is shorter", { waitTimeout: "1 minute" }, { waitTimeout: 60 }]
  ])("refuses what waits for the end of a task when the time is up: %s", async (_, limits, options) => {
    const meter = createMeter({ maxAtOnce: 1, ...limits })
    start(meter, 1, 100)
    await pass(10)
    const [call] = start(meter, 1, 0, options)
    await pass(1000)
    expect(errorOf(call!)).toEqual(overloaded("wait-timeout", undefined, 70))
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(meter, 1)
  })

  it("a start in the very instant comes in time: by a rate, and by a timer that was set before", async () => {
    const meter = createMeter({ maxPerSecond: 10, waitTimeout: 100 })
    const calls = start(meter, 2)
    const pausing = createMeter({ waitTimeout: 100 })
    pausing.pause(100)
    calls.push(...start(pausing, 1))
    await pass(500)
    expect(startsOf(calls)).toEqual([0, 100, 100])
  })

  it("0: now or not at all", async () => {
    const meter = createMeter({ maxAtOnce: 1, waitTimeout: 0 })
    const [first, second] = start(meter, 2, 100)
    await pass(500)
    expect(first!.outcome?.status).toBe("fulfilled")
    expect(errorOf(second!)).toEqual(overloaded("wait-timeout", undefined, 0))
  })

  it("the time that the task runs does not count, nor that of its retries", async () => {
    const meter = createMeter({ maxAtOnce: 1, waitTimeout: 50 })
    let attempts = 0
    const flaky = async () => {
      await sleep(100)
      if (++attempts < 3) throw new Error("not yet")
    }
    const run = watch(meter.run(flaky, { retry: { delay: 10 } }))
    await pass(105)
    start(meter, 1, 200)
    await pass(1000)
    expect(run.outcome).toMatchObject({ status: "fulfilled", at: 515 })
  })

  it("a call that is aborted while it waits leaves no timer", async () => {
    const meter = createMeter({ maxAtOnce: 1, waitTimeout: 1000 })
    start(meter, 1, 100)
    const controller = new AbortController()
    const [call] = start(meter, 1, 0, { signal: controller.signal })
    await pass(10)
    controller.abort("no")
    await pass(100)
    expect(call!.outcome).toMatchObject({ reason: "no", at: 10 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a wrapped function has it, too", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const wrapped = meter.wrap(() => sleep(100), { waitTimeout: 30 })
    const calls = [watch(wrapped()), watch(wrapped())]
    await pass(500)
    expect(calls[0]!.outcome?.status).toBe("fulfilled")
    expect(calls[1]!.outcome).toMatchObject({ status: "rejected", at: 30, reason: { reason: "wait-timeout" } })
  })

  it("a pause does not tell: the time is waited for", async () => {
    const meter = createMeter({ waitTimeout: 50 })
    meter.pause(1000)
    const calls = start(meter, 2)
    await pass(40)
    meter.resume()
    await pass(1000)
    expect(startsOf(calls)).toEqual([40, 40])
  })
})

describe("overflow: dropOldest", () => {
  it("refuses the call that has waited longest", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 2, overflow: "dropOldest" })
    const calls = start(meter, 5, 100)
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, undefined, undefined, 100, 200])
    expect(calls.slice(1, 3).map(errorOf)).toEqual(Array(2).fill(overloaded("queue-full", undefined, 0)))
    await expectFree(meter, 1)
  })

  it("no item of a verb and no retry", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 1, overflow: "dropOldest" })
    const verb = watch(runAll([1, 2], () => sleep(100), { meter }))
    await flush()
    const calls = start(meter, 2, 100)
    await pass(1000)
    expect(verb.outcome?.status).toBe("fulfilled")
    expect(startsOf(calls)).toEqual([undefined, 200])
  })

  it("with nothing to drop, the call itself is refused", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 0, overflow: "dropOldest" })
    const calls = start(meter, 2, 100)
    await pass(500)
    expect(errorOf(calls[1]!)).toEqual(overloaded("queue-full", undefined, 0))
  })

  it("a call whose place becomes free by the drop starts at once if it can", async () => {
    const meter = createMeter({
      windows: { units: { limit: 10, per: 100 } },
      maxWaiting: 1,
      overflow: "dropOldest"
    })
    start(meter, 1, 0, { cost: { units: 5 } })
    const [large] = start(meter, 1, 0, { cost: { units: 8 } })
    const [small] = start(meter, 1, 0, { cost: { units: 2 } })
    await pass(500)
    expect(errorOf(large!)).toMatchObject({ at: 0 })
    expect(small!.call.startedAt).toBe(0)
  })

  it("switched on and off by resize, knows the calls that wait already", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxWaiting: 2 })
    const calls = start(meter, 3, 100)
    const verb = watch(runAll([1], () => sleep(100), { meter }))
    meter.resize({ overflow: "dropOldest" })
    calls.push(...start(meter, 1, 100))
    meter.resize({ overflow: "dropOldest" })
    meter.resize({ overflow: "refuse" })
    calls.push(...start(meter, 1, 100))
    await pass(1000)
    expect(startsOf(calls)).toEqual([0, undefined, 100, 300, undefined])
    expect(verb.outcome?.status).toBe("fulfilled")
  })
})

describe("several meters", () => {
  it("all or nothing: none is dropped if another meter refuses the call", async () => {
    const [dropping, refusing] = [
      createMeter({ maxAtOnce: 1, maxWaiting: 1, overflow: "dropOldest" }),
      createMeter({ maxAtOnce: 1, maxWaiting: 1 })
    ]
    const calls = [...start(dropping, 2, 100), ...start(refusing, 2, 100)]
    const [both] = start(dropping, 1, 0, { meter: refusing })
    await pass(1000)
    expect(errorOf(both!)).toEqual(overloaded("queue-full", undefined, 0))
    expect(calls.map(({ outcome }) => outcome?.status)).toEqual(Array(4).fill("fulfilled"))
  })

  it("the same call at both is dropped once", async () => {
    const make = () => createMeter({ maxAtOnce: 1, maxWaiting: 2, overflow: "dropOldest" })
    const [one, other] = [make(), make()]
    const running = start(one, 1, 100, { meter: other })
    const waiting = start(one, 2, 100, { meter: other })
    const [both] = start(one, 1, 100, { meter: other })
    await pass(1000)
    expect(startsOf([...running, ...waiting, both!])).toEqual([0, undefined, 100, 200])
  })

  it("the shortest waitTimeout counts, and the latest start", async () => {
    const [quick, slow] = [createMeter({ waitTimeout: 30 }), createMeter({ maxPerSecond: 10 })]
    const calls = start(quick, 2, 0, { meter: slow })
    await flush()
    expect(errorOf(calls[1]!)).toEqual(overloaded("wait-timeout", 70, 0))
  })
})

it("an OverloadedError is an Error with a name and a message", () => {
  const error = new OverloadedError({ reason: "wait-timeout", retryAfter: 5 })
  expect(error).toBeInstanceOf(Error)
  expect(`${error}`).toBe("OverloadedError: the meter is overloaded: the task cannot start within its waitTimeout")
  expect(`${new OverloadedError({ reason: "queue-full", retryAfter: undefined })}`).toContain("maxWaiting")
})
