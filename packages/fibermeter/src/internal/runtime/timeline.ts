/**
 * The time of a limiter: nanoseconds on the monotonic clock since a zero of its own, as numbers, because arithmetic with
 * bigints is slow.
 */
import type { Clock } from "./host.ts"

/** 52 days. From twice that on, a number cannot represent each nanosecond. */
const maxTime = 2 ** 52

export class Timeline {
  clock: Clock | undefined
  /** The time at the last `update`. */
  now = 0
  /** What the clock read at the zero. Set by the first `follow`. */
  private zero!: bigint
  private readonly onShift: (delta: number) => void
  /** Called after each `update`, if there is one. */
  onUpdate: (() => void) | undefined

  /** `onShift` is called when the zero has been moved: what was recorded as t is t + delta from then on. */
  constructor(onShift: (delta: number) => void) {
    this.onShift = onShift
  }

  /** Brings `now` up to date. Before the first `follow` it has no effect. */
  update(): void {
    if (this.clock === undefined) return
    this.now = Number(this.clock.monotonicTimeNanosUnsafe() - this.zero)
    if (this.now > maxTime) {
      const delta = this.now
      this.zero += BigInt(delta)
      this.now = 0
      this.onShift(-delta)
    }
    this.onUpdate?.()
  }

  /** Uses this clock from now on, without a step in time. A meter may outlive the clock that it began with. */
  follow(clock: Clock): void {
    if (clock === this.clock) return
    this.update()
    this.clock = clock
    this.zero = clock.monotonicTimeNanosUnsafe() - BigInt(this.now)
  }
}
