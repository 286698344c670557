/**
 * A request for admission: a `AdmissionRequest` asks some limiters for the start of one task at a time, and waits where they are closed.
 *
 * - **One step.** A request takes from all its limiters in the same step, and only when all are open to it. Nothing is held
 *   while waiting, so a waiter that gives up costs the others nothing.
 * - **Order.** Waiters of the same limiters are served first come, first served. A request that arrives is admitted at once if
 *   all its limiters are open and no waiter stands at any of them. Otherwise it waits: in the limiter's own queue (`limiter.ts`), or
 *   where it needs several limiters, in the queue of that set (`setQueue.ts`), which has the rule between sets.
 * - **When tasks start.** `request` starts a task within the call if it can be admitted. Whatever gives room to waiters (an
 *   end, `resume`, `resize`, a correction, an interrupted waiter) starts their tasks within that call, too, after all
 *   limiters that it concerns have changed. The one exception is a turn of the event loop that has lasted too long
 *   (`eventLoop.ts`): then the next start comes in a later turn.
 */
import type { Limiter, Inside, Waiter } from "./limiter.ts"
import type { Cost, Reservation } from "./reservation.ts"
import type { Host } from "../runtime/host.ts"
import type { Refusal } from "./refusal.ts"
import type { SetQueue } from "./setQueue.ts"

/** How many requests have ever waited. */
let arrivals = 0

/** The queue of waiters that need several limiters. The last is shared: what only one call uses is the youngest, and first. */
const queueOf = (limiters: ReadonlyArray<Limiter>): SetQueue => limiters[limiters.length - 1]!.queueOf!(limiters)

/** Instead of a new array for each request: most never need one. */
const none: Array<never> = []

/**
 * Subclasses decide what becomes of a request: `admitted` and `refused`.
 *
 * There may be a hundred thousand of these at the same time, and what they cost is above all what the garbage collector
 * has to carry along: hence few properties. They are declared and assigned, as with all that is made once a task: fields,
 * which a class defines first, take twice as long.
 */
export abstract class AdmissionRequest implements Waiter {
  abstract readonly host: Host
  /** What the task costs for which the next start is asked. */
  abstract readonly cost: Cost | undefined
  abstract readonly inside: Inside | undefined
  declare readonly limiters: ReadonlyArray<Limiter>
  /** What the limiters have noted of the last start. */
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

  /**
   * A start has been taken after a wait: the task is to be started in this very step, and `started` called. What has let
   * the request pass may be another call's task, in another async context.
   */
  protected abstract admitted(): void

  /** A limiter will never let it pass. */
  protected abstract refused(refusal: Refusal): void

  /**
   * Asks for a start. `true`: it has been taken, and the caller starts the task in this very step and calls `started`.
   * `false`: `admitted` or `refused` will be called, unless `cancel` is called before.
   */
  requestStart(): boolean {
    const objection = this.objection()
    if (objection !== undefined) {
      this.refused(objection)
      return false
    }
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) {
      const limiter = limiters[i]!
      if (limiter.admits(this)) continue
      this.enqueue(limiter)
      return false
    }
    this.take()
    return true
  }

  objection(): Refusal | undefined {
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) {
      const objection = limiters[i]!.objection(this.cost)
      if (objection !== undefined) return objection
    }
    return undefined
  }

  get isWaiting(): boolean {
    return this.rank !== 0
  }

  /** Whether it waits, and would have to if it needed no other limiter than this one of its own. */
  isWaitingAt(limiter: Limiter): boolean {
    if (!this.isWaiting || this.limiters.length === 1) return this.isWaiting
    return queueOf(this.limiters).isClosedAt(limiter, this)
  }

  /** Whether it makes a difference when a task is seen to start. */
  protected get isTimed(): boolean {
    return this.limiters.some((limiter) => limiter.isTimed)
  }

  /** The task has been called: whatever start it has seen, it was not later than this. */
  started(): void {
    const { entries, limiters } = this
    for (let i = 0; i < entries.length; i++) limiters[i]!.confirmStart(entries[i])
  }

  /** What the task that has just been started holds. */
  reservation(): Reservation {
    const { entries, limiters } = this
    return { entries, limiters }
  }

  /** The caller wants no further start for the time being. */
  rest(): void {
    const limiters = this.limiters
    for (let i = 0; i < limiters.length; i++) limiters[i]!.restIfEmpty()
  }

  /** A task that was started with this request has ended. */
  release(): void {
    const limiters = this.limiters
    // First all of them change: a waiter that needs several must not be looked at in between.
    for (let i = 0; i < limiters.length; i++) limiters[i]!.end()
    for (let i = 0; i < limiters.length; i++) limiters[i]!.afterEnd()
  }

  /** Gives up waiting. */
  cancel(): void {
    if (this.isWaiting) this.dequeue()?.recheck()
  }

  /** Called by the limiter where it stands, after all are open to it and it has been taken out of its queue. */
  admit(): void {
    // Before it takes: what a limiter does then may end the caller, who must not find this waiting.
    this.stopWaiting()
    this.take()
    this.admitted()
  }

  /** Called by a limiter that will never admit it: the limiter is broken, or the task costs too much, or it is a deadlock. */
  refuse(refusal: Refusal): void {
    const left = this.dequeue()
    this.refused(refusal)
    left?.recheck()
  }

  private enqueue(closed: Limiter): void {
    const { limiters, inside } = this
    this.rank = ++arrivals
    this.host.requests?.wait(this)
    if (limiters.length === 1) closed.enqueue(this)
    else queueOf(limiters).add(this, closed)
    if (inside === undefined) return
    // It may have been admitted meanwhile, and from the first of these on it may be refused.
    for (let i = 0; i < limiters.length && this.isWaiting; i++) limiters[i]!.addNested(this, inside)
  }

  private stopWaiting(): void {
    this.rank = 0
    if (this.inside !== undefined) for (const limiter of this.limiters) limiter.removeNested(this)
  }

  /** Leaves its queue. Returns where others may be admitted by that, if they may. */
  private dequeue(): { recheck(): void } | undefined {
    const limiters = this.limiters
    const queue = limiters.length === 1 ? limiters[0]! : queueOf(limiters)
    const wasFirst = queue.remove(this)
    this.stopWaiting()
    return wasFirst ? queue : undefined
  }

  private take(): void {
    const limiters = this.limiters
    // Not emptied and used again: a holding may have them.
    this.entries = none
    // What holds something comes last, and takes it first: what another limiter does may be what ends the caller.
    for (let i = limiters.length - 1; i >= 0; i--) {
      const entry = limiters[i]!.start(this)
      if (entry === undefined && this.entries === none) continue
      if (this.entries === none) this.entries = []
      this.entries[i] = entry
    }
  }
}
