/**
 * A sliding window that is also what a server counts. The server reports how much it has left, and until when; the window is
 * then the stricter of the two: its own limit, and what the reports leave.
 *
 * **What a report leaves.** A report answers one request. What the server counted is what had arrived before that answer. So
 * `remaining` includes that request, and all starts before it; starts after it may not have been counted, and are subtracted,
 * here as they come. Corrections of those starts are added or subtracted, too. Starts that have left the window before the
 * report arrives are not subtracted.
 *
 * Corrections of starts that the server had counted change nothing: what the server has reserved stays reserved, unless the
 * report says that it `refunds`. Then all corrections after the arrival of the report are added or subtracted. Earlier ones
 * never are, as the server may have made them before its answer.
 *
 * **How long.** The report may be as old as its request, but is taken to be from now: it holds until `now + resetAfter`.
 *
 * **Several reports.** A report replaces those that had arrived before its request was sent, as the server knew of them. So
 * when a server's quota is refilled, the next answer says so. Of reports whose requests overlapped, the order on the server
 * is unknown, and the strictest counts. One without a known request overlaps all others.
 *
 * Rejected: to keep every report until its end. Servers with token buckets refill all the time, but report when they will be
 * full. A program that has been told once of an almost empty bucket would wait for the full one, whatever later answers say.
 *
 * Starts and reports are numbered together, in the order in which they happen. A report has an entry of no cost in the log, so
 * that `sentAt` can be compared with it.
 */
import { SlidingWindow, slices } from "./slidingWindow.ts"

interface Report {
  /** What may still be spent. */
  left: number
  until: number
  /** Corrections of starts with this number or a later one change `left`. */
  readonly since: number
  /** Its own number. */
  readonly number: number
}

/** The most reports that are kept. Only reports that are stricter, or hold longer, than each later one count. */
const maxReports = 16

export class ReportedWindow extends SlidingWindow {
  private reports: ReadonlyArray<Report> = []

  /** When the last report ends. */
  get reportedUntil(): number {
    return this.reports.reduce((last, { until }) => Math.max(last, until), -Infinity)
  }

  /**
   * The server has `remaining` left until `until`. Of the request, `sentAt` is known, or `own`, the number of the start that
   * sent it, or neither. `refunds`: the server corrects what it has counted.
   */
  reconcile(
    remaining: number,
    until: number,
    now: number,
    own: number | undefined,
    sentAt: number | undefined,
    refunds: boolean | undefined
  ): void {
    this.expire(now)
    const number = super.spend(0, now)
    let since = number + 1
    let left = remaining
    if (sentAt !== undefined || own !== undefined) {
      for (let position = this.size - 1; position >= 0; position--) {
        const entry = this.at(position)
        if (sentAt === undefined ? this.numbers[entry]! <= own! : this.times[entry]! <= sentAt) break
        since = this.numbers[entry]!
        left -= this.costs[entry]!
      }
    }
    // The log does not tell which reports had arrived before a request that is older than its entries.
    const known = sentAt === undefined ? own : sentAt > now - this.per ? since - 1 : undefined
    const replaced = known ?? -1
    if (refunds === true) since = 0
    // A correction may make the new report the less strict one, if it changes only that.
    const kept = this.reports.filter(
      (each) =>
        each.until > now &&
        each.number > replaced &&
        (each.left < left || each.until > until || (refunds === true && each.since > 0))
    )
    this.reports = [...kept, { left, until, since, number }].slice(-maxReports)
  }

  override opensAt(cost: number, now: number): number {
    let opensAt = super.opensAt(cost, now)
    for (const { left, until } of this.reports) if (until > now && cost > left) opensAt = Math.max(opensAt, until)
    return opensAt
  }

  override room(now: number): number {
    let room = super.room(now)
    for (const { left, until } of this.reports) if (until > now) room = Math.min(room, left)
    return Math.max(0, room)
  }

  /** Changes the limit: the windows of a call keep theirs. What has been spent continues to count, unless the old window does not reach it any more. */
  resize(limit: number, per: number, now: number): void {
    this.expire(now)
    this.limit = limit
    this.per = per
    if (this.width > 0) this.width = per / slices
    this.lastBegan = -Infinity
    this.searchedFor = NaN
  }

  override spend(cost: number, now: number): number {
    for (const report of this.reports) report.left -= cost
    return super.spend(cost, now)
  }

  override correct(number: number, by: number): void {
    const before = this.spent
    super.correct(number, by)
    for (const report of this.reports) if (number >= report.since) report.left -= this.spent - before
  }

  override shift(delta: number): void {
    for (const report of this.reports) report.until += delta
    super.shift(delta)
  }
}
