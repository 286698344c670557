/** The state of one meter in a store. It is data alone: `advance` in `advance.ts` decides. */
import type { Answer, Grant } from "./message.ts"
import { protocolVersion } from "./message.ts"
import { type Log, makeLog } from "./slidingLog.ts"
import type { Terms } from "./limits.ts"

/** Demand of one session that waits. */
export interface Item {
  /** Its place: lower numbers are first. */
  arrival: number
  readonly session: string
  readonly batch: number
  count: number
  readonly weight: number
  readonly costs: ReadonlyArray<number>
}

/** A grant with what is needed to take it back. */
export interface Delivery extends Grant {
  readonly arrival: number
  readonly costs: ReadonlyArray<number>
  /** Permits that the batch asked for each task; the grant may have fewer, after a resize. */
  readonly asked: number
  count: number
}

/** A grant that the session knows, and has not reported. */
export interface Outstanding {
  readonly id: number
  readonly entries: ReadonlyArray<number>
}

export interface Session {
  seq: number
  /** To the message `seq`. */
  answer: Answer | undefined
  /** Its lease is over, or it has left. It is kept for a while, so that it is not taken for one whose state was lost. */
  gone: boolean
  expires: number
  /** Permits, those of deliveries included. */
  held: number
  /** When it visits by itself; 0 if it has not promised to. */
  visit: number
  /** When deliveries are taken back; 0 without any. */
  due: number
  deliveries: Array<Delivery>
  outstanding: Array<Outstanding>
  /** Demand that waits no more until the session sends a message, since it has not fetched what it was granted. */
  aside: Array<Item>
}

/** Why the first in the queue waits. It decides what becomes of the pace meanwhile. */
export type Mode =
  /** Nothing waits: credit for a burst accrues. */
  | "idle"
  /** For its slot: lateness is caught up, within a bound. */
  | "paced"
  /** For something else: time stands still for the pace. */
  | "held"

export interface State {
  readonly version: number
  readonly generation: number
  tick: number
  /** The store's time never falls. */
  now: number
  quarantine: number
  paused: number
  revision: number
  /** The limits before any resize, which sessions may still be configured with. */
  readonly original: string
  limits: string
  /** The last numbers given. */
  arrival: number
  token: number
  /** Permits in use, those of deliveries included. */
  inUse: number
  /** Sessions that are not gone. */
  live: number
  mode: Mode
  /** The instant of the last slot granted. */
  last: number
  /** The pace: the next slot is at `base + steps * interval`. */
  base: number
  steps: number
  readonly logs: ReadonlyArray<Log>
  readonly queue: Array<Item>
  readonly sessions: Map<string, Session>
  /** For each session, when something has to be done about it if it stays silent. */
  readonly deadlines: Map<string, number>
}

export const makeState = (
  generation: number,
  now: number,
  quarantine: number,
  original: string,
  limits: string,
  terms: Terms
): State => ({
  version: protocolVersion,
  generation,
  tick: 0,
  now,
  quarantine,
  paused: 0,
  revision: 1,
  original,
  limits,
  // Times, so that both go on rising when the state before them is lost.
  arrival: generation,
  token: generation,
  inUse: 0,
  live: 0,
  mode: "idle",
  last: 0,
  base: now,
  steps: 1 - terms.burst,
  logs: terms.windows.map(makeLog),
  queue: [],
  sessions: new Map(),
  deadlines: new Map()
})
