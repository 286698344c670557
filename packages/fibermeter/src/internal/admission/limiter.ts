/**
 * The queue before a limit. A meter is one limiter or several; when a limiter is open, its subclasses decide (`Limit`).
 *
 * Waiters that need this limiter alone are in `queue`. Of the waiters that need several limiters, the first of each set
 * stands at one of them, in `sets`; `setQueue.ts` has the rule for those. Both are merged by rank: the first waiter of a
 * limiter is the one with the least rank of both. `request.ts` takes from all limiters of a request in one step.
 *
 * **Invariants.** A limiter at which waiters stand is closed to the first of them, or about to be checked. Whatever may open it
 * (the end of a task, a change of limits, its timer, the end of a time for which room is kept) calls `admitWaiters`. A limiter
 * has one timer, armed only while its first waiter waits for nothing but time.
 *
 * Only calls with meters need limiters, so a program without meters loads nothing of this: its calls ask `ownRequest.ts`.
 */
import type { Cost, Reservable, Weighing } from "./reservation.ts"
import type { Host } from "../runtime/host.ts"
import { notifyIdle } from "./idleness.ts"
import { excessOf } from "./refusal.ts"
import type { Refusal } from "./refusal.ts"
import type { LimiterSets } from "./limiterSets.ts"
import { minKeptTime, Shortage } from "./shortage.ts"
import type { SetQueue } from "./setQueue.ts"
import type { Sharing } from "./sharing.ts"
import type { Demand, Follower, Limit, Nesting, Waiter } from "./types.ts"
import type { WaitLimit } from "./overload.ts"
import { WaiterQueue } from "./waiterQueue.ts"
import { refuseImpossible } from "./waiters.ts"
import { Timeline } from "../runtime/timeline.ts"
import { Alarm } from "../runtime/alarm.ts"
import { deferStart, overdue } from "../runtime/eventLoop.ts"

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

let limitersMade = 0

export abstract class Limiter implements Limit, Reservable {
  /** Identifies the limiter, and is the order in which a set lists its limiters. */
  readonly serial: number = limitersMade++
  abstract readonly capacity: number
  canKeep: boolean = true
  /** The least time for which room is kept here, in nanoseconds. */
  readonly leastKept: number = minKeptTime
  get isAskedLast(): boolean {
    return !this.canKeep
  }
  /** The name by which other processes know the same limit; empty for a limit of this process. */
  sharedName = ""
  abstract readonly isTimed: boolean
  abstract readonly names: Iterable<string>
  /** Whether several calls may use it. */
  get isShared(): boolean {
    return false
  }
  /** Whether several requests may wait at a time. */
  get severalWait(): boolean {
    return true
  }
  /** Tasks that have started and not ended. */
  running = 0
  /** The permits that these hold. */
  permitsInUse = 0
  /** Tasks that have ever started. */
  started = 0
  /** Calls that may ask for more starts. */
  private calls = 0
  /** Waiters that need this limiter, whichever of their limiters they stand at. */
  waiting = 0
  /** Those that are calls for one start. */
  callsWaiting = 0
  /** Those that have a cost of their own. */
  costsWaiting = 0
  /** Limits on `callsWaiting`, and on how long calls wait. */
  waitLimit: WaitLimit | undefined

  /** Up to date where time decides: where the limit is timed, while it is paused, and while room is kept. */
  readonly time = new Timeline((delta) => {
    this.pausedUntil += delta
    this.sets?.shiftTime(delta)
    this.shortage?.shiftTime(delta)
    this.shiftTime(delta)
  })
  /** How calls are refused that come from now on: set while the meter drains, and afterwards. */
  closing: Refusal | undefined
  /** Why the limiter can never open again, if so; a limiter of another package may. */
  failure: Refusal | undefined

  /** The waiters that need this limiter alone. */
  readonly queue = new WaiterQueue()
  /** Only the limiters of meters have it. */
  declare readonly sharing: Sharing
  /** What it knows of waiters that need other limiters as well. Created for the first of them. */
  sets: LimiterSets | undefined
  /** What it knows of a first waiter that lacks permits. Created for the first of them. */
  shortage: Shortage | undefined
  /** Whether the last answer of `opensForWaiter` is due to a pause or to kept room, and not to the limiter's own limits. */
  isHeldBack = false
  /** Made for the first waiter that is made inside of a task. */
  nesting: Nesting | undefined
  pausedUntil = -Infinity
  /** When waiters are checked. Made for the first of them that waits for an instant. */
  private alarm: Alarm | undefined
  /** The era of the timers at the last arrival: see `followTimers`. */
  private timersEra = 0
  private isDeferred = false
  isAdmitting = false
  /** Calls that are notified: see `followers.ts`. */
  followers: Set<Follower> | undefined
  /** Called when the limiter becomes idle: see `idleness.ts`. */
  idleListeners: Set<{ readonly f: () => void }> | undefined

  abstract opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number
  abstract nextOpening(): number
  abstract take(waiter: Waiter): unknown
  // What most limits have no use for.
  confirmStart(_entry: unknown): void {}
  correct(_entry: unknown, _cost: Cost): void {}
  release(_permits: number): void {}
  onBlocked(): void {}
  onLeft(): void {}
  onIdle(): void {}
  shiftTime(_delta: number): void {}

  objection({ permits }: Demand): Refusal | undefined {
    return excessOf(permits, this.capacity) ?? this.failure
  }

  get isWeighed(): boolean {
    return false
  }

  /** Whether a waiter might be admitted now. If not, some event has to call `wake`, and nothing is checked before. */
  protected canOpen(): boolean {
    return true
  }

  /** A call begins that may ask for any number of starts. */
  addCall(): void {
    this.calls++
  }

  removeCall(): void {
    this.calls--
    if (this.idleListeners !== undefined) notifyIdle(this)
  }

  /** Whether no task runs or waits, and no call may ask for more starts. */
  get isIdle(): boolean {
    return this.running === 0 && this.calls === 0 && this.waiting === 0
  }

  /** A task starts. Returns an entry for `confirmStart` and `correct`. */
  start(waiter: Waiter): unknown {
    this.running++
    this.permitsInUse += waiter.permits
    this.started++
    return this.take(waiter)
  }

  /** A task has ended that held so many permits. `afterEnd` follows, when that has been done at all of its limiters. */
  end(permits: number): void {
    this.running--
    this.permitsInUse -= permits
    this.release(permits)
  }

  afterEnd(): void {
    this.wake()
    // If the limit has been lowered, an end need not free a permit.
    this.nesting?.breakDeadlock()
    if (this.idleListeners !== undefined) notifyIdle(this)
  }

  isPaused(host: Host): boolean {
    if (this.pausedUntil === -Infinity) return false
    this.updateTime(host)
    return this.pausedUntil > this.time.now
  }

  /** Admits nothing for so many nanoseconds, or until `resume`. Of several pauses, the one that ends last counts. */
  pause(host: Host, nanos: number): void {
    this.updateTime(host)
    this.pausedUntil = Math.max(this.pausedUntil, this.time.now + nanos)
    if (this.isEmpty()) return
    this.onBlocked()
    this.wake()
  }

  /** Ends all pauses. `wake` has to be called afterwards. */
  resume(): void {
    this.pausedUntil = -Infinity
  }

  /**
   * In how many nanoseconds a waiter can start at the earliest after so many others, by rates and windows alone. What does not
   * depend on the time may take longer.
   */
  startsIn(_waiter: Waiter, _before: number): number {
    return 0
  }

  /** A request that needs this limiter begins to wait (1), or waits no longer (-1). */
  countWaiter({ cost, isCall }: Waiter, by: 1 | -1): void {
    if (isCall) this.callsWaiting += by
    if (cost !== undefined) this.costsWaiting += by
  }

  /** Whether the limiter is open to a waiter that arrives now. */
  admits(waiter: Waiter): boolean {
    this.followTimers(waiter.host)
    return this.isEmpty() && this.isOpen(waiter)
  }

  /** Whether the limiter is open to a waiter, whichever waiters stand here. */
  isOpen(waiter: Waiter): boolean {
    return this.failure === undefined && this.opensForWaiter(waiter) <= this.time.now
  }

  /** Whether no waiter stands here. */
  isEmpty(): boolean {
    return this.queue.size === 0 && (this.sets === undefined || this.sets.isEmpty)
  }

  /** When the limiter opens to a waiter, whichever waiters stand here: see `opensAt`. */
  opensForWaiter(waiter: Waiter): number {
    this.isHeldBack = false
    const keepsRoom = this.sets?.keepsRoom === true
    if (this.isTimed || this.pausedUntil !== -Infinity || keepsRoom) {
      this.updateTime(waiter.host)
      if (this.pausedUntil > this.time.now) {
        this.onBlocked()
        this.isHeldBack = true
        return this.pausedUntil
      }
      this.pausedUntil = -Infinity
      if (keepsRoom) return this.sets!.opensBesidesKept(waiter)
    }
    return this.opensAt(waiter, none)
  }

  /** Brings the time up to date. */
  updateTime(host: Host): void {
    if (this.isEmpty() || this.time.clock === undefined) this.time.follow(host.clock)
    this.time.update()
  }

  /** Adds a waiter that needs this limiter alone, the last to arrive. */
  enqueue(waiter: Waiter): void {
    this.waiting++
    // One that is not first may start before a first one that lacks permits.
    if (this.queue.add(waiter) || this.shortage !== undefined) this.admitWaiters()
  }

  /** Removes such a waiter. Returns whether `recheck` has to be called. */
  remove(waiter: Waiter): boolean {
    this.waiting--
    return this.queue.remove(waiter)
  }

  /** The first of the waiters that stand here has left. */
  recheck(): void {
    this.wake()
    this.restIfEmpty()
  }

  /** To be called when the limiter may have opened. */
  wake(): void {
    if (!this.isEmpty()) this.admitWaiters()
  }

  /** Admits the waiters that stand here, one after the other, until the limiter is closed to the first of them. */
  admitWaiters(): void {
    if (this.isAdmitting || this.isDeferred) return
    if (this.sets?.keepsRoom === true) this.sets.endExpiredRoom()
    this.isAdmitting = true
    try {
      this.admitWhileOpen()
    } finally {
      this.isAdmitting = false
    }
    if (this.failure !== undefined && this.waiting > 0) refuseImpossible(this)
    if (this.isEmpty()) this.disarm()
  }

  private admitWhileOpen(): void {
    for (;;) {
      const set = this.sets?.first
      const waiter = set === undefined ? this.queue.first : set.first
      if (waiter === undefined) break
      const { requests } = waiter.host
      if (requests?.isHere(waiter) === false) {
        if (this.admitsSmaller(waiter)) continue
        requests.sendWaiter(waiter, this)
        break
      }
      const objection = waiter.objection()
      if (objection !== undefined) {
        waiter.refuse(objection)
        continue
      }
      if (!this.canOpen()) {
        this.sets?.waitForEvent(set, waiter)
        break
      }
      const opensAt = this.opensForWaiter(waiter)
      if (opensAt > this.time.now) {
        this.sets?.timeFirst(this.isHeldBack ? undefined : set)
        this.arm(opensAt, waiter.host)
        if (!this.isHeldBack && this.admitsSmaller(waiter)) continue
        break
      }
      if (this.mustYield(waiter)) break
      this.admit(waiter, set)
    }
  }

  /** Whether the first waiter lacks permits, although some are free, and one that needs fewer has been admitted instead. */
  private admitsSmaller(first: Waiter): boolean {
    if (!this.severalWait || first.permits === 1 || first.permits <= this.freePermits) return false
    return (this.shortage ??= new Shortage(this)).admitSmaller(first)
  }

  get freePermits(): number {
    return this.capacity - this.permitsInUse
  }

  /** Admits a waiter that stands here, the first of the set if there is one. The limiter is open to it. */
  admit(waiter: Waiter, set: SetQueue | undefined): void {
    if (set !== undefined) return set.opened()
    this.waiting--
    this.queue.removeAdmitted(waiter)
    waiter.admit()
  }

  /** Whether the start of the waiter has to come in a later turn of the event loop. */
  mustYield(waiter: Waiter): boolean {
    const { host } = waiter
    if (!overdue(host)) return false
    // Where events belong to requests, the queue of several must not wait for a turn of one of them.
    if (host.requests?.looksAgain(waiter) !== true) this.deferAdmission(host)
    return true
  }

  /**
   * Waiters have left and do not come back in this step: if none stands here any more, the timer is cancelled and the limit
   * is idle. Not part of `admitWaiters`, since a run whose item is admitted usually asks for the next one.
   */
  restIfEmpty(): void {
    if (!this.isEmpty()) return
    this.disarm()
    this.shortage = undefined
    if (this.waiting > 0) return this.onBlocked()
    this.onIdle()
    if (this.idleListeners !== undefined) notifyIdle(this)
  }

  private deferAdmission(host: Host): void {
    this.isDeferred = true
    deferStart(host, () => {
      this.isDeferred = false
      this.admitWaiters()
    })
  }

  /** Has the waiters checked at that instant. */
  arm(at: number, host: Host): void {
    this.alarm ??= new Alarm(this.time, () => this.admitWaiters())
    this.alarm.set(at, host)
  }

  /**
   * Called for each arrival. If the host's timers have been replaced since the last one, sets the lost timers again that
   * waiters for this limiter depend on, also at the other limiters of their sets. Admits nothing: the arrival may be
   * between two of its limiters.
   */
  followTimers(host: Host): void {
    if (this.alarm?.isSet !== true && this.sets?.isNeeded !== true) return
    const { timersEra } = host
    if (this.timersEra === timersEra) return
    this.timersEra = timersEra
    this.rearm(host)
    this.sets?.rearm(host)
  }

  /** Sets the timer again if it is lost. */
  rearm(host: Host): void {
    const { alarm } = this
    if (alarm?.isLost !== true) return
    this.updateTime(host)
    alarm.set(alarm.at, host)
  }

  private disarm(): void {
    this.alarm?.cancel()
  }
}

/**
 * The limiters of a call as its requests want them: each once, so that equal sets are equal lists, and semaphores last, so
 * that none is asked in vain. Youngest first, because what is made later is usually the narrower limit: a call's own
 * limits, then the limit of one host, then the limit of the whole program. A waiter then stands at the narrow one. Limits that
 * other processes share come in the order of their names, which is the same in all of them: see `setQueue.ts`.
 */
export const inOrder = <L extends Limiter>(...limiters: ReadonlyArray<ReadonlyArray<L>>): ReadonlyArray<L> =>
  Array.from(new Set(limiters.flat())).sort(
    (a, b) =>
      Number(a.isAskedLast) - Number(b.isAskedLast) ||
      Number(a.sharedName > b.sharedName) - Number(a.sharedName < b.sharedName) ||
      b.serial - a.serial
  )

/** How many permits there are behind these limiters. */
export const capacityOf = (limiters: ReadonlyArray<Limiter>): number =>
  limiters.reduce((least, limiter) => Math.min(least, limiter.capacity), Infinity)

/** The names of the windows of these limiters. */
export const namesOf = (limiters: ReadonlyArray<Weighing>): ReadonlySet<string> =>
  new Set(limiters.flatMap((limiter) => Array.from(limiter.names)))

/**
 * The limiters that all of these functions return. Each is in use while the next function is called: looking up a key's
 * limiter may drop idle ones.
 */
export const limitersTogether = <G extends Limiter>(
  limitersOf: ReadonlyArray<() => ReadonlyArray<G>>
): ReadonlyArray<G> => {
  const used: Array<G> = []
  for (const each of limitersOf) {
    for (const limiter of each()) {
      limiter.addCall()
      used.push(limiter)
    }
  }
  for (const limiter of used) limiter.removeCall()
  return used
}
