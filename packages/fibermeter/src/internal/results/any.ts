/**
 * Keeps the first success, which decides, and all failures. With `untilSettled`, the first failure decides, too. For
 * `runAny`.
 */
import type { Collector } from "../run/run.ts"

export class Any<B, F> implements Collector<B, F> {
  /** The success that has decided. In an object, since the value may be `undefined`. */
  winner: { readonly value: B } | undefined
  /** By index. */
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
