/**
 * The limiter of the limits that are numbers: how many at once, how many a second, how much in each window. By itself it is
 * that of a call's own limits; `sharedLimiter.ts` adds what a meter needs.
 */
import type * as Duration from "effect/Duration"
import { Limiter } from "../admission/limiter.ts"
import type { Cost } from "../admission/reservation.ts"
import type { Demand, Waiter } from "../admission/types.ts"
import { gcraOf } from "./gcra.ts"
import type { Gcra } from "./gcra.ts"
import type { Refusal } from "../admission/refusal.ts"
import { SlidingWindow } from "./slidingWindow.ts"

/** A limit on what is spent in any window of time of that length. */
export interface WindowLimit {
  readonly limit: number
  readonly per: Duration.Input
}

/** Limits as users give them, checked. */
export interface Limits {
  readonly maxAtOnce?: number | undefined
  readonly maxPerSecond?: number | undefined
  readonly maxBurst?: number | undefined
  readonly windows?: Readonly<Record<string, WindowLimit | undefined>> | undefined
}

/** What a start has taken. */
export interface ReservationEntry {
  /** The number of the start at the rate. */
  readonly start: number
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

/** Limits after a change of those that are given. */
export const changed = <L extends Limits>(limits: L, given: Limits): L => ({
  ...limits,
  ...given,
  windows: { ...limits.windows, ...given.windows }
})

/** The windows that are not `undefined`. */
export const windowsOf = (windows: Limits["windows"] = {}): ReadonlyArray<readonly [string, WindowLimit]> =>
  Object.entries(windows).filter((each): each is [string, WindowLimit] => each[1] !== undefined)

/** A limiter's windows, by a class of windows. */
export const namedBy =
  <W extends SlidingWindow>(Window: new (limit: number, per: number) => W) =>
  ([name, { limit, per }]: readonly [string, WindowLimit]): { readonly name: string; readonly window: W } => ({
    name,
    window: new Window(limit, nanosOf(per))
  })

/** What a task takes of that window. The window's name may be that of a property which all objects inherit. */
export const amountOf = (cost: Cost | undefined, name: string): number =>
  cost !== undefined && Object.hasOwn(cost, name) ? cost[name]! : 1

/** The limits of one call, which no other call shares. */
export interface OwnLimits {
  readonly maxAtOnce: number
  /** The limiter of rates and windows, if there are any. It then enforces `maxAtOnce`, too. */
  readonly limiters: ReadonlyArray<Limiter>
}

export class LocalLimiter extends Limiter {
  capacity: number
  protected gcra: Gcra | undefined
  /** An array, since each decision concerns all of them, usually none. */
  protected readonly windows: Array<NamedWindow>
  /** The time of the last start, as far as it is known. */
  protected lastStart = -Infinity

  constructor(
    { maxAtOnce = Infinity, maxBurst = 1, maxPerSecond = Infinity, windows }: Limits,
    Window = SlidingWindow
  ) {
    super()
    this.capacity = maxAtOnce
    this.gcra = gcraOf(maxPerSecond, maxBurst)
    this.windows = windowsOf(windows).map(namedBy(Window))
  }

  /**
   * A call's own limits. No other call waits for them, so if time does not matter, the call counts by itself.
   * `permits` is what each task needs, of which the count is then a multiple. `needsLimiter` asks for a limiter all the same.
   */
  static forCall(limits: Limits, permits = 1, needsLimiter = false): OwnLimits {
    const { maxAtOnce = Infinity, maxPerSecond = Infinity, windows } = limits
    const isTimed = maxPerSecond !== Infinity || windowsOf(windows).length > 0
    // A limiter refuses the task that needs more permits than there are.
    return isTimed || needsLimiter || permits > maxAtOnce
      ? { maxAtOnce: Infinity, limiters: [new LocalLimiter(limits)] }
      : { maxAtOnce: Math.floor(maxAtOnce / permits), limiters: [] }
  }

  get names(): Iterable<string> {
    return this.windows.map(({ name }) => name)
  }

  override get isWeighed(): boolean {
    return this.windows.length > 0
  }

  override correct(entry: unknown, cost: Cost): void {
    if (entry === undefined) return
    for (const each of (entry as ReservationEntry).spent) {
      if (!Object.hasOwn(cost, each.name)) continue
      const used = cost[each.name]!
      each.window.correct(each.number, used - each.cost)
      each.cost = used
    }
  }

  override objection(demand: Demand): Refusal | undefined {
    const { cost } = demand
    if (cost === undefined) return super.objection(demand)
    for (const { name, window } of this.windows) {
      const wanted = amountOf(cost, name)
      if (wanted > window.limit) {
        return { _tag: "ExcessiveCost", window: name, cost: wanted, limit: window.limit }
      }
    }
    return super.objection(demand)
  }

  override confirmStart(entry: unknown): void {
    if (entry === undefined) return
    this.time.update()
    this.moveStart(entry as ReservationEntry)
  }

  /** The start is not earlier than the time at the last update. */
  protected moveStart({ spent, start }: ReservationEntry): void {
    const { now } = this.time
    this.lastStart = now
    this.gcra?.amend(start, now)
    for (const { number, window } of spent) window.amend(number, now)
  }

  get isTimed(): boolean {
    return this.gcra !== undefined || this.windows.length > 0
  }

  /** While all permits are in use, the end of a task calls `wake`; but a rate has to know that a waiter is blocked. */
  protected override canOpen(): boolean {
    return this.permitsInUse < this.capacity || this.gcra !== undefined
  }

  opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number {
    let permits = this.permitsInUse + waiter.permits
    for (const each of kept) permits += each.permits
    if (permits > this.capacity) {
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

  nextOpening(): number {
    if (this.permitsInUse >= this.capacity) return Infinity
    const windows = this.windows.map(({ window }) => window.opensAt(1, this.time.now))
    return Math.max(this.gcra?.due() ?? -Infinity, ...windows)
  }

  take(waiter: Waiter): unknown {
    if (!this.isTimed) return undefined
    const at = this.time.now
    this.lastStart = at
    const spent: Array<Spending> = []
    for (const { name, window } of this.windows) {
      const cost = amountOf(waiter.cost, name)
      spent.push({ name, window, number: window.spend(cost, at), cost })
    }
    return { start: this.gcra?.start(at) ?? 0, spent } satisfies ReservationEntry
  }

  override onBlocked(): void {
    this.turn("blocked")
  }

  override onIdle(): void {
    this.turn("idle")
  }

  override shiftTime(delta: number): void {
    this.lastStart += delta
    this.gcra?.shift(delta)
    for (const { window } of this.windows) window.shift(delta)
  }

  private turn(mode: "blocked" | "idle"): void {
    // Time in the same mode is accounted for when the mode changes.
    if (this.gcra === undefined || this.gcra.mode === mode) return
    this.time.update()
    this.gcra.setMode(mode, this.time.now)
  }
}
