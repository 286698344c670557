/**
 * How gates stand, in numbers.
 */
import type { Gate } from "./gate.ts"
import type { Host } from "./host.ts"
import { LimitGate } from "./limitGate.ts"

export interface Standing {
  readonly running: number
  readonly waiting: number
  readonly started: number
  readonly free: number
  readonly room: Readonly<Record<string, number>>
  /** Nanoseconds until a task of cost 1 may start, if nobody waits before it. */
  readonly opensIn: number
}

/** Of several gates, the busiest counts. */
export const standing = (gates: ReadonlyArray<Gate>, host: Host): Standing => {
  const most = (count: (gate: Gate) => number): number => gates.reduce((max, gate) => Math.max(max, count(gate)), 0)
  const free = gates.reduce((least, gate) => Math.min(least, gate.capacity - gate.running), Infinity)
  return {
    running: most((gate) => gate.running),
    waiting: most((gate) => gate.waiting),
    started: most((gate) => gate.started),
    free: Math.max(0, free),
    room: leastOf(gates.map((gate) => (gate instanceof LimitGate ? gate.rooms(host) : {}))),
    opensIn: most((gate) => gate.opensIn(host))
  }
}

/** The least of each name. */
const leastOf = (rooms: ReadonlyArray<Readonly<Record<string, number>>>): Readonly<Record<string, number>> => {
  const least = new Map<string, number>()
  for (const [name, room] of rooms.flatMap(Object.entries<number>)) {
    least.set(name, Math.min(room, least.get(name) ?? Infinity))
  }
  return Object.fromEntries(least)
}
