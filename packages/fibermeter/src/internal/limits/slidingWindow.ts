/**
 * The arithmetic of a sliding window: at most `limit` spent in any half-open window of length `per`, wherever it is
 * laid. Like `gcra.ts` it knows neither clocks nor fibers; all times are nanoseconds on one time line.
 *
 * It is the sliding window log: what has been spent, and when, is kept for as long as a window can reach it. To spend
 * c at t is allowed if what was spent after t − per leaves room for it; then every window that ends at t holds, and each
 * window holds that ends where something was spent, hence all do.
 *
 * The log grows and shrinks with what a window reaches. It has at most `maxEntries` entries, three quarters of a
 * megabyte. Should it fill up, what is spent within a
 * 16,384th of the window shares an entry from then on, at the time of the latest of it. So it is taken to have been spent
 * later than it was and counts for longer, never for less: no more gets through, and a start waits at most that
 * 16,384th of the window too long.
 */
const maxEntries = 32_768
/** The length to begin with: V8 keeps 64 bytes inside of a typed array, and allocates more than that outside of its heap. */
const minEntries = 8
const slices = maxEntries / 2

export class SlidingWindow {
  limit: number
  per: number
  /** The entries, oldest first, are at `head`, `head + 1`, …, modulo the length of these three. */
  private times = new Float64Array(minEntries)
  private costs = new Float64Array(minEntries)
  /** The number of the first spending of each entry. */
  private numbers = new Float64Array(minEntries)
  private head = 0
  private size = 0
  private count = 0
  private spent = 0
  /** What is spent less than this apart shares an entry. */
  private width = 0
  private lastBegan = -Infinity
  /** The last answer of `opensAt` that took a search, and to what; `NaN` once it holds no longer. */
  private searchedFor = NaN
  private found = -Infinity

  constructor(limit: number, per: number) {
    this.limit = limit
    this.per = per
  }

  /** When that much may be spent if nothing is before; `-Infinity` for now. To be asked only for what the limit allows. */
  opensAt(cost: number, now: number): number {
    this.expire(now)
    if (this.spent + cost <= this.limit) return -Infinity
    // Whoever waits asks again and again, and only what is spent meanwhile could change the answer.
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

  /** Spends, and returns the number of this spending. */
  spend(cost: number, now: number): number {
    this.spent += cost
    this.searchedFor = NaN
    this.note(now, cost, this.count)
    return this.count++
  }

  /** The spending of that number came later than noted, by `time` at the latest. */
  amend(number: number, time: number): void {
    let place = this.placeOf(number)
    if (place < 0) return
    // What one task starts before it has itself been seen to start is noted after it, and so must not come before it.
    while (place < this.size && this.times[this.at(place)]! < time) this.times[this.at(place++)] = time
    this.searchedFor = NaN
  }

  /** The spending of that number was more, or less, than noted. What no window reaches any more is left as it is. */
  correct(number: number, by: number): void {
    const place = this.placeOf(number)
    if (place < 0) return
    const entry = this.at(place)
    const change = Math.max(by, -this.costs[entry]!)
    this.costs[entry]! += change
    this.spent += change
    this.searchedFor = NaN
  }

  /** Changes the limit. What has been spent goes on counting, unless the old window has lost sight of it already. */
  resize(limit: number, per: number, now: number): void {
    this.expire(now)
    this.limit = limit
    this.per = per
    if (this.width > 0) this.width = per / slices
    this.lastBegan = -Infinity
    this.searchedFor = NaN
  }

  shift(delta: number): void {
    for (let place = 0; place < this.size; place++) this.times[this.at(place)]! += delta
    this.lastBegan += delta
    this.searchedFor = NaN
  }

  private expire(now: number): void {
    while (this.size > 0 && this.times[this.head]! + this.per <= now) {
      this.spent -= this.costs[this.head]!
      this.head = this.at(1)
      this.size--
      this.searchedFor = NaN
    }
    // Costs may be fractions, whose sums come out a little off. Nothing spent is nothing.
    if (this.size === 0) this.spent = 0
    // More entries have been dropped since the last copy than this one copies.
    if (this.size <= this.times.length / 8 && this.times.length > minEntries) this.unroll(this.times.length / 2)
  }

  /** When so much of what was spent first will have gone out of the window. */
  private search(toFree: number): number {
    let place = 0
    let freed = this.costs[this.head]!
    while (freed < toFree && place < this.size - 1) freed += this.costs[this.at(++place)]!
    return this.times[this.at(place)]! + this.per
  }

  /** The place of the entry with that spending; negative if it has gone. */
  private placeOf(number: number): number {
    let low = 0
    let high = this.size
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.numbers[this.at(middle)]! <= number) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Adds to the last entry where that is near enough, and otherwise an entry. */
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

  /** Copies the entries to the beginning of arrays of that length. */
  private unroll(length: number): void {
    const copy = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(length)
      for (let place = 0; place < this.size; place++) to[place] = from[this.at(place)]!
      return to
    }
    const times = copy(this.times)
    const costs = copy(this.costs)
    this.numbers = copy(this.numbers)
    this.times = times
    this.costs = costs
    this.head = 0
  }

  /** Lets entries be shared from now on, and shares those that are there. */
  private merge(): void {
    this.unroll(maxEntries)
    this.width = this.per / slices
    const { costs, numbers, size, times } = this
    // Noted anew, none comes to lie behind where it was.
    this.size = 0
    for (let place = 0; place < size; place++) this.note(times[place]!, costs[place]!, numbers[place]!)
  }

  private at(place: number): number {
    return (this.head + place) % this.times.length
  }
}
