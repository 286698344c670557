/** Meters on the memory store, under virtual time: what users see of a limit that processes share. */
import { createMeter } from "@fibermeter/promise"
import type { Meter, MeterOptions } from "@fibermeter/promise"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { memoryStore } from "../src/index.ts"
import type { StoreEvent, StoreOptions } from "../src/index.ts"

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})

afterEach(() => {
  vi.useRealTimers()
})

/** Meters of several processes on one store, which log when their tasks start and end. */
const scene = (limits: MeterOptions, count: number, options: StoreOptions = {}) => {
  const events: Array<StoreEvent> = []
  const store = memoryStore({ onEvent: (event) => events.push(event), ...options })
  const log: Array<string> = []
  const starts: Array<number> = []
  const meters = Array.from({ length: count }, () => createMeter({ store, name: "api", ...limits }))
  const task = (name: string, ms: number) => async () => {
    log.push(`${name} ${Date.now()}`)
    starts.push(Date.now())
    await new Promise((resolve) => setTimeout(resolve, ms))
    return name
  }
  return { events, log, meters: meters as [Meter, ...Array<Meter>], starts, store, task }
}

it("a task starts at once when the store answers", async () => {
  const { log, meters, task } = scene({ maxAtOnce: 2 }, 1)
  const promise = meters[0].run(task("a", 5))
  await vi.advanceTimersByTimeAsync(5)
  expect(await promise).toBe("a")
  expect(log).toEqual(["a 0"])
})

describe("maxAtOnce", () => {
  it("holds over all processes, first come, first served", async () => {
    const { log, meters, task } = scene({ maxAtOnce: 2 }, 3)
    const all = Promise.all(["a", "b", "c", "d", "e", "f"].map((name, i) => meters[i % 3]!.run(task(name, 10))))
    await vi.advanceTimersByTimeAsync(60)
    expect(await all).toEqual(["a", "b", "c", "d", "e", "f"])
    expect(log).toEqual(["a 0", "b 0", "c 10", "d 10", "e 20", "f 20"])
  })
})

describe("maxPerSecond", () => {
  it("holds over all processes", async () => {
    const { meters, starts, task } = scene({ maxPerSecond: 100 }, 2)
    const all = Promise.all(Array.from({ length: 100 }, (_, i) => meters[i % 2]!.run(task(`${i}`, 1))))
    await vi.advanceTimersByTimeAsync(2000)
    await all
    expect(starts).toEqual(Array.from({ length: 100 }, (_, i) => 10 * i))
  })
})
