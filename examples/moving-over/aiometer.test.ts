/** The aiometer section of the guide. aiometer is a Python library: its calls are shown, and only ours are run. */
import { expect } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import { diary, failure, getPage, ids, pages, save, saved } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

call(
  "run a task for each item, without results",
  {
    theirs: "await run_on_each(get_and_save, ids, max_at_once=2)",
    ours: () => runOnEach(ids, async (id) => save(await getPage(id)), { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"], ours: () => saved.splice(0) }
)

call(
  "get all results, in input order",
  {
    theirs: "await run_all([partial(get_page, id) for id in ids], max_at_once=2)",
    ours: () => runAll(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: pages }
)

call(
  "run different tasks",
  {
    theirs: "await run_all([partial(get_page, 1), partial(get_page, 3)])",
    ours: () => runAll([() => getPage(1), () => getPage(3)])
  },
  { gives: ["page 1", "page 3"] }
)

call(
  "get each result as it becomes available, in a loop",
  {
    theirs: "async with amap(get_page, ids, max_at_once=2) as pages:",
    ours: () => amap(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"] }
)

call(
  "get the first outcome, even a failure",
  {
    theirs: "await run_any([partial(get_page, id) for id in ids])",
    ours: () => runAny(ids, getPage, { until: "settled" })
  },
  { gives: "page 2" }
)

call(
  "limit the rate",
  {
    theirs: "await run_all([partial(get_page, id) for id in ids], max_per_second=5)",
    ours: () => runAll(ids, getPage, { maxPerSecond: 5 })
  },
  { gives: pages }
)

differs("`runAny`, if a task fails before another succeeds", {
  theirs: "`run_any` fails",
  ours: [
    'succeeds with the first success, and fails if all tasks fail; `until: "settled"` works as `run_any` does',
    async () => {
      const { failing, task } = diary()
      const first = (id: number) => (id === 1 ? failing(id, 10) : task(id, 20))
      expect(await value(runAny([1, 2], first))).toBe("page 2")
      const settled = runAny([1, 2], first, { until: "settled" })
      expect(await rejection(settled)).toBe(failure)
    }
  ]
})

differs("The losers of a race", {
  theirs: "run to completion, and `run_any` waits for them",
  ours: [
    "are aborted; set `grace` to wait until they have settled",
    async () => {
      const { log, task } = diary()
      expect(await value(runAny([1, 2], (id, { signal }) => task(id, 10 * id, signal)))).toBe("page 1")
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 1 ends", "10: 2 is aborted"])
    }
  ]
})

differs("Leaving the loop over `amap` by `break`", {
  theirs: "waits until all tasks have run, including those that had not started",
  ours: [
    "aborts the running tasks and starts no others",
    async () => {
      const { log, task } = diary()
      const leave = async () => {
        for await (const _ of amap([1, 2, 3, 4], (id, { signal }) => task(id, 10 * id, signal), {
          maxAtOnce: 2,
          maxUnread: 2
        })) {
          break
        }
      }
      await value(leave())
      const left = log.length
      await pass(100)
      expect(log).toHaveLength(left)
      expect(log).toContain("10: 2 is aborted")
      expect(log).not.toContain("20: 4 starts")
    }
  ]
})

differs("A slow reader of `amap`", {
  theirs: "has no effect on the tasks: the buffer holds all results",
  ours: [
    "delays the tasks: at most `maxUnread` are started and not read, by default twice `maxAtOnce`",
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

differs("Limits that several calls share", {
  theirs: "do not exist: each call has its own limits",
  ours: [
    "are a meter: `createMeter(limits)`, then `{ meter: api }`",
    async () => {
      const { lines, task } = diary()
      const api = createMeter({ maxAtOnce: 1 })
      const call = (ids: ReadonlyArray<number>) => runAll(ids, (id) => task(id, 10), { meter: api })
      await value(Promise.all([call([1, 2]), call([3])]))
      const starts = lines("starts").map((line) => Number.parseInt(line, 10))
      expect(starts).toEqual([0, 10, 20])
    }
  ]
})

differs("A lambda instead of `partial`", {
  theirs: "is rejected",
  ours: [
    "works like any other function",
    async () => {
      expect(await value(runAll(ids.map((id) => () => getPage(id))))).toEqual(pages)
    }
  ]
})
