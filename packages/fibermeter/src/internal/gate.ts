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
import type { Cause, Clock, Fiber } from "effect"
import { Duration } from "effect"
import { captureContext } from "./asyncContext.ts"
import type { AsyncContext } from "./asyncContext.ts"
import type { Host } from "./host.ts"
import { later, overdue, turnBegins } from "./turn.ts"

let born = 0

/** The longest sleep asked of a clock, in nanoseconds; whoever has to wait longer looks again then. */
const maxSleep = 2 ** 50

export abstract class Gate {
  /** Gates are passed from the youngest to the oldest. */
  readonly age: number = born++
  /** How many tasks may have passed and not ended; what `maxUnread` is derived from. */
  abstract readonly capacity: number
  /** Whether it has to hold something in order to be open. Such gates come last, so that they hold it for nobody. */
  readonly holds: boolean = false

  /** Tickets that wait here, in the order of their coming. */
  private first: Ticket | undefined
  private last: Ticket | undefined
  /** The ticket that this gate was open to and that waits at an older one. Nobody passes while there is one. */
  private front: Ticket | undefined
  /** The one timer of this gate, armed only while the first in line waits for nothing but time. */
  private timer: Fiber.Fiber<void> | undefined
  private timerAt = 0
  /** See `arm`. */
  private leastSleep = 0
  private postponed = false
  private pumping = false
  /** Set when the gate can open no more: whoever comes is refused with it. */
  protected broken: Cause.Cause<any> | undefined

  /**
   * When this gate will be open to the ticket, which is the first in line: now or earlier, later, or at `Infinity`,
   * that is after some event that calls `wake`. Called again before each decision, so it may note that somebody waits.
   */
  protected abstract opensAt(ticket: Ticket): number
  /** The time that `opensAt` has gone by. Any number will do where time plays no part. */
  protected abstract readonly now: number
  /** Takes what a task needs; in the same step as `opensAt` said that the gate is open. Returns a number for `settle`. */
  abstract take(ticket: Ticket): number
  /** The task behind that number, taken at `now`, has been called. */
  abstract settle(booking: number): void
  /** A task has ended. */
  abstract leave(): void
  /** Nobody waits here any more. */
  protected abstract rest(): void
  /** The first in line waits for something other than this gate. */
  protected abstract hold(): void

  /** Whether the ticket may pass, coming now. */
  admits(ticket: Ticket): boolean {
    return this.isEmpty() && this.isOpen(ticket)
  }

  /** Whether the gate is open to the ticket, if it is the first in line. */
  isOpen(ticket: Ticket): boolean {
    return this.broken === undefined && this.opensAt(ticket) <= this.now
  }

  isEmpty(): boolean {
    return this.first === undefined && this.front === undefined
  }

  /** Lets the ticket wait here, behind all others, or before all others if it had been the first in line already. */
  enqueue(ticket: Ticket, asFirst: boolean): void {
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
    if (ticket.previous === undefined) this.first = ticket.next
    else ticket.previous.next = ticket.next
    if (ticket.next === undefined) this.last = ticket.previous
    else ticket.next.previous = ticket.previous
    ticket.previous = ticket.next = undefined
  }

  /** The ticket, first in line here, goes on to wait at an older gate. */
  keepFor(ticket: Ticket): void {
    this.front = ticket
    this.disarm()
    this.hold()
  }

  /** Undoes `keepFor`. Says whether there was anything to undo. */
  freeFrom(ticket: Ticket): boolean {
    if (this.front !== ticket) return false
    this.front = undefined
    return true
  }

  /** To be called when the gate may have opened. */
  protected wake(): void {
    if (this.first !== undefined) this.pump()
  }

  /** Lets pass who may. */
  pump(): void {
    if (this.pumping || this.postponed || this.front !== undefined) return
    this.pumping = true
    while (this.front === undefined && this.first !== undefined) {
      const ticket = this.first
      if (this.broken !== undefined) {
        ticket.refuse(this.broken)
        continue
      }
      const opensAt = this.opensAt(ticket)
      if (opensAt > this.now) {
        this.arm(opensAt, ticket.host)
        break
      }
      if (overdue()) {
        this.postponed = true
        later(ticket.host.dispatcher, () => {
          this.postponed = false
          this.pump()
        })
        break
      }
      this.dequeue(ticket)
      ticket.pass()
    }
    this.pumping = false
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
    const nanos = Math.min(Math.max(at - this.now, this.leastSleep), maxSleep)
    const timer = host.fork(this.clock.sleep(Duration.nanos(BigInt(nanos))))
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

  protected abstract readonly clock: Clock.Clock
}

const notWaiting = -1

/** A place in the lines of some gates. What becomes of it is for the subclasses to say, `admitted` and `refused`. */
export abstract class Ticket {
  readonly host: Host
  private readonly gates: ReadonlyArray<Gate>
  /** Where gates are shared, what lets the ticket pass may be another call's task, in another async context. */
  private readonly isShared: boolean
  /** The numbers under which the gates have booked the last start. */
  private bookings: Array<number> | undefined
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
    for (let i = 0; i < gates.length; i++) gates[i]!.settle(this.bookings![i]!)
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
  }

  private take(): void {
    const gates = this.gates
    const bookings = (this.bookings ??= [])
    for (let i = 0; i < gates.length; i++) bookings[i] = gates[i]!.take(this)
  }

  private stepAside(): void {
    const here = this.at
    this.at = notWaiting
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
