/**
 * The limits of a meter in the protocol: one text, which must be the same in all sessions, and the numbers derived from it.
 * Times are whole microseconds, as in Redis's `TIME`.
 */

/** At most `limit` is spent in any half-open window of length `per`. */
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
  /** Starts that are allowed at once after idle time; only with a `rate`. */
  readonly burst: number
  readonly windows: ReadonlyArray<WindowLimit>
  /** How long a session keeps its permits without a message, in microseconds. */
  readonly lease: number
}

/** The text that sessions compare. */
export const encodeLimits = ({ permits, rate, burst, windows, lease }: Limits): string =>
  JSON.stringify([permits, rate, burst, lease, windows.map(({ name, limit, per }) => [name, limit, per])])

/** What is derived from a text of limits. */
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
  /** How long nothing is granted after lost state is detected. */
  readonly quarantine: number
  /** How far ahead slots are granted when there are few sessions. */
  readonly horizon: number
  /** The number of fencing tokens of each slot: as many tasks can start one after another with the permits of one slot. */
  readonly tokens: number
}

const slackAtMost = 250_000
const tokensOfPermits = 32
/** Slots are granted further ahead when there are many sessions, but no further than this. */
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
    const limit = Math.max(1, Math.floor(rate), burst)
    const per = Math.ceil((limit * 1_000_000) / rate)
    windows.push({ limit, per })
    slack = Math.min(slack, Math.floor(per / 4))
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
    // Rates and windows have to count each start.
    tokens: windows.length === 0 ? tokensOfPermits : 1
  }
}
