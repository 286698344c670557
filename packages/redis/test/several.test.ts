/** Tasks that need several meters on stores at once, under virtual time: all of them start in the end. */
import { createMeter, runOnEach } from "@fibermeter/promise"
import type { Meter, MeterOptions, TaskContext } from "@fibermeter/promise"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { memoryStore } from "../src/index.ts"
import type { StoreClock } from "../src/protocol/storeClock.ts"
import { Session } from "../src/session/Session.ts"
import { mostAtOnce, mostIn, type Use } from "./support/counting.ts"
import { type Random, random } from "./support/random.ts"
import { scene } from "./support/scene.ts"

/** Starts before their slots, by milliseconds. */
let early: Array<number> = []

beforeEach(() => {
  vi.useFakeTimers({ now: 0 })
  early = []
  // oxlint-disable-next-line typescript/unbound-method -- called with `this` below
  const { take } = Session.prototype
  vi.spyOn(Session.prototype, "take").mockImplementation(function (this: Session, wish, kept) {
    const taken = take.call(this, wish, kept)
    const { clock, now } = this as unknown as { readonly clock: StoreClock; readonly now: number }
    if (taken.held !== undefined && clock.least(now) < taken.slot) early.push((taken.slot - clock.least(now)) / 1_000)
    return taken
  })
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
  expect(early).toEqual([])
})

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Limits that are always in use, how long each task runs, and how many of both meters can start in 100 seconds. */
const floods: Record<string, readonly [limits: MeterOptions, millis: number, possible: number]> = {
  "one permit, long tasks": [{ maxAtOnce: 1 }, 1_000, 200],
  "two permits, long tasks": [{ maxAtOnce: 2 }, 400, 1_000],
  "one start a second": [{ maxPerSecond: 1 }, 0, 200],
  "twenty starts a second, with bursts": [{ maxPerSecond: 20, maxBurst: 5 }, 0, 4_000],
  "a window": [{ windows: { calls: { limit: 10, per: 2_000 } } }, 0, 1_000],
  "permits and a rate": [{ maxAtOnce: 2, maxPerSecond: 5 }, 300, 1_000]
}

describe("tasks of two meters start although as many tasks as can wait at each of them all the time", () => {
  const cases = Object.keys(floods).flatMap((name) =>
    ["the same process", "another process"].flatMap((where) => [0, 0.5].map((phase) => ({ name, phase, where })))
  )

  it.each(cases)("$name, in $where, $phase apart", async ({ name, phase, where }) => {
    const [limits, millis, possible] = floods[name]!
    const store = memoryStore()
    const create = (name: string): Meter => createMeter({ store, name, ...limits })
    const own = [create("a"), create("b")] as const
    const flooded = where === "the same process" ? own : ([create("a"), create("b")] as const)
    const { int } = random(1)
    let isOver = false
    let others = 0
    const client = async (meter: Meter): Promise<void> => {
      while (!isOver) {
        others++
        await meter.run(() => (millis === 0 ? undefined : sleep(int(millis / 2, millis * 1.5))))
      }
    }
    const clients = Array.from({ length: 8 }, () => client(flooded[0]))
    await pass((phase * 1_000) / (limits.maxPerSecond ?? 1))
    clients.push(...Array.from({ length: 8 }, () => client(flooded[1])))
    await pass(1_000)
    const before = others
    let started = 0
    const all = Array.from({ length: 3 }, () => own[0].run(() => void started++, { meter: own[1] }))
    // A turn at one meter takes at most 16 s, and (2 + n) turns may pass before the first of them starts.
    await pass(100_000)
    expect(started).toBe(3)
    // What is kept for them holds the others up for a part of that time.
    expect(others - before).toBeGreaterThan(0.9 * possible)
    isOver = true
    await pass(100_000)
    await Promise.all([...all, ...clients])
    expect(vi.getTimerCount()).toBe(0)
  })
})

type Scene = ReturnType<typeof scene>

/** Calls `flush` of these every millisecond or two, so that answers take random times. */
const answer = (scenes: ReadonlyArray<Pick<Scene, "trouble">>, { chance }: Random) =>
  setInterval(() => {
    for (const { trouble } of scenes) {
      if (chance(0.5)) trouble.flush()
      trouble.keepsAnswers = true
    }
  }, 1)

it.each([
  ["one permit", { maxAtOnce: 1 }, 20, 1_500],
  ["a permit and a slow rate", { maxAtOnce: 1, maxPerSecond: 10 }, 20, 3_500],
  ["short windows", { windows: { calls: { limit: 2, per: 100 } } }, 0, 2_000]
])("processes that need the same two meters do not keep what others need: %s", async (_, limits, millis, most) => {
  for (let seed = 1; seed <= 3; seed++) {
    const source = random(seed)
    const scenes = ["a", "b"].map((name) => scene({ name, ...limits }, 0))
    // Neither the order in which a process creates them nor that of a call is the same everywhere.
    const processes = Array.from({ length: 4 }, (_, index) =>
      index < 2
        ? scenes.map(({ create }) => create())
        : scenes
            .toReversed()
            .map(({ create }) => create())
            .toReversed()
    )
    const answering = answer(scenes, source)
    const all = Array.from({ length: 24 }, async (_, index) => {
      await sleep(source.int(0, 100))
      const meters = processes[index % 4]!
      const [first, second] = index % 8 < 4 ? meters : meters.toReversed()
      await first!.run(() => sleep(millis), { meter: second! })
    })
    let ended = 0
    for (const each of all) void each.then(() => ended++)
    await pass(most)
    expect(ended, `seed ${seed}`).toBe(24)
    await Promise.all(all)
    clearInterval(answering)
    for (const { trouble } of scenes) trouble.flush()
    await Promise.all(processes.flat().map((meter) => meter.close()))
    await pass(1_000)
    expect(vi.getTimerCount(), `seed ${seed}`).toBe(0)
  }
})

it("calls under two rates reach the lower one", async () => {
  const source = random(1)
  const scenes = [200, 100].map((maxPerSecond) => scene({ name: `${maxPerSecond}`, maxPerSecond }, 2))
  const answering = answer(scenes, source)
  const items = Array.from({ length: 100 }, (_, index) => index)
  const calls = [0, 1].map((process) =>
    runOnEach(items, () => {}, { meter: scenes.map(({ meters }) => meters[process]!) })
  )
  let ended = 0
  for (const call of calls) void call.then(() => ended++)
  // 200 starts at 100 a second, and some answers.
  await pass(2_100)
  expect(ended).toBe(2)
  await Promise.all(calls)
  clearInterval(answering)
  for (const { trouble } of scenes) trouble.flush()
})

it("a grant that is kept is asked for anew as soon as it is too late to be used", async () => {
  const [a, b] = ["a", "b"].map((name) => scene({ name, maxAtOnce: 1 }, 2)) as [Scene, Scene]
  const others = [a.meters[1]!.run(a.task("first", 4_000)), b.meters[1]!.run(b.task("first", 6_000))]
  await pass(1)
  const both = a.meters[0].run(a.task("both"), { meter: b.meters[0] })
  // The first meter opens at 4 s. It keeps its grant for 2 s, half as long as that has taken.
  await pass(4_000)
  others.push(b.meters[1]!.run(b.task("last")))
  const before = a.trouble.messages.length
  await pass(1_760)
  // Every 249 ms, each of which declares the same demand again.
  const messages = a.trouble.messages.slice(before)
  expect(messages).toHaveLength(7)
  for (const { demand, ended } of messages)
    expect({ demand, ended }).toMatchObject({ demand: [{ count: 1 }], ended: 1 })
  await pass(1_000)
  await Promise.all([both, ...others])
  // Nothing of that is late.
  expect(a.events).toEqual([])
  expect([a.log, b.log]).toEqual([
    ["first 0", "both 6000"],
    ["first 0", "last 6000"]
  ])
})

it("a waiter does not take the slot that is kept for another one, nor one before its time", async () => {
  for (let hold = 1_000; hold < 1_800; hold += 10) {
    const store = memoryStore()
    const a = createMeter({ store, name: "a", maxPerSecond: 20, windows: { calls: { limit: 2, per: 1_000 } } })
    const [b, c] = ["b", "c"].map((name) => createMeter({ store, name, maxAtOnce: 1 })) as [Meter, Meter]
    const starts: Array<number> = []
    const task = (): void => void starts.push(Date.now())
    const all = [a.run(task), a.run(task), b.run(() => sleep(hold)), c.run(() => sleep(hold + 200))]
    setTimeout(() => a.pause(1), hold - 10)
    await pass(10)
    all.push(a.run(task, { meter: b }))
    await pass(1)
    all.push(a.run(task, { meter: c }))
    await pass(5_000)
    await Promise.all(all)
    expect(starts).toHaveLength(4)
  }
})

it("what is kept is given up when a meter is resized", async () => {
  const a = scene({ name: "a", maxAtOnce: 3 })
  const others = ["b", "c", "d"].map((name) => scene({ name, maxAtOnce: 1 }, 2))
  const held = others.map(({ meters, task }) => meters[1]!.run(task("held", 200)))
  await pass(10)
  const all = others.map(({ meters }, index) => a.meters[0].run(a.task(`${index}`, 100), { meter: meters[0] }))
  await pass(170)
  a.meters[0].resize({ maxAtOnce: 1 })
  await pass(2_000)
  await Promise.all([...held, ...all])
  const starts = a.log.map((each) => Number(each.split(" ")[1]))
  expect(starts).toHaveLength(3)
  for (const [index, at] of starts.entries()) if (index > 0) expect(at - starts[index - 1]!).toBeGreaterThanOrEqual(100)
})

const window = { limit: 60, per: 500 }
const windows = { tokens: window }

/** Far longer than any of these programs may take, in milliseconds. */
const longest = 20_000

/** How long it may take until a task starts while none runs: each window has to pass, and some rounds may fail. */
const patience = 4 * window.per

interface Limits {
  readonly maxAtOnce?: number
  readonly maxPerSecond?: number
  readonly maxBurst?: number
}

interface Start {
  readonly at: number
  /** As corrected. */
  readonly cost: number
}

/** What has started under the limits of one meter, in all processes that share it. */
class Shared {
  readonly uses: Array<Use> = []
  readonly starts: Array<Start> = []
  private readonly limits: Limits

  constructor(limits: Limits) {
    this.limits = limits
  }

  get exceeded(): ReadonlyArray<string> {
    const { maxAtOnce = Infinity, maxBurst = 1, maxPerSecond } = this.limits
    const inUse = mostAtOnce(this.uses)
    const tokens = mostIn(this.starts, window.per, ({ cost }) => cost)
    // What is promised of a rate on a store: its slots are at equal distances, but tasks may start a little later.
    const second = Math.max(maxPerSecond ?? 0, maxBurst)
    const paced = maxPerSecond === undefined ? 0 : mostIn(this.starts, (second * 1_000) / maxPerSecond, () => 1)
    return [
      ...(inUse > maxAtOnce ? [`${inUse} of ${maxAtOnce} permits in use`] : []),
      ...(tokens > window.limit ? [`${tokens} of ${window.limit} tokens in a window`] : []),
      ...(paced > second ? [`${paced} starts, where ${second} are allowed`] : [])
    ]
  }
}

/** In addition to the window that all meters have. */
const someLimits = ({ chance, int }: Random): Limits => ({
  ...(chance(0.8) ? { maxAtOnce: int(2, 4) } : {}),
  ...(chance(0.3) ? { maxPerSecond: int(5, 40), maxBurst: int(1, 3) } : {})
})

interface Processes {
  /** Of each process: those that it shares with the other, and one of its own. */
  readonly meters: readonly [ReadonlyArray<Meter>, ReadonlyArray<Meter>]
  /** Those that are shared, and then the one of each process. */
  readonly shared: ReadonlyArray<Shared>
  readonly close: () => Promise<void>
}

const setUp = (source: Random): Processes => {
  const { int } = source
  // Each has a store of its own, whose answers take some time.
  const scenes = Array.from({ length: int(2, 3) }, (_, index) => {
    const limits = someLimits(source)
    return { limits, ...scene({ ...limits, windows, name: `${index}` }, 2) }
  })
  const answering = answer(scenes, source)
  const own = [someLimits(source), someLimits(source)] as const
  const of = (process: 0 | 1) => [
    ...scenes.map(({ meters }) => meters[process]!),
    createMeter({ ...own[process], windows })
  ]
  const meters = [of(0), of(1)] as const
  return {
    meters,
    shared: [...scenes.map(({ limits }) => new Shared(limits)), ...own.map((limits) => new Shared(limits))],
    close: async () => {
      clearInterval(answering)
      for (const { trouble } of scenes) trouble.flush()
      await Promise.all(meters.flat().map((meter) => meter.close()))
    }
  }
}

/** Plays a random program, and resolves to what went wrong. */
const play = async (source: Random): Promise<ReadonlyArray<unknown>> => {
  const { chance, int, pick } = source
  const { meters, shared, close } = setUp(source)
  const local = meters[0].length - 1
  let running = 0
  let last = Date.now()
  let quiet = 0
  /** Notes that something happens. */
  const happens = (by: number): void => {
    const now = Date.now()
    if (running === 0) quiet = Math.max(quiet, now - last)
    running += by
    last = now
  }
  // Nothing comes later that could release tasks that keep others from starting.
  const isAtOnce = chance(0.5)
  const call = async (process: 0 | 1): Promise<void> => {
    await sleep(isAtOnce || chance(0.5) ? int(0, 5) : int(0, 300))
    happens(0)
    const order = meters[process].map((_, index) => ({ index, by: source.next() })).toSorted((a, b) => a.by - b.by)
    const chosen = order.slice(0, chance(0.2) ? 1 : int(2, order.length))
    const [first, ...others] = chosen.map(({ index }) => meters[process][index]!)
    const taken = chosen.map(({ index }) => shared[index === local ? index + process : index]!)
    const permits = chance(0.3) ? 2 : 1
    const cost = chance(0.2) ? int(15, window.limit) : int(0, 5)
    const less = chance(0.3) ? int(0, cost) : cost
    const [least, most] = chance(0.5) ? [0, 5] : [0, 100]
    const task = async ({ correct }: Pick<TaskContext, "correct">): Promise<void> => {
      happens(1)
      const from = Date.now()
      const start = { at: from, cost: less }
      for (const { starts } of taken) starts.push(start)
      await sleep(int(least, most))
      happens(-1)
      if (less < cost) correct({ tokens: less })
      for (const { uses } of taken) uses.push({ from, to: Date.now(), weight: permits })
    }
    const amounts = { permits, cost: { tokens: cost } }
    if (!isAtOnce && chance(0.3)) {
      const items = Array.from({ length: int(1, 6) }, (_, index) => index)
      await runOnEach(items, (_, context) => task(context), {
        meter: [first!, ...others],
        permits,
        cost: () => amounts.cost
      })
      return
    }
    const aborter = new AbortController()
    const aborted = first!.run(task, { ...amounts, meter: others, signal: aborter.signal })
    if (!isAtOnce && chance(0.2)) setTimeout(() => aborter.abort("given up"), int(0, 100))
    await aborted.catch((error: unknown) => {
      if (error !== "given up") throw error
    })
  }
  if (!isAtOnce && chance(0.3)) setTimeout(() => pick(meters.flat()).pause(int(1, 50)), int(0, 100))
  const calls = Array.from({ length: isAtOnce ? int(2, 4) : int(2, 12) }, () => call(int(0, 1) as 0 | 1))
  const settled = await Promise.allSettled(calls)
  await close()
  const errors = settled.flatMap((result) => (result.status === "rejected" ? [result.reason] : []))
  return [
    ...errors,
    ...(quiet > patience ? [`no start for ${quiet} ms`] : []),
    ...shared.flatMap((each) => each.exceeded)
  ]
}

it("in random programs, every task of several meters starts, and no limit is exceeded", async () => {
  const first = Number(process.env["SEED"] ?? 1)
  for (let seed = first; seed < first + Number(process.env["SEEDS"] ?? 150); seed++) {
    const where = `seed ${seed}`
    let isOver = false
    const played = play(random(seed)).finally(() => (isOver = true))
    for (let time = 0; time < longest && !isOver; time += 50) await pass(50)
    expect(isOver, where).toBe(true)
    expect(await played, where).toEqual([])
    // The timers of the program itself.
    await pass(100)
    expect(vi.getTimerCount(), where).toBe(0)
  }
})
