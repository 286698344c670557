/**
 * What becomes of the outcomes of tasks, verb by verb.
 */
import { Fifo } from "../data/fifo.ts"
import type { Collector } from "../run/run.ts"

/** Keeps nothing; the first failure decides. For `runOnEach`. */
export const nothing: Collector<unknown, unknown> = {
  succeeded: () => false,
  failed: () => true
}

/** An array that is lengthened beyond 2 ** 25 places at once becomes a hash table in V8, and soon too large a one. */
const mostDoubled = 2 ** 23

/** Keeps every result in its place; the first failure decides. For `runAll`. */
export class All<B> implements Collector<B, unknown> {
  private readonly places: Array<B> = []
  private count = 0

  /** Where it is known how many results there will be, an array that need not grow takes half the time. */
  constructor(items: unknown) {
    if (Array.isArray(items)) this.places.length = items.length
  }

  succeeded(index: number, value: B): boolean {
    const { places } = this
    // Left to itself an array grows by half as much again: up to a million places, that took twice as long as this does.
    if (index >= places.length && index < mostDoubled) places.length = 2 * index + 16
    places[index] = value
    this.count++
    return false
  }

  failed(): boolean {
    return true
  }

  /** All of them, in the end: one for each item that there was in the end, too. */
  get results(): Array<B> {
    this.places.length = this.count
    return this.places
  }
}

/** The first success decides, or with `settled` the first end of any kind. For `runAny`. */
export class Any<B, F> implements Collector<B, F> {
  /** The success that has decided, boxed, since it may be `undefined`. */
  winner: { readonly value: B } | undefined
  readonly failures: Array<F> = []
  private readonly untilSettled: boolean

  constructor(untilSettled: boolean) {
    this.untilSettled = untilSettled
  }

  succeeded(_index: number, value: B): boolean {
    this.winner = { value }
    return true
  }

  failed(index: number, failure: F): boolean {
    this.failures[index] = failure
    return this.untilSettled
  }
}

const none = Symbol()

/** Keeps results until they are read; the first failure decides. For `amap`. */
export class Feed<B> implements Collector<B, unknown> {
  private readonly isOrdered: boolean
  /** Called whenever the run has come to a rest. */
  readonly flush: () => void
  /** Results that may be read. */
  private readonly ready = new Fifo<B>()
  /** With `ordered`: results that came before their turn. */
  private readonly early = new Map<number, B | typeof none>()
  private turn = 0
  private skipped = 0

  constructor(isOrdered: boolean, flush: () => void) {
    this.isOrdered = isOrdered
    this.flush = flush
  }

  get size(): number {
    return this.ready.size
  }

  succeeded(index: number, value: B): boolean {
    if (!this.isOrdered) {
      this.ready.push(value)
    } else if (index !== this.turn) {
      this.early.set(index, value)
    } else {
      this.ready.push(value)
      this.nextTurn()
    }
    return false
  }

  /** There will be no result of that index. */
  skip(index: number): void {
    if (!this.isOrdered) {
      this.skipped++
    } else if (index !== this.turn) {
      this.early.set(index, none)
    } else {
      this.skipped++
      this.nextTurn()
    }
  }

  /** How many there are, since this was last asked, whose turn has come and that nobody will read. */
  takeSkipped(): number {
    const { skipped } = this
    this.skipped = 0
    return skipped
  }

  private nextTurn(): void {
    while (this.early.has(++this.turn)) {
      const value = this.early.get(this.turn)!
      this.early.delete(this.turn)
      if (value === none) this.skipped++
      else this.ready.push(value)
    }
  }

  failed(): boolean {
    return true
  }

  /** The next result; there has to be one. */
  shift(): B {
    return this.ready.shift()
  }

  /** The next results, at most so many. */
  take(most: number): Array<B> {
    return this.ready.take(most)
  }

  /** Drops what has not been read. */
  clear(): void {
    this.ready.clear()
    this.early.clear()
  }
}
