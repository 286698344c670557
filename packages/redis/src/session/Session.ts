/**
 * One process on one meter: requests grants from the store, and starts tasks in their slots. It implements the session of
 * `docs/protocol.md`, without a client or timers of its own.
 *
 * - **One message in flight.** What to send next is gathered meanwhile. A message without an answer is sent again unchanged.
 *   `speakSoon` waits for the end of the current step, so that everything in one step goes into one message.
 * - **Demand is a difference.** Before each message, `compare` compares what the waiters of the meter want with what has been
 *   requested and granted. The difference is new demand, or demand withdrawn. So a waiter that leaves needs no notification,
 *   and no state is kept for a waiter.
 * - **Slots** are used in the order of their grants. A slot that has passed, that a pause has revoked, or that no waiter wants
 *   is given up: its permits are given back with the next message, and demand that still waits is declared again with its
 *   arrival number.
 * - **Leases.** When the lease is over, the session is void: it begins anew under another name, with the permits that its tasks
 *   still hold, and the waiting demand.
 * - **One timer**, for the earliest of: the promised visit, the end of the lease, the next attempt, slots that expire.
 *
 * Times are microseconds of the meter's clock; those of slots are of the store's clock.
 */
import type { Limits, Terms } from "../protocol/limits.ts"
import { encodeLimits, termsOf } from "../protocol/limits.ts"
import type { Answer, Correction, Grant, Message, Report } from "../protocol/message.ts"
import { protocolVersion, slotAt } from "../protocol/message.ts"
import { drift, StoreClock } from "../protocol/storeClock.ts"
import type { MeterStore } from "../store/MeterStore.ts"
import { LeaseLostError, LimitsDifferError, ProtocolVersionError, StoreUnavailableError } from "./errors.ts"
import type { Cost, ExternalLimit, Meter, MeterLimits, Wish } from "./ExternalLimit.ts"
import { decodeLimits, isAlike, meterLimits, protocolLimits } from "./meterLimits.ts"
import type { Options } from "./options.ts"

/** The longest time between the last look at the clock and the start of a task that the proof assumes. */
const guard = 2_000
/** By how much timers may be late without the process being blocked. */
const timerMargin = 20_000
/** After this long without an answer, the store counts as out of reach. */
const outageAfter = 1_000_000
/** An unanswered attempt is repeated after this time, then after twice as long, and so on. */
const patience = 1_000_000
const longestPatience = 30_000_000
/** After an error, the next attempt comes after this time, then after twice as long, up to a second. */
const leastBackoff = 10_000
const longestBackoff = 1_000_000
/**
 * The longest time between two visits of a session that waits for a rate or a window: a waiter ahead of it may give up, of
 * which the store notifies no session.
 */
const longestWait = 200_000
/** How long unwanted grants are kept: a caller that runs one task after another wants the next at once. */
const restTime = 5_000
/** How long a closed session waits for the answer to its last message. */
const farewell = 1_000_000
/** For how many leases, in addition to the quarantine, the store keeps a state without messages. */
const leasesKept = 10
/** The longest pause: about 30 years. */
const longestPause = 1e15

/** What equal tasks ask for. */
interface Shape {
  readonly key: string
  readonly weight: number
  /** In the order of the windows of the protocol's limits. */
  readonly costs: ReadonlyArray<number>
}

/** Demand that the store knows, or that is on its way. */
interface Batch {
  readonly shape: Shape
  /** 0 until the store has assigned it. */
  arrival: number
  /** Tasks that are not granted yet. */
  count: number
}

/** A grant whose slots have not all been used or given up. */
interface Held {
  readonly grant: Grant
  readonly shape: Shape
  readonly arrival: number
  /** The number of slots, without those at the end that were given up. */
  count: number
  next: number
  /** Tasks that are being started. */
  starting: number
  unused: number
  late: number
}

/** The permits of a slot, with which further tasks may start after its own: `until` that time, by the meter's clock. */
interface Turn {
  readonly permits: number
  readonly until: number
  readonly token: number
  /** How many tasks may follow. */
  readonly left: number
}

/** What a task has taken. */
export interface Taken {
  /** The grant of its slot; `undefined` for a task that has taken over the permits of another one. */
  readonly held: Held | undefined
  readonly slot: number
  readonly generation: number
  /** As granted, then as corrected. */
  readonly costs: Array<number>
  readonly fencingToken: number
}

interface InFlight {
  readonly message: Message
  /** When it was first sent. */
  readonly sent: number
  /** The pause in the message. */
  readonly pausing: { readonly until: number } | undefined
  isHeard: boolean
}

/** When the next steps are due: `Infinity` for never. */
interface Agenda {
  /** A message, even an empty one: it renews the lease and fetches grants. */
  visit: number
  /** A message, if there is something to send. */
  look: number
  /** Another attempt at the message in flight. */
  attempt: number
}

const noneHeld: ReadonlyMap<Held, number> = new Map()

export class Session implements ExternalLimit {
  private readonly store: MeterStore
  private readonly name: string
  private readonly options: Options
  private readonly newId: () => string
  private limits: Limits
  private terms: Terms
  /** The encoded limits that this process was configured with. */
  private readonly configured: string
  /** The limits of the last answer that had any. */
  private resized = ""
  private revision = 0
  private meter!: Meter
  private clock = new StoreClock()
  private id = ""
  private unsubscribe: (() => void) | undefined
  private seq = 0
  private generation = 0
  private tick = 0
  private answeredAt = -Infinity
  private leaseEnds = Infinity
  /** The `visit` of the last answer. */
  private lastVisit = 0
  /** When the first message since the last answer was sent; `Infinity` if there is none. */
  private silentSince = Infinity
  private inFlight: InFlight | undefined
  private isSoon = false
  private isDown = false
  /** A message is to be sent, even an empty one. */
  private isAsking = false
  /** Attempts since the last answer. */
  private attempts = 0
  /** The last error of the store's client. */
  private lastError: unknown
  private isRefused = false
  /** The last message of the session that this one replaces, until the store knows this one. */
  private replaced: Message | undefined
  /** The promise that `close` has returned: the session ends when no task holds anything. */
  private leaving: Promise<void> | undefined
  /** Resolves it. */
  private closed: (() => void) | undefined
  private isClosed = false
  private readonly agenda: Agenda = { visit: Infinity, look: Infinity, attempt: Infinity }
  private timerAt = Infinity
  private cancelTimer: (() => void) | undefined
  private lastBatch = 0
  private readonly batches = new Map<number, Batch>()
  private held: Array<Held> = []
  /** Arrival numbers of slots that were given up, by shape. */
  private readonly arrivals = new Map<string, Array<number>>()
  private reports: Array<Report> = []
  private corrections: Array<Correction> = []
  private endedPermits = 0
  /** The permits of slots that were just used: while a task uses them, and while the next task is about to take them over. */
  private turns: Array<Turn> = []
  private free: Array<Turn> = []
  /** Permits of running tasks. */
  private running = 0
  /** Those of `running` that the store does not know, since it has not granted them. */
  private unknown = 0
  /** The store's time until which the meter is paused. */
  private pausedUntil = -Infinity
  /** A pause that the store does not know yet, by the meter's clock; -1 to resume. */
  private pausing: { readonly until: number } | undefined
  private resizing = ""

  constructor(store: MeterStore, name: string, limits: MeterLimits, options: Options, newId: () => string) {
    this.store = store
    this.name = name
    this.options = options
    this.newId = newId
    this.limits = protocolLimits(limits, options.lease * 1_000)
    this.configured = encodeLimits(this.limits)
    this.terms = termsOf(this.configured)
  }

  attach(meter: Meter): void {
    this.meter = meter
  }

  // What the meter asks for

  get isPaused(): boolean {
    return this.pausing === undefined ? this.clock.least(this.now) < this.pausedUntil : this.pausing.until > this.now
  }

  opensIn(wish: Wish, kept: ReadonlyArray<Wish> = []): number {
    if (this.isPausing) return Infinity
    const now = this.now
    if (this.isLeaseOver(now)) this.loseLease()
    this.dropLate(now)
    if (this.freeFor(wish) !== undefined) return 0
    const held = this.fitting(wish, kept)
    if (held === undefined) {
      // If the store has demand of this session, its next visit declares this wish, too, such as at the end of a pause.
      if (this.batches.size === 0) this.speakSoon()
      // The first waiter cannot use what later ones were granted. They start after it, unless that is too late.
      for (const { grant, next } of this.held) this.lookBy(this.clock.reaches(slotAt(grant, next) + this.terms.slack))
      return Infinity
    }
    const slot = slotAt(held.grant, held.next)
    if (this.clock.least(now) >= slot) return 0
    // Rounded up, so that the timer does not fire early.
    return Math.max(1, Math.ceil((this.clock.reaches(slot) - now) * 1_000))
  }

  take(wish: Wish, kept: ReadonlyArray<Wish> = []): Taken {
    const free = this.freeFor(wish)
    if (free !== undefined) return this.takeOver(free, this.weightOf(wish))
    const held = this.fitting(wish, kept)!
    const { grant, shape } = held
    const slot = slotAt(grant, held.next)
    const { horizon, tokens } = this.terms
    const fencingToken = grant.id + held.next * tokens
    held.next++
    held.starting++
    if (grant.weight > 0) {
      const weight = this.weightOf(wish)
      this.running += weight
      if (grant.weight > weight) this.giveBack(grant.weight - weight)
      // Until then, the order of arrival is as exact as the protocol makes it anyway.
      if (tokens > 1) {
        const until = this.now + horizon / 2
        this.turns.push({ permits: weight, until, token: fencingToken, left: tokens - 1 })
      }
    }
    const taken: Taken = { held, slot, generation: this.generation, costs: [...shape.costs], fencingToken }
    const costs = this.costsOf(wish.cost)
    if (costs.some((cost, index) => cost !== shape.costs[index])) this.send(this.correctTo(taken, costs))
    return taken
  }

  started(grant: unknown): void {
    const { held, slot } = grant as Taken
    if (held === undefined) return
    const late = Math.ceil(this.clock.most(this.now) - slot)
    held.starting--
    held.late = Math.max(held.late, late)
    if (late > this.terms.slack) this.tell({ type: "stalled", meter: this.name, by: (late - this.terms.slack) / 1_000 })
    this.reportIfOver(held)
  }

  correct(grant: unknown, cost: Cost): void {
    this.send(this.correctionsOf(grant as Taken, cost))
  }

  /** Corrects the costs of a task, and returns what the store has to learn of that. */
  correctionsOf(taken: Taken, cost: Cost): ReadonlyArray<Correction> {
    return this.correctTo(
      taken,
      this.limits.windows.map(({ name }, index) => (Object.hasOwn(cost, name) ? cost[name]! : taken.costs[index]!))
    )
  }

  ended(permits: number): void {
    if (this.terms.permits === 0) return
    // A process that stood still has to learn of it, even if its tasks end before its timers fire.
    if (this.isLeaseOver(this.now)) this.loseLease()
    this.running -= permits
    const known = Math.max(0, permits - this.unknown)
    this.unknown -= permits - known
    if (!this.keep(known)) this.giveBack(known)
  }

  added(): void {
    // Waiters arrive at the store in their order to within this time.
    this.lookBy(this.now + this.terms.horizon / 2)
  }

  rest(): void {
    if (this.batches.size > 0 || this.held.length > 0) this.lookBy(this.now + restTime)
  }

  pause(nanos: number): void {
    this.pausing = { until: nanos === 0 ? -1 : this.now + Math.min(nanos / 1_000, longestPause) }
    this.speakSoon()
  }

  resize(limits: MeterLimits): void {
    const next = protocolLimits(limits, this.limits.lease)
    if (!isAlike(this.limits, next)) {
      throw new TypeError("resize can change the numbers of a meter on a store, but cannot add or remove a limit")
    }
    this.resizing = encodeLimits(next)
    this.giveUpHeld()
    this.speakSoon()
  }

  close(): Promise<void> {
    // A second call waits for the same end.
    return (this.leaving ??= this.leave())
  }

  private leave(): Promise<void> {
    // During an outage, the store has already been silent for as long as this would wait.
    if (this.seq === 0 || this.isRefused || this.isClosed || this.isDown) {
      this.end()
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      // An unreachable store must not keep the program alive: the end of the lease frees what is held.
      const cancel = this.meter.after(farewell * 1_000, () => this.end())
      this.closed = () => {
        cancel()
        resolve()
      }
      this.speakSoon()
    })
  }

  // Tasks that start without the store

  /** Permits of running tasks. */
  get permitsInUse(): number {
    return this.running
  }

  /** For how much longer the meter is paused, in nanoseconds. */
  get pausedFor(): number {
    const { now } = this
    const micros = this.pausing === undefined ? this.pausedUntil - this.clock.least(now) : this.pausing.until - now
    return Math.max(0, micros * 1_000)
  }

  /** Adds permits that tasks hold without a grant of this session. The store learns of them when it answers again. */
  hold(permits: number): void {
    if (this.terms.permits > 0) {
      this.running += permits
      this.unknown += permits
    }
    // Otherwise a session without waiters would not send a message again.
    this.isAsking = true
    if (this.inFlight === undefined) this.speakSoon()
  }

  /** The state has changed without a message of this session: the next answer may say other times than the last one. */
  ask(): void {
    this.isAsking = true
    this.speakSoon()
  }

  /** Adds these amounts to each log, that of the rate first, as if the task of that slot had spent them. */
  charge({ held }: Taken, amounts: ReadonlyArray<number>): void {
    amounts.forEach((by, log) => {
      if (by > 0) this.corrections.push({ log, entry: held!.grant.entries[log]!, by })
    })
    this.speakSoon()
  }

  /**
   * Only a new session can tell the store that more permits are in use than it knows. The old one leaves when the store has
   * answered that, so that the permits in use here are never granted to others.
   */
  private replace(last: Message): void {
    this.startOver()
    this.replaced = last
    this.speak()
  }

  /**
   * Lets a session leave that is over and whose last message this was. If the new message is lost, its lease ends. It claims to
   * know no generation: a store that has forgotten the session must not take the message for lost state.
   */
  private leaveBehind(last: Message): void {
    const nothing = {
      ended: 0,
      visit: 0,
      pause: -1,
      resize: "",
      reports: [],
      corrections: [],
      withdrawn: [],
      demand: []
    }
    const message: Message = { ...last, ...nothing, seq: last.seq + 1, generation: 0, tick: 0, leave: true }
    this.store.exchange(this.name, message, this.now).catch(() => {})
  }

  private end(): void {
    this.closed?.()
    this.closed = undefined
    // Tasks that are still running have to be accounted for.
    if (this.running > 0 && !this.isRefused) return
    this.isClosed = true
    this.inFlight = undefined
    this.unsubscribe?.()
    this.unsubscribe = undefined
    this.cancelTimer?.()
    this.cancelTimer = undefined
    this.timerAt = Infinity
  }

  // Slots

  private get now(): number {
    return this.meter.now() / 1_000
  }

  /** Whether a pause is on its way to the store: nothing starts before the answer says when it ends. */
  private get isPausing(): boolean {
    return this.pausing !== undefined && this.pausing.until > 0
  }

  private weightOf({ permits }: Wish): number {
    return this.terms.permits === 0 ? 0 : permits
  }

  private costsOf(cost: Cost | undefined): ReadonlyArray<number> {
    return this.limits.windows.map(({ name }) => (cost !== undefined && Object.hasOwn(cost, name) ? cost[name]! : 1))
  }

  private shapeOf(wish: Wish): Shape {
    const weight = this.weightOf(wish)
    const costs = this.costsOf(wish.cost)
    return { key: `${weight}/${costs.join()}`, weight, costs }
  }

  /** The first grant with a slot that is large enough for the task, beside those that are kept for others. */
  private fitting(wish: Wish, kept: ReadonlyArray<Wish> = []): Held | undefined {
    if (this.held.length === 0) return undefined
    if (kept.length === 0) return this.fittingBeside(noneHeld, wish)
    const ofOthers = new Map<Held, number>()
    for (const other of kept) {
      const held = this.fittingBeside(ofOthers, other)
      if (held !== undefined) ofOthers.set(held, (ofOthers.get(held) ?? 0) + 1)
    }
    return this.fittingBeside(ofOthers, wish)
  }

  private fittingBeside(ofOthers: ReadonlyMap<Held, number>, wish: Wish): Held | undefined {
    const weight = this.weightOf(wish)
    const costs = this.costsOf(wish.cost)
    return this.held.find(
      (held) =>
        held.next + (ofOthers.get(held) ?? 0) < held.count &&
        held.grant.weight >= weight &&
        costs.every((cost, index) => cost <= held.shape.costs[index]!)
    )
  }

  /** Gives up the slots in which tasks can no longer start. */
  private dropLate(now: number): void {
    const latest = this.clock.most(now) - this.terms.slack + guard
    // While the store's time is uncertain, a slot may be given up although this process is on time.
    const uncertain = this.clock.most(now) - this.clock.least(now)
    for (let index = 0; index < this.held.length; index++) {
      const held = this.held[index]!
      let slot: number
      let by = 0
      while (held.next < held.count && (slot = slotAt(held.grant, held.next)) < latest) {
        by = latest - slot - uncertain
        this.giveUp(held)
      }
      if (by > timerMargin) this.tell({ type: "late", meter: this.name, by: by / 1_000 })
      // A call can end between its admission and its start, which the meter does not report: assume the greatest lateness.
      if (held.starting > 0 && slotAt(held.grant, held.count - 1) < latest) {
        held.starting = 0
        held.late = Math.max(held.late, this.terms.slack)
      }
      if (this.reportIfOver(held)) index--
    }
  }

  /** Looks again when the next slot becomes too late: the waiter that it is kept for may wait for another meter until then. */
  private watchHeld(): void {
    const held = this.held.find(({ count, next }) => next < count)
    if (held !== undefined) {
      this.lookBy(this.clock.reaches(slotAt(held.grant, held.next) + this.terms.slack - guard) + 1)
    }
  }

  /** Gives up the next slot of a grant. A report follows. */
  private giveUp(held: Held): void {
    held.next++
    held.unused++
    const { grant, shape } = held
    if (grant.weight > 0) this.giveBack(grant.weight)
    const known = this.arrivals.get(shape.key)
    if (known === undefined) this.arrivals.set(shape.key, [held.arrival])
    else known.push(held.arrival)
    this.lookBy(this.now)
  }

  /** What was granted by other limits is asked for anew. */
  private giveUpHeld(): void {
    for (const held of this.held.toReversed()) {
      while (held.next < held.count) this.giveUp(held)
      this.reportIfOver(held)
    }
  }

  /** Reports a grant if all its slots have been used or given up. Returns whether it did. */
  private reportIfOver(held: Held): boolean {
    if (held.next < held.count || held.starting > 0) return false
    const index = this.held.indexOf(held)
    // It belongs to a session that is over.
    if (index < 0) return false
    this.held.splice(index, 1)
    this.reports.push({ grant: held.grant.id, late: held.late, unused: held.unused })
    return true
  }

  /**
   * Keeps permits that a task has given back for another task of this process, which takes them in this step or not at all.
   * A message to the store would take as long as a short task.
   */
  private keep(permits: number): boolean {
    const { now } = this
    this.turns = this.turns.filter(({ until }) => until > now)
    const index = this.turns.findIndex((turn) => turn.permits === permits && turn.left > 0)
    if (index < 0 || this.isPaused) return false
    this.free.push(this.turns.splice(index, 1)[0]!)
    if (this.free.length === 1) void Promise.resolve().then(() => this.giveBackFree())
    return true
  }

  private freeFor(wish: Wish): Turn | undefined {
    return this.free.length === 0 ? undefined : this.free.find(({ permits }) => permits >= wish.permits)
  }

  private takeOver(turn: Turn, permits: number): Taken {
    this.free.splice(this.free.indexOf(turn), 1)
    this.running += permits
    if (turn.permits > permits) this.giveBack(turn.permits - permits)
    const token = turn.token + 1
    this.turns.push({ permits, until: turn.until, token, left: turn.left - 1 })
    return { held: undefined, slot: 0, generation: this.generation, costs: [], fencingToken: token }
  }

  private giveBackFree(): void {
    for (const { permits } of this.free) this.giveBack(permits)
    this.free = []
  }

  private giveBack(permits: number): void {
    this.endedPermits += permits
    this.speakSoon()
  }

  private correctTo(taken: Taken, costs: ReadonlyArray<number>): ReadonlyArray<Correction> {
    if (taken.generation !== this.generation) return []
    const paced = this.terms.rate > 0 ? 1 : 0
    return costs.flatMap((cost, index) => {
      const entry = taken.held!.grant.entries[index + paced]!
      const by = cost - taken.costs[index]!
      taken.costs[index] = cost
      // A task whose estimated cost was 0 has no entry that could be corrected.
      return by !== 0 && entry > 0 ? [{ log: index + paced, entry, by }] : []
    })
  }

  private send(corrections: ReadonlyArray<Correction>): void {
    this.corrections.push(...corrections)
    if (this.corrections.length > 0) this.lookBy(this.now + this.terms.horizon / 2)
  }

  // Messages

  /** Sends a message at the end of this step, or after the answer to the one in flight. */
  private speakSoon(): void {
    if (this.isSoon) return
    this.isSoon = true
    void Promise.resolve().then(() => {
      if (this.isSoon) this.speak()
    })
  }

  private speak(): void {
    if (this.isClosed || this.isRefused || this.inFlight !== undefined) return
    this.giveBackFree()
    this.isSoon = false
    this.agenda.look = Infinity
    const now = this.now
    if (this.isLeaseOver(now)) this.loseLease()
    this.dropLate(now)
    this.watchHeld()
    const leave = this.leaving !== undefined && this.running === 0
    const { demand, withdrawn } = this.compare(leave ? [] : this.meter.wishes())
    const news = [demand, withdrawn, this.reports, this.corrections].some(({ length }) => length > 0)
    const hasCommand = this.pausing !== undefined || this.resizing !== "" || leave
    const isFirst = this.seq === 0
    // The store does not know this session, or its lease is over.
    if (isFirst && leave) return this.end()
    // All that a new session reports of the past is what its tasks hold.
    const isNeeded =
      this.isAsking ||
      (isFirst ? demand.length > 0 || this.running > 0 : this.agenda.visit <= now || news || this.endedPermits > 0)
    if (!isNeeded && !hasCommand) {
      if (isFirst) this.stopAsking()
      // Running tasks have nothing to give back yet.
      if (this.leaving !== undefined) this.end()
      return
    }
    this.isAsking = false
    if (isFirst) {
      this.begin()
      this.unknown = 0
    }
    const { corrections, pausing, reports } = this
    const ended = isFirst ? 0 : this.endedPermits
    this.reports = []
    this.corrections = []
    this.endedPermits = 0
    // While it waits for a rate, it visits often, and does not need to be woken.
    const promise = this.batches.size > 0 && this.lastVisit <= this.terms.horizon ? this.lastVisit : 0
    const knows = now - this.answeredAt < this.terms.quarantine + leasesKept * this.terms.lease
    const message: Message = {
      version: protocolVersion,
      session: this.id,
      seq: ++this.seq,
      generation: knows ? this.generation : 0,
      tick: knows ? this.tick : 0,
      limits: this.configured,
      resized: this.resized,
      revision: this.revision,
      held: this.heldPermits,
      ended,
      visit: promise,
      pause: pausing === undefined ? -1 : pausing.until < 0 ? 0 : Math.max(1, Math.ceil(pausing.until - now)),
      leave,
      resize: this.resizing,
      afresh: this.options.lostState === "startAfresh",
      // By then this session is over. The first message refers to nothing that could be lost, and reads the clock anew.
      until: isFirst ? 0 : Math.ceil(this.clock.most(now) + this.terms.lease),
      reports: isFirst ? [] : reports,
      corrections: isFirst ? [] : corrections,
      withdrawn,
      demand
    }
    this.agenda.visit = promise > 0 ? now + promise : Infinity
    this.inFlight = { message, sent: now, pausing, isHeard: false }
    this.silentSince = Math.min(this.silentSince, now)
    this.transmit(this.inFlight)
  }

  /** Permits of running tasks and of slots that wait for their task. */
  private get heldPermits(): number {
    return this.held.reduce((sum, { count, grant, next }) => sum + (count - next) * grant.weight, this.running)
  }

  /** As much as can be granted within a few visits: a script that grants more at once would delay others. */
  private get mostWanted(): number {
    const { horizon, interval } = this.terms
    return Math.max(64, interval > 0 ? Math.ceil((4 * horizon) / interval) : 0)
  }

  /**
   * What the first waiters want, by shape, in their order. The store may move the rest of a batch behind others, and a waiter
   * does not start before an earlier one. So demand behind several equal waiters is sent only after these have started.
   */
  private firstOf(wishes: ReadonlyArray<Wish>): ReadonlyMap<string, { readonly shape: Shape; readonly count: number }> {
    const wants = new Map<string, { readonly shape: Shape; count: number }>()
    let last: { readonly shape: Shape; count: number } | undefined
    for (const wish of wishes) {
      const shape = this.shapeOf(wish)
      // The cost of a call's next task is known only when it is next.
      const count = wish.cost === undefined ? wish.wanted : 1
      if (last?.shape.key === shape.key) {
        last.count = Math.min(last.count + count, this.mostWanted)
      } else if ((last !== undefined && last.count > 1) || wants.has(shape.key)) {
        break
      } else {
        last = { shape, count: Math.min(count, this.mostWanted) }
        wants.set(shape.key, last)
      }
    }
    return wants
  }

  /** What the waiters want beyond what the store knows and has granted, and which of that demand to withdraw. */
  private compare(wishes: ReadonlyArray<Wish>): Pick<Message, "demand" | "withdrawn"> {
    const wants = this.firstOf(wishes)
    const withdrawn: Array<{ readonly batch: number; readonly count: number }> = []
    const turns = this.isOutOfTurn(wishes[0]) ? this.withdrawAll(withdrawn) : undefined
    const has = new Map<string, number>()
    const add = ({ key }: Shape, count: number): void => void has.set(key, (has.get(key) ?? 0) + count)
    for (const { count, next, shape } of this.held) add(shape, count - next)
    for (const held of this.held.toReversed()) {
      // The latest slots are given up first: they delay others the least.
      const { key } = held.shape
      const surplus = has.get(key)! - (wants.get(key)?.count ?? 0)
      const given = Math.min(surplus, held.count - held.next)
      if (given <= 0) continue
      held.count -= given
      held.unused += given
      if (held.grant.weight > 0) this.giveBack(held.grant.weight * given)
      add(held.shape, -given)
      this.reportIfOver(held)
    }
    for (const { count, shape } of this.batches.values()) add(shape, count)
    for (const [id, batch] of [...this.batches].toReversed()) {
      const surplus = has.get(batch.shape.key)! - (wants.get(batch.shape.key)?.count ?? 0)
      const count = Math.min(surplus, batch.count)
      if (count <= 0) continue
      batch.count -= count
      add(batch.shape, -count)
      withdrawn.push({ batch: id, count })
    }
    const demand: Array<Message["demand"][number]> = []
    // The store keeps the order of waiters: arrival numbers of later demand are not lower.
    let least = 0
    for (const [key, { count, shape }] of wants) {
      let more = count - (has.get(key) ?? 0)
      for (const { arrival, count, shape } of this.batches.values()) {
        if (shape.key === key && count > 0) least = Math.max(least, arrival)
      }
      const known = (turns ?? this.arrivals.get(key) ?? []).sort((one, other) => one - other)
      // One batch for each run of equal numbers, and new demand last.
      while (more > 0) {
        const arrival = least === Infinity || known.length === 0 ? 0 : Math.max(least, known[0]!)
        let alike = arrival === 0 ? more : 1
        if (arrival > 0) {
          known.shift()
          while (alike < more && known.length > 0 && known[0]! <= arrival) {
            known.shift()
            alike++
          }
        }
        more -= alike
        least = arrival === 0 ? Infinity : arrival
        const batch = this.batchFor(shape, arrival)
        this.batches.get(batch)!.count += alike
        demand.push({ batch, count: alike, weight: shape.weight, arrival, costs: shape.costs })
      }
    }
    this.arrivals.clear()
    return { demand, withdrawn }
  }

  /** Whether the store would serve others before the first waiter, such as one of a high priority: none of them could start. */
  private isOutOfTurn(first: Wish | undefined): boolean {
    if (first === undefined || this.fitting(first) !== undefined) return false
    const { key } = this.shapeOf(first)
    // What others were granted has been given up. Numbers would not show that the store served them first: it moves the rest of
    // a batch behind others, of which the session does not learn.
    for (const [shape, arrivals] of this.arrivals) if (shape !== key && arrivals.length > 0) return true
    let own = Math.min(...(this.arrivals.get(key) ?? []))
    let others = Infinity
    for (const { arrival, shape } of this.batches.values()) {
      if (shape.key === key) own = Math.min(own, arrival)
      else others = Math.min(others, arrival)
    }
    return others < own
  }

  /** Withdraws all demand. The waiters exchange their places in the queue then, which are returned. */
  private withdrawAll(withdrawn: Array<{ readonly batch: number; readonly count: number }>): Array<number> {
    const turns = [...this.arrivals.values()].flat()
    for (const [id, batch] of this.batches) {
      const { arrival, count } = batch
      for (let index = 0; index < count; index++) turns.push(arrival)
      withdrawn.push({ batch: id, count })
      batch.count = 0
    }
    return turns
  }

  /** The batch for demand of that shape. New demand joins the last batch of its shape, so that the store has few batches. */
  private batchFor(shape: Shape, arrival: number): number {
    const known =
      arrival > 0
        ? undefined
        : [...this.batches].findLast(([, batch]) => batch.shape.key === shape.key && batch.count > 0)
    if (known !== undefined) return known[0]
    this.batches.set(++this.lastBatch, { shape, arrival, count: 0 })
    return this.lastBatch
  }

  private transmit(flight: InFlight): void {
    const again = 2 ** this.attempts++
    const waits = Math.min(patience * again, longestPatience)
    this.agenda.attempt = this.now + waits
    this.schedule()
    this.store.exchange(this.name, flight.message, this.now).then(
      (answer) => {
        if (this.inFlight === flight) this.hear(flight, answer)
        else if (flight.message.session !== this.id) this.hearLate(flight)
      },
      (error: unknown) => {
        if (this.inFlight !== flight) return
        this.lastError = error
        this.agenda.attempt = this.now + Math.min(leastBackoff * again, longestBackoff)
        this.schedule()
      }
    )
  }

  /**
   * The store has a session that this process has abandoned, for example because a client queued its messages while it was
   * offline. No task starts in the grants of that session. Each attempt may be answered, and only the first answer counts.
   */
  private hearLate(flight: InFlight): void {
    if (flight.isHeard || flight.message.leave) return
    flight.isHeard = true
    this.leaveBehind(flight.message)
  }

  private hear({ message, pausing, sent }: InFlight, answer: Answer): void {
    const now = this.now
    this.inFlight = undefined
    this.agenda.attempt = Infinity
    this.recover(now)
    if (answer.status !== "ok") {
      this.refused(answer)
      return
    }
    if (this.replaced !== undefined) this.leaveBehind(this.replaced)
    this.replaced = undefined
    const isNew = answer.generation !== this.generation
    const quarantine = Math.max(0, answer.quarantine - answer.now)
    if (isNew && (quarantine > 0 || message.generation !== 0)) {
      this.tell({ type: "stateLost", meter: this.name, quarantine: quarantine / 1_000 })
    }
    if (isNew) this.corrections = []
    this.generation = answer.generation
    this.tick = answer.tick
    this.answeredAt = now
    const { steps } = this.clock
    this.clock.sample(sent, now, answer.now)
    if (this.clock.steps > steps) this.tell({ type: "clockStep", meter: this.name })
    this.leaseEnds = sent + this.terms.lease * (1 - drift) - timerMargin
    if (message.leave) {
      this.end()
      return
    }
    this.readLimits(message, answer)
    this.readGrants(answer)
    this.readPause(pausing, answer)
    this.lastVisit = answer.visit
    const waitsForTime = this.batches.size > 0 && this.terms.windows.length > 0
    if (answer.visit > 0) this.visitBy(now + (waitsForTime ? Math.min(answer.visit, longestWait) : answer.visit))
    if (answer.adopted) this.declareAgain()
    if (this.isLeaseOver(now)) this.loseLease()
    else if (this.unknown > 0) this.replace(message)
    if (this.leaving !== undefined && this.running > 0) this.end()
    if (this.endedPermits > 0 || this.resizing !== "" || this.pausing !== undefined) this.speakSoon()
    this.schedule()
    this.meter.wake()
    this.watchHeld()
    // For what was requested while the message was in flight.
    if (this.isSoon) this.speak()
  }

  private readLimits(message: Message, answer: Answer): void {
    if (message.resize === this.resizing) this.resizing = ""
    if (answer.limits !== "" && answer.revision !== this.revision) {
      const before = encodeLimits(this.limits)
      this.limits = decodeLimits(answer.limits)
      this.terms = termsOf(answer.limits)
      this.resized = answer.limits === this.configured ? "" : answer.limits
      if (before !== answer.limits) {
        this.giveUpHeld()
        this.meter.resized(meterLimits(this.limits))
      }
    }
    this.revision = answer.revision
  }

  private readGrants(answer: Answer): void {
    for (const { arrival, batch } of answer.arrivals) this.batches.get(batch)!.arrival = arrival
    for (const grant of answer.grants) {
      const batch = this.batches.get(grant.batch)!
      batch.count -= grant.count
      const { arrival, shape } = batch
      this.held.push({ grant, shape, arrival, count: grant.count, next: 0, starting: 0, unused: 0, late: 0 })
    }
    for (const [id, { count }] of this.batches) if (count <= 0) this.batches.delete(id)
  }

  private readPause(pausing: InFlight["pausing"], answer: Answer): void {
    if (pausing === this.pausing) this.pausing = undefined
    this.pausedUntil = answer.paused
    for (const held of this.held.toReversed()) {
      while (held.next < held.count && slotAt(held.grant, held.next) < answer.paused) this.giveUp(held)
      this.reportIfOver(held)
    }
  }

  /** The store does not know the waiting demand. */
  private declareAgain(): void {
    for (const { arrival, count, shape } of this.batches.values()) {
      const known = this.arrivals.get(shape.key) ?? []
      this.arrivals.set(shape.key, known)
      if (arrival > 0) for (let index = 0; index < count; index++) known.push(arrival)
    }
    this.batches.clear()
    this.speakSoon()
  }

  private refused(answer: Answer): void {
    if (answer.status === "stale") {
      // The message has arrived too late; or another process has sent a later one under the same session name, which is as
      // unlikely as it is harmless.
      this.loseLease()
      this.speakSoon()
      return
    }
    this.isRefused = true
    const error =
      answer.status === "version"
        ? new ProtocolVersionError(this.name, protocolVersion, answer.version)
        : new LimitsDifferError(this.name, this.configured, answer.limits)
    this.tell({ type: "refused", meter: this.name, cause: error })
    this.end()
    this.meter.fail(error)
  }

  // Leases and outages

  private isLeaseOver(now: number): boolean {
    return now >= this.leaseEnds
  }

  /** The session is void. The next message begins another one, at once if there is something to send. */
  private loseLease(): void {
    const lost = this.running - this.unknown
    this.startOver()
    if (lost === 0) return
    this.tell({ type: "leaseLost", meter: this.name, permits: lost })
    if (this.options.leaseLost === "interrupt") this.meter.interrupt(new LeaseLostError(this.name))
  }

  private startOver(): void {
    this.id = ""
    this.unsubscribe?.()
    this.unsubscribe = undefined
    this.inFlight = undefined
    this.agenda.attempt = Infinity
    this.seq = 0
    this.leaseEnds = Infinity
    for (const { arrival, count, next, shape } of this.held) {
      const known = this.arrivals.get(shape.key) ?? []
      this.arrivals.set(shape.key, known)
      for (let index = next; index < count; index++) known.push(arrival)
    }
    this.held = []
    this.reports = []
    this.corrections = []
    this.endedPermits = 0
    this.turns = []
    this.free = []
    this.agenda.visit = Infinity
    this.lastVisit = 0
    // Nothing waits for the answer to the message in flight any more.
    this.isSoon = false
    this.declareAgain()
  }

  private begin(): void {
    this.id = this.newId()
    this.unsubscribe = this.store.onWake(this.name, this.id, () => {
      this.agenda.visit = -Infinity
      this.speakSoon()
    })
  }

  private recover(now: number): void {
    const since = this.silentSince
    this.silentSince = Infinity
    this.attempts = 0
    if (!this.isDown) return
    this.isDown = false
    this.tell({ type: "recovered", meter: this.name, after: (now - since) / 1_000 })
    if (this.options.outage !== "wait") this.meter.recover()
  }

  /** No message waits for an answer. So the next call is not refused at once, but also waits for a second. */
  private stopAsking(): void {
    this.agenda.visit = Infinity
    if (this.options.outage !== "fail" || !this.isDown) return
    this.isDown = false
    this.silentSince = Infinity
    this.meter.recover()
  }

  private checkOutage(now: number): void {
    if (this.isDown || now < this.silentSince + outageAfter) return
    this.isDown = true
    this.tell({ type: "outage", meter: this.name, cause: this.lastError })
    if (this.options.outage !== "wait") {
      this.meter.fail(new StoreUnavailableError(this.name, outageAfter / 1_000, this.lastError))
    }
  }

  private tell(event: Parameters<Options["onEvent"]>[0]): void {
    this.options.onEvent(event)
    // Observers may use the meter, which must not happen between two steps of this session.
    void Promise.resolve().then(() => this.meter.event(event))
  }

  // The timer

  private visitBy(at: number): void {
    if (at >= this.agenda.visit) return
    this.agenda.visit = at
    this.schedule()
  }

  private lookBy(at: number): void {
    if (at >= this.agenda.look) return
    this.agenda.look = at
    this.schedule()
  }

  private get nextStep(): number {
    const { attempt, look, visit } = this.agenda
    const isIdle = this.running === 0 && this.held.length === 0 && this.batches.size === 0
    // A session that holds nothing may let its lease and the program end.
    const lease = isIdle ? Infinity : this.leaseEnds
    if (this.inFlight === undefined) return Math.min(visit, look, lease)
    return Math.min(attempt, lease, this.isDown ? Infinity : this.silentSince + outageAfter)
  }

  private schedule(): void {
    const at = this.isClosed || this.isRefused ? Infinity : this.nextStep
    // A timer that fires early sets itself again, which costs less than another timer.
    if (at >= this.timerAt && this.cancelTimer !== undefined && at !== Infinity) return
    this.cancelTimer?.()
    this.cancelTimer = undefined
    this.timerAt = at
    if (at === Infinity) return
    this.cancelTimer = this.meter.after(Math.max(0, Math.ceil((at - this.now) * 1_000)), () => this.step())
  }

  private step(): void {
    this.cancelTimer = undefined
    this.timerAt = Infinity
    const now = this.now
    if (this.isLeaseOver(now) && this.nextStep <= now) {
      this.loseLease()
      this.meter.wake()
    }
    this.checkOutage(now)
    const { inFlight } = this
    if (inFlight !== undefined) {
      if (this.agenda.attempt > now) return this.schedule()
      // A lease that began so long ago would be over soon. The message sent is void, or its grants end with the lease.
      if (inFlight.message.seq === 1 && now - inFlight.sent > this.terms.lease / 3) this.startOver()
      else this.transmit(inFlight)
    } else if (Math.min(this.agenda.visit, this.agenda.look) <= now) {
      this.speak()
    }
    this.schedule()
  }
}
