/** `reconcile`: a window is tightened to what the server reports. `reported-window.test.ts` of core has the arithmetic. */
import { describe, expect, it, vi } from "vitest"
import { amap, combineMeters, createKeyedMeter, createMeter, rateLimitsOf, runAll, runOnEach } from "../../src/index.ts"
import type { Meter, TaskContext, WindowReport } from "../../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  now,
  pass,
  rejection,
  settle,
  sleep,
  useVirtualTime,
  value,
  watch
} from "../support.ts"
import type { Untyped } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const minute = 60_000
const requests = (limit = 10): Meter => createMeter({ windows: { requests: { limit, per: minute } } })
const room = (meter: Meter): number => meter.snapshot().room["requests"]!

/** When tasks start on the meter from now on. */
const startsOn = async (meter: Meter, count: number): Promise<ReadonlyArray<number>> => {
  const begin = now()
  return value(Promise.all(Array.from({ length: count }, () => meter.run(() => now() - begin))))
}

describe("on a meter", () => {
  it("leaves what the server has left, until it resets", async () => {
    const meter = requests()
    meter.reconcile({ window: "requests", remaining: 2, resetAfter: 5000 })
    expect(room(meter)).toBe(2)
    expect(await startsOn(meter, 4)).toEqual([0, 0, 5000, 5000])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("does not widen the window", async () => {
    const meter = requests(2)
    meter.reconcile({ window: "requests", remaining: 1000, resetAfter: 1 })
    expect(room(meter)).toBe(2)
    expect(await startsOn(meter, 3)).toEqual([0, 0, minute])
  })

  it("concerns calls that wait already, and those of verbs", async () => {
    const meter = requests(1)
    const starts: Array<number> = []
    const call = watch(
      runOnEach([1, 2, 3], () => void starts.push(now()), { meter, windows: { own: { limit: 100, per: 1 } } })
    )
    await flush()
    expect(starts).toEqual([0])
    meter.reconcile({ window: "requests", remaining: 0, resetAfter: "2 minutes" })
    await pass(2 * minute)
    expect(starts).toEqual([0, 2 * minute])
    await pass(minute)
    expect(call.outcome).toMatchObject({ status: "fulfilled" })
  })

  it("a resize does not end it", () => {
    const meter = requests(10)
    meter.reconcile({ window: "requests", remaining: 3, resetAfter: 5000 })
    meter.resize({ windows: { requests: { limit: 100, per: minute } } })
    expect(room(meter)).toBe(3)
  })

  it("a window that was added by resize is tightened as well", () => {
    const meter = createMeter({})
    meter.resize({ windows: { requests: { limit: 100, per: minute } } })
    meter.reconcile({ window: "requests", remaining: 3, resetAfter: 5000 })
    expect(room(meter)).toBe(3)
  })

  it("with sentAt, starts after it are subtracted, and earlier reports replaced", async () => {
    const meter = requests(100)
    meter.reconcile({ window: "requests", remaining: 5, resetAfter: minute })
    await pass(10)
    const sentAt = performance.now()
    await pass(10)
    await startsOn(meter, 3)
    meter.reconcile({ window: "requests", remaining: 50, resetAfter: minute, sentAt })
    expect(room(meter)).toBe(47)
    // It had been sent before the last report arrived: the stricter of both.
    meter.reconcile({ window: "requests", remaining: 80, resetAfter: minute, sentAt })
    expect(room(meter)).toBe(47)
  })

  it("without, the strictest counts", () => {
    const meter = requests(100)
    meter.reconcile({ window: "requests", remaining: 5, resetAfter: minute })
    meter.reconcile({ window: "requests", remaining: 50, resetAfter: minute })
    expect(room(meter)).toBe(5)
  })

  it("admits waiters at once if a later report leaves more", async () => {
    const meter = requests(100)
    meter.reconcile({ window: "requests", remaining: 0, resetAfter: minute })
    const call = watch(meter.run(() => now()))
    await pass(1000)
    meter.reconcile({ window: "requests", remaining: 1, resetAfter: minute, sentAt: performance.now() })
    await flush()
    expect(call.outcome).toMatchObject({ value: 1000 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it("of several meters, each with such a window is tightened", () => {
    const [a, b, other] = [requests(), requests(20), createMeter({ windows: { tokens: { limit: 5, per: 1 } } })]
    combineMeters(a, b, other).reconcile({ window: "requests", remaining: 2, resetAfter: 5000 })
    expect([room(a), room(b)]).toEqual([2, 2])
    expect(other.snapshot().room).toEqual({ tokens: 5 })
  })

  it("is kept for a key until the server resets, however long that is not used", async () => {
    const hosts = createKeyedMeter<string>({ windows: { requests: { limit: 10, per: 1000 } } })
    hosts.for("a").reconcile({ window: "requests", remaining: 1, resetAfter: minute })
    const use = async () => {
      for (let n = 0; n < 4; n++) await value(hosts.for(`other ${n}`).run(() => n))
    }
    await pass(minute - 1)
    await use()
    expect(room(hosts.for("a"))).toBe(1)
    await pass(1)
    await use()
    expect(room(hosts.for("a"))).toBe(10)
  })

  it("waitTimeout: a call that cannot start before the reset is refused at once", async () => {
    const meter = requests()
    meter.reconcile({ window: "requests", remaining: 0, resetAfter: 5000 })
    expect(await rejection(meter.run(() => 1, { waitTimeout: 4999 }))).toMatchObject({ name: "OverloadedError" })
    expect(now()).toBe(0)
    expect(await value(meter.run(() => now(), { waitTimeout: 5000 }))).toBe(5000)
  })
})

describe("in the context of a task", () => {
  const ways: ReadonlyArray<
    readonly [
      string,
      (
        meter: Meter,
        task: (context: Pick<TaskContext, "reconcile">) => Promise<void>,
        count: number
      ) => Promise<unknown>
    ]
  > = [
    ["run", (meter, task, count) => Promise.all(Array.from({ length: count }, () => meter.run(task)))],
    [
      "run with retries",
      (meter, task, count) => Promise.all(Array.from({ length: count }, () => meter.run(task, { retry: { times: 1 } })))
    ],
    [
      "runAll",
      (meter, task, count) =>
        runAll(
          Array.from({ length: count }, () => task),
          { meter }
        )
    ],
    [
      "amap",
      (meter, task, count) =>
        Array.fromAsync(
          amap(
            Array.from({ length: count }, () => 0),
            (_, context) => task(context),
            { meter, maxUnread: Infinity }
          )
        )
    ]
  ]

  it.each(ways)("%s: starts after the task's own are subtracted", async (_, call) => {
    const meter = requests(100)
    let answers = 0
    const task = async ({ reconcile }: Pick<TaskContext, "reconcile">): Promise<void> => {
      const number = answers++
      await sleep(10)
      // The server has counted the requests in the order in which they were sent.
      if (number === 1) reconcile({ window: "requests", remaining: 40, resetAfter: minute })
    }
    await value(call(meter, task, 5))
    expect(room(meter)).toBe(37)
  })

  it("the answer to a later task replaces the report, also in the same instant", async () => {
    const meter = requests(100)
    const answer = (remaining: number) =>
      meter.run(({ reconcile }) => reconcile({ window: "requests", remaining, resetAfter: minute }))
    await value(answer(0))
    expect(room(meter)).toBe(0)
    await pass(minute)
    await value(answer(7))
    expect(room(meter)).toBe(7)
    await value(answer(20))
    expect(room(meter)).toBe(20)
  })

  it("costs that are corrected later are subtracted as corrected", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 1000, per: minute } } })
    const cost = { tokens: 100 }
    const first = meter.run(
      async ({ correct, reconcile }) => {
        await sleep(10)
        reconcile({ window: "tokens", remaining: 500, resetAfter: minute })
        correct({ tokens: 10 })
      },
      { cost }
    )
    const second = meter.run(
      async ({ correct }) => {
        await sleep(20)
        correct({ tokens: 30 })
      },
      { cost }
    )
    await value(first)
    expect(meter.snapshot().room).toEqual({ tokens: 400 })
    await value(second)
    expect(meter.snapshot().room).toEqual({ tokens: 470 })
  })

  it.each([
    [
      "if the server refunds, costs that are corrected later are returned, also of tasks that it had counted",
      true,
      1010
    ],
    ["if it does not, the report stays as it was until the reset", undefined, minute + 10]
  ] as const)("%s", async (_, refunds, third) => {
    const meter = createMeter({ windows: { tokens: { limit: 10_000, per: minute } } })
    const starts: Array<number> = []
    const task = async (id: number, { correct, reconcile }: TaskContext): Promise<void> => {
      starts.push(now())
      await sleep(10)
      // The first two requests have reserved 4000 each.
      if (id === 2) reconcile({ window: "tokens", remaining: 2000, resetAfter: minute, refunds })
      await sleep(1000)
      correct({ tokens: 50 })
    }
    await value(runAll([1, 2, 3], task, { meter, cost: () => ({ tokens: 4000 }) }))
    expect(starts).toEqual([0, 0, third])
  })

  it("with sentAt, that instant counts instead of the task's start", async () => {
    const meter = requests(100)
    await value(
      meter.run(async ({ reconcile }) => {
        await sleep(10)
        await Promise.all([meter.run(() => {}), meter.run(() => {})])
        await sleep(10)
        const sentAt = performance.now()
        await sleep(10)
        await meter.run(() => {})
        reconcile({ window: "requests", remaining: 50, resetAfter: minute, sentAt })
      })
    )
    expect(room(meter)).toBe(49)
  })

  it("of an item with a meter of its own, that meter's window is tightened", async () => {
    const hosts = createKeyedMeter<string>({ windows: { requests: { limit: 10, per: minute } } })
    const task = (key: string, { reconcile }: TaskContext): void => {
      if (key === "a") reconcile({ window: "requests", remaining: 3, resetAfter: 1000 })
    }
    await value(runAll(["a", "b"], task, { meter: (key) => hosts.for(key) }))
    expect([room(hosts.for("a")), room(hosts.for("b"))]).toEqual([3, 9])
  })

  it("may be called after the task has ended", async () => {
    const meter = requests()
    const reconcile = await value(meter.run((context) => context.reconcile))
    reconcile({ window: "requests", remaining: 3, resetAfter: 1000 })
    expect(room(meter)).toBe(3)
  })

  it("of several meters, each with such a window is tightened", async () => {
    const [a, b] = [requests(), requests(20)]
    await value(
      a.run(({ reconcile }) => reconcile({ window: "requests", remaining: 2, resetAfter: 5000 }), { meter: b })
    )
    expect([room(a), room(b)]).toEqual([2, 2])
  })

  it("limits in the options of a verb cannot be tightened", async () => {
    const report = { window: "own", remaining: 2, resetAfter: 5000 }
    const task = ({ reconcile }: TaskContext) => reconcile(report)
    expect(await rejection(runAll([task]))).toEqual(new TypeError("reconcile needs a window of a meter"))
    const windows = { own: { limit: 5, per: 1000 } }
    expect(await rejection(runAll([task], { windows }))).toBeInstanceOf(TypeError)
    expect(await rejection(runAll([task], { windows, meter: requests() }))).toEqual(
      new TypeError("there is no window own of a meter that could be reconciled. Known: requests")
    )
    // A window of a meter is tightened also if one of the verb has the same name.
    const meter = requests()
    const limited = ({ reconcile }: TaskContext) => reconcile({ ...report, window: "requests" })
    await value(runAll([limited], { windows: { requests: { limit: 100, per: 1000 } }, meter }))
    expect(room(meter)).toBe(2)
  })
})

describe("what is rejected", () => {
  const report = { window: "requests", remaining: 2, resetAfter: 5000 }
  const delay = 'a finite duration, such as 500 (milliseconds) or "1 second"'
  const amount = "a finite number of at least 0"
  const instant = "an instant of performance.now(), not after the present one"

  it.each<readonly [string, unknown, typeof RangeError | typeof TypeError, string]>([
    ["window", 5, TypeError, "report.window must be the name of a window, but is 5"],
    ["window", undefined, TypeError, "report.window must be the name of a window, but is undefined"],
    ["remaining", "5", TypeError, `report.remaining must be ${amount}, but is "5"`],
    ["remaining", undefined, TypeError, `report.remaining must be ${amount}, but is undefined`],
    ["remaining", -1, RangeError, `report.remaining must be ${amount}, but is -1`],
    ["remaining", NaN, RangeError, `report.remaining must be ${amount}, but is NaN`],
    ["remaining", Infinity, RangeError, `report.remaining must be ${amount}, but is Infinity`],
    ["resetAfter", "soon", TypeError, `report.resetAfter must be ${delay}, but is "soon"`],
    ["resetAfter", undefined, TypeError, `report.resetAfter must be ${delay}, but is undefined`],
    ["resetAfter", -1, RangeError, `report.resetAfter must be ${delay}, but is -1`],
    ["resetAfter", Infinity, RangeError, `report.resetAfter must be ${delay}, but is Infinity`],
    ["sentAt", "now", TypeError, `report.sentAt must be ${instant}, but is "now"`],
    ["sentAt", 1e12, RangeError, `report.sentAt must be ${instant}, but is 1000000000000`],
    ["sentAt", -Infinity, RangeError, `report.sentAt must be ${instant}, but is -Infinity`],
    ["refunds", 1, TypeError, "report.refunds must be true or false, but is 1"],
    ["optional", "yes", TypeError, 'report.optional must be true or false, but is "yes"']
  ])("%s: %j", async (name, invalid, kind, message) => {
    const meter = requests()
    const bad = { ...report, [name]: invalid } as WindowReport
    for (const call of [
      () => meter.reconcile(bad),
      await value(
        meter.run(
          ({ reconcile }) =>
            () =>
              reconcile(bad)
        )
      )
    ]) {
      expect(call).toThrow(kind)
      expect(call).toThrow(message)
    }
    expect(room(meter)).toBe(9)
  })

  it("a report that is not an object, and names that are not known", () => {
    const reconcile = requests().reconcile as Untyped
    expect(() => reconcile()).toThrow(
      new TypeError("report must be an object { window, remaining, resetAfter, sentAt }, but is undefined")
    )
    expect(() => reconcile([report])).toThrow("but is an array")
    expect(() => reconcile({ ...report, reset: 5 })).toThrow(
      "there is no option report.reset. Did you mean report.resetAfter?"
    )
  })

  it("a window that the meter does not have, unless the report is optional", () => {
    const meter = requests()
    expect(() => meter.reconcile({ ...report, window: "tokens" })).toThrow(
      new TypeError("there is no window tokens of a meter that could be reconciled. Known: requests")
    )
    expect(() => createMeter({}).reconcile(report)).toThrow("No window has a name here")
    meter.reconcile({ ...report, window: "tokens", optional: true })
    createMeter({}).reconcile({ ...report, optional: true })
    expect(room(meter)).toBe(10)
  })
})

/**
 * A server with a quota of requests and tokens in each minute, which resets when the minute is over. A program has half of it
 * to itself most of the time; now and then, another client with the same quota uses most of it at once.
 */
describe("a server whose quota another client uses as well", () => {
  const limit = { requests: 60, tokens: 60_000 }

  /** `saysWhen`: whether a response of status 429 has a `Retry-After`. */
  const serve = (saysWhen: boolean) => {
    let used = { requests: 0, tokens: 0 }
    let minuteOf = 0
    const answer = (tokens: number): Response => {
      const current = Math.floor(now() / minute)
      if (current !== minuteOf) used = { requests: 0, tokens: 0 }
      minuteOf = current
      const fits = used.requests + 1 <= limit.requests && used.tokens + tokens <= limit.tokens
      if (fits) used = { requests: used.requests + 1, tokens: used.tokens + tokens }
      const seconds = (minute - (now() % minute)) / 1000
      const reset = `${seconds}s`
      return new Response(null, {
        status: fits ? 200 : 429,
        headers: {
          "x-ratelimit-remaining-requests": `${limit.requests - used.requests}`,
          "x-ratelimit-reset-requests": reset,
          "x-ratelimit-remaining-tokens": `${limit.tokens - used.tokens}`,
          "x-ratelimit-reset-tokens": reset,
          ...(!fits && saysWhen && { "retry-after": `${seconds}` })
        }
      })
    }
    return { answer }
  }

  /** 300 requests of 1000 tokens that were estimated at 1500, with the other client's 20 at the beginning of each minute. */
  const refused = async (
    isReconciled: boolean,
    saysWhen: boolean
  ): Promise<{ readonly refused: number; readonly minutes: number }> => {
    const server = serve(saysWhen)
    await pass((minute - (now() % minute)) % minute)
    const begin = now()
    const other = setInterval(() => {
      for (let n = 0; n < 20; n++) server.answer(1000)
    }, minute)
    for (let n = 0; n < 20; n++) server.answer(1000)
    const api = createMeter({
      maxAtOnce: 5,
      windows: { requests: { limit: 60, per: minute }, tokens: { limit: 60_000, per: minute } }
    })
    let refusals = 0
    const ask = async (_: number, { correct, reconcile }: TaskContext): Promise<void> => {
      await sleep(50)
      const response = server.answer(1000)
      await sleep(150)
      correct({ tokens: 1000 })
      if (isReconciled) for (const report of rateLimitsOf(response, Date.now())) reconcile(report)
      if (response.ok) return
      refusals++
      throw response
    }
    const { status } = await settle(
      runAll(
        Array.from({ length: 300 }, (_, i) => i),
        ask,
        {
          meter: api,
          cost: () => ({ tokens: 1500 }),
          retry: { times: 100, delay: 1000 }
        }
      )
    )
    clearInterval(other)
    expect(status).toBe("fulfilled")
    return { refused: refusals, minutes: Math.ceil((now() - begin) / minute) }
  }

  it("refuses none of the requests if they are reconciled, and many if not", async () => {
    // The guide has these figures.
    expect(await refused(false, false)).toEqual({ refused: 133, minutes: 8 })
    expect(await refused(true, false)).toEqual({ refused: 0, minutes: 8 })
  })

  it("whose refusals have a Retry-After: each minute refuses the five requests that are under way, or none", async () => {
    // The guide has these figures, too.
    expect(await refused(false, true)).toEqual({ refused: 7 * 5, minutes: 8 })
    expect(await refused(true, true)).toEqual({ refused: 0, minutes: 8 })
  })
})
