/**
 * What a limiter knows of the waiters that need other limiters as well: the queue of each set of limiters, the room that is
 * kept for its first waiter, and how long the limiter has been closed to that. `setQueue.ts` has the rule.
 *
 * Created for the first waiter that needs several limiters.
 */
import { Heap } from "../data/heap.ts"
import type { Host } from "../runtime/host.ts"
import type { Limiter } from "./limiter.ts"
import type { SetQueue } from "./setQueue.ts"
import type { Waiter } from "./types.ts"

/** Room that is kept for the first waiter of a set. */
interface KeptRoom {
  readonly set: SetQueue
  /** On the limiter's time line. */
  until: number
}

export class LimiterSets {
  /** The sets whose first waiter stands here. */
  readonly standing = new Heap<SetQueue>((a, b) => a.rank < b.rank)
  /** All sets with waiters that have this limiter among theirs. */
  readonly needing = new Map<string, SetQueue>()
  private readonly limiter: Limiter
  private kept: Array<KeptRoom> = []
  /** The waiters for which room was kept from the waiter that was checked last. It has no rank any more when it takes. */
  keptBefore: ReadonlyArray<Waiter> = []
  /** The set whose first waiter is first here while the limiter is closed by its own limits, and since when. */
  private closedTo: SetQueue | undefined
  private closedSince = 0

  constructor(limiter: Limiter) {
    this.limiter = limiter
  }

  /** Whether no such waiter stands here. */
  get isEmpty(): boolean {
    return this.standing.size === 0
  }

  /** Whether there is such a waiter, wherever it stands. */
  get isNeeded(): boolean {
    return this.needing.size > 0
  }

  /** The most permits that one of the waiters of these sets needs. */
  get mostPermits(): number {
    return Math.max(...Array.from(this.needing.values(), ({ mostPermits }) => mostPermits))
  }

  /** All such waiters. */
  get members(): ReadonlyArray<Waiter> {
    return Array.from(this.needing.values(), ({ members }) => members).flat()
  }

  /** How many of them wait in each lane, set by set. */
  get lanes(): ReadonlyArray<readonly [lane: unknown, waiting: number]> {
    return Array.from(this.needing.values(), ({ lanes }) => Array.from(lanes)).flat()
  }

  /** The set whose first waiter is first here, if it is one of a set. */
  get first(): SetQueue | undefined {
    const set = this.standing.first
    if (set === undefined) return undefined
    const alone = this.limiter.queue.first
    return alone === undefined || set.rank < alone.rank ? set : undefined
  }

  private get firstRank(): number {
    return Math.min(this.limiter.queue.first?.rank ?? Infinity, this.standing.first?.rank ?? Infinity)
  }

  /**
   * Whether the limiter is open to the first waiter of a set, which stands elsewhere. `isDecided`: another limiter is
   * closed, so a limit that has to hold something in order to be open is not asked.
   */
  isOpenToSet(waiter: Waiter, isDecided: boolean): boolean {
    const { limiter } = this
    if (isDecided && limiter.isAskedLast) return false
    return !this.isBehind(waiter) && limiter.isOpen(waiter)
  }

  /** Whether an earlier waiter stands here that this one may not pass. */
  private isBehind(waiter: Waiter): boolean {
    const { firstRank } = this
    return firstRank < waiter.rank && this.limiter.shortage?.isPassable(waiter, firstRank) !== true
  }

  /** Whether the limiter is closed to a waiter that needs it and may stand elsewhere. */
  isClosedTo(waiter: Waiter): boolean {
    return this.isBehind(waiter) || !this.limiter.isOpen(waiter)
  }

  get keepsRoom(): boolean {
    return this.kept.length > 0
  }

  /** For how much longer room is kept for the first waiter of the set, in nanoseconds; 0 if none is. */
  keepsRoomFor(set: SetQueue): number {
    const until = this.kept.find((each) => each.set === set)?.until ?? -Infinity
    return Math.max(0, until - this.limiter.time.now)
  }

  /** As `opensAt`, where room is kept: the earliest instant at which the room that is still kept then leaves enough. */
  opensBesidesKept(waiter: Waiter): number {
    const { limiter } = this
    const { time } = limiter
    const binding = this.kept
      .filter(({ set, until }) => until > time.now && (waiter.rank === 0 || set.rank < waiter.rank))
      .sort((a, b) => a.until - b.until)
    const kept = binding.map(({ set }) => set.first)
    this.keptBefore = kept
    let opensAt = Infinity
    let byItself = Infinity
    for (let ended = 0; ended <= kept.length; ended++) {
      const since = ended === 0 ? -Infinity : binding[ended - 1]!.until
      // The last of these is without any kept room, so what the limit records of the waiter is right.
      byItself = limiter.opensAt(waiter, kept.slice(ended))
      opensAt = Math.min(opensAt, Math.max(since, byItself))
    }
    if (byItself <= time.now && opensAt > time.now) {
      limiter.isHeldBack = true
      limiter.onBlocked()
    }
    return opensAt
  }

  /** Keeps room for the first waiter of the set, for so many nanoseconds. */
  keepRoom(set: SetQueue, nanos: number): void {
    const { limiter } = this
    limiter.updateTime(set.first.host)
    this.kept.push({ set, until: limiter.time.now + nanos })
  }

  /**
   * Room that is kept at several limiters ends at all of them at once. They are checked in the order of the set. If it ended
   * earlier, there is nothing to check: where it bound a first waiter, that limiter has a timer of its own. To check them
   * nevertheless would give what has just been released to a limiter of this set before the first in rank is asked.
   */
  endExpiredRoom(): void {
    const { time } = this.limiter
    time.update()
    const ended = this.kept.filter(({ until }) => until <= time.now)
    for (const { set } of ended) set.releaseRoom()
    for (const { set, until } of ended) if (until === time.now) set.recheck()
  }

  releaseRoom(set: SetQueue): void {
    this.kept = this.kept.filter((each) => each.set !== set)
  }

  /** Until some event, the limiter is closed to its first waiter, which is the first of that set if it is one of a set. */
  waitForEvent(set: SetQueue | undefined, { host }: Waiter): void {
    const { limiter } = this
    const isPaused = set !== undefined && limiter.isPaused(host)
    this.timeFirst(isPaused ? undefined : set)
    // From then on it is closed by its own limits.
    if (isPaused) limiter.arm(limiter.pausedUntil, host)
  }

  /** Adds up how long the first waiter of a set is first here while the limiter is closed by its own limits. */
  timeFirst(set: SetQueue | undefined): void {
    if (this.closedTo === set) return
    const { limiter } = this
    const { time } = limiter
    if (set === undefined) time.update()
    else limiter.updateTime(set.first.host)
    if (this.closedTo !== undefined) this.closedTo.closedFor += time.now - this.closedSince
    this.closedTo = set
    this.closedSince = time.now
  }

  /** The first waiter of the set has left: for how long it was first does not count any more. */
  forgetFirst(set: SetQueue): void {
    if (this.closedTo === set) this.closedTo = undefined
  }

  shiftTime(delta: number): void {
    this.closedSince += delta
    for (const each of this.kept) each.until += delta
  }

  /** Sets the timers again that the first waiters depend on, if they are lost. */
  rearm(host: Host): void {
    for (const set of this.needing.values()) set.rearm(host)
  }
}

/** What a limiter knows of sets. */
export const setsAt = (limiter: Limiter): LimiterSets => (limiter.sets ??= new LimiterSets(limiter))
