/**
 * The queue in front of a limit. A meter is one limiter or several; what opens a limiter, and when, its subclasses decide.
 *
 * Waiters that need this limiter alone are in `line`, first come, first served. Of the waiters that need several limiters, the
 * first of each set stands at one of them, in `sets`; `setQueue.ts` has the rule for those. Both are merged by rank: the
 * first of a limiter is the one with the smallest rank of both. `request.ts` has what all of them have in common.
 */
import type { Cost, Reservable } from "./reservation.ts"
import type { Host, Timer } from "../runtime/host.ts"
import { WaitList } from "../data/waitList.ts"
import type { WaitListEntry } from "../data/waitList.ts"
import type { Refusal } from "./refusal.ts"
import type { LimiterSets } from "./limiterSets.ts"
import type { SetQueue } from "./setQueue.ts"
import { Timeline } from "../runtime/timeline.ts"
import { deferStart, overdue, turnBegins } from "../runtime/eventLoop.ts"

/** A request for admission that waits. */
export interface Waiter extends WaitListEntry {
  readonly host: Host
  readonly limiters: ReadonlyArray<Limiter>
  readonly cost: Cost | undefined
  /**
   * Its place in the order of all waiters: the smaller comes first. It does not change while the waiter waits. Today it
   * is the number of its arrival. 0 while it does not wait, and then it comes after all that do.
   */
  readonly rank: number
  readonly isWaiting: boolean
  /** From where inside of a task it is called, as far as that is known. */
  readonly inside: Inside | undefined
  /** Why no waiting can ever have all of its limiters admit it, if so. */
  objection(): Refusal | undefined
  /** All its limiters are open. It has been taken out of its queue. */
  admit(): void
  /** It will never be admitted, for that reason. It takes itself out of its queue. */
  refuse(reason: Refusal): void
  /** Gives up waiting. */
  cancel(): void
}

/** A call that is held up by a limit of its own which goes by the capacity of its limiters. */
export interface Follower {
  readonly host: Host
  capacityChanged(): void
}

/** A place inside of a task: `taskScope.ts` says what that means. */
export interface Inside {
  nestingAt(limiter: Limiter): Nesting
}

/** The waiters of a limiter that run inside of tasks. */
export interface Nesting {
  /** The waiter waits: the task that it runs inside of may not end before. Refuses the waiter if that is a deadlock. */
  add(waiter: Waiter): void
  remove(waiter: Waiter): void
  /** Refuses a waiter if there is a deadlock. To be called when there are fewer permits, or fewer tasks that hold one. */
  breakDeadlock(): void
}

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

let limitersMade = 0

/** The longest sleep asked of a clock, in nanoseconds; whoever has to wait longer looks again then. */
const maxSleep = 2 ** 50

export abstract class Limiter implements Reservable {
  /** What tells this limiter from all others, and in which order a set lists them. */
  readonly serial: number = limitersMade++
  /** How many tasks may have passed and not ended. */
  abstract readonly capacity: number
  /** Whether room can be kept here. Where it cannot, the limiter has to hold something in order to be open, and comes last. */
  readonly canKeep: boolean = true
  /** Whether several calls may use it. */
  get isShared(): boolean {
    return false
  }
  /** The names by which a task's cost is counted here. */
  abstract readonly names: Iterable<string>
  /** How many tasks have passed and not ended. */
  running = 0
  /** How many tasks have ever passed. */
  started = 0
  /** Calls that go on and may come again. */
  private calls = 0
  /** How many waiters need this limiter, whichever of their limiters they stand at. */
  waiting = 0

  /** Who may pass depends on it only where time matters to the limiter, and while it is paused. */
  readonly time = new Timeline((delta) => {
    this.pausedUntil += delta
    this.sets?.shiftTime(delta)
    this.shiftTime(delta)
  })
  /** Set when the limiter can open no more: whoever comes is refused with it. */
  private failure: Refusal | undefined

  /** The waiters that need this limiter alone, in the order of their ranks. */
  private readonly queue = new WaitList<Waiter>()
  /** What it knows of waiters that need other limiters as well; created for the first. */
  sets: LimiterSets | undefined
  /** Whether what `opensForWaiter` said last is owed to a pause or to kept room, and not to the limiter's own limits. */
  isHeldBack = false
  /** Made for the first that runs inside of a task. */
  private nesting: Nesting | undefined
  pausedUntil = -Infinity
  /** The one timer of this limiter, armed only while the first in line waits for nothing but time. */
  private timer: Timer | undefined
  private timerAt = NaN
  /** The era of the timers at the last arrival: `followTimers`. */
  private timersEra = 0
  /** See `arm`. */
  private leastSleep = 0
  private isDeferred = false
  private isAdmitting = false
  /** Calls that go by the capacity of this limiter. */
  private followers: Set<Follower> | undefined
  /** Called when nothing is here any more. */
  private idleListeners: Set<{ readonly f: () => void }> | undefined

  /** The queue of the waiters that need these limiters. Shared limiters have it; each set has one. */
  readonly queueOf: ((limiters: ReadonlyArray<Limiter>) => SetQueue) | undefined
  /** Whether `opensAt` goes by the time. */
  abstract readonly isTimed: boolean
  /**
   * When this limiter will be open to the waiter, if it is first, and as if the waiters in `kept` had just started: at that
   * time or, if that has come, now; or at `Infinity`, after some event that calls `wake`. Called again before each
   * decision, so it may note that there is a waiter.
   */
  abstract opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number
  /** Takes what a task needs; in the same step as `opensAt` said that the limiter is open. Returns a note for `settle`. */
  protected abstract take(waiter: Waiter): unknown
  /** The task behind that note has been called by now. Where nothing is noted, that is nothing. */
  confirmStart(_booking: unknown): void {}
  /** The task behind that note has cost something else than it was to. To be followed by `wake`. */
  abstract correct(entry: unknown, cost: Cost): void
  /** Gives back what a task held. */
  protected abstract release(): void
  /** No waiter needs this limiter any more. */
  protected abstract onIdle(): void
  /** Waiters need this limiter, but none of them waits for it to open: they wait for something else. */
  abstract onBlocked(): void
  /** Noted times have moved by so much. */
  protected abstract shiftTime(delta: number): void

  /** Why a task of that cost can never start here, if so. */
  objection(_cost: Cost | undefined): Refusal | undefined {
    return this.failure
  }

  /** Whether tasks are paid for by amounts. */
  get isWeighed(): boolean {
    return false
  }

  /** Whether anybody might pass now. Where not, some event has to call `wake`; until then there is nothing to look at. */
  protected canOpen(): boolean {
    return true
  }

  /** A call begins that may come any number of times. */
  addCall(): void {
    this.calls++
  }

  /** Such a call has ended. */
  removeCall(): void {
    this.calls--
    if (this.idleListeners !== undefined) this.notifyIdle()
  }

  /** Notifies the call when the capacity changes. */
  follow(follower: Follower): void {
    this.followers ??= new Set()
    this.followers.add(follower)
  }

  unfollow(follower: Follower): void {
    this.followers!.delete(follower)
  }

  /** To be called when the capacity has changed, after the waiters have been looked at. */
  protected notifyFollowers(): void {
    // A call that is notified may end, and others may begin.
    for (const follower of Array.from(this.followers ?? [])) {
      const { requests } = follower.host
      if (requests?.isHere(follower) === false) requests.send(follower, { wake: () => follower.capacityChanged() })
      else follower.capacityChanged()
    }
  }

  /** Whether nobody runs, waits, or may come again without being called anew. */
  get isIdle(): boolean {
    return this.running === 0 && this.calls === 0 && this.isEmpty()
  }

  /** Calls `f` as soon as the limiter is idle, which may be at once. Returns what calls it off. */
  whenIdle(f: () => void): () => void {
    const told = { f }
    this.idleListeners ??= new Set()
    this.idleListeners.add(told)
    this.notifyIdle()
    return () => this.idleListeners?.delete(told)
  }

  private notifyIdle(): void {
    if (!this.isIdle) return
    const told = this.idleListeners!
    this.idleListeners = undefined
    for (const { f } of told) f()
  }

  /** All waiters that need this limiter: those that need no other one first. */
  get waiters(): ReadonlyArray<Waiter> {
    return [...this.queue.members, ...(this.sets?.members ?? [])]
  }

  /** A task starts. */
  start(waiter: Waiter): unknown {
    this.running++
    this.started++
    return this.take(waiter)
  }

  /** A task has ended. To be followed by `left`, when it has left all of its limiters. */
  end(): void {
    this.running--
    this.release()
  }

  afterEnd(): void {
    this.wake()
    // Where the limit has been lowered, an end need not make room.
    this.nesting?.breakDeadlock()
    if (this.idleListeners !== undefined) this.notifyIdle()
  }

  /** Admits nothing for so many nanoseconds from now, or until `resume`. Of several pauses, the last to end counts. */
  pause(host: Host, nanos: number): void {
    this.updateTime(host)
    this.pausedUntil = Math.max(this.pausedUntil, this.time.now + nanos)
    if (this.isEmpty()) return
    this.onBlocked()
    this.wake()
  }

  /** Ends all pauses. To be followed by `wake`. */
  resume(): void {
    this.pausedUntil = -Infinity
  }

  /** When a task of cost 1 could pass if nobody waited, in nanoseconds from now; `Infinity` if only an event tells. */
  opensIn(host: Host): number {
    this.updateTime(host)
    return Math.max(0, this.pausedUntil - this.time.now, this.nextOpening() - this.time.now)
  }

  /** As `opensAt`, for a waiter that is not there. */
  protected abstract nextOpening(): number

  /** Whether the limiter is open to a waiter that arrives now. */
  admits(waiter: Waiter): boolean {
    this.followTimers(waiter.host)
    return this.isEmpty() && this.isOpen(waiter)
  }

  /** Whether the limiter itself is open to a waiter, whichever waiters stand here. */
  isOpen(waiter: Waiter): boolean {
    return this.failure === undefined && this.opensForWaiter(waiter) <= this.time.now
  }

  /** Whether no waiter stands here. */
  isEmpty(): boolean {
    return this.queue.size === 0 && (this.sets === undefined || this.sets.isEmpty)
  }

  /** The first waiter that needs this limiter alone. */
  get firstAlone(): Waiter | undefined {
    return this.queue.first
  }

  private opensForWaiter(waiter: Waiter): number {
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
    this.queue.add(waiter)
    if (this.queue.size === 1) this.admitWaiters()
  }

  /** Removes such a waiter. Returns whether `recheck` has to be called. */
  remove(waiter: Waiter): boolean {
    this.waiting--
    return this.queue.remove(waiter)
  }

  /** The first of those that stand here has left. */
  recheck(): void {
    this.wake()
    this.restIfEmpty()
  }

  /** A waiter inside of a task waits for this limiter, and maybe for others. */
  addNested(waiter: Waiter, inside: Inside): void {
    this.nesting ??= inside.nestingAt(this)
    this.nesting.add(waiter)
  }

  removeNested(waiter: Waiter): void {
    this.nesting?.remove(waiter)
  }

  /** The limiter will never open again: refuses all that need it, now and later. */
  protected fail(reason: Refusal): void {
    this.failure = reason
    // In the midst of `pump`, a task is about to start: it comes first.
    if (!this.isAdmitting) this.refuseImpossible()
  }

  /** Refuses the waiters that can never be admitted any more. */
  protected refuseImpossible(): void {
    for (const waiter of this.waiters) {
      // It is looked at when it comes first: its signal can be read only in its own request.
      if (waiter.host.requests?.isHere(waiter) === false) continue
      const objection = waiter.objection()
      // To refuse one lets those behind it be admitted, or has them refused.
      if (objection !== undefined && waiter.isWaiting) waiter.refuse(objection)
    }
    this.nesting?.breakDeadlock()
  }

  /** To be called when the limiter may have opened. */
  wake(): void {
    if (!this.isEmpty()) this.admitWaiters()
  }

  /** Looks at the waiters that stand here, one after the other, until the limiter is closed to the first of them. */
  admitWaiters(): void {
    if (this.isAdmitting || this.isDeferred) return
    if (this.sets?.keepsRoom === true) this.sets.endExpiredRoom()
    this.isAdmitting = true
    for (;;) {
      const set = this.sets?.first
      const waiter = set === undefined ? this.queue.first : set.first
      if (waiter === undefined) break
      const { requests } = waiter.host
      if (requests?.isHere(waiter) === false) {
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
        break
      }
      if (overdue(waiter.host)) {
        // Where events belong to requests, the queue of several must not wait for a turn of one of them.
        if (waiter.host.requests?.looksAgain(waiter) !== true) this.deferAdmission(waiter.host)
        break
      }
      if (set === undefined) {
        this.waiting--
        this.queue.remove(waiter)
        waiter.admit()
      } else {
        set.opened()
      }
    }
    this.isAdmitting = false
    if (this.failure !== undefined && this.waiting > 0) this.refuseImpossible()
    if (this.isEmpty()) this.disarm()
  }

  /**
   * Waiters have left, and will not be back in this step: if no other stands here, the limiter comes to rest. Not part of
   * `pump`, since a run whose item was admitted as a rule comes with the next.
   */
  restIfEmpty(): void {
    if (!this.isEmpty()) return
    this.disarm()
    if (this.waiting > 0) return this.onBlocked()
    this.onIdle()
    if (this.idleListeners !== undefined) this.notifyIdle()
  }

  private deferAdmission(host: Host): void {
    this.isDeferred = true
    deferStart(host, () => {
      this.isDeferred = false
      this.admitWaiters()
    })
  }

  /** Has the waiters looked at then. */
  arm(at: number, host: Host): void {
    if (this.timer !== undefined) {
      if (this.timerAt <= at && !this.timer.isLost) return
      this.disarm()
    }
    if (at === Infinity) return
    // A timer that fired early has to be set again, and for a test clock far from zero the remaining nanoseconds may
    // round to nothing: the least sleep doubles until the clock moves.
    this.leastSleep = at === this.timerAt ? Math.max(1000, this.leastSleep * 2) : 0
    this.timerAt = at
    const nanos = Math.min(Math.max(at - this.time.now, this.leastSleep), maxSleep)
    // A timer that was cancelled does not fire.
    this.timer = host.sleep(this.time.clock!, nanos, () => {
      this.timer = undefined
      turnBegins(host.isLive)
      this.admitWaiters()
    })
  }

  /**
   * Called for each arrival. If the host's timers have been replaced since the last one, sets the lost timers again that
   * waiters for this limiter depend on, also at the other limiters of their sets. Admits nothing: the arrival may be between
   * two of its limiters.
   */
  followTimers(host: Host): void {
    if (this.timer === undefined && this.sets?.isNeeded !== true) return
    const { timersEra } = host
    if (this.timersEra === timersEra) return
    this.timersEra = timersEra
    this.rearm(host)
    this.sets?.rearm(host)
  }

  /** Sets the timer again if it is lost. */
  rearm(host: Host): void {
    if (this.timer?.isLost !== true) return
    this.updateTime(host)
    this.arm(this.timerAt, host)
  }

  private disarm(): void {
    const timer = this.timer
    this.timer = undefined
    this.timerAt = NaN
    timer?.cancel()
  }
}

/**
 * The limiters of a call as its requests want them: each once, so that equal sets are equal lists, and semaphores last, so
 * that none is asked for in vain. Youngest first, because what is made later is usually the narrower one: a call's own
 * limits, then the limit of one host, then the limit of the whole program. A waiter then stands at the narrow one.
 */
export const inOrder = (...limiters: ReadonlyArray<ReadonlyArray<Limiter>>): ReadonlyArray<Limiter> =>
  Array.from(new Set(limiters.flat())).sort((a, b) => Number(b.canKeep) - Number(a.canKeep) || b.serial - a.serial)

/** How many tasks may run at once behind these limiters. */
export const capacityOf = (limiters: ReadonlyArray<Limiter>): number =>
  limiters.reduce((least, limiter) => Math.min(least, limiter.capacity), Infinity)

/** The names that the windows of these limiters have. */
export const namesOf = (limiters: ReadonlyArray<Reservable>): ReadonlySet<string> =>
  new Set(limiters.flatMap((limiter) => Array.from(limiter.names)))

/**
 * The limiters that all of these give. Each is held while the others are asked for: that may be what has the idle limiter of a
 * key forgotten.
 */
export const limitersTogether = <G extends Limiter>(
  limitersOf: ReadonlyArray<() => ReadonlyArray<G>>
): ReadonlyArray<G> => {
  const held: Array<G> = []
  for (const each of limitersOf) {
    for (const limiter of each()) {
      limiter.addCall()
      held.push(limiter)
    }
  }
  for (const limiter of held) limiter.removeCall()
  return held
}
