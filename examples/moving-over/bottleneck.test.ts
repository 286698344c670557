/** The bottleneck section of the guide. */
import { AsyncLocalStorage } from "node:async_hooks"
import { subscribe } from "node:diagnostics_channel"
import { setImmediate } from "node:timers/promises"
import { beforeEach, expect } from "vitest"
import Bottleneck from "bottleneck"
import { createKeyedMeter, createMeter, runAll } from "@fibermeter/promise"
import type { StartMessage } from "@fibermeter/promise"
import { diary, failure, getPage, ids, mostAtOnce, signal, stalled, starts, waitWhenSetBack } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, useRealTime, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

let limiter = new Bottleneck({ maxConcurrent: 2 })
let api = createMeter({ maxAtOnce: 2 })
beforeEach(() => {
  limiter = new Bottleneck({ maxConcurrent: 2 })
  api = createMeter({ maxAtOnce: 2 })
})

/** More tasks than can run at once. */
const busy = {
  theirs: () => Promise.all(ids.map((id) => limiter.schedule(() => getPage(id)))),
  ours: () => Promise.all(ids.map((id) => api.run(() => getPage(id))))
}

call(
  "limit how many run at once",
  {
    theirs: () => new Bottleneck({ maxConcurrent: 2 }),
    ours: () => createMeter({ maxAtOnce: 2 })
  },
  {
    gives: 2,
    theirs: (limiter) => mostAtOnce((task) => limiter.schedule(task)),
    ours: (api) => mostAtOnce((task) => api.run(task))
  }
)

call(
  "limit the rate",
  {
    theirs: () => new Bottleneck({ minTime: 200 }),
    ours: () => createMeter({ maxPerSecond: 5 })
  },
  {
    gives: [0, 200, 400, 600, 800, 1000],
    theirs: (limiter) => starts((task) => limiter.schedule(task)),
    ours: (api) => starts((task) => api.run(task))
  }
)

call(
  "run one task, under `limiter` or `api`",
  {
    theirs: () => limiter.schedule(() => getPage(1)),
    ours: () => api.run(() => getPage(1))
  },
  { gives: "page 1" }
)

call(
  "let a task start before those that wait",
  {
    theirs: () => limiter.schedule({ priority: 1 }, () => getPage(1)),
    ours: () => api.run(() => getPage(1), { priority: 1 })
  },
  { gives: "page 1" }
)

call(
  "let a task count as two",
  {
    theirs: () => limiter.schedule({ weight: 2 }, () => getPage(1)),
    ours: () => api.run(() => getPage(1), { permits: 2 })
  },
  { gives: "page 1" }
)

call(
  "make a limited function",
  {
    theirs: () => limiter.wrap(getPage),
    ours: () => api.wrap(getPage)
  },
  { gives: "page 1", theirs: (get) => get(1), ours: (get) => get(1) }
)

call(
  "run many tasks",
  {
    theirs: () => Promise.all(ids.map((id) => limiter.schedule(() => getPage(id)))),
    ours: () => api.runAll(ids, getPage)
  },
  { gives: ["page 1", "page 2", "page 3"] }
)

call(
  "get a limiter for each key",
  {
    theirs: () => new Bottleneck.Group({ maxConcurrent: 2 }).key("host"),
    ours: () => createKeyedMeter({ maxAtOnce: 2 }).for("host")
  },
  {
    gives: 2,
    theirs: (limiter) => mostAtOnce((task) => limiter.schedule(task)),
    ours: (api) => mostAtOnce((task) => api.run(task))
  }
)

const group = new Bottleneck.Group({ maxConcurrent: 2 })
const hosts = createKeyedMeter<string>({ maxAtOnce: 2 })

call(
  "list the keys, of `group` or `hosts`",
  {
    theirs: () => group.keys(),
    ours: () => Array.from(hosts, ([key]) => key)
  },
  {
    during: { theirs: async () => void group.key("host"), ours: async () => hosts.for("host").pause() },
    gives: ["host"]
  }
)

call(
  "delete the limiter of a key",
  {
    theirs: () => group.deleteKey("host"),
    ours: () => hosts.delete("host")
  },
  { gives: true }
)

call(
  "run many tasks, each under the limiter of its key",
  {
    theirs: () => Promise.all(ids.map((id) => group.key(String(id % 2)).schedule(() => getPage(id)))),
    ours: () => runAll(ids, getPage, { meter: (id) => hosts.for(String(id % 2)) })
  },
  { gives: ["page 1", "page 2", "page 3"] }
)

call(
  "check whether a task would start immediately",
  {
    theirs: () => limiter.check(),
    ours: () => api.snapshot().nextStart === 0
  },
  { during: busy, gives: false }
)

call(
  "count the waiting and the running tasks",
  {
    theirs: () => [limiter.counts().QUEUED, limiter.counts().EXECUTING],
    ours: () => [api.snapshot().waiting, api.snapshot().running]
  },
  { during: busy, gives: [1, 2] }
)

call(
  "change the limits",
  {
    theirs: () => limiter.updateSettings({ maxConcurrent: 4 }),
    ours: () => api.resize({ maxAtOnce: 4 })
  },
  {
    gives: 4,
    theirs: () => mostAtOnce((task) => limiter.schedule(task)),
    ours: () => mostAtOnce((task) => api.run(task))
  }
)

call(
  "apply several limits to the same tasks",
  {
    theirs: async () => {
      const few = new Bottleneck({ maxConcurrent: 2 })
      const slow = new Bottleneck({ minTime: 10 }).chain(few)
      const pages = await Promise.all(ids.map((id) => slow.schedule(() => getPage(id))))
      return pages
    },
    ours: async () => {
      const few = createMeter({ maxAtOnce: 2 })
      const slow = createMeter({ maxPerSecond: 100 })
      const pages = await runAll(ids, getPage, { meter: [slow, few] })
      return pages
    }
  },
  { gives: ["page 1", "page 2", "page 3"] }
)

call(
  "retry a failed task",
  {
    theirs: async () => {
      let attempts = 0
      const limiter = new Bottleneck({ maxConcurrent: 2 })
      limiter.on("failed", (error, { retryCount }) => (retryCount < 2 ? 100 : undefined))
      const answer = await limiter.schedule(async () => {
        if (++attempts < 3) throw new Error("busy")
        return "an answer"
      })
      return { answer, attempts }
    },
    ours: async () => {
      let attempts = 0
      const api = createMeter({ maxAtOnce: 2 })
      const ask = async () => {
        if (++attempts < 3) throw new Error("busy")
        return "an answer"
      }
      const answer = await api.run(ask, { retry: { times: 2, delay: 100 } })
      return { answer, attempts }
    }
  },
  { gives: { answer: "an answer", attempts: 3 } }
)

call(
  "finish all tasks that were added, and refuse new ones",
  {
    theirs: async () => {
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      const all = ids.map((id) => limiter.schedule(() => getPage(id)))
      await limiter.stop({ dropWaitingJobs: false })
      const late = await limiter.schedule(() => getPage(1)).catch(() => "refused")
      return [...(await Promise.all(all)), late]
    },
    ours: async () => {
      const api = createMeter({ maxAtOnce: 1 })
      const all = ids.map((id) => api.run(() => getPage(id)))
      await api.drain()
      const late = await api.run(() => getPage(1)).catch(() => "refused")
      return [...(await Promise.all(all)), late]
    }
  },
  { gives: ["page 1", "page 2", "page 3", "refused"] }
)

call(
  "refuse a task if too many wait",
  {
    theirs: async () => {
      const limiter = new Bottleneck({ maxConcurrent: 1, highWater: 1, strategy: Bottleneck.strategy.OVERFLOW })
      const outcomes = await Promise.allSettled(ids.map((id) => limiter.schedule(() => getPage(id))))
      return outcomes.map(({ status }) => status)
    },
    ours: async () => {
      const api = createMeter({ maxAtOnce: 1, maxWaiting: 1 })
      const outcomes = await Promise.allSettled(ids.map((id) => api.run(() => getPage(id))))
      return outcomes.map(({ status }) => status)
    }
  },
  { gives: ["fulfilled", "fulfilled", "rejected"] }
)

call(
  "drop the oldest task instead",
  {
    theirs: async () => {
      const limiter = new Bottleneck({ maxConcurrent: 1, highWater: 1, strategy: Bottleneck.strategy.LEAK })
      const outcomes = await Promise.allSettled(ids.map((id) => limiter.schedule(() => getPage(id))))
      return outcomes.map(({ status }) => status)
    },
    ours: async () => {
      const api = createMeter({ maxAtOnce: 1, maxWaiting: 1, overflow: "dropOldest" })
      const outcomes = await Promise.allSettled(ids.map((id) => api.run(() => getPage(id))))
      return outcomes.map(({ status }) => status)
    }
  },
  { gives: ["fulfilled", "rejected", "fulfilled"] }
)

differs("A `reservoir` of 2, refreshed every 1000 ms, and a window of 2 per 1000 ms", {
  theirs: [
    "can start 4 tasks within 1000 ms, around a refresh; the limiter chooses the time of the refresh",
    async () => {
      const { instants, note } = diary()
      const limiter = new Bottleneck({
        reservoir: 2,
        reservoirRefreshAmount: 2,
        reservoirRefreshInterval: 1000
      })
      await pass(990)
      const task = async () => note("start")
      void Promise.all([1, 2, 3, 4, 5].map(() => limiter.schedule(task)))
      await pass(3000)
      const [first, ...rest] = instants()
      // Four starts within 30 ms.
      expect(first).toBeGreaterThanOrEqual(990)
      expect(rest[2]).toBeLessThan(1020)
      await value(limiter.disconnect())
    }
  ],
  ours: [
    "never starts more than 2 within any 1000 ms",
    async () => {
      const { instants, note } = diary()
      const api = createMeter({ windows: { tasks: { limit: 2, per: 1000 } } })
      await pass(990)
      const task = async () => note("start")
      void Promise.all([1, 2, 3, 4, 5].map(() => api.run(task)))
      await pass(3000)
      expect(instants()).toEqual([990, 990, 1990, 1990, 2990])
    }
  ]
})

differs("A `reservoir` that grows by `reservoirIncreaseAmount`", {
  theirs: [
    "starts several tasks together at each increase",
    async () => {
      const { instants, note } = diary()
      const limiter = new Bottleneck({
        reservoir: 2,
        reservoirIncreaseAmount: 2,
        reservoirIncreaseInterval: 1000,
        reservoirIncreaseMaximum: 2
      })
      void Promise.all([1, 2, 3, 4].map(() => limiter.schedule(async () => note("start"))))
      await pass(3000)
      const [first, second, third, fourth] = instants()
      expect(second! - first!).toBeLessThan(20)
      expect(third! - second!).toBeGreaterThan(900)
      expect(fourth! - third!).toBeLessThan(20)
      await value(limiter.disconnect())
    }
  ],
  ours: [
    "corresponds to `maxPerSecond` with `maxBurst`: after a burst, starts are spread evenly",
    async () => {
      const api = createMeter({ maxPerSecond: 2, maxBurst: 2 })
      expect(await value(starts((task) => api.run(task)))).toEqual([0, 0, 1000, 1500, 2000, 2500])
    }
  ]
})

differs("A task between two attempts", {
  theirs: [
    "holds its permit, and its retry ignores `minTime`",
    async () => {
      const { failing, order, task } = diary()
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      limiter.on("failed", (_, { retryCount }) => (retryCount < 1 ? 100 : undefined))
      const first = limiter.schedule(() => failing("first", 0)).catch((reason: unknown) => reason)
      const second = limiter.schedule(() => task("second", 0))
      expect(await value(first)).toBe(failure)
      await value(second)
      expect(order()).toEqual([
        "first starts",
        "first fails",
        "first starts",
        "first fails",
        "second starts",
        "second ends"
      ])
      const slow = new Bottleneck({ minTime: 1000 })
      slow.on("failed", (_, { retryCount }) => (retryCount < 1 ? 100 : undefined))
      const paced = diary()
      const third = slow.schedule(() => paced.failing("third", 10)).catch((reason: unknown) => reason)
      expect(await value(third)).toBe(failure)
      expect(paced.log).toEqual(["0: third starts", "10: third fails", "110: third starts", "120: third fails"])
    }
  ],
  ours: [
    "holds no permit, and its retry waits for admission and counts against the rate",
    async () => {
      const { failing, log, task } = diary()
      const retry = { times: 1, delay: 100 }
      const api = createMeter({ maxAtOnce: 1 })
      const first = api.run(() => failing("first", 10), { retry }).catch((reason: unknown) => reason)
      const second = api.run(() => task("second", 10))
      expect(await value(first)).toBe(failure)
      await value(second)
      expect(log).toEqual([
        "0: first starts",
        "10: first fails",
        "10: second starts",
        "20: second ends",
        "110: first starts",
        "120: first fails"
      ])
      const slow = createMeter({ maxPerSecond: 1 })
      const paced = diary()
      const third = slow.run(() => paced.failing("third", 10), { retry }).catch((reason: unknown) => reason)
      expect(await value(third)).toBe(failure)
      expect(paced.log).toEqual(["0: third starts", "10: third fails", "1000: third starts", "1010: third fails"])
    }
  ]
})

differs("A task that exceeds its time limit", {
  theirs: [
    "(`expiration`) fails with a `BottleneckError`, keeps running, and releases its permit",
    async () => {
      const { order, task } = diary()
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      const first = limiter.schedule({ expiration: 10 }, () => task("first", 50)).catch((error: unknown) => error)
      const second = limiter.schedule(() => task("second", 0))
      expect(await value(first)).toBeInstanceOf(Bottleneck.BottleneckError)
      await value(second)
      await pass(100)
      expect(order()).toEqual(["first starts", "second starts", "second ends", "first ends"])
    }
  ],
  ours: [
    "(`timeout`) fails with a `TimeoutError`, its `signal` is aborted, and it holds its permit until it has settled, unless `releaseOnTimeout` is set",
    async () => {
      const { log, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const first = api.run(() => task("deaf", 50), { timeout: 10 }).catch((error: unknown) => error)
      const second = api.run(({ signal }) => stalled({ signal }), { timeout: 10 }).catch((error: unknown) => error)
      const third = api.run(() => task("third", 0))
      expect(await value(first)).toMatchObject({ name: "TimeoutError" })
      expect(await value(second)).toMatchObject({ name: "TimeoutError" })
      await value(third)
      expect(log).toEqual(["0: deaf starts", "50: deaf ends", "60: third starts", "60: third ends"])
      const releasing = createMeter({ maxAtOnce: 1, timeout: 10, releaseOnTimeout: true })
      const stuck = releasing.run(() => task("stuck", 50)).catch((error: unknown) => error)
      await value(releasing.run(() => task("next", 5)))
      expect(log.slice(4)).toEqual(["60: stuck starts", "70: next starts", "75: next ends"])
      await value(stuck)
      await pass(50)
    }
  ]
})

differs("The weight of a task", {
  theirs: [
    "(`weight`) counts against `maxConcurrent` and the `reservoir`",
    async () => {
      const limiter = new Bottleneck({ maxConcurrent: 4 })
      expect(await value(mostAtOnce((task) => limiter.schedule({ weight: 2 }, task)))).toBe(2)
    }
  ],
  ours: [
    "`permits` count against `maxAtOnce`, and `cost` against windows, by name",
    async () => {
      const api = createMeter({ maxAtOnce: 4, windows: { points: { limit: 10, per: 1000 } } })
      expect(await value(mostAtOnce((task) => api.run(task, { permits: 2 })))).toBe(2)
      await pass(1000)
      expect(await value(mostAtOnce((task) => api.run(task, { cost: { points: 2 } })))).toBe(4)
      expect(api.snapshot().room).toEqual({ points: 0 })
    }
  ]
})

differs("Shutting down", {
  theirs: [
    "`stop()` rejects the waiting tasks and lets the running tasks finish",
    async () => {
      const { order, task } = diary()
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      const first = limiter.schedule(() => task("first", 50))
      const second = limiter.schedule(() => task("second", 50)).catch((error: unknown) => error)
      await pass(10)
      await value(limiter.stop())
      expect(await value(first)).toBe("page first")
      expect(await value(second)).toBeInstanceOf(Bottleneck.BottleneckError)
      expect(order()).toEqual(["first starts", "first ends"])
    }
  ],
  ours: [
    "`close()`, or the end of `await using`, rejects the waiting tasks and aborts the running tasks",
    async () => {
      const { log, task } = diary()
      const closed: Array<unknown> = []
      const api = createMeter({ maxAtOnce: 1 })
      for (const id of [1, 2]) {
        void api.run(({ signal }) => task(id, 50, signal)).catch((reason: unknown) => closed.push(reason))
      }
      await pass(10)
      const use = async () => {
        await using _ = api
      }
      await value(use())
      await pass(0)
      expect(closed).toEqual([
        expect.objectContaining({ name: "AbortError" }),
        expect.objectContaining({ name: "AbortError" })
      ])
      expect(log).toEqual(["0: 1 starts", "10: 1 is aborted"])
    }
  ]
})

differs("A task under several limiters", {
  theirs: [
    "(`chain`) holds a permit of one while it waits for the next",
    async () => {
      const { order, task } = diary()
      const all = new Bottleneck({ maxConcurrent: 1 })
      const some = new Bottleneck({ maxConcurrent: 1 }).chain(all)
      void all.schedule(() => task("elsewhere", 50))
      await pass(10)
      void some.schedule(() => task("one", 10))
      await pass(10)
      expect(some.counts().EXECUTING).toBe(1)
      await pass(100)
      expect(order()).toEqual(["elsewhere starts", "elsewhere ends", "one starts", "one ends"])
    }
  ],
  ours: [
    "(`meter: [one, other]`) starts when all admit it, and holds no permit while it waits",
    async () => {
      const { log, task } = diary()
      const all = createMeter({ maxAtOnce: 1 })
      const some = createMeter({ maxAtOnce: 1 })
      void all.run(() => task("elsewhere", 50))
      await pass(10)
      void runAll(["one"], (name) => task(name, 10), { meter: [some, all] })
      await pass(10)
      expect(some.snapshot()).toMatchObject({ running: 0, free: 1 })
      await pass(100)
      expect(log).toEqual(["0: elsewhere starts", "50: elsewhere ends", "50: one starts", "60: one ends"])
    }
  ]
})

differs("Cancelling one task", {
  theirs: [
    "is not possible",
    async () => {
      const options = { signal: AbortSignal.abort() } as object
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      expect(await value(limiter.schedule(options, () => getPage(1)))).toBe("page 1")
    }
  ],
  ours: [
    "is possible by `api.run(task, { signal })`",
    async () => {
      const run = api.run(() => getPage(1), { signal })
      expect(await rejection(run)).toBe("no longer wanted")
    }
  ]
})

differs("Priorities", {
  theirs: [
    "are supported: a lower `priority` starts first",
    async () => {
      const { lines, task } = diary()
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      const all = [
        limiter.schedule(() => task("first", 50)),
        limiter.schedule(() => task("usual", 10)),
        limiter.schedule({ priority: 1 }, () => task("urgent", 10))
      ]
      await value(Promise.all(all))
      const order = lines("starts").map((line) => line.replace(/^\d+: | starts/g, ""))
      expect(order).toEqual(["first", "urgent", "usual"])
    }
  ],
  ours: [
    "are supported: a higher `priority` starts first; any number, by default 0",
    async () => {
      const { lines, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const all = [
        api.run(() => task("first", 50)),
        api.run(() => task("usual", 10)),
        api.run(() => task("urgent", 10), { priority: 1 })
      ]
      await value(Promise.all(all))
      const order = lines("starts").map((line) => line.replace(/^\d+: | starts/g, ""))
      expect(order).toEqual(["first", "urgent", "usual"])
    }
  ]
})

differs("A task that is refused because too many wait", {
  theirs: [
    "rejects with a `BottleneckError`",
    async () => {
      const limiter = new Bottleneck({ maxConcurrent: 1, highWater: 1, strategy: Bottleneck.strategy.OVERFLOW })
      const outcomes = await value(Promise.allSettled(ids.map((id) => limiter.schedule(() => getPage(id)))))
      expect(outcomes.at(-1)).toEqual({ status: "rejected", reason: expect.any(Bottleneck.BottleneckError) as Error })
    }
  ],
  ours: [
    "rejects with an `OverloadedError`, which says after what time to try again, if that is known",
    async () => {
      const api = createMeter({ maxPerSecond: 1, maxWaiting: 1 })
      const outcomes = await value(Promise.allSettled(ids.map((id) => api.run(() => getPage(id)))))
      expect(outcomes.at(-1)).toMatchObject({
        reason: { name: "OverloadedError", reason: "queue-full", retryAfter: 1000 }
      })
    }
  ]
})

differs("When the system clock is set back by an hour, the next start", {
  theirs: [
    "is an hour late",
    async () => {
      const limiter = new Bottleneck({ minTime: 1000 })
      expect(await waitWhenSetBack((task) => limiter.schedule(task))).toBeGreaterThan(3_600_000)
    }
  ],
  ours: [
    "is on time: fibermeter reads a monotonic clock",
    async () => {
      const api = createMeter({ maxPerSecond: 1 })
      expect(await waitWhenSetBack((task) => api.run(task))).toBe(1000)
    }
  ]
})

differs("Observing the tasks of all limiters", {
  theirs: [
    "needs a listener at each: `received`, `queued`, `scheduled`, `executing`, `done` and others",
    async () => {
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      const heard: Array<string> = []
      for (const name of ["received", "queued", "scheduled", "executing", "done"] as const) {
        limiter.on(name as "done", () => heard.push(name))
      }
      await value(limiter.schedule(() => getPage(1)))
      expect(heard).toEqual(["received", "queued", "scheduled", "executing", "done"])
    }
  ],
  ours: [
    "needs a subscriber to diagnostics channels, whose messages have the name of the meter and the time waited",
    async () => {
      const heard: Array<unknown> = []
      subscribe("fibermeter:start", (message) => {
        const { name, waitTime } = message as StartMessage
        heard.push([name, waitTime])
      })
      const [users, orders] = ["users", "orders"].map((name) => createMeter({ name, maxAtOnce: 1 }))
      await value(Promise.all([users!.run(() => getPage(1)), orders!.run(() => getPage(1))]))
      expect(heard).toEqual([
        ["users", undefined],
        ["orders", undefined]
      ])
    }
  ]
})

const user = new AsyncLocalStorage<string>()

/** The `AsyncLocalStorage` contexts of three tasks that three users run under one limit. */
const usersSeen = (run: (task: () => Promise<string | undefined>) => Promise<string | undefined>) => {
  // Fake timers do not keep the context.
  useRealTime()
  const task = async () => {
    await setImmediate()
    return user.getStore()
  }
  return Promise.all(["Robert", "Carmen", "Lucas"].map((name) => user.run(name, () => run(task))))
}

differs("The `AsyncLocalStorage` context of a task that waited", {
  theirs: [
    "may be that of another caller",
    async () => {
      const limiter = new Bottleneck({ maxConcurrent: 1 })
      expect(await usersSeen((task) => limiter.schedule(task))).toEqual(["Robert", "Robert", "Robert"])
    }
  ],
  ours: [
    "is that of its caller",
    async () => {
      const api = createMeter({ maxAtOnce: 1 })
      expect(await usersSeen((task) => api.run(task))).toEqual(["Robert", "Carmen", "Lucas"])
    }
  ]
})
