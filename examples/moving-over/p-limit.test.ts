/** The p-limit section of the guide. */
import { beforeEach, expect } from "vitest"
import pLimit, { limitFunction } from "p-limit"
import { createMeter } from "@fibermeter/promise"
import { diary, failure, getPage, ids, mostAtOnce, pages } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, sleep, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

let limit = pLimit(2)
let api = createMeter({ maxAtOnce: 2 })
beforeEach(() => {
  limit = pLimit(2)
  api = createMeter({ maxAtOnce: 2 })
})

call(
  "create a limit, `limit` or `api`",
  {
    theirs: () => pLimit(2),
    ours: () => createMeter({ maxAtOnce: 2 })
  },
  { gives: 2, theirs: (limit) => mostAtOnce(limit), ours: (api) => mostAtOnce((task) => api.run(task)) }
)

call(
  "run one task",
  {
    theirs: () => limit(() => getPage(1)),
    ours: () => api.run(() => getPage(1))
  },
  { gives: "page 1" }
)

call(
  "make a limited function",
  {
    theirs: () => limitFunction(getPage, { concurrency: 2 }),
    ours: () => createMeter({ maxAtOnce: 2 }).wrap(getPage)
  },
  { gives: pages, theirs: (get) => Promise.all(ids.map(get)), ours: (get) => Promise.all(ids.map(get)) }
)

call(
  "pass arguments to a function",
  {
    theirs: () => limit(getPage, 3),
    ours: () => api.wrap(getPage)(3)
  },
  { gives: "page 3" }
)

call(
  "run many tasks",
  {
    theirs: () => limit.map(ids, getPage),
    ours: () => api.runAll(ids, getPage)
  },
  { gives: pages }
)

call(
  "count the running and the waiting tasks",
  {
    theirs: () => [limit.activeCount, limit.pendingCount],
    ours: () => [api.snapshot().running, api.snapshot().waiting]
  },
  {
    during: {
      theirs: () => limit.map(ids, getPage),
      ours: () => Promise.all(ids.map((id) => api.run(() => getPage(id))))
    },
    gives: [2, 1]
  }
)

call(
  "change the limit while tasks wait",
  {
    theirs: () => {
      const limit = pLimit(1)
      limit.concurrency = 3
      return mostAtOnce(limit)
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
      const limit = pLimit({ concurrency: 1, rejectOnClear: true })
      const all = ids.map((id) => limit(() => getPage(id)))
      await sleep(5)
      limit.clearQueue()
      const outcomes = await Promise.allSettled(all)
      return outcomes.map(({ status }) => status)
    },
    ours: async () => {
      const api = createMeter({ maxAtOnce: 1 })
      const all = ids.map((id) => api.run(() => getPage(id)))
      await sleep(5)
      api.clear()
      const outcomes = await Promise.allSettled(all)
      return outcomes.map(({ status }) => status)
    }
  },
  { gives: ["fulfilled", "rejected", "rejected"] }
)

differs("When one of many tasks fails", {
  theirs: [
    "all others still run, including those that wait",
    async () => {
      const { failing, log, task } = diary()
      const limit = pLimit(2)
      const call = limit.map([1, 2, 3], (id) => (id === 2 ? failing(id, 10) : task(id, 30)))
      expect(await rejection(call)).toBe(failure)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "10: 3 starts", "30: 1 ends", "40: 3 ends"])
    }
  ],
  ours: [
    "`api.runAll` aborts its running tasks and starts no others; other calls under the meter continue",
    async () => {
      const { failing, log, task } = diary()
      const api = createMeter({ maxAtOnce: 3 })
      const other = api.run(({ signal }) => task("other", 30, signal))
      const call = api.runAll([1, 2, 3], (id, { signal }) => (id === 2 ? failing(id, 10) : task(id, 30, signal)))
      expect(await rejection(call)).toBe(failure)
      expect(await value(other)).toBe("page other")
      expect(log).toEqual([
        "0: other starts",
        "0: 1 starts",
        "0: 2 starts",
        "10: 2 fails",
        "10: 1 is aborted",
        "30: other ends"
      ])
    }
  ]
})

/** An iterable that counts the items pulled from it. */
const counted = (items: ReadonlyArray<number>) => {
  const seen = { taken: 0 }
  const iterable = (function* () {
    for (const item of items) {
      seen.taken += 1
      yield item
    }
  })()
  return { iterable, seen }
}

differs("An iterable of many items", {
  theirs: [
    "is read to its end at once, and all tasks wait",
    async () => {
      const { iterable, seen } = counted([1, 2, 3, 1, 2, 3])
      const call = pLimit(2).map(iterable, getPage)
      expect(seen.taken).toBe(6)
      await value(call)
    }
  ],
  ours: [
    "is read as tasks start, at most one item ahead; it may be infinite, or async",
    async () => {
      const { iterable, seen } = counted([1, 2, 3, 1, 2, 3])
      const call = createMeter({ maxAtOnce: 2 }).runAll(iterable, getPage)
      await pass(0)
      // Two tasks run.
      expect([2, 3]).toContain(seen.taken)
      await value(call)
      expect(seen.taken).toBe(6)
    }
  ]
})

differs("Tasks that wait when the queue is cleared", {
  theirs: [
    "never settle, unless `rejectOnClear` is set",
    async () => {
      const limit = pLimit(1)
      void limit(() => getPage(1))
      let settled = false
      void limit(() => getPage(2)).finally(() => (settled = true))
      limit.clearQueue()
      await pass(1000)
      expect(settled).toBe(false)
    }
  ],
  ours: [
    "reject with an `AbortError`, or with the reason that you pass to `clear`",
    async () => {
      const api = createMeter({ maxAtOnce: 1 })
      const first = api.run(() => getPage(1))
      const caught = (name: string) => api.run(() => getPage(2)).catch((reason: unknown) => [name, reason])
      const second = caught("second")
      await pass(0)
      api.clear()
      const third = caught("third")
      await pass(0)
      api.clear("closed for today")
      expect(await value(second)).toEqual(["second", expect.objectContaining({ name: "AbortError" })])
      expect(await value(third)).toEqual(["third", "closed for today"])
      expect(await value(first)).toBe("page 1")
    }
  ]
})

differs("Cancelling", {
  theirs: [
    "is up to you: there is no signal",
    async () => {
      const { log, task } = diary()
      await value(limit((...args: ReadonlyArray<unknown>) => task(args.length, 10)))
      expect(log).toEqual(["0: 0 starts", "10: 0 ends"])
    }
  ],
  ours: [
    "is built in: `api.run(task, { signal })` drops a waiting task and aborts a running one; `await api.close()` does so for all",
    async () => {
      const { log, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const controller = new AbortController()
      const reasonOf = (run: Promise<unknown>) => run.catch((reason: unknown) => reason)
      const first = reasonOf(api.run(({ signal }) => task(1, 50, signal)))
      const second = reasonOf(api.run(({ signal }) => task(2, 50, signal), { signal: controller.signal }))
      const third = reasonOf(api.run(({ signal }) => task(3, 50, signal)))
      await pass(10)
      controller.abort("not this one")
      expect(await value(second)).toBe("not this one")
      await value(api.close("closed"))
      expect(await value(first)).toBe("closed")
      expect(await value(third)).toBe("closed")
      expect(log).toEqual(["0: 1 starts", "10: 1 is aborted"])
    }
  ]
})

differs("A task that waits for another task under the same limit", {
  theirs: [
    "waits forever if no permit is free",
    async () => {
      const { log, note } = diary()
      const limit = pLimit(1)
      void limit(async () => {
        note("outer")
        await limit(async () => note("inner"))
      })
      await pass(100_000)
      expect(log).toEqual(["0: outer"])
    }
  ],
  ours: [
    "does so as well: use a separate limit for the inner tasks",
    async () => {
      const { log, note } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const inner = createMeter({ maxAtOnce: 1 })
      void api.run(async () => {
        note("outer")
        await inner.run(async () => note("inner"))
        await api.run(async () => note("never"))
      })
      await pass(100_000)
      expect(log).toEqual(["0: outer", "0: inner"])
    }
  ]
})

differs("The first task, if a permit is free", {
  theirs: [
    "starts after the call has returned",
    async () => {
      let started = false
      const all = pLimit(2)(async () => (started = true))
      expect(started).toBe(false)
      await value(all)
    }
  ],
  ours: [
    "starts within the call",
    async () => {
      let started = false
      const all = createMeter({ maxAtOnce: 2 }).run(async () => (started = true))
      expect(started).toBe(true)
      await value(all)
    }
  ]
})
