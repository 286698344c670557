/** The guide's section about aiometer. It is a Python library: its side is shown, and only ours is run. */
import { expect } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "@fibermeter/promise"
import { diary, failure, getPage, ids, pages, save, saved } from "./support/cast.ts"
import { call, differs } from "./support/rows.ts"
import { pass, rejection, useVirtualTime, value } from "./support/time.ts"

useVirtualTime()

call(
  "no results",
  {
    theirs: "await run_on_each(get_and_save, ids, max_at_once=2)",
    ours: () => runOnEach(ids, async (id) => save(await getPage(id)), { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"], ours: () => saved.splice(0) }
)

call(
  "all results, in the order of the input",
  {
    theirs: "await run_all([partial(get_page, id) for id in ids], max_at_once=2)",
    ours: () => runAll(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: pages }
)

call(
  "different tasks",
  {
    theirs: "await run_all([partial(get_page, 1), partial(get_page, 3)])",
    ours: () => runAll([() => getPage(1), () => getPage(3)])
  },
  { gives: ["page 1", "page 3"] }
)

call(
  "each result as soon as it is there, in a loop",
  {
    theirs: "async with amap(get_page, ids, max_at_once=2) as pages:",
    ours: () => amap(ids, getPage, { maxAtOnce: 2 })
  },
  { gives: ["page 2", "page 3", "page 1"] }
)

call(
  "the first to end, even by failing",
  {
    theirs: "await run_any([partial(get_page, id) for id in ids])",
    ours: () => runAny(ids, getPage, { until: "settled" })
  },
  { gives: "page 2" }
)

call(
  "how often",
  {
    theirs: "await run_all([partial(get_page, id) for id in ids], max_per_second=5)",
    ours: () => runAll(ids, getPage, { maxPerSecond: 5 })
  },
  { gives: pages }
)

differs("The first of several, when one fails before", {
  theirs: "`run_any` fails",
  ours: [
    '`runAny` goes on until one succeeds or all have failed; `until: "settled"` for their way',
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
  theirs: "run to their end, and are waited for",
  ours: [
    "are aborted; `grace` for waiting until they have settled",
    async () => {
      const { log, task } = diary()
      expect(await value(runAny([1, 2], (id, { signal }) => task(id, 10 * id, signal)))).toBe("page 1")
      await pass(100)
      expect(log).toEqual(["0: 1 starts", "0: 2 starts", "10: 1 ends", "10: 2 is aborted"])
    }
  ]
})

differs("Leaving the loop over `amap` by `break`", {
  theirs: "waits until all tasks have run, those that had not started included",
  ours: [
    "aborts what runs, and starts nothing more",
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
  theirs: "does not hold back the tasks: there is room for all results",
  ours: [
    "holds them back: at most `maxUnread` are started and not read, by default twice `maxAtOnce`",
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
  theirs: "there are none: each call has its own",
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

differs("A lambda in place of `partial`", {
  theirs: "is refused",
  ours: [
    "is as good as any function",
    async () => {
      expect(await value(runAll(ids.map((id) => () => getPage(id))))).toEqual(pages)
    }
  ]
})
