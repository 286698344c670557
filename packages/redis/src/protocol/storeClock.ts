/**
 * What a session knows of the store's time, from what it has exchanged with the store.
 *
 * At some instant between `sent` and `received`, by the session's monotonic clock, the store's time was in [T, T + 1). Neither clock
 * runs faster than the other by more than `drift`. So at a local time l, which is not before `received`,
 *
 *     T + (l − received) (1 − drift)  ≤  store's time  <  T + 1 + (l − sent) (1 + drift)
 *
 * Each bound depends on l in the same way for all samples, so the best of them stays the best: the two bounds are all that is
 * kept. No assumption is made about which way took how long, and the wall clock of the session plays no part.
 *
 * A sample that puts the lower bound above the upper one contradicts the others: a clock was set, or stood still while the machine
 * slept. Then the samples before it are void. `steps` counts that.
 */

/** The two clocks differ by no more than this, as a share: 500 ppm. */
export const drift = 0.0005

export class StoreClock {
  /** `T − received (1 − drift)`, the greatest of all. */
  private low = -Infinity
  /** `T + 1 − sent (1 + drift)`, the least of all. */
  private high = Infinity
  steps = 0

  /** Notes an exchange. All times are in microseconds; `time` is the `now` of the answer. */
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

  /** The store's time is no earlier, at the local time `now`. */
  least(now: number): number {
    return this.low + now * (1 - drift)
  }

  /** The store's time is no later, at the local time `now`. */
  most(now: number): number {
    return this.high + now * (1 + drift)
  }

  /** The first local time at which the store's time is surely `time` or later. */
  reaches(time: number): number {
    return (time - this.low) / (1 - drift)
  }
}
