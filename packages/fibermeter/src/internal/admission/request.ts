/**
 * A request for admission: asks some limiters for the start of one task at a time, and waits while they are closed.
 *
 * - **One step.** A request takes from all its limiters in one step, when all are open to it. Nothing is held while it
 *   waits, so a waiter that gives up costs the others nothing.
 * - **Order.** A request that arrives is admitted at once if all its limiters are open and no waiter stands at any of them.
 *   Otherwise it waits: in the limiter's own queue (`limiter.ts`), or if it needs several limiters, in the queue of that
 *   set (`setQueue.ts`). `waiterQueue.ts` has the order of waiters for the same limiters, `setQueue.ts` the rule between sets.
 * - **When tasks start.** `requestStart` starts a task within the call if it can be admitted. Whatever makes room for waiters
 *   (the end of a task, `resume`, `resize`, a correction, a waiter that gives up) starts their tasks within that call, after all
 *   limiters that it concerns have changed. The exception is a turn of the event loop that has lasted too long
 *   (`eventLoop.ts`): then the next start comes in a later turn.
 */
import type { Limiter } from "./limiter.ts"
import type { Cost, Reservation } from "./reservation.ts"
import type { Host } from "../runtime/host.ts"
import type { Refusal } from "./refusal.ts"
import type { Inside, Waiter } from "./types.ts"
import { setQueueOf } from "./setQueue.ts"

/** How many requests have ever waited. */
let arrivals = 0

/** Instead of a new array for each request: most never need one. */
const none: Array<never> = []

/**
 * Subclasses say what becomes of a request, in `admitted` and `refused`, and what it asks for, where that is more than one
 * permit.
 *
 * There may be a hundred thousand of these at a time, and their main cost is the garbage collector's: hence few properties,
 * and the defaults of the others in the prototype. Properties are declared and assigned, as in all classes that are made once
 * a task: initialised fields take twice as long.
 */
export abstract class AdmissionRequest implements Waiter {
  abstract readonly host: Host
  /** What the next task costs. */
  abstract readonly cost: Cost | undefined
  abstract readonly inside: Inside | undefined
  declare limiters: ReadonlyArray<Limiter>
  /** What the limiters returned for the last start. */
  declare private entries: Array<unknown>
  declare rank: number
  declare position: number

  /** `limiters` as `inOrder` gives them. */
  constructor(limiters: ReadonlyArray<Limiter>) {
    this.limiters = limiters
    this.entries = none
    this.rank = 0
    this.position = 0
  }

  /** All tasks of one request hold the same number of permits. */
  get permits(): number {
    return 1
  }

  get priority(): number {
    return 0
  }

  get lane(): unknown {
    return undefined
  }

  get wanted(): number {
    return 1
  }

  /**
   * A start has been taken after a wait: the task has to be started in this step, followed by `started`. The cause may be
   * another call's task, in another async context.
   */
  protected abstract admitted(): void

  /** A limiter will never admit it. */
  protected abstract refused(refusal: Refusal): void

  /**
   * Asks for a start. `true`: it has been taken, and the caller starts the task in this step and calls `started`. `false`:
   * `admitted` or `refused` is called, possibly within this call, unless `cancel` is called before.
   */
  requestStart(): boolean {
    const objection = this.objection()
    if (objection !== undefined) return this.turnAway(objection)
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) {
      const limiter = limiters[i]!
      if (limiter.admits(this)) continue
      return this.waitOr(limiter)
    }
    this.take()
    return true
  }

  /** Waits, if nothing speaks against that. */
  private waitOr(closed: Limiter): boolean {
    const refusal = this.beforeWaiting()
    if (refusal === true) return this.requestStart()
    if (refusal === false) {
      this.enqueue(closed)
      return false
    }
    // The limiters have been asked as for a waiter, which is not going to come.
    this.rest()
    return this.turnAway(refusal)
  }

  /** Refuses a request that does not wait. */
  private turnAway(refusal: Refusal): false {
    this.host.observer?.leaves(this, refusal)
    this.refused(refusal)
    return false
  }

  get isCall(): boolean {
    return false
  }

  get isSheddable(): boolean {
    return false
  }

  /** Why it may not wait, if so; `true` if it has to ask again instead. */
  protected beforeWaiting(): Refusal | boolean {
    return false
  }

  protected onWait(): void {}

  protected onWaitEnd(): void {}

  /**
   * Whether `requestStart`, if it is called in this very step, would have to wait. In that case, nothing is left of the
   * question. A request that would be refused does not wait.
   */
  wouldWait(): boolean {
    if (this.objection() !== undefined) return false
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) {
      if (limiters[i]!.admits(this)) continue
      this.rest()
      return true
    }
    return false
  }

  objection(): Refusal | undefined {
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) {
      const objection = limiters[i]!.objection(this)
      if (objection !== undefined) return objection
    }
    return undefined
  }

  get isWaiting(): boolean {
    return this.rank !== 0
  }

  /** Whether it waits, and would have to if it needed this one of its limiters alone. */
  isWaitingAt(limiter: Limiter): boolean {
    if (!this.isWaiting || this.limiters.length === 1) return this.isWaiting
    return setQueueOf(this.limiters, this.permits).isClosedAt(limiter, this)
  }

  /** Whether it makes a difference when exactly a task starts. */
  protected get isTimed(): boolean {
    return this.limiters.some((limiter) => limiter.isTimed)
  }

  /** The task has been called: the start that it has seen was not later than this. */
  started(): void {
    const { entries, limiters } = this
    for (let i = 0; i < entries.length; i++) limiters[i]!.confirmStart(entries[i])
  }

  /** What the task that was started last has taken. */
  reservation(): Reservation {
    const { entries, limiters } = this
    return { entries, limiters }
  }

  /** The caller wants no further start for now. */
  rest(): void {
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) limiters[i]!.restIfEmpty()
  }

  /** A task that was started with this request has ended. */
  release(): void {
    const limiters = this.limiters
    const { permits } = this
    // First all of them change: a waiter that needs several must not be checked in between.
    for (let i = 0; i < limiters.length; i++) limiters[i]!.end(permits)
    try {
      this.host.observer?.ends(this)
    } catch {
      // As in `take`: the waiters have to learn of what is free.
    }
    for (let i = 0; i < limiters.length; i++) limiters[i]!.afterEnd()
  }

  /** Stops waiting. */
  cancel(): void {
    if (this.isWaiting) this.leave()?.recheck()
  }

  admit(): void {
    // Before it takes: what a limiter does then may end the caller, which must not find this waiting.
    this.stopWaiting()
    this.take()
    this.admitted()
  }

  refuse(refusal: Refusal): void {
    const left = this.leave(refusal)
    this.refused(refusal)
    left?.recheck()
  }

  private enqueue(closed: Limiter): void {
    const { limiters, inside } = this
    this.rank = ++arrivals
    this.host.requests?.wait(this)
    for (let i = 0; i < limiters.length; i++) limiters[i]!.countWaiter(this, 1)
    this.onWait()
    if (limiters.length === 1) closed.enqueue(this)
    else setQueueOf(limiters, this.permits).add(this, closed)
    // It may have been admitted or refused already.
    if (this.isWaiting) this.host.observer?.waits(this)
    if (inside === undefined) return
    // Each of these may refuse it.
    for (let i = 0; i < limiters.length && this.isWaiting; i++) inside.waitsAt(limiters[i]!, this)
  }

  private stopWaiting(): void {
    const { limiters } = this
    this.rank = 0
    for (let i = 0; i < limiters.length; i++) limiters[i]!.countWaiter(this, -1)
    this.onWaitEnd()
    if (this.inside !== undefined) for (const limiter of limiters) limiter.nesting?.remove(this)
  }

  /** Leaves its queue without a start. Returns the queue if that may admit others. */
  private leave(refusal?: Refusal): { recheck(): void } | undefined {
    const limiters = this.limiters
    const queue = limiters.length === 1 ? limiters[0]! : setQueueOf(limiters, this.permits)
    const wasFirst = queue.remove(this)
    this.stopWaiting()
    this.host.observer?.leaves(this, refusal)
    return wasFirst ? queue : undefined
  }

  private take(): void {
    const limiters = this.limiters
    // Not emptied and used again: a reservation may refer to it.
    this.entries = none
    // Limits that hold something come last in the list and take first: what another limiter does may end the caller.
    for (let i = limiters.length - 1; i >= 0; i--) {
      const entry = limiters[i]!.start(this)
      if (entry === undefined && this.entries === none) continue
      if (this.entries === none) this.entries = []
      this.entries[i] = entry
    }
    try {
      this.host.observer?.starts(this)
    } catch {
      // There is no more room on the stack. The caller has to learn of what has been taken: its task finds none either.
    }
  }
}
