/**
 * The queue of the waiters that need the same set of several limiters; the admission rule for sets of limiters. Waiters that
 * need one limiter alone are in that limiter's own queue (`limiter.ts`), and nothing here concerns them.
 *
 * **The rule: room is kept only on the way.**
 *
 * 1. A waiter has a rank, the number of its arrival. Every comparison is by rank, whichever limiter a waiter comes from.
 * 2. Waiters of the same set are served in the order of their ranks, so only the first of a set is ever looked at. It
 *    stands at one limiter of the set, one that is closed to it, among the waiters of that limiter by rank. On arrival it
 *    keeps nothing at the other limiters: later waiters may pass there.
 * 3. When that limiter opens to it as the first in rank, all other limiters are asked. A limiter is closed to a waiter also where
 *    an earlier one stands. If all are open, it takes from all of them in the same step and starts.
 * 4. Otherwise it moves to the first limiter that is closed. If it is first there, room is kept for it at the limiters that are
 *    open, for F / 2 and at least a millisecond. F is how long it has been first at limiters that were closed by their own
 *    limits; pauses, and time behind room that is kept for others, do not count.
 * 5. Kept room binds only waiters of a later rank. It is what a start of that waiter would take: a permit, a slot of the
 *    rate, its amounts of the windows. It ends with its time, and when the waiter starts, leaves, or moves again.
 * 6. Semaphores keep no room: their permits belong to the rest of the program as well.
 *
 * **Invariants.** The first of a set stands at exactly one limiter, in `LimiterSets.standing`. A limiter at which waiters stand is closed
 * to the first of them, or about to be looked at. Every event that can open a limiter has the first there looked at: an
 * end, a change of limits, a timer, the end of kept room. So a waiter whose limiters all have room starts, unless room is
 * kept for an earlier one. Nothing is taken before everything is taken.
 *
 * **No hang.** Kept room ends by time, and is kept anew only after the limiter where the waiter stands has opened. If a task
 * holds `older` and cannot end before `younger` admits it, `older` does not open, so nothing more is kept at `younger`.
 * Kept room binds later ranks only, so the earliest waiter is never bound, and no circle can close.
 *
 * **The bound.** Let H be the longest time that one of the n limiters of a set stays closed to a waiter that is first there.
 * Take the earliest waiter. A round fails only if the limiter where it stands takes longer to open than room is kept, that
 * is longer than F / 2; so rounds fail only while F < 2 H. After that, each opening falls into the time for which the
 * rest is kept, and one round adds at least one limiter: n rounds of at most H. That is (2 + n) H, after those who came
 * earlier to the first limiter have had their turn. By induction over ranks this holds for all. With two semaphores in one
 * set there is no bound, as neither is kept, but there is no hang either: both are asked whenever one gives a permit.
 *
 * **Cost.** A waiter is added, removed and admitted in constant time, plus the logarithm of the number of *sets* whose
 * first stands at that limiter; moving is a matter of a set, not of each waiter in it, so a hundred thousand waiters for the
 * same two limiters move as one. An opening is offered to one set after the other until one takes it, so where each waiter
 * has a set of its own, an opening that none can use is offered to all of them.
 *
 * Rejected: keeping the first place at every limiter that was open (a task that holds one limiter and calls for the other
 * hangs, and waiters for one limiter wait for another); letting later waiters always pass (two floods starve a waiter that
 * needs both); keeping room until it is used (hangs), or after a number of overtakes (most of the room is lost).
 *
 * Priorities and lanes fit as another static rank. Weighted permits fit as an amount that kept room takes. A limit whose
 * grants arrive from elsewhere is a limiter that opens by an event.
 */
import type { Limiter, Waiter } from "./limiter.ts"
import { setsAt } from "./limiterSets.ts"
import type { Ranked } from "../data/heap.ts"
import type { Host } from "../runtime/host.ts"
import { WaitList } from "../data/waitList.ts"

/** The least time for which room is kept, in nanoseconds. */
const minKeptTime = 1_000_000

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

export class SetQueue implements Ranked {
  readonly limiters: ReadonlyArray<Limiter>
  index = 0
  /** F of the rule, for the first waiter, in nanoseconds. */
  closedFor = 0
  private readonly key: string
  private readonly queue = new WaitList<Waiter>()
  /** The limiter where the first stands. */
  private at: Limiter
  /** The limiters that keep room for the first. */
  private keepingRoom: ReadonlyArray<Limiter> = none

  constructor(limiters: ReadonlyArray<Limiter>, key: string) {
    this.limiters = limiters
    this.key = key
    this.at = limiters[0]!
  }

  /** There has to be one. */
  get first(): Waiter {
    return this.queue.first!
  }

  get rank(): number {
    return this.first.rank
  }

  get members(): ReadonlyArray<Waiter> {
    return this.queue.members
  }

  /** Adds the last to arrive. `closed` is the first limiter that is closed to it. */
  add(waiter: Waiter, closed: Limiter): void {
    const { limiters } = this
    this.queue.add(waiter)
    for (let i = 0; i < limiters.length; i++) {
      limiters[i]!.waiting++
      limiters[i]!.followTimers(waiter.host)
    }
    if (this.queue.size > 1) return
    for (let i = 0; i < limiters.length; i++) setsAt(limiters[i]!).needing.set(this.key, this)
    this.at = closed
    setsAt(closed).standing.add(this)
    this.recheck()
  }

  /** Removes a waiter from anywhere. Returns whether `recheck` has to be called. */
  remove(waiter: Waiter): boolean {
    const { limiters } = this
    for (let i = 0; i < limiters.length; i++) limiters[i]!.waiting--
    if (!this.queue.remove(waiter)) return false
    this.releaseRoom()
    const sets = setsAt(this.at)
    sets.forgetFirst(this)
    this.closedFor = 0
    if (this.queue.size > 0) {
      sets.standing.sink(this)
    } else {
      sets.standing.remove(this)
      for (let i = 0; i < limiters.length; i++) setsAt(limiters[i]!).needing.delete(this.key)
    }
    return true
  }

  /** Whether a waiter of this queue would have to wait if it needed no other limiter than that one. */
  isClosedAt(limiter: Limiter, waiter: Waiter): boolean {
    return this.at === limiter || setsAt(limiter).isClosedTo(waiter)
  }

  /** Sets the timer again that the first waiter depends on, if it is lost. */
  rearm(host: Host): void {
    this.at.rearm(host)
  }

  /** What stands at the limiters of the set has changed. */
  recheck(): void {
    const { limiters } = this
    for (let i = 0; i < limiters.length; i++) limiters[i]!.recheck()
  }

  /** The limiter where the first stands is open to it: the first starts or moves. */
  opened(): void {
    const { at: here, first: waiter, limiters } = this
    const open: Array<Limiter> = []
    let closed: Limiter | undefined
    for (let i = 0; i < limiters.length; i++) {
      const limiter = limiters[i]!
      if (limiter === here || setsAt(limiter).isOpenToSet(waiter, closed !== undefined)) open.push(limiter)
      else closed ??= limiter
    }
    if (closed !== undefined) {
      this.move(closed, open)
    } else {
      this.remove(waiter)
      waiter.admit()
    }
    this.recheck()
  }

  private move(to: Limiter, open: ReadonlyArray<Limiter>): void {
    this.releaseRoom()
    const from = setsAt(this.at)
    from.timeFirst(undefined)
    from.standing.remove(this)
    this.at = to
    const sets = setsAt(to)
    sets.standing.add(this)
    if (sets.first !== this) return
    this.keepingRoom = open.filter((limiter) => limiter.canKeep)
    for (const limiter of this.keepingRoom)
      setsAt(limiter).keepRoom(this, Math.max(minKeptTime, Math.ceil(this.closedFor / 2)))
  }

  /** The limiters that keep room for the first do so no longer. */
  releaseRoom(): void {
    const { keepingRoom: keeping } = this
    if (keeping.length === 0) return
    for (let i = 0; i < keeping.length; i++) setsAt(keeping[i]!).releaseRoom(this)
    this.keepingRoom = none
  }
}

/** The queue of a set, which each of its limiters knows as long as there are waiters in it. */
export const setQueueOf = (limiters: ReadonlyArray<Limiter>): SetQueue => {
  const key = limiters.map(({ serial }) => serial).join()
  return limiters[0]!.sets?.needing.get(key) ?? new SetQueue(limiters, key)
}
