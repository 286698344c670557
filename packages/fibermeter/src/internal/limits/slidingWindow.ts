/**
 * The arithmetic of a sliding window: at most `limit` is spent in any half-open window of length `per`, at any offset. Like
 * `gcra.ts` it knows neither clocks nor fibers. All times are nanoseconds on one time line.
 *
 * It is a sliding-window log: what was spent, and when, is kept for as long as a window can reach it. To spend c at t is
 * allowed if what was spent after t − per leaves room for it. Then the window that ends at t holds, and so does each window
 * that ends where something is spent, hence all windows.
 *
 * The log grows and shrinks with what a window reaches. It has at most `maxEntries` entries, three quarters of a megabyte. If
 * it is full, what is spent within a 16,384th of the window shares an entry from then on, at the latest of its times. So it
 * counts for longer, never for less: no limit is exceeded, and a start waits at most that 16,384th of the window too long.
 */
const maxEntries = 32_768
/** The initial length: V8 keeps 64 bytes inside of a typed array, and allocates more than that outside of its heap. */
const minEntries = 8
export const slices = maxEntries / 2

export class SlidingWindow {
  limit: number
  per: number
  // Protected is what `ReportedWindow` uses.
  /** The entries, oldest first, are at `head`, `head + 1`, …, modulo the length of these three. */
  protected times = new Float64Array(minEntries)
  protected costs = new Float64Array(minEntries)
  /** The number of the first start of each entry. */
  protected numbers = new Float64Array(minEntries)
  private head = 0
  protected size = 0
  private count = 0
  protected spent = 0
  /** What is spent within this time shares an entry. */
  protected width = 0
  protected lastBegan = -Infinity
  /** The last result of a search, and for which cost; `NaN` once it is out of date. */
  protected searchedFor = NaN
  private found = -Infinity

  constructor(limit: number, per: number) {
    this.limit = limit
    this.per = per
  }

  /** When that much may be spent, at most the limit, if nothing is spent before; `-Infinity` for now. */
  opensAt(cost: number, now: number): number {
    this.expire(now)
    if (this.spent + cost <= this.limit) return -Infinity
    // A waiter asks repeatedly, and only what is spent meanwhile changes the answer.
    if (this.searchedFor !== cost) {
      this.searchedFor = cost
      this.found = this.search(this.spent + cost - this.limit)
    }
    return this.found
  }

  /** What may be spent now. */
  room(now: number): number {
    this.expire(now)
    return Math.max(0, this.limit - this.spent)
  }

  /** Spends, and returns a number by which `amend` and `correct` find it. */
  spend(cost: number, now: number): number {
    this.spent += cost
    this.searchedFor = NaN
    this.note(now, cost, this.count)
    return this.count++
  }

  /** What has that number was spent later than recorded, by `time` at the latest. */
  amend(number: number, time: number): void {
    let position = this.positionOf(number)
    if (position < 0) return
    // What a task starts before its own start is confirmed is recorded after it, and so must not come before it.
    while (position < this.size && this.times[this.at(position)]! < time) this.times[this.at(position++)] = time
    this.searchedFor = NaN
  }

  /** What has that number was more, or less. What no window reaches any more stays as it is. */
  correct(number: number, by: number): void {
    const position = this.positionOf(number)
    if (position < 0) return
    const entry = this.at(position)
    const change = Math.max(by, -this.costs[entry]!)
    this.costs[entry]! += change
    this.spent += change
    this.searchedFor = NaN
  }

  shift(delta: number): void {
    for (let position = 0; position < this.size; position++) this.times[this.at(position)]! += delta
    this.lastBegan += delta
    this.searchedFor = NaN
  }

  protected expire(now: number): void {
    while (this.size > 0 && this.times[this.head]! + this.per <= now) {
      this.spent -= this.costs[this.head]!
      this.head = this.at(1)
      this.size--
      this.searchedFor = NaN
    }
    // Sums of fractions have rounding errors.
    if (this.size === 0) this.spent = 0
    // At least as many entries have been dropped since the last copy as this one copies.
    if (this.size <= this.times.length / 8 && this.times.length > minEntries) this.unroll(this.times.length / 2)
  }

  /** When so much of what was spent first will have left the window. */
  private search(toFree: number): number {
    let position = 0
    let freed = this.costs[this.head]!
    while (freed < toFree && position < this.size - 1) freed += this.costs[this.at(++position)]!
    return this.times[this.at(position)]! + this.per
  }

  /** The position of the entry with that number; negative if it has been dropped. */
  private positionOf(number: number): number {
    let low = 0
    let high = this.size
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.numbers[this.at(middle)]! <= number) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Adds to the last entry if that is near enough, otherwise adds an entry. */
  private note(time: number, cost: number, number: number): void {
    if (this.size > 0 && time - this.lastBegan < this.width) {
      const last = this.at(this.size - 1)
      this.costs[last]! += cost
      this.times[last] = time
      return
    }
    if (this.size === this.times.length) this.makeRoom()
    this.lastBegan = time
    const entry = this.at(this.size++)
    this.times[entry] = time
    this.costs[entry] = cost
    this.numbers[entry] = number
  }

  private makeRoom(): void {
    if (this.size < maxEntries) this.unroll(this.size * 2)
    else this.merge()
  }

  /** Copies the entries to the beginning of new arrays of that length. */
  private unroll(length: number): void {
    const copy = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(length)
      for (let position = 0; position < this.size; position++) to[position] = from[this.at(position)]!
      return to
    }
    const times = copy(this.times)
    const costs = copy(this.costs)
    this.numbers = copy(this.numbers)
    this.times = times
    this.costs = costs
    this.head = 0
  }

  /** Merges entries, now and from now on. */
  private merge(): void {
    this.unroll(maxEntries)
    this.width = this.per / slices
    const { costs, numbers, size, times } = this
    // Recorded anew, no entry moves back.
    this.size = 0
    for (let position = 0; position < size; position++)
      this.note(times[position]!, costs[position]!, numbers[position]!)
  }

  protected at(position: number): number {
    return (this.head + position) % this.times.length
  }
}
