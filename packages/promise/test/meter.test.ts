/** `createMeter`: limits that several calls share. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  leave,
  naturals,
  now,
  pass,
  predict,
  probe,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** The most starts in any half-open window of so many ms. */
const busiest = (starts: ReadonlyArray<number>, window: number): number => {
  const sorted = starts.toSorted((a, b) => a - b)
  return Math.max(0, ...sorted.map((from) => sorted.filter((at) => at >= from && at < from + window).length))
}

describe("meter.run", () => {
  it("runs the task and resolves with its result, plain or promised", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await value(meter.run(() => 1))).toBe(1)
    expect(await value(meter.run(async () => 2))).toBe(2)
    expect(await value(meter.run(() => sleep(10)))).toBeUndefined()
  })

  it("starts at once where nothing is in the way", () => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 10 })
    return expect(settle(meter.run(() => now()))).resolves.toMatchObject({ value: 0 })
  })

  it("lets so many run at once, first come, first served", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    const spans = [70, 30, 50, 20, 90, 10, 40, 60]
    const p = probe((i) => ({ ms: spans[i] ?? 0 }))
    await value(Promise.all(spans.map((_, index) => meter.run(({ signal }) => p.task(0, { index, signal })))))
    expect(p.order).toEqual(spans.map((_, i) => i))
    expect(p.starts).toEqual(predict(spans, { maxAtOnce: 3 }))
    expect(p.peak()).toBe(3)
  })

  it("lets so many start in a second, at exact instants", async () => {
    const meter = createMeter({ maxPerSecond: 5 })
    const starts = await value(Promise.all(Array.from({ length: 6 }, () => meter.run(() => now()))))
    expect(starts).toEqual([0, 200, 400, 600, 800, 1000])
  })

  it("accrues credit for a burst while nothing waits, and no more than that", async () => {
    const meter = createMeter({ maxPerSecond: 10, maxBurst: 3 })
    await pass(5000)
    const begin = now()
    const starts = await value(Promise.all(Array.from({ length: 6 }, () => meter.run(() => now() - begin))))
    expect(starts).toEqual([0, 0, 0, 100, 200, 300])
    await pass(5000)
    const again = now()
    const more = await value(Promise.all(Array.from({ length: 5 }, () => meter.run(() => now() - again))))
    expect(more).toEqual([0, 0, 0, 100, 200])
  })

  it("never lets more than maxPerSecond start in any second, bursts included", async () => {
    const meter = createMeter({ maxPerSecond: 10, maxBurst: 4 })
    const starts: Array<number> = []
    const note = () => {
      starts.push(now())
    }
    for (const [pause, count] of [
      [0, 17],
      [350, 6],
      [1250, 9],
      [90, 5],
      [3000, 12]
    ] as const) {
      await pass(pause)
      await value(Promise.all(Array.from({ length: count }, () => meter.run(note))))
    }
    expect(starts.length).toBe(49)
    expect(busiest(starts, 1000)).toBeLessThanOrEqual(10)
  })

  it("a fraction of a task a second: one every so many seconds", async () => {
    const meter = createMeter({ maxPerSecond: 0.2 })
    const starts = await value(Promise.all(Array.from({ length: 4 }, () => meter.run(() => now()))))
    expect(starts).toEqual([0, 5000, 10_000, 15_000])
  })

  it("a failing task releases its permit and does not affect others", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const bad = watch(meter.run(() => Promise.reject("bad")))
    const thrown = watch(
      meter.run(() => {
        throw "thrown"
      })
    )
    const good = watch(meter.run(() => "good"))
    await flush()
    expect([bad.outcome, thrown.outcome, good.outcome]).toEqual([
      { status: "rejected", reason: "bad", at: 0 },
      { status: "rejected", reason: "thrown", at: 0 },
      { status: "fulfilled", value: "good", at: 0 }
    ])
  })

  it("a task can take a permit of its own meter again, if one is free", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    expect(await value(meter.run(() => meter.run(() => "inner")))).toBe("inner")
  })

  it("leaves no timer when nothing waits", async () => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 1 })
    await value(meter.run(() => 1))
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("ten thousand waiters are served, in order", async () => {
    const meter = createMeter({ maxAtOnce: 10 })
    const order: Array<number> = []
    const all = Array.from({ length: 10_000 }, (_, i) =>
      meter.run(async () => {
        order.push(i)
      })
    )
    await value(Promise.all(all))
    expect(order).toEqual(Array.from({ length: 10_000 }, (_, i) => i))
  })
})

describe("a meter under several calls", () => {
  it("holds them together to its limits, whatever verbs they are", async () => {
    const meter = createMeter({ maxAtOnce: 3, maxPerSecond: 20 })
    let running = 0
    let peak = 0
    const starts: Array<number> = []
    const task = async (n: number) => {
      starts.push(now())
      running += 1
      peak = Math.max(peak, running)
      await sleep(40 + ((n * 29) % 120))
      running -= 1
      return n
    }
    const items = [...naturals(12)]
    const all = Promise.all([
      runOnEach(items, task, { meter }),
      runAll(items, task, { meter }),
      Array.fromAsync(amap(items, task, { meter })),
      runAny(
        items.map((n) => () => task(n).then(() => Promise.reject(n))),
        { meter }
      ).catch(() => "none"),
      Promise.all(items.map((n) => meter.run(() => task(n))))
    ])
    const [, results, mapped, raced] = await value(all)
    expect(results).toEqual(items)
    expect(mapped.toSorted((a, b) => a - b)).toEqual(items)
    expect(raced).toBe("none")
    expect(starts.length).toBe(60)
    expect(peak).toBe(3)
    expect(busiest(starts, 1000)).toBeLessThanOrEqual(20)
    await expectFree(meter, 3)
  })

  it("starves none of them", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const order: Array<string> = []
    const task = (name: string) => async () => {
      order.push(name)
      await sleep(10)
    }
    const items = [...naturals(10)]
    const long = runOnEach([...naturals(30)], task("long"), { meter })
    const short = runOnEach(items, task("short"), { meter })
    const alone = meter.run(task("alone"))
    await value(Promise.all([long, short, alone]))
    expect(order.indexOf("alone"), "came third, waits for no more than those before it").toBeLessThanOrEqual(4)
    // While both have work they take turns.
    const both = order.filter((name) => name !== "alone").slice(2, 18)
    expect(both.filter((name) => name === "short").length).toBeGreaterThanOrEqual(7)
    expect(both.filter((name) => name === "short").length).toBeLessThanOrEqual(9)
  })

  it("each with limits of its own beside it: the narrowest rules", async () => {
    const meter = createMeter({ maxAtOnce: 4 })
    const one = probe(() => ({ ms: 20 }))
    const two = probe(() => ({ ms: 20 }))
    await value(
      Promise.all([
        runOnEach(naturals(10), one.task, { meter, maxAtOnce: 1 }),
        runOnEach(naturals(10), two.task, { meter, maxAtOnce: 10 })
      ])
    )
    expect(one.peak()).toBe(1)
    expect(two.peak()).toBeLessThanOrEqual(4)
    expect(two.peak()).toBeGreaterThanOrEqual(3)
  })

  it("a call that waits for its own limit holds no permit of the meter", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const slow = watch(runOnEach(naturals(3), () => sleep(100), { meter, maxAtOnce: 1 }))
    const other = probe(() => ({ ms: 10 }))
    await value(runOnEach(naturals(5), other.task, { meter, maxAtOnce: 1 }))
    expect(other.starts).toEqual([0, 10, 20, 30, 40])
    await pass(500)
    expect(slow.outcome).toMatchObject({ status: "fulfilled", at: 300 })
  })

  it("a call that waits for its own rate holds no permit of the meter", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const paced = watch(runOnEach(naturals(3), async () => {}, { meter, maxPerSecond: 1 }))
    const other = probe(() => ({ ms: 10 }))
    await value(runOnEach(naturals(5), other.task, { meter }))
    expect(other.starts).toEqual([0, 10, 20, 30, 40])
    await pass(3000)
    expect(paced.outcome).toMatchObject({ status: "fulfilled", at: 2000 })
  })

  it("two calls that take two meters in opposite order both get through", async () => {
    const a = createMeter({ maxAtOnce: 1 })
    const b = createMeter({ maxAtOnce: 1 })
    const one = probe(() => ({ ms: 10 }))
    const two = probe(() => ({ ms: 10 }))
    const both = Promise.all([
      runOnEach(naturals(5), one.task, { meter: [a, b] }),
      runOnEach(naturals(5), two.task, { meter: [b, a] })
    ])
    expect((await settle(both)).status).toBe("fulfilled")
    await expectFree(a, 1)
    await expectFree(b, 1)
  })

  it("a call that fails does not affect the others", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const p = probe(() => ({ ms: 20 }))
    const bad = watch(
      runOnEach(
        naturals(10),
        async (n) => {
          await sleep(15)
          if (n === 1) throw "bad"
        },
        { meter }
      )
    )
    expect(await value(runAll(naturals(10), p.task, { meter }))).toHaveLength(10)
    expect(bad.outcome).toMatchObject({ status: "rejected", reason: "bad" })
    expect(p.aborted.size).toBe(0)
    await expectFree(meter, 2)
  })

  it.each(verbs)("$name: waiting for the meter in vain costs the next one nothing", async (verb) => {
    const meter = createMeter({ maxAtOnce: 1, maxPerSecond: 10 })
    const first = meter.run(() => sleep(55))
    const controller = new AbortController()
    const p = probe(() => ({ ms: 10 }))
    const waiting = watch(verb.call([0, 1, 2], p, { meter, signal: controller.signal }).promise)
    await flush()
    const next = watch(meter.run(() => now()))
    setTimeout(() => controller.abort("stop"), 30)
    await value(first)
    await pass(200)
    expect(waiting.outcome).toEqual({ status: "rejected", reason: "stop", at: 30 })
    expect(p.starts).toEqual([])
    expect(next.outcome, "the pace is 10 a second, and one has started at 0").toMatchObject({ value: 100 })
  })

  it("a reader that leaves while its call waits for the meter costs the next one nothing", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const first = meter.run(() => sleep(50))
    const p = probe(() => ({ ms: 10 }))
    const results = amap(naturals(), p.task, { meter })
    const reading = watch(results.next())
    await flush()
    const next = watch(meter.run(() => now()))
    await value(leave(results))
    await value(first)
    await pass(100)
    expect(reading.outcome).toMatchObject({ value: { done: true } })
    expect(p.starts).toEqual([])
    expect(next.outcome).toMatchObject({ value: 50 })
  })

  it("a reader that is slow, and a call beside it: both get all there is", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const slow = async () => {
      const seen: Array<number> = []
      for await (const n of amap(naturals(10), async (n) => n, { meter, maxUnread: 2 })) {
        seen.push(n)
        await sleep(100)
      }
      return seen
    }
    const reading = watch(slow())
    const other = probe(() => ({ ms: 10 }))
    const outcome = await settle(runOnEach(naturals(20), other.task, { meter }))
    expect(outcome.at, "the other is not held up by the reader").toBeLessThanOrEqual(220)
    await pass(1000)
    expect(reading.outcome).toMatchObject({ status: "fulfilled", value: [...naturals(10)] })
  })
})

describe("several meters", () => {
  it("a task starts when all of them admit it", async () => {
    const spans = [310, 120, 230, 90, 170, 60]
    const p = probe((i) => ({ ms: spans[i] ?? 0 }))
    const meter = [createMeter({ maxAtOnce: 2 }), createMeter({ maxPerSecond: 10 }), createMeter({ maxAtOnce: 5 })]
    await value(runOnEach(naturals(6), p.task, { meter }))
    expect(p.starts).toEqual(predict(spans, { maxAtOnce: 2, maxPerSecond: 10 }))
    for (const one of meter) await expectFree(one, 2)
  })

  it("a call that waits for one of them can be aborted, and releases the others", async () => {
    const a = createMeter({ maxAtOnce: 1 })
    const b = createMeter({ maxAtOnce: 1 })
    const blocking = b.run(() => sleep(1000))
    const controller = new AbortController()
    const call = watch(runOnEach(naturals(2), async () => {}, { meter: [a, b], signal: controller.signal }))
    await pass(10)
    controller.abort("stop")
    await flush()
    expect(call.outcome).toEqual({ status: "rejected", reason: "stop", at: 10 })
    expect((await settle(a.run(() => 1))).at).toBe(10)
    await value(blocking)
  })
})

describe("a task's signal under meter.run", () => {
  it("is not aborted by the end of the task", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let own: AbortSignal | undefined
    await value(
      meter.run(({ signal }) => {
        own = signal
      })
    )
    await flush()
    expect(own?.aborted).toBe(false)
  })

  it("is aborted by the caller alone, never by another run", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    let own: AbortSignal | undefined
    const one = meter.run(async ({ signal }) => {
      own = signal
      await sleep(50, signal)
      return "one"
    })
    expect(await rejection(meter.run(() => Promise.reject("bad")))).toBe("bad")
    expect(await value(one)).toBe("one")
    expect(isAbortError(own?.reason)).toBe(false)
    expect(own?.aborted).toBe(false)
  })
})
