/**
 * The arithmetic behind `maxPerSecond` and `maxBurst`: given what has started so far, when may the next task start?
 * It knows neither clocks nor fibers. All times are numbers of nanoseconds on one time line, and every decision
 * depends on the times passed in alone.
 *
 * Two rules, and a start has to satisfy both:
 *
 * 1. **Even spread.** The generic cell rate algorithm (GCRA, ITU-T I.371, the virtual scheduling variant): starts are
 *    dealt slots one interval apart, and a slot that nobody waited for is not kept, except for `burst - 1` of them.
 * 2. **The window.** Start n falls at least R intervals after start n − R, with R = max(1, ⌊rate⌋, burst). This is
 *    what the limit promises; rule 1 alone, once it catches up lateness or allows bursts, would let more through.
 *
 * A start that comes late only because a timer or the event loop was late keeps its slot, so that the next ones catch
 * up, by `catchUp` at the most. What waited for something else (a permit, the reader) had no slot to keep: time in
 * which tasks are held back does not count at all, and earns no credit for a burst.
 */
import { latestStart, resizedLog, StartLog } from "./startLog.ts"

/**
 * Real lateness that is caught up. Stalls of 5 ms cost whole percents of the rate where less than that is caught up, and 0.2 %
 * with 6 ms. 10 ms are such a stall and a turn of our own (`eventLoop.ts`) on top.
 */
export const catchUp = 10_000_000

const second = 1_000_000_000

/** How the time since the last event was spent. */
type Mode =
  /** Nothing waited: credit for a burst accrues. */
  | "idle"
  /** The first in line waited for its slot alone. */
  | "pacing"
  /** The first in line waited for something else. */
  | "blocked"

export class Gcra {
  // Not all private, but for `resizedGcra` alone: a program without meters does not need it.
  readonly rate: number
  readonly burst: number
  readonly maxStarts: number
  /** Length of the window of rule 2, rounded up to the nanosecond. */
  readonly window: number
  starts: StartLog
  /**
   * Where the starts would have been on a punctual event loop; only bursts need it. Without it, the window would
   * deal a burst's starts one window later again as a burst, every window anew.
   */
  nominal: StartLog | undefined

  /** The next slot is `base + steps / rate`: multiplying, unlike adding up intervals, gathers no rounding errors. */
  base = -Infinity
  private steps = 0
  /** No start may claim to have been due before this: the moment at which the first in line began to wait for its slot. */
  floor = -Infinity
  mode: Mode = "idle"
  since = -Infinity

  constructor(rate: number, burst: number) {
    this.rate = rate
    this.burst = burst
    this.maxStarts = Math.max(1, Math.floor(rate), burst)
    this.window = Math.ceil((this.maxStarts / rate) * second)
    this.starts = new StartLog(this.maxStarts)
    this.nominal = burst > 1 ? new StartLog(this.maxStarts) : undefined
  }

  /** The earliest instant for the next start, or for the one after so many that start now; may lie in the past. */
  due(before = 0): number {
    const slot = this.slot() + (before * second) / this.rate
    return Math.max(Math.ceil(slot), this.starts.oldest(before) + this.window)
  }

  /** The earliest instant at which a task can start after so many others. It may start later than that. */
  dueAfter(before: number): number {
    return Math.max(this.due(), Math.ceil(this.slot() + (before * second) / this.rate))
  }

  /** Something waits now, for its slot alone (`"pacing"`) or for something else first (`"blocked"`); or nothing does. */
  setMode(mode: Mode, now: number): void {
    if (this.mode === "blocked") {
      // As if the time had not passed.
      if (this.slot() <= this.since) this.delay(now - this.since)
      else if (this.slot() < now) this.rebase(now, 0)
    } else if (this.mode === "idle" && mode !== "idle") {
      const credit = this.burst - 1
      if (this.slot() < now - (credit * second) / this.rate) this.rebase(now, -credit)
      this.floor = now
    }
    this.mode = mode
    this.since = now
  }

  /** Books a start at `now`, which is not before `due()`, and returns its number. The mode must be `"pacing"`. */
  start(now: number): number {
    const late = now - Math.max(this.slot(), this.floor)
    if (late > catchUp) this.delay(late - catchUp)
    // No later slot comes before this one, so what lies a window before it holds back none.
    this.nominal?.push(Math.max(this.slot(), this.floor), this.slot() - this.window)
    if (++this.steps >= this.rate) {
      // A second's worth of slots, for whole rates exactly: keeps `steps` small, hence the products exact.
      this.base += (this.steps * second) / this.rate
      this.steps = 0
    }
    if (this.nominal !== undefined) this.skipTakenSlots(this.nominal)
    return this.starts.push(now, now - this.window)
  }

  /**
   * The start of that number has been seen by its task at `time` at the latest. The limiter was checked before the task was
   * called, this is noted after, so that windows hold for whatever instant in between the task itself reads.
   */
  amend(number: number, time: number): void {
    this.starts.amend(number, time)
  }

  /** Moves the time line. */
  shift(delta: number): void {
    this.base += delta
    this.floor += delta
    this.since += delta
    this.starts.shift(delta)
    this.nominal?.shift(delta)
  }

  /** Even a punctual start would be too early for the window before this. */
  skipTakenSlots(nominal: StartLog): void {
    const earliest = nominal.oldest() + this.window
    if (this.slot() < earliest) this.rebase(earliest, 0)
  }

  private slot(): number {
    return this.base + (this.steps * second) / this.rate
  }

  private rebase(base: number, steps: number): void {
    this.base = base
    this.steps = steps
  }

  private delay(by: number): void {
    this.base += by
    this.floor += by
  }
}

/**
 * A pace of another rate that goes on where that one is at `now`: the next slot comes one interval of the new rate
 * after the last start, and the starts that it remembers count in the new windows. Those are all that a new
 * window reaches, unless it is longer than the old one.
 */
export const resizedGcra = (gcra: Gcra, rate: number, burst: number, now: number): Gcra => {
  const next = new Gcra(rate, burst)
  next.starts = resizedLog(gcra.starts, next.maxStarts)
  // Starts that were dealt faster than this pace are to it what a burst is.
  next.nominal = resizedLog(gcra.nominal ?? gcra.starts, next.maxStarts)
  next.base = latestStart(next.nominal) + second / rate
  next.mode = gcra.mode
  next.since = gcra.since
  if (gcra.mode !== "idle") {
    // Under the new rate nobody has waited yet.
    if (next.base < now) next.base = now
    next.floor = now
  }
  next.skipTakenSlots(next.nominal)
  return next
}

/** The pace of a rate that limits at all. */
export const gcraOf = (rate: number, burst: number): Gcra | undefined =>
  rate === Infinity || burst === Infinity ? undefined : new Gcra(rate, burst)
