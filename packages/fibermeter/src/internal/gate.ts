/**
 * The queue in front of a limit, and what stands in it.
 *
 * A meter is one gate or several. Whoever wants to start a task holds a `Ticket` for the gates that the task has to
 * pass. The rules:
 *
 * - **One step.** A ticket takes from all its gates in the same step, and only when all are open to it. So nothing is
 *   held while waiting, and giving up costs nobody anything but the one who gives up.
 * - **First come, first served.** A ticket waits at the first of its gates that is closed to it. At the gates before
 *   that one it stays the first in line (`front`), so that nobody slips past who came later.
 * - **One order for all.** Every ticket has its gates from the youngest to the oldest. Waiting-for therefore only ever
 *   points from younger gates to older ones and can close no circle, in whatever order a user lists meters. Youngest
 *   first, because what is made later is usually the narrower one: a call's own limits, then the limit of one host,
 *   then the limit of the whole program; whoever waits for the narrow one does not stand in the way of all others.
 *   Semaphores come after all of these.
 */
import { Cause, Duration } from "effect"
import type { Fiber } from "effect"
import { captureContext } from "./asyncContext.ts"
import type { AsyncContext } from "./asyncContext.ts"
import { Deadlock } from "./errors.ts"
import { Holding, holdersOf } from "./holding.ts"
import type { Host } from "./host.ts"
import { Timeline } from "./timeline.ts"
import { later, overdue, turnBegins } from "./turn.ts"

/** What a task costs, by the names of limits; a limit that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

let born = 0

/** Instead of a new array for each gate and ticket: most never need one. */
const none: Array<never> = []

/** The longest sleep asked of a clock, in nanoseconds; whoever has to wait longer looks again then. */
const maxSleep = 2 ** 50

export abstract class Gate {
  /** Gates are passed from the youngest to the oldest. */
  readonly age: number = born++
  /** How many tasks may have passed and not ended. */
  abstract readonly capacity: number
  /** Whether it has to hold something in order to be open. Such gates come last, so that they hold it for nobody. */
  readonly holds: boolean = false
  /** The names by which a task's cost is counted here. */
  get names(): Iterable<string> {
    return none
  }
  /** Whether there is a name. */
  get isWeighed(): boolean {
    return false
  }
  /** How many tasks have passed and not ended. */
  running = 0
  /** How many tasks have ever passed. */
  started = 0
  /** How many tickets wait here, the one that waits further on included. */
  waiting = 0

  /** Looked at only by gates to which time matters, and by all while they are paused. */
  protected readonly time = new Timeline((delta) => {
    this.pausedUntil += delta
    this.shift(delta)
  })
  /** Set when the gate can open no more: whoever comes is refused with it. */
  protected broken: Cause.Cause<any> | undefined

  /** Tickets that wait here, in the order of their coming. */
  private first: Ticket | undefined
  private last: Ticket | undefined
  /** The ticket that this gate was open to and that waits at an older one. Nobody passes while there is one. */
  private front: Ticket | undefined
  protected pausedUntil = -Infinity
  /** The one timer of this gate, armed only while the first in line waits for nothing but time. */
  private timer: Fiber.Fiber<void> | undefined
  private timerAt = 0
  /** See `arm`. */
  private leastSleep = 0
  private isPostponed = false
  private isPumping = false
  /** Tasks that hold a place here and wait for another one here. */
  private blocked = 0

  /** Whether `opensAt` goes by the time. */
  protected abstract readonly isTimed: boolean
  /**
   * When this gate will be open to the ticket, which is the first in line: at that time or, if that has come, now; or
   * at `Infinity`, after some event that calls `wake`. Called again before each decision, so it may note that somebody
   * waits.
   */
  protected abstract opensAt(ticket: Ticket): number
  /** Takes what a task needs; in the same step as `opensAt` said that the gate is open. Returns a note for `settle`. */
  protected abstract take(ticket: Ticket): unknown
  /** The task behind that note has been called by now. */
  abstract settle(booking: unknown): void
  /** The task behind that note has cost something else than it was to. */
  correct(_booking: unknown, _cost: Cost): void {}
  /** Gives back what a task held. */
  protected abstract giveBack(): void
  /** Nobody waits here any more. */
  protected abstract rest(): void
  /** The first in line waits for something other than this gate. */
  protected abstract hold(): void
  /** Noted times have moved by so much. */
  protected abstract shift(delta: number): void

  /** Why a task of that cost can never start here, if so. */
  objection(_cost: Cost | undefined): Cause.Cause<any> | undefined {
    return this.broken
  }

  /** A ticket passes. */
  enter(ticket: Ticket): unknown {
    this.running++
    this.started++
    return this.take(ticket)
  }

  /** A task has ended. */
  leave(): void {
    this.running--
    this.giveBack()
    this.wake()
  }

  /** Lets nobody pass for so many nanoseconds from now, or until `resume`. Of several pauses, the last to end counts. */
  pause(host: Host, nanos: number): void {
    this.look(host)
    this.pausedUntil = Math.max(this.pausedUntil, this.time.now + nanos)
    if (!this.isEmpty()) this.hold()
  }

  resume(): void {
    this.pausedUntil = -Infinity
    this.wake()
  }

  /** When a task of cost 1 could pass if nobody waited, in nanoseconds from now; `Infinity` if only an event tells. */
  opensIn(host: Host): number {
    this.look(host)
    return Math.max(0, this.pausedUntil - this.time.now, this.opensNext() - this.time.now)
  }

  /** As `opensAt`, for a ticket that is not there. */
  protected abstract opensNext(): number

  /** Whether the ticket may pass, coming now. */
  admits(ticket: Ticket): boolean {
    return this.isEmpty() && this.isOpen(ticket)
  }

  /** Whether the gate is open to the ticket, if it is the first in line. */
  isOpen(ticket: Ticket): boolean {
    return this.broken === undefined && this.lookFor(ticket) <= this.time.now
  }

  isEmpty(): boolean {
    return this.first === undefined && this.front === undefined
  }

  /** Notes that a task which holds a place here waits for another one. Says whether nobody can go on any more. */
  block(): boolean {
    return ++this.blocked >= this.running && this.running >= this.capacity
  }

  unblock(): void {
    this.blocked--
  }

  private lookFor(ticket: Ticket): number {
    if (this.isTimed || this.pausedUntil !== -Infinity) {
      this.look(ticket.host)
      if (this.pausedUntil > this.time.now) {
        this.hold()
        return this.pausedUntil
      }
      this.pausedUntil = -Infinity
    }
    return this.opensAt(ticket)
  }

  protected look(host: Host): void {
    if (this.isEmpty() || this.time.clock === undefined) this.time.follow(host.clock)
    this.time.look()
  }

  /** Lets the ticket wait here, behind all others, or before all others if it had been the first in line already. */
  enqueue(ticket: Ticket, asFirst: boolean): void {
    this.waiting++
    if (this.first === undefined) {
      this.first = this.last = ticket
    } else if (asFirst) {
      ticket.next = this.first
      this.first.previous = ticket
      this.first = ticket
    } else {
      ticket.previous = this.last
      this.last!.next = ticket
      this.last = ticket
    }
    if (this.first === ticket) this.pump()
  }

  /** Takes the ticket out of the line. */
  dequeue(ticket: Ticket): void {
    this.waiting--
    if (ticket.previous === undefined) this.first = ticket.next
    else ticket.previous.next = ticket.next
    if (ticket.next === undefined) this.last = ticket.previous
    else ticket.next.previous = ticket.previous
    ticket.previous = ticket.next = undefined
  }

  /** The ticket, first in line here, goes on to wait at an older gate. */
  keepFor(ticket: Ticket): void {
    if (this.front === undefined) this.waiting++
    this.front = ticket
    this.disarm()
    this.hold()
  }

  /** Undoes `keepFor`, if it is in force for the ticket. */
  freeFrom(ticket: Ticket): void {
    if (this.front !== ticket) return
    this.front = undefined
    this.waiting--
  }

  /** To be called when the gate may have opened. */
  protected wake(): void {
    if (this.first !== undefined) this.pump()
  }

  /** Lets pass who may. */
  pump(): void {
    if (this.isPumping || this.isPostponed || this.front !== undefined) return
    this.isPumping = true
    while (this.front === undefined && this.first !== undefined) {
      const ticket = this.first
      const objection = this.objection(ticket.cost)
      if (objection !== undefined) {
        ticket.refuse(objection)
        continue
      }
      const opensAt = this.lookFor(ticket)
      if (opensAt > this.time.now) {
        this.arm(opensAt, ticket.host)
        break
      }
      if (overdue(ticket.host.isLive)) {
        this.postpone(ticket.host)
        break
      }
      this.dequeue(ticket)
      ticket.pass()
    }
    this.isPumping = false
    if (this.isEmpty()) this.disarm()
  }

  /**
   * Somebody has stopped waiting, and will not be back in this step: if it was the last, the gate comes to rest. Not
   * part of `pump`, since a run that has just passed with one item as a rule comes with the next.
   */
  settleDown(): void {
    if (!this.isEmpty()) return
    this.disarm()
    this.rest()
  }

  private postpone(host: Host): void {
    this.isPostponed = true
    later(host.dispatcher, () => {
      this.isPostponed = false
      this.pump()
    })
  }

  private arm(at: number, host: Host): void {
    if (this.timer !== undefined) {
      if (this.timerAt <= at) return
      this.disarm()
    }
    if (at === Infinity) return
    // A timer that fired early has to be set again, and for a test clock far from zero the remaining nanoseconds may
    // round to nothing: the least sleep doubles until the clock moves.
    this.leastSleep = at === this.timerAt ? Math.max(1000, this.leastSleep * 2) : 0
    this.timerAt = at
    const nanos = Math.min(Math.max(at - this.time.now, this.leastSleep), maxSleep)
    const timer = host.fork(this.time.clock!.sleep(Duration.nanos(BigInt(nanos))))
    this.timer = timer
    const wake = (): void => {
      if (this.timer !== timer) return
      this.timer = undefined
      turnBegins()
      this.pump()
    }
    // A clock that does not wait must not turn this into a loop that nobody can end.
    if (timer.pollUnsafe() === undefined) timer.addObserver(wake)
    else later(host.dispatcher, wake)
  }

  private disarm(): void {
    const timer = this.timer
    this.timer = undefined
    timer?.interruptUnsafe()
  }
}

const notWaiting = -1

/** A place in the lines of some gates. What becomes of it is for the subclasses to say, `admitted` and `refused`. */
export abstract class Ticket {
  readonly host: Host
  readonly gates: ReadonlyArray<Gate>
  /** Where gates are shared, what lets the ticket pass may be another call's task, in another async context. */
  private readonly isShared: boolean
  /** What the task costs for which the next start is asked. */
  cost: Cost | undefined
  /** What the gates have noted of the last start. */
  private bookings: Array<unknown> = none
  /** A holding has them: the next start needs others. */
  private areBookingsLent = false
  /** The tasks that wait because this ticket does. */
  private holders: ReadonlyArray<Holding> = none
  private blockedAt: Gate | undefined
  /** The index of the gate where it waits. */
  private at = notWaiting
  /** The async context in which the ticket began to wait. */
  private context: AsyncContext | undefined
  previous: Ticket | undefined
  next: Ticket | undefined

  /** `gates` from the youngest to the oldest; `isShared` says whether others have tickets for them. */
  constructor(host: Host, gates: ReadonlyArray<Gate>, isShared: boolean) {
    this.host = host
    this.gates = gates
    this.isShared = isShared
  }

  /** A start has been taken after a wait: the task is to be started in this very step, and `started` called. */
  protected abstract admitted(): void

  /** A gate has broken. Called only where there is one that can. */
  protected refused(_cause: Cause.Cause<any>): void {}

  /**
   * Asks for a start. `true`: it has been taken, and the caller starts the task in this very step and calls `started`.
   * `false`: `admitted` or `refused` will be called, unless `cancel` is called before.
   */
  request(): boolean {
    for (const gate of this.gates) {
      const objection = gate.objection(this.cost)
      if (objection !== undefined) {
        this.refused(objection)
        return false
      }
    }
    const closed = this.firstClosed(notWaiting)
    if (closed === this.gates.length) {
      this.take()
      return true
    }
    if (this.isShared) this.context = captureContext()
    this.waitAt(closed, false)
    return false
  }

  get isWaiting(): boolean {
    return this.at !== notWaiting
  }

  /** The task has been called: whatever start it has seen, it was not later than this. */
  started(): void {
    const gates = this.gates
    for (let i = 0; i < gates.length; i++) gates[i]!.settle(this.bookings[i])
  }

  /** What the task that has just been started holds. */
  holding(): Holding {
    this.areBookingsLent = true
    return new Holding(this.gates, this.bookings, this.host.holding)
  }

  /** The caller wants no further start for the time being. */
  rest(): void {
    const gates = this.gates
    for (let i = 0; i < gates.length; i++) gates[i]!.settleDown()
  }

  /** A task that was started with this ticket has ended. */
  leave(): void {
    const gates = this.gates
    for (let i = 0; i < gates.length; i++) gates[i]!.leave()
  }

  /** Gives up waiting. */
  cancel(): void {
    if (this.at === notWaiting) return
    this.gates[this.at]!.dequeue(this)
    this.context?.emitDestroy()
    this.context = undefined
    this.stepAside()
  }

  /** Called by the gate where it waited, which has taken it out of its line and is open to it. */
  pass(): void {
    const here = this.at
    // What was open when this went on to wait may have closed since: limits can change.
    const closed = this.firstClosed(here)
    if (closed < this.gates.length) return this.waitAt(closed, closed < here)
    this.take()
    this.at = notWaiting
    this.unblock()
    for (let i = 0; i < here; i++) this.gates[i]!.freeFrom(this)
    this.inContext(() => this.admitted())
    for (let i = 0; i < here; i++) this.gates[i]!.pump()
  }

  /** Called by a gate that is broken. */
  refuse(cause: Cause.Cause<any>): void {
    this.gates[this.at]!.dequeue(this)
    this.stepAside()
    this.inContext(() => this.refused(cause))
  }

  /** Calls `f` in the async context in which the wait began. */
  private inContext(f: () => void): void {
    const { context } = this
    this.context = undefined
    if (context === undefined) return f()
    context.runInAsyncScope(f)
    context.emitDestroy()
  }

  /** The first gate that is closed, given that this is the first in line before `here` and `here` is open. */
  private firstClosed(here: number): number {
    const gates = this.gates
    for (let i = 0; i < here; i++) if (!gates[i]!.isOpen(this)) return i
    let i = here === notWaiting ? 0 : here + 1
    while (i < gates.length && gates[i]!.admits(this)) i++
    return i
  }

  private waitAt(index: number, asFirst: boolean): void {
    const from = this.at
    this.at = index
    for (let i = 0; i < index; i++) this.gates[i]!.keepFor(this)
    for (let i = index; i < from; i++) this.gates[i]!.freeFrom(this)
    this.gates[index]!.enqueue(this, asFirst)
    for (let i = index + 1; i < this.gates.length; i++) this.reopen(this.gates[i]!)
    if (this.at === index) this.block(index)
  }

  /** Whoever runs inside a task that holds a place here may be waiting for itself. */
  private block(index: number): void {
    const gate = this.gates[index]!
    this.unblock()
    if (this.host.holding === undefined) return
    this.holders = holdersOf(gate, this.host.holding)
    this.blockedAt = gate
    let isDead = false
    for (const holder of this.holders) if (holder.countWait(gate, 1) === 1) isDead = gate.block()
    if (isDead) this.refuse(Cause.die(new Deadlock({ held: gate.running })))
  }

  private unblock(): void {
    for (const holder of this.holders) if (holder.countWait(this.blockedAt!, -1) === 0) this.blockedAt!.unblock()
    this.holders = none
  }

  private take(): void {
    const gates = this.gates
    if (this.bookings === none || this.areBookingsLent) this.bookings = []
    this.areBookingsLent = false
    for (let i = 0; i < gates.length; i++) this.bookings[i] = gates[i]!.enter(this)
  }

  private stepAside(): void {
    const here = this.at
    this.at = notWaiting
    this.unblock()
    for (let i = 0; i < here; i++) this.gates[i]!.freeFrom(this)
    for (let i = 0; i <= here; i++) this.reopen(this.gates[i]!)
  }

  /** This ticket is not, or no longer, the one that a gate waits for. */
  private reopen(gate: Gate): void {
    gate.pump()
    gate.settleDown()
  }
}

/** The gates of a call as its tickets want them: each once, youngest first. */
export const inOrder = (...gates: ReadonlyArray<ReadonlyArray<Gate>>): ReadonlyArray<Gate> =>
  Array.from(new Set(gates.flat())).sort((a, b) => Number(a.holds) - Number(b.holds) || b.age - a.age)

/** How many tasks may run at once behind these gates. */
export const capacityOf = (gates: ReadonlyArray<Gate>): number =>
  gates.reduce((least, gate) => Math.min(least, gate.capacity), Infinity)

/** The names that the windows of these gates have. */
export const namesOf = (gates: ReadonlyArray<Gate>): ReadonlySet<string> =>
  new Set(gates.flatMap((gate) => Array.from(gate.names)))
