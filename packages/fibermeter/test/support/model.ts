/**
 * The reference model: when tasks may start, said in the plainest way, without concurrency, clocks or fibers.
 *
 * It knows `maxAtOnce` and `maxPerSecond` with a burst of one or of a full window. Rates are fractions of whole numbers
 * and instants whole nanoseconds, so every figure is exact.
 */
import { expect } from "vitest"

export interface ModelRate {
  /** Starts a second are `starts / seconds`. */
  readonly starts: number
  readonly seconds: number
  /** How many may start together after an idle time: one (the default), or as many as a window holds. */
  readonly burst?: number
}

export interface ModelLimits {
  readonly maxAtOnce?: number
  readonly rate?: ModelRate
}

const second = 1_000_000_000n

const ceilDiv = (a: bigint, b: bigint): bigint => (a + b - 1n) / b

/** The time `starts` take at this rate, rounded up to the nanosecond. */
export const timeOf = (starts: number, rate: ModelRate): bigint =>
  ceilDiv(BigInt(starts) * BigInt(rate.seconds) * second, BigInt(rate.starts))

/** How many starts a window of the guarantee holds: R. */
export const windowOf = (rate: ModelRate): number =>
  Math.max(1, Math.floor(rate.starts / rate.seconds), rate.burst ?? 1)

/** The start instants of tasks that are all waiting from instant 0, where task `i` holds its permit for `durations[i]`. */
export const startsOf = (durations: ReadonlyArray<bigint>, ...limits: ReadonlyArray<ModelLimits>): Array<bigint> =>
  startsOfArrivals(
    durations.map((lasts) => ({ arrives: 0n, lasts })),
    ...limits
  )

/** The start instants of tasks that come one after the other, under every one of `limits`. */
export const startsOfArrivals = (
  tasks: ReadonlyArray<{ readonly arrives: bigint; readonly lasts: bigint }>,
  ...limits: ReadonlyArray<ModelLimits>
): Array<bigint> => {
  const starts: Array<bigint> = []
  const ends: Array<bigint> = []
  // Starts that follow each other at the full rate lie on a grid; one that came later than its slot lays a new one.
  const grids = limits.flatMap(({ rate }) => (rate === undefined ? [] : [{ rate, origin: 0n, slot: -1 }]))
  for (const { arrives, lasts } of tasks) {
    let at = max(starts.at(-1) ?? 0n, arrives)
    for (const grid of grids) at = max(at, evenSlot(grid, starts), windowBack(grid.rate, starts))
    for (const { maxAtOnce } of limits) {
      if (maxAtOnce !== undefined) at = placeFree(ends, maxAtOnce, at)
    }
    for (const grid of grids) {
      if (at > evenSlot(grid, starts)) {
        grid.origin = at
        grid.slot = 0
      } else {
        grid.slot++
      }
    }
    starts.push(at)
    ends.push(at + lasts)
  }
  return starts
}

const max = (...instants: ReadonlyArray<bigint>): bigint => instants.reduce((a, b) => (a > b ? a : b))

const evenSlot = (
  grid: { readonly rate: ModelRate; readonly origin: bigint; readonly slot: number },
  starts: ReadonlyArray<bigint>
): bigint => (starts.length < (grid.rate.burst ?? 1) ? 0n : grid.origin + timeOf(grid.slot + 1, grid.rate))

/** The start one window back must lie a whole window back, in fractions of a nanosecond as well. */
const windowBack = (rate: ModelRate, starts: ReadonlyArray<bigint>): bigint => {
  const size = windowOf(rate)
  const back = starts.at(-size)
  return back === undefined || starts.length < size ? 0n : back + timeOf(size, rate)
}

const placeFree = (ends: ReadonlyArray<bigint>, maxAtOnce: number, from: bigint): bigint => {
  const running = ends.filter((end) => end > from).sort((a, b) => (a < b ? -1 : 1))
  return running.length < maxAtOnce ? from : (running[running.length - maxAtOnce] ?? from)
}

/** G2 to the letter: no half-open window of R / rate seconds holds more than R starts. */
export const expectWindowsHeld = (starts: ReadonlyArray<bigint>, rate: ModelRate): void => {
  const size = windowOf(rate)
  for (let index = 0; index + size < starts.length; index++) {
    const first = starts[index] as bigint
    const after = starts[index + size] as bigint
    // (after - first) ≥ size / rate seconds, without a division
    if ((after - first) * BigInt(rate.starts) < BigInt(size) * BigInt(rate.seconds) * second) {
      expect.fail(
        `${size + 1} starts in a window for ${size}: number ${index} at ${first} ns, number ${index + size} at ${after} ns`
      )
    }
  }
}

/**
 * What a burst may come to where every timer is punctual: in any stretch of time no more starts than the burst and what
 * the rate allows in that time. Instants are rounded up, so a stretch may seem a nanosecond too short.
 */
export const expectCreditHeld = (starts: ReadonlyArray<bigint>, rate: ModelRate): void => {
  const burst = rate.burst ?? 1
  for (const [to, last] of starts.entries()) {
    for (const [from, first] of starts.slice(0, to).entries()) {
      const beyond = BigInt(to - from + 1 - burst) * BigInt(rate.seconds) * second
      if (beyond > BigInt(rate.starts) * (last - first + 1n)) {
        expect.fail(`${to - from + 1} starts from ${first} ns to ${last} ns, with a burst of ${burst}`)
      }
    }
  }
}

/** Starts in the busiest half-open window of `nanos`. */
export const busiest = (starts: ReadonlyArray<bigint>, nanos: bigint): number => {
  let most = 0
  let from = 0
  starts.forEach((at, index) => {
    while (at - (starts[from] as bigint) >= nanos) from++
    most = Math.max(most, index - from + 1)
  })
  return most
}
