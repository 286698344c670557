/** `meter.drain`: accepts nothing more, finishes what it has accepted, and closes the meter. */
import { describe, expect, it, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runOnEach } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  naturals,
  now,
  pass,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const closedError = { name: "AbortError", message: "the meter has been closed" }

const expectClosed = async (meter: Meter): Promise<void> => {
  const task = vi.fn<() => void>()
  const calls: ReadonlyArray<() => Promise<unknown>> = [
    () => meter.run(task),
    () => meter.tryRun(task)!,
    () => meter.wrap(task)(),
    () => meter.runOnEach([1], task),
    () => runAll([task], { meter }),
    () => meter.amap([1], task).next()
  ]
  for (const call of calls) {
    const seen = watch(call())
    await flush()
    expect(seen.outcome).toMatchObject({ status: "rejected", reason: closedError })
  }
  expect(task).not.toHaveBeenCalled()
}

describe("drain", () => {
  it("of a meter without work resolves at once, and closes it", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    expect(await settle(meter.drain())).toEqual({ status: "fulfilled", value: undefined, at: 0 })
    await expectClosed(meter)
  })

  it("finishes running and waiting tasks, and rejects later ones meanwhile", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const calls = [meter.run(() => sleep(100)), meter.run(() => sleep(100)), meter.wrap(() => sleep(100))()].map(watch)
    await pass(50)
    const drained = watch(meter.drain())
    await expectClosed(meter)
    await pass(1000)
    expect(calls.map(({ outcome }) => outcome)).toMatchObject(
      [100, 200, 300].map((at) => ({ status: "fulfilled", at }))
    )
    expect(drained.outcome).toEqual({ status: "fulfilled", value: undefined, at: 300 })
    expect(vi.getTimerCount()).toBe(0)
    await expectClosed(meter)
  })

  it("under steady arrivals ends with the calls that came before it", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const ended: Array<number> = []
    const refused: Array<number> = []
    const arrive = (): void => {
      const at = now()
      meter
        .run(() => sleep(10))
        .then(
          () => ended.push(at),
          () => refused.push(at)
        )
    }
    const timer = setInterval(arrive, 50)
    await pass(325)
    const drained = watch(meter.drain())
    await pass(2000)
    clearInterval(timer)
    expect(ended).toEqual([50, 100, 150, 200, 250, 300])
    // The sixth start is at 550.
    expect(drained.outcome?.at).toBe(560)
    expect(refused[0]).toBe(350)
  })

  it("finishes retries, though each attempt is admitted anew", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let attempts = 0
    const flaky = async () => {
      if (++attempts < 3) throw new Error("not yet")
      return "done"
    }
    const run = watch(meter.run(flaky, { retry: { delay: 100 } }))
    await flush()
    const drained = watch(meter.drain())
    await pass(1000)
    expect(run.outcome).toEqual({ status: "fulfilled", value: "done", at: 200 })
    expect(drained.outcome?.at).toBe(200)
  })

  it("a verb whose items are all pulled resolves, retries included", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    let failures = 0
    const task = async (n: number) => {
      await sleep(50)
      if (n === 1 && failures++ === 0) throw new Error("once")
      return n
    }
    const all = watch(runAll([0, 1, 2], task, { meter, retry: { delay: 100 } }))
    await pass(10)
    const drained = watch(meter.drain())
    await pass(1000)
    expect(all.outcome).toEqual({ status: "fulfilled", value: [0, 1, 2], at: 200 })
    expect(drained.outcome?.at).toBe(200)
  })

  it("a verb with the last item at hand starts it, and resolves", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const generator = function* () {
      yield 1
      yield 2
    }
    const all = watch(runAll(generator(), () => sleep(100), { meter }))
    await pass(10)
    const drained = watch(meter.drain())
    await pass(1000)
    expect(all.outcome).toMatchObject({ status: "fulfilled", at: 200 })
    expect(drained.outcome?.at).toBe(200)
  })

  it("a verb with an endless source starts the item at hand, pulls one more, closes the source and rejects", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let pulled = 0
    let isClosed = false
    const endless = function* () {
      try {
        for (;;) yield pulled++
      } finally {
        isClosed = true
      }
    }
    const started: Array<number> = []
    const call = watch(
      runOnEach(
        endless(),
        (n) => {
          started.push(n)
          return sleep(100)
        },
        { meter }
      )
    )
    await pass(10)
    expect(pulled).toBe(2)
    const drained = watch(meter.drain())
    await pass(1000)
    expect(started).toEqual([0, 1])
    expect(pulled).toBe(3)
    expect(isClosed).toBe(true)
    expect(call.outcome).toMatchObject({ status: "rejected", reason: closedError, at: 200 })
    expect(drained.outcome?.at).toBe(200)
  })

  it.each([0, 20])("does not wait for the next item of a source that does not answer (tasks of %i ms)", async (ms) => {
    const meter = createMeter({})
    let isClosed = false
    const stalled = {
      [Symbol.asyncIterator]: () => {
        const results = [Promise.resolve({ done: false as const, value: 1 }), new Promise<never>(() => {})]
        return {
          next: () => results.shift()!,
          return: async () => {
            isClosed = true
            return { done: true as const, value: undefined }
          }
        }
      }
    }
    const call = watch(runOnEach(stalled, () => (ms === 0 ? undefined : sleep(ms)), { meter }))
    await pass(10)
    const drained = watch(meter.drain())
    await pass(1000)
    expect(call.outcome).toMatchObject({ status: "rejected", reason: closedError, at: Math.max(10, ms) })
    expect(drained.outcome?.at).toBe(Math.max(10, ms))
    expect(isClosed).toBe(true)
  })

  it("the reader of amap gets the results that were ready, then the rejection", async () => {
    const meter = createMeter({})
    const results = amap(naturals(), async (n) => n, { meter, maxUnread: 2 })
    expect(await value(results.next())).toEqual({ done: false, value: 0 })
    await flush()
    const drained = watch(meter.drain())
    await flush()
    expect(drained.outcome).toMatchObject({ status: "fulfilled" })
    const rest: Array<unknown> = []
    const error = await rejection(
      (async () => {
        for await (const result of results) rest.push(result)
      })()
    )
    expect(rest).toEqual([1, 2])
    expect(isAbortError(error)).toBe(true)
  })

  it("a paused meter drains when it is resumed", async () => {
    const meter = createMeter({})
    meter.pause()
    const run = watch(meter.run(() => 1))
    const drained = watch(meter.drain())
    await pass(100)
    expect(drained.outcome).toBeUndefined()
    meter.resume()
    await flush()
    expect(run.outcome).toMatchObject({ value: 1, at: 100 })
    expect(drained.outcome?.at).toBe(100)
  })

  it("close() ends it at once", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const calls = [watch(meter.run(({ signal }) => sleep(100, signal))), watch(meter.run(() => {}))]
    await flush()
    const drained = watch(meter.drain())
    await pass(10)
    await value(meter.close("end"))
    await flush()
    for (const { outcome } of calls) expect(outcome).toEqual({ status: "rejected", reason: "end", at: 10 })
    expect(drained.outcome?.at).toBe(10)
    expect(await rejection(meter.run(() => 1))).toBe("end")
  })

  it("waits for a task that has been cancelled until it settles", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = watch(meter.run(() => sleep(100), { signal: controller.signal }))
    await pass(10)
    controller.abort("no")
    const drained = watch(meter.drain())
    await pass(1000)
    expect(run.outcome).toMatchObject({ reason: "no", at: 10 })
    expect(drained.outcome?.at).toBe(100)
  })

  it("may be called again: all calls resolve together", async () => {
    const meter = createMeter({})
    const run = watch(meter.run(() => sleep(100)))
    const all = [watch(meter.drain()), watch(meter.drain())]
    await pass(1000)
    expect(run.outcome?.at).toBe(100)
    expect(all.map(({ outcome }) => outcome?.at)).toEqual([100, 100])
    expect(await settle(meter.drain())).toMatchObject({ status: "fulfilled" })
  })

  it("of several meters of a call: the call stops when one of them drains", async () => {
    const [draining, other] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 5 })]
    const call = watch(runOnEach(naturals(), () => sleep(100), { meter: [other, draining] }))
    await pass(10)
    const drained = watch(draining.drain())
    await pass(1000)
    expect(call.outcome).toMatchObject({ status: "rejected", reason: closedError, at: 200 })
    expect(drained.outcome?.at).toBe(200)
    expect(await value(other.run(() => "open"))).toBe("open")
  })

  it("the meter of a key stays closed, although it is unused", async () => {
    const meters = createKeyedMeter<number>({ maxAtOnce: 1 })
    await value(meters.for(0).drain())
    for (let key = 1; key < 50; key++) await value(meters.for(key).run(() => 1))
    await expectClosed(meters.for(0))
  })
})
