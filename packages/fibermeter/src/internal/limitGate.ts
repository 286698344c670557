/**
 * The gate of the limits that are numbers: how many at once, how many a second.
 */
import type { Clock } from "effect"
import { Gate } from "./gate.ts"
import type { Ticket } from "./gate.ts"
import { Pace } from "./pace.ts"
import { Timeline } from "./timeline.ts"

/** Limits that have been checked and completed; `Infinity` where there is none. */
export interface Limits {
  readonly maxAtOnce: number
  readonly maxPerSecond: number
  readonly maxBurst: number
}

/** Time and the rate, for gates that have one. The others never look at a clock. */
interface Paced {
  readonly pace: Pace
  readonly time: Timeline
}

export class LimitGate extends Gate {
  readonly capacity: number
  private readonly paced: Paced | undefined
  private running = 0

  constructor(limits: Limits, clock: Clock.Clock) {
    super()
    this.capacity = limits.maxAtOnce
    if (limits.maxPerSecond === Infinity || limits.maxBurst === Infinity) return
    const pace = new Pace(limits.maxPerSecond, limits.maxBurst)
    this.paced = { pace, time: new Timeline(clock, (delta) => pace.shift(delta)) }
  }

  protected get now(): number {
    return this.paced === undefined ? 0 : this.paced.time.now
  }

  protected get clock(): Clock.Clock {
    return this.paced!.time.clock
  }

  protected opensAt(ticket: Ticket): number {
    const isFull = this.running >= this.capacity
    if (this.paced === undefined) return isFull ? Infinity : 0
    const { pace, time } = this.paced
    if (this.isEmpty()) time.follow(ticket.host.clock)
    time.look()
    pace.turn(isFull ? "held" : "paced", time.now)
    return isFull ? Infinity : pace.due()
  }

  take(): number {
    this.running++
    return this.paced === undefined ? 0 : this.paced.pace.start(this.paced.time.now)
  }

  settle(booking: number): void {
    if (this.paced === undefined) return
    const { pace, time } = this.paced
    const booked = time.now
    time.look()
    pace.settle(booking, booked, time.now)
  }

  leave(): void {
    this.running--
    this.wake()
  }

  protected hold(): void {
    this.turn("held")
  }

  protected rest(): void {
    this.turn("idle")
  }

  private turn(mode: "held" | "idle"): void {
    if (this.paced === undefined) return
    this.paced.time.look()
    this.paced.pace.turn(mode, this.paced.time.now)
  }
}
