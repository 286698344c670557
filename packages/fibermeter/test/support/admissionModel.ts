/**
 * The rule by which waiters are admitted to several meters, as `setQueue.ts` states it, on plain lists: slow, and short
 * enough to be compared with the statement line by line. Meters limit how many permits are in use, and can be paused and
 * resized; they can limit how many tasks wait and for how long (`overload.ts`), and be drained. `queueModel.ts` has the order of
 * waiters for the same meters. All times are nanoseconds.
 */
import { QueueModel } from "./queueModel.ts"

export interface ModelTask {
  readonly at: number
  /** Meters by their numbers, in the order in which a set lists them. */
  readonly meters: ReadonlyArray<number>
  readonly lasts: number
  /** What the task waits for inside of itself, after so long; it ends when that has ended. */
  readonly inside?: Omit<ModelTask, "at"> & { readonly after: number }
  /** When it is interrupted, if it waits then. */
  readonly leavesAt?: number
  readonly permits?: number
  readonly priority?: number
  readonly lane?: string | undefined
  readonly waitTimeout?: number | undefined
}

export interface ModelChange {
  readonly at: number
  readonly meter: number
  /** The new limit, or a pause of that length, or the beginning of a drain. */
  readonly maxAtOnce?: number
  readonly pauses?: number
  readonly drains?: true
}

/** The limits on waiting of a meter. */
export interface ModelWaitLimits {
  readonly maxWaiting?: number
  readonly waitTimeout?: number
  readonly overflow?: "refuse" | "dropOldest"
}

interface Waiter {
  readonly name: string
  readonly meters: ReadonlyArray<number>
  readonly permits: number
  readonly priority: number
  readonly lane: unknown
  readonly started: () => void
  readonly queue: Queue
  readonly arrival: number
  rank: number
}

type Refusal = "queue-full" | "wait-timeout" | "closed"

/** The waiters for the same meters; of several meters, those that need as many permits. */
class Queue extends QueueModel<Waiter> {
  readonly meters: ReadonlyArray<number>
  /** Where its first waiter stands. */
  standsAt = NaN
  /** How long that has been first at meters that were closed by their own limits. */
  closedFor = 0

  constructor(meters: ReadonlyArray<number>) {
    super()
    this.meters = meters
  }
}

interface Meter {
  readonly waits: ModelWaitLimits
  isDraining: boolean
  maxAtOnce: number
  inUse: number
  ended: number
  pausedUntil: number
  kept: Array<{ readonly queue: Queue; readonly until: number }>
  /** The first waiter that lacks permits although some are free, and until when those are kept for it. */
  short: { readonly waiter: Waiter; readonly since: number; until: number; ended: number } | undefined
  isBeingLookedAt: boolean
}

interface Event {
  readonly at: number
  readonly happens: () => unknown
}

/** What the rule may be broken by, to see that the tests notice. */
export interface Breach {
  /** Kept room never ends, or there is none. */
  readonly keeps?: "for ever" | "never"
}

export class AdmissionModel {
  /** When each task started, by its number; what is inside of task 3 is "3.", and inside of that "3..". */
  readonly starts = new Map<string, number>()
  /** Why and when each task was refused that did not start. */
  readonly refusals = new Map<string, string>()
  /** How long each task waited. */
  readonly waits = new Map<string, number>()
  /** The longest time for which each meter stayed closed to a waiter that was first there. */
  readonly longestClosed: Array<number>
  now = 0
  /** Called when a task has started, with its name. */
  onStart: (name: string) => void = () => {}
  /** Meters at which no room is kept. */
  readonly neverKeep = new Set<number>()
  /**
   * Room kept for two waiters, or permits kept at two meters, ended in the same instant. The rule does not specify which of
   * them is checked first.
   */
  hasTie = false
  private readonly meters: ReadonlyArray<Meter>
  private readonly breach: Breach
  private readonly queues = new Map<string, Queue>()
  private arrivals = 0
  private events: Array<Event> = []
  private readonly closedSince = new Map<Meter, { readonly waiter: Waiter; readonly at: number }>()

  constructor(limits: ReadonlyArray<number>, breach: Breach = {}, waits: ReadonlyArray<ModelWaitLimits> = []) {
    this.breach = breach
    this.longestClosed = limits.map(() => 0)
    this.meters = limits.map((maxAtOnce, index) => ({
      waits: waits[index] ?? {},
      isDraining: false,
      maxAtOnce,
      inUse: 0,
      ended: 0,
      pausedUntil: 0,
      kept: [],
      short: undefined,
      isBeingLookedAt: false
    }))
  }

  get waiting(): number {
    return [...this.queues.values()].reduce((sum, { members }) => sum + members.length, 0)
  }

  add(name: string, task: ModelTask): void {
    this.at(task.at, () => this.arrive(name, task))
  }

  change({ at, drains, maxAtOnce, meter: index, pauses }: ModelChange): void {
    const meter = this.meters[index]!
    this.at(at, () => {
      if (drains === true) meter.isDraining = true
      if (maxAtOnce !== undefined) meter.maxAtOnce = maxAtOnce
      if (pauses !== undefined) {
        meter.pausedUntil = Math.max(meter.pausedUntil, at + pauses)
        this.at(meter.pausedUntil, () => this.look(index))
      }
      this.look(index)
    })
  }

  /** Lets everything happen until so late, or to the end. */
  run(until = Infinity): this {
    for (;;) {
      let next: Event | undefined
      for (const event of this.events) if (next === undefined || event.at < next.at) next = event
      if (next === undefined || next.at > until) return this
      this.events = this.events.filter((event) => event !== next)
      this.goOnTo(next.at)
      next.happens()
      this.noteClosed()
    }
  }

  at(at: number, happens: () => unknown): void {
    this.events.push({ at, happens })
  }

  private goOnTo(at: number): void {
    for (const index of this.meters.keys()) {
      const waiter = this.firstAt(index)
      if (waiter !== undefined && this.isClosedByItself(index, waiter)) waiter.queue.closedFor += at - this.now
    }
    this.now = at
  }

  private noteClosed(): void {
    for (const [index, meter] of this.meters.entries()) {
      const waiter = this.firstAt(index)
      const since = this.closedSince.get(meter)
      const isClosed = waiter !== undefined && this.isClosedByItself(index, waiter)
      if (isClosed && since?.waiter === waiter) continue
      if (since !== undefined) {
        this.longestClosed[index] = Math.max(this.longestClosed[index]!, this.now - since.at)
        this.closedSince.delete(meter)
      }
      if (isClosed) this.closedSince.set(meter, { waiter, at: this.now })
    }
  }

  private isClosedByItself(index: number, { permits }: Waiter): boolean {
    const { inUse, maxAtOnce, pausedUntil } = this.meters[index]!
    return inUse + permits > maxAtOnce && pausedUntil <= this.now
  }

  private queueOf(meters: ReadonlyArray<number>, permits: number): Queue {
    const key = meters.length === 1 ? String(meters[0]) : `${meters.join()} ${permits}`
    let queue = this.queues.get(key)
    if (queue === undefined) this.queues.set(key, (queue = new Queue(meters)))
    return queue
  }

  /** The task asks for its start now. */
  arrive(name: string, task: ModelTask, ended = (): void => {}): void {
    const { inside, lane, lasts, leavesAt, meters, permits = 1, priority = 0, waitTimeout = Infinity } = task
    const arrived = this.now
    const started = (): void => {
      this.starts.set(name, this.now)
      this.waits.set(name, this.now - arrived)
      const end = (): void => {
        for (const index of meters) {
          this.meters[index]!.inUse -= permits
          this.meters[index]!.ended++
        }
        for (const index of meters) this.look(index)
        ended()
      }
      this.at(this.now + (inside?.after ?? lasts), () => {
        if (inside === undefined) end()
        else this.arrive(`${name}.`, { at: this.now, ...inside }, end)
      })
      this.onStart(name)
    }
    const queue = this.queueOf(meters, permits)
    const arrival = ++this.arrivals
    const waiter: Waiter = { name, meters, permits, priority, lane, started, queue, arrival, rank: arrival }
    const timeouts = meters.map((index) => this.meters[index]!.waits.waitTimeout ?? Infinity)
    this.ask(waiter, leavesAt, this.now + Math.min(waitTimeout, ...timeouts))
  }

  /** It starts, waits, or is refused. */
  private ask(waiter: Waiter, leavesAt: number | undefined, refusedAt: number): void {
    const { meters, permits, queue, started } = waiter
    if (meters.some((index) => this.meters[index]!.isDraining)) return this.refuse(waiter, "closed")
    const closed = meters.find((index) => this.firstAt(index) !== undefined || !this.isOpen(index, waiter))
    if (closed === undefined) {
      for (const index of meters) this.meters[index]!.inUse += permits
      return started()
    }
    if (refusedAt <= this.now) return this.refuse(waiter, "wait-timeout")
    const full = meters.filter((index) => this.isFull(index))
    if (full.some((index) => this.victim(index, waiter) === undefined)) return this.refuse(waiter, "queue-full")
    if (full.length > 0) {
      // It may be the same at several meters.
      for (const index of full) if (this.isFull(index)) this.refuse(this.victim(index, waiter)!, "queue-full")
      return this.ask(waiter, leavesAt, refusedAt)
    }
    const isAlone = queue.members.length === 0
    queue.add(waiter)
    queue.exchangeTurns()
    if (isAlone) queue.standsAt = closed
    const isPassing = meters.length === 1 && this.meters[closed]!.short !== undefined
    if (queue.first === waiter || isPassing) for (const index of meters) this.look(index)
    if (leavesAt !== undefined) this.at(Math.max(leavesAt, this.now), () => this.leave(waiter))
    if (refusedAt < Infinity) this.at(refusedAt, () => this.isWaiting(waiter) && this.refuse(waiter, "wait-timeout"))
  }

  private isWaiting(waiter: Waiter): boolean {
    return waiter.queue.members.includes(waiter)
  }

  /** All that wait and need that meter, in the order of their arrival. */
  private waitersOf(index: number): ReadonlyArray<Waiter> {
    const all = [...this.queues.values()].flatMap(({ members, meters }) => (meters.includes(index) ? members : []))
    return all.toSorted((a, b) => a.arrival - b.arrival)
  }

  private isFull(index: number): boolean {
    return this.waitersOf(index).length >= (this.meters[index]!.waits.maxWaiting ?? Infinity)
  }

  /** Which one is refused in place of a newcomer: the oldest of the lowest priority, unless that is higher. */
  private victim(index: number, { priority }: Waiter): Waiter | undefined {
    if (this.meters[index]!.waits.overflow !== "dropOldest") return undefined
    const waiters = this.waitersOf(index)
    const lowest = Math.min(...waiters.map((each) => each.priority))
    return lowest > priority ? undefined : waiters.find((each) => each.priority === lowest)
  }

  private refuse(waiter: Waiter, reason: Refusal): void {
    this.refusals.set(waiter.name, `${reason} ${this.now}`)
    this.leave(waiter)
  }

  private leave(waiter: Waiter): void {
    const { queue } = waiter
    if (!this.isWaiting(waiter)) return
    const wasFirst = queue.first === waiter
    queue.remove(waiter)
    this.removed(queue, wasFirst)
    if (wasFirst) for (const index of waiter.meters) this.look(index)
  }

  /** The waiter that is first in rank of those that stand at a meter. */
  private firstAt(index: number): Waiter | undefined {
    return this.firstsAt(index)[0]
  }

  /** The first waiter of each queue that stands there. */
  private firstsAt(index: number): ReadonlyArray<Waiter> {
    const queues = [...this.queues.values()].filter(({ members, standsAt }) => standsAt === index && members.length > 0)
    return queues.map(({ first }) => first!).toSorted((a, b) => a.rank - b.rank)
  }

  private isOpen(index: number, waiter: Waiter): boolean {
    const first = this.firstAt(index)
    if (first !== undefined && first.rank < waiter.rank && !this.isPassable(index, waiter)) return false
    return this.hasRoom(index, waiter)
  }

  /** Whether room is left, whichever waiters stand there. */
  private hasRoom(index: number, { permits, rank }: Waiter): boolean {
    const { inUse, kept, maxAtOnce, pausedUntil } = this.meters[index]!
    const binding = kept.filter(({ queue, until }) => until > this.now && queue.first!.rank < rank)
    const keptPermits = binding.reduce((sum, { queue }) => sum + queue.first!.permits, 0)
    return pausedUntil <= this.now && inUse + keptPermits + permits <= maxAtOnce
  }

  /** Whether a waiter may start before the first one, which lacks permits. */
  private isPassable(index: number, { permits }: Waiter): boolean {
    const { inUse, maxAtOnce, short } = this.meters[index]!
    return short?.waiter === this.firstAt(index) && short!.until <= this.now && permits <= maxAtOnce - inUse
  }

  /** Admits those that stand at a meter, until it is closed to the first of them. */
  private look(index: number): void {
    const meter = this.meters[index]!
    if (meter.isBeingLookedAt) return
    meter.isBeingLookedAt = true
    for (let waiter = this.firstAt(index); waiter !== undefined; waiter = this.firstAt(index)) {
      const next = this.isOpen(index, waiter) ? waiter : this.smaller(index, waiter)
      if (next === undefined) break
      this.opened(next)
    }
    if (this.firstAt(index) === undefined) meter.short = undefined
    meter.isBeingLookedAt = false
  }

  /** The waiter that starts before the first one, if that lacks permits and the free ones are not kept any more. */
  private smaller(index: number, first: Waiter): Waiter | undefined {
    const meter = this.meters[index]!
    const { ended, inUse, maxAtOnce } = meter
    const free = maxAtOnce - inUse
    if (meter.pausedUntil > this.now || free <= 0 || first.permits <= free) return undefined
    if (meter.short?.waiter !== first) {
      meter.short = { waiter: first, since: this.now, until: this.now + 1_000_000, ended }
      this.noteTie(meter.short.until, meter)
      this.at(meter.short.until, () => this.look(index))
    } else if (meter.short.ended !== ended) {
      meter.short.until = this.now + Math.max(1_000_000, Math.ceil((this.now - meter.short.since) / 2))
      meter.short.ended = ended
      this.noteTie(meter.short.until, meter)
      this.at(meter.short.until, () => this.look(index))
    }
    if (meter.short.until > this.now) return undefined
    const sets = this.firstsAt(index).filter(({ meters }) => meters.length > 1)
    const single = this.queues.get(String(index))?.earliestWithin(free)
    const smaller = [...sets, ...(single === undefined ? [] : [single])].filter(({ permits }) => permits <= free)
    const [next] = smaller.toSorted((a, b) => a.rank - b.rank)
    return next !== undefined && this.hasRoom(index, next) ? next : undefined
  }

  /** The meter where it stands is open to it. */
  private opened(waiter: Waiter): void {
    const { meters, queue } = waiter
    const here = queue.standsAt
    const open = meters.filter((each) => each === here || this.isOpen(each, waiter))
    const closed = meters.find((each) => !open.includes(each))
    if (closed === undefined) {
      this.start(waiter)
    } else {
      this.stopKeeping(queue)
      queue.standsAt = closed
      if (this.firstAt(closed) === waiter) this.keep(open, queue)
    }
    for (const each of meters) this.look(each)
  }

  private keep(open: ReadonlyArray<number>, queue: Queue): void {
    const { keeps } = this.breach
    if (keeps === "never") return
    const time = Math.max(1_000_000, Math.ceil(queue.closedFor / 2))
    const until = keeps === "for ever" ? Infinity : this.now + time
    this.noteTie(until, undefined, queue)
    for (const index of open.filter((each) => !this.neverKeep.has(each))) {
      const meter = this.meters[index]!
      const kept = { queue, until }
      meter.kept.push(kept)
      // Not if it has been replaced: where both would end in the same instant, the order of the set is that of the later.
      if (until !== Infinity) this.at(until, () => meter.kept.includes(kept) && this.look(index))
    }
  }

  /** Room is kept until then, at that meter alone or for that queue. */
  private noteTie(until: number, at: Meter | undefined, queue?: Queue): void {
    this.hasTie ||= this.meters.some(
      (meter) =>
        meter.kept.some((each) => each.until === until && each.queue !== queue) ||
        (meter !== at && meter.short?.until === until)
    )
  }

  private stopKeeping(queue: Queue): void {
    for (const meter of this.meters) meter.kept = meter.kept.filter((each) => each.queue !== queue)
  }

  private start(waiter: Waiter): void {
    const { meters, permits, queue } = waiter
    const wasFirst = queue.first === waiter
    queue.admit(waiter)
    this.removed(queue, wasFirst)
    for (const index of meters) this.meters[index]!.inUse += permits
    waiter.started()
  }

  private removed(queue: Queue, wasFirst: boolean): void {
    queue.exchangeTurns()
    if (!wasFirst) return
    this.stopKeeping(queue)
    queue.closedFor = 0
  }
}
