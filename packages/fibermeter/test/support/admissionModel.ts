/**
 * The rule by which waiters are admitted to several meters, as `setQueue.ts` states it, on plain lists: slow, and short
 * enough to be compared with the statement line by line. Meters limit how many run at once, and can be paused and
 * resized. All times are nanoseconds.
 */

export interface ModelTask {
  readonly at: number
  /** Meters by their numbers, in the order in which a set lists them. */
  readonly meters: ReadonlyArray<number>
  readonly lasts: number
  /** What the task waits for inside of itself, after so long; it ends when that has ended. */
  readonly inside?: Omit<ModelTask, "at"> & { readonly after: number }
  /** When it is interrupted, if it waits then. */
  readonly leavesAt?: number
}

export interface ModelChange {
  readonly at: number
  readonly meter: number
  /** The new limit, or a pause of that length. */
  readonly maxAtOnce?: number
  readonly pauses?: number
}

interface Waiter {
  readonly name: string
  readonly meters: ReadonlyArray<number>
  readonly started: () => void
  standsAt: number
  /** How long it has been first at meters that were closed by their own limits. */
  closedFor: number
}

interface Meter {
  maxAtOnce: number
  running: number
  pausedUntil: number
  kept: Array<{ readonly waiter: Waiter; readonly until: number }>
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
  /** How long each task waited. */
  readonly waits = new Map<string, number>()
  /** The longest time for which each meter stayed closed to a waiter that was first there. */
  readonly longestClosed: Array<number>
  now = 0
  /** Room kept for two waiters has ended in the same instant. The rule does not specify which of them is checked first. */
  hasTie = false
  private readonly meters: ReadonlyArray<Meter>
  private readonly breach: Breach
  /** In the order of their arrival. */
  private waiters: Array<Waiter> = []
  private events: Array<Event> = []
  private readonly closedSince = new Map<Meter, { readonly waiter: Waiter; readonly at: number }>()

  constructor(limits: ReadonlyArray<number>, breach: Breach = {}) {
    this.breach = breach
    this.longestClosed = limits.map(() => 0)
    this.meters = limits.map((maxAtOnce) => ({
      maxAtOnce,
      running: 0,
      pausedUntil: 0,
      kept: [],
      isBeingLookedAt: false
    }))
  }

  get waiting(): number {
    return this.waiters.length
  }

  add(name: string, task: ModelTask): void {
    this.at(task.at, () => this.arrive(name, task, () => {}))
  }

  change({ at, maxAtOnce, meter: index, pauses }: ModelChange): void {
    const meter = this.meters[index]!
    this.at(at, () => {
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

  private at(at: number, happens: () => unknown): void {
    this.events.push({ at, happens })
  }

  private goOnTo(at: number): void {
    for (const index of this.meters.keys()) {
      const waiter = this.firstAt(index)
      if (waiter !== undefined && this.isClosedByItself(index)) waiter.closedFor += at - this.now
    }
    this.now = at
  }

  private noteClosed(): void {
    for (const [index, meter] of this.meters.entries()) {
      const waiter = this.firstAt(index)
      const since = this.closedSince.get(meter)
      const isClosed = waiter !== undefined && this.isClosedByItself(index)
      if (isClosed && since?.waiter === waiter) continue
      if (since !== undefined) {
        this.longestClosed[index] = Math.max(this.longestClosed[index]!, this.now - since.at)
        this.closedSince.delete(meter)
      }
      if (isClosed) this.closedSince.set(meter, { waiter, at: this.now })
    }
  }

  private isClosedByItself(index: number): boolean {
    const { maxAtOnce, pausedUntil, running } = this.meters[index]!
    return running >= maxAtOnce && pausedUntil <= this.now
  }

  private arrive(name: string, { inside, lasts, leavesAt, meters }: ModelTask, ended: () => void): void {
    const arrived = this.now
    const started = (): void => {
      this.starts.set(name, this.now)
      this.waits.set(name, this.now - arrived)
      const end = (): void => {
        for (const index of meters) this.meters[index]!.running--
        for (const index of meters) this.look(index)
        ended()
      }
      this.at(this.now + (inside?.after ?? lasts), () => {
        if (inside === undefined) end()
        else this.arrive(`${name}.`, { at: this.now, ...inside }, end)
      })
    }
    const waiter: Waiter = { name, meters, started, standsAt: NaN, closedFor: 0 }
    this.waiters.push(waiter)
    const closed = meters.find((index) => this.firstAt(index) !== undefined || !this.isOpen(index, waiter))
    if (closed === undefined) return this.start(waiter)
    const isAlone = this.firstOf(waiter) === waiter
    waiter.standsAt = isAlone ? closed : NaN
    if (isAlone) for (const index of meters) this.look(index)
    if (leavesAt !== undefined) this.at(Math.max(leavesAt, this.now), () => this.leave(waiter))
  }

  private leave(waiter: Waiter): void {
    if (!this.waiters.includes(waiter)) return
    const wasFirst = this.firstOf(waiter) === waiter
    this.remove(waiter)
    if (wasFirst) for (const index of waiter.meters) this.look(index)
  }

  /** The first waiter of the same set. */
  private firstOf({ meters }: Waiter): Waiter | undefined {
    return this.waiters.find((each) => each.meters.join() === meters.join())
  }

  private firstAt(index: number): Waiter | undefined {
    return this.waiters.find(({ standsAt }) => standsAt === index)
  }

  private isOpen(index: number, waiter: Waiter): boolean {
    const { kept, maxAtOnce, pausedUntil, running } = this.meters[index]!
    const rank = (each: Waiter): number => this.waiters.indexOf(each)
    const first = this.firstAt(index)
    if (first !== undefined && rank(first) < rank(waiter)) return false
    const binding = kept.filter((each) => each.until > this.now && rank(each.waiter) < rank(waiter))
    return pausedUntil <= this.now && running + binding.length < maxAtOnce
  }

  /** Checks the waiters at a meter, until it is closed to the first of them. */
  private look(index: number): void {
    const meter = this.meters[index]!
    if (meter.isBeingLookedAt) return
    meter.isBeingLookedAt = true
    for (let waiter = this.firstAt(index); waiter !== undefined; waiter = this.firstAt(index)) {
      if (!this.isOpen(index, waiter)) break
      this.opened(waiter)
    }
    meter.isBeingLookedAt = false
  }

  /** The meter at which it waits is open to it. */
  private opened(waiter: Waiter): void {
    const { meters } = waiter
    const open = meters.filter((each) => this.isOpen(each, waiter))
    const closed = meters.find((each) => !open.includes(each))
    if (closed === undefined) {
      this.start(waiter)
    } else {
      this.stopKeeping(waiter)
      waiter.standsAt = closed
      if (this.firstAt(closed) === waiter) this.keep(open, waiter)
    }
    for (const each of meters) this.look(each)
  }

  private keep(open: ReadonlyArray<number>, waiter: Waiter): void {
    const { keeps } = this.breach
    if (keeps === "never") return
    const time = Math.max(1_000_000, Math.ceil(waiter.closedFor / 2))
    const until = keeps === "for ever" ? Infinity : this.now + time
    this.hasTie ||= this.meters.some(({ kept }) => kept.some((each) => each.until === until && each.waiter !== waiter))
    for (const index of open) {
      const meter = this.meters[index]!
      const kept = { waiter, until }
      meter.kept.push(kept)
      // Not if it has been replaced: where both would end in the same instant, the order of the set is that of the later.
      if (until !== Infinity) this.at(until, () => meter.kept.includes(kept) && this.look(index))
    }
  }

  private stopKeeping(waiter: Waiter): void {
    for (const meter of this.meters) meter.kept = meter.kept.filter((each) => each.waiter !== waiter)
  }

  private start(waiter: Waiter): void {
    this.remove(waiter)
    for (const index of waiter.meters) this.meters[index]!.running++
    waiter.started()
  }

  private remove(waiter: Waiter): void {
    this.stopKeeping(waiter)
    this.waiters = this.waiters.filter((each) => each !== waiter)
    const next = this.firstOf(waiter)
    // The next one of its set now waits where it waited.
    if (next !== undefined && Number.isNaN(next.standsAt)) next.standsAt = waiter.standsAt
  }
}
