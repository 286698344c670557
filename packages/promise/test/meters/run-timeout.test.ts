/** `timeout` of `meter.run`: how long an attempt may take. */
import { describe, expect, it, vi } from "vitest"
import { createMeter, runOnEach } from "../../src/index.ts"
import type { Period } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isTimeoutError,
  listeners,
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

describe("a task that takes too long", () => {
  it("has its signal aborted with the error that the call rejects with, at that instant", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const seen: Array<unknown> = []
    const outcome = await settle(
      meter.run(
        ({ signal }) => {
          signal.addEventListener("abort", () => seen.push(signal.reason, now()))
          return sleep(1000, signal)
        },
        { timeout: 100 }
      )
    )
    expect(outcome).toMatchObject({ status: "rejected", at: 100 })
    const { reason } = outcome as { readonly reason: unknown }
    expect(isTimeoutError(reason)).toBe(true)
    expect((reason as DOMException).message).toContain("100 ms")
    expect(seen).toEqual([reason, 100])
    expect(seen[0]).toBe(reason)
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(meter, 1)
  })

  it("finds that error in its signal also if it reads it later", async () => {
    const meter = createMeter({})
    let late: unknown
    const run = meter.run(
      async (context) => {
        await sleep(200)
        late = context.signal.reason
      },
      { timeout: 100 }
    )
    const reason = await rejection(run)
    await pass(200)
    expect(isTimeoutError(reason)).toBe(true)
    expect(late).toBe(reason)
  })

  it.each<readonly [Period, number]>([
    [1, 1],
    [2500, 2500],
    ["30 seconds", 30_000],
    ["0.5 minutes", 30_000]
  ])("%s", async (timeout, at) => {
    const run = createMeter({}).run(({ signal }) => sleep(100_000, signal), { timeout })
    expect(await settle(run)).toMatchObject({ status: "rejected", at })
  })

  it("and ignores its signal counts until it has settled, and then delays nothing", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const run = watch(meter.run(() => sleep(400), { timeout: 100 }))
    const next = watch(meter.run(() => now()))
    await pass(200)
    expect(run.outcome).toMatchObject({ status: "rejected", at: 100 })
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 1 })
    expect(next.outcome).toBeUndefined()
    await pass(1000)
    expect(next.outcome).toMatchObject({ value: 400 })
    await expectFree(meter, 1)
  })

  it("and rejects later is not heard any more", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    let late = false
    const run = meter.run(
      () =>
        sleep(200).then(() => {
          late = true
          throw "late"
        }),
      { timeout: 100 }
    )
    expect(isTimeoutError(await rejection(run))).toBe(true)
    await pass(200)
    expect(late).toBe(true)
    await expectFree(meter, 1)
  })

  it("is waited for within the grace, as by the verbs", async () => {
    const options = { timeout: 100, grace: 500 }
    const run = watch(createMeter({}).run(() => sleep(1000), options))
    const verb = watch(runOnEach([0], () => sleep(1000), options))
    await pass(2000)
    for (const { outcome } of [run, verb]) expect(outcome).toMatchObject({ status: "rejected", at: 600 })
  })
})

describe("the time", () => {
  it("begins when the task starts, not when the call is made", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const all = [
      watch(meter.run(() => sleep(90), { timeout: 100 })),
      watch(meter.run(() => sleep(90), { timeout: 100 }))
    ]
    await pass(500)
    expect(all.map(({ outcome }) => outcome)).toMatchObject([
      { status: "fulfilled", at: 90 },
      { status: "fulfilled", at: 180 }
    ])
  })

  it.each([
    ["succeeds", () => sleep(50)],
    ["rejects", () => sleep(50).then(() => Promise.reject("bad"))],
    ["returns a value", () => 1],
    [
      "throws",
      () => {
        throw "bad"
      }
    ]
  ])("leaves no timer when a task in time %s", async (_, task) => {
    const meter = createMeter({})
    const run = watch(meter.run<unknown>(task, { timeout: 10_000 }))
    await pass(50)
    expect(run.outcome).toBeDefined()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("that is Infinity or undefined sets no timer", async () => {
    const meter = createMeter({})
    const limiter = Promise.withResolvers<string>()
    const all = [undefined, Infinity].map((timeout) => meter.run(() => limiter.promise, { timeout }))
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    limiter.resolve("done")
    expect(await value(Promise.all(all))).toEqual(["done", "done"])
  })

  it("does not run while the call waits, and no timer is left when it is aborted", async () => {
    const meter = createMeter({})
    meter.pause()
    const controller = new AbortController()
    const run = rejection(meter.run(() => 1, { timeout: 100, signal: controller.signal }))
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    controller.abort("stop")
    expect(await run).toBe("stop")
  })
})

describe("with the caller's signal", () => {
  it("aborted first: the call rejects with its reason, and no timer is left even if the task never ends", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = watch(meter.run(() => new Promise<never>(() => {}), { timeout: 100, signal: controller.signal }))
    await pass(50)
    controller.abort("stop")
    await flush()
    expect(run.outcome).toEqual({ status: "rejected", reason: "stop", at: 50 })
    expect(vi.getTimerCount()).toBe(0)
    expect(listeners(controller.signal)).toBe(0)
  })

  it("aborted by the task in its first step: the caller's reason, too", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = meter.run(
      () => {
        controller.abort("stop")
        return new Promise<never>(() => {})
      },
      { timeout: 100, signal: controller.signal }
    )
    expect(await rejection(run)).toBe("stop")
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([
    ["the grace ends", 1000, 300, 350],
    ["the task settles", 200, 300, 200],
    ["the task settles, however long that takes", 2000, Infinity, 2000]
  ])("aborted first, and the timeout comes during the grace: the call ends when %s", async (_, ms, grace, at) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const f = vi.fn<() => Promise<void>>(() => sleep(ms))
    const options = { timeout: 100, grace, signal: controller.signal, retry: { delay: 10 } }
    const run = watch(meter.run(f, options))
    await pass(50)
    controller.abort("stop")
    await pass(5000)
    expect(run.outcome).toEqual({ status: "rejected", reason: "stop", at })
    expect(f).toHaveBeenCalledTimes(1)
    await expectFree(meter, 1)
  })

  it("aborted after the timeout changes nothing", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = watch(meter.run(() => sleep(1000), { timeout: 100, signal: controller.signal }))
    await pass(150)
    expect(listeners(controller.signal)).toBe(0)
    controller.abort("stop")
    await pass(1000)
    expect(run.outcome).toMatchObject({ reason: { name: "TimeoutError" }, at: 100 })
  })

  it("aborted by the task's listener at the timeout: the caller's reason", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const run = meter.run(
      ({ signal }) => {
        signal.addEventListener("abort", () => controller.abort("stop"))
        return sleep(1000)
      },
      { timeout: 100, signal: controller.signal, retry: {} }
    )
    expect(await settle(run)).toEqual({ status: "rejected", reason: "stop", at: 100 })
    await pass(5000)
    expect(meter.snapshot()).toMatchObject({ started: 1, running: 0 })
  })
})

describe("with retry", () => {
  it("each attempt has its own time, and the last one's error is the call's", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const reasons: Array<unknown> = []
    const starts: Array<number> = []
    const run = watch(
      meter.run(
        ({ signal }) => {
          starts.push(now())
          signal.addEventListener("abort", () => reasons.push(signal.reason))
          return sleep(1000, signal)
        },
        { timeout: 100, retry: { times: 2, delay: 10 } }
      )
    )
    await pass(5000)
    expect(starts).toEqual([0, 110, 220])
    expect(reasons.every(isTimeoutError)).toBe(true)
    expect(new Set(reasons).size).toBe(3)
    expect(run.outcome).toEqual({ status: "rejected", reason: reasons[2], at: 320 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("the next attempt waits for the permit of one that continues", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const starts: Array<number> = []
    const run = watch(
      meter.run(
        () => {
          starts.push(now())
          return sleep(starts.length === 1 ? 500 : 50).then(() => starts.length)
        },
        { timeout: 100, retry: { delay: 10 } }
      )
    )
    await pass(200)
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 1 })
    await pass(1000)
    expect(starts).toEqual([0, 500])
    expect(run.outcome).toMatchObject({ value: 2, at: 550 })
    await expectFree(meter, 1)
  })

  it("the end of a timed-out attempt is not taken for the end of the running one", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    let attempts = 0
    const run = watch(
      meter.run(
        async () => {
          attempts += 1
          const attempt = attempts
          await sleep(attempt === 1 ? 150 : 80)
          if (attempt === 1) throw "late"
          return attempt
        },
        { timeout: 100, retry: { delay: 10 } }
      )
    )
    await pass(120)
    expect(meter.snapshot()).toMatchObject({ running: 2, started: 2 })
    await pass(40)
    expect(meter.snapshot()).toMatchObject({ running: 1 })
    expect(run.outcome).toBeUndefined()
    await pass(1000)
    expect(run.outcome).toMatchObject({ value: 2, at: 190 })
    expect(attempts).toBe(2)
    await expectFree(meter, 2)
  })

  it("each timed-out attempt keeps its cost, and may still correct it", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 100, per: "1 minute" } } })
    let attempts = 0
    const run = meter.run(
      async ({ correct }) => {
        attempts += 1
        const mine = attempts
        await sleep(mine === 1 ? 150 : 10)
        correct({ tokens: mine })
      },
      { timeout: 100, retry: { delay: 0 }, cost: { tokens: 30 } }
    )
    await value(run)
    expect(meter.snapshot().room).toEqual({ tokens: 100 - 30 - 2 })
    await pass(100)
    expect(meter.snapshot().room).toEqual({ tokens: 100 - 1 - 2 })
  })

  it("`while` is called with it", async () => {
    const meter = createMeter({})
    const reasons: Array<unknown> = []
    const retry = {
      while: (reason: unknown) => {
        reasons.push(reason)
        return !isTimeoutError(reason)
      }
    }
    const reason = await rejection(meter.run(({ signal }) => sleep(1000, signal), { timeout: 100, retry }))
    expect(isTimeoutError(reason)).toBe(true)
    expect(reasons).toEqual([reason])
    expect(now()).toBe(100)
  })

  it("aborted or closed between attempts while an abandoned one still runs: the call rejects after its grace", async () => {
    for (const end of ["abort", "close"] as const) {
      const meter = createMeter({ maxAtOnce: 1 })
      const controller = new AbortController()
      const from = now()
      const f = vi.fn<() => Promise<void>>(() => sleep(1000))
      const options = { timeout: 100, retry: { delay: 10 }, grace: 500, signal: controller.signal }
      const run = watch(meter.run(f, options))
      await pass(150)
      if (end === "abort") controller.abort("stop")
      else void meter.close("stop")
      await pass(5000)
      expect(run.outcome).toEqual({ status: "rejected", reason: "stop", at: from + 650 })
      expect(f).toHaveBeenCalledTimes(1)
      expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    }
  })
})
