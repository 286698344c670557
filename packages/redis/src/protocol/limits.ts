/**
 * The limits of a meter as the protocol sees them: one text, which all sessions must share, and the numbers that the text
 * implies. Times are whole microseconds, as Redis's `TIME` gives them.
 */

/** At most `limit` spent in any half-open window of length `per`. */
export interface WindowLimit {
  readonly name: string
  readonly limit: number
  /** Microseconds. */
  readonly per: number
}

export interface Limits {
  /** Permits in use at once; 0 for no such limit. */
  readonly permits: number
  /** Starts per second; 0 for no such limit. */
  readonly rate: number
  /** Starts that may come at once after an idle time; only with a `rate`. */
  readonly burst: number
  readonly windows: ReadonlyArray<WindowLimit>
  /** How long a session keeps its permits without a message, in microseconds. */
  readonly lease: number
}

/** The text that sessions compare. */
export const encodeLimits = ({ permits, rate, burst, windows, lease }: Limits): string =>
  JSON.stringify([permits, rate, burst, lease, windows.map(({ name, limit, per }) => [name, limit, per])])

/** What a text of limits implies. */
export interface Terms {
  readonly permits: number
  readonly rate: number
  readonly burst: number
  readonly lease: number
  /** The interval between two slots; 0 without a rate. Not a whole number. */
  readonly interval: number
  /** The window of the rate, if there is one, and then the others: one for each log. */
  readonly windows: ReadonlyArray<{ readonly limit: number; readonly per: number }>
  /** How far behind its slot a task may start: ε of the proof. */
  readonly slack: number
  /** How long nothing is granted after the state has been lost. */
  readonly quarantine: number
  /** How far ahead slots are granted to a few sessions. */
  readonly horizon: number
  /** How many fencing tokens each slot has: so many tasks can start one after the other with the permits of one slot. */
  readonly tokens: number
}

const slackAtMost = 100_000
const tokensOfPermits = 32
/** With many sessions, slots are granted further ahead than with a few, but no further than this. */
export const horizonAtMost = 200_000

export const termsOf = (text: string): Terms => {
  const [permits, rate, burst, lease, named] = JSON.parse(text) as [
    number,
    number,
    number,
    number,
    Array<[string, number, number]>
  ]
  const windows: Array<{ limit: number; per: number }> = []
  let slack = slackAtMost
  let longest = 0
  if (rate > 0) {
    // Never shorter than a second, so the slack need not be less for it.
    const limit = Math.max(1, Math.floor(rate), burst)
    const per = Math.ceil((limit * 1_000_000) / rate)
    windows.push({ limit, per })
    longest = per
  }
  for (const [, limit, per] of named) {
    windows.push({ limit, per })
    slack = Math.min(slack, Math.floor(per / 4))
    longest = Math.max(longest, per)
  }
  return {
    permits,
    rate,
    burst,
    lease,
    interval: rate > 0 ? 1_000_000 / rate : 0,
    windows,
    slack,
    // A slot that was granted just before the loss is at most a horizon ahead.
    quarantine: Math.max(longest + slack + horizonAtMost, lease),
    horizon: permits > 0 ? 20_000 : 50_000,
    // A rate and a window have to know of each start.
    tokens: windows.length === 0 ? tokensOfPermits : 1
  }
}
