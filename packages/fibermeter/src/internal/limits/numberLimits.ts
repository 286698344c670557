/**
 * The limits that are numbers: how many a second, how much in each window, and with them how many at once. This is what is
 * common to a call's own limits (`ownRequest.ts`) and to those of a meter (`localLimiter.ts`): the arithmetic of rates and
 * windows, without clocks, timers and waiters. All times are nanoseconds on one time line.
 */
import type { Refusal } from "../admission/refusal.ts"
import type { Cost } from "../admission/reservation.ts"
import type { Demand } from "../admission/types.ts"
import { nanosOf, windowsOf } from "../input/limits.ts"
import type { Limits } from "../input/limits.ts"
import { gcraOf } from "./gcra.ts"
import type { Gcra, Mode } from "./gcra.ts"
import type { SlidingWindow } from "./slidingWindow.ts"

/** What a start has taken. */
export interface ReservationEntry {
  /** The number of the start at the rate. */
  readonly start: number
  readonly spent: ReadonlyArray<Spending>
}

interface NamedWindow<W extends SlidingWindow = SlidingWindow> {
  readonly name: string
  readonly window: W
}

interface Spending extends NamedWindow {
  readonly number: number
  cost: number
}

/** What a task takes of that window. The window's name may be that of a property which all objects inherit. */
export const amountOf = (cost: Cost | undefined, name: string): number =>
  cost !== undefined && Object.hasOwn(cost, name) ? cost[name]! : 1

export class NumberLimits<W extends SlidingWindow = SlidingWindow> {
  gcra: Gcra | undefined
  /** An array, since each decision concerns all of them, usually none. */
  readonly windows: Array<NamedWindow<W>>
  /** The time of the last start, as far as it is known. */
  lastStart = -Infinity

  constructor(
    { maxBurst = 1, maxPerSecond = Infinity, windows }: Limits,
    Window: new (limit: number, per: number) => W
  ) {
    this.gcra = gcraOf(maxPerSecond, maxBurst)
    this.windows = windowsOf(windows).map(([name, { limit, per }]) => ({
      name,
      window: new Window(limit, nanosOf(per))
    }))
  }

  get names(): ReadonlyArray<string> {
    return this.windows.map(({ name }) => name)
  }

  /** Whether the time decides about a start. */
  get isTimed(): boolean {
    return this.gcra !== undefined || this.windows.length > 0
  }

  /** Whether tasks have costs. */
  get isWeighed(): boolean {
    return this.windows.length > 0
  }

  /** Why a task of that cost can never start, if so. */
  objection(cost: Cost | undefined): Refusal | undefined {
    if (cost === undefined) return undefined
    for (const { name, window } of this.windows) {
      const wanted = amountOf(cost, name)
      if (wanted > window.limit) {
        return { _tag: "ExcessiveCost", window: name, cost: wanted, limit: window.limit }
      }
    }
    return undefined
  }

  /** When a task of that cost can start, as if those in `kept` had just started; `-Infinity` for now. */
  opensAt(cost: Cost | undefined, kept: ReadonlyArray<Pick<Demand, "cost">>, now: number): number {
    let opensAt = -Infinity
    for (const { name, window } of this.windows) {
      let amount = amountOf(cost, name)
      for (const each of kept) amount += amountOf(each.cost, name)
      opensAt = Math.max(opensAt, amount > window.limit ? Infinity : window.opensAt(amount, now))
    }
    if (this.gcra === undefined) return opensAt
    this.gcra.setMode(opensAt > now ? "blocked" : "pacing", now)
    return Math.max(opensAt, this.gcra.due(kept.length))
  }

  take(cost: Cost | undefined, now: number): ReservationEntry {
    this.lastStart = now
    const spent: Array<Spending> = []
    for (const { name, window } of this.windows) {
      const amount = amountOf(cost, name)
      spent.push({ name, window, number: window.spend(amount, now), cost: amount })
    }
    return { start: this.gcra?.start(now) ?? 0, spent }
  }

  /** The start was not earlier than that. */
  moveStart({ spent, start }: ReservationEntry, time: number): void {
    this.lastStart = time
    this.gcra?.amend(start, time)
    for (const { number, window } of spent) window.amend(number, time)
  }

  /** What has been taken has cost something else. */
  correct({ spent }: ReservationEntry, cost: Cost): void {
    for (const each of spent) {
      if (!Object.hasOwn(cost, each.name)) continue
      const used = cost[each.name]!
      each.window.correct(each.number, used - each.cost)
      each.cost = used
    }
  }

  /** Whether the rate has to know of a change to that mode. Time in the same mode is accounted for when the mode changes. */
  needsMode(mode: Mode): boolean {
    return this.gcra !== undefined && this.gcra.mode !== mode
  }

  /** Recorded times have moved by `delta`. */
  shift(delta: number): void {
    this.lastStart += delta
    this.gcra?.shift(delta)
    for (const { window } of this.windows) window.shift(delta)
  }
}
