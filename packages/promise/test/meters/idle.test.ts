/** `meter.idle`: resolves as soon as nothing is left under the meter. */
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
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

/** When the meter is idle, as its caller sees it. */
const idleAt = async (meter: Meter, ms = 10_000): Promise<number | undefined> => {
  const idle = watch(meter.idle())
  await pass(ms)
  return idle.outcome?.at
}

describe("at once", () => {
  it.each([
    ["a meter without limits", {}],
    ["a meter with all kinds of limits", { maxAtOnce: 1, maxPerSecond: 1, windows: { any: { limit: 1, per: 1000 } } }]
  ])("%s that is unused", async (_, limits) => {
    expect(await settle(createMeter(limits).idle())).toEqual({ status: "fulfilled", value: undefined, at: 0 })
    expect(await settle(createKeyedMeter<string>(limits).for("a").idle())).toMatchObject({ at: 0 })
  })

  it("after a task, though the next start is not allowed yet", async () => {
    const meter = createMeter({ maxPerSecond: 0.1, windows: { any: { limit: 1, per: "1 hour" } } })
    await value(meter.run(() => 1))
    expect(await settle(meter.idle())).toMatchObject({ at: 0 })
  })

  it("while the meter is paused without waiters", async () => {
    const meter = createMeter({})
    meter.pause()
    expect(await settle(meter.idle())).toMatchObject({ at: 0 })
  })

  it("with an amap that is not read yet", async () => {
    const meter = createMeter({})
    meter.amap([1], () => 1)
    expect(await settle(meter.idle())).toMatchObject({ at: 0 })
  })
})

describe("after the last", () => {
  it("of runs that run and wait", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const all = [100, 50, 200].map((ms) => meter.run(() => sleep(ms)))
    expect(await idleAt(meter)).toBe(250)
    await Promise.all(all)
  })

  it("of runs that fail", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const all = [30, 40].map((ms) => watch(meter.run(() => sleep(ms).then(() => Promise.reject("bad")))))
    expect(await idleAt(meter)).toBe(70)
    expect(all.map(({ outcome }) => outcome?.status)).toEqual(["rejected", "rejected"])
  })

  it("of runs that end at once, but waited for their time", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const all = [1, 2, 3].map(() => meter.run(() => 1))
    expect(await idleAt(meter)).toBe(200)
    await Promise.all(all)
  })

  it.each(verbs)("of $name", async (verb) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const p = probe(() => (verb.verb === "runAny" ? { ms: 50, rejects: { reason: "bad" } } : { ms: 50 }))
    const call = watch(verb.call([0, 1, 2], p, { meter }).promise)
    const idle = await idleAt(meter)
    expect(idle).toBe(call.outcome?.at)
    expect(idle).toBe(verb.name === "runAny until one settles" ? 50 : 150)
  })

  it("has settled, before code that awaits both continues", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    await value(meter.run(() => sleep(10)))
    expect(meter.snapshot().running).toBe(0)
    expect(await settle(meter.idle())).toMatchObject({ at: 10 })
  })

  it("of the waiters has been aborted", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    meter.pause()
    const controller = new AbortController()
    const one = watch(meter.run(() => 1, { signal: controller.signal }))
    const two = watch(meter.runAll([1], () => 1, { signal: controller.signal }))
    setTimeout(() => controller.abort("stop"), 70)
    expect(await idleAt(meter)).toBe(70)
    expect([one.outcome, two.outcome]).toMatchObject([{ reason: "stop" }, { reason: "stop" }])
  })

  it("of the waiters has been rejected by resize", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    await value(meter.run(() => 1, { cost: { tokens: 10 } }))
    const waiting = watch(meter.run(() => 1, { cost: { tokens: 9 } }))
    setTimeout(() => meter.resize({ windows: { tokens: { limit: 5, per: 1000 } } }), 70)
    expect(await idleAt(meter)).toBe(70)
    expect(waiting.outcome).toMatchObject({ reason: expect.any(RangeError) })
  })
})

describe("not before", () => {
  it("a run that is between two attempts has ended", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let attempts = 0
    const run = watch(
      meter.run(
        () => {
          attempts += 1
          return sleep(10).then(() => Promise.reject("bad"))
        },
        { retry: { times: 2, delay: 100 } }
      )
    )
    await pass(50)
    expect(meter.snapshot(), "nothing runs, nothing waits").toMatchObject({ running: 0, waiting: 0 })
    expect(await idleAt(meter)).toBe(230)
    expect(attempts).toBe(3)
    expect(run.outcome).toMatchObject({ reason: "bad", at: 230 })
  })

  it("a run that is aborted in its backoff has ended", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = watch(meter.run(() => Promise.reject("bad"), { retry: { delay: 500 }, signal: controller.signal }))
    setTimeout(() => controller.abort("stop"), 70)
    expect(await idleAt(meter)).toBe(70)
    expect(run.outcome).toMatchObject({ reason: "stop" })
  })

  it.each(["run", "verb"])("a verb's or a run's only attempt that is retried at once: %s", async (kind) => {
    const meter = createMeter({})
    let attempts = 0
    const task = () => {
      attempts += 1
      if (attempts < 4) throw "again"
      return sleep(30)
    }
    const options = { retry: { times: 5, delay: 0 } }
    const call = kind === "run" ? meter.run(task, options) : meter.runOnEach([0], task, options)
    expect(await idleAt(meter)).toBe(30)
    expect(attempts).toBe(4)
    await call
  })

  it("a task has settled that ignores its signal, though its call has ended", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const run = watch(meter.run(() => sleep(400), { signal: controller.signal }))
    setTimeout(() => controller.abort("stop"), 50)
    expect(await idleAt(meter)).toBe(400)
    expect(run.outcome).toMatchObject({ reason: "stop", at: 50 })
  })

  it("a task that continues after its timeout has settled", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const run = watch(meter.run(() => sleep(400), { timeout: 50 }))
    expect(await idleAt(meter)).toBe(400)
    expect(run.outcome).toMatchObject({ status: "rejected", at: 50 })
  })

  it("a cancelled task of a verb has settled", async () => {
    const meter = createMeter({})
    const call = watch(meter.runOnEach([0, 1], (n) => (n === 0 ? Promise.reject("bad") : sleep(300))))
    expect(await idleAt(meter)).toBe(300)
    expect(call.outcome).toMatchObject({ reason: "bad", at: 0 })
  })

  it("a verb that waits for its source has ended", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    async function* slow() {
      yield 1
      await sleep(500)
      yield 2
    }
    const call = meter.runOnEach(slow(), () => sleep(10))
    await pass(100)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    expect(await idleAt(meter)).toBe(510)
    await call
  })

  it("an amap has been read to its end, or left", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const results = meter.amap([1, 2, 3], () => sleep(10), { maxUnread: 1 })
    await value(results.next())
    const idle = watch(meter.idle())
    await pass(1000)
    expect(idle.outcome, "its reader is slow").toBeUndefined()
    await results.return?.()
    await flush()
    expect(idle.outcome).toMatchObject({ at: now() })
  })
})

describe("promises of idle()", () => {
  it("several promises resolve, in the order of their calls", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const run = meter.run(() => sleep(100))
    const told: Array<string> = []
    const idlers = ["a", "b", "c"].map((name) => meter.idle().then(() => told.push(name)))
    await pass(99)
    expect(told).toEqual([])
    await value(Promise.all([run, ...idlers]))
    expect(told).toEqual(["a", "b", "c"])
    expect(now()).toBe(100)
  })

  it("resolve once, whatever starts later", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const first = watch(meter.idle())
    const run = meter.run(() => sleep(100))
    const second = watch(meter.idle())
    await pass(100)
    expect([first.outcome?.at, second.outcome?.at]).toEqual([0, 100])
    await run
  })

  it("wait on while something else comes before the end", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const one = meter.run(() => sleep(100))
    const idle = watch(meter.idle())
    await pass(50)
    const two = meter.run(() => sleep(100))
    await pass(1000)
    expect(idle.outcome?.at).toBe(150)
    await Promise.all([one, two])
  })

  it("cost the meter no timer", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const limiter = Promise.withResolvers<void>()
    const run = meter.run(() => limiter.promise)
    const idle = meter.idle()
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    limiter.resolve()
    await value(Promise.all([run, idle]))
  })

  it("of one key do not wait for another", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const a = hosts.for("a").run(() => sleep(100))
    const b = hosts.for("b").run(() => sleep(500))
    expect(await idleAt(hosts.for("a"))).toBe(100)
    await Promise.all([a, b])
  })

  it("of a meter among several resolve when its calls are over", async () => {
    const one = createMeter({})
    const two = createMeter({})
    const call = one.runOnEach([1], () => sleep(100), { meter: two })
    const other = one.run(() => sleep(300))
    const idle = [watch(one.idle()), watch(two.idle())]
    await pass(500)
    expect(idle.map(({ outcome }) => outcome?.at)).toEqual([300, 100])
    await Promise.all([call, other])
  })

  it("resolve after close, when the last task that ignores its signal has settled", async () => {
    const meter = createMeter({})
    const run = rejection(meter.run(() => sleep(300)))
    const closed = watch(meter.close("end"))
    expect(await idleAt(meter)).toBe(300)
    expect(closed.outcome?.at).toBe(0)
    expect(await run).toBe("end")
  })
})
