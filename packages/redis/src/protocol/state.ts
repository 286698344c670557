/** The state of one meter in a store. It is plain data; the logic is in `advance.ts`. */
import type { Answer, Grant } from "./message.ts"
import { protocolVersion } from "./message.ts"
import { type Log, makeLog } from "./slidingLog.ts"
import type { Terms } from "./limits.ts"

/** Waiting demand of one session. */
export interface Item {
  /** Its place in the queue: lower numbers are first. */
  arrival: number
  readonly session: string
  readonly batch: number
  count: number
  readonly weight: number
  readonly costs: ReadonlyArray<number>
}

/** A grant, with what is needed to take it back. */
export interface Delivery extends Grant {
  readonly arrival: number
  readonly costs: ReadonlyArray<number>
  /** Permits that the batch asked for per task. After a resize, the grant may have fewer. */
  readonly asked: number
  count: number
}

/** A grant that the session has fetched and not yet reported. */
export interface Outstanding {
  readonly id: number
  readonly entries: ReadonlyArray<number>
}

export interface Session {
  seq: number
  /** The answer to the message `seq`. */
  answer: Answer | undefined
  /** Its lease is over, or it has left. It is kept for a while, so that its return is not taken for lost state. */
  gone: boolean
  expires: number
  /** Permits, including those of deliveries. */
  held: number
  /** When it has promised to send its next message; 0 without a promise. */
  visit: number
  /** When deliveries are taken back; 0 if there are none. */
  due: number
  deliveries: Array<Delivery>
  outstanding: Array<Outstanding>
  /** Demand set aside until the session sends a message, since it has not fetched what it was granted. */
  aside: Array<Item>
}

/** Why the first waiter waits. It decides what happens to the pace meanwhile. */
export type Mode =
  /** Nothing waits: burst credit accrues. */
  | "idle"
  /** It waits for its slot: lateness is caught up, within a bound. */
  | "paced"
  /** It waits for something else: time stands still for the pace. */
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
  /** The limits before any resize: sessions may still be configured with them. */
  readonly original: string
  limits: string
  /** The last numbers used. */
  arrival: number
  token: number
  /** Permits in use, including those of deliveries. */
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
  /** For each session, when its lease or its deliveries end, or it is forgotten, unless it sends a message. */
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
  // Times, so that both keep rising when the previous state is lost.
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
