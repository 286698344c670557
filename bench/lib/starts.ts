/** When tasks started, as they saw it themselves. */
import { mostInWindow } from "./stats.ts"

const second = 1e9
const origin = process.hrtime.bigint()

export class Starts {
  private readonly times: Float64Array
  private count = 0
  private running = 0
  peak = 0

  constructor(most: number) {
    this.times = new Float64Array(most)
  }

  /** To be called by a task, first thing. */
  stamp(): void {
    this.times[this.count++] = Number(process.hrtime.bigint() - origin)
  }

  /** To be called by a task that does not end at once, in addition. */
  enter(): void {
    this.peak = Math.max(this.peak, ++this.running)
  }

  leave(): void {
    this.running--
  }

  get length(): number {
    return this.count
  }

  /** Starts a second, from the start of one number to the start of another. */
  rate(from: number, to: number): number {
    return ((to - from) * second) / (this.times[to]! - this.times[from]!)
  }

  /** The most starts in any half-open window of that many seconds. */
  mostIn(seconds: number): number {
    // Whole nanoseconds: a start exactly at the end of a window lies outside.
    return mostInWindow(this.times.subarray(0, this.count), Math.floor(seconds * second))
  }
}
