/** `meter.acquire` on the real clock: when a start counts, and when the event loop has its turns. */
import { describe, expect, it } from "vitest"
import { createKeyedMeter, createMeter } from "../../src/index.ts"

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

describe("the start counts from when the caller has the permit", () => {
  const block = (ms: number): number => {
    for (const until = performance.now() + ms; performance.now() < until;);
    return performance.now()
  }

  // The time that passes may be longer than a window, which then no longer reaches the time of the admission.
  it.each([1, 20, 39, 41, 100])("%i ms after its admission", async (ms) => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 40 } } })
    const acquired = meter.acquire()
    const before = block(ms)
    ;(await acquired).release()
    ;(await meter.acquire()).release()
    expect(performance.now() - before).toBeGreaterThanOrEqual(39.999)
  })

  it("under a rate", async () => {
    const meter = createMeter({ maxPerSecond: 1 })
    const acquired = meter.acquire()
    const before = block(1_050)
    ;(await acquired).release()
    ;(await meter.acquire()).release()
    expect(performance.now() - before).toBeGreaterThanOrEqual(999.999)
  })

  it("also for an acquisition before that", async () => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 40 } } })
    const acquired = meter.acquire()
    block(60)
    const next = meter.acquire()
    const before = block(60)
    ;(await acquired).release()
    ;(await next).release()
    expect(performance.now() - before).toBeGreaterThanOrEqual(39.999)
  })

  it("of several, each its own", async () => {
    const meter = createMeter({ windows: { any: { limit: 2, per: 40 } } })
    const acquired = [meter.acquire(), meter.acquire()]
    const before = block(60)
    // The second caller has not got its permit at that time.
    ;(await acquired[0]!).release()
    ;(await meter.acquire()).release()
    expect(performance.now() - before).toBeGreaterThanOrEqual(39.999)
  })

  it("also after a wait", async () => {
    const meter = createMeter({ windows: { any: { limit: 1, per: 40 } } })
    ;(await meter.acquire()).release()
    const waited = meter.acquire()
    // Runs between the admission and what follows.
    void waited.then(() => block(60))
    const before = await waited.then(async (permit) => {
      permit.release()
      const time = performance.now()
      ;(await meter.acquire()).release()
      return time
    })
    expect(performance.now() - before).toBeGreaterThanOrEqual(39.999)
  })

  it("also where the meter of a key may be dropped", async () => {
    const meters = createKeyedMeter<string>({ windows: { any: { limit: 1, per: 40 } } })
    const acquired = meters.for("a").acquire()
    const before = block(60)
    ;(await acquired).release()
    // Another key: what is idle is dropped.
    await meters.for("b").run(() => {})
    ;(await meters.for("a").acquire()).release()
    expect(performance.now() - before).toBeGreaterThanOrEqual(39.999)
  })
})
