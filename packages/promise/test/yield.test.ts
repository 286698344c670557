/**
 * However fast the tasks resolve, control returns to the event loop (G14). On the real clock: it is the event loop of
 * the program that is looked at.
 *
 * Every source here ends by itself after a while, so that a loop that lets nobody in fails its test instead of hanging
 * the run.
 */
import { describe, expect, it, vi } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import { leave, naturals } from "./support.ts"
import type { AnyOptions } from "./support.ts"

const MANY = 200_000

// How long it takes is no part of the claim: a busy machine may be slow.
vi.setConfig({ testTimeout: 60_000 })

/** More than any of the calls gets through before it is ended, and few enough to come to an end without that. */
const ENDLESS = 2_000_000

type Task = (n: number) => unknown

const plain: Task = (n) => n
const resolved: Task = (n) => Promise.resolve(n)
const later: Task = async (n) => n

const never: Task = (n) => {
  throw n
}

const consume = async (results: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of results);
}

const verbs: ReadonlyArray<
  readonly [string, (items: Iterable<number>, task: Task, options: AnyOptions) => Promise<unknown>]
> = [
  ["runOnEach", (items, task, options) => runOnEach(items, task, options)],
  ["runAll", (items, task, options) => runAll(items, task, options)],
  ["amap", (items, task, options) => consume(amap(items, task, options))],
  ["amap in order", (items, task, options) => consume(amap(items, task, { ...options, ordered: true }))]
]

const limits: ReadonlyArray<readonly [string, () => AnyOptions]> = [
  ["no limit", () => ({})],
  ["maxAtOnce", () => ({ maxAtOnce: 10 })],
  ["a shared meter", () => ({ meter: createMeter({ maxAtOnce: 10 }) })]
]

describe.each(verbs)("%s", (_, run) => {
  it.each<readonly [string, string, Task, () => AnyOptions]>([
    ["async tasks", "no limit", later, () => ({})],
    ["async tasks", "maxAtOnce", later, () => ({ maxAtOnce: 10 })],
    ["plain values", "no limit", plain, () => ({})],
    ["plain values", "maxAtOnce", plain, () => ({ maxAtOnce: 10 })],
    ["resolved promises", "a shared meter", resolved, () => ({ meter: createMeter({ maxAtOnce: 10 }) })]
  ])("lets a timer in while 200,000 tasks run: %s, %s", async (_, _limit, task, options) => {
    let done = 0
    let seen: number | undefined
    // Set by the first task, so that it is the tasks that it has to get in between.
    const look = () => {
      setTimeout(() => {
        seen = done
      }, 1)
    }
    await run(
      naturals(MANY),
      (n) => {
        if (done++ === 0) look()
        return task(n)
      },
      options()
    )
    expect(done).toBe(MANY)
    expect(seen, "tasks done when the timer fired").toBeDefined()
    expect(seen).toBeLessThan(MANY)
  })

  it.each(limits)("under %s is ended by an abort that comes from a timer", async (_, options) => {
    const controller = new AbortController()
    let done = 0
    const call = run(
      naturals(ENDLESS),
      async () => {
        if (done++ === 0) setTimeout(() => controller.abort("enough"), 5)
      },
      { ...options(), signal: controller.signal }
    )
    await expect(call).rejects.toBe("enough")
    expect(done).toBeGreaterThan(0)
    expect(done).toBeLessThan(ENDLESS)
  })

  it("is ended by a failure among tasks without a limit", async () => {
    const call = run(
      naturals(ENDLESS),
      async (n) => {
        if (n === 1000) throw "bad"
      },
      {}
    )
    await expect(call).rejects.toBe("bad")
  })
})

describe("runAny", () => {
  it.each(limits)("under %s lets a timer in while 100,000 tasks fail", async (_, options) => {
    let done = 0
    let seen: number | undefined
    // Set by the first task, so that it is the tasks that it has to get in between.
    const look = () => {
      setTimeout(() => {
        seen = done
      }, 1)
    }
    const call = runAny(
      naturals(100_000),
      (n) => {
        if (done++ === 0) look()
        return never(n)
      },
      options()
    )
    await expect(call).rejects.toBeInstanceOf(AggregateError)
    expect(done).toBe(100_000)
    expect(seen, "tasks done when the timer fired").toBeLessThan(100_000)
  })

  it("is won by one of infinitely many without a limit", async () => {
    let started = 0
    const winner = await runAny(naturals(ENDLESS), async (n) => {
      started += 1
      if (n < 1000) throw n
      return n
    })
    expect(winner).toBe(1000)
    expect(started).toBeLessThan(ENDLESS)
  })
})

describe("amap over an infinite source", () => {
  it("without a limit can be read and left", async () => {
    let pulled = 0
    let closed = 0
    function* items() {
      try {
        for (const n of naturals(ENDLESS)) {
          pulled += 1
          yield n
        }
      } finally {
        closed += 1
      }
    }
    const seen: Array<number> = []
    for await (const n of amap(items(), async (n) => n)) {
      seen.push(n)
      if (seen.length === 3) break
    }
    expect(seen).toEqual([0, 1, 2])
    expect(closed).toBe(1)
    expect(pulled).toBeLessThan(ENDLESS)
  })

  it("whose reader does nothing but read lets a timer in", async () => {
    const results = amap(naturals(ENDLESS), (n) => n, { maxAtOnce: 10 })
    let stop = false
    expect(await results.next()).toEqual({ done: false, value: 0 })
    setTimeout(() => {
      stop = true
    }, 1)
    while (!stop && (await results.next()).done !== true);
    expect(stop).toBe(true)
    await leave(results)
  })
})

describe("meter.run", () => {
  it("lets a timer in while 100,000 waiters are served", async () => {
    const meter = createMeter({ maxAtOnce: 10 })
    let done = 0
    let seen: number | undefined
    // Set by the first task, so that it is the tasks that it has to get in between.
    const look = () => {
      setTimeout(() => {
        seen = done
      }, 1)
    }
    const all = Promise.all(
      Array.from({ length: 100_000 }, () =>
        meter.run(async () => {
          if (done++ === 0) look()
        })
      )
    )
    await all
    expect(done).toBe(100_000)
    expect(seen, "tasks done when the timer fired").toBeLessThan(100_000)
  })
})
