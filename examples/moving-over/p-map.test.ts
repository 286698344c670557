/** The p-map section of the guide. */
import { expect } from "vitest"
import pMap, { pMapIterable, pMapKeyed, pMapSettled, pMapSkip, pMapStop } from "p-map"
import { amap, runAll, runOnEach } from "@fibermeter/promise"
import { diary, failure, flaky, getPage, ids, pages, signal } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, sleep, useRealTime, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

call(
  "get all results, in input order",
  {
    theirs: () => pMap(ids, getPage, { concurrency: 2 }),
    ours: () => runAll(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: pages }
)

call(
  "run without a limit",
  {
    theirs: () => pMap(ids, getPage),
    ours: () => runAll(ids, getPage)
  },
  { gives: pages }
)

call(
  "use the index",
  {
    theirs: () => pMap(ids, (id, index) => [index, id]),
    ours: () => runAll(ids, (id, { index }) => [index, id])
  },
  {
    gives: [
      [0, 1],
      [1, 2],
      [2, 3]
    ]
  }
)

call(
  "cancel from outside",
  {
    theirs: () => pMap(ids, getPage, { signal }),
    ours: () => runAll(ids, getPage, { signal })
  },
  { rejects: "no longer wanted" }
)

call(
  "get each result in input order",
  {
    theirs: () => pMapIterable(ids, getPage, { concurrency: 2 }),
    ours: () => amap(ids, getPage, { maxAtOnce: 2, ordered: true })
  },
  { gives: pages }
)

call(
  "get each result as it becomes available",
  {
    theirs: () => pMapIterable(ids, getPage, { concurrency: 2, preserveOrder: false }),
    ours: () => amap(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"] }
)

call(
  "limit how far tasks run ahead of the reader",
  {
    theirs: () => pMapIterable(ids, getPage, { concurrency: 2, backpressure: 8 }),
    ours: () => amap(ids, getPage, { maxAtOnce: 2, maxUnread: 8, ordered: true })
  },
  { gives: pages }
)

call(
  "leave some results out",
  {
    theirs: () => pMap(ids, (id) => (id === 2 ? pMapSkip : getPage(id))),
    ours: async () => (await runAll(ids, async (id) => (id === 2 ? [] : [await getPage(id)]))).flat()
  },
  { gives: ["page 1", "page 3"] }
)

call(
  "run a record of tasks",
  {
    theirs: () => pMapKeyed({ first: 1, last: 3 }, getPage, { concurrency: 2 }),
    ours: () => runAll({ first: () => getPage(1), last: () => getPage(3) }, { maxAtOnce: 2 })
  },
  { gives: { first: "page 1", last: "page 3" } }
)

call(
  "get all failures together",
  {
    theirs: () => pMap(ids, flaky, { stopOnError: false }),
    ours: () => runAll(ids, flaky, { stopOnError: false })
  },
  {
    rejects: [failure],
    reason: (error: AggregateError) => error.errors
  }
)

call(
  "get the outcome of each task",
  {
    theirs: () => pMapSettled(ids, flaky, { concurrency: 2 }),
    ours: () => runAll(ids, flaky, { maxAtOnce: 2, settled: true })
  },
  {
    gives: [
      { status: "fulfilled", value: "page 1" },
      { status: "rejected", reason: failure },
      { status: "fulfilled", value: "page 3" }
    ],
    ours: (outcomes) => outcomes.map(({ index: _index, item: _item, ...outcome }) => outcome)
  }
)

call(
  "stop at a certain result",
  {
    theirs: async () => {
      const pages = await pMap(ids, (id) => (id === 3 ? pMapStop : getPage(id)), { concurrency: 2 })
      return pages
    },
    ours: async () => {
      const pages = []
      for await (const page of amap(ids, (id) => (id === 3 ? "stop" : getPage(id)), { maxAtOnce: 2, ordered: true })) {
        if (page === "stop") break
        pages.push(page)
      }
      return pages
    }
  },
  { gives: ["page 1", "page 2"] }
)

differs("When a task fails, the running tasks", {
  theirs: [
    "continue, unless you abort a signal of your own",
    async () => {
      const { failing, log, task } = diary()
      const call = pMap([1, 2, 3], (id) => (id === 2 ? failing(id, 10) : task(id, 30)), { concurrency: 2 })
      expect(await rejection(call)).toBe(failure)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "30: 1 ends"])
    }
  ],
  ours: [
    "are aborted, each by its own `signal`",
    async () => {
      const { failing, log, task } = diary()
      const call = runAll([1, 2, 3], (id, { signal }) => (id === 2 ? failing(id, 10) : task(id, 30, signal)), {
        maxAtOnce: 2
      })
      expect(await rejection(call)).toBe(failure)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "10: 1 is aborted"])
    }
  ]
})

differs("When you leave a `for await` loop early, the running tasks", {
  theirs: [
    "continue",
    async () => {
      const { log, task } = diary()
      const leave = async () => {
        for await (const _ of pMapIterable([1, 2, 3], (id) => task(id, 10 * id), { concurrency: 2 })) break
      }
      await value(leave())
      log.push("left")
      await pass(100)
      expect(log.slice(log.indexOf("left"))).toContain("20: 2 ends")
    }
  ],
  ours: [
    "are aborted",
    async () => {
      const { log, task } = diary()
      const leave = async () => {
        for await (const _ of amap([1, 2, 3], (id, { signal }) => task(id, 10 * id, signal), { maxAtOnce: 2 })) break
      }
      await value(leave())
      expect(log).toContain("10: 2 is aborted")
      log.push("left")
      await pass(100)
      expect(log.at(-1)).toBe("left")
    }
  ]
})

differs("When a task fails whose result is not the next", {
  theirs: [
    "`pMapIterable` yields all results before it, then throws",
    async () => {
      const { failing, log, note, task } = diary()
      const read = async () => {
        for await (const page of pMapIterable([1, 2], (id) => (id === 2 ? failing(2, 10) : task(1, 30)))) note(page)
      }
      expect(await rejection(read())).toBe(failure)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "30: 1 ends", "30: page 1"])
    }
  ],
  ours: [
    "`amap` with `ordered` does not wait for results that are missing: it yields those before the first gap, then throws",
    async () => {
      const { failing, log, note, task } = diary()
      const work = (id: number, { signal }: { signal: AbortSignal }) =>
        id === 3 ? failing(3, 20) : task(id, id === 1 ? 10 : 30, signal)
      const read = async () => {
        for await (const page of amap([1, 2, 3], work, { ordered: true })) note(page)
      }
      expect(await rejection(read())).toBe(failure)
      expect(log).toEqual([
        "0: 1 starts",
        "0: 2 starts",
        "0: 3 starts",
        "10: 1 ends",
        "10: page 1",
        "20: 3 fails",
        "20: 2 is aborted"
      ])
    }
  ]
})

differs("Tasks that are started and not yet read", {
  theirs: [
    "at most `concurrency`, or `backpressure` if set",
    async () => {
      const { lines, task } = diary()
      const results = pMapIterable([1, 2, 3, 4, 5, 6], (id) => task(id, 10), { concurrency: 2 })[Symbol.asyncIterator]()
      await value(results.next())
      await pass(100)
      // One result was read.
      expect(lines("ends")).toHaveLength(3)
    }
  ],
  ours: [
    "at most twice `maxAtOnce`, or `maxUnread` if set",
    async () => {
      const { lines, task } = diary()
      const results = amap([1, 2, 3, 4, 5, 6, 7], (id) => task(id, 10), { maxAtOnce: 2 })
      await value(results.next())
      await pass(100)
      expect(lines("ends")).toHaveLength(5)
      await value(results.return())
    }
  ]
})

differs("The iterator functions return", {
  theirs: [
    "an iterable: each loop over it runs all tasks again",
    async () => {
      const { lines, task } = diary()
      const results = pMapIterable([1], (id) => task(id, 0))
      const twice = async () => [await Array.fromAsync(results), await Array.fromAsync(results)]
      expect(await value(twice())).toEqual([["page 1"], ["page 1"]])
      expect(lines("starts")).toHaveLength(2)
    }
  ],
  ours: [
    "an iterator, which you read once; `await using` disposes of it",
    async () => {
      const { lines, task } = diary()
      const results = amap([1, 2], (id, { signal }) => task(id, 10, signal))
      const use = async () => {
        await using mine = results
        return (await mine.next()).value
      }
      expect(await value(use())).toBe("page 1")
      expect(await value(Array.fromAsync(results))).toEqual([])
      expect(lines("starts")).toEqual(["0: 1 starts", "0: 2 starts"])
    }
  ]
})

differs("Items that are promises", {
  theirs: [
    "are awaited",
    async () => {
      expect(await value(pMap([Promise.resolve(1)], (id) => typeof id))).toEqual(["number"])
    }
  ],
  ours: [
    "are passed to the task as they are",
    async () => {
      expect(await value(runAll([Promise.resolve(1)], (id) => typeof id))).toEqual(["object"])
    }
  ]
})

/** An async iterable that records the most calls of `next` pending at once. */
const overlapping = () => {
  let pending = 0
  const seen = { most: 0 }
  const items = {
    [Symbol.asyncIterator]: () => {
      let id = 0
      return {
        next: async () => {
          seen.most = Math.max(seen.most, ++pending)
          await sleep(10)
          pending -= 1
          return ++id > 5 ? { done: true as const, value: undefined } : { done: false as const, value: id }
        }
      }
    }
  }
  return { items, seen }
}

differs("An async source is read", {
  theirs: [
    "several items at a time, if `concurrency` is above 1",
    async () => {
      const { items, seen } = overlapping()
      await value(pMap(items, () => sleep(5), { concurrency: 3 }))
      expect(seen.most).toBeGreaterThan(1)
    }
  ],
  ours: [
    "one item at a time",
    async () => {
      const { items, seen } = overlapping()
      await value(runAll(items, () => sleep(5), { maxAtOnce: 3 }))
      expect(seen.most).toBe(1)
    }
  ]
})

differs("An option that does not exist", {
  theirs: [
    "is ignored",
    async () => {
      const options = { concurency: 1 } as object
      expect(await value(pMap(ids, getPage, options))).toEqual(pages)
    }
  ],
  ours: [
    "is rejected, with a suggestion",
    async () => {
      const options = { concurrency: 1 } as object
      const error = await rejection(runAll(ids, getPage, options))
      expect(error).toBeInstanceOf(TypeError)
      expect(String(error)).toContain("maxAtOnce")
    }
  ]
})

differs("A limit of 0", {
  theirs: [
    "is a `TypeError`",
    async () => {
      await expect(value(pMap(ids, getPage, { concurrency: 0 }))).rejects.toThrow(TypeError)
    }
  ],
  ours: [
    "is a `RangeError`",
    async () => {
      await expect(value(runAll(ids, getPage, { maxAtOnce: 0 }))).rejects.toThrow(RangeError)
    }
  ]
})

differs("The option `signal` for a `for await` loop", {
  theirs: [
    "does not exist in `pMapIterable`",
    async () => {
      const options = { signal } as object
      expect(await value(Array.fromAsync(pMapIterable(ids, getPage, options)))).toEqual(pages)
    }
  ],
  ours: [
    "exists in `amap`, as in all functions",
    async () => {
      const read = Array.fromAsync(amap(ids, getPage, { signal }))
      expect(await rejection(read)).toBe("no longer wanted")
    }
  ]
})

function* endless() {
  for (let id = 0; ; id++) yield id
}

differs("While all tasks resolve at once, timers and I/O", {
  theirs: [
    "wait until all tasks have ended, including a timer that aborts the call",
    async () => {
      useRealTime()
      const controller = new AbortController()
      setTimeout(() => controller.abort("late"), 0)
      const many = Array.from({ length: 50_000 }, (_, id) => id)
      expect(await pMap(many, (id) => id, { concurrency: 10, signal: controller.signal })).toHaveLength(50_000)
    }
  ],
  ours: [
    "run every few milliseconds",
    async () => {
      useRealTime()
      const controller = new AbortController()
      setTimeout(() => controller.abort("in time"), 0)
      const call = runOnEach(endless(), (id) => id, { maxAtOnce: 10, signal: controller.signal })
      expect(await call.catch((reason: unknown) => reason)).toBe("in time")
    }
  ]
})
