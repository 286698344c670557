/** `onProgress`: how far a call has come. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { Progress } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  leave,
  listeners,
  naturals,
  now,
  pass,
  probe,
  settle,
  sleep,
  source,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

const diary = () => {
  const told: Array<Progress> = []
  const at: Array<number> = []
  const onProgress = (progress: Progress): void => {
    told.push(progress)
    at.push(now())
  }
  return { told, at, onProgress }
}

const counts = { started: 0, running: 0, waiting: 0, succeeded: 0, failed: 0, retried: 0 }

describe.each(verbs)("$name", (verb) => {
  const isRace = verb.verb === "runAny"
  /** The race would be over with the first success; its tasks fail, and the last one wins. */
  const plan = (i: number) => ({ ms: 60, ...(isRace && i < 4 && !verb.failsFast ? { rejects: { reason: i } } : {}) })

  it("is called every 100 ms and once at the end, with everything counted", async () => {
    const { at, onProgress, told } = diary()
    const call = verb.call([0, 1, 2, 3, 4], probe(plan), { maxAtOnce: 2, onProgress })
    await settle(call.promise)
    if (isRace && verb.failsFast) {
      expect(told).toEqual([
        { ...counts, started: 2, running: 1, waiting: 3, succeeded: 1, total: 5, elapsed: 60, rate: 1000 / 60 }
      ])
      return
    }
    const ended = (n: number, all = n) =>
      isRace ? { failed: Math.min(n, 4), succeeded: n - Math.min(n, 4) } : { succeeded: all }
    expect(told).toEqual([
      { ...counts, started: 4, running: 2, waiting: 1, ...ended(2), total: 5, elapsed: 100, rate: 20 },
      { ...counts, started: 5, ...ended(5), total: 5, elapsed: 180, rate: 5 / 0.18 }
    ])
    expect(at).toEqual([100, 180])
    await pass(1000)
    expect(told, "nothing after the end").toHaveLength(2)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a call that fails makes its last report before it rejects", async () => {
    const { at, onProgress, told } = diary()
    const p = probe((i) =>
      i === 0 ? { ms: 150, rejects: { reason: "x" } } : { ms: 150 + i, rejects: { reason: "y" } }
    )
    const call = verb.call([0, 1], p, { onProgress })
    const outcome = await settle(call.promise)
    expect(outcome.status).toBe("rejected")
    expect(at).toEqual([100, outcome.at])
    expect(told[0]).toEqual({ ...counts, started: 2, running: 2, total: 2, elapsed: 100, rate: 0 })
    expect(told[1]).toMatchObject(verb.failsFast ? { failed: 1, succeeded: 0 } : { failed: 2, running: 0 })
    await pass(1000)
    expect(told).toHaveLength(2)
  })

  it("a call that is aborted makes its last report then", async () => {
    const controller = new AbortController()
    const { at, onProgress, told } = diary()
    const call = verb.call(
      [0, 1],
      probe(() => ({ ms: 1000 })),
      { maxAtOnce: 1, onProgress, signal: controller.signal }
    )
    setTimeout(() => controller.abort("stop"), 250)
    expect(await settle(call.promise)).toMatchObject({ reason: "stop", at: 250 })
    expect(at).toEqual([100, 200, 250])
    expect(told.map(({ started, succeeded, failed }) => [started, succeeded, failed])).toEqual([
      [1, 0, 0],
      [1, 0, 0],
      [1, 0, 0]
    ])
    await pass(1000)
    expect(told).toHaveLength(3)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a call that was aborted before it began makes no report", async () => {
    const { onProgress, told } = diary()
    await settle(
      verb.call(
        [0],
        probe(() => ({})),
        { onProgress, signal: AbortSignal.abort("stop") }
      ).promise
    )
    await pass(500)
    expect(told).toEqual([])
  })

  it("without items, it makes one report", async () => {
    const { onProgress, told } = diary()
    await settle(
      verb.call(
        [],
        probe(() => ({})),
        { onProgress }
      ).promise
    )
    expect(told).toEqual([{ ...counts, total: 0, elapsed: 0, rate: 0 }])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("that it throws fails the call, and cancels what runs", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    const error = new Error("of the callback")
    const p = probe(() => ({ ms: 1000 }))
    const onProgress = () => {
      throw error
    }
    const call = verb.call([0, 1], p, { meter, onProgress })
    const outcome = await settle(call.promise)
    expect(outcome).toMatchObject({ status: "rejected", at: 100 })
    expect(outcome.status === "rejected" && outcome.reason).toBe(error)
    expect(p.cancelled()).toEqual([0, 1])
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    await expectFree(meter, 2)
  })

  it("that it throws in the end fails the call, too", async () => {
    const error = new Error("of the callback")
    const onProgress = () => {
      throw error
    }
    const call = verb.call(
      [0],
      probe(() => ({ ms: 10 })),
      { onProgress }
    )
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: error, at: 10 })
  })

  it("what a task has thrown comes before what it throws in the end", async () => {
    const onProgress = () => {
      throw new Error("of the callback")
    }
    const call = verb.call(
      [0],
      probe(() => ({ ms: 10, rejects: { reason: "task" } })),
      { onProgress }
    )
    const outcome = await settle(call.promise)
    expect(outcome.status).toBe("rejected")
    if (verb.failsFast) expect(outcome).toMatchObject({ reason: "task" })
  })

  it("may abort the call", async () => {
    const controller = new AbortController()
    const { onProgress, told } = diary()
    const call = verb.call(
      [0],
      probe(() => ({ ms: 1000 })),
      {
        signal: controller.signal,
        onProgress: (progress) => {
          onProgress(progress)
          controller.abort("enough")
        }
      }
    )
    expect(await settle(call.promise)).toEqual({ status: "rejected", reason: "enough", at: 100 })
    expect(told).toHaveLength(2)
    expect(listeners(controller.signal)).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("total and waiting", () => {
  const items = ["a", "b", "c"]
  it.each<readonly [string, () => Iterable<string> | AsyncIterable<string>, number | undefined, number]>([
    ["an array", () => items, 3, 2],
    ["a Set", () => new Set(items), 3, 2],
    ["a generator", () => items.values(), undefined, 1],
    ["a string", () => "abc", undefined, 1],
    ["an async iterable", () => source("async", items, () => 0).iterable, undefined, 1],
    ["a plain iterable", () => source("sync", items, () => 0).iterable, undefined, 1]
  ])("of %s", async (_, make, total, waiting) => {
    const { onProgress, told } = diary()
    await value(runOnEach(make(), () => sleep(110), { maxAtOnce: 1, onProgress }))
    expect(told[0]).toEqual({ ...counts, started: 1, running: 1, waiting, total, elapsed: 100, rate: 0 })
    expect(told.at(-1)).toMatchObject({ started: 3, waiting: 0, succeeded: 3, total })
  })

  it("of a Map, and of a typed array", async () => {
    const { onProgress, told } = diary()
    await value(runOnEach(new Map([[1, 2]]), () => 1, { onProgress }))
    await value(runOnEach(new Uint8Array(4), () => 1, { onProgress }))
    expect(told.map(({ total }) => total)).toEqual([1, 4])
  })

  it("of tasks that are listed", async () => {
    const { onProgress, told } = diary()
    await value(runAll([() => 1, () => 2], { onProgress }))
    await value(runAll({ one: () => 1 }, { onProgress }))
    expect(told.map(({ total }) => total)).toEqual([2, 1])
  })

  it("of an array that grows and shrinks meanwhile: never less than nothing waits", async () => {
    const growing = [0, 1]
    const { onProgress, told } = diary()
    const task = (n: number) => {
      if (n < 4) growing.push(n + 2)
      return sleep(60)
    }
    await value(runOnEach(growing, task, { maxAtOnce: 1, onProgress }))
    expect(told.every(({ waiting }) => waiting >= 0)).toBe(true)
    expect(told.at(-1)).toMatchObject({ waiting: 0, started: told.at(-1)!.succeeded })
  })
})

describe("what is counted", () => {
  it("retried counts attempts, and tasks in backoff count as waiting", async () => {
    const { onProgress, told } = diary()
    let attempts = 0
    const task = async () => {
      await sleep(10)
      if (++attempts < 3) throw new Error("again")
    }
    await value(runOnEach([0], task, { onProgress, retry: { delay: 130 } }))
    // Attempts at 0, 140 and 280.
    expect(told).toEqual([
      { ...counts, started: 1, waiting: 1, retried: told[0]!.retried, total: 1, elapsed: 100, rate: 0 },
      { ...counts, started: 1, waiting: 1, retried: told[1]!.retried, total: 1, elapsed: 200, rate: 0 },
      { ...counts, started: 1, succeeded: 1, retried: 2, total: 1, elapsed: 290, rate: 1000 / 290 }
    ])
  })

  it("retried counts the attempts that were made, not future ones", async () => {
    const { onProgress, told } = diary()
    const call = runOnEach([0], () => Promise.reject("x"), { onProgress, retry: { delay: 150, times: 1 } })
    await settle(call)
    expect(told.map(({ elapsed, retried }) => [elapsed, retried])).toEqual([
      [100, 0],
      [150, 1]
    ])
  })

  it("a task that has taken too long has failed, and does not run, even if it does not know", async () => {
    const { onProgress, told } = diary()
    const deaf = probe(() => ({ ms: 500, deaf: true }))
    await value(runAll([0, 1], deaf.task, { maxAtOnce: 1, onProgress, settled: true, timeout: 50 }))
    expect(told[0]).toMatchObject({ started: 1, running: 0, waiting: 1, failed: 1, elapsed: 100 })
    expect(told.at(-1)).toMatchObject({ started: 2, running: 0, waiting: 0, failed: 2, elapsed: 550 })
    await pass(1000)
  })

  it("failures that are tolerated, by kind", async () => {
    for (const options of [{ settled: true }, { stopOnError: false }]) {
      const { onProgress, told } = diary()
      const task = (n: number) => (n % 2 === 0 ? n : Promise.reject(n))
      await settle(runAll([0, 1, 2, 3, 4], task, { ...options, onProgress }))
      expect(told).toMatchObject([{ started: 5, succeeded: 3, failed: 2, waiting: 0, running: 0 }])
    }
  })

  it("the rate: tasks that have ended in a second, since the beginning", async () => {
    const { onProgress, told } = diary()
    await value(runOnEach(naturals(8), () => sleep(25), { maxAtOnce: 1, onProgress }))
    expect(told.map(({ elapsed, rate }) => [elapsed, rate])).toEqual([
      [100, 30],
      [200, 35],
      [200, 40]
    ])
  })

  it("elapsed goes from the call's beginning, which for amap is the first next()", async () => {
    const { at, onProgress, told } = diary()
    const results = amap([0], () => sleep(30), { onProgress })
    await pass(500)
    expect(told).toEqual([])
    await value(results.next())
    await value(results.next())
    expect(told.map(({ elapsed }) => elapsed)).toEqual([30])
    expect(at).toEqual([530])
  })
})

describe("amap", () => {
  it("that is left makes its last report then, and leaves no timer", async () => {
    const { at, onProgress, told } = diary()
    const results = amap(naturals(), () => sleep(30), { maxAtOnce: 1, maxUnread: 2, onProgress })
    await value(results.next())
    await pass(200)
    await value(leave(results))
    expect(at).toEqual([100, 200, 230])
    expect(told[2]).toMatchObject({ started: 3, succeeded: 3, running: 0 })
    await pass(500)
    expect(told).toHaveLength(3)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("makes its last report when all tasks have ended, also if results are unread", async () => {
    const { at, onProgress } = diary()
    const results = amap([1, 2, 3], (n) => sleep(10 * n), { onProgress })
    await value(results.next())
    await pass(500)
    expect(at).toEqual([30])
    expect(await value(Array.fromAsync(results))).toHaveLength(2)
  })

  it("that is aborted by its last report is aborted: nothing is lost without a word", async () => {
    const controller = new AbortController()
    const call = (async () => {
      const results = amap([0, 1, 2], (n) => sleep(10).then(() => n), {
        signal: controller.signal,
        onProgress: ({ succeeded }) => {
          if (succeeded === 3) controller.abort("enough")
        }
      })
      for await (const _ of results);
    })()
    expect(await settle(call)).toEqual({ status: "rejected", reason: "enough", at: 10 })
  })

  it("whose last report throws yields the results that were there, then rejects", async () => {
    const error = new Error("of the callback")
    const results = amap([1, 2], (n) => n, {
      onProgress: () => {
        throw error
      }
    })
    expect(await value(results.next())).toEqual({ done: false, value: 1 })
    expect(await value(results.next())).toEqual({ done: false, value: 2 })
    expect(await settle(results.next())).toMatchObject({ status: "rejected", reason: error })
  })
})

describe("grace", () => {
  it("is part of the call: reports continue, and the last comes after it", async () => {
    const { at, onProgress, told } = diary()
    const p = probe((i) => (i === 0 ? { ms: 50, rejects: { reason: "x" } } : { ms: 230, deaf: true }))
    await settle(runOnEach([0, 1], p.task, { grace: 1000, onProgress }))
    expect(at).toEqual([100, 200, 230])
    expect(told[0]).toMatchObject({ running: 1, failed: 1 })
    expect(told[2]).toMatchObject({ running: 0 })
  })

  it("a throw in the time of grace does not hide the failure", async () => {
    const p = probe((i) => (i === 0 ? { ms: 50, rejects: { reason: "task" } } : { ms: 230, deaf: true }))
    const onProgress = vi.fn<() => never>(() => {
      throw new Error("of the callback")
    })
    const outcome = await settle(runOnEach([0, 1], p.task, { grace: 1000, onProgress }))
    expect(outcome).toMatchObject({ reason: "task", at: 230 })
  })
})

describe("a meter", () => {
  it("that holds back a call: what waits is reported as waiting", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const holder = watch(meter.run(() => sleep(150)))
    const { onProgress, told } = diary()
    await value(meter.runOnEach([0, 1], () => 1, { onProgress }))
    expect(holder.outcome).toMatchObject({ at: 150 })
    expect(told).toMatchObject([
      { started: 0, waiting: 2, running: 0 },
      { started: 2, waiting: 0, succeeded: 2, elapsed: 150 }
    ])
  })
})

describe("without a use", () => {
  it("several calls may share one callback", async () => {
    const { onProgress, told } = diary()
    await Promise.all([
      value(runAny([() => 1], { onProgress })),
      value(runOnEach([1, 2], () => sleep(10), { onProgress }))
    ])
    expect(told.map(({ started }) => started).toSorted((a, b) => a - b)).toEqual([1, 2])
  })
})
