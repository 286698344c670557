import { calls } from "fibermeter/engine"

/**
 * How many milliseconds a server asks to wait, by its `Retry-After` header; `undefined` without one.
 *
 * `source` may be a fetch `Response`, its `Headers`, a plain object of headers, or an error that has one of them as
 * `response`, `headers` or `cause`. The header may contain seconds, or a date, which is compared with `now`: milliseconds
 * since 1970, by default `Date.now()`. The option `retry` uses this by itself.
 *
 * @example
 * ```ts
 * import { createMeter, retryAfter } from "@fibermeter/promise"
 *
 * const api = createMeter({ maxPerSecond: 10 })
 * const response = new Response(null, { status: 429, headers: { "Retry-After": "0.05" } })
 *
 * // All calls that use the meter wait, not only this one.
 * if (response.status === 429) api.pause(retryAfter(response) ?? 1000)
 * await api.run(() => "50 ms later") // => "50 ms later"
 * ```
 *
 * @since 0.1.0
 */
export const retryAfter = (source: unknown, now: number = Date.now()): number | undefined =>
  calls.retryAfter(source, now)
