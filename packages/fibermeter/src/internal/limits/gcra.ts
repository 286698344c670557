/**
 * The arithmetic of `maxPerSecond` and `maxBurst`: given the starts so far, when may the next task start? It knows neither
 * clocks nor fibers. All times are nanoseconds on one time line, and decisions depend only on the times passed in.
 *
 * A start has to satisfy two rules:
 *
 * 1. **Even spread.** The generic cell rate algorithm (GCRA, ITU-T I.371, virtual scheduling), which is equivalent to a token
 *    bucket: slots are one interval apart, and unused slots expire, except for `burst - 1` of them.
 * 2. **The window.** Start n comes at least R intervals after start n − R, with R = max(1, ⌊rate⌋, burst). This is what the
 *    limit promises. Rule 1 alone would admit more, since it catches up lateness and allows bursts.
 *
 * A start that is late only because a timer or the event loop was late keeps its slot, so the next starts catch up, by
 * `catchUp` at most. While the first waiter waits for something else (a permit, the reader), no time passes for the rate, and
 * no credit for a burst accrues.
 */
import { latestStart, resizedLog, StartLog } from "./startLog.ts"

/**
 * How much lateness is caught up. With stalls of 5 ms, catching up less than that costs whole percents of the rate, and 6 ms
 * cost 0.2 %. 10 ms are such a stall and a turn of the event loop that is full of starts (`eventLoop.ts`).
 */
export const catchUp = 10_000_000

const second = 1_000_000_000

/** How the time since the last event was spent. */
export type Mode =
  /** Nothing waited: credit for a burst accrues. */
  | "idle"
  /** The first waiter waited for its slot alone. */
  | "pacing"
  /** The first waiter waited for something else. */
  | "blocked"

export class Gcra {
  // Some members are public only for `resizedGcra`, which a program without meters does not need.
  readonly rate: number
  readonly burst: number
  readonly maxStarts: number
  /** Length of the window of rule 2, rounded up to the nanosecond. */
  readonly window: number
  starts: StartLog
  /**
   * When the starts would have come on a punctual event loop. Only bursts need it: without it, the starts of a burst would
   * come one window later as a burst again, and so on.
   */
  nominal: StartLog | undefined

  /** The next slot is `base + steps / rate`: a product, unlike a sum of intervals, accumulates no rounding errors. */
  base = -Infinity
  private steps = 0
  /** When the first waiter began to wait for its slot. No start counts as due before this. */
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

  /** The earliest instant of the next start, or of the one after `before` starts now. It can be in the past. */
  due(before = 0): number {
    const slot = this.slot() + (before * second) / this.rate
    return Math.max(Math.ceil(slot), this.starts.oldest(before) + this.window)
  }

  /** The mode changes at `now`. */
  setMode(mode: Mode, now: number): void {
    if (this.mode === "blocked") {
      // As if no time had passed.
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

  /** Records a start at `now`, which is not before `due()`, and returns its number. The mode must be `"pacing"`. */
  start(now: number): number {
    const late = now - Math.max(this.slot(), this.floor)
    if (late > catchUp) this.delay(late - catchUp)
    // No later slot comes before this one, so starts that are a window earlier restrict none.
    this.nominal?.push(Math.max(this.slot(), this.floor), this.slot() - this.window)
    if (++this.steps >= this.rate) {
      // After the slots of one second, exactly for whole rates: `steps` stays small, so that the products are exact.
      this.base += (this.steps * second) / this.rate
      this.steps = 0
    }
    if (this.nominal !== undefined) this.skipTakenSlots(this.nominal)
    return this.starts.push(now, now - this.window)
  }

  /**
   * The task of that start has been called by `time`. The limit was checked before the call and is corrected after it, so
   * windows hold for the start as the task itself sees it.
   */
  amend(number: number, time: number): void {
    this.starts.amend(number, time)
  }

  /** The time line has moved. */
  shift(delta: number): void {
    this.base += delta
    this.floor += delta
    this.since += delta
    this.starts.shift(delta)
    this.nominal?.shift(delta)
  }

  /** Skips slots that would be too early for the window even on a punctual event loop. */
  skipTakenSlots(nominal: StartLog): void {
    const earliest = nominal.oldest() + this.window
    if (this.slot() < earliest) this.rebase(earliest, 0)
  }

  slot(): number {
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
 * Another rate that continues at `now` where that one is: the next slot comes one interval of the new rate after the last
 * start, and the recorded starts count in the new windows. Those are all starts that a new window reaches, unless it is
 * longer than the old one.
 */
export const resizedGcra = (gcra: Gcra, rate: number, burst: number, now: number): Gcra => {
  const next = new Gcra(rate, burst)
  next.starts = resizedLog(gcra.starts, next.maxStarts)
  // Starts that came faster than the new rate are a burst to it.
  next.nominal = resizedLog(gcra.nominal ?? gcra.starts, next.maxStarts)
  next.base = latestStart(next.nominal) + second / rate
  next.mode = gcra.mode
  next.since = gcra.since
  if (gcra.mode !== "idle") {
    // Time waited under the old rate does not count.
    if (next.base < now) next.base = now
    next.floor = now
  }
  next.skipTakenSlots(next.nominal)
  return next
}

/** The earliest instant at which a task can start after so many others. It may start later than that. */
export const dueAfter = (gcra: Gcra, before: number): number =>
  Math.max(gcra.due(), Math.ceil(gcra.slot() + (before * second) / gcra.rate))

/** `undefined` for a rate that does not limit. */
export const gcraOf = (rate: number, burst: number): Gcra | undefined =>
  rate === Infinity || burst === Infinity ? undefined : new Gcra(rate, burst)
