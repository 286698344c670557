/**
 * The limiter of the limits that are numbers. By itself it is that of the own limits of a call that has meters, too;
 * `sharedLimiter.ts` adds what a meter needs. A call without meters does without a limiter (`ownRequest.ts`).
 */
import { Limiter } from "../admission/limiter.ts"
import type { Cost } from "../admission/reservation.ts"
import type { Demand, Waiter } from "../admission/types.ts"
import type { Refusal } from "../admission/refusal.ts"
import type { Limits } from "../input/limits.ts"
import { NumberLimits } from "./numberLimits.ts"
import type { ReservationEntry } from "./numberLimits.ts"
import type { SlidingWindow } from "./slidingWindow.ts"

export class LocalLimiter<W extends SlidingWindow = SlidingWindow> extends Limiter {
  capacity: number
  protected readonly numbers: NumberLimits<W>

  constructor(limits: Limits, Window: new (limit: number, per: number) => W) {
    super()
    this.capacity = limits.maxAtOnce ?? Infinity
    this.numbers = new NumberLimits(limits, Window)
  }

  get names(): Iterable<string> {
    return this.numbers.names
  }

  override get isWeighed(): boolean {
    return this.numbers.isWeighed
  }

  override correct(entry: unknown, cost: Cost): void {
    if (entry !== undefined) this.numbers.correct(entry as ReservationEntry, cost)
  }

  override objection(demand: Demand): Refusal | undefined {
    return this.numbers.objection(demand.cost) ?? super.objection(demand)
  }

  override confirmStart(entry: unknown): void {
    if (entry === undefined) return
    this.time.update()
    this.numbers.moveStart(entry as ReservationEntry, this.time.now)
  }

  get isTimed(): boolean {
    return this.numbers.isTimed
  }

  /** While all permits are in use, the end of a task calls `wake`; but a rate has to know that a waiter is blocked. */
  protected override canOpen(): boolean {
    return this.permitsInUse < this.capacity || this.numbers.gcra !== undefined
  }

  opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number {
    let permits = this.permitsInUse + waiter.permits
    for (const each of kept) permits += each.permits
    if (permits > this.capacity) {
      this.onBlocked()
      return Infinity
    }
    return this.numbers.opensAt(waiter.cost, kept, this.time.now)
  }

  nextOpening(): number {
    if (this.permitsInUse >= this.capacity) return Infinity
    const { gcra, windows } = this.numbers
    return Math.max(gcra?.due() ?? -Infinity, ...windows.map(({ window }) => window.opensAt(1, this.time.now)))
  }

  take(waiter: Waiter): unknown {
    return this.numbers.isTimed ? this.numbers.take(waiter.cost, this.time.now) : undefined
  }

  override onBlocked(): void {
    this.turn("blocked")
  }

  override onIdle(): void {
    this.turn("idle")
  }

  override shiftTime(delta: number): void {
    this.numbers.shift(delta)
  }

  private turn(mode: "blocked" | "idle"): void {
    const { numbers } = this
    if (!numbers.needsMode(mode)) return
    this.time.update()
    numbers.gcra!.setMode(mode, this.time.now)
  }
}
