/**
 * A limiter's time: nanoseconds on the monotonic clock since a zero of its own, as plain numbers, since sums of bigints
 * are slow.
 */
import type { Clock } from "./host.ts"

/** 52 days. At twice that, a number could no longer tell one nanosecond from the next. */
const maxTime = 2 ** 52

export class Timeline {
  clock: Clock | undefined
  /** The time at the last `look`. */
  now = 0
  private zero = BigInt(0)
  private readonly onShift: (delta: number) => void

  /** `onShift` is called when zero has been moved: what was noted as time t is time t + delta from then on. */
  constructor(onShift: (delta: number) => void) {
    this.onShift = onShift
  }

  /** Brings `now` up to date. Before the first `follow` there is no time to look at. */
  update(): void {
    if (this.clock === undefined) return
    this.now = Number(this.clock.monotonicTimeNanosUnsafe() - this.zero)
    if (this.now > maxTime) {
      const delta = this.now
      this.zero += BigInt(delta)
      this.now = 0
      this.onShift(-delta)
    }
  }

  /** Goes by this clock from now on, as if it were the last one: a meter may outlive the clock that it began with. */
  follow(clock: Clock): void {
    if (clock === this.clock) return
    this.update()
    this.clock = clock
    this.zero = clock.monotonicTimeNanosUnsafe() - BigInt(this.now)
  }
}
