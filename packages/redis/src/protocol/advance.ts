/**
 * The protocol of a meter across processes, as one function of (state, message, time). A store applies it to one message
 * after another: the memory store calls it, and the script for Redis does the same in Lua. It uses no clock, client or process.
 *
 * Invariants (`docs/protocol.md` has the proofs):
 *
 * - **Time never falls.** `now` is the later of the given time and the last one. No time of a session is ever used.
 * - **Exactly once.** A session numbers its messages. The last one sent again gets the same answer and changes nothing, and
 *   an older one is stale. A session sends the next message only after the answer to the previous one.
 * - **Rates and windows.** Slots are granted in rising order, each at an instant at which all logs allow it
 *   (`slidingLog.ts`). A session starts a task in a slot only while the store's time is certainly between the slot and the
 *   slot plus the slack (`storeClock.ts`).
 * - **Permits.** `inUse` is the sum of what the sessions hold, and nothing is granted beyond the limit. A session whose lease
 *   is over holds nothing. It counts its lease from before it sent the message, the store from its arrival, so the lease ends
 *   in the session first.
 * - **Crashes.** A session that sends nothing loses what it has not fetched when a task could hardly start in it any more, after the
 *   slack or a horizon, and everything else at the end of its lease.
 * - **Lost state** is detected when a session knows more than the state: a later generation, a higher tick, or a gap in its
 *   numbers. Then a new state begins, and grants nothing until everything that may have been granted before has left the
 *   longest window. A message that arrives when its session may be forgotten is ignored, and shows no loss (`until`). A loss
 *   cannot be detected before a session that knew the state sends a message: until then, a new session starts at once. The
 *   quarantine follows with the first session that knew.
 * - **Liveness.** After each message, the queue is empty or its first waiter cannot be granted anything now. If only time has
 *   to pass, the answers to waiting sessions say when to send the next message; wake-ups only save time.
 */
import type { Answer, Message, Run, Status } from "./message.ts"
import { protocolVersion, slotAt } from "./message.ts"
import type { Terms } from "./limits.ts"
import { horizonAtMost, termsOf } from "./limits.ts"
import { begin, correct, expire, extend, pass, passageFor, revoke, settle } from "./slidingLog.ts"
import type { Delivery, Item, Session, State } from "./state.ts"
import { makeState } from "./state.ts"

/** How much lateness of visits the pace catches up. */
const catchUp = 10_000
/** With many sessions, slots are granted further ahead, so that each has to send fewer messages. */
const horizonPerSession = 500
/** The largest quantum, which applies without a rate. */
const quantumAtMost = 64
/** For how many leases a session that is gone is remembered. */
const leasesRemembered = 10
/** How many grants of a session can be reported. Older ones keep their slack. */
const outstandingAtMost = 256

export interface Advanced {
  readonly state: State | undefined
  readonly answer: Answer
  /** Sessions that should send a message at once. */
  readonly wakes: ReadonlyArray<string>
}

/** Applies one message. This may change the state that is passed in: use the returned one. `step` works on a copy. */
export const advance = (before: State | undefined, message: Message, time: number): Advanced => {
  const refuse = (status: Status): Advanced => ({ state: before, answer: refusal(status, before, time), wakes: [] })
  if (message.version !== protocolVersion) return refuse("version")
  const { until = 0 } = message
  if (until > 0 && Math.max(time, before?.now ?? 0) > until) return refuse("stale")
  const limits = before === undefined ? message.limits : before.limits
  if (message.limits !== limits && message.limits !== before!.original) return refuse("limits")
  if (message.resize !== "" && !isAlike(limits, message.resize)) return refuse("limits")
  if (before === undefined) return new Step(create(message, time, undefined), message, time).run()
  const session = before.sessions.get(message.session)
  if (session !== undefined && message.seq <= session.seq) {
    return message.seq < session.seq ? refuse("stale") : { state: before, answer: session.answer!, wakes: [] }
  }
  const state = isLost(before, session, message) ? create(message, time, before) : before
  return new Step(state, message, time).run()
}

/** Applies one message to a copy of the state. */
export const step = (before: State | undefined, message: Message, time: number): Advanced =>
  advance(structuredClone(before), message, time)

const refusal = (status: Status, state: State | undefined, time: number): Answer => ({
  status,
  version: protocolVersion,
  now: state === undefined ? time : Math.max(time, state.now),
  generation: 0,
  tick: 0,
  adopted: false,
  visit: 0,
  paused: 0,
  quarantine: 0,
  revision: 0,
  limits: status === "limits" && state !== undefined ? state.limits : "",
  arrivals: [],
  grants: []
})

/** Whether the session knows more than the state. */
const isLost = (state: State, session: Session | undefined, message: Message): boolean =>
  message.generation > state.generation ||
  (message.generation === state.generation &&
    (message.tick > state.tick || message.seq > (session === undefined ? 0 : session.seq) + 1))

/** Whether limits differ only in numbers, so that the logs mean the same under both. */
const isAlike = (one: string, other: string): boolean => {
  const shape = (text: string): string => {
    const [permits, rate, , , windows] = JSON.parse(text) as [number, number, number, number, Array<[string]>]
    return JSON.stringify([permits > 0, rate > 0, windows.map(([name]) => name)])
  }
  return shape(one) === shape(other)
}

/** How long nothing is granted after lost state is detected. Permits stay in use until their sessions return or their leases end. */
const quarantineOf = ({ lease, permits, quarantine }: Terms, { afresh }: Message): number => {
  if (afresh !== true) return quarantine
  return permits > 0 ? lease : 0
}

/** A state without sessions. It is in quarantine, unless the session knows no earlier state. */
const create = (message: Message, time: number, lost: State | undefined): State => {
  const now = lost === undefined ? time : Math.max(time, lost.now)
  const limits = message.resized === "" ? message.limits : message.resized
  const terms = termsOf(limits)
  const known = lost === undefined ? 0 : Math.max(lost.generation, lost.arrival, lost.token)
  const generation = Math.max(now, message.generation + 1, known + 1)
  const quarantine = message.generation === 0 ? 0 : now + quarantineOf(terms, message)
  return makeState(generation, now, quarantine, message.limits, limits, terms)
}

class Step {
  private readonly state: State
  private readonly message: Message
  private readonly now: number
  /** When the previous message arrived. */
  private readonly since: number
  private terms: Terms
  private readonly wakes = new Set<string>()
  private readonly arrivals: Array<{ readonly batch: number; readonly arrival: number }> = []
  /** The instant that the first waiter waits for; 0 if it waits for permits. */
  private blocked = 0

  constructor(state: State, message: Message, time: number) {
    this.state = state
    this.message = message
    this.now = Math.max(time, state.now)
    this.since = state.now
    this.terms = termsOf(state.limits)
  }

  run(): Advanced {
    const { message, now, state } = this
    state.now = now
    state.tick++
    this.standStill()
    state.logs.forEach((log, index) => expire(log, this.terms.windows[index]!.per, now))
    this.checkDeadlines()
    if (message.generation !== 0 && message.generation < state.generation && state.quarantine === 0) {
      // The state began with a session that could not know of the previous state.
      state.quarantine = now + quarantineOf(this.terms, message)
      this.recall()
    }
    if (message.resize !== "" && message.resize !== state.limits) this.resize(message.resize)
    let session = state.sessions.get(message.session)
    const adopted = (session === undefined || session.gone) && message.seq > 1
    if (session === undefined || session.gone) session = this.admit(session)
    session.seq = message.seq
    session.visit = message.visit > 0 ? now + message.visit : 0
    session.expires = now + this.terms.lease
    // First: what the pause takes back from the session may be withdrawn by the same message.
    if (message.pause >= 0) this.pause(message.pause)
    if (!adopted) this.read(session)
    if (message.generation === state.generation) {
      for (const { log, entry, by } of message.corrections) correct(state.logs[log]!, entry, by)
    }
    if (message.leave) this.end(session)
    this.grant()
    return this.answer(session, adopted)
  }

  /** If nothing could be granted at the last message for a reason other than the pace, time stands still for the pace. */
  private standStill(): void {
    const { now, since, state } = this
    if (state.mode !== "held") return
    const slot = this.slot()
    if (slot <= since) state.base += now - since
    else if (slot < now) this.rebase(now, 0)
  }

  private slot(): number {
    return this.state.base + this.state.steps * this.terms.interval
  }

  private rebase(base: number, steps: number): void {
    this.state.base = base
    this.state.steps = steps
  }

  /** The latest slots have not been used: the next one need not keep a distance from them. */
  private returnSlots(count: number): void {
    const slot = this.slot()
    this.state.steps -= count
    if (this.slot() < this.now) this.rebase(Math.min(slot, this.now), 0)
  }

  private checkDeadlines(): void {
    const { now, state } = this
    for (const [id, at] of state.deadlines) {
      if (at > now) continue
      const session = state.sessions.get(id)!
      if (session.gone) {
        state.sessions.delete(id)
        state.deadlines.delete(id)
      } else if (session.expires <= now) {
        this.endOf(id, session)
      } else {
        session.aside.push(...this.takeBack(id, session))
        state.deadlines.set(id, session.expires)
      }
    }
  }

  /** Takes back what the session has not fetched, and returns it as demand. */
  private takeBack(id: string, session: Session): Array<Item> {
    const { state } = this
    const items = session.deliveries.map(({ arrival, asked, batch, costs, count, entries, weight }): Item => {
      entries.forEach((entry, log) => revoke(state.logs[log]!, entry, count))
      session.held -= count * weight
      state.inUse -= count * weight
      return { arrival, session: id, batch, count, weight: asked, costs }
    })
    session.deliveries = []
    session.due = 0
    return items
  }

  /** Takes back all deliveries, and puts their demand back in its place in the queue. */
  private recall(): void {
    for (const [id, session] of this.state.sessions) {
      for (const item of this.takeBack(id, session)) this.enqueue(item)
      if (!session.gone) this.state.deadlines.set(id, session.expires)
    }
  }

  private wakeOthers(): void {
    for (const [id, session] of this.state.sessions) {
      if (!session.gone && id !== this.message.session) this.wakes.add(id)
    }
  }

  private resize(limits: string): void {
    const { state } = this
    const slot = this.slot()
    state.limits = limits
    state.revision++
    this.terms = termsOf(limits)
    this.rebase(Math.ceil(Math.min(slot, Math.max(this.now, state.last + this.terms.interval))), 0)
    this.wakeOthers()
  }

  private admit(gone: Session | undefined): Session {
    const { message, state } = this
    const session: Session = gone ?? {
      seq: 0,
      answer: undefined,
      gone: false,
      expires: 0,
      held: 0,
      visit: 0,
      due: 0,
      deliveries: [],
      outstanding: [],
      aside: []
    }
    session.gone = false
    session.held = message.held
    state.inUse += message.held
    state.live++
    state.sessions.set(message.session, session)
    return session
  }

  /** Applies the message of a session that the state knows. */
  private read(session: Session): void {
    const { message, state } = this
    const ended = Math.min(message.ended, session.held)
    session.held -= ended
    state.inUse -= ended
    for (const { grant, late, unused } of message.reports) {
      const index = session.outstanding.findIndex(({ id }) => id === grant)
      if (index < 0) continue
      const [known] = session.outstanding.splice(index, 1)
      if (this.terms.rate > 0 && unused > 0 && grant + unused - 1 === state.token) this.returnSlots(unused)
      known!.entries.forEach((entry, log) => settle(state.logs[log]!, entry, late, unused))
    }
    for (const item of session.aside) this.enqueue(item)
    session.aside = []
    for (const { batch, count } of message.withdrawn) {
      let left = count
      // A batch can be in the queue more than once. The last item is withdrawn first.
      for (let index = state.queue.length - 1; index >= 0 && left > 0; index--) {
        const item = state.queue[index]!
        if (item.session !== message.session || item.batch !== batch) continue
        const less = Math.min(left, item.count)
        left -= less
        item.count -= less
        if (item.count === 0) state.queue.splice(index, 1)
      }
    }
    const quantum = this.quantum(this.horizon())
    for (const { arrival: known, batch, costs, count, weight } of message.demand) {
      // More demand for a batch that has at least a quantum left joins it: behind that quantum, it is served at the batch's next
      // turn anyway. So the queue has few items for each session.
      const same =
        known > 0
          ? undefined
          : state.queue.findLast(
              (item) => item.session === message.session && item.batch === batch && item.count >= quantum
            )
      const arrival = known > 0 ? known : (same?.arrival ?? state.arrival + 1)
      state.arrival = Math.max(state.arrival, arrival)
      this.arrivals.push({ batch, arrival })
      if (same === undefined) this.enqueue({ arrival, session: message.session, batch, count, weight, costs })
      else same.count += count
    }
  }

  private enqueue(item: Item): void {
    const { queue } = this.state
    let index = queue.length
    while (index > 0 && queue[index - 1]!.arrival > item.arrival) index--
    queue.splice(index, 0, item)
  }

  private pause(duration: number): void {
    const { now, state } = this
    if (duration === 0) {
      state.paused = Math.min(state.paused, now)
    } else {
      state.paused = Math.max(state.paused, now + duration)
      this.recall()
    }
    this.wakeOthers()
  }

  private end(session: Session): void {
    this.endOf(this.message.session, session)
  }

  /** From now on, the session holds nothing and waits for nothing. */
  private endOf(id: string, session: Session): void {
    const { now, state } = this
    this.takeBack(id, session)
    state.inUse -= session.held
    state.live--
    session.held = 0
    session.gone = true
    session.outstanding = []
    session.aside = []
    for (let index = state.queue.length - 1; index >= 0; index--) {
      if (state.queue[index]!.session === id) state.queue.splice(index, 1)
    }
    state.deadlines.set(id, now + leasesRemembered * this.terms.lease)
  }

  private horizon(): number {
    return Math.min(horizonAtMost, Math.max(this.terms.horizon, horizonPerSession * this.state.live))
  }

  /** How many tasks of one batch are granted in a row while others wait. */
  private quantum(horizon: number): number {
    const { interval, permits, rate } = this.terms
    return Math.max(
      1,
      Math.min(
        rate > 0 ? Math.min(quantumAtMost, Math.floor(horizon / 2 / interval)) : quantumAtMost,
        permits > 0 ? Math.ceil(permits / 8) : Infinity
      )
    )
  }

  /** Grants to the first waiter, until it cannot be granted anything. */
  private grant(): void {
    const { now, state } = this
    const { interval, rate, burst } = this.terms
    if (state.queue.length === 0) {
      state.mode = "idle"
      return
    }
    if (state.quarantine > now || state.paused > now) {
      state.mode = "held"
      this.blocked = Math.max(state.quarantine, state.paused)
      return
    }
    const horizon = this.horizon()
    if (rate > 0) {
      const slot = this.slot()
      if (state.mode === "idle" && slot < now - (burst - 1) * interval) this.rebase(now, 1 - burst)
      else if (state.mode === "paced" && slot < now - catchUp) this.rebase(now - catchUp, 0)
    }
    const quantum = this.quantum(horizon)
    state.mode = "idle"
    const recipients = new Set<string>()
    for (let item = state.queue[0]; item !== undefined; item = state.queue[0]) {
      const session = state.sessions.get(item.session)!
      const most = state.queue.length > 1 ? Math.min(item.count, quantum) : item.count
      const given = this.grantTo(item, session, most, now + horizon, recipients)
      item.count -= given
      if (item.count === 0) {
        state.queue.shift()
      } else if (given < most) {
        break
      } else {
        state.queue.shift()
        item.arrival = ++state.arrival
        state.queue.push(item)
      }
    }
    for (const id of recipients) {
      if (id === this.message.session) continue
      const session = state.sessions.get(id)!
      session.due = now + Math.max(this.terms.slack, horizon)
      state.deadlines.set(id, Math.min(session.expires, session.due))
      if (session.visit === 0 || slotAt(session.deliveries[0]!, 0) < session.visit) this.wakes.add(id)
    }
  }

  /** Grants up to `most` tasks of the batch, and returns how many. */
  private grantTo(item: Item, session: Session, most: number, until: number, recipients: Set<string>): number {
    const { now, state } = this
    const { permits, rate, interval, windows, slack, tokens } = this.terms
    const weight = Math.min(item.weight, permits)
    const paced = rate > 0 ? 1 : 0
    const costs = windows.map(({ limit }, log) => (log < paced ? 1 : Math.min(item.costs[log - paced]!, limit)))
    const tolerance = paced === 1 ? Math.min(...windows.map(({ per }) => per / 1_000)) : 0
    let run: Delivery | undefined
    for (let given = 0; given < most; given++) {
      if (permits > 0 && state.inUse + weight > permits) {
        state.mode = "held"
        this.blocked = 0
        return given
      }
      const slot = paced === 1 ? Math.ceil(this.slot()) : 0
      let instant = Math.max(now, state.last, slot)
      // `pace` is what the pace waits for. Beyond it, `rated` waits for late starts in the window of the rate, and is caught up.
      let pace = slot
      let rated = slot
      const passages = costs.map((cost, log) => {
        if (cost === 0) return undefined
        const { limit, per } = windows[log]!
        const passage = passageFor(state.logs[log]!, limit, per, cost)
        instant = Math.max(instant, passage.instant)
        if (log < paced) rated = Math.max(rated, passage.instant)
        pace = Math.max(pace, log < paced ? passage.nominal : passage.instant)
        return passage
      })
      const followed = passages.find((passage) => passage?.instant === instant)?.run
      let reached = rated
      if (run !== undefined && run.interval > 0) {
        // A run is continued if that delays the slot only a little. Otherwise each round of a window would cut its runs where
        // messages and lateness end them, until each run had one slot, and a message had to process each slot.
        const following = slotAt(run, run.count)
        if (following > instant && following <= instant + tolerance) {
          instant = following
          reached = Math.max(reached, following)
        }
      }
      if (instant > until) {
        state.mode = reached > until ? "paced" : "held"
        this.blocked = instant
        return given
      }
      // A slot that waits for the slots of a run to leave the window follows that run.
      let place: Run = { base: instant, from: 0, interval: 0 }
      if (followed !== undefined && followed.interval > 0 && slotAt(followed, 0) === instant) place = followed
      if (paced === 1) {
        if (pace > slot) this.rebase(pace, 0)
        // On the grid of the pace, the following slots belong to the same run.
        if (pace === instant) place = { base: state.base, from: state.steps, interval }
        if (rated > pace + catchUp) state.base += rated - pace - catchUp
        if (++state.steps >= rate) {
          state.base += state.steps * interval
          state.steps = 0
        }
      }
      state.last = instant
      state.inUse += weight
      session.held += weight
      const id = state.token + 1
      state.token += tokens
      passages.forEach((passage, log) => {
        if (passage !== undefined) pass(state.logs[log]!, passage)
      })
      if (
        run !== undefined &&
        slotAt(run, run.count) === instant &&
        run.entries.every((entry, log) => entry === 0 || entry >= state.logs[log]!.head)
      ) {
        run.entries.forEach((entry, log) => {
          if (entry > 0) extend(state.logs[log]!, entry, costs[log]!, instant)
        })
        run.count++
        continue
      }
      run = {
        id,
        batch: item.batch,
        ...place,
        count: 1,
        weight,
        entries: costs.map((cost, log) =>
          cost === 0 ? 0 : begin(state.logs[log]!, windows[log]!.per, place, cost, slack)
        ),
        arrival: item.arrival,
        costs: item.costs,
        asked: item.weight
      }
      session.deliveries.push(run)
      recipients.add(item.session)
    }
    return most
  }

  private answer(session: Session, adopted: boolean): Advanced {
    const { arrivals, message, now, state, wakes } = this
    const grants = session.deliveries.map(({ id, batch, base, from, interval, count, weight, entries }) => ({
      id,
      batch,
      base,
      from,
      interval,
      count,
      weight,
      entries
    }))
    session.outstanding.push(...grants.map(({ id, entries }) => ({ id, entries })))
    session.outstanding.splice(0, session.outstanding.length - outstandingAtMost)
    session.deliveries = []
    session.due = 0
    if (!session.gone) state.deadlines.set(message.session, session.expires)
    const answer: Answer = {
      status: "ok",
      version: state.version,
      now,
      generation: state.generation,
      tick: state.tick,
      adopted,
      visit: session.gone ? 0 : this.nextVisit(session),
      paused: state.paused,
      quarantine: state.quarantine,
      revision: state.revision,
      limits: message.revision === state.revision ? "" : state.limits,
      arrivals,
      grants
    }
    session.answer = answer
    return { state, answer, wakes: [...wakes] }
  }

  /** In how long the session should send its next message, if nothing changes. */
  private nextVisit(session: Session): number {
    const { blocked, now, state } = this
    const { interval, lease } = this.terms
    const renewal = Math.floor(lease / 3)
    const horizon = this.horizon()
    const place = state.queue.findIndex(({ session: id }) => id === this.message.session)
    if (place < 0) {
      if (session.outstanding.length > 0) return Math.min(renewal, horizon + this.terms.slack)
      return session.held > 0 ? renewal : 0
    }
    if (blocked === 0) {
      // Permits may be freed because another session is silent.
      let visit = renewal
      for (const [id, at] of state.deadlines) {
        if (id !== this.message.session) visit = Math.min(visit, at - now)
      }
      return Math.max(1_000, visit)
    }
    const quantum = this.quantum(horizon)
    const ahead = state.queue.slice(0, place).reduce((sum, { count }) => sum + Math.min(count, quantum), 0)
    const opens = blocked + Math.ceil(ahead * interval) - horizon - now
    return Math.min(renewal, Math.max(Math.floor(horizon / 2), opens))
  }
}
