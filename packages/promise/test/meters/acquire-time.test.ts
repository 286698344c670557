/** `meter.acquire` on the real clock: when a start counts, and when the event loop has its turns. */
import { expect, it } from "vitest"
import { createMeter } from "../../src/index.ts"

it("a loop of acquisitions that never wait lets the event loop have its turns", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  let isOver = false
  setTimeout(() => (isOver = true), 1)
  let acquired = 0
  while (!isOver && acquired < 3_000_000) {
    const permit = await meter.acquire()
    permit.release()
    acquired++
  }
  expect(isOver).toBe(true)
})

it("the start counts from when the caller has the permit", async () => {
  const meter = createMeter({ windows: { any: { limit: 1, per: 40 } } })
  const block = (ms: number): number => {
    for (const until = performance.now() + ms; performance.now() < until;);
    return performance.now()
  }
  const acquired = meter.acquire()
  // The permit is taken, but the caller has it only after this.
  const before = block(20)
  ;(await acquired).release()
  ;(await meter.acquire()).release()
  expect(performance.now() - before).toBeGreaterThanOrEqual(39.999)
})
