/** What is promised of meters across processes, with the sessions of the package in a simulated world. */
import { describe, expect, it } from "vitest"
import { encodeLimits, termsOf } from "../src/protocol/limits.ts"
import { protocolLimits } from "../src/session/meterLimits.ts"
import type { MeterLimits } from "../src/session/ExternalLimit.ts"
import { mostAtOnce, mostIn } from "./support/counting.ts"
import { random } from "./support/random.ts"
import { type Setting, type Start, World } from "./support/sessions.ts"

const second = 1_000_000

/** Simulates, and checks what is promised in every setting. */
const simulate = async (seed: number, setting: Setting): Promise<World> => {
  const world = new World(random(seed), setting)
  await world.run(900 * second)
  const where = `seed ${seed}`
  const limits = protocolLimits(setting.limits, 1_000_000)
  const { windows } = termsOf(encodeLimits(limits))
  const paced = limits.rate > 0 ? 1 : 0
  windows.forEach(({ limit, per }, log) => {
    const cost = ({ costs }: Start): number => (log < paced ? 1 : costs[limits.windows[log - paced]!.name]!)
    expect(mostIn(world.starts, per, cost), `${where}: window ${log}`).toBeLessThanOrEqual(limit)
  })
  if (limits.permits > 0) expect(mostAtOnce(world.uses), `${where}: permits`).toBeLessThanOrEqual(limits.permits)
  // No waiter is lost, and none starts twice.
  expect(world.starts.length + world.dropped, `${where}: starts`).toBe(world.asked)
  // Nothing is left held.
  expect(world.events.filter(({ type }) => type === "stalled")).toEqual([])
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
    for (const seed of seeds) await simulate(seed, { ...base, limits, losses: 1, rollbacks: 1, loss: 0.05 })
  })

  it("nor if waiters give up and the meter is paused", async () => {
    for (const seed of seeds) await simulate(seed, { ...base, limits, impatience: 0.3, pauses: 3, corrections: true })
  })

  it("nor with all of that at once", async () => {
    const trouble = { loss: 0.05, crashes: 1, freezes: 2, losses: 1, rollbacks: 1, cuts: 1, stall: 1_900, pauses: 2 }
    for (const seed of seeds) await simulate(seed, { ...base, limits, ...trouble, impatience: 0.1, corrections: true })
  })
})
