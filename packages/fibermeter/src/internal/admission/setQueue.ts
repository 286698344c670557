/**
 * The queue of the waiters that need the same set of several limiters, and the rule for admission between sets. Waiters that
 * need one limiter alone are in that limiter's own queue (`limiter.ts`), and nothing here concerns them.
 *
 * **The rule: room is kept only on the way.**
 *
 * 1. Each arrival brings a turn, whose number is its rank. Every comparison is by rank, whichever limiter a waiter comes from.
 * 2. Waiters of the same set exchange turns by lane and priority, so that the first of them has the earliest
 *    (`rankedQueue.ts`); without lanes and priorities each keeps its own. Only the first of a set is ever checked. It stands at
 *    one limiter of the set, one that is closed to it, among the waiters of that limiter by rank. On arrival it keeps nothing at
 *    the other limiters: later waiters may start there.
 * 3. When that limiter opens to it as the first in rank, all other limiters are asked. A limiter is closed to a waiter also
 *    if an earlier one stands there. If all are open, it takes from all of them in the same step and starts.
 * 4. Otherwise it moves to the first limiter that is closed. If it is first there, room is kept for it at the limiters that
 *    are open, for F / 2 and at least a millisecond. F is how long it has been first at limiters that were closed by their own
 *    limits. Pauses, and time behind room that is kept for others, do not count. If another waiter of the set becomes the first,
 *    it has F and the kept room with the turn.
 * 5. Kept room binds only waiters of a later rank. It is what a start of that waiter would take: its permits, a slot of the
 *    rate, its amounts of the windows. It ends with its time, and when the waiter starts, leaves, or moves again.
 * 6. Semaphores keep no room: their permits belong to the rest of the program as well.
 * 7. A limit that other processes share keeps what it has granted, and asks for it anew when it becomes too late to be used. It
 *    does so only for a waiter that stands at a later limit in the order of their names. If the limit where the waiter stands
 *    opens while what an earlier one keeps for it is being asked for anew, it moves to that one, and everything stays kept for the
 *    rest of the time.
 * 8. A limiter whose first waiter lacks permits although some are free keeps those for a time, too, and then lets smaller
 *    waiters start before it (`shortage.ts`). So that the first of a set stands for all of it, waiters that need another number of
 *    permits are a set of their own.
 *
 * **Invariants.** The first of a set stands at exactly one limiter, in `limiter.sets`. A limiter at which waiters stand is
 * closed to the first of them, or about to be checked. Every event that can open a limiter has its first waiter checked: an
 * end, a change of limits, a timer, the end of kept room. So a waiter whose limiters all have room starts, unless room is
 * kept for an earlier one. Nothing is taken before everything is taken.
 *
 * **One order.** Turns are numbers, given once and compared in the same way at every limiter. A turn changes its waiter, never
 * its number. So what follows holds for turns, and with it for the waiters that use them; which waiter of a set uses a turn, and
 * how often it can be overtaken, is bounded in `rankedQueue.ts`. Lanes and priorities have no effect between different sets.
 * Rejected: comparing priorities at each limiter. A set that moves between two limiters with floods of higher priority is
 * then first at neither, and starves.
 *
 * **No hang.** Kept room ends by time, and is kept anew only after the limiter where the waiter stands has opened. If a task
 * holds `older` and cannot end before `younger` admits it, `older` does not open, so nothing more is kept at `younger`.
 * Kept room binds later ranks only, so the earliest turn is never bound, and no circle can close.
 *
 * **No circle among processes.** Ranks are those of one process, so what a shared limit keeps binds the waiters of other processes,
 * whatever their turns are. But a waiter keeps such room only while it stands at a limit whose name comes later, or at one that
 * keeps room for it and is asked anew; and names are the same in all processes. So of the waiters that keep room from each other,
 * the one that stands at the last name finds no room kept that it needs. Rejected: keeping in any order until the time is up. With
 * four processes and two limits of one permit, 22 of 24 tasks of 20 ms had not started after a minute.
 *
 * **The bound.** Let H be the longest time that one of the n limiters of a set stays closed to a waiter that is first there.
 * Take the earliest turn. A round fails only if the limiter where it stands takes longer to open than room is kept, that
 * is longer than F / 2; so rounds fail only while F < 2 H. After that, each opening falls into the time for which the
 * rest is kept, and one round adds at least one limiter: n rounds of at most H. That is (2 + n) H, after the earlier waiters of
 * the first limiter have had their turn. By induction over ranks this holds for all. With limits that other processes share, H
 * includes the waiters of these, and there may be one more round, as nothing is kept at a limit of a later name. With two
 * semaphores in one set there is no bound, as neither is kept, but there is no hang either: both are asked whenever one gives a
 * permit.
 *
 * **Cost.** A waiter is added, removed and admitted in constant time, plus the logarithm of the number of *sets* whose
 * first stands at that limiter; moving is a matter of a set, not of each waiter in it, so a hundred thousand waiters for the
 * same two limiters move as one. An opening is offered to one set after the other until one takes it, so where each waiter
 * has a set of its own, an opening that none can use is offered to all of them.
 *
 * Rejected: keeping the first turn at every limiter that was open (a task that holds one limiter and calls for the other
 * hangs, and waiters for one limiter wait for another); letting later waiters always start (two floods starve a waiter that
 * needs both); keeping room until it is used (hangs), or after a number of overtakes (most of the room is lost).
 */
import type { Limiter } from "./limiter.ts"
import { setsAt } from "./limiterSets.ts"
import type { HeapEntry } from "../data/heap.ts"
import type { Host } from "../runtime/host.ts"
import type { Waiter } from "./types.ts"
import { WaiterQueue } from "./waiterQueue.ts"

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

export class SetQueue implements HeapEntry {
  readonly limiters: ReadonlyArray<Limiter>
  index = 0
  /** F of the rule, for the first waiter, in nanoseconds. */
  closedFor = 0
  private readonly key: string
  private readonly queue = new WaiterQueue()
  /** The limiter where the first stands. */
  private at: Limiter
  /** The limiters that keep room for the first. */
  private keepingRoom: ReadonlyArray<Limiter> = none

  constructor(limiters: ReadonlyArray<Limiter>, key: string) {
    this.limiters = limiters
    this.key = key
    this.at = limiters[0]!
  }

  /** There is one, except after the last has left. */
  get first(): Waiter {
    return this.queue.first!
  }

  get rank(): number {
    return this.first.rank
  }

  get mostPermits(): number {
    return this.queue.mostPermits
  }

  get members(): ReadonlyArray<Waiter> {
    return this.queue.members
  }

  get lanes(): Iterable<readonly [lane: unknown, waiting: number]> {
    return this.queue.lanes
  }

  /** Adds the last to arrive. `closed` is the first limiter that is closed to it. */
  add(waiter: Waiter, closed: Limiter): void {
    const { limiters } = this
    const isFirst = this.queue.add(waiter)
    for (let i = 0; i < limiters.length; i++) {
      limiters[i]!.waiting++
      limiters[i]!.followTimers(waiter.host)
    }
    if (!isFirst) return
    // With the turn of another one, which stands there already. A limiter may be open to this one.
    if (this.queue.size > 1) return this.recheck()
    for (let i = 0; i < limiters.length; i++) setsAt(limiters[i]!).needing.set(this.key, this)
    this.at = closed
    setsAt(closed).standing.add(this)
    this.recheck()
  }

  /** Removes a waiter that gives up, from anywhere. Returns whether `recheck` has to be called. */
  remove(waiter: Waiter): boolean {
    const wasFirst = this.queue.remove(waiter)
    this.removed(wasFirst)
    return wasFirst
  }

  private removed(wasFirst: boolean): void {
    const { limiters } = this
    for (let i = 0; i < limiters.length; i++) limiters[i]!.waiting--
    if (!wasFirst) return
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
  }

  /** Whether a waiter of this queue would have to wait if it needed that limiter alone. */
  isClosedAt(limiter: Limiter, waiter: Waiter): boolean {
    return this.at === limiter || setsAt(limiter).isClosedTo(waiter)
  }

  /** Sets the timer again that the first waiter depends on, if it is lost. */
  rearm(host: Host): void {
    this.at.rearm(host)
  }

  /** The waiters that stand at the limiters of the set have changed. */
  recheck(): void {
    const { limiters } = this
    for (let i = 0; i < limiters.length; i++) limiters[i]!.recheck()
  }

  /** The limiter where the first stands is open to it: the first starts or moves. */
  opened(): void {
    const { at: here, first: waiter, limiters } = this
    const keeping: Array<Limiter> = []
    let closed: Limiter | undefined
    for (let i = 0; i < limiters.length; i++) {
      const limiter = limiters[i]!
      const isOpen = limiter === here || setsAt(limiter).isOpenToSet(waiter, closed !== undefined)
      if (!isOpen) closed ??= limiter
      else if (limiter.canKeep && (closed === undefined || limiter.sharedName === "")) keeping.push(limiter)
    }
    if (closed !== undefined) {
      this.move(closed, keeping)
    } else {
      this.queue.removeAdmitted(waiter)
      this.removed(true)
      waiter.admit()
    }
    this.recheck()
  }

  private move(to: Limiter, keeping: ReadonlyArray<Limiter>): void {
    const { at: from } = this
    const left = to.sharedName === "" ? 0 : setsAt(to).keepsRoomFor(this)
    if (left === 0) this.releaseRoom()
    setsAt(from).timeFirst(undefined)
    setsAt(from).standing.remove(this)
    this.at = to
    from.onLeft()
    const sets = setsAt(to)
    sets.standing.add(this)
    if (left > 0)
      this.keepRoom(
        [from, ...keeping].filter((limiter) => limiter.canKeep),
        left
      )
    else if (sets.first === this) this.keepRoom(keeping, Math.ceil(this.closedFor / 2))
  }

  private keepRoom(limiters: ReadonlyArray<Limiter>, nanos: number): void {
    const more = limiters.filter((limiter) => !this.keepingRoom.includes(limiter))
    for (const limiter of more) setsAt(limiter).keepRoom(this, Math.max(limiter.leastKept, nanos))
    this.keepingRoom = [...this.keepingRoom, ...more]
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
export const setQueueOf = (limiters: ReadonlyArray<Limiter>, permits: number): SetQueue => {
  let key = limiters.map(({ serial }) => serial).join()
  if (permits > 1) key += `*${permits}`
  return limiters[0]!.sets?.needing.get(key) ?? new SetQueue(limiters, key)
}
