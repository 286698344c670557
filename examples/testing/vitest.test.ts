import { runAll } from "@fibermeter/promise"
import { afterEach, beforeEach, expect, test, vi } from "vitest"

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
})
afterEach(() => {
  vi.useRealTimers()
})

test("ten tasks a second start 100 ms apart", async () => {
  const starts = runAll([1, 2, 3, 4], () => Date.now(), { maxPerSecond: 10 })
  await vi.advanceTimersByTimeAsync(300)
  expect(await starts).toEqual([0, 100, 200, 300])
})
