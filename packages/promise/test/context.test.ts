/** The arguments of a task: its item, its index, and a signal that is created only if the task reads it. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { TaskContext } from "../src/index.ts"
import {
  expectNoUnhandledRejection,
  flush,
  isAbortError,
  leave,
  pass,
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

describe("the index", () => {
  it.each(verbs)("counts the items in input order: $name", async (verb) => {
    const p = probe((i) => ({ ms: 50 - i, rejects: { reason: i } }))
    const failing = verb.verb === "runAny" && !verb.failsFast ? p : probe((i) => ({ ms: 50 - i }))
    await settle(verb.call([0, 1, 2, 3, 4], failing, { maxAtOnce: 5 }).promise)
    expect(failing.order).toEqual([0, 1, 2, 3, 4])
  })

  it("of a record's functions follows the order of its keys", async () => {
    const index = ({ index }: TaskContext) => index
    expect(await value(runAll({ b: index, a: index, c: index }))).toEqual({ b: 0, a: 1, c: 2 })
  })

  it("belongs to the item, whichever ends first", async () => {
    const pairs = await value(
      runAll(["a", "b", "c"], async (item, { index }) => {
        await sleep(30 - index * 10)
        return [item, index]
      })
    )
    expect(pairs).toEqual([
      ["a", 0],
      ["b", 1],
      ["c", 2]
    ])
  })
})

describe("the signal is created on first access", () => {
  const Real = globalThis.AbortController
  let made = 0

  beforeEach(() => {
    made = 0
    globalThis.AbortController = class extends Real {
      constructor() {
        super()
        made += 1
      }
    }
  })
  afterEach(() => {
    globalThis.AbortController = Real
  })

  it("no task reads it: no verb creates one", async () => {
    const items = [0, 1, 2, 3, 4]
    const bare = async (item: number) => {
      await sleep(10)
      return item
    }
    const indexed = async (_: number, { index }: TaskContext) => {
      await sleep(10)
      return index
    }
    await value(runOnEach(items, bare, { maxAtOnce: 2 }))
    await value(runAll(items, indexed, { maxAtOnce: 2 }))
    await value(runAll([() => sleep(10), ({ index }: TaskContext) => index]))
    await value(runAny(items, bare))
    await value(runAny([() => sleep(10)]))
    await value(createMeter({ maxAtOnce: 1 }).run(() => sleep(10)))
    const collect = async () => {
      const results: Array<number> = []
      for await (const result of amap(items, indexed, { maxPerSecond: 100 })) results.push(result)
      return results
    }
    expect(await value(collect())).toEqual(items)
    expect(made).toBe(0)
  })

  it("nor when the call fails while tasks that have not read it are running", async () => {
    const items = [0, 1, 2]
    const task = async (item: number) => {
      await sleep(10 * item)
      if (item === 1) throw "bad"
      return item
    }
    expect(await rejection(runAll(items, task))).toBe("bad")
    await pass(100)
    expect(made).toBe(0)
  })

  it("one task reads it: one is created, however often it is read", async () => {
    const signals: Array<AbortSignal> = []
    await value(
      runOnEach([0, 1, 2, 3], async (item, context) => {
        if (item === 2) signals.push(context.signal, context.signal)
        await sleep(10)
        if (item === 2) signals.push(context.signal)
      })
    )
    expect(made).toBe(1)
    expect(new Set(signals).size).toBe(1)
    expect(signals[0]).toBeInstanceOf(AbortSignal)
  })

  it("a task that reads it only after its cancellation finds an aborted signal", async () => {
    let context: TaskContext | undefined
    const call = runOnEach([0, 1], async (item, own) => {
      if (item === 1) {
        await sleep(10)
        throw "bad"
      }
      context = own
      await sleep(1000)
    })
    expect(await rejection(call)).toBe("bad")
    expect(context?.signal.aborted).toBe(true)
    expect(isAbortError(context?.signal.reason)).toBe(true)
    await pass(1000)
  })

  it("looking late, after the caller has aborted, finds the caller's reason", async () => {
    const controller = new Real()
    let context: TaskContext | undefined
    const call = watch(
      runOnEach(
        [0],
        async (_, own) => {
          context = own
          await sleep(1000)
        },
        { signal: controller.signal }
      )
    )
    await pass(10)
    controller.abort("stop")
    await flush()
    expect(call.outcome).toMatchObject({ status: "rejected", reason: "stop" })
    expect(context?.signal.aborted).toBe(true)
    expect(context?.signal.reason).toBe("stop")
    await pass(1000)
  })
})

describe("the signal's reason", () => {
  const seen = (signals: ReadonlyArray<AbortSignal>) =>
    signals.map(({ aborted, reason }) => (aborted ? (isAbortError(reason) ? "AbortError" : reason) : "not aborted"))

  it("is an AbortError where a sibling failed; what has ended already is left alone", async () => {
    const signals: Array<AbortSignal> = []
    const call = runAll([10, 1000, 50, 2000], async (ms, { signal }) => {
      signals.push(signal)
      await sleep(ms, signal)
      if (ms === 50) throw "bad"
    })
    expect(await rejection(call)).toBe("bad")
    expect(seen(signals)).toEqual(["not aborted", "AbortError", "not aborted", "AbortError"])
  })

  it("is an AbortError for the losers of runAny; the winner's signal does not abort", async () => {
    const signals: Array<AbortSignal> = []
    const call = runAny([1000, 50, 2000], async (ms, { signal }) => {
      signals.push(signal)
      await sleep(ms, signal)
      return ms
    })
    expect(await value(call)).toBe(50)
    expect(seen(signals)).toEqual(["AbortError", "not aborted", "AbortError"])
  })

  it("is an AbortError where the reader left", async () => {
    const signals: Array<AbortSignal> = []
    const results = amap([10, 1000], async (ms, { signal }) => {
      signals.push(signal)
      await sleep(ms, signal)
      return ms
    })
    expect(await value(results.next())).toEqual({ done: false, value: 10 })
    await value(leave(results))
    expect(seen(signals)).toEqual(["not aborted", "AbortError"])
  })

  it.each([
    ["an Error", new Error("mine")],
    ["null", null],
    ["a string", "mine"],
    ["an object", { mine: true }]
  ])("is the caller's where the caller aborted: %s", async (_, reason) => {
    const controller = new AbortController()
    const signals: Array<AbortSignal> = []
    const call = runOnEach(
      [0, 1, 2],
      (_, { signal }) => {
        signals.push(signal)
        return sleep(1000, signal)
      },
      { signal: controller.signal }
    )
    setTimeout(() => controller.abort(reason), 5)
    expect(await rejection(call)).toBe(reason)
    expect(signals.map((signal) => signal.reason)).toEqual([reason, reason, reason])
    expect(signals.every(({ aborted }) => aborted)).toBe(true)
  })

  it("is the platform's default if the caller gave none", async () => {
    const controller = new AbortController()
    const signals: Array<AbortSignal> = []
    const call = runOnEach(
      [0],
      (_, { signal }) => {
        signals.push(signal)
        return sleep(1000, signal)
      },
      { signal: controller.signal }
    )
    setTimeout(() => controller.abort(), 5)
    const reason = await rejection(call)
    expect(isAbortError(reason)).toBe(true)
    expect(reason).toBe(controller.signal.reason)
    expect(signals[0]?.reason).toBe(reason)
  })

  it("does not throw itself at a task that never listens", async () => {
    let looked = false
    const call = runAny([
      async ({ signal }: TaskContext) => {
        looked = !signal.aborted
        await sleep(100)
        return "slow"
      },
      async () => {
        await sleep(10)
        return "fast"
      }
    ])
    expect(await value(call)).toBe("fast")
    expect(looked).toBe(true)
    await pass(100)
  })

  it("has fired before the call's own end is seen", async () => {
    const order: Array<string> = []
    const call = runAny([
      ({ signal }: TaskContext) => {
        signal.addEventListener("abort", () => order.push("loser told"))
        return sleep(1000, signal)
      },
      () => sleep(10)
    ]).then(() => order.push("call over"))
    await value(call)
    expect(order).toEqual(["loser told", "call over"])
  })

  it("a listener that throws does not affect other tasks", async () => {
    // The platform reports such an error as uncaught: that is the listener's affair, and the one thing expected here.
    const uncaught: Array<unknown> = []
    const others = process.listeners("uncaughtException")
    process.removeAllListeners("uncaughtException")
    process.on("uncaughtException", (error) => uncaught.push(error))
    try {
      const told: Array<number> = []
      const call = runAny([
        ({ signal }: TaskContext) => {
          signal.addEventListener("abort", () => {
            throw "from the listener"
          })
          return sleep(1000, signal)
        },
        ({ signal }: TaskContext) => {
          signal.addEventListener("abort", () => told.push(1))
          return sleep(1000, signal)
        },
        () => sleep(10).then(() => "won")
      ])
      expect(await value(call)).toBe("won")
      expect(told).toEqual([1])
      await flush()
      expect(uncaught).toEqual(["from the listener"])
    } finally {
      process.removeAllListeners("uncaughtException")
      for (const listener of others) process.on("uncaughtException", listener)
    }
  })

  it("nor where the platform throws it to the caller of abort(), as Cloudflare's does", async () => {
    const queued: Array<() => void> = []
    const queue = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((f) => void queued.push(f))
    const abort = vi.spyOn(AbortController.prototype, "abort").mockImplementationOnce(() => {
      throw "from the listener"
    })
    try {
      const task = ({ signal }: TaskContext) => sleep(1000, signal)
      expect(await value(runAny([task, task, () => sleep(10).then(() => "won")]))).toBe("won")
      expect(abort).toHaveBeenCalledTimes(2)
      expect(queued.map((f) => caught(f))).toEqual(["from the listener"])
    } finally {
      queue.mockRestore()
      abort.mockRestore()
    }
  })
})

const caught = (f: () => void): unknown => {
  try {
    f()
    return undefined
  } catch (error) {
    return error
  }
}
