/** A permit is released once, even if what follows its release throws: a stack may overflow anywhere. */
import { describe, expect, it, vi } from "vitest"
import { createMeter, runAll } from "../src/index.ts"
import { MeterLimiter } from "../src/internal/meterLimiter.ts"
import { expectNoUnhandledRejection, pass, settle, sleep, useVirtualTime, watch } from "./support.ts"

// A real turn of the event loop may last long on a busy machine: then a start is deferred, and its throw has no caller.
useVirtualTime()
expectNoUnhandledRejection()

const thrown = new Error("thrown after the release")

it.each<readonly [string, (meter: ReturnType<typeof createMeter>, task: () => unknown) => Promise<unknown>]>([
  ["run", (meter, task) => meter.run(task)],
  ["run with grace", (meter, task) => meter.run(task, { grace: 10 })],
  ["runAll", (meter, task) => runAll([task], { meter })],
  ["runAll with a meter per item", (meter, task) => runAll([task], { meter: () => meter })]
])("%s", async (_, call) => {
  for (const task of [
    () => 1,
    () => {
      throw new Error("of the task")
    }
  ]) {
    const meter = createMeter({ maxAtOnce: 2 })
    let end!: () => void
    const running = meter.run(() => new Promise<void>((resolve) => (end = resolve)))
    const spy = vi.spyOn(MeterLimiter.prototype, "afterEnd").mockImplementation(() => {
      throw thrown
    })
    await Promise.allSettled([call(meter, task)])
    expect(spy).toHaveBeenCalledTimes(1)
    spy.mockRestore()
    expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 0 })
    end()
    await running
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    await meter.idle()
  }
})

describe("without room on the stack for a task, what has made room for it continues", () => {
  const overflow = new RangeError("Maximum call stack size exceeded")
  const overflows = (): never => {
    throw overflow
  }
  // The first task of the call is admitted. There is no room for the second.
  const spies = [
    [
      "after its admission",
      () =>
        vi
          .spyOn(MeterLimiter.prototype, "isWeighed", "get")
          .mockReturnValueOnce(false)
          .mockImplementationOnce(overflows)
    ],
    ["before its admission", () => vi.spyOn(MeterLimiter.prototype, "admits").mockImplementationOnce(overflows)]
  ] as const

  it.each(spies)("%s", async (_, spyOn) => {
    const older = createMeter({ maxAtOnce: 1 })
    const younger = createMeter({ maxAtOnce: 1 })
    const both = watch(runAll([() => sleep(10)], { meter: [older, younger] }))
    const call = watch(runAll([() => 1, () => 2], { meter: younger }))
    const waiter = watch(older.run(() => "started"))
    const spy = spyOn()
    await pass(10)
    spy.mockRestore()
    expect([both.outcome, call.outcome, waiter.outcome]).toMatchObject([
      { status: "fulfilled", at: 10 },
      { status: "rejected", reason: overflow, at: 10 },
      { status: "fulfilled", value: "started", at: 10 }
    ])
    expect(await settle(Promise.all([older.idle(), younger.idle()]))).toMatchObject({ status: "fulfilled", at: 10 })
  })
})

describe("if the stack has no room for an admitted task, its permit is released", () => {
  const overflow = new RangeError("Maximum call stack size exceeded")
  const fails = (): never => {
    throw new Error("of the task")
  }
  /** The first thing that is asked where a task starts. */
  const overflowAfter = (starts: number) => {
    let asked = 0
    return vi.spyOn(MeterLimiter.prototype, "isWeighed", "get").mockImplementation(() => {
      if (asked++ < starts) return false
      throw overflow
    })
  }

  it("a retry", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const spy = overflowAfter(2)
    const call = settle(meter.run(fails, { retry: { times: 1, delay: 10 } }))
    void meter.run(() => sleep(20))
    expect(await call).toMatchObject({ status: "rejected", reason: overflow })
    spy.mockRestore()
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
  })

  it("a task after another one has failed", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const spy = overflowAfter(1)
    const call = settle(runAll([fails, fails], { meter, stopOnError: false, grace: 1000 }))
    expect(await call).toMatchObject({ status: "rejected", reason: overflow })
    spy.mockRestore()
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    // No task runs that the call would have to wait for.
    expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled", at: 0 })
  })
})
