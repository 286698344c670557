/**
 * A timer for an instant on a time line, set again if it was early or lost.
 */
import { turnBegins } from "./eventLoop.ts"
import type { Host, Timer } from "./host.ts"
import type { Timeline } from "./timeline.ts"

/** The longest sleep that a clock is asked for, in nanoseconds. A longer wait is divided. */
const maxSleep = 2 ** 50

export class Alarm {
  private readonly time: Timeline
  private readonly ring: () => void
  private timer: Timer | undefined
  /** For when it was set last; `NaN` after `cancel`. */
  at = NaN
  private leastSleep = 0

  constructor(time: Timeline, ring: () => void) {
    this.time = time
    this.ring = ring
  }

  get isSet(): boolean {
    return this.timer !== undefined
  }

  /** Whether it is set, but on timers that have been replaced. */
  get isLost(): boolean {
    return this.timer?.isLost === true
  }

  /** Rings at that instant, or before. Unless it is set for an earlier one, it is set anew. */
  set(at: number, host: Host): void {
    if (this.timer !== undefined) {
      if (this.at <= at && !this.timer.isLost) return
      this.cancel()
    }
    if (at === Infinity) return
    // A timer that fired early is set again. For a test clock far from zero the remaining nanoseconds may round to nothing:
    // the least sleep doubles until the clock moves.
    this.leastSleep = at === this.at ? Math.max(1000, this.leastSleep * 2) : 0
    this.at = at
    const nanos = Math.min(Math.max(at - this.time.now, this.leastSleep), maxSleep)
    // A timer that was cancelled does not fire.
    this.timer = host.sleep(this.time.clock!, nanos, () => {
      this.timer = undefined
      turnBegins(host.isLive)
      this.ring()
    })
  }

  cancel(): void {
    const { timer } = this
    this.timer = undefined
    this.at = NaN
    timer?.cancel()
  }
}
