/** Several meters for one task: the option `meter` of `run` and `wrap`, and `combineMeters`. */
import { describe, expect, it, vi } from "vitest"
import { combineMeters, createKeyedMeter, createMeter, runAll } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
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
import type { Untyped } from "../support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** Runs a task under both meters, in each of the ways there are. */
const ways: ReadonlyArray<
  readonly [name: string, run: <B>(a: Meter, b: Meter, task: () => B, options?: object) => Promise<Awaited<B>>]
> = [
  ["run with a meter", (a, b, task, options) => a.run(task, { ...options, meter: b }) as Promise<never>],
  ["run with a list", (a, b, task, options) => a.run(task, { ...options, meter: [b, a] }) as Promise<never>],
  ["wrap", (a, b, task, options) => a.wrap(task, { ...options, meter: b })() as Promise<never>],
  ["combineMeters", (a, b, task, options) => combineMeters(a, b).run(task, options) as Promise<never>],
  [
    "combineMeters as the option of a third",
    (a, b, task, options) => createMeter({}).run(task, { ...options, meter: combineMeters(a, b) }) as Promise<never>
  ],
  [
    "a verb of combineMeters",
    (a, b, task, options) =>
      combineMeters(a, b)
        .runAll([task], options)
        .then((results) => results[0] as never)
  ]
]

describe.each(ways)("%s", (name, run) => {
  it("starts when both meters admit the task, and takes from both", async () => {
    const [slots, rate] = [createMeter({ maxAtOnce: 2 }), createMeter({ maxPerSecond: 10 })]
    const starts = Array.from({ length: 4 }, () =>
      watch(
        run(slots, rate, async () => {
          const at = now()
          await sleep(250)
          return at
        })
      )
    )
    await pass(100)
    expect([slots, rate].map((meter) => meter.snapshot())).toMatchObject([
      { running: 2, waiting: 2, started: 2, free: 0 },
      { running: 2, waiting: 2, started: 2 }
    ])
    await pass(1000)
    expect(starts.map(({ outcome }) => outcome)).toMatchObject([0, 100, 250, 350].map((at) => ({ value: at })))
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(slots, 2)
  })

  it("waits holding nothing: another task uses the meter that has room", async () => {
    const [a, b] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 1 })]
    const holder = watch(a.run(() => sleep(1000)))
    const both = watch(run(a, b, () => now()))
    await flush()
    const other = watch(b.run(() => now()))
    await pass(1000)
    expect(holder.outcome).toMatchObject({ status: "fulfilled" })
    expect(other.outcome).toMatchObject({ value: 0 })
    expect(both.outcome).toMatchObject({ value: 1000 })
  })

  it("is dropped by an abort while it waits, and costs the next one nothing", async () => {
    const [a, b] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 1 })]
    const controller = new AbortController()
    void a.run(() => sleep(1000))
    const both = watch(run(a, b, () => now(), { signal: controller.signal }))
    await pass(10)
    controller.abort("stop")
    await flush()
    expect(both.outcome).toEqual({ status: "rejected", reason: "stop", at: 10 })
    expect(listeners(controller.signal)).toBe(0)
    expect([a, b].map((meter) => meter.snapshot())).toMatchObject([
      { running: 1, waiting: 0 },
      { running: 0, waiting: 0 }
    ])
    await pass(1000)
    await expectFree(a, 1)
    await expectFree(b, 1)
  })

  it.each([0, 1])("is cancelled, waiting or running, by the end of either meter (%d)", async (which) => {
    const meters = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 1 })] as const
    const cancelled: Array<unknown> = []
    const running = watch(
      meters[0].run(
        ({ signal }) => {
          signal.addEventListener("abort", () => cancelled.push(signal.reason))
          return sleep(1000, signal)
        },
        { meter: meters[1] }
      )
    )
    const waiting = watch(run(...meters, () => now()))
    await flush()
    const closed = watch(meters[which]!.close("closed"))
    await flush()
    expect(closed.outcome).toMatchObject({ status: "fulfilled" })
    expect([running, waiting].map(({ outcome }) => outcome)).toMatchObject([{ reason: "closed" }, { reason: "closed" }])
    expect(cancelled).toEqual(["closed"])
    expect(await rejection(run(...meters, () => 1))).toBe("closed")
    await value(meters[1 - which]!.idle())
    await expectFree(meters[1 - which]!, 1)
  })

  it("is cleared by the meter that has no room for it, and not by the other", async () => {
    const [a, b] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 1 })]
    void a.run(() => sleep(1000))
    const both = watch(run(a, b, () => now()))
    await flush()
    b.clear("no")
    await flush()
    expect(both.outcome).toBeUndefined()
    a.clear("cleared")
    await flush()
    expect(both.outcome).toMatchObject({ reason: "cleared" })
    await pass(1000)
    await expectFree(b, 1)
  })

  it("pays a cost by the windows of both meters, and rejects an unknown name at once", async () => {
    const [a, b] = [
      createMeter({ windows: { tokens: { limit: 100, per: 1000 } } }),
      createMeter({ windows: { requests: { limit: 3, per: 1000 } } })
    ]
    const cost = { tokens: 60, requests: 2 }
    // `wrap` and verbs take a function.
    const isFunction = name === "wrap" || name.startsWith("a verb")
    const given = (amounts: Readonly<Record<string, number>>): object => ({
      cost: isFunction ? () => amounts : amounts
    })
    const options = given(cost)
    await value(run(a, b, () => 1, options))
    expect([a, b].map((meter) => meter.snapshot().room)).toEqual([{ tokens: 40 }, { requests: 1 }])
    expect(await value(run(a, b, () => now(), options))).toBe(1000)
    expect(await rejection(run(a, b, () => 1, given({ token: 1 })))).toMatchObject({
      message: expect.stringContaining("Known: tokens, requests") as string
    })
  })

  it("a retry is admitted by both meters again, which are not idle meanwhile", async () => {
    const [a, b] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxPerSecond: 1 })]
    let attempts = 0
    const call = watch(
      run(
        a,
        b,
        () => {
          if (++attempts < 3) throw "again"
          return now()
        },
        { retry: { delay: 100 } }
      )
    )
    const idle = [a, b].map((meter) => watch(meter.idle()))
    await pass(1999)
    expect(attempts).toBe(2)
    expect(idle.map(({ outcome }) => outcome)).toEqual([undefined, undefined])
    await pass(1)
    expect(call.outcome).toMatchObject({ value: 2000 })
    expect(idle.map(({ outcome }) => outcome?.at)).toEqual([2000, 2000])
  })
})

it("tasks under several meters may be nested deeply, and are cancelled by the end of one of the meters", async () => {
  const [a, b] = [createMeter({}), createMeter({})]
  let starts = 0
  const nest = (depth: number): number | Promise<number> => {
    starts++
    return depth === 0 ? starts : a.run(() => nest(depth - 1), { meter: b })
  }
  expect(await value(Promise.resolve(nest(100)))).toBe(101)
  const call = watch(Promise.resolve(nest(100)))
  void b.close("closed")
  await flush()
  expect(call.outcome).toMatchObject({ reason: "closed" })
  expect(starts).toBeLessThan(202)
  await value(a.idle())
})

it("an error that starting throws leaves the lists of all meters", async () => {
  const [a, b] = [createMeter({}), createMeter({})]
  const signal = new AbortController().signal
  vi.spyOn(signal, "addEventListener").mockImplementation(() => {
    throw new Error("of the signal")
  })
  expect(await rejection(a.run(() => 1, { meter: b, signal }))).toMatchObject({ message: "of the signal" })
  await value(a.idle())
  await value(b.idle())
})

describe("combineMeters", () => {
  const make = () => {
    const [a, b] = [createMeter({ maxAtOnce: 1 }), createMeter({ maxAtOnce: 2 })]
    return { a, b, both: combineMeters(a, b) }
  }

  it("pause and resume are for each of the meters, which open together", async () => {
    const { a, b, both } = make()
    both.pause(1000)
    expect([a, b, both].map((meter) => meter.snapshot().nextStart)).toEqual([1000, 1000, 1000])
    const starts = [a, b, both].map((meter) => watch(meter.run(() => now())))
    await pass(100)
    both.resume()
    await flush()
    expect(starts.map(({ outcome }) => outcome)).toMatchObject([{ value: 100 }, { value: 100 }, { value: 100 }])
    both.pause()
    expect([a, b].map((meter) => meter.snapshot().nextStart)).toEqual([Infinity, Infinity])
  })

  it("snapshot: the busiest counts", async () => {
    const { a, b, both } = make()
    const tasks = [a.run(() => sleep(100)), b.run(() => sleep(50)), b.run(() => sleep(50)), b.run(() => 1)]
    await flush()
    expect(both.snapshot()).toMatchObject({ running: 2, waiting: 1, started: 2, free: 0, nextStart: Infinity })
    await value(Promise.all(tasks))
  })

  it("snapshot: the strictest limits count, and the state of any", async () => {
    const a = createMeter({
      maxAtOnce: 5,
      maxPerSecond: 10,
      windows: { x: { limit: 5, per: 100 }, y: { limit: 1, per: 5 } }
    })
    const b = createMeter({ maxAtOnce: 3, maxPerSecond: 2, maxBurst: 4, windows: { x: { limit: 3, per: 700 } } })
    for (const both of [combineMeters(a, b), combineMeters(b, a)]) {
      expect(both.snapshot()).toMatchObject({
        limits: {
          maxAtOnce: 3,
          maxPerSecond: 2,
          maxBurst: 4,
          windows: { x: { limit: 3, per: 700 }, y: { limit: 1, per: 5 } }
        },
        paused: false,
        draining: false,
        closed: false
      })
    }
    b.pause()
    void a.drain()
    await flush()
    await value(b.close())
    expect(combineMeters(a, b).snapshot()).toMatchObject({ paused: true, draining: true, closed: true })
  })

  it("idle: when all are idle at the same time", async () => {
    const { a, b, both } = make()
    void a.run(() => sleep(100))
    void b.run(() => sleep(50))
    const idle = watch(both.idle())
    await pass(60)
    void b.run(() => sleep(100))
    await pass(1000)
    expect(idle.outcome).toMatchObject({ status: "fulfilled", at: 160 })
    await value(both.idle())
  })

  it("clear: the waiters of each", async () => {
    const { a, b, both } = make()
    for (const meter of [a, b, b]) void meter.run(() => sleep(1000))
    const waiting = [a, b, both].map((meter) => watch(meter.run(() => 1)))
    await flush()
    both.clear("cleared")
    await flush()
    expect(waiting.map(({ outcome }) => outcome)).toMatchObject(waiting.map(() => ({ reason: "cleared" })))
    const byDefault = watch(both.run(() => 1))
    both.clear()
    await flush()
    expect(byDefault.outcome).toSatisfy(({ reason }: { readonly reason: unknown }) => isAbortError(reason))
    await pass(1000)
    expect([a, b].map((meter) => meter.snapshot().running)).toEqual([0, 0])
  })

  it("close: each of the meters", async () => {
    const { a, b, both } = make()
    const running = watch(both.run(({ signal }) => sleep(1000, signal)))
    await flush()
    await value(both.close("closed"))
    expect(running.outcome).toMatchObject({ reason: "closed" })
    for (const meter of [a, b, both]) expect(await rejection(meter.run(() => 1))).toBe("closed")
  })

  it("resize throws: it has no limits of its own", () => {
    const { both } = make()
    expect(() => both.resize({ maxAtOnce: 5 })).toThrow(
      new TypeError("a meter made by combineMeters has no limits of its own: resize its parts")
    )
  })

  it("of one meter is that meter, of a combination all of its meters, each once", async () => {
    const { a, b, both } = make()
    combineMeters(b).resize({ maxAtOnce: 3 })
    expect(b.snapshot().free).toBe(3)
    const nested = combineMeters(both, a)
    await value(nested.run(() => sleep(10)))
    expect([a, b].map((meter) => meter.snapshot().started)).toEqual([1, 1])
  })

  it("takes the meter of a key, which may be idle for long", async () => {
    const hosts = createKeyedMeter<string>({ maxPerSecond: 1 })
    const all = createMeter({ maxAtOnce: 5 })
    const host = combineMeters(all, hosts.for("a"))
    for (let i = 0; i < 3; i++) {
      expect(await value(host.run(() => now()))).toBe(i * 10_000)
      await pass(10_000)
      // Checks the idle keys.
      hosts.for("b")
    }
    expect(hosts.size).toBe(0)
  })

  it("is a meter for the verbs", async () => {
    const { a, both } = make()
    const starts = await value(
      runAll(
        [1, 2, 3],
        async () => {
          const at = now()
          await sleep(10)
          return at
        },
        { meter: both }
      )
    )
    expect(starts).toEqual([0, 10, 20])
    expect(a.snapshot().started).toBe(3)
  })

  it.each<readonly [shown: string, meters: ReadonlyArray<unknown>, name: string]>([
    ["undefined", [], "meters[0]"],
    ["5", [createMeter({}), 5], "meters[1]"],
    ["an array", [[createMeter({})]], "meters[0]"],
    ["an object", [createMeter({}), { maxAtOnce: 5 }], "meters[1]"]
  ])("rejects what is not a meter: %s", (shown, meters, name) => {
    expect(() => (combineMeters as Untyped)(...meters)).toThrow(
      new TypeError(`${name} must be a Meter made by createMeter, but is ${shown}`)
    )
  })

  it("run reports an invalid meter by rejecting, wrap by throwing", async () => {
    const meter = createMeter({}) as unknown as Record<"run" | "wrap", Untyped>
    const message = "meter must be a Meter made by createMeter, but is 5"
    expect(await rejection(meter.run(() => 1, { meter: 5 }) as Promise<unknown>)).toEqual(new TypeError(message))
    expect(() => meter.wrap(() => 1, { meter: 5 })).toThrow(new TypeError(message))
  })
})
