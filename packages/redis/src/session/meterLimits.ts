/** Converts the limits of a meter to those of the protocol, and back. */
import type { Limits } from "../protocol/limits.ts"
import type { MeterLimits } from "./ExternalLimit.ts"

/** Shorter windows would leave a process no time to start a task in its slot. */
const leastWindow = 50_000

/** The slowest rate and the longest window: about 30 years, in microseconds. */
const longest = 1e15

/** Sorts the windows by name: their order is that of costs, and part of the text that processes compare. */
export const protocolLimits = ({ maxAtOnce, maxBurst, maxPerSecond, windows }: MeterLimits, lease: number): Limits => {
  const finite = Object.keys(windows)
    .toSorted()
    .map((name) => [name, windows[name]!] as const)
    .filter(([, { limit }]) => limit !== Infinity)
  for (const [name, { per }] of finite) {
    const micros = Math.ceil(per * 1_000)
    if (micros >= leastWindow && micros <= longest) continue
    throw new RangeError(`windows.${name}.per must be from 50 milliseconds to 30 years on a store, but is ${per} ms`)
  }
  // An unlimited burst means no rate limit.
  const rate = maxPerSecond === Infinity || maxBurst === Infinity ? 0 : maxPerSecond
  const burst = rate === 0 ? 1 : maxBurst
  if (rate > 0 && (Math.max(rate, burst) * 1_000_000) / rate > longest) {
    throw new RangeError(`maxPerSecond must be at least one in 30 years on a store, but is ${maxPerSecond}`)
  }
  return {
    permits: maxAtOnce === Infinity ? 0 : maxAtOnce,
    rate,
    burst,
    lease,
    windows: finite.map(([name, { limit, per }]) => ({ name, limit, per: Math.ceil(per * 1_000) }))
  }
}

/** The limits of an encoded text. */
export const decodeLimits = (text: string): Limits => {
  const [permits, rate, burst, lease, windows] = JSON.parse(text) as [
    number,
    number,
    number,
    number,
    Array<[string, number, number]>
  ]
  return { permits, rate, burst, lease, windows: windows.map(([name, limit, per]) => ({ name, limit, per })) }
}

export const meterLimits = ({ burst, permits, rate, windows }: Limits): MeterLimits => ({
  maxAtOnce: permits === 0 ? Infinity : permits,
  maxPerSecond: rate === 0 ? Infinity : rate,
  maxBurst: burst,
  windows: Object.fromEntries(windows.map(({ limit, name, per }) => [name, { limit, per: per / 1_000 }]))
})

/** Whether the limits differ in nothing but numbers: only then can a meter be resized from one to the other. */
export const isAlike = (one: Limits, other: Limits): boolean => {
  const shape = ({ permits, rate, windows }: Limits): string =>
    JSON.stringify([permits > 0, rate > 0, windows.map(({ name }) => name)])
  return shape(one) === shape(other)
}
