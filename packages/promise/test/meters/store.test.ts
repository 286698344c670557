/** The option `store`: what a meter asks of the limits of another package, by the names that both know. */
import { expect, it, vi } from "vitest"
import { createMeter } from "../../src/index.ts"
import type { MeterStore } from "../../src/index.ts"

/** A store by hand, which admits one task at a time, and whose log has what it was asked. */
const makeStore = () => {
  const log: Array<unknown> = []
  let meter: any
  let free = 0
  const noting =
    (name: string) =>
    (...given: ReadonlyArray<unknown>) =>
      void log.push([name, ...given])
  const limit = {
    isPaused: false,
    attach: (given: unknown) => {
      meter = given
    },
    opensIn: () => (free > 0 ? 0 : Infinity),
    take: ({ permits }: { readonly permits: number }) => {
      free--
      log.push(["take", permits])
      return "a grant"
    },
    started: noting("started"),
    correct: noting("correct"),
    ended: noting("ended"),
    added: noting("added"),
    rest: noting("rest"),
    pause: noting("pause"),
    resize: noting("resize"),
    close: async () => void log.push(["close"])
  }
  const store: MeterStore = {
    version: 1,
    limit: (name, limits) => {
      log.push(["limit", name, limits])
      return limit
    }
  }
  const grant = (): void => {
    free++
    meter.wake()
  }
  return { grant, limit, log, store, told: () => meter }
}

it("a meter asks a store by the names of the interface, and tells it what happens", async () => {
  const { grant, limit, log, store, told } = makeStore()
  const windows = { tokens: { limit: 9, per: 1000 } }
  const meter = createMeter({ store, name: "api", maxAtOnce: 4, windows })
  const run = meter.run(({ correct }) => correct({ tokens: 1 }), { permits: 2, cost: { tokens: 3 } })
  const [wish] = told().wishes()
  expect([wish.cost, wish.permits, wish.wanted]).toEqual([{ tokens: 3 }, 2, 1])
  grant()
  await run
  meter.pause(5)
  meter.resume()
  meter.resize({ maxAtOnce: 3 })
  limit.isPaused = true
  expect(meter.snapshot()).toMatchObject({ paused: true, nextStart: Infinity, room: {} })
  limit.isPaused = false
  const limits = { maxAtOnce: 4, maxPerSecond: Infinity, maxBurst: 1, windows }
  told().resized({ ...limits, maxAtOnce: 2 })
  expect(meter.snapshot()).toMatchObject({ paused: false, free: 2, nextStart: 0 })
  const drained = meter.drain()
  await drained
  await meter.close()
  expect(log).toEqual([
    ["limit", "api", limits],
    ["added"],
    ["take", 2],
    ["correct", "a grant", { tokens: 1 }],
    ["ended", 2],
    ["started", "a grant"],
    ["rest"],
    ["pause", 5_000_000],
    ["pause", 0],
    ["resize", { ...limits, maxAtOnce: 3 }],
    ["close"],
    ["close"]
  ])
})

it("a store can have timers, refuse and readmit waiters, and cancel the tasks that have lost what they hold", async () => {
  vi.useFakeTimers({ now: 0 })
  const { grant, store, told } = makeStore()
  const meter = createMeter({ store, name: "api", maxAtOnce: 1 })
  let rung = -1
  const before = told().now()
  told().after(3_000_000, () => (rung = Date.now()))
  told().after(2_000_000, () => expect.fail("it was cancelled"))()
  await vi.advanceTimersByTimeAsync(5)
  expect([rung, told().now() - before]).toEqual([3, 5_000_000])
  const error = new Error("the store is down")
  const refused = meter.run(() => 1)
  told().fail(error)
  await expect(refused).rejects.toBe(error)
  told().recover()
  const lost = meter.run(() => new Promise(() => {}))
  grant()
  told().interrupt("the lease is over")
  await expect(lost).rejects.toBe("the lease is over")
  vi.useRealTimers()
})

it.each([
  ["the earlier one starts first", [1, 2]],
  ["the later one starts first", [2, 1]]
])("a waiter takes beside what is kept for earlier ones, and for no others: %s", async (_, order) => {
  vi.useFakeTimers({ now: 0 })
  const kept: Array<readonly [what: string, cost: number, kept: ReadonlyArray<number>]> = []
  const made = ["a", "b", "c"].map((name) => {
    const { grant, limit, store } = makeStore()
    const { opensIn, take } = limit
    const noting =
      <A extends ReadonlyArray<any>, B>(what: string, f: (...args: A) => B) =>
      (...args: A): B => {
        const [wish, others = []] = args
        if (name === "a") kept.push([what, wish.cost.w, others.map(({ cost }: any) => cost.w)])
        return f(...args)
      }
    Object.assign(limit, { opensIn: noting("opens", opensIn), take: noting("takes", take) })
    return { grant, meter: createMeter({ store, name, windows: { w: { limit: 9, per: 1 } } }) }
  })
  const [a, b, c] = made.map(({ meter }) => meter)
  const log: Array<string> = []
  const run = (name: string, cost: number, other: typeof a) =>
    a!.run(() => void log.push(name), { cost: { w: cost }, meter: other! })
  const all = [run("earlier", 1, b), run("later", 2, c)]
  // Both have room at the first meter, and wait for the others.
  made[0]!.grant()
  made[0]!.grant()
  const before = kept.length
  for (const index of order) made[index]!.grant()
  await Promise.all(all)
  expect(log).toEqual(order[0] === 1 ? ["earlier", "later"] : ["later", "earlier"])
  const taken = kept.slice(before).filter(([what]) => what === "takes")
  expect(taken).toEqual(
    order[0] === 1
      ? [
          ["takes", 1, []],
          ["takes", 2, []]
        ]
      : [
          ["takes", 2, [1]],
          ["takes", 1, []]
        ]
  )
  expect([a, b, c].map((meter) => meter!.snapshot().waiting)).toEqual([0, 0, 0])
  vi.useRealTimers()
})
