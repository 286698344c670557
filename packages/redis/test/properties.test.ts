/** What is promised of a meter across processes, with the store's function and simulated processes. */
import { describe, expect, it } from "vitest"
import { advance, step } from "../src/protocol/advance.ts"
import { termsOf, encodeLimits, type Limits } from "../src/protocol/limits.ts"
import type { State } from "../src/protocol/state.ts"
import { Chatter } from "./support/chatter.ts"
import { message } from "./support/messages.ts"
import { mostAtOnce, mostIn } from "./support/counting.ts"
import { random } from "./support/random.ts"
import { type Setting, World } from "./support/simulation.ts"

const second = 1_000_000

/** Simulates, and checks all that is promised in every setting. */
const simulate = (seed: number, setting: Setting, shorter = 0): World => {
  const world = new World(random(seed), setting)
  world.run(600 * second)
  const { limits } = setting
  const where = `seed ${seed}`
  expect(world.errors, where).toEqual([])
  const { windows } = termsOf(encodeLimits(limits))
  const paced = limits.rate > 0 ? 1 : 0
  windows.forEach(({ limit, per }, log) => {
    const most = mostIn(world.starts, per - shorter, ({ costs }) => (log < paced ? 1 : costs[log - paced]!))
    expect(most, `${where}: window ${log}`).toBeLessThanOrEqual(limit)
  })
  if (limits.permits > 0) expect(mostAtOnce(world.uses), `${where}: permits`).toBeLessThanOrEqual(limits.permits)
  const tokens = new Set(world.starts.map(({ token }) => token))
  expect(tokens.size, `${where}: tokens`).toBe(world.starts.length)
  // A task that starts later than another by more than the slack and a horizon has the higher token.
  const inOrder = world.starts.toSorted((one, other) => one.at - other.at)
  let passed = 0
  let highest = 0
  for (const { at, token } of inOrder) {
    while (inOrder[passed]!.at < at - 300_000) highest = Math.max(highest, inOrder[passed++]!.token)
    expect(token, `${where}: tokens rise`).toBeGreaterThan(highest)
  }
  // No waiter is lost, and none starts twice.
  expect(world.starts.length + world.dropped, `${where}: starts`).toBe(world.asked)
  return world
}

const rate: Limits = { permits: 0, rate: 200, burst: 1, lease: 2 * second, windows: [] }
const bursts: Limits = { permits: 0, rate: 50.5, burst: 12, lease: 2 * second, windows: [] }
const permits: Limits = { permits: 5, rate: 0, burst: 1, lease: second, windows: [] }
const windows: Limits = {
  permits: 0,
  rate: 0,
  burst: 1,
  lease: second,
  windows: [
    { name: "short", limit: 40, per: 50_000 },
    { name: "long", limit: 900, per: 2 * second }
  ]
}
const all: Limits = { permits: 6, rate: 120, burst: 20, lease: second, windows: windows.windows }

const kinds: Record<string, Limits> = { rate, bursts, permits, windows, all }
const base = {
  sessions: 5,
  batches: 12,
  duration: 4 * second,
  latency: [100, 12_000],
  taskTime: [0, 60_000]
} as const

const seeds = Array.from({ length: 6 }, (_, index) => index + 1)

describe.each(Object.keys(kinds))("%s", (kind) => {
  const limits = kinds[kind]!

  it("no limit is broken and no waiter is lost, with clocks that drift and slow messages", () => {
    for (const seed of seeds) simulate(seed, { ...base, limits })
  })

  it("nor with stalls up to the slack between the look at the clock and the start", () => {
    for (const seed of seeds) simulate(seed, { ...base, limits, stall: 2_000 })
  })

  it("nor with lost messages, replies and wake-ups", () => {
    for (const seed of seeds) simulate(seed, { ...base, limits, loss: 0.2 })
  })

  it("nor if processes crash and freeze", () => {
    for (const seed of seeds) simulate(seed, { ...base, limits, crashes: 2, freezes: 4 })
  })

  it("nor if the state is lost and rolled back", () => {
    for (const seed of seeds) simulate(seed, { ...base, limits, losses: 1, rollbacks: 1, loss: 0.05 })
    // Much waits all the time, so that any slot that is granted too early shows.
    for (const seed of seeds) simulate(seed, { ...base, limits, batches: 30, duration: 2 * second, losses: 2 })
  })

  it("nor with all of that at once", () => {
    const trouble = { loss: 0.05, crashes: 1, freezes: 2, losses: 1, rollbacks: 1, stall: 2_000 }
    for (const seed of seeds) simulate(seed, { ...base, limits, ...trouble, corrections: true })
  })
})

it("a step of the store's clock shortens the windows that contain it by that step, and no others; it is noticed", () => {
  for (const step of [-20_000, 20_000]) {
    let noticed = 0
    for (const seed of seeds) {
      noticed += simulate(
        seed,
        { ...base, limits: rate, latency: [100, 2_000], batches: 30, step },
        Math.abs(step)
      ).steps
    }
    expect(noticed).toBeGreaterThan(0)
  }
})

it("all of a rate is used while much waits", () => {
  for (const seed of seeds) {
    const { starts } = simulate(seed, { ...base, limits: rate, latency: [100, 1_000], batches: 50, duration: second })
    const instants = starts.map(({ at }) => at).toSorted((one, other) => one - other)
    const span = instants.at(-1)! - instants[0]!
    expect(starts.length).toBeGreaterThan(1_000)
    expect((starts.length - 1) / span).toBeGreaterThan((0.98 * rate.rate) / second)
  }
})

it("waiters start in the order of their arrival at the store, to within half of the horizon", () => {
  for (const seed of seeds) {
    // Batches no larger than the quantum, which is what a session may have in a row.
    const { starts } = simulate(seed, {
      ...base,
      limits: { ...rate, rate: 2_000 },
      batches: 60,
      duration: second,
      latency: [100, 1_000]
    })
    const sorted = starts.toSorted((one, other) => one.arrival - other.arrival)
    let latest = 0
    for (const { at } of sorted) {
      expect(at).toBeGreaterThan(latest - 25_000)
      latest = Math.max(latest, at)
    }
  }
})

it("nothing waits that could be granted: a message that says nothing is granted nothing more", () => {
  for (const seed of seeds) {
    for (const kind of Object.values(kinds)) {
      const chatter = new Chatter(random(seed), kind, 4)
      let state: State | undefined
      for (let index = 0; index < 200; index++) {
        const event = chatter.next()
        if (event.type !== "message") continue
        const { answer, state: next } = advance(state, event.message, event.time)
        state = next
        chatter.hear(answer)
        if (state === undefined || answer.status !== "ok" || index % 4 > 0) continue
        const quiet = message(kind, { session: "quiet", limits: state.limits })
        const again = step(state, quiet, state.now)
        expect(again.wakes).toEqual([])
        expect(again.state!.token).toBe(state.token)
        expect(again.state!.queue).toEqual(state.queue)
      }
    }
  }
})
