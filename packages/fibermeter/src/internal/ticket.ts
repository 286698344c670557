/**
 * Whoever wants to start a task holds a `Ticket` for the gates that the task has to pass. The rules:
 *
 * - **One step.** A ticket takes from all its gates in the same step, and only when all are open to it. So nothing is
 *   held while waiting, and giving up costs nobody anything but the one who gives up.
 * - **First come, first served.** A ticket waits at the first of its gates that is closed to it. At the gates before
 *   that one it stays the first in line (`fronts`), so that nobody slips past who came later; but for those who run inside
 *   a task whose place it waits for, since that task could otherwise never end.
 * - **One order for all.** Every ticket has its gates from the youngest to the oldest. Waiting-for therefore only ever
 *   points from younger gates to older ones and can close no circle, in whatever order a user lists meters. Youngest
 *   first, because what is made later is usually the narrower one: a call's own limits, then the limit of one host,
 *   then the limit of the whole program; whoever waits for the narrow one does not stand in the way of all others.
 *   Semaphores come after all of these.
 */
import type * as Cause from "effect/Cause"
import type { Gate, Inside, Waiter } from "./gate.ts"
import type { Cost, Holding } from "./holding.ts"
import type { Host } from "./host.ts"

const notWaiting = -1

/** Instead of a new array for each ticket: most never need one. */
const none: Array<never> = []

/**
 * A place in the lines of some gates. What becomes of it is for the subclasses to say, `admitted` and `refused`.
 *
 * There may be a hundred thousand of these at the same time, and what they cost is above all what the garbage collector
 * has to carry along: hence few properties. They are declared and assigned, as with all that is made once a task: fields,
 * which a class defines first, take twice as long.
 */
export abstract class Ticket implements Waiter {
  abstract readonly host: Host
  /** What the task costs for which the next start is asked. */
  abstract readonly cost: Cost | undefined
  abstract readonly inside: Inside | undefined
  declare readonly gates: ReadonlyArray<Gate>
  /** What the gates have noted of the last start. */
  declare private bookings: Array<unknown>
  /** The index of the gate where it waits. */
  declare private at: number
  declare place: number

  /** `gates` from the youngest to the oldest. */
  constructor(gates: ReadonlyArray<Gate>) {
    this.gates = gates
    this.bookings = none
    this.at = notWaiting
    this.place = 0
  }

  /**
   * A start has been taken after a wait: the task is to be started in this very step, and `started` called. What has let
   * the ticket pass may be another call's task, in another async context.
   */
  protected abstract admitted(): void

  /** A gate will never let it pass. */
  protected abstract refused(cause: Cause.Cause<any>): void

  /**
   * Asks for a start. `true`: it has been taken, and the caller starts the task in this very step and calls `started`.
   * `false`: `admitted` or `refused` will be called, unless `cancel` is called before.
   */
  request(): boolean {
    const objection = this.objection()
    if (objection !== undefined) {
      this.refused(objection)
      return false
    }
    const closed = this.firstClosed(notWaiting)
    if (closed === this.gates.length) {
      this.take()
      return true
    }
    this.waitAt(closed, false)
    return false
  }

  objection(): Cause.Cause<any> | undefined {
    const gates = this.gates
    for (let i = 0; i < gates.length; i++) {
      const objection = gates[i]!.objection(this.cost)
      if (objection !== undefined) return objection
    }
    return undefined
  }

  get waitsAt(): Gate | undefined {
    return this.gates[this.at]
  }

  get isWaiting(): boolean {
    return this.at !== notWaiting
  }

  /** Whether it makes a difference when a task is seen to start. */
  protected get isTimed(): boolean {
    return this.gates.some((gate) => gate.isTimed)
  }

  /** The task has been called: whatever start it has seen, it was not later than this. */
  started(): void {
    const { bookings, gates } = this
    for (let i = 0; i < bookings.length; i++) gates[i]!.settle(bookings[i])
  }

  /** What the task that has just been started holds. */
  holding(): Holding {
    const { bookings, gates } = this
    return { bookings, gates }
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
    if (this.at !== notWaiting) this.reopen(this.stepAside())
  }

  /** Called by the gate where it waited, which has taken it out of its line and is open to it. */
  pass(): void {
    const here = this.at
    // What was open when this went on to wait may have closed since: limits can change.
    const closed = this.firstClosed(here)
    if (closed < this.gates.length) return this.waitAt(closed, closed < here)
    // Before it takes: what a gate does then may end the caller, who must not find this waiting.
    this.at = notWaiting
    this.take()
    for (let i = 0; i < here; i++) this.gates[i]!.release(this)
    this.admitted()
    for (let i = 0; i < here; i++) this.gates[i]!.pump()
  }

  /** Called by a gate that will never let it pass: it is broken, or the task costs too much, or it is a deadlock. */
  refuse(cause: Cause.Cause<any>): void {
    const here = this.stepAside()
    this.refused(cause)
    this.reopen(here)
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
    this.gates[index]!.enqueue(this, asFirst)
    for (let i = 0; i < index; i++) this.gates[i]!.keepFor(this)
    for (let i = index; i < from; i++) this.gates[i]!.release(this)
    for (let i = 0; i < index; i++) this.gates[i]!.kept()
    this.gates[index]!.enqueued(this)
    this.reopen(this.gates.length - 1, index + 1)
    if (this.at === index) this.gates[index]!.stays(this)
  }

  private take(): void {
    const gates = this.gates
    // Not emptied and used again: a holding may have them.
    this.bookings = none
    // What holds something comes last, and takes it first: what another gate does may be what ends the caller.
    for (let i = gates.length - 1; i >= 0; i--) {
      const booking = gates[i]!.enter(this)
      if (booking === undefined && this.bookings === none) continue
      if (this.bookings === none) this.bookings = []
      this.bookings[i] = booking
    }
  }

  /** Leaves all lines. Returns the index of the gate where it has waited. */
  private stepAside(): number {
    const here = this.at
    this.gates[here]!.dequeue(this)
    this.at = notWaiting
    for (let i = 0; i < here; i++) this.gates[i]!.release(this)
    return here
  }

  /** This ticket is not, or no longer, what the gates up to `last` wait for. */
  private reopen(last: number, first = 0): void {
    for (let i = first; i <= last; i++) {
      this.gates[i]!.pump()
      this.gates[i]!.settleDown()
    }
  }
}
