/** What the playground records is what the libraries do, the same in every run. */
import { describe, expect, it } from "vitest"
import { brokenLimits } from "../playground/brokenLimits.ts"
import { defaults } from "../playground/settings.ts"
import type { Settings } from "../playground/settings.ts"
import { runLive, simulate } from "../playground/simulate.ts"
import { ways } from "../playground/wayNames.ts"
import type { Way } from "../playground/wayNames.ts"
import { ofPromisesAlone, variants } from "./support/variants.ts"

const run = (way: Way, settings: Partial<Settings> = {}) => simulate(way, { ...defaults, ...settings })

const startsOf = async (way: Way, settings: Partial<Settings>): Promise<ReadonlyArray<number>> =>
  (await run(way, settings)).attempts.map(({ from }) => from)

const all = { ...variants, ...ofPromisesAlone }

describe("a run of fibermeter", () => {
  it.each(Object.entries(all))("keeps all limits: %s", async (_, settings) => {
    const recording = await run("fibermeter", settings)
    expect(recording.attempts.length).toBeGreaterThan(0)
    expect(brokenLimits(recording, { ...defaults, ...settings })).toEqual([])
  })

  it.each(Object.entries(all))("is the same in every run: %s", async (_, settings) => {
    expect(await run("fibermeter", settings)).toEqual(await run("fibermeter", settings))
  })

  it("leaves no task running after its end", async () => {
    const { attempts, calledUntil, end } = await run("fibermeter", { verb: "amap", leaveAfter: 5 })
    expect(attempts.filter(({ outcome }) => outcome === "cancelled").length).toBeGreaterThan(0)
    expect(end).toBe(calledUntil)
  })

  it("waits as long as a server asks", async () => {
    const settings = { tasks: 3, maxPerSecond: 0, serverPerSecond: 1, retries: 5, retryDelay: 0 }
    const { attempts } = await run("fibermeter", settings)
    // Two are refused after 20 ms, and ask again after the second that the server asks for.
    const firstThree = attempts.map(({ from, outcome, task }) => [from, task, outcome]).slice(0, 5)
    expect(firstThree).toEqual([
      [0, 0, "done"],
      [0, 1, "refused"],
      [0, 2, "refused"],
      [1020, 1, "done"],
      [1020, 2, "refused"]
    ])
  })

  it("serves lanes in turns, and urgent calls first", async () => {
    const settings = { verb: "run", tasks: 60, maxAtOnce: 1, maxPerSecond: 0, durations: "fixed", mean: 10 } as const
    const plain = await startsAndTasks({ ...settings })
    expect(plain).toEqual(Array.from({ length: 60 }, (_, task) => task))
    const urgent = await startsAndTasks({ ...settings, urgent: 20 })
    // The first call finds a free permit.
    expect(urgent.slice(0, 4)).toEqual([0, 19, 39, 59])
    expect(await startsAndTasks({ ...settings, lanes: 2 })).not.toEqual(plain)
  })

  const startsAndTasks = async (settings: Partial<Settings>) =>
    (await run("fibermeter", settings)).attempts.map(({ task }) => task)
})

describe("other libraries on the same time", () => {
  it.each(ways)("get the same tasks: %s", async (way) => {
    const { attempts } = await run(way, { durations: "heavy tail", mean: 100, failures: 10, onFailure: "continue" })
    const fibermeter = await run("fibermeter", {
      durations: "heavy tail",
      mean: 100,
      failures: 10,
      onFailure: "continue"
    })
    const taskOf = ({ from, outcome, task, to }: (typeof attempts)[number]) => ({ task, took: to - from, outcome })
    const sorted = (all: typeof attempts) => all.map(taskOf).sort((a, b) => a.task - b.task)
    expect(sorted(attempts)).toEqual(sorted(fibermeter.attempts))
  })

  it("start where their own rules say", async () => {
    const settings = { tasks: 6, maxAtOnce: 0, maxPerSecond: 2, durations: "fixed", mean: 100 } as const
    expect(await startsOf("Promise.all", settings)).toEqual([0, 0, 0, 0, 0, 0])
    expect(await startsOf("p-map", { ...settings, maxAtOnce: 3 })).toEqual([0, 0, 0, 100, 100, 100])
    expect(await startsOf("p-queue", settings)).toEqual([0, 0, 1000, 1000, 2000, 2000])
    expect(await startsOf("p-throttle", settings)).toEqual([0, 0, 1000, 1000, 2000, 2000])
    expect(await startsOf("bottleneck", settings)).toEqual([0, 500, 1000, 1500, 2000, 2500])
    expect(await startsOf("fibermeter", settings)).toEqual([0, 500, 1000, 1500, 2000, 2500])
  })

  it("break what they have no limit for", async () => {
    const kinds = async (way: Way) =>
      Array.from(
        new Set(
          brokenLimits(await run(way, { tasks: 60, maxAtOnce: 4 }), { ...defaults, maxAtOnce: 4 }).map(
            ({ kind }) => kind
          )
        )
      )
    expect(await kinds("Promise.all")).toEqual(["at once", "rate"])
    expect(await kinds("p-map")).toEqual([])
    expect(await kinds("p-throttle")).toEqual(["at once"])
    expect(await kinds("bottleneck")).toEqual([])
  })

  it("keep running what nothing cancels", async () => {
    const { attempts, calledUntil, end } = await run("p-queue", { failures: 20 })
    expect(calledUntil).toBeLessThan(end)
    expect(new Set(attempts.map(({ task }) => task)).size).toBe(defaults.tasks)
  })
})

it("runs 2,000 tasks, evenly spaced", async () => {
  const settings = { tasks: 2000, maxAtOnce: 50, maxPerSecond: 100, durations: "fixed", mean: 100 } as const
  expect(await startsOf("fibermeter", settings)).toEqual(Array.from({ length: 2000 }, (_, task) => 10 * task))
})

it("virtual time leaves no trace", async () => {
  const { setTimeout: timer, Date: date } = globalThis
  await run("bottleneck")
  expect([globalThis.setTimeout, globalThis.Date]).toEqual([timer, date])
  expect(Object.hasOwn(performance, "now")).toBe(false)
})

it("in real time, the recording grows as time passes", async () => {
  const live = runLive("fibermeter", { ...defaults, tasks: 3, maxPerSecond: 0, durations: "fixed", mean: 10 })
  expect(live.recording.attempts.map(({ outcome }) => outcome)).toEqual(["running", "running", "running"])
  const { attempts, end } = await live.ended
  expect(attempts.map(({ outcome }) => outcome)).toEqual(["done", "done", "done"])
  expect(end).toBe(Math.max(...attempts.map(({ to }) => to), live.recording.calledUntil))
})
