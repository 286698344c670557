/** `timeout`: how long an attempt at a task may take. */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { Options } from "../src/index.ts"
import {
  expectFree,
  expectNoUnhandledRejection,
  flush,
  isTimeoutError,
  leave,
  naturals,
  now,
  pass,
  probe,
  rejection,
  settle,
  sleep,
  tasksOf,
  useVirtualTime,
  value,
  verbs,
  watch
} from "./support.ts"

useVirtualTime()
expectNoUnhandledRejection()

/** What a call is rejected with because a task was: runAny gathers. */
const reasonOf = (reason: unknown): unknown => (reason instanceof AggregateError ? reason.errors[0] : reason)

describe.each(verbs)("$name", (verb) => {
  it("a task that takes longer fails with a TimeoutError, which is its signal's reason", async () => {
    const p = probe(() => ({ ms: 1000 }))
    const outcome = await settle(verb.call([0], p, { timeout: 100 }).promise)
    expect(outcome).toMatchObject({ status: "rejected", at: 100 })
    const reason = reasonOf(outcome.status === "rejected" && outcome.reason)
    expect(isTimeoutError(reason)).toBe(true)
    expect((reason as DOMException).message).toContain("100 ms")
    expect(p.aborted.get(0)).toBe(reason)
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("the TimeoutError names the index of the item", async () => {
    const p = probe((i) => ({
      ms: i === 1 ? 1000 : 10,
      ...(verb.verb === "runAny" ? { rejects: { reason: "no" } } : {})
    }))
    const outcome = await settle(verb.call([5, 6, 7], p, { timeout: 100 }).promise)
    const reason = outcome.status === "rejected" && outcome.reason
    const error = reason instanceof AggregateError ? reason.errors[1] : reason
    // The race until one settles is over before.
    const message = "the task at index 1 has taken longer than its timeout of 100 ms"
    expect(error).toEqual(verb.failsFast && verb.verb === "runAny" ? "no" : expect.objectContaining({ message }))
  })

  it("so does a task that ignores its signal, at that instant; what it does later has no effect", async () => {
    const p = probe(() => ({ ms: 1000, deaf: true, rejects: { reason: "late" } }))
    const outcome = await settle(verb.call([0], p, { timeout: "0.1 seconds" }).promise)
    expect(outcome.at).toBe(100)
    expect(isTimeoutError(reasonOf(outcome.status === "rejected" && outcome.reason))).toBe(true)
    await pass(2000)
    expect(p.ended).toEqual([0])
  })

  it("tasks that end in time leave no timer", async () => {
    const p = probe(() => ({ ms: 10 }))
    const call = verb.call([0, 1], p, { timeout: 100 })
    expect(await settle(call.promise)).toMatchObject({ status: "fulfilled", at: 10 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    expect(p.aborted.size, "aborted, unless it lost").toBe(0)
  })

  it("tasks that fail in time leave no timer", async () => {
    const p = probe(() => ({ ms: 10, rejects: { reason: "x" } }))
    const outcome = await settle(verb.call([0], p, { timeout: 100 }).promise)
    expect(reasonOf(outcome.status === "rejected" && outcome.reason)).toBe("x")
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("tasks that end without a promise, or just before, are in time", async () => {
    const p = probe(() => ({ ms: 99 }))
    expect(await settle(verb.call([0], p, { timeout: 100 }).promise)).toMatchObject({ status: "fulfilled", at: 99 })
    expect(
      await settle(
        verb.call(
          [0],
          tasksOf(() => 1),
          { timeout: 1 }
        ).promise
      )
    ).toMatchObject({ status: "fulfilled" })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })

  it("Infinity means no timeout", async () => {
    const p = probe(() => ({ ms: 100_000 }))
    const watched = watch(verb.call([0], p, { timeout: Infinity }).promise)
    await flush()
    expect(vi.getTimerCount(), "only the task's own").toBe(1)
    await pass(100_000)
    expect(watched.outcome).toMatchObject({ status: "fulfilled", at: 100_000 })
  })

  it("a task that was cancelled is not timed any more, even if it ignores that", async () => {
    const controller = new AbortController()
    let aborts = 0
    const task = (_: unknown, { signal }: { readonly signal: AbortSignal }) => {
      signal.addEventListener("abort", () => aborts++)
      return new Promise(() => {})
    }
    const call = verb.call([0, 1], tasksOf(task), { timeout: 1000, signal: controller.signal })
    setTimeout(() => controller.abort("stop"), 50)
    expect(await settle(call.promise)).toMatchObject({ reason: "stop", at: 50 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
    expect(aborts).toBe(2)
  })

  it("a task that is cancelled before its start is over is not timed either", async () => {
    const controller = new AbortController()
    const task = () => {
      controller.abort("stop")
      return new Promise(() => {})
    }
    const call = verb.call([0], tasksOf(task), { timeout: 1000, signal: controller.signal })
    expect(await settle(call.promise)).toMatchObject({ reason: "stop", at: 0 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("a task that ignores its signal", () => {
  const limited: ReadonlyArray<readonly [string, () => Options]> = [
    ["the call's own", () => ({ maxAtOnce: 1 })],
    ["with a rate", () => ({ maxAtOnce: 1, maxPerSecond: 1000 })],
    ["a meter's", () => ({ meter: createMeter({ maxAtOnce: 1 }) })]
  ]

  it.each(limited)("holds its permit until it settles, though the call continues: maxAtOnce, %s", async (_, limit) => {
    const p = probe((i) => (i === 0 ? { ms: 500, deaf: true, rejects: { reason: "late" } } : { ms: 10 }))
    const outcomes = await settle(runAll([0, 1], p.task, { ...limit(), settled: true, timeout: 100 }))
    expect(p.starts).toEqual([0, 500])
    expect(outcomes.at).toBe(510)
    expect(outcomes).toMatchObject({ value: [{ status: "rejected" }, { status: "fulfilled", value: "v1" }] })
  })

  it.each(limited)("its failure is reported at once, though its permit is taken: maxAtOnce, %s", async (_, limit) => {
    const p = probe((i) => (i === 0 ? { ms: 500, deaf: true } : { ms: 10 }))
    const results = amap([0, 1], p.task, { ...limit(), settled: true, timeout: 100 })
    const first = await settle(results.next())
    expect(first).toMatchObject({ value: { value: { status: "rejected", index: 0 } }, at: 100 })
    expect(await settle(results.next())).toMatchObject({ value: { value: { value: "v1" } }, at: 510 })
    expect(await value(results.next())).toMatchObject({ done: true })
  })

  it("holds its permit of a meter after its call has ended", async () => {
    const meter = createMeter({ maxAtOnce: 1 })
    const p = probe(() => ({ ms: 500, deaf: true }))
    expect(isTimeoutError(await rejection(runOnEach([0], p.task, { meter, timeout: 100 })))).toBe(true)
    expect(now()).toBe(100)
    expect(meter.snapshot()).toMatchObject({ running: 1 })
    expect(await value(meter.run(() => now()))).toBe(500)
    await expectFree(meter, 1)
  })

  it("is not waited for where nothing else is left", async () => {
    const p = probe((i) => (i === 0 ? { ms: 500, deaf: true } : { ms: 10 }))
    const outcome = await settle(runAll([0, 1], p.task, { settled: true, timeout: 100 }))
    expect(outcome.at).toBe(100)
    await pass(1000)
    expect(p.ended).toEqual([1, 0])
  })

  it.each([
    [30, 130],
    [1000, 500],
    [Infinity, 500]
  ])("with grace %s it is waited for until %i ms", async (grace, at) => {
    const p = probe(() => ({ ms: 500, deaf: true, rejects: { reason: "late" } }))
    const failed = await settle(runOnEach([0], p.task, { grace, timeout: 100 }))
    expect(failed.at).toBe(at)
    expect(isTimeoutError(failed.status === "rejected" && failed.reason)).toBe(true)
    await pass(1000)
  })

  it.each([
    [30, 130],
    [Infinity, 500]
  ])("with grace %s, and where nothing stops the call, until %i ms", async (grace, at) => {
    const p = probe(() => ({ ms: 500, deaf: true }))
    const outcome = await settle(runAll([0], p.task, { grace, settled: true, timeout: 100 }))
    expect(outcome).toMatchObject({ status: "fulfilled", value: [{ status: "rejected" }], at })
    await pass(1000)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("in the time of grace, a task is no longer timed: it was cancelled for another reason", async () => {
    const reasons: Array<unknown> = []
    const task = async (n: number, { signal }: { readonly signal: AbortSignal }) => {
      if (n === 0) return sleep(50).then(() => Promise.reject("x"))
      signal.addEventListener("abort", () => reasons.push(signal.reason))
      return sleep(300)
    }
    const outcome = await settle(runOnEach([0, 1], task, { grace: 1000, timeout: 100 }))
    expect(outcome).toEqual({ status: "rejected", reason: "x", at: 300 })
    expect(reasons).toMatchObject([{ name: "AbortError" }])
  })

  it("what it settles with does not count: the task has failed already", async () => {
    const p = probe((i) => ({ ms: 150 + i, deaf: true }))
    const delivered: Array<unknown> = []
    const call = (async () => {
      for await (const each of amap([0, 1], p.task, { maxAtOnce: 1, settled: true, timeout: 100 })) delivered.push(each)
    })()
    expect(await settle(call)).toMatchObject({ status: "fulfilled" })
    expect(delivered).toMatchObject([
      { status: "rejected", index: 0 },
      { status: "rejected", index: 1 }
    ])
  })

  it("runAny continues without it, and it cannot win any more", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 150 : 90, deaf: true, ...(i === 1 ? {} : { value: "late" }) }))
    const call = runAny([0, 1], p.task, { maxAtOnce: 1, timeout: 100 })
    expect(await settle(call)).toMatchObject({ status: "fulfilled", value: "v1", at: 240 })
  })

  it("until settled, its time is what decides", async () => {
    const p = probe((i) => ({ ms: i === 0 ? 1000 : 500, deaf: true }))
    const outcome = await settle(runAny([0, 1], p.task, { timeout: 100, until: "settled" }))
    expect(outcome.at).toBe(100)
    expect(isTimeoutError(outcome.status === "rejected" && outcome.reason)).toBe(true)
    await pass(1000)
  })

  it("if all tasks of runAny time out, there is one TimeoutError each", async () => {
    const p = probe(() => ({ ms: 1000, deaf: true }))
    const reason = (await rejection(runAny([0, 1, 2], p.task, { timeout: 100 }))) as AggregateError
    expect(reason.errors.map(isTimeoutError)).toEqual([true, true, true])
    await pass(1000)
  })
})

describe("with retry", () => {
  it("each attempt has the whole time, and the next one its own signal", async () => {
    const reasons: Array<unknown> = []
    const starts: Array<number> = []
    const task = (_: unknown, { signal }: { readonly signal: AbortSignal }) => {
      starts.push(now())
      return sleep(starts.length < 3 ? 1000 : 90, signal).catch((reason: unknown) => {
        reasons.push(reason)
        throw reason
      })
    }
    await value(runOnEach([0], task, { retry: { delay: 50 }, timeout: 100 }))
    expect(starts).toEqual([0, 150, 300])
    expect(now()).toBe(390)
    expect(reasons.map(isTimeoutError)).toEqual([true, true])
    expect(reasons[0]).not.toBe(reasons[1])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("the last TimeoutError is the task's, and `while` sees each", async () => {
    const seen: Array<unknown> = []
    const retry = { times: 1, delay: 10, while: (reason: unknown) => seen.push(reason) > 0 }
    const p = probe(() => ({ ms: 1000 }))
    const reason = await rejection(runOnEach([0], p.task, { retry, timeout: 100 }))
    expect(isTimeoutError(reason)).toBe(true)
    expect(seen.map(isTimeoutError)).toEqual([true])
    expect(reason).not.toBe(seen[0])
  })

  it.each<readonly [string, () => Options, ReadonlyArray<number>]>([
    ["where there is room, the next attempt runs beside it", () => ({}), [0, 150]],
    ["without a free permit, the next attempt waits for it", () => ({ maxAtOnce: 1 }), [0, 400]],
    ["on a meter, too", () => ({ meter: createMeter({ maxAtOnce: 1 }) }), [0, 400]]
  ])("a task that ignores its signal and is retried: %s", async (_, limit, expected) => {
    const starts: Array<number> = []
    const task = () => {
      starts.push(now())
      return starts.length === 1 ? sleep(400).then(() => Promise.reject("late")) : sleep(20)
    }
    await value(runOnEach([0], task, { ...limit(), retry: { delay: 50 }, timeout: 100 }))
    expect(starts).toEqual(expected)
    expect(now()).toBe(expected[1]! + 20)
    await pass(1000)
  })

  it("all attempts may ignore their signals: each holds its permit, and the call ends with the last", async () => {
    const meter = createMeter({ maxAtOnce: 3 })
    const p = probe(() => ({ ms: 1000, deaf: true, rejects: { reason: "late" } }))
    const outcome = await settle(runOnEach([0], p.task, { meter, retry: { delay: 50 }, timeout: 100 }))
    expect(p.starts).toEqual([0, 150, 300])
    expect(outcome.at).toBe(400)
    expect(meter.snapshot()).toMatchObject({ running: 3 })
    await pass(600)
    expect(meter.snapshot()).toMatchObject({ running: 2 })
    await pass(1000)
    await expectFree(meter, 3)
  })

  it("aborting the call in `while`, at the very moment, ends it there", async () => {
    const controller = new AbortController()
    const p = probe(() => ({ ms: 1000, deaf: true }))
    const retry = {
      delay: 50,
      while: () => {
        controller.abort("stop")
        return true
      }
    }
    const call = runOnEach([0], p.task, { retry, signal: controller.signal, timeout: 100 })
    expect(await settle(call)).toMatchObject({ reason: "stop", at: 100 })
    await pass(2000)
    expect(p.order).toEqual([0])
    expect(vi.getTimerCount()).toBe(0)
  })

  it("a listener of the task's own signal may abort the call", async () => {
    const controller = new AbortController()
    const task = (_: unknown, { signal }: { readonly signal: AbortSignal }) => {
      signal.addEventListener("abort", () => controller.abort("stop"))
      return new Promise(() => {})
    }
    const call = runOnEach([0], task, { retry: { delay: 50 }, signal: controller.signal, timeout: 100 })
    expect(await settle(call)).toMatchObject({ reason: "stop", at: 100 })
    await flush()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe("amap", () => {
  it("leaving it leaves no timer of tasks that ignore it", async () => {
    const p = probe((i) => (i === 0 ? {} : { ms: 100, deaf: true }))
    const results = amap(naturals(3), p.task, { timeout: 10_000 })
    await value(results.next())
    await value(leave(results))
    await pass(100)
    expect(vi.getTimerCount()).toBe(0)
  })

  it("in order, with maxUnread 1: timed-out tasks do not block the order", async () => {
    const p = probe((i) => (i === 3 ? { ms: 10 } : { ms: 1000, deaf: true }))
    const results = amap(naturals(4), p.task, { maxUnread: 1, ordered: true, settled: true, timeout: 100 })
    const outcomes = await settle(Array.fromAsync(results))
    expect(outcomes).toMatchObject({ value: [{ index: 0 }, { index: 1 }, { index: 2 }, { value: "v3" }], at: 310 })
    await pass(1000)
  })

  it("stopOnError: false counts them among the failures", async () => {
    const p = probe((i) => (i === 1 ? { ms: 10 } : { ms: 1000, deaf: true }))
    const results = amap(naturals(3), p.task, { stopOnError: false, timeout: 100 })
    expect(await value(results.next())).toEqual({ done: false, value: "v1" })
    const end = await settle(results.next())
    expect(end.at).toBe(100)
    expect(end.status === "rejected" && (end.reason as AggregateError).errors.map(isTimeoutError)).toEqual([true, true])
    await pass(1000)
  })
})

describe("a thenable", () => {
  it("is timed like a promise", async () => {
    // oxlint-disable-next-line unicorn/no-thenable -- a foreign promise
    const never = { then: () => {} } as unknown as PromiseLike<never>
    const outcome = await settle(runOnEach([0], () => never, { timeout: 100 }))
    expect(outcome.at).toBe(100)
    expect(isTimeoutError(outcome.status === "rejected" && outcome.reason)).toBe(true)
  })
})
