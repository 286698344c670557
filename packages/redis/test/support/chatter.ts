/**
 * Random messages of several sessions, in a random but possible order: resends, replies that are lost, messages that
 * overtake each other, sessions that stay silent, state that is lost or rolled back, clocks that are set back. It does not
 * play fair (sessions claim what they do not hold, name entries that do not exist), as the stores must agree on that as well.
 */
import type { Answer, Grant, Message } from "../../src/protocol/message.ts"
import { protocolVersion } from "../../src/protocol/message.ts"
import type { Limits } from "../../src/protocol/limits.ts"
import { encodeLimits } from "../../src/protocol/limits.ts"
import type { Random } from "./random.ts"

export type Event =
  | { readonly type: "message"; readonly message: Message; readonly time: number }
  | { readonly type: "lose" }
  | { readonly type: "save" }
  | { readonly type: "roll back" }

interface Session {
  readonly id: string
  seq: number
  last: Message | undefined
  older: Message | undefined
  answer: Answer | undefined
  held: number
  grants: Array<Grant>
  batches: Array<readonly [batch: number, count: number, weight: number, arrival: number, costs: ReadonlyArray<number>]>
  batch: number
  lost: boolean
}

export class Chatter {
  private readonly random: Random
  private readonly limits: Limits
  private readonly variants: ReadonlyArray<string>
  private readonly sessions: Array<Session> = []
  private readonly number: number
  private time = 1_700_000_000_000_000
  private made = 0
  private saved = false
  private quarantined = false
  private current: Session | undefined

  private readonly calm: boolean

  /** With `calm`, nothing is lost but replies, and no session is silent for long, so that the logs grow. */
  constructor(random: Random, limits: Limits, sessions: number, calm = false) {
    this.calm = calm
    this.random = random
    this.limits = limits
    this.number = sessions
    this.variants = [1, 2, 0.5].map((factor) =>
      encodeLimits({
        ...limits,
        permits: Math.ceil(limits.permits * factor),
        rate: limits.rate * factor,
        windows: limits.windows.map((window) => ({ ...window, limit: Math.ceil(window.limit * factor) }))
      })
    )
    for (let index = 0; index < sessions; index++) this.sessions.push(this.join())
  }

  private join(): Session {
    return {
      id: `s${this.made++}"\\é`,
      seq: 0,
      last: undefined,
      older: undefined,
      answer: undefined,
      held: 0,
      grants: [],
      batches: [],
      batch: 1,
      lost: false
    }
  }

  next(): Event {
    const { random } = this
    if (this.calm) return this.speak(random.int(0, 500))
    if (random.chance(0.0005)) return { type: "lose" }
    if (random.chance(0.001)) {
      this.saved = true
      return { type: "save" }
    }
    if (this.saved && random.chance(0.0005)) return { type: "roll back" }
    return this.speak(this.elapse())
  }

  private speak(elapsed: number): Event {
    const { random } = this
    this.time += elapsed
    const place = random.int(0, this.number - 1)
    if (!this.calm && random.chance(0.002)) this.sessions[place] = this.join()
    const session = this.sessions[place]!
    this.current = undefined
    const again = session.last !== undefined && (session.lost || random.chance(0.02))
    // Otherwise, a number that was refused leaves a gap, which a state that grows must not have.
    if (again && (this.calm || random.chance(0.9))) {
      this.current = session
      return { type: "message", message: session.last!, time: this.time }
    }
    if (session.older !== undefined && random.chance(0.01)) {
      return { type: "message", message: session.older, time: this.time }
    }
    this.current = session
    session.older = session.last
    session.last = this.message(session)
    return { type: "message", message: session.last, time: this.time }
  }

  private elapse(): number {
    const { random } = this
    if (random.chance(0.01)) return -random.int(1, 50_000)
    if (random.chance(0.003)) return random.int(0, 2 * this.limits.lease)
    if (random.chance(0.0003)) return 12 * this.limits.lease
    if (random.chance(0.03)) return random.int(0, 200_000)
    if (this.quarantined && random.chance(0.01)) return 500_000_000
    return random.int(0, this.limits.permits > 0 ? 10_000 : 3_000)
  }

  /** Some messages come too late, and some would only if they were sent again. */
  private until(): number {
    if (!this.calm && this.random.chance(0.002)) return Math.max(1, this.time - this.random.int(0, 100_000))
    return this.random.chance(0.5) ? 0 : this.time + this.limits.lease
  }

  private message(session: Session): Message {
    const { random } = this
    const { answer } = session
    const unfair = random.chance(0.01)
    session.seq += !this.calm && random.chance(0.0003) ? 2 : 1
    const reports = []
    const corrections = []
    const kept: Array<Grant> = []
    let ended = 0
    for (const grant of session.grants) {
      if (random.chance(0.3)) {
        kept.push(grant)
        continue
      }
      const unused = random.chance(0.8) ? 0 : random.int(0, grant.count)
      if (random.chance(0.95))
        reports.push({ grant: grant.id, late: random.int(0, random.chance(0.05) ? 150_000 : 2_000), unused })
      grant.entries.forEach((entry, log) => {
        if (entry > 0 && random.chance(0.2)) corrections.push({ log, entry, by: random.int(-20, 20) / 4 })
      })
    }
    session.grants = kept
    ended = session.held - kept.reduce((sum, { count, weight }) => sum + count * weight, 0)
    session.held -= ended
    if (unfair) {
      reports.push({ grant: random.int(0, 5), late: 7, unused: 3 })
      if (this.limits.rate > 0) corrections.push({ log: 0, entry: random.int(0, 50), by: 1 })
      ended += random.int(0, 3)
    }
    const withdrawn = []
    const demand = []
    if (answer?.adopted === true) {
      for (const [batch, count, weight, arrival, costs] of session.batches)
        demand.push({ batch, count, weight, arrival, costs })
    } else {
      session.batches = session.batches.filter(() => !random.chance(0.1))
      if (random.chance(this.calm ? 0.95 : 0.4)) {
        const batch = session.batch++
        const count = random.chance(0.95) ? random.int(1, 5) : random.int(1, 300)
        const weight = this.limits.permits > 0 ? random.int(1, random.chance(0.9) ? 2 : this.limits.permits) : 0
        const costs = this.limits.windows.map(({ limit }) =>
          random.chance(0.2) ? 0 : random.int(1, Math.min(40, limit * 4)) / 4
        )
        demand.push({ batch, count, weight, arrival: 0, costs })
        session.batches.push([batch, count, weight, 0, costs])
      }
      if (session.batches.length > 0 && random.chance(0.3)) {
        // More of the same.
        const [batch, , weight, , costs] = random.pick(session.batches)
        demand.push({ batch, count: random.int(1, 30), weight, arrival: 0, costs })
      }
      if (session.batches.length > 0 && random.chance(0.1)) {
        withdrawn.push({ batch: random.pick(session.batches)[0], count: random.int(1, 6) })
      }
    }
    const forgets = random.chance(0.003)
    return {
      version: random.chance(0.002) ? protocolVersion + 1 : protocolVersion,
      session: session.id,
      seq: session.seq,
      generation: forgets ? 0 : (answer?.generation ?? 0),
      tick: forgets ? 0 : (answer?.tick ?? 0),
      limits: random.chance(0.003) ? '[1,2,3,4,[["other",1,2]]]' : this.variants[0]!,
      resized: "",
      revision: answer?.revision ?? 0,
      held: session.held,
      ended,
      visit: random.chance(0.2) ? 0 : (answer?.visit ?? 0),
      pause: !this.calm && random.chance(0.003) ? random.pick([0, 20_000, 300_000]) : -1,
      leave: !this.calm && random.chance(0.003),
      resize: random.chance(0.003) ? random.pick([...this.variants, '[1,2,3,4,[["other",1,2]]]']) : "",
      afresh: random.chance(0.2),
      until: this.until(),
      reports,
      corrections,
      withdrawn,
      demand
    }
  }

  /** What became of the last message, unless its reply is lost. */
  hear(answer: Answer): void {
    const session = this.current
    if (session === undefined) return
    session.lost = this.random.chance(0.05)
    if (session.lost) return
    this.quarantined = answer.quarantine > answer.now
    if (answer.status !== "ok") {
      // It has not counted.
      if (session.last!.seq === session.seq && answer.status !== "stale") session.seq--
      return
    }
    session.answer = answer
    if (answer.adopted) session.grants = []
    for (const { batch, arrival } of answer.arrivals) {
      session.batches = session.batches.map((known) =>
        known[0] === batch ? [known[0], known[1], known[2], arrival, known[4]] : known
      )
    }
    for (const grant of answer.grants) {
      if (session.grants.some(({ id }) => id === grant.id)) continue
      session.grants.push(grant)
      session.held += grant.count * grant.weight
    }
  }
}
