/** What is promised of meters across processes, with the sessions of the package in a simulated world. */
import { describe, expect, it } from "vitest"
import { step } from "../src/protocol/advance.ts"
import { encodeLimits, termsOf } from "../src/protocol/limits.ts"
import { protocolLimits } from "../src/session/meterLimits.ts"
import type { MeterLimits } from "../src/session/ExternalLimit.ts"
import { mostAtOnce, mostIn } from "./support/counting.ts"
import { message } from "./support/messages.ts"
import { random } from "./support/random.ts"
import { lease, type Setting, type Start, World } from "./support/sessions.ts"

const second = 1_000_000

/** Simulates, and checks what is promised in every setting. Each window may be shorter by so much. */
const simulate = async (seed: number, setting: Setting, shorter = 0): Promise<World> => {
  const world = new World(random(seed), setting)
  await world.run(900 * second)
  const where = `seed ${seed}`
  const limits = protocolLimits(setting.limits, lease * 1_000)
  // For state that was lost while some processes did not know it: one more limit for each loss.
  const times = setting.unseen === true ? 1 + world.lost : 1
  // The same if the windows start empty after a loss.
  const windowTimes = setting.options?.lostState === "startAfresh" ? 1 + world.lost : times
  const { windows } = termsOf(encodeLimits(limits))
  const paced = limits.rate > 0 ? 1 : 0
  windows.forEach(({ limit, per }, log) => {
    const cost = ({ costs }: Start): number => (log < paced ? 1 : costs[limits.windows[log - paced]!.name]!)
    expect(mostIn(world.starts, per - shorter, cost), `${where}: window ${log}`).toBeLessThanOrEqual(
      limit * windowTimes
    )
  })
  if (limits.permits > 0) {
    expect(mostAtOnce(world.uses), `${where}: permits`).toBeLessThanOrEqual(limits.permits * times)
  }
  // No waiter is lost, and none starts twice.
  expect(world.starts.length + world.dropped, `${where}: starts`).toBe(world.asked)
  expect(world.events.filter(({ type }) => type === "stalled")).toEqual([])
  // Each process that stood still for longer than its lease while tasks ran has learned of it.
  for (const { process, until } of world.freezes) {
    if (process.isDead) continue
    expect(
      process.told.some((at) => at >= until),
      `${where}: a process frozen until ${until} was told at ${process.told.join()}`
    ).toBe(true)
  }
  // No permits stay in use: those that a lost message would have given back are free when the lease ends.
  await world.close()
  const left = world.state
  const isLossy = [setting.loss, setting.delays].some((chance) => chance !== undefined)
  if (left !== undefined) {
    const { state } = step(
      left,
      message(limits, { limits: left.original, session: "last" }),
      isLossy ? world.now : left.now
    )
    expect(state, where).toMatchObject({ inUse: 0, queue: [] })
  }
  return world
}

const none: MeterLimits = { maxAtOnce: Infinity, maxPerSecond: Infinity, maxBurst: 1, windows: {} }
const rate: MeterLimits = { ...none, maxPerSecond: 200 }
const bursts: MeterLimits = { ...none, maxPerSecond: 50.5, maxBurst: 12 }
const permits: MeterLimits = { ...none, maxAtOnce: 5 }
const windows: MeterLimits = { ...none, windows: { short: { limit: 40, per: 50 }, long: { limit: 900, per: 2_000 } } }
const all: MeterLimits = { maxAtOnce: 6, maxPerSecond: 120, maxBurst: 20, windows: windows.windows }
const kinds: Record<string, MeterLimits> = { rate, bursts, permits, windows, all }

const base = {
  processes: 5,
  calls: 12,
  duration: 4 * second,
  latency: [100, 12_000],
  taskTime: [0, 60_000]
} as const

const seeds = Array.from({ length: Number(process.env["SEEDS"] ?? 4) }, (_, index) => index + 1)

describe.each(Object.keys(kinds))("%s", (kind) => {
  const limits = kinds[kind]!

  it("no limit is broken and no waiter is lost, with clocks that drift and slow messages", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits })
  })

  it("nor with stalls up to the guard between the look at the clock and the start", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, stall: 1_900 })
  })

  it("nor with lost messages, replies and wake-ups, and a store that is out of reach for a while", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, loss: 0.2, cuts: 2 })
  })

  it("nor if processes crash and freeze", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, crashes: 2, freezes: 4 })
  })

  it("nor if the state is lost and rolled back", async () => {
    let lost = 0
    for (const seed of seeds) {
      const world = await simulate(seed, { ...base, limits, losses: 1, rollbacks: 2, loss: 0.05 })
      lost += world.lost
    }
    expect(lost).toBeGreaterThan(1)
  })

  it("nor if waiters give up and the meter is paused", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, impatience: 0.3, pauses: 3, corrections: true })
  })

  it("nor if messages and replies are late, arrive out of order, and arrive twice", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, delays: 0.1, duplicates: 0.3, loss: 0.05 })
  })

  it("nor if processes start while others crash", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, crashes: 4, joins: 4, losses: 1, rollbacks: 1 })
  })

  it("nor with all of that at once", async () => {
    const wire = { loss: 0.05, delays: 0.02, duplicates: 0.1, cuts: 1 }
    const processes = { crashes: 2, joins: 2, freezes: 3, stall: 1_900, impatience: 0.1, corrections: true }
    const trouble = { ...wire, ...processes, losses: 2, rollbacks: 2, pauses: 2 }
    for (const seed of seeds) await simulate(seed, { ...base, limits, ...trouble })
  })

  it("a step of the store's clock shortens the windows that contain it by that step, and loses no waiter", async () => {
    // In one direction each, since the store's own time does not follow a step back.
    for (const steps of [
      [20_000, 10_000],
      [-20_000, -10_000]
    ]) {
      // A store whose clock is ahead ends leases sooner than a session expects.
      const calm = limits.maxAtOnce < Infinity ? { latency: [100, 2_000] as const } : {}
      for (const seed of seeds) await simulate(seed, { ...base, ...calm, limits, loss: 0.05, steps }, 30_000)
    }
  })

  it("with startAfresh, each loss allows one more limit in each window, and no more permits", async () => {
    const options = { lostState: "startAfresh" } as const
    const trouble = { losses: 2, rollbacks: 1, loss: 0.05, crashes: 1, freezes: 1, longTasks: 0.05 }
    for (const seed of seeds) await simulate(seed, { ...base, limits, ...trouble, options })
  })

  it("state that is lost while a process does not know it allows one more limit, and no more", async () => {
    const trouble = { losses: 2, rollbacks: 1, joins: 3, crashes: 2, freezes: 2, unseen: true }
    for (const seed of seeds) await simulate(seed, { ...base, limits, ...trouble })
  })
})

it("a process that is cut off ends its tasks before others get their permits, even if it is always some milliseconds late", async () => {
  const load = { calls: 40, duration: 10 * second, latency: [100, 1_000], longTasks: 0.1 } as const
  let lost = 0
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) {
    const { events } = await simulate(seed, { ...base, ...load, limits: permits, lag: 19_000, loneCuts: 40 })
    lost += events.filter(({ type }) => type === "leaseLost").length
  }
  expect(lost).toBeGreaterThan(8)
})
