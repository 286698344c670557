/** `runAny` with `stagger`: the next task starts after a delay, or as soon as a task has failed. */
import fc from "fast-check"
import { describe, expect, it, vi } from "vitest"
import { createMeter, createWorkQueue, runAny } from "../src/index.ts"
import type { Progress } from "../src/index.ts"
import { simulateRace } from "../../fibermeter/test/support/staggerModel.ts"
import {
  expectNoUnhandledRejection,
  flush,
  now,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  source,
  useVirtualTime,
  value,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const five = [0, 1, 2, 3, 4]
const failing = { rejects: { reason: "no" } }

it("starts a task after each delay, until one wins", async () => {
  const p = probe((i) => ({ ms: i === 2 ? 100 : 1_000_000 }))
  expect(await settle(runAny(five, p.task, { stagger: 250 }))).toMatchObject({ value: "v2", at: 600 })
  expect(p.starts).toEqual([0, 250, 500])
  expect(p.cancelled()).toEqual([0, 1])
  await flush()
  expect(vi.getTimerCount()).toBe(0)
})

it("starts the next task as soon as one has failed, and counts the delay from there", async () => {
  const p = probe((i) => (i === 0 ? { ms: 40, ...failing } : { ms: 1_000_000 }))
  const call = watch(runAny(five, p.task, { stagger: "250 millis" }))
  await pass(600)
  expect(p.starts).toEqual([0, 40, 290, 540])
  expect(call.outcome).toBeUndefined()
})

it("a failure of an earlier task counts as well", async () => {
  const p = probe((i) => (i === 0 ? { ms: 300, ...failing } : { ms: 1_000_000 }))
  void watch(runAny(five, p.task, { stagger: 250 }))
  await pass(600)
  expect(p.starts).toEqual([0, 250, 300, 550])
})

it("each failure allows for one more start, also when several tasks fail at once", async () => {
  const ends = [100, 90, 80]
  const p = probe((i) => (i < 3 ? { ms: ends[i]!, ...failing } : { ms: 1_000_000 }))
  void watch(runAny([...five, 5, 6, 7], p.task, { stagger: 10, maxAtOnce: 3 }))
  await pass(1000)
  expect(p.starts).toEqual([0, 10, 20, 100, 100, 100])
})

it("tasks that throw, or reject at once, need no delay", async () => {
  for (const plan of [{ throws: { reason: "no" } }, failing]) {
    const p = probe(() => plan)
    const reason = (await rejection(runAny(five, p.task, { stagger: 250 }))) as AggregateError
    expect(reason.errors).toEqual(["no", "no", "no", "no", "no"])
    expect(p.starts).toEqual(p.starts.map(() => p.starts[0]))
    expect(vi.getTimerCount()).toBe(0)
  }
})

it("a list of functions is staggered, too", async () => {
  const p = probe(() => ({ ms: 300 }))
  expect(await settle(runAny(p.tasks(5), { stagger: 200 }))).toMatchObject({ value: "v0", at: 300 })
  expect(p.starts).toEqual([0, 200])
})

it("Infinity: the next task starts only after a failure; 0: all start at once", async () => {
  const p = probe((i) => ({ ms: 1000, ...(i < 2 ? failing : {}) }))
  expect(await settle(runAny(five, p.task, { stagger: Infinity }))).toMatchObject({ value: "v2", at: 3000 })
  expect(p.starts).toEqual([0, 1000, 2000])
  const q = probe(() => ({ ms: 1000 }))
  await value(runAny(five, q.task, { stagger: 0 }))
  expect(q.starts).toEqual([3000, 3000, 3000, 3000, 3000])
})

it('with until: "settled", a failure decides, and starts nothing', async () => {
  const p = probe((i) => (i === 1 ? { ms: 20, ...failing } : { ms: 1000 }))
  expect(await settle(runAny(five, p.task, { stagger: 100, until: "settled" }))).toMatchObject({
    reason: "no",
    at: 120
  })
  expect(p.starts).toEqual([0, 100])
  await flush()
  expect(vi.getTimerCount()).toBe(0)
})

describe("limits admit the starts", () => {
  it("a rate", async () => {
    const p = probe(() => ({ ms: 1_000_000 }))
    void watch(runAny(five, p.task, { stagger: 100, maxPerSecond: 2 }))
    await pass(1200)
    expect(p.starts).toEqual([0, 500, 1000])
  })

  it("a meter: the delay begins when a task has started", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const other = meter.run(() => sleep(250))
    const p = probe((i) => ({ ms: 1000 - i, ...failing }))
    void watch(runAny(five, p.task, { stagger: 100, meter }))
    await pass(1000)
    expect(p.starts, "the third is requested at 350, and waits for the failure of the first").toEqual([0, 250, 1000])
    await other
  })

  it("a failure that makes room for a task that waits does not hasten the one after it", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const other = meter.run(() => sleep(250))
    const p = probe((i) => (i === 0 ? { ms: 200, ...failing } : { ms: 1_000_000 }))
    void watch(runAny(five, p.task, { stagger: 100, meter }))
    await pass(1000)
    expect(p.starts, "the second is requested at 100").toEqual([0, 200, 300])
    await other
  })
})

it("with a meter per item, the requests are staggered, and an item whose meter is closed does not delay the others", async () => {
  const busy = createMeter({ maxAtOnce: 1 })
  const idle = createMeter({ maxAtOnce: 10 })
  const other = busy.run(() => sleep(1000))
  const p = probe((i) => ({ ms: i === 3 ? 10 : 1_000_000 }))
  const meter = (n: number) => (n === 1 ? busy : idle)
  expect(await settle(runAny(five, p.task, { stagger: 100, meter }))).toMatchObject({ value: "v3", at: 310 })
  expect(p.order).toEqual([0, 2, 3])
  expect(p.starts).toEqual([0, 200, 300])
  await value(other)
  expect(vi.getTimerCount()).toBe(0)
})

describe("the source", () => {
  it("is asked during the delay, so that a slow one does not add to it", async () => {
    for (const kind of ["sync", "async"] as const) {
      const p = probe(() => ({ ms: 1_000_000 }))
      const begun = now()
      const controller = new AbortController()
      const items = source(kind, five, () => p.starts.length, kind === "async" ? 60 : 0)
      const call = watch(runAny(items.iterable, p.task, { stagger: 100, signal: controller.signal }))
      await pass(330)
      const first = kind === "async" ? 60 : 0
      expect(p.starts.slice(0, 3).map((at) => at - begun)).toEqual([first, first + 100, first + 200])
      expect(items.ahead(), "pulled and not used").toBe(1)
      controller.abort("stop")
      await flush()
      expect(call.outcome).toMatchObject({ reason: "stop" })
      expect(items.returns).toBe(1)
      expect(vi.getTimerCount()).toBe(0)
    }
  })

  it("slower than the delay: a task starts when its item comes", async () => {
    const p = probe(() => ({ ms: 1_000_000 }))
    const items = source("async", five, () => p.starts.length, 300)
    void watch(runAny(items.iterable, p.task, { stagger: 100 }))
    await pass(1000)
    expect(p.starts).toEqual([300, 600, 900])
  })

  it("that throws ends the call at once", async () => {
    function* items() {
      yield 0
      yield 1
      throw "broken"
    }
    const p = probe(() => ({ ms: 1_000_000 }))
    expect(await settle(runAny(items(), p.task, { stagger: 100 }))).toMatchObject({ reason: "broken", at: 100 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a work queue keeps the item that was held back, and knows which work is done", async () => {
    const queue = createWorkQueue([0, 1, 2])
    expect(await value(runAny(queue, (n) => sleep(50).then(() => n), { stagger: 100 }))).toBe(0)
    expect(queue.size).toBe(2)
    const fails = async (n: number) => {
      await sleep(10)
      if (n < 4) queue.add(4)
      throw n
    }
    const reason = (await rejection(runAny(queue, fails, { stagger: 100 }))) as AggregateError
    expect(reason.errors).toEqual([1, 2, 4, 4])
    await value(runAny(createWorkQueue([0, 1]), async (n) => n, { stagger: 100, maxPerSecond: 1 }))
  })
})

it("an abort during the delay starts nothing more and leaves no timer", async () => {
  const controller = new AbortController()
  const p = probe(() => ({ ms: 1_000_000 }))
  const call = watch(runAny(five, p.task, { stagger: 100, signal: controller.signal }))
  await pass(150)
  controller.abort("stop")
  await pass(1000)
  expect(call.outcome).toMatchObject({ reason: "stop", at: 150 })
  expect(p.starts).toEqual([0, 100])
  expect(vi.getTimerCount()).toBe(0)
})

it("the delay ends with the race, though the losers take their time", async () => {
  const p = probe((i) => (i === 0 ? { ms: 50 } : { ms: 10_000, deaf: true }))
  const call = watch(runAny(five, p.task, { stagger: 30, grace: Infinity }))
  await pass(60)
  expect(vi.getTimerCount(), "the loser's own").toBe(1)
  await pass(20_000)
  expect(call.outcome).toMatchObject({ value: "v0", at: 10_030 })
  expect(p.starts).toEqual([0, 30])
})

describe("retries", () => {
  it("are not delayed, and a task has failed when its last attempt has", async () => {
    const starts: Array<readonly [number, number]> = []
    const task = async (n: number) => {
      starts.push([n, now()])
      if (n > 0) return sleep(1_000_000)
      await sleep(10)
      throw "no"
    }
    void watch(runAny(five, task, { stagger: 100, retry: { times: 2, delay: 20 } }))
    await pass(150)
    expect(starts).toEqual([
      [0, 0],
      [0, 30],
      [0, 60],
      [1, 70]
    ])
  })

  it("a retry that waits for a permit does not get in the way of the next item", async () => {
    const starts: Array<readonly [number, number]> = []
    const task = async (n: number) => {
      starts.push([n, now()])
      await sleep(n === 0 ? 10 : 60)
      throw n
    }
    const call = watch(runAny([0, 1, 2], task, { stagger: 30, maxAtOnce: 1, retry: { times: 1, delay: 25 } }))
    await pass(1000)
    expect(call.outcome).toMatchObject({ status: "rejected" })
    expect(starts.map(([n]) => n).toSorted((a, b) => a - b)).toEqual([0, 0, 1, 1, 2, 2])
  })

  it("a task that has timed out has failed", async () => {
    const p = probe(() => ({ ms: 1_000_000, deaf: true }))
    void watch(runAny(five, p.task, { stagger: 100, timeout: 40 }))
    await pass(100)
    expect(p.starts).toEqual([0, 40, 80])
  })
})

it("progress knows the number of items", async () => {
  const reports: Array<Progress> = []
  await value(runAny(five, async (n) => n, { stagger: 100, onProgress: (progress) => void reports.push(progress) }))
  expect(reports.at(-1)).toMatchObject({ total: 5, started: 1, succeeded: 1, waiting: 4 })
})

it("random races: every start and the end come at the instant of the model", async () => {
  const racer = fc.record({ lasts: fc.integer({ min: 1, max: 10_000 }), wins: fc.constantFrom(false, false, true) })
  await fc.assert(
    fc.asyncProperty(
      fc.array(racer, { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 3000 }),
      fc.constantFrom(1, 2, 3, Infinity),
      fc.constantFrom("option", "meter"),
      async (racers, stagger, maxAtOnce, by) => {
        const model = simulateRace(racers, { stagger, maxAtOnce })
        fc.pre(!model.isTied)
        const p = probe((i) => ({ ms: racers[i]!.lasts, ...(racers[i]!.wins ? {} : failing) }))
        const begun = now()
        const limit = by === "option" ? { maxAtOnce } : { meter: createMeter({ maxAtOnce }) }
        const outcome = await settle(runAny(racers, p.task, { stagger, ...limit }))
        expect(p.starts.map((at) => at - begun)).toEqual(model.starts)
        expect(outcome.at - begun).toBe(model.end)
        expect(outcome.status === "fulfilled" ? outcome.value : undefined).toBe(
          model.winner === undefined ? undefined : `v${model.winner}`
        )
      }
    ),
    { numRuns: 150 }
  )
})
