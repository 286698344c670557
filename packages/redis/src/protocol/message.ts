/**
 * What a session sends and what the store answers. Both are encoded as JSON arrays in a fixed order. Lua reads them with
 * `cjson`, but writes numbers itself with all 17 digits, since `cjson` would keep 14.
 */

export const protocolVersion = 1

/** Demand for the tasks of one batch, which have the same permits and costs. */
export interface Demand {
  /** Chosen by the session. The number of an earlier batch asks for more of the same. */
  readonly batch: number
  readonly count: number
  /** Permits of each task; 0 without `maxAtOnce`. */
  readonly weight: number
  /** The arrival number from an earlier answer, if this demand is declared again; otherwise 0. */
  readonly arrival: number
  /** The cost of each task, for each named window. */
  readonly costs: ReadonlyArray<number>
}

/** How the slots of a grant were used, once each of them has been used or given up. */
export interface Report {
  readonly grant: number
  /** Upper bound of how long after its slot a task has started, in microseconds, rounded up. */
  readonly late: number
  /** In how many slots no task has started. Their permits are given back in `ended`. */
  readonly unused: number
}

/** A task cost more or less than its batch said. */
export interface Correction {
  /** The log and the entry in it: see `Grant.entries`. */
  readonly log: number
  readonly entry: number
  readonly by: number
}

export interface Message {
  readonly version: number
  readonly session: string
  /** 1, 2, 3, … A message that is sent again keeps its number. */
  readonly seq: number
  /** The generation and the tick of the last answer; both 0 if there was none. */
  readonly generation: number
  readonly tick: number
  /** The configured limits of this session. */
  readonly limits: string
  /** After a resize, the limits of the last answer that had any; otherwise empty. */
  readonly resized: string
  /** The revision of the limits that the session knows; 0 at first. */
  readonly revision: number
  /** Permits in use in this session. The store keeps its own count, and uses this only when it adopts the session. */
  readonly held: number
  /** Permits given back since the last message. */
  readonly ended: number
  /** In how many microseconds the session will send its next message without a wake-up; 0 for no promise. */
  readonly visit: number
  /** Pauses the meter for this many microseconds; 0 resumes it; -1 does neither. */
  readonly pause: number
  /** The session ends with this message. */
  readonly leave: boolean
  /** New limits for all sessions, or empty. */
  readonly resize: string
  /** If this message shows lost state, the windows start empty, and only leases are waited for. Default: `false`. */
  readonly afresh?: boolean
  /** The store's time after which the message is ignored, since its session is over. Default: 0, for never. */
  readonly until?: number
  readonly reports: ReadonlyArray<Report>
  readonly corrections: ReadonlyArray<Correction>
  readonly withdrawn: ReadonlyArray<{ readonly batch: number; readonly count: number }>
  readonly demand: ReadonlyArray<Demand>
}

/**
 * Slots and permits for as many tasks of one batch. Slot j is at `slotAt(grant, j)`, and its first token is
 * `id + j * terms.tokens`.
 */
export interface Grant extends Run {
  /** Also the fencing token of the first slot. */
  readonly id: number
  readonly batch: number
  readonly count: number
  /** Permits of each task. */
  readonly weight: number
  /** The number of the entry in each log; 0 where the task costs nothing. */
  readonly entries: ReadonlyArray<number>
}

/** Slots at equal distances. */
export interface Run {
  readonly base: number
  readonly from: number
  readonly interval: number
}

/** The store's time of slot `j` of a run of slots. */
export const slotAt = (run: Run, j: number): number => Math.ceil(run.base + (run.from + j) * run.interval)

export type Status =
  | "ok"
  /** A later message has been processed, or this one has arrived too late; it has changed nothing. */
  | "stale"
  /** The state is in another version of the protocol; the message has changed nothing. */
  | "version"
  /** The meter has other limits; the message has changed nothing. */
  | "limits"

export interface Answer {
  readonly status: Status
  /** The version of the state. */
  readonly version: number
  /** The store's time, in microseconds. */
  readonly now: number
  readonly generation: number
  /** How many messages have changed the state. */
  readonly tick: number
  /** The store did not know the session. It has recorded `held`, and needs all demand declared again. */
  readonly adopted: boolean
  /** In how many microseconds the session should send its next message; 0 if not before something changes. */
  readonly visit: number
  /** Until when the meter is paused; 0 if it was never paused. */
  readonly paused: number
  /** Until when nothing is granted because state was lost; 0 if none was lost. */
  readonly quarantine: number
  readonly revision: number
  /** The limits, if the message had another revision or other limits; otherwise empty. */
  readonly limits: string
  /** The arrival number of each batch that this message declared. */
  readonly arrivals: ReadonlyArray<{ readonly batch: number; readonly arrival: number }>
  readonly grants: ReadonlyArray<Grant>
}

const statuses: ReadonlyArray<Status> = ["ok", "stale", "version", "limits"]

export const encodeMessage = (message: Message): string =>
  JSON.stringify([
    message.version,
    message.session,
    message.seq,
    message.generation,
    message.tick,
    message.limits,
    message.resized,
    message.revision,
    message.held,
    message.ended,
    message.visit,
    message.pause,
    message.leave ? 1 : 0,
    message.resize,
    message.reports.map(({ grant, late, unused }) => [grant, late, unused]),
    message.corrections.map(({ log, entry, by }) => [log, entry, by]),
    message.withdrawn.map(({ batch, count }) => [batch, count]),
    message.demand.map(({ batch, count, weight, arrival, costs }) => [batch, count, weight, arrival, costs]),
    message.afresh === true ? 1 : 0,
    message.until ?? 0
  ])

type EncodedGrant = [number, number, number, number, number, number, number, Array<number>]
type EncodedAnswer = [
  status: number,
  version: number,
  now: number,
  generation: number,
  tick: number,
  adopted: number,
  visit: number,
  paused: number,
  quarantine: number,
  revision: number,
  limits: unknown,
  arrivals: Array<[number, number]>,
  grants: Array<EncodedGrant>
]

export const decodeAnswer = (text: string): Answer => {
  const encoded = JSON.parse(text) as EncodedAnswer
  const [status, version, now, generation, tick, adopted, visit, paused, quarantine, revision] = encoded
  const [limits, arrivals, grants] = encoded.slice(10) as [unknown, Array<[number, number]>, Array<EncodedGrant>]
  return {
    status: statuses[status]!,
    version,
    now,
    generation,
    tick,
    adopted: adopted === 1,
    visit,
    paused,
    quarantine,
    revision,
    limits: limits === 0 ? "" : JSON.stringify(limits),
    arrivals: arrivals.map(([batch, arrival]) => ({ batch, arrival })),
    grants: grants.map(([id, batch, base, from, interval, count, weight, entries]) => ({
      id,
      batch,
      base,
      from,
      interval,
      count,
      weight,
      entries
    }))
  }
}
