/**
 * Keeps all results, by index; the first failure decides. For `runAll`.
 */
import type { Collector } from "../run/run.ts"

/** V8 turns an array that grows by more than 2 ** 25 elements at once into a hash table, which soon becomes too large. */
const maxDoubled = 2 ** 23

export class All<B> implements Collector<B, unknown> {
  private readonly elements: Array<B> = []
  private count = 0

  /** If the number of results is known, the array need not grow, which takes half the time. */
  constructor(items: unknown) {
    if (Array.isArray(items)) this.elements.length = items.length
  }

  succeeded(index: number, value: B): boolean {
    const { elements } = this
    // Arrays grow by half of their length. Up to a million elements, that took twice as long as doubling it.
    if (index >= elements.length && index < maxDoubled) elements.length = 2 * index + 16
    elements[index] = value
    this.count++
    return false
  }

  failed(): boolean {
    return true
  }

  /** The results at the end, one for each item: an array of items may have grown or shrunk meanwhile. */
  get results(): Array<B> {
    this.elements.length = this.count
    return this.elements
  }
}
