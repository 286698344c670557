/**
 * The request of a run that has no meters, only limits of its own on rates, windows and permits. No other call waits for
 * these, so there is one waiter at most: limit, queue and request are one, and a program without meters needs nothing of
 * `admission/limiter.ts` and `admission/request.ts`. It admits when those would.
 */
import { excessOf } from "../admission/refusal.ts"
import type { Refusal } from "../admission/refusal.ts"
import type { Cost, Reservable, Reservation } from "../admission/reservation.ts"
import { plainRank } from "../admission/types.ts"
import type { Rank, StartRequest } from "../admission/types.ts"
import type { Limits } from "../input/limits.ts"
import { NumberLimits } from "../limits/numberLimits.ts"
import type { ReservationEntry } from "../limits/numberLimits.ts"
import { SlidingWindow } from "../limits/slidingWindow.ts"
import { Alarm } from "../runtime/alarm.ts"
import { Timeline } from "../runtime/timeline.ts"
import type { Run } from "./run.ts"

/** Instead of a new array each time. */
const none: ReadonlyArray<never> = []

export class OwnRequest implements StartRequest, Reservable {
  cost: Cost | undefined
  /** Without effect: the items of a call that has no meters start in their order. */
  ranked: Rank = plainRank
  isWaiting = false
  private readonly run: Run<any, any, any>
  private readonly numbers: NumberLimits
  private readonly capacity: number
  private permitsInUse = 0
  private pausedUntil = -Infinity
  /** What the last start has taken. */
  private entry: ReservationEntry | undefined
  private isAdmitting = false
  private readonly time = new Timeline((delta) => {
    this.pausedUntil += delta
    this.numbers.shift(delta)
  })
  private readonly alarm: Alarm

  constructor(run: Run<any, any, any>, limits: Limits) {
    this.run = run
    this.numbers = new NumberLimits(limits, SlidingWindow)
    this.capacity = limits.maxAtOnce ?? Infinity
    this.alarm = new Alarm(this.time, () => this.wake())
  }

  get names(): Iterable<string> {
    return this.numbers.names
  }

  isWeighed(): boolean {
    return this.numbers.isWeighed
  }

  requestStart(): boolean {
    const objection = this.objection()
    if (objection !== undefined) {
      this.run.refused(objection)
      return false
    }
    const opensAt = this.opensAt()
    if (opensAt <= this.time.now) {
      this.take()
      return true
    }
    this.isWaiting = true
    if (this.canOpen()) this.alarm.set(opensAt, this.run.host)
    return false
  }

  /** To be called when the limits may have opened. */
  wake(): void {
    if (this.isAdmitting) return
    this.isAdmitting = true
    try {
      while (this.isWaiting && this.admits());
    } finally {
      this.isAdmitting = false
    }
  }

  /** Whether the waiting item has been admitted or refused. Another one may wait by then. */
  private admits(): boolean {
    const { run } = this
    const { host } = run
    const objection = this.objection()
    if (objection !== undefined) {
      this.isWaiting = false
      run.refused(objection)
      return true
    }
    if (!this.canOpen()) return false
    const opensAt = this.opensAt()
    if (opensAt > this.time.now) {
      this.alarm.set(opensAt, host)
      return false
    }
    this.isWaiting = false
    this.take()
    run.admitted()
    return true
  }

  private objection(): Refusal | undefined {
    const { run } = this
    return run.objection() ?? this.numbers.objection(this.cost) ?? excessOf(run.permits, this.capacity)
  }

  /** While all permits are in use, a release wakes this; but a rate has to know that an item is blocked. */
  private canOpen(): boolean {
    return this.permitsInUse < this.capacity || this.numbers.gcra !== undefined
  }

  private opensAt(): number {
    const { numbers, run, time } = this
    if (numbers.isTimed || this.pausedUntil !== -Infinity) {
      this.updateTime()
      if (this.pausedUntil > time.now) return this.blockedUntil(this.pausedUntil)
      this.pausedUntil = -Infinity
    }
    if (this.permitsInUse + run.permits > this.capacity) return this.blockedUntil(Infinity)
    return numbers.opensAt(this.cost, none, time.now)
  }

  private blockedUntil(time: number): number {
    this.turn("blocked")
    return time
  }

  private turn(mode: "blocked" | "idle"): void {
    const { numbers, time } = this
    if (!numbers.needsMode(mode)) return
    time.update()
    numbers.gcra!.setMode(mode, time.now)
  }

  /** Follows the present clock, except while an item waits, whose timer is set on the clock so far. */
  private updateTime(): void {
    const { time } = this
    if (!this.isWaiting || time.clock === undefined) time.follow(this.run.host.clock)
    time.update()
  }

  private take(): void {
    this.permitsInUse += this.run.permits
    this.entry = this.numbers.isTimed ? this.numbers.take(this.cost, this.time.now) : undefined
  }

  started(): void {
    if (this.entry === undefined) return
    this.time.update()
    this.numbers.moveStart(this.entry, this.time.now)
  }

  reservation(): Reservation {
    return { entries: [this.entry], limiters: [this] }
  }

  correct(entry: unknown, cost: Cost): void {
    this.numbers.correct(entry as ReservationEntry, cost)
  }

  release(): void {
    this.permitsInUse -= this.run.permits
    this.wake()
  }

  /** Admits nothing for so many nanoseconds. Of several pauses, the one that ends last counts. */
  pause(nanos: number): void {
    this.updateTime()
    this.pausedUntil = Math.max(this.pausedUntil, this.time.now + nanos)
    this.wake()
  }

  cancel(): void {
    this.isWaiting = false
  }

  rest(): void {
    this.alarm.cancel()
    this.turn("idle")
  }
}
