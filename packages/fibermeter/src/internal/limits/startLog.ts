/**
 * The times of the last starts, as far back as a sliding window reaches.
 *
 * "At most R starts in any half-open window of W" holds for every window, at any offset, exactly if start n falls no
 * earlier than start n − R plus W. So the only time needed from the past is that of one start: the one R before the next.
 *
 * The times are in a ring buffer that has the length the past needs, not the one the limit would allow: when it is full,
 * it first forgets what no window reaches any more, and then doubles or halves if it has to. A limit of 60,000 a second
 * that sees ten starts a second takes half a kilobyte, and each start still costs constant amortised time.
 *
 * Up to `maxSlots` starts each have a slot of their own. Beyond that, `perSlot` starts share one, which keeps the
 * latest of their times: the answer may then be later than the truth, never earlier, so no more than R get through,
 * while the memory stays at half a megabyte.
 */
const maxSlots = 65_536

/** The length to begin with: V8 keeps 64 bytes inside of a typed array, and allocates more than that outside of its heap. */
const firstSlots = 8

/** As many of the last slots are never forgotten: a limit that is resized may get a longer window. */
const alwaysKept = 32

export class StartLog {
  // Not private, but for the functions below alone: a program without meters needs none of those.
  readonly maxStarts: number
  readonly perSlot: number
  /** The length that is enough for any past: one slot more than R starts fill, which is the one being filled. */
  private readonly maxLength: number
  /** The latest start of each slot; slot n is at n modulo the length. */
  slots: Float64Array
  /** The slots that are remembered: from `first` on, before `end`. */
  first = 0
  end = 0
  count = 0

  constructor(places: number) {
    this.maxStarts = places
    this.perSlot = Math.ceil(places / maxSlots)
    this.maxLength = Math.ceil(places / this.perSlot) + 1
    this.slots = new Float64Array(Math.min(firstSlots, this.maxLength))
  }

  /**
   * The time of the start R before the next one, or before the one after so many more; `-Infinity` if there is none, or if
   * it has been forgotten; `Infinity` if it is one of those to come.
   */
  oldest(before = 0): number {
    const number = this.count + before - this.maxStarts
    if (number >= this.count) return Infinity
    const slot = this.slotOf(number)
    return slot < this.first ? -Infinity : this.slots[slot % this.slots.length]!
  }

  /**
   * Notes a start and returns its number, by which `amend` can move it. Starts up to the time `forgettable` may be
   * forgotten: no window reaches them any more.
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

  /** Moves a start to a later time, if it is still remembered. */
  amend(number: number, time: number): void {
    const slot = this.slotOf(number)
    if (slot < this.first) return
    const place = slot % this.slots.length
    if (time > this.slots[place]!) this.slots[place] = time
  }

  /** Moves the whole past, for a clock whose zero has been moved. */
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

/** The same past, as far as it is remembered, for another number of places. Starts keep their numbers. */
export const resizedLog = (log: StartLog, places: number): StartLog => {
  const next = new StartLog(places)
  next.count = Math.max(0, log.count - Math.min(log.maxStarts, places), log.first * log.perSlot)
  next.first = next.end = next.slotOf(next.count)
  while (next.count < log.count) next.push(log.slots[log.slotOf(next.count) % log.slots.length]!, -Infinity)
  return next
}
