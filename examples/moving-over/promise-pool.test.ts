/** The @supercharge/promise-pool section of the guide. */
import { expect } from "vitest"
import { PromisePool, PromisePoolError } from "@supercharge/promise-pool"
import { amap, runAll, runOnEach } from "@fibermeter/promise"
import { diary, failure, flaky, getPage, ids, pages, save, saved } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, sleep, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

call(
  "get all results, in input order",
  {
    theirs: () => PromisePool.for(ids).withConcurrency(2).useCorrespondingResults().process(getPage),
    ours: () => runAll(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: pages, theirs: ({ results }) => results }
)

call(
  "get each result as it becomes available",
  {
    theirs: () => PromisePool.for(ids).withConcurrency(2).process(getPage),
    ours: () => amap(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"], theirs: ({ results }) => results }
)

call(
  "run a task for each item, without results",
  {
    theirs: () => PromisePool.for(ids).process(async (id) => save(await getPage(id))),
    ours: () => runOnEach(ids, async (id) => save(await getPage(id)), { maxAtOnce: 10 })
  },
  { gives: ["page 2", "page 3", "page 1"], theirs: () => saved.splice(0), ours: () => saved.splice(0) }
)

call(
  "set a time limit for each task",
  {
    theirs: () => PromisePool.for(ids).withTaskTimeout(30).process(getPage),
    ours: () => runAll(ids, getPage, { maxAtOnce: 10, timeout: 30, settled: true })
  },
  {
    gives: [1],
    theirs: ({ errors }) => errors.map(({ item }) => item),
    ours: (outcomes) => outcomes.filter(({ status }) => status === "rejected").map(({ item }) => item)
  }
)

call(
  "get results and failures",
  {
    theirs: async () => {
      const { results, errors } = await PromisePool.for(ids).withConcurrency(2).process(flaky)
      return { results: results.toSorted(), failures: errors.map(({ item, raw }) => [item, raw]) }
    },
    ours: async () => {
      const outcomes = await runAll(ids, flaky, { maxAtOnce: 2, settled: true })
      const results = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []))
      const errors = outcomes.filter((outcome) => outcome.status === "rejected")
      return { results, failures: errors.map(({ item, reason }) => [item, reason]) }
    }
  },
  { gives: { results: ["page 1", "page 3"], failures: [[2, failure]] } }
)

call(
  "stop at the first failure",
  {
    theirs: async () => {
      const all = PromisePool.for(ids).handleError((error) => {
        throw error
      })
      const reason = await all.process(flaky).catch((reason) => reason)
      return reason
    },
    ours: async () => {
      const reason = await runAll(ids, flaky, { maxAtOnce: 10 }).catch((reason) => reason)
      return reason
    }
  },
  { gives: failure }
)

call(
  "stop after enough results",
  {
    theirs: async () => {
      const { results } = await PromisePool.for(ids)
        .withConcurrency(1)
        .process(async (id, index, pool) => {
          if (id === 3) return pool.stop()
          return getPage(id)
        })
      return results
    },
    ours: async () => {
      const results = []
      for await (const page of amap(ids, getPage, { maxAtOnce: 1 })) {
        results.push(page)
        if (results.length === 2) break
      }
      return results
    }
  },
  { gives: ["page 1", "page 2"] }
)

call(
  "report progress",
  {
    theirs: async () => {
      let percent = 0
      await PromisePool.for(ids)
        .onTaskFinished((id, pool) => {
          percent = pool.processedPercentage()
        })
        .process(getPage)
      return percent
    },
    ours: async () => {
      let percent = 0
      await runOnEach(ids, getPage, {
        maxAtOnce: 10,
        onProgress: ({ succeeded, failed, total = Number.NaN }) => {
          percent = (100 * (succeeded + failed)) / total
        }
      })
      return percent
    }
  },
  { gives: 100 }
)

differs("Without a limit", {
  theirs: [
    "10 tasks run at once",
    async () => {
      const { log, task } = diary()
      const many = Array.from({ length: 30 }, (_, id) => id)
      const call = PromisePool.for(many).process((id) => task(id, 10))
      await pass(5)
      expect(log).toHaveLength(10)
      await value(call)
    }
  ],
  ours: [
    "all tasks run at once",
    async () => {
      const { log, task } = diary()
      const many = Array.from({ length: 30 }, (_, id) => id)
      const call = runAll(many, (id) => task(id, 10))
      await pass(5)
      expect(log).toHaveLength(30)
      await value(call)
    }
  ]
})

differs("When a task fails", {
  theirs: [
    "the others still run, and the call resolves with `errors`",
    async () => {
      const { failing, log, task } = diary()
      const call = PromisePool.for([1, 2, 3])
        .withConcurrency(2)
        .process((id) => (id === 2 ? failing(id, 10) : task(id, 30)))
      expect((await value(call)).errors).toHaveLength(1)
      expect(log.at(-1)).toBe("40: 3 ends")
    }
  ],
  ours: [
    "the running tasks are aborted, no others start, and the call rejects; `settled: true` works as promise-pool does",
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

differs("The error of a failed task", {
  theirs: [
    "is a `PromisePoolError`, with the thrown value as `raw`",
    async () => {
      const { errors } = await value(PromisePool.for(ids).process(flaky))
      expect(errors[0]).toBeInstanceOf(PromisePoolError)
      expect(errors[0]!.raw).toBe(failure)
    }
  ],
  ours: [
    "is the very value that was thrown",
    async () => {
      expect(await rejection(runAll(ids, flaky))).toBe(failure)
    }
  ]
})

differs("Results", {
  theirs: [
    "are in the order in which tasks end, without those that failed, unless you call `useCorrespondingResults`",
    async () => {
      expect((await value(PromisePool.for(ids).process(getPage))).results).toEqual(["page 2", "page 3", "page 1"])
      expect((await value(PromisePool.for(ids).process(flaky))).results).toEqual(["page 3", "page 1"])
    }
  ],
  ours: [
    "are in input order",
    async () => {
      expect(await value(runAll(ids, getPage))).toEqual(pages)
    }
  ]
})

differs("A task that has timed out", {
  theirs: [
    "keeps running, and releases its permit",
    async () => {
      const { log, task } = diary()
      const call = PromisePool.for([1, 2])
        .withConcurrency(1)
        .withTaskTimeout(10)
        .process((id) => task(id, id === 1 ? 50 : 5))
      await value(call)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "10: 2 starts", "15: 2 ends", "50: 1 ends"])
    }
  ],
  ours: [
    "is aborted by its `signal`, and holds its permit until it has settled",
    async () => {
      const { log, note, task } = diary()
      const work = (id: number, { signal }: { signal: AbortSignal }) => {
        signal.addEventListener("abort", () => note(`${id}: ${(signal.reason as DOMException).name}`))
        return task(id, id === 1 ? 50 : 5)
      }
      await value(runAll([1, 2], work, { maxAtOnce: 1, timeout: 10, settled: true }))
      expect(log).toEqual(["0: 1 starts", "10: 1: TimeoutError", "50: 1 ends", "50: 2 starts", "55: 2 ends"])
    }
  ]
})

differs("When an error handler throws, the running tasks", {
  theirs: [
    "continue",
    async () => {
      const { failing, log, task } = diary()
      const call = PromisePool.for([1, 2, 3])
        .withConcurrency(2)
        .handleError((error) => {
          throw error
        })
        .process((id) => (id === 2 ? failing(id, 10) : task(id, 30)))
      expect(await rejection(call)).toBe(failure)
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 2 fails", "30: 1 ends"])
    }
  ],
  ours: [
    "are aborted, as after any failure",
    async () => {
      const { failing, log, task } = diary()
      const call = runOnEach([1, 2, 3], (id, { signal }) => (id === 2 ? failing(id, 10) : task(id, 30, signal)), {
        maxAtOnce: 2
      })
      expect(await rejection(call)).toBe(failure)
      expect(log.at(-1)).toBe("10: 1 is aborted")
    }
  ]
})

differs("Stopping the pool", {
  theirs: [
    "is `pool.stop()`, inside a task or an error handler; the pool waits for the running tasks",
    async () => {
      const { log, task } = diary()
      const call = PromisePool.for([1, 2, 3])
        .withConcurrency(2)
        .process(async (id, _, pool) => {
          if (id === 2) {
            await sleep(10)
            return pool.stop()
          }
          return task(id, 30)
        })
      expect((await value(call)).results).toEqual(["page 1"])
      expect(log).toEqual(["0: 1 starts", "30: 1 ends"])
    }
  ],
  ours: [
    "is aborting the `signal` of the call, or leaving the loop over `amap`; the running tasks are aborted",
    async () => {
      const { log, task } = diary()
      const controller = new AbortController()
      const call = runAll([1, 2, 3], (id, { signal }) => task(id, 30, signal), {
        maxAtOnce: 2,
        signal: controller.signal
      })
      await pass(10)
      controller.abort("enough")
      expect(await rejection(call)).toBe("enough")
      expect(log.toSorted()).toEqual(["0: 1 starts", "0: 2 starts", "10: 1 is aborted", "10: 2 is aborted"])
    }
  ]
})

differs("A rate", {
  theirs: [
    "is not supported",
    async () => {
      const { lines, task } = diary()
      await value(PromisePool.for(ids).process((id) => task(id, 0)))
      expect(lines("starts")).toEqual(["0: 1 starts", "0: 2 starts", "0: 3 starts"])
    }
  ],
  ours: [
    "is the option `maxPerSecond`, or a window",
    async () => {
      const { lines, task } = diary()
      await value(runAll(ids, (id) => task(id, 0), { maxPerSecond: 10 }))
      expect(lines("starts")).toEqual(["0: 1 starts", "100: 2 starts", "200: 3 starts"])
    }
  ]
})
