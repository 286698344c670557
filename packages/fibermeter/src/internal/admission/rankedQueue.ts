/**
 * The queue of waiters that need the same limiters, where some of them have lanes, priorities or several permits.
 *
 * **Order.** Lanes take turns, by start-time fair queueing (Goyal, Vin, Cheng 1996): each lane has a tag, the permits that it
 * has been given since the queue began; the lane with the least tag is next, and of equal ones the one that was served
 * longest ago. So lanes get the same number of permits while they have waiters, whatever each task needs. A lane that
 * gets its first waiter starts at the tag that is served now: it is neither paid for the time in which it was empty, nor
 * punished for it. Within a lane the higher priority is first, and of equal ones the earlier arrival. Waiters without a lane
 * share one.
 *
 * **Aging.** When `maxOvertaken` later arrivals of higher priority have started before the earliest waiter of a lane, that
 * waiter is the next of its lane. So of any `maxOvertaken + 1` starts of a lane, at least one is the earliest arrival, and a
 * waiter with k earlier ones in its lane starts within (k + 1) · (`maxOvertaken` + 1) starts of it. Rejected: to count for each
 * waiter by itself. A backlog of a thousand waiters, all overtaken by the same 32, would all be due at once, and priorities
 * would have no effect until it is gone.
 *
 * **Turns.** To other queues this one looks as if it were served first come, first served: each arrival brings a turn, and
 * whichever waiter is first uses the earliest turn. Waiters exchange their turns for that, so the `rank` of the first is
 * always the least. Hence lanes and priorities count among waiters that need the same limiters, and do not delay others.
 *
 * **Permits.** If the first waiter lacks permits, smaller ones may start before it after a time (`shortage.ts`);
 * `earliestWithin` finds them.
 *
 * **Cost.** Time is logarithmic in the number of lanes and of the waiters of a lane. Finding a smaller waiter takes time in proportion to how many different
 * numbers of permits there are. A lane is forgotten when it is empty and its turn has come.
 */
import { Heap } from "../data/heap.ts"
import type { HeapEntry } from "../data/heap.ts"
import { WaitList } from "../data/waitList.ts"
import type { WaitListEntry } from "../data/waitList.ts"
import type { Waiter } from "./types.ts"

/** How many later arrivals of higher priority start before the earliest waiter of a lane, at most. */
export const maxOvertaken = 32

/** The right to be served at that rank. */
class Turn implements WaitListEntry {
  position = 0
  readonly rank: number
  holder: Entry

  constructor(holder: Entry) {
    this.rank = holder.waiter.rank
    this.holder = holder
  }
}

/** A waiter in its lane. */
class Entry implements HeapEntry, WaitListEntry {
  index = 0
  position = 0
  readonly waiter: Waiter
  readonly lane: Lane
  readonly arrival: number
  turn: Turn
  /** In the list of waiters that need as many permits. */
  readonly sized: { position: number; readonly entry: Entry }

  constructor(waiter: Waiter, lane: Lane) {
    this.waiter = waiter
    this.lane = lane
    this.arrival = waiter.rank
    this.turn = new Turn(this)
    this.sized = { position: 0, entry: this }
  }
}

const isHigher = (a: Entry, b: Entry): boolean => {
  const [p, q] = [a.waiter.priority, b.waiter.priority]
  return p === q ? a.arrival < b.arrival : p > q
}

class Lane implements HeapEntry {
  index = 0
  readonly key: unknown
  tag: number
  /** When it was served last, or got its first waiter, in the order of all lanes. */
  served: number
  /** How many later arrivals have been served before the earliest waiter. */
  overtaken = 0
  private readonly byPriority = new Heap<Entry>(isHigher)
  private readonly byArrival = new WaitList<Entry>()

  constructor(key: unknown, tag: number, served: number) {
    this.key = key
    this.tag = tag
    this.served = served
  }

  get size(): number {
    return this.byPriority.size
  }

  get first(): Entry | undefined {
    return this.overtaken < maxOvertaken ? this.byPriority.first : this.byArrival.first
  }

  add(entry: Entry): void {
    this.byPriority.add(entry)
    this.byArrival.add(entry)
  }

  remove(entry: Entry): void {
    this.byPriority.remove(entry)
    // The next one has not been overtaken while it was the earliest.
    if (this.byArrival.remove(entry)) this.overtaken = 0
  }

  /** An entry is going to start. */
  charge(entry: Entry): void {
    this.tag += entry.waiter.permits
    if (entry.waiter.priority > this.byArrival.first!.waiter.priority) this.overtaken++
  }
}

const isSooner = (a: Lane, b: Lane): boolean => (a.tag === b.tag ? a.served < b.served : a.tag < b.tag)

export class RankedQueue {
  private readonly entries = new Map<Waiter, Entry>()
  private readonly turns = new WaitList<Turn>()
  private readonly lanes = new Map<unknown, Lane>()
  private readonly order = new Heap<Lane>(isSooner)
  private readonly bySize = new Map<number, WaitList<Entry["sized"]>>()
  /** The tag of the lane that was served last. */
  private clock = 0
  private services = 0
  private head: Entry | undefined

  get size(): number {
    return this.entries.size
  }

  get first(): Waiter | undefined {
    return this.head?.waiter
  }

  get members(): ReadonlyArray<Waiter> {
    return Array.from(this.entries.keys())
  }

  /** How many wait in each lane, without those that have none. */
  get sizes(): ReadonlyArray<readonly [lane: unknown, waiting: number]> {
    const lanes = Array.from(this.lanes.values()).filter(({ key, size }) => key !== undefined && size > 0)
    return lanes.map(({ key, size }) => [key, size])
  }

  get mostPermits(): number {
    return Math.max(...this.bySize.keys())
  }

  add(waiter: Waiter): boolean {
    const entry = new Entry(waiter, this.laneOf(waiter.lane))
    this.entries.set(waiter, entry)
    this.turns.add(entry.turn)
    entry.lane.add(entry)
    let sized = this.bySize.get(waiter.permits)
    if (sized === undefined) this.bySize.set(waiter.permits, (sized = new WaitList()))
    sized.add(entry.sized)
    this.update()
    return this.head === entry
  }

  remove(waiter: Waiter): boolean {
    const entry = this.entries.get(waiter)
    if (entry === undefined) return false
    this.entries.delete(waiter)
    this.turns.remove(entry.turn)
    entry.lane.remove(entry)
    const sized = this.bySize.get(waiter.permits)!
    sized.remove(entry.sized)
    if (sized.size === 0) this.bySize.delete(waiter.permits)
    const wasFirst = this.head === entry
    this.update()
    return wasFirst
  }

  charge(waiter: Waiter): void {
    const entry = this.entries.get(waiter)!
    const { lane } = entry
    if (entry === this.head) this.clock = lane.tag
    lane.charge(entry)
    lane.served = ++this.services
    this.order.sink(lane)
  }

  earliestWithin(permits: number): Waiter | undefined {
    let earliest: Entry | undefined
    for (const [size, sized] of this.bySize) {
      const { entry } = sized.first!
      if (size <= permits && (earliest === undefined || entry.arrival < earliest.arrival)) earliest = entry
    }
    return earliest?.waiter
  }

  private laneOf(key: unknown): Lane {
    let lane = this.lanes.get(key)
    if (lane === undefined) {
      lane = new Lane(key, this.clock, ++this.services)
      this.lanes.set(key, lane)
      this.order.add(lane)
    }
    return lane
  }

  /** Finds the first waiter, and gives it the earliest turn. */
  private update(): void {
    while (this.order.first?.size === 0) this.forget(this.order.first)
    const next = this.order.first?.first
    this.head = next
    if (next === undefined) return
    const turn = this.turns.first!
    const { holder } = turn
    this.give(next.turn, holder)
    this.give(turn, next)
  }

  private give(turn: Turn, entry: Entry): void {
    turn.holder = entry
    entry.turn = turn
    entry.waiter.rank = turn.rank
  }

  private forget(lane: Lane): void {
    this.order.remove(lane)
    this.lanes.delete(lane.key)
  }
}
