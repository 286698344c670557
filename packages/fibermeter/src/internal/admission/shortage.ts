/**
 * What a limiter knows of a first waiter that lacks permits, although some are free.
 *
 * Those are kept for it, first for `minKeptTime`, and after each end of a task for half as long as it has been first so far.
 * After that, waiters that need no more than the free permits start before it, the earliest first.
 *
 * - *Small requests do not starve a large one.* When it has been first for twice as long as the longest time between two ends,
 *   all permits that become free are kept until it has enough. With the longest such time H and n permits that is (2 + n) H.
 * - *No nested call hangs.* A task that holds three of five permits and waits for one more gets it, although a waiter for three
 *   is first.
 *
 * Rejected: to keep them until they are used, which hangs such nested calls; and not to keep them, which starves large requests.
 */
import type { SetQueue } from "./setQueue.ts"
import type { Limiter } from "./limiter.ts"
import type { Waiter } from "./types.ts"

/** The least time for which room is kept, in nanoseconds. */
export const minKeptTime = 1_000_000

export class Shortage {
  private readonly limiter: Limiter
  private first: Waiter | undefined
  /** Since when it has been first, and until when the free permits are kept for it, on the limiter's time line. */
  private since = 0
  private until = 0
  /** How many tasks had ended when they were last kept. */
  private ended = 0

  constructor(limiter: Limiter) {
    this.limiter = limiter
  }

  shiftTime(delta: number): void {
    this.since += delta
    this.until += delta
  }

  /** Whether a waiter of a later rank may start before the one that is first at that rank. */
  isPassable({ permits }: Waiter, firstRank: number): boolean {
    const { limiter } = this
    // There is one since this was created.
    if (this.first!.rank !== firstRank) return false
    limiter.time.update()
    return this.until <= limiter.time.now && permits <= limiter.freePermits
  }

  /**
   * The first waiter lacks permits: if the free ones are not kept for it any more, admits the earliest waiter that needs
   * no more than these. Returns whether there was one, so that there may be another.
   */
  admitSmaller(first: Waiter): boolean {
    const { limiter } = this
    limiter.updateTime(first.host)
    this.keep(first)
    if (this.until > limiter.time.now) {
      limiter.arm(this.until, first.host)
      return false
    }
    const [waiter, set] = this.earliest()
    if (waiter === undefined || waiter.host.requests?.isHere(waiter) === false) return false
    const objection = waiter.objection()
    if (objection !== undefined) {
      waiter.refuse(objection)
      return true
    }
    const opensAt = limiter.opensForWaiter(waiter)
    if (opensAt > limiter.time.now) {
      limiter.arm(opensAt, waiter.host)
      return false
    }
    if (limiter.mustYield(waiter)) return false
    limiter.admit(waiter, set)
    return true
  }

  private keep(first: Waiter): void {
    const { running, started, time } = this.limiter
    const ended = started - running
    if (this.first !== first) {
      this.first = first
      this.since = time.now
      this.until = time.now + minKeptTime
    } else if (this.ended !== ended) {
      this.until = time.now + Math.max(minKeptTime, Math.ceil((time.now - this.since) / 2))
    }
    this.ended = ended
  }

  /** The earliest waiter that stands here and needs no more than the free permits, and its set if it is one of a set. */
  private earliest(): readonly [Waiter | undefined, SetQueue | undefined] {
    const { freePermits, queue, sets } = this.limiter
    let waiter = queue.earliestWithin(freePermits)
    let set: SetQueue | undefined
    for (const each of sets?.standing.all ?? []) {
      if (each.first.permits > freePermits || (waiter !== undefined && waiter.rank < each.rank)) continue
      set = each
      waiter = each.first
    }
    return [waiter, set]
  }
}
