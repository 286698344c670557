/** A Jest test as people write them, in CommonJS: run by check.ts against the tarballs. */
const { createMeter, runAll } = require("@fibermeter/promise")

test("a call and a meter", async () => {
  const meter = createMeter({ maxAtOnce: 1 })
  expect(await runAll([1, 2, 3], async (n) => n * 2, { meter })).toEqual([2, 4, 6])
  expect(await meter.run(({ signal }) => signal.aborted)).toBe(false)
  await expect(runAll([1], () => {}, { maxAtOnce: 0 })).rejects.toThrow(RangeError)
})

/** Jest's own waits for promises between two timers. */
const pass = (millis) => jest.advanceTimersByTimeAsync(millis)

describe.each(["after the package was loaded", "before the package is loaded"])("Jest's fake timers, %s", (order) => {
  let facade

  beforeEach(() => {
    jest.resetModules()
    if (order.startsWith("after")) facade = require("@fibermeter/promise")
    jest.useFakeTimers({ now: 0 })
    if (order.startsWith("before")) facade = require("@fibermeter/promise")
  })
  afterEach(() => jest.useRealTimers())

  test("a rate", async () => {
    const calls = facade.runAll([1, 2, 3, 4], () => Date.now(), { maxPerSecond: 10 })
    await pass(300)
    expect(await calls).toEqual([0, 100, 200, 300])
  })

  test("a window", async () => {
    const calls = facade.runAll([1, 2, 3], () => Date.now(), { windows: { requests: { limit: 2, per: 50 } } })
    await pass(50)
    expect(await calls).toEqual([0, 0, 50])
  })

  test("a pause", async () => {
    const meter = facade.createMeter({})
    meter.pause(40)
    const call = meter.run(() => Date.now())
    await pass(40)
    expect(await call).toBe(40)
  })

  test("a timeout", async () => {
    const call = facade.runAll([1], () => new Promise(() => {}), { timeout: 30 })
    const ended = call.catch((error) => [error.name, Date.now()])
    await pass(30)
    expect(await ended).toEqual(["TimeoutError", 30])
  })

  test("a retry", async () => {
    const starts = []
    const task = () => {
      if (starts.push(Date.now()) < 3) throw new Error("again")
    }
    const call = facade.runAll([1], task, { retry: { delay: 20 } })
    await pass(40)
    await call
    expect(starts).toEqual([0, 20, 40])
  })

  test("concurrency alone needs no timer", async () => {
    expect(await facade.runAll([1, 2, 3], async (n) => n, { maxAtOnce: 2 })).toEqual([1, 2, 3])
    const many = Array.from({ length: 20_000 }, (_, i) => i)
    expect(await facade.runAll(many, async (n) => n)).toEqual(many)
  })

  test("removed while calls wait: a new call is on real time, and has the queue of its meter go on", async () => {
    const meter = facade.createMeter({ maxPerSecond: 1000 })
    const waiting = Promise.all([1, 2, 3].map((n) => meter.run(() => n)))
    jest.useRealTimers()
    expect(await facade.runAll([1, 2, 3], async (n) => n)).toEqual([1, 2, 3])
    expect(await meter.run(() => 4)).toBe(4)
    expect(await waiting).toEqual([1, 2, 3])
  })
})
