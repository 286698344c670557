/**
 * However fast the tasks resolve, control returns to the event loop (G14). On the real clock: it is the event loop of
 * the program under test.
 *
 * Every source here ends by itself after a while, so that a loop that does not yield fails its test instead of hanging
 * the run.
 */
import { afterEach, describe, expect, it, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
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

describe("a loop of calls that never wait lets a timer fire", () => {
  const limited = () => createMeter({ maxAtOnce: 10 })
  const failing = () => {
    throw "bad"
  }
  it.each<readonly [string, () => () => Promise<unknown>]>([
    ["run, a plain value", () => () => createMeter({}).run(() => 1)],
    ["run, a resolved promise", () => () => createMeter({}).run(async () => 1)],
    [
      "run, a limit",
      () =>
        (
          (meter) => () =>
            meter.run(() => 1)
        )(limited())
    ],
    [
      "run, a rate",
      () =>
        (
          (meter) => () =>
            meter.run(async () => 1)
        )(createMeter({ maxPerSecond: 1e9, maxBurst: 1e9 }))
    ],
    [
      "run with grace",
      () =>
        (
          (meter) => () =>
            meter.run(async () => 1, { grace: 5 })
        )(limited())
    ],
    [
      "run, a task that throws",
      () =>
        (
          (meter) => () =>
            meter.run(failing).catch(() => {})
        )(limited())
    ],
    ["wrap", () => limited().wrap(async () => 1)],
    [
      "run of a key",
      () =>
        (
          (meters) => () =>
            meters.for("a").run(() => 1)
        )(createKeyedMeter({ maxAtOnce: 10 }))
    ],
    ["runAll", () => () => runAll([1], async (n) => n)],
    ["runAll of nothing", () => () => runAll([], async (n) => n)],
    [
      "runAll under a meter",
      () =>
        (
          (meter) => () =>
            runAll([1], (n) => n, { meter })
        )(limited())
    ],
    ["runAll that fails", () => () => runAll([1], failing).catch(() => {})],
    ["runOnEach", () => () => runOnEach([1], async (n) => n)],
    ["runAny", () => () => runAny([1], async (n) => n)],
    ["amap", () => () => consume(amap([1], async (n) => n))],
    ["amap of nothing", () => () => consume(amap([], async (n) => n))]
  ])("%s", async (_, make) => {
    const call = make()
    for (const loops of [1, 3]) {
      let stop = false
      let calls = 0
      setTimeout(() => {
        stop = true
      }, 0)
      const loop = async () => {
        while (!stop && calls < MANY) {
          calls++
          await call()
        }
      }
      await Promise.all(Array.from({ length: loops }, loop))
      expect(calls, `${loops} loops`).toBeLessThan(MANY)
    }
  })

  it("reads of results that are ready", async () => {
    let started = 0
    const results = amap(naturals(MANY), () => started++, { maxUnread: Infinity })
    await results.next()
    // All of them are started, each in the turn of its own start.
    while (started < MANY) await new Promise((resolve) => setImmediate(resolve))
    let stop = false
    setTimeout(() => {
      stop = true
    }, 0)
    let read = 1
    while (!stop && (await results.next()).done !== true) read++
    expect(read).toBeLessThan(MANY)
    await leave(results)
  })
})

describe("where tasks are slow", () => {
  let time = performance.now()
  afterEach(() => void vi.restoreAllMocks())

  /** Every call of what this returns takes ten milliseconds, without taking them. */
  const slowness = (): (() => void) => {
    time = Math.max(time, performance.now())
    vi.spyOn(performance, "now").mockImplementation(() => time)
    return () => {
      time += 10
    }
  }

  /** How many of the tasks started in each turn of the event loop. */
  const perTurn = async (run: (task: () => void) => Promise<unknown>): Promise<ReadonlyArray<number>> => {
    const turns = [0]
    let isOver = false
    const turn = () => {
      turns.push(0)
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    await run(() => void turns[turns.length - 1]!++)
    isOver = true
    return turns
  }

  it.each(limits)("slow tasks after cheap ones do not block the event loop, %s", async (_, options) => {
    const slow = slowness()
    await runAll(naturals(5000), (n) => n, options())
    const turns = await perTurn((count) => runAll(naturals(30), () => (count(), slow()), options()))
    expect(turns.reduce((a, b) => a + b)).toBe(30)
    expect(Math.max(...turns)).toBeLessThanOrEqual(2)
  })

  it("slow tasks after cheap ones in the same call block it for 64 tasks at most", async () => {
    const slow = slowness()
    const turns = await perTurn((count) => runAll(naturals(5200), (n) => n < 5000 || (count(), slow())))
    expect(turns.reduce((a, b) => a + b)).toBe(200)
    expect(Math.max(...turns)).toBeLessThanOrEqual(66)
  })

  it("slow calls of run in a loop yield after 64 of them at most", async () => {
    const slow = slowness()
    const meter = createMeter({ maxAtOnce: 10 })
    const turns = await perTurn(async (count) => {
      for (let n = 0; n < 200; n++) await meter.run(() => (count(), slow()))
    })
    expect(Math.max(...turns)).toBeLessThanOrEqual(66)
  })
})

describe("at the beginning of a turn of the event loop, no start is deferred", () => {
  /** So long that the time would be a long turn, were the program not idle. */
  const idle = async () => {
    const wait = () => new Promise((resolve) => setTimeout(resolve, 10))
    await wait()
    // Starts that do not follow one another quickly each read the clock.
    await runAll([], (n) => n)
    await wait()
  }
  const open = () => Promise.withResolvers<void>()

  it("a call of run after idle time starts within it", async () => {
    const meter = createMeter({ maxAtOnce: 2 })
    for (let n = 0; n < 5; n++) {
      await idle()
      let started = false
      void meter.run(() => {
        started = true
      })
      expect(started).toBe(true)
    }
  })

  it("so does a verb", async () => {
    for (let n = 0; n < 5; n++) {
      await idle()
      const started: Array<number> = []
      const all = runAll([1, 2, 3], async (n) => started.push(n), { maxAtOnce: 2 })
      expect(started).toEqual([1, 2])
      await all
    }
  })

  /** A meter with three waiters, after idle time; `held` of two permits are in use, and it may be paused. */
  const queue = async (held: number, isPaused: boolean) => {
    const meter = createMeter({ maxAtOnce: 2 })
    let running = 0
    const limiters = Array.from({ length: held + 3 }, open)
    const aborts = limiters.map(() => new AbortController())
    const start = (n: number) =>
      meter.run(
        async () => {
          running++
          await limiters[n]!.promise
          running--
        },
        { signal: aborts[n]!.signal }
      )
    const calls: Array<Promise<void>> = []
    for (let n = 0; n < held; n++) calls.push(start(n))
    if (isPaused) meter.pause()
    for (let n = held; n < limiters.length; n++) calls.push(start(n))
    await idle()
    const end = async () => {
      meter.resume()
      for (const limiter of limiters) limiter.resolve()
      await Promise.allSettled(calls)
      expect(running).toBe(0)
    }
    return { aborts, end, limiters, meter, running: () => running }
  }

  // Each several times: what is noted of one turn must not tell in the next.
  const rounds = Array.from({ length: 5 }, (_, round) => round)

  it.each(rounds)("waiters start within the call of resume, round %i", async () => {
    const { end, meter, running } = await queue(0, true)
    expect(running()).toBe(0)
    meter.resume()
    expect(running()).toBe(2)
    await end()
  })

  it.each(rounds)("waiters start within the call of resize, round %i", async () => {
    const { end, meter, running } = await queue(2, false)
    expect(running()).toBe(2)
    meter.resize({ maxAtOnce: 4 })
    expect(running()).toBe(4)
    await end()
  })

  it.each(rounds)("a waiter starts in the turn in which a task ends, round %i", async () => {
    const { end, limiters, running } = await queue(2, false)
    limiters[0]!.resolve()
    for (let n = 0; n < 10; n++) await Promise.resolve()
    expect(running()).toBe(2)
    await end()
  })
})

describe("a result of amap while promises wait for a later turn of the event loop", () => {
  it("is read after them", async () => {
    const { promise, resolve } = Promise.withResolvers<number>()
    const order: Array<string> = []
    const read = amap([1], () => promise)
      .next()
      .then(() => order.push("amap"))
    const meter = createMeter({})
    let last: Promise<unknown> | undefined
    for (const end = performance.now() + 50; performance.now() < end;) last = meter.run(() => 1)
    const ran = last!.then(() => order.push("run"))
    resolve(1)
    await Promise.all([read, ran])
    expect(order).toEqual(["run", "amap"])
  })
})
