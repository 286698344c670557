/**
 * The limiter of a meter whose limits are numbers. Several calls share it, its limits can be changed, and a family of
 * meters drops it when a new one would behave the same. The own limits of a call need none of this (`localLimiter.ts`).
 */
import { notifyFollowers, stopAccepting } from "../admission/followers.ts"
import { sharing } from "./sharing.ts"
import { nanosOf, windowsOf } from "../input/limits.ts"
import type { Limits } from "../input/limits.ts"
import type { Host } from "../runtime/host.ts"
import { dueAfter, gcraOf, resizedGcra } from "./gcra.ts"
import { WaitLimit } from "../admission/overload.ts"
import type { WaitLimits } from "../admission/overload.ts"
import type { Waiter } from "../admission/types.ts"
import { mostPermitsOf, refuseImpossible, waitersOf } from "../admission/waiters.ts"
import type { Refusal } from "../admission/refusal.ts"
import { LocalLimiter } from "./localLimiter.ts"
import { amountOf } from "./numberLimits.ts"
import type { ReservationEntry } from "./numberLimits.ts"
import { ReportedWindow } from "./reportedWindow.ts"

/** All limits with their values in force. `per` is in milliseconds. */
export interface CurrentLimits {
  readonly maxAtOnce: number
  readonly maxPerSecond: number
  readonly maxBurst: number
  readonly windows: Readonly<Record<string, { readonly limit: number; readonly per: number }>>
}

/** What a server has reported of one of its windows, checked. */
export interface Report {
  readonly window: string
  readonly remaining: number
  /** In milliseconds. */
  readonly resetAfter: number
  /** How many nanoseconds ago the request was sent, if that is known. */
  readonly age: number | undefined
  /** Whether the server corrects what it has counted. */
  readonly refunds?: boolean | undefined
}

export class SharedLimiter extends LocalLimiter<ReportedWindow> {
  override readonly sharing = sharing
  private rate: number
  private burst: number
  private isResized = false
  /** The starts that count as of now. */
  private held: Set<ReservationEntry> | undefined

  constructor(limits: Limits & WaitLimits) {
    super(limits, ReportedWindow)
    this.limitWaiting(limits)
    const { maxBurst = 1, maxPerSecond = Infinity } = limits
    this.rate = maxPerSecond
    this.burst = maxBurst
  }

  override get isShared(): boolean {
    return true
  }

  get limits(): CurrentLimits {
    const windows = this.numbers.windows.map(({ name, window: { limit, per } }) => [
      name,
      { limit, per: per / 1_000_000 }
    ])
    return {
      maxAtOnce: this.capacity,
      maxPerSecond: this.rate,
      maxBurst: this.burst,
      windows: Object.fromEntries(windows)
    }
  }

  /** How much may be spent in each window now. */
  roomByWindow(host: Host): Readonly<Record<string, number>> {
    this.updateTime(host)
    return Object.fromEntries(this.numbers.windows.map(({ name, window }) => [name, window.room(this.time.now)]))
  }

  /** Whether a new limiter would behave the same: this one is idle, no window reaches a start, the limits are as made. */
  isAsNew(): boolean {
    this.time.update()
    const reach = Math.max(this.numbers.gcra?.window ?? 0, ...this.numbers.windows.map(({ window }) => window.per))
    const past = Math.max(
      this.numbers.lastStart + reach,
      this.pausedUntil,
      ...this.numbers.windows.map(({ window }) => window.reportedUntil)
    )
    return !this.isResized && this.closing === undefined && this.isIdle && past <= this.time.now
  }

  /** Until `confirmStart`, the start counts as of now: its caller does not know of it yet. */
  holdStart(entry: unknown): void {
    if (entry === undefined) return
    const held = (this.held ??= new Set())
    held.add(entry as ReservationEntry)
    // Before anything is decided at that time: a start that a window does not reach any more can not be moved.
    this.time.onUpdate = () => {
      for (const each of held) this.numbers.moveStart(each, this.time.now)
    }
  }

  override confirmStart(entry: unknown): void {
    super.confirmStart(entry)
    if (this.held?.delete(entry as ReservationEntry) === true && this.held.size === 0) this.time.onUpdate = undefined
  }

  /** A family of meters has dropped this. */
  dropped(): void {}

  override startsIn(waiter: Waiter, before: number): number {
    if (!this.isTimed) return 0
    this.updateTime(waiter.host)
    const { now } = this.time
    let at = Math.max(now, this.numbers.gcra === undefined ? now : dueAfter(this.numbers.gcra, before))
    for (const { name, window } of this.numbers.windows) {
      // If waiters have costs of their own, nothing is known of their sum.
      const amount = amountOf(waiter.cost, name) + (this.costsWaiting === 0 ? before : 0)
      const windows = Math.max(0, Math.ceil(amount / window.limit) - 1)
      const rest = Math.max(now, window.opensAt(amount - windows * window.limit, now))
      at = Math.max(at, rest + windows * window.per)
    }
    return at - now
  }

  /**
   * Tightens the window of that name to what a server has reported. `entry` is what the task has taken that got the report, if
   * it is known. `wake` has to be called afterwards: a later report may leave more than an earlier one.
   */
  reconcile(entry: unknown, { age, refunds, remaining, resetAfter, window: reported }: Report, host: Host): void {
    this.updateTime(host)
    const { now } = this.time
    const own = (entry as ReservationEntry | undefined)?.spent.find(({ name }) => name === reported)?.number
    const sentAt = age === undefined ? undefined : now - age
    for (const { name, window } of this.numbers.windows)
      if (name === reported) window.reconcile(remaining, now + nanosOf(resetAfter), now, own, sentAt, refunds)
  }

  /** Accepts no more calls, and refuses what waits. What runs continues. */
  refuseAll(refusal: Refusal): void {
    stopAccepting(this, refusal)
    // A refusal may have others refused.
    for (const waiter of waitersOf(this)) if (waiter.isWaiting) waiter.refuse(refusal)
  }

  private limitWaiting(limits: WaitLimits): void {
    const { maxWaiting, overflow, waitTimeout } = limits
    if (maxWaiting === undefined && overflow === undefined && waitTimeout === undefined) return
    this.waitLimit ??= new WaitLimit()
    this.waitLimit.change(limits, waitersOf(this))
  }

  /**
   * Changes the limits that are given. What was taken before stays taken, and what waits may wait as long as before.
   * `isMade`: new limiters are made with these limits, too.
   */
  resize(limits: Limits & WaitLimits, host: Host, isMade = false): void {
    this.limitWaiting(limits)
    const { maxAtOnce = this.capacity, maxBurst = this.burst, maxPerSecond = this.rate, windows } = limits
    this.updateTime(host)
    this.isResized ||= !isMade
    this.capacity = maxAtOnce
    if (maxPerSecond !== this.rate || maxBurst !== this.burst) {
      this.rate = maxPerSecond
      this.burst = maxBurst
      const isPaced = maxPerSecond !== Infinity && maxBurst !== Infinity
      this.numbers.gcra =
        isPaced && this.numbers.gcra !== undefined
          ? resizedGcra(this.numbers.gcra, maxPerSecond, maxBurst, this.time.now)
          : gcraOf(maxPerSecond, maxBurst)
    }
    let isNarrower = maxAtOnce < mostPermitsOf(this)
    for (const [name, { limit, per }] of windowsOf(windows)) {
      const known = this.numbers.windows.find((window) => window.name === name)
      isNarrower ||= known === undefined || limit < known.window.limit
      if (known === undefined) this.numbers.windows.push({ name, window: new ReportedWindow(limit, nanosOf(per)) })
      else known.window.resize(limit, nanosOf(per), this.time.now)
    }
    // All waiters are asked only if one of them may have become impossible: an adaptive limit on concurrency that is changed at
    // each response could not afford that with a long queue.
    if (isNarrower) refuseImpossible(this)
    else this.nesting?.breakDeadlock()
    this.wake()
    notifyFollowers(this)
  }
}
