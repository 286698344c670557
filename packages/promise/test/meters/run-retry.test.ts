/** `retry` of `meter.run`: attempts that are each admitted anew. */
import { AsyncLocalStorage } from "node:async_hooks"
import { describe, expect, it, vi } from "vitest"
import { createKeyedMeter, createMeter } from "../../src/index.ts"
import type { Period, Retry } from "../../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  listeners,
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

/** A task that fails so many times, with the number of the attempt, and notes when it starts. */
const failing = (failures: number, ms = 0) => {
  const starts: Array<number> = []
  const task = async () => {
    const attempt = starts.push(now())
    if (ms > 0) await sleep(ms)
    if (attempt <= failures) throw `failure ${attempt}`
    return `attempt ${attempt}`
  }
  return { starts, task }
}

describe("without further options", () => {
  it("there are two retries, after a random part of one second and of two", async () => {
    const meter = createMeter({})
    const { starts, task } = failing(9)
    vi.spyOn(Math, "random").mockReturnValueOnce(0.5).mockReturnValueOnce(0.25)
    expect(await settle(meter.run(task, { retry: {} }))).toEqual({
      status: "rejected",
      reason: "failure 3",
      at: 1000
    })
    expect(starts).toEqual([0, 500, 1000])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("the longest delay doubles up to 30 seconds", async () => {
    const meter = createMeter({})
    const random = vi.spyOn(Math, "random")
    for (let i = 0; i < 8; i++) random.mockReturnValueOnce(0.5)
    const { starts, task } = failing(8)
    expect(await value(meter.run(task, { retry: { times: 8 } }))).toBe("attempt 9")
    expect(starts.slice(1).map((at, i) => at - starts[i]!)).toEqual([
      500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000
    ])
  })

  it("`retry: undefined` means no retries", async () => {
    const { starts, task } = failing(1)
    expect(await rejection(createMeter({}).run(task, { retry: undefined }))).toBe("failure 1")
    expect(starts).toEqual([0])
  })

  it("a task that does not fail is run once", async () => {
    const meter = createMeter({})
    const { starts, task } = failing(0)
    expect(await value(meter.run(task, { retry: {} }))).toBe("attempt 1")
    expect(await value(meter.run(() => "plain", { retry: {} }))).toBe("plain")
    expect(starts).toEqual([0])
  })
})

describe("each attempt is admitted anew", () => {
  it("at the end of the queue", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const order: Array<string> = []
    let attempts = 0
    const retried = meter.run(
      async () => {
        order.push("retried")
        await sleep(10)
        attempts += 1
        if (attempts < 3) throw "again"
      },
      { retry: { delay: 5 } }
    )
    const others = ["a", "b", "c", "d"].map((name) =>
      meter.run(() => {
        order.push(name)
        return sleep(10)
      })
    )
    await pass(12)
    const late = meter.run(() => {
      order.push("late")
      return sleep(10)
    })
    await value(Promise.all([retried, ...others, late]))
    expect(order).toEqual(["retried", "a", "b", "c", "d", "late", "retried", "retried"])
    expect(now()).toBe(85)
  })

  it("and counts against the rate: exact instants", async () => {
    const meter = createMeter({ maxPerSecond: 10 })
    const { starts, task } = failing(3)
    const retried = meter.run(task, { retry: { times: 5, delay: 130 } })
    const others = [...naturals(4)].map(() => meter.run(() => now()))
    expect(await value(retried)).toBe("attempt 4")
    // At 130 it is behind the calls that start at 200, 300 and 400.
    expect(await Promise.all(others)).toEqual([100, 200, 300, 400])
    expect(starts).toEqual([0, 500, 630, 760])
    expect(meter.snapshot().started).toBe(8)
  })

  it("and counts against windows, with its cost", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const { starts, task } = failing(3)
    await value(meter.run(task, { retry: { times: 3, delay: 10 }, cost: { tokens: 4 } }))
    expect(starts).toEqual([0, 10, 1000, 1010])
    expect(meter.snapshot().room).toEqual({ tokens: 2 })
  })

  it("and no permit is held during the backoff", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const { starts, task } = failing(1, 10)
    const retried = watch(meter.run(task, { retry: { delay: 100 } }))
    await pass(20)
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0, free: 1, nextStart: 0 })
    expect(await value(meter.run(() => now()))).toBe(20)
    const other = meter.run(() => sleep(500))
    await pass(100)
    expect(meter.snapshot(), "the attempt is due, and waits").toMatchObject({ running: 1, waiting: 1 })
    await value(other)
    await pass(100)
    expect(starts).toEqual([0, 520])
    expect(retried.outcome).toMatchObject({ value: "attempt 2", at: 530 })
    await expectFree(meter, 1)
  })

  it("and has a signal of its own, and may correct its own cost", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 100, per: "1 minute" } } })
    const signals: Array<AbortSignal> = []
    const run = meter.run(
      ({ correct, signal }) => {
        signals.push(signal)
        correct({ tokens: signals.length })
        if (signals.length < 3) throw "again"
      },
      { retry: { delay: 10 }, cost: { tokens: 20 } }
    )
    await value(run)
    expect(new Set(signals).size).toBe(3)
    expect(signals.some(({ aborted }) => aborted)).toBe(false)
    expect(meter.snapshot().room).toEqual({ tokens: 100 - 1 - 2 - 3 })
  })

  it("and may be paused, as any start", async () => {
    const meter = createMeter({})
    const { starts, task } = failing(1)
    const run = meter.run(task, { retry: { delay: 10 } })
    await flush()
    meter.pause(500)
    await value(run)
    expect(starts).toEqual([0, 500])
  })

  it("and is rejected if resize has made its cost too high", async () => {
    const meter = createMeter({ windows: { tokens: { limit: 10, per: 1000 } } })
    const { starts, task } = failing(9)
    const run = watch(meter.run(task, { retry: { delay: 100 }, cost: { tokens: 8 } }))
    await flush()
    meter.resize({ windows: { tokens: { limit: 5, per: 1000 } } })
    await pass(5000)
    expect(run.outcome).toMatchObject({ status: "rejected", reason: expect.any(RangeError), at: 100 })
    expect(starts).toEqual([0])
    expect(await settle(meter.idle())).toMatchObject({ status: "fulfilled" })
  })

  it("in the async context of its caller, whatever admits it", async () => {
    for (const delay of [0, 10]) {
      const storage = new AsyncLocalStorage<string>()
      const meter = createMeter({ maxAtOnce: 1 })
      const seen: Array<readonly [string, string | undefined]> = []
      const call = (name: string) =>
        storage.run(name, () => {
          let attempts = 0
          return meter.run(
            async () => {
              seen.push([name, storage.getStore()])
              attempts += 1
              await sleep(5)
              if (attempts < 3) throw "again"
            },
            { retry: { delay } }
          )
        })
      await value(Promise.all(["a", "b", "c"].map(call)))
      expect(seen).toHaveLength(9)
      for (const [name, store] of seen) expect(store).toBe(name)
    }
  })
})

describe("times", () => {
  it.each([0, 1, 2, 5])("%i", async (times) => {
    const { starts, task } = failing(99)
    const run = createMeter({}).run(task, { retry: { times, delay: 10 } })
    expect(await rejection(run)).toBe(`failure ${times + 1}`)
    expect(starts).toEqual(Array.from({ length: times + 1 }, (_, i) => 10 * i))
  })

  it("Infinity: until it succeeds", async () => {
    const { starts, task } = failing(200)
    expect(await value(createMeter({}).run(task, { retry: { times: Infinity, delay: 1 } }))).toBe("attempt 201")
    expect(starts.at(-1)).toBe(200)
  })
})

describe("delay", () => {
  it.each<readonly [Period, number]>([
    [0, 0],
    [250, 250],
    ["2 seconds", 2000]
  ])("always the same: %s", async (delay, ms) => {
    const { starts, task } = failing(2)
    await value(createMeter({}).run(task, { retry: { delay } }))
    expect(starts).toEqual([0, ms, 2 * ms])
  })

  it("by the attempt and the reason", async () => {
    const { starts, task } = failing(3)
    const asked: Array<unknown> = []
    const delay = (attempt: number, reason: unknown): Period => {
      asked.push([attempt, reason])
      return attempt === 1 ? 5 : `${attempt} millis`
    }
    await value(createMeter({}).run(task, { retry: { times: 3, delay } }))
    expect(asked).toEqual([
      [1, "failure 1"],
      [2, "failure 2"],
      [3, "failure 3"]
    ])
    expect(starts).toEqual([0, 5, 7, 10])
  })

  it("is not called if there is no further attempt", async () => {
    const delay = vi.fn<() => number>(() => 5)
    await rejection(createMeter({}).run(failing(9).task, { retry: { times: 1, delay } }))
    expect(delay).toHaveBeenCalledTimes(1)
  })

  it("that throws or is invalid rejects the call with that error", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const mine = new Error("mine")
    const throws = (): Period => {
      throw mine
    }
    expect(await rejection(meter.run(failing(9).task, { retry: { delay: throws } }))).toBe(mine)
    const error = await rejection(meter.run(failing(9).task, { retry: { delay: () => Number.NaN } }))
    expect(error).toBeInstanceOf(RangeError)
    expect((error as Error).message).toContain("NaN")
    expect(meter.snapshot()).toMatchObject({ running: 0, waiting: 0 })
    await expectFree(meter, 1)
  })
})

describe("schedule", () => {
  it("an array: a delay for each retry, and its end is theirs", async () => {
    const { starts, task } = failing(9)
    const run = createMeter({}).run(task, { retry: { schedule: [10, "1 second", 0] } })
    expect(await rejection(run)).toBe("failure 4")
    expect(starts).toEqual([0, 10, 1010, 1010])
  })

  it("an empty one: no retry", async () => {
    const { starts, task } = failing(9)
    expect(await rejection(createMeter({}).run(task, { retry: { schedule: [] } }))).toBe("failure 1")
    expect(starts).toEqual([0])
  })

  it("with `times` in addition: whichever ends first", async () => {
    for (const [times, attempts] of [
      [1, 2],
      [9, 4]
    ]) {
      const { starts, task } = failing(99)
      await rejection(createMeter({}).run(task, { retry: { times, schedule: [1, 1, 1] } }))
      expect(starts).toHaveLength(attempts!)
    }
  })

  it("without end", async () => {
    const schedule = {
      *[Symbol.iterator]() {
        for (const n of naturals()) yield n
      }
    }
    const { starts, task } = failing(30)
    expect(await value(createMeter({}).run(task, { retry: { schedule } }))).toBe("attempt 31")
    expect(starts.at(-1)).toBe((29 * 30) / 2)
  })

  it("an array starts anew for each call", async () => {
    const meter = createMeter({})
    const retry = { schedule: [10, 20] }
    const both = [failing(9), failing(9)]
    await Promise.all(both.map(({ task }) => rejection(meter.run(task, { retry }))))
    for (const { starts } of both) expect(starts).toEqual([0, 10, 30])
  })

  it("a generator that calls share is used up by them together", async () => {
    const meter = createMeter({})
    function* delays() {
      yield 10
      yield 20
      yield 30
    }
    const retry = { schedule: delays() }
    const both = [failing(9), failing(9)]
    await Promise.all(both.map(({ task }) => rejection(meter.run(task, { retry }))))
    expect(both.map(({ starts }) => starts)).toEqual([
      [0, 10, 40],
      [0, 20]
    ])
  })

  it("with an invalid delay rejects the call with that error", async () => {
    const schedule = new Set([10, -1])
    const { starts, task } = failing(9)
    const error = await rejection(createMeter({}).run(task, { retry: { schedule } }))
    expect(error).toBeInstanceOf(RangeError)
    expect((error as Error).message).toContain("-1")
    expect(starts).toEqual([0, 10])
  })

  it("whose iterator cannot be had: the call rejects with that, and nothing starts", async () => {
    const meter = createMeter({})
    const mine = new Error("mine")
    const schedule = {
      [Symbol.iterator]: (): Iterator<number> => {
        throw mine
      }
    }
    const f = vi.fn<() => void>()
    expect(await rejection(meter.run(f, { retry: { schedule } }))).toBe(mine)
    expect(f).not.toHaveBeenCalled()
    await value(meter.idle())
    await meter.close()
  })
})

describe("while", () => {
  it("decides which failures are retried, by the reason and the attempt", async () => {
    const { starts, task } = failing(9)
    const asked: Array<unknown> = []
    const retry: Retry = {
      times: 9,
      delay: 10,
      while: (reason, attempt) => {
        asked.push([reason, attempt])
        return reason !== "failure 3"
      }
    }
    expect(await rejection(createMeter({}).run(task, { retry }))).toBe("failure 3")
    expect(starts).toEqual([0, 10, 20])
    expect(asked).toEqual([
      ["failure 1", 1],
      ["failure 2", 2],
      ["failure 3", 3]
    ])
  })

  it("is called with the reason itself, also undefined, for throws as for rejections", async () => {
    const reasons: Array<unknown> = []
    let attempts = 0
    const task = (): Promise<never> => {
      attempts += 1
      if (attempts === 1) throw undefined
      return Promise.reject(null)
    }
    const retry: Retry = {
      times: 2,
      delay: 0,
      while: (reason) => {
        reasons.push(reason)
        return true
      }
    }
    expect(await settle(createMeter({}).run(task, { retry }))).toMatchObject({ status: "rejected", reason: null })
    expect(reasons).toEqual([undefined, null])
  })

  it("that throws an error: the call rejects with that, and the failure of the task is its cause", async () => {
    const mine = new Error("mine")
    const retry: Retry = {
      while: () => {
        throw mine
      }
    }
    expect(await rejection(createMeter({}).run(failing(9).task, { retry }))).toBe(mine)
    expect(mine.cause).toBe("failure 1")
  })

  it.each([
    ["something else", "mine"],
    ["an error that has a cause", new Error("mine", { cause: 5 })],
    ["a frozen error", Object.freeze(new Error("mine"))]
  ])("that throws %s: the call rejects with both", async (_, mine) => {
    const retry: Retry = {
      while: () => {
        throw mine
      }
    }
    const error = await rejection(createMeter({}).run(failing(9).task, { retry }))
    expect(error).toBeInstanceOf(AggregateError)
    expect(error).toMatchObject({ errors: [mine], cause: "failure 1" })
  })

  it("that throws the failure itself: the call rejects with that alone", async () => {
    const retry: Retry = {
      while: (reason) => {
        throw reason
      }
    }
    expect(await rejection(createMeter({}).run(failing(9).task, { retry }))).toBe("failure 1")
  })
})

describe("a failure that carries a Retry-After", () => {
  const asking = (header: string, first = 1) => {
    const starts: Array<number> = []
    const task = () => {
      const attempt = starts.push(now())
      if (attempt <= first) throw { response: { headers: new Headers({ "retry-after": header }) } }
      return "done"
    }
    return { starts, task }
  }

  it("pauses the meter for everybody, and is what the next attempt waits for", async () => {
    const meter = createMeter({})
    const { starts, task } = asking("7")
    const run = watch(meter.run(task, { retry: { delay: 10 } }))
    await flush()
    const others = [watch(meter.run(() => now())), watch(meter.runAll([1], () => now()))]
    await pass(10_000)
    expect(starts).toEqual([0, 7000])
    expect(run.outcome).toMatchObject({ value: "done" })
    expect(others.map(({ outcome }) => outcome?.at)).toEqual([7000, 7000])
  })

  it("pauses nothing without a further attempt, or without `retry`", async () => {
    const meter = createMeter({})
    await rejection(meter.run(asking("2").task, { retry: { times: 0 } }))
    expect(meter.snapshot().nextStart).toBe(0)
    await rejection(meter.run(asking("2").task))
    expect(meter.snapshot().nextStart).toBe(0)
  })

  it("pauses nothing if the decision about the retry has ended the call", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const retry: Retry = {
      while: () => {
        controller.abort("stop")
        return true
      }
    }
    expect(await rejection(meter.run(asking("2").task, { signal: controller.signal, retry }))).toBe("stop")
    expect(meter.snapshot().nextStart).toBe(0)
  })

  it("pauses of a keyed meter no other key", async () => {
    const hosts = createKeyedMeter<string>({})
    const run = watch(hosts.for("a").run(asking("2").task, { retry: {} }))
    await flush()
    expect(hosts.for("a").snapshot().nextStart).toBe(2000)
    expect(hosts.for("b").snapshot().nextStart).toBe(0)
    await pass(2000)
    expect(run.outcome).toMatchObject({ value: "done" })
  })

  it("pauses the last of several meters, or the one that retry.pauses names", async () => {
    const [own, other] = [createMeter({}), createMeter({})]
    const run = watch(own.run(asking("2").task, { meter: other, retry: { delay: 10 } }))
    await flush()
    expect([own, other].map((meter) => meter.snapshot().nextStart)).toEqual([0, 2000])
    await pass(2000)
    expect(run.outcome).toMatchObject({ value: "done", at: 2000 })
    const named = watch(own.run(asking("2").task, { meter: other, retry: { delay: 10, pauses: own } }))
    await flush()
    expect([own, other].map((meter) => meter.snapshot().nextStart)).toEqual([2000, 0])
    await pass(2000)
    expect(named.outcome).toMatchObject({ value: "done", at: 4000 })
  })
})

describe("the signal", () => {
  const retry: Retry = { times: 9, delay: 100 }

  it("aborted before: nothing starts", async () => {
    const meter = createMeter({})
    const f = vi.fn<() => void>()
    expect(await rejection(meter.run(f, { retry, signal: AbortSignal.abort("before") }))).toBe("before")
    expect(f).not.toHaveBeenCalled()
    await value(meter.idle())
  })

  it.each([
    ["during an attempt", 25, [0, 20]],
    ["during the back-off", 10, [0]],
    ["while the next attempt waits", 45, [0, 20]]
  ] as const)("aborted %s: the call rejects, and there is no other attempt", async (_, at, expected) => {
    const meter = createMeter({ maxAtOnce: 1 })
    const controller = new AbortController()
    const starts: Array<number> = []
    const run = watch(
      meter.run(
        async ({ signal }) => {
          starts.push(now())
          await sleep(starts.length === 1 ? 0 : 10, signal)
          throw "again"
        },
        { signal: controller.signal, retry: { times: 9, delay: 20 } }
      )
    )
    if (at === 45) {
      await pass(30)
      void watch(meter.run(() => sleep(100)))
    }
    setTimeout(() => controller.abort("stop"), at - now())
    await pass(1000)
    expect(run.outcome).toEqual({ status: "rejected", reason: "stop", at })
    expect(starts).toEqual(expected)
    expect(listeners(controller.signal)).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(meter, 1)
  })

  it.each(["while", "delay", "schedule"] as const)(
    "aborted by what `%s` does: there is no other attempt",
    async (what) => {
      const meter = createMeter({})
      const controller = new AbortController()
      const { starts, task } = failing(9)
      const abort = () => controller.abort("stop")
      const retries = {
        while: {
          ...retry,
          while: () => {
            abort()
            return true
          }
        },
        delay: {
          delay: () => {
            abort()
            return 100
          }
        },
        schedule: {
          schedule: {
            *[Symbol.iterator]() {
              abort()
              yield 100
            }
          }
        }
      }
      const run = watch(meter.run(task, { signal: controller.signal, retry: retries[what] }))
      await pass(5000)
      expect(run.outcome).toEqual({ status: "rejected", reason: "stop", at: 0 })
      expect(starts).toEqual([0])
      expect(vi.getTimerCount()).toBe(0)
    }
  )

  it("aborted by the task itself, which then fails: the caller's reason, too", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const f = vi.fn<() => void>(() => {
      controller.abort("stop")
      throw "again"
    })
    expect(await rejection(meter.run(f, { signal: controller.signal, retry }))).toBe("stop")
    await pass(1000)
    expect(f).toHaveBeenCalledTimes(1)
  })

  it("aborted, and the task fails during the grace: the caller's reason, too", async () => {
    const meter = createMeter({})
    const controller = new AbortController()
    const { starts, task } = failing(9, 40)
    const run = watch(meter.run(task, { signal: controller.signal, retry, grace: 500 }))
    setTimeout(() => controller.abort("stop"), 10)
    await pass(5000)
    expect(run.outcome).toEqual({ status: "rejected", reason: "stop", at: 40 })
    expect(starts).toEqual([0])
  })

  it("of a call that has ended keeps no listener", async () => {
    const meter = createMeter({})
    const { signal } = new AbortController()
    await value(meter.run(failing(2).task, { signal, retry }))
    await rejection(meter.run(failing(99).task, { signal, retry: { ...retry, times: 1 } }))
    expect(listeners(signal)).toBe(0)
  })
})
