/**
 * Keeps results until they are read, as they become available or in the order of the input; the first failure decides. For
 * `amap`.
 */
import { Fifo } from "../data/fifo.ts"
import type { Collector } from "../run/run.ts"

const noResult = Symbol()

export class Feed<B> implements Collector<B, unknown> {
  private readonly isOrdered: boolean
  readonly flush: () => void
  /** Results that may be read. */
  private readonly ready = new Fifo<B>()
  /** With `ordered`: results that wait for an earlier one, by index. */
  private readonly early = new Map<number, B | typeof noResult>()
  /** With `ordered`: the index of the next result. */
  private nextIndex = 0
  private skipped = 0

  /** `flush` is called when the run can start nothing more for now. */
  constructor(isOrdered: boolean, flush: () => void) {
    this.isOrdered = isOrdered
    this.flush = flush
  }

  /** How many results may be read. */
  get size(): number {
    return this.ready.size
  }

  succeeded(index: number, value: B): boolean {
    if (!this.isOrdered) {
      this.ready.push(value)
    } else if (index !== this.nextIndex) {
      this.early.set(index, value)
    } else {
      this.ready.push(value)
      this.advance()
    }
    return false
  }

  failed(): boolean {
    return true
  }

  /** There will be no result of that index. */
  skip(index: number): void {
    if (!this.isOrdered) {
      this.skipped++
    } else if (index !== this.nextIndex) {
      this.early.set(index, noResult)
    } else {
      this.skipped++
      this.advance()
    }
  }

  /** How many results have been skipped since the last call. With `ordered`, one is skipped when it would be next. */
  takeSkipped(): number {
    const { skipped } = this
    this.skipped = 0
    return skipped
  }

  /** Moves on by one index, and by those whose results have come already. */
  private advance(): void {
    while (this.early.has(++this.nextIndex)) {
      const value = this.early.get(this.nextIndex)!
      this.early.delete(this.nextIndex)
      if (value === noResult) this.skipped++
      else this.ready.push(value)
    }
  }

  /** Takes the next result. There must be one. */
  shift(): B {
    return this.ready.shift()
  }

  /** Takes the next results, at most so many. */
  take(max: number): Array<B> {
    return this.ready.take(max)
  }

  /** Drops the results that have not been read. */
  clear(): void {
    this.ready.clear()
    this.early.clear()
  }
}
