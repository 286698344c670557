/**
 * A program that counts how often each stretch of code runs while a number of tasks or waiters is run to its end, for two
 * or more numbers, and prints the counts. They include loops that no clock can see, and need no knowledge of the code.
 *
 * It is a process of its own, because test coverage uses the same counters.
 */
import { amap, createMeter, createWorkQueue, runAll, runAny, runOnEach } from "../../src/index.ts"
import type { Limits, Options } from "../../src/index.ts"
import { countWork } from "../../../fibermeter/test/support/countWork.ts"

type Scenario = (count: number) => () => Promise<unknown>

const indices = (count: number): Array<number> => Array.from({ length: count }, (_, index) => index)
const later = (): Promise<void> => Promise.resolve().then(() => {})
const never = (): Promise<never> => new Promise(() => {})
const settled = (promises: ReadonlyArray<Promise<unknown>>): Promise<unknown> => Promise.allSettled(promises)

const orders: Readonly<Record<string, (n: number, count: number) => number>> = {
  "from the front": (n) => n,
  "from the back": (n, count) => count - 1 - n,
  "from the middle": (n, count) => (Math.floor(count / 2) + n * 7919) % count
}

/** Aborts that many calls in an order. */
const aborting =
  (
    start: (signals: ReadonlyArray<AbortSignal>) => ReadonlyArray<Promise<unknown>>,
    nth: (n: number, count: number) => number
  ): Scenario =>
  (count) =>
  () => {
    const controllers = indices(count).map(() => new AbortController())
    const all = settled(start(controllers.map(({ signal }) => signal)))
    for (let n = 0; n < count; n++) controllers[nth(n, count)]!.abort(0)
    return all
  }

const limits: Readonly<Record<string, Limits>> = {
  maxAtOnce: { maxAtOnce: 3 },
  maxPerSecond: { maxPerSecond: 1e6 },
  "maxAtOnce and maxPerSecond": { maxAtOnce: 3, maxPerSecond: 1e6 },
  "a window": { windows: { requests: { limit: 100, per: 1 } } }
}

/** Calls that wait for two meters, of which one is open. */
const callsUnderTwo = (
  count: number,
  task: () => unknown,
  options: (index: number) => Options
): Array<Promise<void>> => {
  const narrow = createMeter({ maxAtOnce: 1 })
  const meter = [createMeter({ maxAtOnce: 1_000_000 }), narrow]
  return indices(count).map((index) => runOnEach([0], task, { meter, ...options(index) }))
}

/** Cancels running tasks of `amap`. */
const cancelled =
  (
    cancel: (call: {
      readonly abort: () => void
      readonly fail: () => void
      readonly leave: () => void
      readonly close: () => void
    }) => void
  ): Scenario =>
  (count) =>
  async () => {
    const controller = new AbortController()
    const meter = createMeter({})
    let fail = (_: unknown): void => {}
    const task = (): Promise<never> =>
      new Promise((_, reject) => {
        fail = reject
      })
    const results = amap(indices(count), task, { signal: controller.signal, meter })
    const next = results.next()
    await new Promise((resolve) => setImmediate(resolve))
    cancel({
      abort: () => controller.abort(),
      fail: () => fail(0),
      leave: () => void results.return(),
      close: () => void meter.close()
    })
    return settled([next])
  }

const scenarios: Record<string, Scenario> = {
  "tasks of runOnEach": (count) => () => runOnEach(indices(count), later, { maxAtOnce: 10 }),
  "tasks of runOnEach, without a limit": (count) => () => runOnEach(indices(count), later),
  "tasks of runAll": (count) => () => runAll(indices(count), later, { maxAtOnce: 10 }),
  "tasks of runAny, of which the last succeeds": (count) => () =>
    runAny(indices(count), (index) => later().then(() => (index < count - 1 ? Promise.reject(index) : index)), {
      maxAtOnce: 10
    }),
  "tasks of amap": (count) => () => Array.fromAsync(amap(indices(count), later, { maxAtOnce: 10 })),
  "tasks of amap, all results requested at once": (count) => () => {
    const results = amap(indices(count), later, { maxAtOnce: 10 })
    return settled(indices(count).map(() => results.next()))
  },
  "tasks of amap, in reverse order": (count) => () =>
    Array.fromAsync(
      amap(indices(count), (index) => (index === 0 ? new Promise((resolve) => setTimeout(resolve, 20)) : later()), {
        ordered: true,
        maxUnread: count
      })
    ),
  "running tasks that the caller aborts": cancelled(({ abort }) => abort()),
  "running tasks of which one fails": cancelled(({ fail }) => fail()),
  "running tasks whose reader leaves": cancelled(({ leave }) => leave()),
  "running tasks whose meter is closed": cancelled(({ close }) => close()),
  "tasks that add one item each to a work queue": (count) => () => {
    const queue = createWorkQueue([1], { key: (n) => n })
    return runOnEach(queue, (n) => void (n < count && queue.add(n + 1)), { maxAtOnce: 10 })
  },
  "loops that wait for the items of a work queue": (count) => () => {
    const queue = createWorkQueue([0])
    const loop = async (): Promise<void> => {
      for await (const n of queue) {
        await later()
        if (n < count) queue.add(n + 1)
      }
    }
    return settled(indices(count).map(loop))
  },
  "calls that wait for two meters": (count) => () => settled(callsUnderTwo(count, later, () => ({})))
}
for (const [order, nth] of Object.entries(orders)) {
  scenarios[`calls that wait for two meters, aborted ${order}`] = aborting(
    (signals) => callsUnderTwo(signals.length, never, (index) => ({ signal: signals[index]! })),
    nth
  )
}
for (const [name, limit] of Object.entries(limits)) {
  scenarios[`tasks of runOnEach at a meter with ${name}`] = (count) => () =>
    runOnEach(indices(count), later, { meter: createMeter(limit) })
  scenarios[`waiters at a meter with ${name}`] = (count) => () => {
    const meter = createMeter(limit)
    return settled(indices(count).map(() => meter.run(later)))
  }
  for (const [order, nth] of Object.entries(orders)) {
    scenarios[`waiters at a meter with ${name}, aborted ${order}`] = aborting((signals) => {
      const meter = createMeter(limit)
      return signals.map((signal) => meter.run(never, { signal }))
    }, nth)
  }
  for (const how of ["clear", "close"] as const) {
    scenarios[`waiters at a meter with ${name}, by ${how}`] = (count) => () => {
      const meter = createMeter(limit)
      const all = settled(indices(count).map(() => meter.run(later)))
      void meter[how]()
      return all
    }
  }
}

await countWork(scenarios, (run) => run())
