import { calls } from "fibermeter/engine"
import type { WindowReport } from "./Limits.ts"

/**
 * What is left of a quota, as a response says. A report for `reconcile`.
 *
 * @since 0.1.0
 */
export interface RateLimit extends WindowReport {
  /** The name that the server has for the quota; `"requests"` if it has none. */
  readonly window: string
  readonly remaining: number
  /** Milliseconds. */
  readonly resetAfter: number
  /** A server may report more quotas than a meter has windows. */
  readonly optional: true
}

/**
 * What a response says is left of the server's quotas, as reports for `reconcile`. An empty array if it says nothing, or
 * nothing that can be read. Never throws.
 *
 * Reads `RateLimit` and `RateLimit-Policy` (the IETF draft, all its versions), `X-RateLimit-Remaining` and
 * `X-RateLimit-Reset`, also with the name of a quota behind them, as OpenAI sends them, and `anthropic-ratelimit-*`. Quotas
 * have the names that the server gives them: `requests` and `tokens` for OpenAI; also `input-tokens` and `output-tokens` for
 * Anthropic. A quota without a name, as GitHub's, is called `requests`. If a window has another name, rename the report:
 * `{ ...report, window: "mine" }`.
 *
 * A reset may be a number of seconds, a duration such as `120ms` or `1h2m3.5s`, an instant in seconds since 1970, or a date of
 * RFC 3339. A `remaining` without a reset gives no report, unless `RateLimit-Policy` has the length of the window.
 *
 * `source` may be a fetch `Response`, its `Headers`, a plain object of headers, or an error that has one of them as
 * `response`, `headers` or `cause`. Resets that are dates are compared with `now`: milliseconds since 1970, by default
 * `Date.now()`.
 *
 * @example
 * ```ts
 * import { createMeter, rateLimitsOf } from "@fibermeter/promise"
 *
 * const api = createMeter({ windows: { requests: { limit: 60, per: "1 minute" }, tokens: { limit: 90_000, per: "1 minute" } } })
 * const response = new Response("an answer", {
 *   headers: {
 *     "x-ratelimit-remaining-requests": "41",
 *     "x-ratelimit-reset-requests": "1s",
 *     "x-ratelimit-remaining-tokens": "52000",
 *     "x-ratelimit-reset-tokens": "6m0s"
 *   }
 * })
 *
 * rateLimitsOf(response)[1] // => { window: "tokens", remaining: 52_000, resetAfter: 360_000, optional: true }
 *
 * await api.run(({ reconcile }) => {
 *   for (const limit of rateLimitsOf(response)) reconcile(limit)
 * })
 * api.snapshot().room // => { requests: 41, tokens: 52_000 }
 * ```
 *
 * @since 0.1.0
 */
export const rateLimitsOf = (source: unknown, now: number = Date.now()): ReadonlyArray<RateLimit> =>
  calls.rateLimitsOf(source, now)
