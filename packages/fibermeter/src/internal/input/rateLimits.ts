/**
 * What the headers of a response say is left of a server's quotas:
 *
 * - `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and the forms of its earlier versions:
 *   `RateLimit: limit=100, remaining=50, reset=30`, and `RateLimit-Remaining` with `RateLimit-Reset`;
 * - `X-RateLimit-Remaining` and `X-RateLimit-Reset`, as GitHub and many others send them, and with the name of a quota behind
 *   each, as OpenAI does;
 * - `anthropic-ratelimit-…-remaining` and `…-reset`.
 *
 * A quota without a name is called `requests`. One whose reset is not known is left out, and so is what is malformed.
 */
import { isNumber, search } from "./retryAfter.ts"

/** What is left of a quota. */
export interface RateLimit {
  readonly window: string
  readonly remaining: number
  /** Milliseconds. */
  readonly resetAfter: number
  /** A server may report more quotas than a meter has windows. */
  readonly optional: true
}

/** `now`: milliseconds since 1970. Headers are searched as for `retryAfter`. */
export const rateLimitsOf = (source: unknown, now: number): ReadonlyArray<RateLimit> =>
  search(source, (headers) => {
    const found = inHeaders(headersIn(headers), now)
    return found.length === 0 ? undefined : found
  }) ?? []

/** The headers of a `Headers`, of another iterable of pairs, or of a plain object, by their names in lower case. */
const headersIn = (source: object): ReadonlyMap<string, string> => {
  const headers = new Map<string, string>()
  const isPairs = Symbol.iterator in source
  for (const each of isPairs ? (source as Iterable<unknown>) : Object.entries(source)) {
    if (!Array.isArray(each)) break
    const [name, value] = each as ReadonlyArray<unknown>
    headers.set(String(name).toLowerCase(), Array.isArray(value) ? value.join(", ") : String(value))
  }
  return headers
}

const inHeaders = (headers: ReadonlyMap<string, string>, now: number): ReadonlyArray<RateLimit> =>
  Array.from(headers)
    .flatMap(([header, value]) => {
      if (header === "ratelimit") return inField(value, headers.get("ratelimit-policy") ?? "")
      const [name, suffix, middle] = pattern.exec(header) ?? []
      const reset = headers.get(header.replace("remaining", "reset"))
      return name === undefined ? [] : [rateLimit(suffix ?? middle, numberIn(value), millisIn(reset, now))]
    })
    .filter((each) => each !== undefined)

const pattern = /^(?:(?:x-)?ratelimit-remaining(?:-(.+))?|anthropic-ratelimit-(.+)-remaining)$/

/** `NaN` for a text that is no number, or for none. */
const numberIn = (text = ""): number => (isNumber(text) ? Number(text) : NaN)

/** No report without both numbers. */
const rateLimit = (window = "requests", remaining: number, resetAfter: number): RateLimit | undefined =>
  remaining <= Number.MAX_SAFE_INTEGER && resetAfter <= Number.MAX_SAFE_INTEGER
    ? { window, remaining, resetAfter, optional: true }
    : undefined

/** Larger numbers are instants, in seconds since 1970: as a time to wait, this is 31 years. */
const maxSeconds = 1e9

/** Reads seconds, an instant in seconds since 1970, a date (RFC 3339), or a duration such as `6m0s`, `1.5s` or `20ms`. */
const millisIn = (text = "", now: number): number => {
  const seconds = numberIn(text)
  if (!Number.isNaN(seconds)) return seconds < maxSeconds ? seconds * 1000 : Math.max(0, seconds * 1000 - now)
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return Math.max(0, Date.parse(text) - now)
  if (!/^(?:\d+(?:\.\d+)?(?:ms|[smhd]))+$/.test(text)) return NaN
  const parts = Array.from(text.matchAll(/([\d.]+)(\D+)/g), ([, amount, unit]) => Number(amount) * millisPer[unit!]!)
  return parts.reduce((sum, part) => sum + part, 0)
}

const millisPer: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** The field `RateLimit`. A quota without a reset is reset once in the window that its policy has. */
const inField = (field: string, policy: string): ReadonlyArray<RateLimit | undefined> => {
  const [, remaining, reset] = /^(?=.*\bremaining=(\d+))(?=.*\breset=(\d+))/.exec(field) ?? []
  if (remaining !== undefined) return [rateLimit(undefined, numberIn(remaining), numberIn(reset) * 1000)]
  const windows = new Map(itemsIn(policy).map(([name, { w }]) => [name, w]))
  return itemsIn(field).map(([name, { r, t }]) => rateLimit(name, numberIn(r), numberIn(t ?? windows.get(name)) * 1000))
}

type Item = readonly [name: string, parameters: Readonly<Record<string, string>>]

/** The items of a list of structured fields (RFC 9651), which are texts or tokens; none if it is malformed. */
const itemsIn = (field: string): ReadonlyArray<Item> => {
  const items: Array<Item> = []
  for (let rest = field; rest !== "";) {
    const [all, name, parameters, end] = itemPattern.exec(rest) ?? []
    if (all === undefined || (end === "," && all.length === rest.length)) return []
    const pairs = Array.from(parameters!.matchAll(parameterPattern), ([, key, value = ""]) => [key, value])
    items.push([name!.startsWith('"') ? unquoted(name!) : name!, Object.fromEntries(pairs)])
    rest = rest.slice(all.length)
  }
  return items
}

const unquoted = (text: string): string => text.slice(1, -1).replaceAll(/\\(.)/g, "$1")

const itemPattern =
  /^[ \t]*("(?:[^"\\]|\\["\\])*"|[A-Za-z*][^\s",;=()\\]*)((?:[ \t]*; *[a-z*][a-z\d_.*-]*(?:=(?:"(?:[^"\\]|\\["\\])*"|[^\s",;]+))?)*)[ \t]*(,|$)/
const parameterPattern = /; *([a-z*][a-z\d_.*-]*)(?:=("(?:[^"\\]|\\["\\])*"|[^\s",;]+))?/g
