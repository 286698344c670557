/**
 * What a limiter knows of the waiters that need other limiters as well: the queue of each set of limiters, the room that is
 * kept for its first waiter, and how long the limiter has been closed to that. `setQueue.ts` has the rule.
 *
 * Apart from `limiter.ts`, because neither a limiter that one call has for itself nor a program without meters needs it.
 */
import { Heap } from "../data/heap.ts"
import type { Host } from "../runtime/host.ts"
import type { Limiter, Waiter } from "./limiter.ts"
import type { SetQueue } from "./setQueue.ts"

/** Room of a limiter that is kept for the first waiter of a set. */
interface KeptRoom {
  readonly set: SetQueue
  /** On the limiter's time line. */
  until: number
}

export class LimiterSets {
  /** The sets whose first waiter stands here. */
  readonly standing = new Heap<SetQueue>()
  /** All sets with waiters that have this limiter among theirs. */
  readonly needing = new Map<string, SetQueue>()
  private readonly limiter: Limiter
  private kept: Array<KeptRoom> = []
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

  /** All such waiters. */
  get members(): ReadonlyArray<Waiter> {
    return Array.from(this.needing.values(), ({ members }) => members).flat()
  }

  /** The set whose first waiter is first here, if it is one of a set. */
  get first(): SetQueue | undefined {
    const set = this.standing.first
    if (set === undefined) return undefined
    const alone = this.limiter.firstAlone
    return alone === undefined || set.rank < alone.rank ? set : undefined
  }

  private get firstRank(): number {
    return Math.min(this.limiter.firstAlone?.rank ?? Infinity, this.standing.first?.rank ?? Infinity)
  }

  /** Whether the limiter is open to the first of a set, which stands elsewhere. Nothing is asked for if that has no use. */
  isOpenToSet(waiter: Waiter, isInVain: boolean): boolean {
    const { limiter } = this
    return (limiter.canKeep || !isInVain) && this.firstRank > waiter.rank && limiter.isOpen(waiter)
  }

  /** Whether the limiter is closed to a waiter that needs it and may stand elsewhere. */
  isClosedTo(waiter: Waiter): boolean {
    return this.firstRank < waiter.rank || !this.limiter.isOpen(waiter)
  }

  get keepsRoom(): boolean {
    return this.kept.length > 0
  }

  /** As `opensAt`, where room is kept: the earliest time at which what is left of that allows for it. */
  opensBesidesKept(waiter: Waiter): number {
    const { limiter } = this
    const { time } = limiter
    const binding = this.kept
      .filter(({ set, until }) => until > time.now && (waiter.rank === 0 || set.rank < waiter.rank))
      .sort((a, b) => a.until - b.until)
    const kept = binding.map(({ set }) => set.first)
    let opensAt = Infinity
    let byItself = Infinity
    for (let ended = 0; ended <= kept.length; ended++) {
      const since = ended === 0 ? -Infinity : binding[ended - 1]!.until
      // The last of these is without any kept room, so what it notes about the waiter is true of the limiter itself.
      byItself = limiter.opensAt(waiter, kept.slice(ended))
      opensAt = Math.min(opensAt, Math.max(since, byItself))
    }
    if (byItself <= time.now && opensAt > time.now) {
      limiter.isHeldBack = true
      limiter.onBlocked()
    }
    return opensAt
  }

  /** Keeps room for the first of the set, for so many nanoseconds from now. */
  keepRoom(set: SetQueue, nanos: number): void {
    const { limiter } = this
    limiter.updateTime(set.first.host)
    this.kept.push({ set, until: limiter.time.now + nanos })
  }

  /** Room that is kept at several limiters ends at all of them at once: they are looked at in the order of the set. */
  endExpiredRoom(): void {
    const { time } = this.limiter
    time.update()
    const ended = this.kept.filter(({ until }) => until <= time.now)
    for (const { set } of ended) set.releaseRoom()
    for (const { set } of ended) set.recheck()
  }

  releaseRoom(set: SetQueue): void {
    this.kept = this.kept.filter((each) => each.set !== set)
  }

  /** Until some event, the limiter is closed to its first waiter, which is the first of that set if it is one of a set. */
  waitForEvent(set: SetQueue | undefined, { host }: Waiter): void {
    const { limiter } = this
    const isPaused = set !== undefined && this.isPaused(host)
    this.timeFirst(isPaused ? undefined : set)
    // From then on it is closed by its own limits.
    if (isPaused) limiter.arm(limiter.pausedUntil, host)
  }

  private isPaused(host: Host): boolean {
    const { limiter } = this
    if (limiter.pausedUntil === -Infinity) return false
    limiter.updateTime(host)
    return limiter.pausedUntil > limiter.time.now
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

  /** The first of the set has left its queue: how long it had to wait is of no interest any more. */
  forgetFirst(set: SetQueue): void {
    if (this.closedTo === set) this.closedTo = undefined
  }

  /** Noted times have moved by so much. */
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
