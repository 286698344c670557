/**
 * The reference model of a window that a server reports on: lists of all starts and all reports, searched anew for each
 * question. Times are of no particular unit.
 */

interface Start {
  readonly order: number
  readonly at: number
  cost: number
}

interface Report {
  readonly order: number
  readonly remaining: number
  readonly until: number
  /** Its request was sent between what happened before this number and what happened from it on. */
  readonly sent: number
  /** What the request may have known of: reports before this number are replaced. */
  readonly replaces: number
  /** If the server refunds: what the starts had cost that it had counted, when the report arrived. */
  readonly counted: number | undefined
}

export class ReportModel {
  readonly limit: number
  readonly per: number
  readonly starts: Array<Start> = []
  private reports: Array<Report> = []
  /** Starts and reports, in the order in which they happen. */
  private count = 0

  constructor(limit: number, per: number) {
    this.limit = limit
    this.per = per
  }

  start(cost: number, at: number): void {
    this.starts.push({ order: this.count++, at, cost })
  }

  /** A start that no window reaches any more has been forgotten. */
  correct(start: number, by: number, now: number): void {
    const each = this.starts[start]!
    if (each.at + this.per > now) each.cost = Math.max(0, each.cost + by)
  }

  /** The answer to the request of that start. */
  reportOf(start: number, remaining: number, until: number, now: number, refunds: boolean): void {
    const sent = this.starts[start]!.order + 1
    const reached = this.starts.filter(({ at, order }) => order >= sent && at + this.per > now)
    const first = reached[0]?.order ?? this.count
    this.add({ order: this.count++, remaining, until, sent: first, replaces: sent }, now, refunds)
  }

  /** The answer to a request that was sent at that time. */
  reportSentAt(sentAt: number, remaining: number, until: number, now: number, refunds: boolean): void {
    const arrivals = [...this.starts, ...this.reports.map(({ order }) => ({ order, at: this.arrivals.get(order)! }))]
    const later = arrivals.filter(({ at }) => at > sentAt && at + this.per > now).map(({ order }) => order)
    const order = this.count++
    const sent = Math.min(order, ...later)
    this.add({ order, remaining, until, sent, replaces: sentAt > now - this.per ? sent : -1 }, now, refunds)
  }

  /** The answer to some request. */
  reportOfUnknown(remaining: number, until: number, now: number, refunds: boolean): void {
    const order = this.count++
    this.add({ order, remaining, until, sent: order, replaces: -1 }, now, refunds)
  }

  private readonly arrivals = new Map<number, number>()

  private add(given: Omit<Report, "counted">, now: number, refunds: boolean): void {
    const report = { ...given, counted: refunds ? this.costBefore(given.sent) : undefined }
    this.arrivals.set(report.order, now)
    const left = this.leftBy(report)
    this.reports = this.reports.filter(
      (each) =>
        each.until > now &&
        each.order >= report.replaces &&
        (this.leftBy(each) < left || each.until > report.until || (refunds && each.counted === undefined))
    )
    this.reports.push(report)
  }

  /** What the starts before that number cost, as corrected so far. */
  private costBefore(sent: number): number {
    return this.starts.reduce((sum, { cost, order }) => (order < sent ? sum + cost : sum), 0)
  }

  /** What the report leaves: the starts after its request are not in it. Those that had left the window do not count. */
  private leftBy({ counted, remaining, sent }: Report): number {
    const refund = counted === undefined ? 0 : counted - this.costBefore(sent)
    return this.starts.reduce((left, { cost, order }) => (order < sent ? left : left - cost), remaining + refund)
  }

  /** What may be spent at that time, by the window and by the reports: negative if more has been spent. */
  room(at: number): number {
    const own = this.starts.reduce((room, start) => (start.at + this.per > at ? room - start.cost : room), this.limit)
    return Math.min(own, ...this.reports.filter(({ until }) => until > at).map((report) => this.leftBy(report)))
  }

  opensAt(cost: number, now: number): number {
    const instants = [now, ...this.starts.map(({ at }) => at + this.per), ...this.reports.map(({ until }) => until)]
    return instants
      .filter((at) => at >= now)
      .toSorted((a, b) => a - b)
      .find((at) => this.room(at) >= cost)!
  }
}
