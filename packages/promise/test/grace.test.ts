/** `grace`: how long a call waits for tasks it has aborted. And tasks that ignore their signal. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  leave,
  listeners,
  naturals,
  pass,
  probe,
  settle,
  sleep,
  source,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"
import type { Probe } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/**
 * The call is over at 100 ms: by a failure, or by a success where it is a race. Then one task settles 40 ms after it
 * was aborted, and one at 1000 ms whatever happens.
 */
const ENDS = 100
const slowToLeave = (verb: { readonly verb: string }): Probe => {
  const p = probe((i) => {
    if (i === 0) return { ms: ENDS, ...(verb.verb === "runAny" ? {} : { rejects: { reason: "bad" } }) }
    return { ms: i === 1 ? ENDS + 40 : 1000, deaf: true, rejects: { reason: "late" } }
  })
  return p
}

const fails = { status: "rejected", reason: "bad" }
const wins = { status: "fulfilled", value: undefined }

describe.each(verbs)("$name", (verb) => {
  const ending = verb.verb === "runAny" ? wins : fails

  it.each([
    [undefined, ENDS],
    [0, ENDS],
    [10, ENDS + 10],
    [250, ENDS + 250],
    [Number.POSITIVE_INFINITY, 1000]
  ])("grace %s: tasks that ignore their signal are waited for until %i ms", async (grace, at) => {
    const p = slowToLeave(verb)
    const call = verb.call([0, 1, 2], p, grace === undefined ? {} : { grace })
    const outcome = await settle(call.promise)
    expect(outcome).toMatchObject(ending)
    expect(outcome.at).toBe(at)
    expect(p.cancelled(), "they were aborted at the end, not after the grace").toEqual([1, 2])
    await pass(2000)
  })

  it("grace ends early where all have settled", async () => {
    const p = probe((i) => {
      if (i === 0) return { ms: ENDS, ...(verb.verb === "runAny" ? {} : { rejects: { reason: "bad" } }) }
      return { ms: ENDS + 10 * i, deaf: true }
    })
    const outcome = await settle(verb.call([0, 1, 2], p, { grace: 5000 }).promise)
    expect(outcome).toMatchObject({ ...ending, at: ENDS + 20 })
    await flush()
    expect(vi.getTimerCount(), "the grace's own timer is gone").toBe(0)
  })

  it("grace costs nothing where tasks obey", async () => {
    const p = probe((i) => {
      if (i === 0) return { ms: ENDS, ...(verb.verb === "runAny" ? {} : { rejects: { reason: "bad" } }) }
      return { ms: 5000 }
    })
    const outcome = await settle(verb.call([0, 1, 2], p, { grace: Number.POSITIVE_INFINITY }).promise)
    expect(outcome).toMatchObject({ ...ending, at: ENDS })
  })

  it("does not wait for the grace if nothing was aborted", async () => {
    const p = probe(() => ({ ms: 10 }))
    const outcome = await settle(verb.call([0], p, { grace: 5000 }).promise)
    expect(outcome).toMatchObject({ status: "fulfilled", at: 10 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([0, 30, Number.POSITIVE_INFINITY])("the caller's abort, with grace %s", async (grace) => {
    const controller = new AbortController()
    const p = probe(() => ({ ms: 1000, deaf: true, rejects: { reason: "late" } }))
    const call = verb.call([0, 1], p, { grace, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 50)
    const outcome = await settle(call.promise)
    expect(outcome).toEqual({ status: "rejected", reason: "stop", at: Math.min(50 + grace, 1000) })
    expect(listeners(controller.signal)).toBe(0)
    await pass(2000)
  })

  it("nothing starts while the grace is taken", async () => {
    const p = probe((i) => {
      if (i === 0) return { ms: ENDS, ...(verb.verb === "runAny" ? {} : { rejects: { reason: "bad" } }) }
      return { ms: i === 1 ? ENDS + 40 : 1000, deaf: true }
    })
    const s = source("sync", naturals(), () => p.starts.length)
    const items = verb.listed ? [0, 1, 2, 3, 4] : s.iterable
    const outcome = await settle(verb.call(items, p, { grace: 500, maxAtOnce: 2 }).promise)
    expect(outcome).toMatchObject({ ...ending, at: ENDS + 40 })
    expect(p.order).toEqual([0, 1])
  })

  it("late rejections are not unhandled, whatever causes them", async () => {
    // `expectNoUnhandledRejection` does the asserting; the tasks have to reject after the end for it to mean something.
    const p = slowToLeave(verb)
    await settle(verb.call([0, 1, 2], p).promise)
    expect(p.ended).toEqual([0])
    await pass(2000)
    expect(p.ended).toEqual([0, 1, 2])
  })
})

describe("leaving amap", () => {
  it.each([
    [0, 10],
    [30, 40],
    [Number.POSITIVE_INFINITY, 1000]
  ])("return() with grace %s is through at %i ms", async (grace, at) => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 1000, deaf: true }))
    const results = amap([0, 1], p.task, { grace })
    await value(results.next())
    const left = watch(leave(results))
    const next = watch(results.next())
    await flush()
    expect(p.cancelled(), "told at once").toEqual([1])
    await settle(sleep(5000))
    expect(left.outcome).toMatchObject({ status: "fulfilled", at })
    expect(next.outcome).toMatchObject({ status: "fulfilled", value: { done: true, value: undefined } })
  })

  it("disposal waits as return() does", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 1000, deaf: true }))
    const block = async () => {
      await using results = amap([0, 1], p.task, { grace: 30 })
      await results.next()
    }
    expect(await settle(block())).toMatchObject({ status: "fulfilled", at: 40 })
    await pass(1000)
  })

  it("a second return() waits no less than the first", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 10 : 1000, deaf: true }))
    const results = amap([0, 1], p.task, { grace: 30 })
    await value(results.next())
    const first = watch(leave(results))
    await pass(10)
    const second = watch(leave(results))
    await pass(1000)
    expect(first.outcome).toMatchObject({ status: "fulfilled", at: 40 })
    expect(second.outcome?.status).toBe("fulfilled")
    expect(second.outcome?.at).toBeLessThanOrEqual(40)
  })

  it("a failure reaches the reader when the grace is over, results that were ready before it", async () => {
    const p = probe((i) => {
      if (i === 0) return { ms: 10 }
      return i === 1 ? { ms: 20, rejects: { reason: "bad" } } : { ms: 1000, deaf: true }
    })
    const results = amap([0, 1, 2], p.task, { grace: 30 })
    expect(await settle(results.next())).toMatchObject({ status: "fulfilled", at: 10 })
    expect(await settle(results.next())).toEqual({ status: "rejected", reason: "bad", at: 50 })
    await pass(1000)
  })
})

describe("a shared meter counts a task until it has really settled", () => {
  it.each(verbs)("$name: another call on the meter starts only then", async (verb) => {
    const meter = createMeter({ maxAtOnce: 2 })
    const controller = new AbortController()
    const p = probe((i) => ({ ms: 100 + 300 * i, deaf: true, rejects: { reason: "late" } }))
    const call = verb.call([0, 1, 2], p, { meter, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "stop", at: 50 })

    const other = probe(() => ({ ms: 10 }))
    const second = watch(runAll([0, 1, 2], other.task, { meter }))
    await pass(1000)
    // One permit is back at 100 ms, the other at 400.
    expect(second.outcome).toMatchObject({ status: "fulfilled", at: 130 })
    expect(other.starts).toEqual([100, 110, 120])
    expect(p.order).toEqual([0, 1])
    await expectFree(meter, 2)
  })

  it("runOnEach that has failed, too", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe((i) => (i === 0 ? { ms: 50, rejects: { reason: "bad" } } : { ms: 400, deaf: true }))
    expect((await settle(runOnEach([0, 1], p.task, { meter }))).at).toBe(50)
    const other = probe(() => ({ ms: 10 }))
    const second = watch(runOnEach([0, 1, 2], other.task, { meter, maxAtOnce: 2 }))
    await pass(300)
    expect(other.peak(), "one place is still taken").toBe(1)
    expect(second.outcome).toMatchObject({ status: "fulfilled", at: 80 })
    await pass(100)
    await expectFree(meter, 2)
  })

  it("runAny that has a winner, too", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe((i) => (i === 0 ? { ms: 50 } : { ms: 400, deaf: true, rejects: { reason: "late" } }))
    expect((await settle(runAny([0, 1], p.task, { meter }))).at).toBe(50)
    const other = probe(() => ({ ms: 10 }))
    await value(runOnEach([0, 1], other.task, { meter }))
    expect(other.peak()).toBe(1)
    await pass(400)
    await expectFree(meter, 2)
  })

  it("meter.run that was aborted, too", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const run = meter.run(() => sleep(400), { signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(run)).toEqual({ status: "rejected", reason: "stop", at: 50 })
    const next = watch(meter.run(() => "next"))
    await pass(500)
    expect(next.outcome).toEqual({ status: "fulfilled", value: "next", at: 400 })
  })

  it("a task that never settles keeps its permit for ever, and the meter otherwise works", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const controller = new AbortController()
    const call = runOnEach([0], () => new Promise<never>(() => {}), { meter, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 10)
    expect((await settle(call)).at).toBe(10)
    const other = probe(() => ({ ms: 10 }))
    await value(runOnEach([0, 1, 2], other.task, { meter }))
    expect(other.peak()).toBe(1)
  })

  it("limits of the call's own end with the call: the next call is free of them", async () => {
    const p = probe((i) => (i === 0 ? { ms: 50, rejects: { reason: "bad" } } : { ms: 400, deaf: true }))
    await settle(runOnEach([0, 1], p.task, { maxAtOnce: 2 }))
    const other = probe(() => ({ ms: 10 }))
    await value(runOnEach([0, 1], other.task, { maxAtOnce: 2 }))
    expect(other.peak()).toBe(2)
    await pass(400)
  })
})

describe("meter.run and grace", () => {
  it.each([
    [0, 50],
    [30, 80],
    [Number.POSITIVE_INFINITY, 400]
  ])("grace %s: an aborted task is waited for until %i ms", async (grace, at) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const run = meter.run(() => sleep(400), { signal: controller.signal, grace })
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(run)).toEqual({ status: "rejected", reason: "stop", at })
    expect(listeners(controller.signal)).toBe(0)
    await pass(500)
  })

  it("ends early where the task has settled, and leaves no timer", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const run = meter.run(() => sleep(90), { signal: controller.signal, grace: 5000 })
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(run)).toEqual({ status: "rejected", reason: "stop", at: 90 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    expect(listeners(controller.signal)).toBe(0)
  })

  it("a late rejection is not unhandled", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    let late = false
    const run = meter.run(
      async () => {
        await sleep(90)
        late = true
        throw "late"
      },
      { signal: controller.signal }
    )
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(run)).toEqual({ status: "rejected", reason: "stop", at: 50 })
    await pass(100)
    expect(late).toBe(true)
  })
})
