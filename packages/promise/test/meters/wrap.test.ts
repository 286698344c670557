/** `meter.wrap`: functions each call of which is a task of the meter. */
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter, runOnEach } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
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

describe("a wrapped function", () => {
  it("resolves with its result, returned or promised", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const plain = meter.wrap((a: number, b: number) => a + b)
    const promised = meter.wrap(async (text: string) => `${text}!`)
    const result = plain(1, 2)
    expect(result).toBeInstanceOf(Promise)
    expect(await value(result)).toBe(3)
    expect(await value(promised("hello"))).toBe("hello!")
    expect(meter.snapshot()).toMatchObject({ running: 0, started: 2 })
  })

  it("resolves with the value of a thenable", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const wrapped = meter.wrap((n: number): PromiseLike<number> => ({
      // oxlint-disable-next-line unicorn/no-thenable -- a foreign promise
      then: (onFulfilled) => Promise.resolve(n * 2).then(onFulfilled)
    }))
    expect(await value(wrapped(21))).toBe(42)
  })

  it("gets its arguments unchanged, and no others", async () => {
    const meter = createMeter({})
    const wrapped = meter.wrap((...args: ReadonlyArray<unknown>) => args)
    const object = {}
    const args = [1, undefined, object, null, Number.NaN]
    const seen = await value(wrapped(...args))
    expect(seen).toEqual(args)
    expect(seen[2]).toBe(object)
    expect(await value(wrapped())).toEqual([])
  })

  it("keeps `this`, at once and after a wait", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    class Account {
      readonly name: string
      constructor(name: string) {
        this.name = name
      }
      readonly greet = meter.wrap(async function (this: Account, greeting: string) {
        await sleep(10)
        return `${greeting}, ${this.name}`
      })
    }
    const all = ["Robert", "Carmen"].map((name) => new Account(name).greet("Hello"))
    expect(await value(Promise.all(all))).toEqual(["Hello, Robert", "Hello, Carmen"])
    const bare = meter.wrap(function (this: unknown) {
      return this
    })
    expect(await value(bare())).toBeUndefined()
    expect(await value(bare.call("mine"))).toBe("mine")
  })

  it.each([
    ["an error", new Error("bad")],
    ["undefined", undefined],
    ["null", null],
    ["a text", "bad"]
  ])("rejects with the value that it threw or rejected with: %s", async (_, reason) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const throws = meter.wrap(() => {
      throw reason
    })
    const rejects = meter.wrap(() => Promise.reject(reason))
    // Neither throws at once.
    const both = [watch(throws()), watch(rejects())]
    await flush()
    for (const { outcome } of both) {
      expect(outcome).toEqual({ status: "rejected", reason, at: 0 })
      expect((outcome as { readonly reason: unknown }).reason).toBe(reason)
    }
    await expectFree(meter, 1)
  })

  it("is not called before the meter admits it", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const starts: Array<number> = []
    const wrapped = meter.wrap(async (ms: number) => {
      starts.push(now())
      await sleep(ms)
    })
    const all = [watch(wrapped(70)), watch(wrapped(30)), watch(wrapped(10))]
    expect(starts).toEqual([0])
    await pass(200)
    expect(starts).toEqual([0, 70, 100])
    expect(all.map(({ outcome }) => outcome?.at)).toEqual([70, 100, 110])
  })

  it("shares one queue with other wrapped functions, runs and verbs: first come, first served", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const order: Array<string> = []
    const task = (name: string) => async () => {
      order.push(`${name} ${now()}`)
      await sleep(10)
    }
    const one = meter.wrap(task("one"))
    const two = meter.wrap(task("two"))
    const all = [
      one(),
      meter.run(task("run")),
      two(),
      runOnEach([0], task("verb"), { meter }),
      one(),
      meter.runOnEach([0], task("own verb")),
      meter.run(task("run"))
    ]
    await value(Promise.all(all))
    expect(order).toEqual(["one 0", "run 10", "two 20", "verb 30", "one 40", "own verb 50", "run 60"])
  })

  it("counts against the rate, at exact instants", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const wrapped = meter.wrap(() => now())
    expect(await value(Promise.all([wrapped(), wrapped(), meter.run(() => now()), wrapped()]))).toEqual([
      0, 100, 200, 300
    ])
  })

  it("of a keyed meter counts under its key alone, even when that has been dropped meanwhile", async () => {
    const hosts = createKeyedMeter<string>({ maxAtOnce: 1 })
    const load = hosts.for("a").wrap(async () => {
      const at = now()
      await sleep(100)
      return at
    })
    await value(load())
    for (const key of ["b", "c", "d"]) await value(hosts.for(key).run(() => 1))
    const all = [load(), hosts.for("a").run(() => now()), hosts.for("b").run(() => now())]
    expect(await value(Promise.all(all))).toEqual([100, 200, 100])
  })
})

describe("the cost of a wrapped function", () => {
  const windows = { tokens: { limit: 10, per: 1000 } }

  it("goes by the arguments of each call", async () => {
    const meter = createMeter({ windows })
    const wrapped = meter.wrap((_text: string, _n: number) => now(), {
      cost: (text, n) => ({ tokens: text.length * n })
    })
    const starts = [wrapped("abc", 2), wrapped("abcd", 1), wrapped("a", 1), wrapped("abcdefghi", 1), wrapped("a", 0)]
    expect(await value(Promise.all(starts))).toEqual([0, 0, 1000, 1000, 1000])
    expect(meter.snapshot().room).toEqual({ tokens: 0 })
  })

  it("is computed once per call, when it is made", async () => {
    const meter = createMeter({ windows })
    const cost = vi.fn<() => { tokens: number }>(() => ({ tokens: 10 }))
    const wrapped = meter.wrap(() => now(), { cost })
    const all = Promise.all([wrapped(), wrapped()])
    expect(cost).toHaveBeenCalledTimes(2)
    expect(await value(all)).toEqual([0, 1000])
    expect(cost).toHaveBeenCalledTimes(2)
  })

  it("is computed once per call even if that is retried, and so are priority and lane", async () => {
    const meter = createMeter({ windows: { w: { limit: 10, per: 1000 } } })
    const asked: Array<string> = []
    const note =
      <A>(name: string, result: A) =>
      () => {
        asked.push(name)
        return result
      }
    let attempts = 0
    const f = async () => {
      if (++attempts < 3) throw new Error("boom")
    }
    const options = { cost: note("cost", { w: 1 }), priority: note("priority", 1), lane: note("lane", "x") }
    await value(meter.wrap(f, { ...options, retry: { delay: 1 } })())
    expect(attempts).toBe(3)
    expect(asked.toSorted()).toEqual(["cost", "lane", "priority"])
  })

  it("that is more than a whole window rejects that call alone", async () => {
    const meter = createMeter({ windows })
    const f = vi.fn<(n: number) => number>((n) => n)
    const wrapped = meter.wrap(f, { cost: (n) => ({ tokens: n }) })
    expect(await rejection(wrapped(11))).toBeInstanceOf(RangeError)
    expect(f).not.toHaveBeenCalled()
    expect(await value(wrapped(10))).toBe(10)
  })

  it("that throws rejects with just that, and nothing starts", async () => {
    const meter = createMeter({ windows })
    const f = vi.fn<() => void>()
    const wrapped = meter.wrap(f, {
      cost: () => {
        throw undefined
      }
    })
    expect(await settle(wrapped())).toEqual({ status: "rejected", reason: undefined, at: 0 })
    expect(f).not.toHaveBeenCalled()
    expect(meter.snapshot()).toMatchObject({ started: 0, waiting: 0, room: { tokens: 10 } })
  })
})

describe("the signal of a wrapped function", () => {
  it("aborted before: no call of it starts, or waits", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const signal = AbortSignal.abort("before")
    const f = vi.fn<() => void>()
    const wrapped = meter.wrap(f, { signal })
    expect(await settle(wrapped())).toEqual({ status: "rejected", reason: "before", at: 0 })
    expect(f).not.toHaveBeenCalled()
    expect(meter.snapshot()).toMatchObject({ started: 0, waiting: 0 })
    expect(listeners(signal)).toBe(0)
  })

  it("aborted while calls wait and one runs: all reject, and waiting ones are never called", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const calls: Array<number> = []
    const wrapped = meter.wrap(
      async (n: number) => {
        calls.push(n)
        await sleep(100)
      },
      { signal: controller.signal }
    )
    const all = [0, 1, 2].map((n) => watch(wrapped(n)))
    const behind = watch(meter.run(() => now()))
    expect(listeners(controller.signal)).toBe(1)
    await pass(50)
    controller.abort("stop")
    await flush()
    for (const { outcome } of all) expect(outcome).toEqual({ status: "rejected", reason: "stop", at: 50 })
    expect(listeners(controller.signal)).toBe(0)
    await pass(100)
    expect(calls).toEqual([0])
    expect(behind.outcome, "the one that runs gets no signal, and keeps its place").toMatchObject({ value: 100 })
    expect(await rejection(wrapped(3))).toBe("stop")
    expect(calls).toEqual([0])
  })

  it("leaves no listener when calls end", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const { signal } = new AbortController()
    const wrapped = meter.wrap((n: number) => (n === 1 ? Promise.reject("bad") : sleep(10)), { signal })
    const all = [0, 1, 2].map((n) => watch(wrapped(n)))
    await pass(100)
    expect(all.map(({ outcome }) => outcome?.status)).toEqual(["fulfilled", "rejected", "fulfilled"])
    expect(listeners(signal)).toBe(0)
  })
})

describe("the other options of wrap", () => {
  it("grace: how long an aborted call waits for the function", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const wrapped = meter.wrap((ms: number) => sleep(ms), { signal: controller.signal, grace: 100 })
    const all = [watch(wrapped(90)), watch(wrapped(1000))]
    await pass(50)
    controller.abort("stop")
    await pass(1000)
    expect(all.map(({ outcome }) => outcome)).toEqual([
      { status: "rejected", reason: "stop", at: 90 },
      { status: "rejected", reason: "stop", at: 150 }
    ])
  })

  it("timeout: how long each call may take", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const wrapped = meter.wrap((ms: number) => sleep(ms).then(() => ms), { timeout: 100 })
    const all = [watch(wrapped(50)), watch(wrapped(300)), watch(wrapped(99))]
    await pass(1000)
    expect(all.map(({ outcome }) => outcome)).toMatchObject([
      { value: 50, at: 50 },
      { reason: { name: "TimeoutError" }, at: 150 },
      // The timed-out one continues, with its permit.
      { value: 99, at: 449 }
    ])
  })

  it("retry: with the same `this` and arguments, for each call by itself, and the same cost", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 100, per: 60_000 } } })
    const seen: Array<readonly [unknown, ReadonlyArray<unknown>, number]> = []
    const wrapped = meter.wrap(
      function (this: string, ...args: [string, number]) {
        seen.push([this.valueOf(), args, now()])
        if (seen.filter(([self]) => self === this.valueOf()).length < 3) throw "again"
        return "done"
      },
      { retry: { times: 2, delay: 10 }, cost: (_, n) => ({ tokens: n }) }
    )
    expect(await value(Promise.all([wrapped.call("a", "x", 1), wrapped.call("b", "y", 5)]))).toEqual(["done", "done"])
    expect(seen).toEqual(
      [0, 10, 20].flatMap((at) => [
        ["a", ["x", 1], at],
        ["b", ["y", 5], at]
      ])
    )
    expect(meter.snapshot().room).toEqual({ tokens: 100 - 3 * 1 - 3 * 5 })
  })

  it("are read when the function is wrapped", async () => {
    const meter = createMeter({})
    const options: { timeout?: number } = {}
    const wrapped = meter.wrap(() => sleep(100).then(() => "in time"), options)
    options.timeout = 10
    expect(await value(wrapped())).toBe("in time")
  })
})
