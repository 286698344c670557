/**
 * The limiter of the limits that are numbers: how many at once, how many a second, how much in each window.
 * By itself that of a call's own limits; `sharedLimiter.ts` has what a meter needs beside that.
 */
import type * as Duration from "effect/Duration"
import { Limiter } from "../admission/limiter.ts"
import type { Waiter } from "../admission/limiter.ts"
import type { Cost } from "../admission/reservation.ts"
import { gcraOf } from "./gcra.ts"
import type { Gcra } from "./gcra.ts"
import type { Refusal } from "../admission/refusal.ts"
import { SlidingWindow } from "./slidingWindow.ts"

/** A limit on what is spent in any window of time of that length. */
export interface WindowLimit {
  readonly limit: number
  readonly per: Duration.Input
}

/** Limits as users give them, checked already. */
export interface Limits {
  readonly maxAtOnce?: number | undefined
  readonly maxPerSecond?: number | undefined
  readonly maxBurst?: number | undefined
  readonly windows?: Readonly<Record<string, WindowLimit | undefined>> | undefined
}

/** What was taken for a start. */
interface ReservationEntry {
  readonly pace: number
  /** The numbers of what was spent, and how much that was, window by window. */
  readonly spent: ReadonlyArray<Spending>
}

interface NamedWindow {
  readonly name: string
  readonly window: SlidingWindow
}

interface Spending extends NamedWindow {
  readonly number: number
  cost: number
}

/** A length of time in whole nanoseconds, rounded up. Checked already, and so read as milliseconds. */
export const nanosOf = (time: Duration.Input): number => Math.ceil((time as number) * 1_000_000)

/** Leaves out the limits that are none. */
export const windowsOf = (windows: Limits["windows"] = {}): ReadonlyArray<readonly [string, WindowLimit]> =>
  Object.entries(windows).filter((each): each is [string, WindowLimit] => each[1] !== undefined)

export const named = ([name, { limit, per }]: readonly [string, WindowLimit]): NamedWindow => ({
  name,
  window: new SlidingWindow(limit, nanosOf(per))
})

/** What of that window a task takes. A name may also be one that all objects have something by. */
const amountOf = (cost: Cost | undefined, name: string): number =>
  cost !== undefined && Object.hasOwn(cost, name) ? cost[name]! : 1

/** The limits of a call that nobody else has to keep to. */
export interface OwnLimits {
  readonly maxAtOnce: number
  /** The limiter of all the others, if there are any; `maxAtOnce` is then its business, too. */
  readonly limiters: ReadonlyArray<Limiter>
}

export class LocalLimiter extends Limiter {
  capacity: number
  protected gcra: Gcra | undefined
  /** An array, since the most frequent question is about all of them, mostly none. */
  protected readonly windows: Array<NamedWindow>
  /** The time of the last start. */
  protected lastStart = -Infinity

  constructor({ maxAtOnce = Infinity, maxBurst = 1, maxPerSecond = Infinity, windows }: Limits) {
    super()
    this.capacity = maxAtOnce
    this.gcra = gcraOf(maxPerSecond, maxBurst)
    this.windows = windowsOf(windows).map(named)
  }

  /**
   * A call's own limits. Nobody else waits for those: where time does not matter, the call itself can count. `isPausable`
   * asks for a limiter all the same.
   */
  static forCall(limits: Limits, isPausable = false): OwnLimits {
    const { maxAtOnce = Infinity, maxPerSecond = Infinity, windows } = limits
    const isTimed = maxPerSecond !== Infinity || windowsOf(windows).length > 0
    return isTimed || isPausable
      ? { maxAtOnce: Infinity, limiters: [new LocalLimiter(limits)] }
      : { maxAtOnce, limiters: [] }
  }

  get names(): Iterable<string> {
    return this.windows.map(({ name }) => name)
  }

  override get isWeighed(): boolean {
    return this.windows.length > 0
  }

  /** The task has cost something else than it was booked with. */
  correct(entry: unknown, cost: Cost): void {
    if (entry === undefined) return
    for (const each of (entry as ReservationEntry).spent) {
      if (!Object.hasOwn(cost, each.name)) continue
      const used = cost[each.name]!
      each.window.correct(each.number, used - each.cost)
      each.cost = used
    }
  }

  override objection(cost: Cost | undefined): Refusal | undefined {
    if (cost === undefined) return undefined
    for (const { name, window } of this.windows) {
      const wanted = amountOf(cost, name)
      if (wanted > window.limit) {
        return { _tag: "ExcessiveCost", window: name, cost: wanted, limit: window.limit }
      }
    }
    return undefined
  }

  override confirmStart(entry: unknown): void {
    if (entry === undefined) return
    const { pace, spent } = entry as ReservationEntry
    this.time.update()
    this.gcra?.amend(pace, this.time.now)
    for (const { number, window } of spent) window.amend(number, this.time.now)
  }

  get isTimed(): boolean {
    return this.gcra !== undefined || this.windows.length > 0
  }

  /** Where all places are taken, an event tells; but a pace wants to know that somebody is held up. */
  protected override canOpen(): boolean {
    return this.running < this.capacity || this.gcra !== undefined
  }

  opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number {
    if (this.running + kept.length >= this.capacity) {
      this.onBlocked()
      return Infinity
    }
    let opensAt = -Infinity
    for (const { name, window } of this.windows) {
      let amount = amountOf(waiter.cost, name)
      for (const each of kept) amount += amountOf(each.cost, name)
      opensAt = Math.max(opensAt, amount > window.limit ? Infinity : window.opensAt(amount, this.time.now))
    }
    if (this.gcra === undefined) return opensAt
    this.gcra.setMode(opensAt > this.time.now ? "blocked" : "pacing", this.time.now)
    return Math.max(opensAt, this.gcra.due(kept.length))
  }

  protected nextOpening(): number {
    if (this.running >= this.capacity) return Infinity
    const windows = this.windows.map(({ window }) => window.opensAt(1, this.time.now))
    return Math.max(this.gcra?.due() ?? -Infinity, ...windows)
  }

  protected take(waiter: Waiter): unknown {
    if (!this.isTimed) return undefined
    const at = this.time.now
    this.lastStart = at
    const spent: Array<Spending> = []
    for (const { name, window } of this.windows) {
      const cost = amountOf(waiter.cost, name)
      spent.push({ name, window, number: window.spend(cost, at), cost })
    }
    return { pace: this.gcra?.start(at) ?? 0, spent } satisfies ReservationEntry
  }

  protected release(): void {}

  onBlocked(): void {
    this.turn("blocked")
  }

  protected onIdle(): void {
    this.turn("idle")
  }

  protected shiftTime(delta: number): void {
    this.lastStart += delta
    this.gcra?.shift(delta)
    for (const { window } of this.windows) window.shift(delta)
  }

  private turn(mode: "blocked" | "idle"): void {
    // Time spent in the same mode is accounted for when the mode changes.
    if (this.gcra === undefined || this.gcra.mode === mode) return
    this.time.update()
    this.gcra.setMode(mode, this.time.now)
  }
}
