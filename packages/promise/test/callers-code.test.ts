/** The caller's code may throw anywhere, and change what it has passed in: a call reads it once and fails with its throw. */
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter, runAll } from "../src/index.ts"
import type { Meter, Options, Progress, Retry } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  now,
  pass,
  rejection,
  settle,
  sleep,
  untyped,
  useVirtualTime,
  value,
  watch
} from "./support.ts"
import type { Untyped } from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const mine = new Error("of the caller")
const fails = (): never => {
  throw mine
}

const revoked = (): unknown => {
  const { proxy, revoke } = Proxy.revocable([1], {})
  revoke()
  return proxy
}

/** An array that is one for every check, and whose element throws. */
const throwingArray = (): Array<number> => Object.defineProperty([1, 2, 3], 1, { get: fails })

/** A promise that is rejected with what the call throws, if it throws. */
const calling = async (call: () => unknown): Promise<unknown> => call()

const verbs = {
  runOnEach: (items: unknown, options?: unknown) => untyped.runOnEach(items, () => 1, options),
  runAll: (items: unknown, options?: unknown) => untyped.runAll(items, () => 1, options),
  amap: (items: unknown, options?: unknown) =>
    Array.fromAsync(untyped.amap(items, () => 1, options) as AsyncIterable<unknown>),
  runAny: (items: unknown, options?: unknown) => untyped.runAny(items, () => Promise.reject(new Error("no")), options)
}

describe.each(Object.entries(verbs))("%s", (_, verb) => {
  it.each<readonly [string, () => unknown]>([
    ["an element of the array is a getter", throwingArray],
    [
      "its length is",
      () => new Proxy([1], { get: (target, name) => (name === "length" ? fails() : Reflect.get(target, name)) })
    ],
    ["the iterator method is a getter", () => Object.defineProperty({}, Symbol.iterator, { get: fails })],
    ["the iterator cannot be made", () => ({ [Symbol.iterator]: fails })],
    ["the iterator does", () => ({ [Symbol.iterator]: () => ({ next: fails }) })],
    ["the async iterator method is a getter", () => Object.defineProperty({}, Symbol.asyncIterator, { get: fails })]
  ])("fails with what the items throw: %s", async (_, items) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const calls = [
      calling(() => verb(items(), { meter, onProgress: () => {} })),
      // Started in the same turn: it continues.
      meter.run(() => "another")
    ]
    expect(await rejection(calls[0]!)).toBe(mine)
    expect(await value(calls[1]!)).toBe("another")
    expect((await settle(meter.idle())).status).toBe("fulfilled")
  })

  it("rejects a revoked proxy", async () => {
    const meter = createMeter({})
    expect(await rejection(calling(() => verb(revoked(), { meter })))).toBeInstanceOf(TypeError)
    expect(await rejection(calling(() => verb([1], revoked())))).toBeInstanceOf(TypeError)
    expect((await settle(meter.idle())).status).toBe("fulfilled")
  })

  it("rejects an async onProgress, whose rejection is not unhandled", async () => {
    const error = await rejection(verb([1], { onProgress: () => Promise.reject(mine) }) as Promise<unknown>)
    expect(error).toMatchObject({
      name: "TypeError",
      message: expect.stringContaining("onProgress must not be async") as string
    })
  })

  it("rejects an async cost, whose rejection is not unhandled", async () => {
    const options = { windows: { tokens: { limit: 1, per: 1000 } }, cost: () => Promise.reject(mine) }
    expect(await rejection(verb([1], options) as Promise<unknown>)).toMatchObject({
      name: "TypeError",
      message: expect.stringContaining("cost must be") as string
    })
  })

  it("has the total of what counts what it iterates, and of nothing else", async () => {
    const totalOf = async (items: unknown): Promise<unknown> => {
      const seen: Array<Progress> = []
      await settle(verb(items, { onProgress: (progress: Progress) => seen.push(progress) }) as Promise<unknown>)
      return seen.at(-1)?.total
    }
    class Two extends Set<number> {
      override get size(): number {
        return 12_345
      }
    }
    const twoItems = (): Iterator<number> => [1, 2].values()
    expect(await totalOf([1, 2])).toBe(2)
    expect(await totalOf(new Set([1, 2]))).toBe(2)
    expect(await totalOf(new Map([[1, 2]]))).toBe(1)
    expect(await totalOf(new Uint8Array(3))).toBe(3)
    expect(await totalOf(new Two([1, 2]))).toBe(2)
    expect(await totalOf({ size: 12_345, [Symbol.iterator]: twoItems })).toBeUndefined()
    expect(await totalOf({ length: 12_345, [Symbol.iterator]: twoItems })).toBeUndefined()
    expect(await totalOf(Object.assign([1, 2, 3], { [Symbol.iterator]: twoItems }))).toBeUndefined()
    expect(await totalOf("ab")).toBeUndefined()
  })
})

describe("a then that throws is the failure of the task", () => {
  const thenable = (): unknown => new Proxy({}, { get: (_, name) => (name === "then" ? fails() : undefined) })
  it.each<readonly [string, () => unknown]>([
    ["of a verb", () => untyped.runAll([1], thenable)],
    ["of run", () => (createMeter({}).run as Untyped)(thenable)],
    ["of a wrapped function", () => createMeter({}).wrap(thenable)()]
  ])("%s", async (_, call) => {
    expect(await rejection(call() as Promise<unknown>)).toBe(mine)
  })
})

it("a getter in a record of tasks throws: the call rejects with that", async () => {
  expect(
    await rejection(
      untyped.runAll(Object.defineProperty({}, "a", { get: fails, enumerable: true })) as Promise<unknown>
    )
  ).toBe(mine)
})

it("a record of tasks is read once", async () => {
  let reads = 0
  const record = {
    get a() {
      reads++
      return () => 1
    }
  }
  expect(await value(runAll(record))).toEqual({ a: 1 })
  expect(reads).toBe(1)
})

// --- options ---------------------------------------------------------------------------------------------------------

interface Taker {
  readonly name: string
  /** Rejects, or throws, for wrong options. */
  readonly call: (options: unknown) => unknown
}

const limited: ReadonlyArray<Taker> = [
  ...Object.entries(verbs).map(([name, verb]): Taker => ({ name, call: (options) => verb([1], options) })),
  { name: "meter.runAll", call: (options) => (createMeter({}).runAll as Untyped)([1], () => 1, options) },
  { name: "runAll over tasks", call: (options) => untyped.runAll([() => 1], options) },
  { name: "createMeter", call: (options) => untyped.createMeter(options) },
  { name: "createKeyedMeter", call: (options) => untyped.createKeyedMeter(options) },
  { name: "resize", call: (options) => (createMeter({}).resize as Untyped)(options) }
]

const single: ReadonlyArray<Taker> = [
  { name: "run", call: (options) => (createMeter({}).run as Untyped)(() => 1, options) },
  { name: "wrap", call: (options) => (createMeter({}).wrap as Untyped)(() => 1, options) }
]

const rows = (takers: ReadonlyArray<Taker>, name: string, bad: unknown) =>
  takers.map((taker) => ({ ...taker, option: name, bad }))

describe.each([...rows(limited, "maxAtOnce", 0), ...rows(single, "timeout", 0)])(
  "options of $name",
  ({ bad, call, option }) => {
    it("are checked through the prototype chain", async () => {
      const prototype = Object.defineProperty({}, option, { get: () => bad })
      for (const options of [Object.create(prototype), Object.create({ [option]: bad })]) {
        const error = await rejection(calling(() => call(options)))
        expect(error).toMatchObject({ name: "RangeError", message: expect.stringContaining(option) as string })
      }
    })

    it("are read once: a later answer does not count", async () => {
      let reads = 0
      const options = Object.defineProperty({}, option, { enumerable: true, get: () => (reads++ === 0 ? 5 : bad) })
      await settle(calling(() => call(options)))
      expect(reads).toBe(1)
    })

    it("that throw fail the call", async () => {
      expect(await rejection(calling(() => call(Object.defineProperty({}, option, { get: fails }))))).toBe(mine)
    })

    it("that are unknown are rejected if they are enumerable, own or inherited; members of a class are not options", async () => {
      for (const options of [{ nonsense: 1 }, Object.create({ nonsense: 1 })]) {
        expect(await rejection(calling(() => call(options)))).toMatchObject({
          name: "TypeError",
          message: expect.stringContaining("nonsense") as string
        })
      }
      class Mine {
        nonsense(): void {}
      }
      const outcome = await settle(calling(() => call(new Mine())))
      expect(outcome.status === "rejected" && outcome.reason).not.toBeInstanceOf(TypeError)
    })
  }
)

it("a property that a program has added to Object.prototype is not taken for an option", async () => {
  const prototype = Object.prototype as unknown as Record<string, unknown>
  prototype["added"] = 5
  try {
    expect(await value(runAll([1], (n) => n, {}))).toEqual([1])
  } finally {
    delete prototype["added"]
  }
})

describe("a cost", () => {
  const windows = { calls: { limit: Infinity, per: 1000 } }

  it("so large that a sum would not be finite is rejected", async () => {
    const meter = createMeter({ windows })
    expect(await rejection(meter.run(() => 1, { cost: { calls: 1e308 } }))).toBeInstanceOf(RangeError)
    expect(await rejection(meter.run(({ correct }) => correct({ calls: 1e308 })))).toBeInstanceOf(RangeError)
    expect(meter.snapshot().room).toEqual({ calls: Infinity })
  })

  it("that is changed while the task waits, or reused, costs what it did at the call", async () => {
    const meter = createMeter({ maxAtOnce: 1, windows: { calls: { limit: 10, per: 1000 } } })
    const cost = { calls: 1 }
    const first = meter.run(() => pass(0), { cost })
    cost.calls = 2
    const second = meter.run(() => 1, { cost })
    cost.calls = 5
    await value(Promise.all([first, second]))
    expect(meter.snapshot().room).toEqual({ calls: 7 })
  })

  it("may inherit its amounts", async () => {
    const meter = createMeter({ windows: { calls: { limit: 10, per: 1000 } } })
    class Cost {
      get calls(): number {
        return 4
      }
    }
    await value(meter.run(() => 1, { cost: Object.create({ calls: 3 }) as { calls: number } }))
    await value(meter.run(() => 1, { cost: new Cost() as unknown as { calls: number } }))
    expect(meter.snapshot().room).toEqual({ calls: 3 })
  })
})

describe("changes after the call change nothing", () => {
  it("of limits and their windows", async () => {
    const window = { limit: 1, per: 1000 }
    const limits = { maxAtOnce: 2, windows: { calls: window } }
    const keyed = createKeyedMeter<string>(limits)
    const meter = createMeter(limits)
    limits.maxAtOnce = 0
    window.limit = 100
    window.per = NaN
    for (const each of [meter, keyed.for("a")]) {
      expect(each.snapshot()).toMatchObject({ free: 2, room: { calls: 1 } })
    }
  })

  it("of amap's options between the call and the first next()", async () => {
    const options = { maxAtOnce: 1, meter: [createMeter({})], ordered: true }
    const results = untyped.amap([1, 2], (n: number) => n, options) as AsyncIterable<number>
    options.maxAtOnce = 0
    options.meter.push({} as never)
    expect(await value(Array.fromAsync(results))).toEqual([1, 2])
  })

  it("of retry", async () => {
    const retry = { times: 1, schedule: [10, 10, 10] }
    let attempts = 0
    const task = () => {
      attempts++
      throw mine
    }
    const run = createMeter({}).run(task, { retry })
    retry.times = NaN
    retry.schedule.length = 0
    expect(await rejection(run)).toBe(mine)
    expect(attempts).toBe(2)
  })
})

it("options of a class keep their `this`", async () => {
  class Policy {
    readonly #worthIt = [mine]
    readonly delay = 10
    while(reason: unknown): boolean {
      return this.#worthIt.includes(reason as Error)
    }
  }
  let attempts = 0
  const task = (): number => {
    if (++attempts === 1) throw mine
    return attempts
  }
  const options: Options = { retry: new Policy() }
  expect(await value(runAll([1], task, options))).toEqual([2])
})

describe("an async callback of retry is an error, and its rejection is not unhandled", () => {
  it.each<readonly [string, () => Retry, string]>([
    ["while", () => ({ while: (async () => false) as never }), "retry.while must not be async"],
    ["a while that rejects", () => ({ while: (() => Promise.reject(mine)) as never }), "retry.while must not be async"],
    ["delay", () => ({ delay: (async () => 5) as never }), "the delay of a retry must be"],
    ["a delay that rejects", () => ({ delay: (() => Promise.reject(mine)) as never }), "the delay of a retry must be"],
    [
      "a schedule of promises",
      () => ({ schedule: new Set([Promise.reject(mine)]) as never }),
      "the delay of a retry must be"
    ]
  ])("%s", async (_, make, text) => {
    for (const call of [
      (task: () => unknown) => runAll([1], task, { retry: make() }),
      (task: () => unknown) => createMeter({}).run(task, { retry: make() })
    ]) {
      const task = vi.fn<() => never>(() => {
        throw "of the task"
      })
      const error = await rejection(call(task))
      expect(error).toMatchObject({
        name: "TypeError",
        message: expect.stringContaining(text) as string,
        cause: "of the task"
      })
      expect(task).toHaveBeenCalledTimes(1)
    }
  })
})

describe("the signal of a waiter that can no longer be read", () => {
  it.each<readonly [string, (meter: Meter, signal: AbortSignal) => Promise<unknown>]>([
    ["run", (meter, signal) => meter.run(() => 1, { signal })],
    ["run with grace", (meter, signal) => meter.run(() => 1, { signal, grace: 5 })],
    ["runAll", (meter, signal) => runAll([() => 1, () => 2], { meter, signal })]
  ])("%s rejects with what reading it throws, and the next waiter starts", async (_, call) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const first = meter.run(() => sleep(10))
    const { signal } = new AbortController()
    const second = watch(call(meter, signal))
    const third = watch(meter.run(() => 3))
    Object.defineProperty(signal, "aborted", {
      get: () => {
        throw mine
      }
    })
    await settle(first)
    expect(second.outcome).toMatchObject({ status: "rejected", reason: mine })
    expect(third.outcome).toMatchObject({ status: "fulfilled", value: 3 })
  })
})

describe("a signal that has only aborted, reason and the event", () => {
  /** As old polyfills make them: no `throwIfAborted`, and no `reason` where none is given. */
  class Plain {
    aborted = false
    reason: unknown
    private readonly listeners = new Set<() => void>()
    get size(): number {
      return this.listeners.size
    }
    addEventListener(_: string, listener: () => void): void {
      this.listeners.add(listener)
    }
    removeEventListener(_: string, listener: () => void): void {
      this.listeners.delete(listener)
    }
    abort(reason?: unknown): void {
      this.aborted = true
      this.reason = reason
      for (const listener of Array.from(this.listeners)) listener()
    }
  }
  const never = (): Promise<never> => new Promise(() => {})
  const takers: ReadonlyArray<readonly [string, (signal: AbortSignal) => Promise<unknown>]> = [
    ["runAll", (signal) => runAll([1], never, { signal })],
    ["amap", (signal) => Array.fromAsync(untyped.amap([1], never, { signal }) as AsyncIterable<unknown>)],
    ["run", (signal) => createMeter({}).run(never, { signal })],
    ["wrap", (signal) => createMeter({}).wrap(never, { signal })()]
  ]

  it.each(takers)("%s", async (_, call) => {
    for (const isAborted of [true, false]) {
      for (const reason of [mine, undefined]) {
        const signal = new Plain()
        if (isAborted) signal.abort(reason)
        const promise = call(signal as unknown as AbortSignal)
        promise.catch(() => {})
        await flush()
        if (!isAborted) signal.abort(reason)
        const error = await rejection(promise)
        if (reason === undefined) expect(error).toMatchObject({ name: "AbortError" })
        else expect(error).toBe(reason)
        expect(signal.size).toBe(0)
        expect(now()).toBe(0)
      }
    }
  })

  it.each(takers)("%s: a reason that throws is the reason", async (_, call) => {
    for (const isAborted of [true, false]) {
      const signal = new Plain()
      Object.defineProperty(signal, "reason", { get: fails, set: () => {} })
      if (isAborted) signal.abort()
      const promise = call(signal as unknown as AbortSignal)
      promise.catch(() => {})
      await flush()
      if (!isAborted) signal.abort()
      expect(await rejection(promise)).toBe(mine)
    }
  })
})
