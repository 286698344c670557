/**
 * The queue of waiters that need the same limiters: first come, first served, in constant time. From the first waiter on that
 * has a lane, a priority or several permits, and until there is no waiter left, it is a `RankedQueue`.
 */
import { WaitList } from "../data/waitList.ts"
import { RankedQueue } from "./rankedQueue.ts"
import type { Waiter } from "./types.ts"

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

const isPlain = ({ lane, permits, priority }: Waiter): boolean => priority === 0 && permits === 1 && lane === undefined

export class WaiterQueue {
  private readonly plain = new WaitList<Waiter>()
  private ranked: RankedQueue | undefined

  get size(): number {
    return this.ranked === undefined ? this.plain.size : this.ranked.size
  }

  /** Whether the order may be another one than that of arrival. */
  get isRanked(): boolean {
    return this.ranked !== undefined
  }

  get first(): Waiter | undefined {
    return this.ranked === undefined ? this.plain.first : this.ranked.first
  }

  /** All waiters, in the order of their arrival. */
  get members(): ReadonlyArray<Waiter> {
    return this.ranked === undefined ? this.plain.members : this.ranked.members
  }

  /** How many wait in each lane, without those that have none. */
  get lanes(): Iterable<readonly [lane: unknown, waiting: number]> {
    return this.ranked === undefined ? none : this.ranked.sizes
  }

  /** The most permits that one of the waiters needs, if there is one. */
  get mostPermits(): number {
    return this.ranked === undefined ? 1 : this.ranked.mostPermits
  }

  /** Adds the last to arrive. Returns whether it is first now. */
  add(waiter: Waiter): boolean {
    if (this.ranked === undefined) {
      if (isPlain(waiter)) {
        this.plain.add(waiter)
        return this.plain.size === 1
      }
      this.ranked = new RankedQueue()
      for (const each of this.plain.members) {
        this.plain.remove(each)
        this.ranked.add(each)
      }
    }
    return this.ranked.add(waiter)
  }

  /** Removes a waiter that gives up, from anywhere. Returns whether it was the first. */
  remove(waiter: Waiter): boolean {
    if (this.ranked === undefined) return this.plain.remove(waiter)
    const wasFirst = this.ranked.remove(waiter)
    if (this.ranked.size === 0) this.ranked = undefined
    return wasFirst
  }

  /** Removes a waiter that is going to start. */
  removeAdmitted(waiter: Waiter): void {
    this.ranked?.charge(waiter)
    this.remove(waiter)
  }

  /** The earliest waiter that needs no more than so many permits. */
  earliestWithin(permits: number): Waiter | undefined {
    return this.ranked === undefined ? this.plain.first : this.ranked.earliestWithin(permits)
  }
}
