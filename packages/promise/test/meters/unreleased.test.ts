/** Permits that are garbage-collected before they are released. */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { afterEach, expect, it, vi } from "vitest"
import { createMeter } from "../../src/index.ts"
import type { Meter, Permit } from "../../src/index.ts"

setFlagsFromString("--expose-gc")
const gc = runInNewContext("gc") as () => void

/** Until what it waits for is true, or garbage has been collected so often that it never will be. */
const collectUntil = async (isDone: () => boolean, times = 50): Promise<void> => {
  for (let n = 0; n < times && !isDone(); n++) {
    gc()
    await new Promise((resolve) => void setImmediate(resolve))
  }
}

/** Acquires permits that nothing refers to afterwards. */
const lose = async (meter: Meter, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await meter.acquire({ signal: new AbortController().signal })
}

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
  vi.resetModules()
})

it("are released with a warning, and the next ones are admitted", async () => {
  const warn = vi.spyOn(process, "emitWarning").mockReturnValue()
  const meter = createMeter({ maxAtOnce: 2 })
  await lose(meter, 2)
  const acquired = meter.acquire()
  await collectUntil(() => warn.mock.calls.length === 2)
  expect(warn.mock.calls).toEqual(
    Array.from({ length: 2 }, () => [expect.stringContaining("was garbage-collected"), "UnreleasedPermitWarning"])
  )
  const permit = await acquired
  expect(meter.snapshot()).toMatchObject({ running: 1, waiting: 0, free: 1 })
  permit.release()
  await meter.idle()
})

it("are reported by the console where the process has no warnings", async () => {
  const emitWarning = process.emitWarning.bind(process)
  const warn = vi.spyOn(console, "warn").mockReturnValue()
  const meter = createMeter({ maxAtOnce: 1 })
  try {
    Object.assign(process, { emitWarning: undefined })
    await lose(meter, 1)
    await collectUntil(() => warn.mock.calls.length > 0)
  } finally {
    Object.assign(process, { emitWarning })
  }
  expect(warn).toHaveBeenCalledWith(expect.stringContaining("Call its release()"))
  expect(meter.snapshot().running).toBe(0)
})

it("a permit whose release is kept is not collected, nor is one that is released reported", async () => {
  const warn = vi.spyOn(process, "emitWarning").mockReturnValue()
  const meter = createMeter({ maxAtOnce: 3 })
  const kept: Array<Permit["release"]> = []
  kept.push((await meter.acquire()).release)
  ;(await meter.acquire()).release()
  // Whatever is going to be collected has been when this one is.
  await lose(meter, 1)
  await collectUntil(() => warn.mock.calls.length > 0)
  await collectUntil(() => warn.mock.calls.length > 1, 3)
  expect(warn).toHaveBeenCalledTimes(1)
  expect(meter.snapshot().running).toBe(1)
  kept[0]!()
  expect(meter.snapshot().running).toBe(0)
})

it("on a host without finalization, permits can be acquired and released", async () => {
  vi.stubGlobal("FinalizationRegistry", undefined)
  vi.resetModules()
  const fresh = await import("../../src/index.ts")
  const meter = fresh.createMeter({ maxAtOnce: 1 })
  const permit = await meter.acquire()
  expect(meter.snapshot().running).toBe(1)
  permit.release()
  expect(meter.snapshot().running).toBe(0)
})
