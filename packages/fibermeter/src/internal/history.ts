/**
 * When the last starts happened, as far back as a sliding window reaches.
 *
 * "At most R starts in any half-open window of W" holds for every window, wherever it is laid, exactly if start n
 * falls no earlier than start n − R plus W. So all that has to be known of the past is the time of one start: the one
 * R places back.
 *
 * Up to `maxSlots` starts each have a slot of their own. Beyond that, `perSlot` starts share one, which keeps the
 * latest of their times: the answer may then be later than the truth, never earlier, so no more than R get through,
 * while the memory stays at half a megabyte.
 */
const maxSlots = 65_536

export class History {
  private readonly places: number
  private readonly perSlot: number
  /** The latest start of each slot; `-Infinity` where none was. One slot more than R covers: the one being filled. */
  private readonly slots: Float64Array
  private count = 0

  constructor(places: number) {
    this.places = places
    this.perSlot = Math.ceil(places / maxSlots)
    this.slots = new Float64Array(Math.ceil(places / this.perSlot) + 1).fill(-Infinity)
  }

  /** The time of the start R places back from the next one, or `-Infinity` if there have not been so many. */
  oldest(): number {
    const back = this.count - this.places
    return back < 0 ? -Infinity : this.slots[this.slotOf(back)]!
  }

  /** The time of the last start, or `-Infinity`. */
  latest(): number {
    return this.count === 0 ? -Infinity : this.slots[this.slotOf(this.count - 1)]!
  }

  /** The same past, as far as it is remembered, for another number of places. Starts keep their numbers. */
  resized(places: number): History {
    const next = new History(places)
    next.count = Math.max(0, this.count - Math.min(this.places, places))
    while (next.count < this.count) next.push(this.slots[this.slotOf(next.count)]!)
    return next
  }

  /** Notes a start and returns its number, by which `amend` can move it. */
  push(time: number): number {
    const number = this.count++
    // The first of a slot finds the time of a start that is R places back and more, hence earlier.
    this.amend(number, time)
    return number
  }

  /** Moves a start that is still remembered to a later time. */
  amend(number: number, time: number): void {
    const slot = this.slotOf(number)
    if (time > this.slots[slot]!) this.slots[slot] = time
  }

  /** Moves the whole past, for a clock whose zero has been moved. */
  shift(delta: number): void {
    for (let i = 0; i < this.slots.length; i++) this.slots[i]! += delta
  }

  private slotOf(number: number): number {
    return Math.floor(number / this.perSlot) % this.slots.length
  }
}
