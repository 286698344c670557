/**
 * What a session knows about the store's time, from its exchanges with the store.
 *
 * At some instant between `sent` and `received`, by the session's monotonic clock, the store's time was in [T, T + 1). Neither clock
 * runs faster than the other by more than `drift`. So at a local time l, which is not before `received`,
 *
 *     T + (l − received) (1 − drift)  ≤  store's time  <  T + 1 + (l − sent) (1 + drift)
 *
 * Each bound depends on l in the same way for all samples, so the best bound stays the best, and only the two best bounds are
 * kept. No assumption is made about the delay in either direction, and the wall clock of the session is not used.
 *
 * A sample that puts the lower bound above the upper one contradicts the others: a clock was set, or stood still while the machine
 * slept. Then earlier samples are discarded. `steps` counts this.
 */

/** The greatest relative drift of the two clocks: 500 ppm. */
export const drift = 0.0005

export class StoreClock {
  /** The greatest `T − received (1 − drift)` of all samples. */
  private low = -Infinity
  /** The least `T + 1 − sent (1 + drift)` of all samples. */
  private high = Infinity
  steps = 0

  /** Adds an exchange. All times are in microseconds; `time` is the `now` of the answer. */
  sample(sent: number, received: number, time: number): void {
    const low = time - received * (1 - drift)
    const high = time + 1 - sent * (1 + drift)
    this.low = Math.max(this.low, low)
    this.high = Math.min(this.high, high)
    if (this.least(received) > this.most(received)) {
      this.steps++
      this.low = low
      this.high = high
    }
  }

  /** The earliest possible time of the store at the local time `now`. */
  least(now: number): number {
    return this.low + now * (1 - drift)
  }

  /** The latest possible time of the store at the local time `now`. */
  most(now: number): number {
    return this.high + now * (1 + drift)
  }

  /** The first local time at which the store's time is certainly `time` or later. */
  reaches(time: number): number {
    return (time - this.low) / (1 - drift)
  }
}
