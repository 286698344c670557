/**
 * What a session sends, and what the store answers. Both are encoded as JSON arrays of numbers in a fixed order: Lua reads
 * those with `cjson`, and writes them with all 17 digits of a number, where `cjson` would keep 14.
 */

export const protocolVersion = 1

/** How the tasks of one batch are alike: the same permits, the same costs, asked for at the same time. */
export interface Demand {
  /** Chosen by the session; the number of an earlier batch for more of the same. */
  readonly batch: number
  readonly count: number
  /** Permits of each task; 0 without `maxAtOnce`. */
  readonly weight: number
  /** The arrival number from an earlier answer, if this demand is declared again; otherwise 0. */
  readonly arrival: number
  /** The cost of each task, for each named window. */
  readonly costs: ReadonlyArray<number>
}

/** What became of the slots of a grant, once each of them has been used or given up. */
export interface Report {
  readonly grant: number
  /** How far behind its slot a task has started at most; an upper bound, in microseconds, rounded up. */
  readonly late: number
  /** How many slots no task has started in. Their permits are given back in `ended`. */
  readonly unused: number
}

/** A task cost more, or less, than its batch said. */
export interface Correction {
  /** Which log, and which entry in it: see `Grant.entries`. */
  readonly log: number
  readonly entry: number
  readonly by: number
}

export interface Message {
  readonly version: number
  readonly session: string
  /** 1, 2, 3, …; a message that is sent again keeps its number. */
  readonly seq: number
  /** The generation and the tick of the last answer; both 0 in a session without one. */
  readonly generation: number
  readonly tick: number
  /** The limits that this session is configured with. */
  readonly limits: string
  /** The limits of the last answer that had any, if there was a resize; otherwise empty. */
  readonly resized: string
  /** The revision of the limits that the session knows; 0 at first. */
  readonly revision: number
  /** Permits in use in this session. The store counts by itself, unless it has to adopt the session. */
  readonly held: number
  /** Permits given back since the last message. */
  readonly ended: number
  /** In how many microseconds the session will send its next message by itself; 0 for no such promise. */
  readonly visit: number
  /** Pauses the meter for so many microseconds; 0 resumes it; -1 does neither. */
  readonly pause: number
  /** The session ends with this message. */
  readonly leave: boolean
  /** New limits for all sessions, or empty. */
  readonly resize: string
  /** If this message shows that state was lost, the windows begin anew; only leases are waited for. Default: `false`. */
  readonly afresh?: boolean
  /** The store's time from which on the message is too late: its session is over then. Default: 0, for never. */
  readonly until?: number
  readonly reports: ReadonlyArray<Report>
  readonly corrections: ReadonlyArray<Correction>
  readonly withdrawn: ReadonlyArray<{ readonly batch: number; readonly count: number }>
  readonly demand: ReadonlyArray<Demand>
}

/**
 * Slots, and the permits for as many tasks of one batch. Slot j is at `slotAt(grant, j)`, and its first token is
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
  /** Of a message that a later one has overtaken, or that has come too late; it has changed nothing. */
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
  /** The store did not know the session: it has noted `held`, and wants all demand declared again. */
  readonly adopted: boolean
  /** In how many microseconds the next message is worth while; 0 if none is before something changes. */
  readonly visit: number
  /** The meter is paused until then; 0 if it has never been. */
  readonly paused: number
  /** Nothing is granted before then, because state was lost; 0 if none was. */
  readonly quarantine: number
  readonly revision: number
  /** The limits, if the message knew another revision or had other limits; otherwise empty. */
  readonly limits: string
  /** The arrival number of each batch that this message has declared. */
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
