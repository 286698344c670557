/**
 * The times of the last starts, as far back as a window reaches.
 *
 * "At most R starts in any half-open window of length W" holds for every window, at any offset, if and only if each start n
 * comes no earlier than start n − R plus W. So a decision needs one time of the past: that of the start R before the next.
 *
 * The times are in a ring buffer. When it is full, it first drops what no window reaches any more, then doubles or halves if
 * it has to. So its length follows the starts and not the limit: with a limit of 60,000 a second and ten starts a second it
 * takes half a kilobyte. A start takes constant amortised time.
 *
 * Up to `maxSlots` starts have a slot each. Beyond that, `perSlot` starts share one, which has the latest of their times. The
 * answer may then be later than the truth, but never earlier, so no limit is exceeded, and the memory stays at half a megabyte.
 */
const maxSlots = 65_536

/** The initial length: V8 keeps 64 bytes inside of a typed array, and allocates more than that outside of its heap. */
const firstSlots = 8

/** How many of the last slots are never dropped: a limit that is resized can get a longer window. */
const alwaysKept = 32

export class StartLog {
  // Some members are public only for the functions below, which a program without meters does not need.
  readonly maxStarts: number
  readonly perSlot: number
  /** The greatest length that is needed: as many slots as R starts fill, and one that is being filled. */
  private readonly maxLength: number
  /** The latest start of each slot; slot n is at n modulo the length. */
  slots: Float64Array
  /** The slots that are kept: from `first` on, before `end`. */
  first = 0
  end = 0
  count = 0

  constructor(maxStarts: number) {
    this.maxStarts = maxStarts
    this.perSlot = Math.ceil(maxStarts / maxSlots)
    this.maxLength = Math.ceil(maxStarts / this.perSlot) + 1
    this.slots = new Float64Array(Math.min(firstSlots, this.maxLength))
  }

  /**
   * The time of the start R before the next one, or before the one after `before` more. `-Infinity` if there is none, or if
   * it has been dropped; `Infinity` if it has not happened.
   */
  oldest(before = 0): number {
    const number = this.count + before - this.maxStarts
    if (number >= this.count) return Infinity
    const slot = this.slotOf(number)
    return slot < this.first ? -Infinity : this.slots[slot % this.slots.length]!
  }

  /**
   * Records a start and returns its number, by which `amend` can move it. Starts up to the time `forgettable` may be
   * dropped: no window reaches them any more.
   */
  push(time: number, forgettable: number): number {
    const number = this.count++
    if (this.slotOf(number) < this.end) {
      this.amend(number, time)
    } else {
      if (this.end - this.first === this.slots.length) this.makeRoom(forgettable)
      this.slots[this.end++ % this.slots.length] = time
    }
    return number
  }

  /** Moves a start to a later time, if it has not been dropped. */
  amend(number: number, time: number): void {
    const slot = this.slotOf(number)
    if (slot < this.first) return
    const index = slot % this.slots.length
    if (time > this.slots[index]!) this.slots[index] = time
  }

  /** Moves all times, because the zero of the clock has been moved. */
  shift(delta: number): void {
    for (let i = 0; i < this.slots.length; i++) this.slots[i]! += delta
  }

  slotOf(number: number): number {
    return this.perSlot === 1 ? number : Math.floor(number / this.perSlot)
  }

  /**
   * Makes room for one slot. A copy leaves at least half of the new length free, or all that is ever needed, so that the
   * next copy comes after as many starts as it copies slots.
   */
  private makeRoom(forgettable: number): void {
    const { length } = this.slots
    while (this.end - this.first > alwaysKept && this.slots[this.first % length]! <= forgettable) this.first++
    const size = this.end - this.first
    if (size > length / 2 && length < this.maxLength) this.copyTo(Math.min(length * 2, this.maxLength))
    else if (size <= length / 4) this.copyTo(Math.ceil(length / 2))
    else if (size === length) this.first++
  }

  private copyTo(length: number): void {
    const slots = new Float64Array(length)
    for (let n = this.first; n < this.end; n++) slots[n % length] = this.slots[n % this.slots.length]!
    this.slots = slots
  }
}

/** The time of the last start, or `-Infinity`. */
export const latestStart = ({ end, first, slots }: StartLog): number =>
  first === end ? -Infinity : slots[(end - 1) % slots.length]!

/** The same starts, as far as they are kept, for another limit. Starts keep their numbers. */
export const resizedLog = (log: StartLog, maxStarts: number): StartLog => {
  const next = new StartLog(maxStarts)
  next.count = Math.max(0, log.count - Math.min(log.maxStarts, maxStarts), log.first * log.perSlot)
  next.first = next.end = next.slotOf(next.count)
  while (next.count < log.count) next.push(log.slots[log.slotOf(next.count) % log.slots.length]!, -Infinity)
  return next
}
