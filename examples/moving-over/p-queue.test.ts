/** The p-queue section of the guide. */
import { subscribe } from "node:diagnostics_channel"
import { beforeEach, expect } from "vitest"
import PQueue from "p-queue"
import { createMeter, createWorkQueue, runOnEach } from "@fibermeter/promise"
import {
  aroundTheEnd,
  diary,
  failure,
  getPage,
  ids,
  mostAtOnce,
  save,
  saved,
  signal,
  stalled,
  starts,
  waitWhenSetBack
} from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, sleep, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

let queue = new PQueue({ concurrency: 2 })
let api = createMeter({ maxAtOnce: 2 })
beforeEach(() => {
  queue = new PQueue({ concurrency: 2 })
  api = createMeter({ maxAtOnce: 2 })
})

call(
  "create a limit, `queue` or `api`",
  {
    theirs: () => new PQueue({ concurrency: 2 }),
    ours: () => createMeter({ maxAtOnce: 2 })
  },
  {
    gives: 2,
    theirs: (queue) => mostAtOnce((task) => queue.add(task)),
    ours: (api) => mostAtOnce((task) => api.run(task))
  }
)

call(
  "limit the starts in any time window",
  {
    theirs: () => new PQueue({ intervalCap: 2, interval: 1000, strict: true }),
    ours: () => createMeter({ windows: { tasks: { limit: 2, per: 1000 } } })
  },
  {
    gives: [0, 0, 1000, 1000, 2000, 2000],
    theirs: (queue) => starts((task) => queue.add(task)),
    ours: (api) => starts((task) => api.run(task))
  }
)

call(
  "run one task",
  {
    theirs: () => queue.add(() => getPage(1)),
    ours: () => api.run(() => getPage(1))
  },
  { gives: "page 1" }
)

call(
  "run several tasks",
  {
    theirs: () => queue.addAll([() => getPage(1), () => getPage(2)]),
    ours: () => api.runAll([() => getPage(1), () => getPage(2)])
  },
  { gives: ["page 1", "page 2"] }
)

call(
  "cancel a task",
  {
    theirs: () => queue.add(({ signal }) => stalled({ signal }), { signal }),
    ours: () => api.run(({ signal }) => stalled({ signal }), { signal })
  },
  { rejects: "no longer wanted" }
)

call(
  "set a time limit for all tasks",
  {
    theirs: () => new PQueue({ concurrency: 2, timeout: 50 }),
    ours: () => createMeter({ maxAtOnce: 2, timeout: 50 })
  },
  {
    gives: "TimeoutError",
    theirs: (queue) => queue.add(stalled).catch((error: DOMException) => error.name),
    ours: (api) => api.run(stalled).catch((error: DOMException) => error.name)
  }
)

call(
  "let a task start before those that wait",
  {
    theirs: () => queue.add(() => getPage(1), { priority: 1 }),
    ours: () => api.run(() => getPage(1), { priority: 1 })
  },
  { gives: "page 1" }
)

call(
  "set a time limit for a task",
  {
    theirs: () => queue.add(stalled, { timeout: 50 }),
    ours: () => api.run(stalled, { timeout: 50 })
  },
  { rejects: "TimeoutError", reason: (error: DOMException) => error.name }
)

call(
  "count the waiting and the running tasks",
  {
    theirs: () => [queue.size, queue.pending],
    ours: () => [api.snapshot().waiting, api.snapshot().running]
  },
  {
    during: {
      theirs: () => Promise.all(ids.map((id) => queue.add(() => getPage(id)))),
      ours: () => Promise.all(ids.map((id) => api.run(() => getPage(id))))
    },
    gives: [1, 2]
  }
)

call(
  "wait until all tasks have ended",
  {
    theirs: async () => {
      for (const id of ids) void queue.add(async () => save(await getPage(id)))
      await queue.onIdle()
      return saved.splice(0)
    },
    ours: async () => {
      for (const id of ids) void api.run(async () => save(await getPage(id)))
      await api.idle()
      return saved.splice(0)
    }
  },
  { gives: ["page 2", "page 3", "page 1"] }
)

call(
  "pause",
  {
    theirs: async () => {
      const queue = new PQueue({ concurrency: 2, autoStart: false })
      const page = queue.add(() => getPage(1))
      queue.start()
      await page
      queue.pause()
      return page
    },
    ours: async () => {
      const api = createMeter({ maxAtOnce: 2 })
      api.pause()
      const page = api.run(() => getPage(1))
      api.resume()
      await page
      api.pause()
      return page
    }
  },
  { gives: "page 1" }
)

call(
  "change the limit while tasks wait",
  {
    theirs: () => {
      const queue = new PQueue({ concurrency: 1 })
      queue.concurrency = 3
      return mostAtOnce((task) => queue.add(task))
    },
    ours: () => {
      const api = createMeter({ maxAtOnce: 1 })
      api.resize({ maxAtOnce: 3 })
      return mostAtOnce((task) => api.run(task))
    }
  },
  { gives: 3 }
)

call(
  "drop the waiting tasks",
  {
    theirs: async () => {
      const queue = new PQueue({ concurrency: 1 })
      const all = ids.map((id) => queue.add(() => getPage(id)))
      await sleep(5)
      queue.clear()
      const outcomes = await Promise.allSettled(all)
      return outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.name : outcome.value))
    },
    ours: async () => {
      const api = createMeter({ maxAtOnce: 1 })
      const all = ids.map((id) => api.run(() => getPage(id)))
      await sleep(5)
      api.clear()
      const outcomes = await Promise.allSettled(all)
      return outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.name : outcome.value))
    }
  },
  { gives: ["page 1", "AbortError", "AbortError"] }
)

call(
  "add tasks only when there is room",
  {
    theirs: async () => {
      const queue = new PQueue({ concurrency: 2 })
      for (const id of ids) {
        await queue.onSizeLessThan(2)
        void queue.add(async () => save(await getPage(id)))
      }
      await queue.onIdle()
      return saved.splice(0)
    },
    ours: async () => {
      // Pulls an item when a task can start, from any iterable or async iterable.
      await runOnEach(ids, async (id) => save(await getPage(id)), { maxAtOnce: 2 })
      return saved.splice(0)
    }
  },
  { gives: ["page 2", "page 3", "page 1"] }
)

call(
  "run tasks that add tasks",
  {
    theirs: async () => {
      const visit = async (id: number) => {
        save(await getPage(id))
        if (id < 3) void queue.add(() => visit(id + 1))
      }
      void queue.add(() => visit(1))
      await queue.onIdle()
      return saved.splice(0)
    },
    ours: async () => {
      const pages = createWorkQueue([1])
      const visit = async (id: number) => {
        save(await getPage(id))
        if (id < 3) pages.add(id + 1)
      }
      await runOnEach(pages, visit, { maxAtOnce: 2 })
      return saved.splice(0)
    }
  },
  { gives: ["page 1", "page 2", "page 3"] }
)

differs("A task that has timed out and ignores its signal", {
  theirs: [
    "releases its permit at once, although it keeps running",
    async () => {
      const { log, task } = diary()
      const queue = new PQueue({ concurrency: 1 })
      const first = queue.add(() => task(1, 50), { timeout: 10 }).catch((error: DOMException) => error.name)
      const second = queue.add(() => task(2, 10))
      expect(await value(first)).toBe("TimeoutError")
      await value(second)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "10: 2 starts", "20: 2 ends", "50: 1 ends"])
    }
  ],
  ours: [
    "holds its permit until it has settled, unless `releaseOnTimeout` is set",
    async () => {
      const { log, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const first = api.run(() => task(1, 50), { timeout: 10 }).catch((error: DOMException) => error.name)
      void first.then((name) => log.push(name))
      const second = api.run(() => task(2, 10))
      expect(await value(first)).toBe("TimeoutError")
      await value(second)
      expect(log).toEqual(["0: 1 starts", "TimeoutError", "50: 1 ends", "50: 2 starts", "60: 2 ends"])
      const releasing = createMeter({ maxAtOnce: 1, timeout: 10, releaseOnTimeout: true })
      const stuck = releasing.run(() => task(3, 50)).catch(() => {})
      await value(releasing.run(() => task(4, 5)))
      expect(log.slice(5)).toEqual(["60: 3 starts", "70: 4 starts", "75: 4 ends"])
      await value(stuck)
      await pass(50)
    }
  ]
})

differs("A running task whose `signal` is aborted", {
  theirs: [
    "releases its permit at once, whether or not it stops",
    async () => {
      const { log, task } = diary()
      const queue = new PQueue({ concurrency: 1 })
      const controller = new AbortController()
      const first = queue.add(() => task(1, 50), { signal: controller.signal }).catch((reason: unknown) => reason)
      const second = queue.add(() => task(2, 10))
      await pass(10)
      controller.abort("enough")
      expect(await value(first)).toBe("enough")
      await value(second)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "10: 2 starts", "20: 2 ends", "50: 1 ends"])
    }
  ],
  ours: [
    "holds its permit until it has settled",
    async () => {
      const { log, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const controller = new AbortController()
      const first = api.run(() => task(1, 50), { signal: controller.signal }).catch((reason: unknown) => reason)
      const second = api.run(() => task(2, 10))
      await pass(10)
      controller.abort("enough")
      expect(await value(first)).toBe("enough")
      await value(second)
      expect(log).toEqual(["0: 1 starts", "50: 1 ends", "50: 2 starts", "60: 2 ends"])
    }
  ]
})

differs("The task's `signal`", {
  theirs: [
    "exists if you pass a `signal` or a `timeout`",
    async () => {
      expect(await value(queue.add(({ signal }) => signal))).toBeUndefined()
    }
  ],
  ours: [
    "always exists",
    async () => {
      expect(await value(api.run(({ signal }) => signal))).toBeInstanceOf(AbortSignal)
    }
  ]
})

differs("When one of several tasks fails", {
  theirs: [
    "`addAll` rejects, and all others still run",
    async () => {
      const { failing, log, task } = diary()
      const queue = new PQueue({ concurrency: 2 })
      const call = queue.addAll([() => task(1, 30), () => failing(2, 10), () => task(3, 30)])
      expect(await rejection(call)).toBe(failure)
      await value(queue.onIdle())
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "10: 3 starts", "30: 1 ends", "40: 3 ends"])
    }
  ],
  ours: [
    "`runAll` rejects, aborts the running tasks and starts no others; with `settled: true`, all run",
    async () => {
      const { failing, log, task } = diary()
      const api = createMeter({ maxAtOnce: 2 })
      const call = api.runAll([({ signal }) => task(1, 30, signal), () => failing(2, 10), () => task(3, 30)])
      expect(await rejection(call)).toBe(failure)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "10: 1 is aborted"])
      const all = api.runAll([() => task(1, 30), () => failing(2, 10), () => task(3, 30)], { settled: true })
      expect((await value(all)).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"])
    }
  ]
})

differs("`intervalCap: 2, interval: 1000` without `strict`, and a window of 2 per 1000 ms", {
  theirs: [
    "can start 3 tasks within 1000 ms, around the end of an interval",
    async () => {
      const queue = new PQueue({ intervalCap: 2, interval: 1000 })
      expect(await aroundTheEnd((task) => queue.add(task))).toEqual([0, 999, 1000, 1000, 2000, 2000])
    }
  ],
  ours: [
    "never starts more than 2 within any 1000 ms",
    async () => {
      const api = createMeter({ windows: { tasks: { limit: 2, per: 1000 } } })
      expect(await aroundTheEnd((task) => api.run(task))).toEqual([0, 999, 1000, 1999, 2000, 2999])
    }
  ]
})

differs("The starts of a rate", {
  theirs: [
    "come together at the beginning of each interval",
    async () => {
      const queue = new PQueue({ intervalCap: 4, interval: 1000 })
      expect(await value(starts((task) => queue.add(task)))).toEqual([0, 0, 0, 0, 1000, 1000])
    }
  ],
  ours: [
    "come together with a window, and are spread evenly with `maxPerSecond`",
    async () => {
      const window = createMeter({ windows: { tasks: { limit: 4, per: 1000 } } })
      expect(await value(starts((task) => window.run(task)))).toEqual([0, 0, 0, 0, 1000, 1000])
      const rate = createMeter({ maxPerSecond: 4 })
      expect(await value(starts((task) => rate.run(task)))).toEqual([0, 250, 500, 750, 1000, 1250])
    }
  ]
})

differs("When the system clock is set back by an hour, the next start", {
  theirs: [
    "may be an hour late",
    async () => {
      const queue = new PQueue({ intervalCap: 1, interval: 1000, strict: true })
      expect(await waitWhenSetBack((task) => queue.add(task))).toBeGreaterThan(3_500_000)
    }
  ],
  ours: [
    "is on time: fibermeter reads a monotonic clock",
    async () => {
      const api = createMeter({ windows: { tasks: { limit: 1, per: 1000 } } })
      expect(await waitWhenSetBack((task) => api.run(task))).toBe(1000)
    }
  ]
})

differs("Priorities", {
  theirs: [
    "are supported: a higher `priority` starts first",
    async () => {
      const { lines, task } = diary()
      const queue = new PQueue({ concurrency: 1 })
      void queue.add(() => task("first", 10))
      void queue.add(() => task("low", 10))
      void queue.add(() => task("high", 10), { priority: 1 })
      await value(queue.onIdle())
      expect(lines("starts")).toEqual(["0: first starts", "10: high starts", "20: low starts"])
    }
  ],
  ours: [
    "the same, but a waiter that 32 later arrivals have overtaken is next",
    async () => {
      const { lines, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const urgent = Array.from({ length: 40 }, (_, i) => () => api.run(() => task(`high ${i}`, 10), { priority: 1 }))
      await value(
        Promise.all([api.run(() => task("first", 10)), api.run(() => task("low", 10)), ...urgent.map((run) => run())])
      )
      expect(lines("starts").slice(0, 2)).toEqual(["0: first starts", "10: high 0 starts"])
      expect(lines("starts")[33]).toBe("330: low starts")
    }
  ]
})

differs("Observing the tasks", {
  theirs: [
    "uses events: `add`, `next`, `completed`, `error`, `idle` and others",
    async () => {
      const queue = new PQueue({ concurrency: 1 })
      const heard: Array<string> = []
      for (const name of ["add", "active", "completed", "error", "next", "empty", "idle"] as const) {
        queue.addEventListener(name, () => heard.push(name))
      }
      await value(queue.add(() => getPage(1)))
      await pass(0)
      expect(heard).toEqual(["add", "active", "completed", "empty", "idle", "next"])
    }
  ],
  ours: [
    "uses promises, `snapshot()`, the `onProgress` of a call, and messages on diagnostics channels",
    async () => {
      const heard: Array<string> = []
      for (const name of ["enqueue", "start", "end"]) subscribe(`fibermeter:${name}`, () => heard.push(name))
      const api = createMeter({ maxAtOnce: 1 })
      await value(Promise.all([api.run(() => getPage(1)), api.run(() => getPage(2))]))
      expect(heard).toEqual(["start", "enqueue", "end", "start", "end"])
      const told: Array<number> = []
      await value(runOnEach([1, 2, 3], getPage, { onProgress: ({ succeeded }) => void told.push(succeeded) }))
      expect(told.at(-1)).toBe(3)
    }
  ]
})
