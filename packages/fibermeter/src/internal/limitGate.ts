/**
 * The gate of the limits that are numbers: how many at once, how many a second.
 */
import type { Clock } from "effect"
import { Gate } from "./gate.ts"
import type { Ticket } from "./gate.ts"
import type { Host } from "./host.ts"
import { Pace } from "./pace.ts"
import { Timeline } from "./timeline.ts"

/** Limits as users give them, checked already. */
export interface Limits {
  readonly maxAtOnce?: number | undefined
  readonly maxPerSecond?: number | undefined
  readonly maxBurst?: number | undefined
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

  constructor({ maxAtOnce = Infinity, maxPerSecond = Infinity, maxBurst = 1 }: Limits, clock: Clock.Clock) {
    super()
    this.capacity = maxAtOnce
    if (maxPerSecond === Infinity || maxBurst === Infinity) return
    const pace = new Pace(maxPerSecond, maxBurst)
    this.paced = { pace, time: new Timeline(clock, (delta) => pace.shift(delta)) }
  }

  /** The gate of a call's own limits, or none where it has none. */
  static forCall(limits: Limits, host: Host): ReadonlyArray<Gate> {
    const { maxAtOnce = Infinity, maxPerSecond = Infinity } = limits
    return maxAtOnce === Infinity && maxPerSecond === Infinity ? [] : [new LimitGate(limits, host.clock)]
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
