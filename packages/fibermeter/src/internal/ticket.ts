/**
 * A request for admission: a `Ticket` asks some gates for the start of one task at a time, and waits where they are closed.
 *
 * - **One step.** A ticket takes from all its gates in the same step, and only when all are open to it. Nothing is held
 *   while waiting, so a waiter that gives up costs the others nothing.
 * - **Order.** Waiters of the same gates are served first come, first served. A ticket that arrives is admitted at once if
 *   all its gates are open and no waiter stands at any of them. Otherwise it waits: in the gate's own queue (`gate.ts`), or
 *   where it needs several gates, in the queue of that set (`setQueue.ts`), which has the rule between sets.
 * - **When tasks start.** `request` starts a task within the call if it can be admitted. Whatever gives room to waiters (an
 *   end, `resume`, `resize`, a correction, an interrupted waiter) starts their tasks within that call, too, after all
 *   gates that it concerns have changed. The one exception is a turn of the event loop that has lasted too long
 *   (`turn.ts`): then the next start comes in a later turn.
 */
import type { Gate, Inside, Waiter } from "./gate.ts"
import type { Cost, Holding } from "./holding.ts"
import type { Host } from "./host.ts"
import type { Refusal } from "./refusal.ts"
import { SetQueue } from "./setQueue.ts"

/** How many tickets have ever waited. */
let arrivals = 0

/** Instead of a new array for each ticket: most never need one. */
const none: Array<never> = []

/**
 * Subclasses decide what becomes of a request: `admitted` and `refused`.
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
  declare rank: number
  declare place: number

  /** `gates` as `inOrder` gives them. */
  constructor(gates: ReadonlyArray<Gate>) {
    this.gates = gates
    this.bookings = none
    this.rank = 0
    this.place = 0
  }

  /**
   * A start has been taken after a wait: the task is to be started in this very step, and `started` called. What has let
   * the ticket pass may be another call's task, in another async context.
   */
  protected abstract admitted(): void

  /** A gate will never let it pass. */
  protected abstract refused(refusal: Refusal): void

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
    const gates = this.gates
    for (let i = 0; i < gates.length; i++) {
      const gate = gates[i]!
      if (gate.admits(this)) continue
      this.waitFor(gate)
      return false
    }
    this.take()
    return true
  }

  objection(): Refusal | undefined {
    const gates = this.gates
    for (let i = 0; i < gates.length; i++) {
      const objection = gates[i]!.objection(this.cost)
      if (objection !== undefined) return objection
    }
    return undefined
  }

  get isWaiting(): boolean {
    return this.rank !== 0
  }

  /** Whether it waits, and would have to if it needed no other gate than this one of its own. */
  isWaitingAt(gate: Gate): boolean {
    if (!this.isWaiting || this.gates.length === 1) return this.isWaiting
    return SetQueue.of(this.gates).isAt(gate) || gate.isClosedTo(this)
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
    // First all of them change: a waiter that needs several must not be looked at in between.
    for (let i = 0; i < gates.length; i++) gates[i]!.leave()
    for (let i = 0; i < gates.length; i++) gates[i]!.left()
  }

  /** Gives up waiting. */
  cancel(): void {
    if (this.isWaiting) this.withdraw()?.lookAgain()
  }

  /** Called by the gate where it stands, after all are open to it and it has been taken out of its queue. */
  admit(): void {
    // Before it takes: what a gate does then may end the caller, who must not find this waiting.
    this.stopWaiting()
    this.take()
    this.admitted()
  }

  /** Called by a gate that will never admit it: the gate is broken, or the task costs too much, or it is a deadlock. */
  refuse(refusal: Refusal): void {
    const left = this.withdraw()
    this.refused(refusal)
    left?.lookAgain()
  }

  private waitFor(closed: Gate): void {
    const { gates, inside } = this
    this.rank = ++arrivals
    this.host.requests?.wait(this)
    if (gates.length === 1) closed.enqueue(this)
    else SetQueue.of(gates).add(this, closed)
    if (inside === undefined) return
    // It may have been admitted meanwhile, and from the first of these on it may be refused.
    for (let i = 0; i < gates.length && this.isWaiting; i++) gates[i]!.addNested(this, inside)
  }

  private stopWaiting(): void {
    this.rank = 0
    if (this.inside !== undefined) for (const gate of this.gates) gate.removeNested(this)
  }

  /** Leaves its queue. Returns where others may be admitted by that, if they may. */
  private withdraw(): { lookAgain(): void } | undefined {
    const gates = this.gates
    const queue = gates.length === 1 ? gates[0]! : SetQueue.of(gates)
    const wasFirst = queue.remove(this)
    this.stopWaiting()
    return wasFirst ? queue : undefined
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
}
