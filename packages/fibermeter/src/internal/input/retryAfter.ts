/**
 * How long a server asks its clients to wait: by HTTP's `Retry-After` (RFC 9110, section 10.2.3), a number of seconds or a
 * date; or by `retry-after-ms`, a number of milliseconds that some APIs send as well because it is more exact. The headers
 * are searched where HTTP clients put them.
 */

/** Milliseconds from `now`, itself in milliseconds since 1970; `undefined` without a valid header. */
export const retryAfter = (source: unknown, now: number): number | undefined => {
  const millis = search(source, (headers) => ofHeaders(headers, now))
  return Number.isFinite(millis) ? millis : undefined
}

/** A response has headers; an error has them, or a response, or the error that caused it. */
const places = ["headers", "response", "cause"] as const

/** Deep enough for an error whose cause has a response. Also ends the search in a circle of causes. */
const maxDepth = 4

/** What `read` finds in the headers that are in the source. */
export const search = <A>(source: unknown, read: (headers: object) => A | undefined, depth = 0): A | undefined => {
  if (typeof source !== "object" || source === null || depth > maxDepth) return undefined
  const found = attempt(() => read(source))
  if (found !== undefined) return found
  for (const place of places) {
    const inside = search(
      attempt(() => (source as Record<string, unknown>)[place]),
      read,
      depth + 1
    )
    if (inside !== undefined) return inside
  }
  return undefined
}

/** The source is anything that was thrown: a getter, or a `get` with another meaning, may throw. */
const attempt = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** `NaN` for a header that is invalid. */
const ofHeaders = (source: object, now: number): number | undefined => {
  const millis = header(source, "retry-after-ms")
  if (millis !== undefined && isNumber(millis)) return Number(millis)
  const time = header(source, "retry-after")
  if (time === undefined) return undefined
  return isNumber(time) ? Number(time) * 1000 : Math.max(0, Date.parse(inUtc(time)) - now)
}

/** Reads a `Headers`, or a plain object whose keys are header names. */
const header = (source: object, name: string): string | undefined => {
  const { get } = source as { readonly get?: unknown }
  const key = (): string => Object.keys(source).find((each) => each.toLowerCase() === name) ?? name
  const value = typeof get === "function" ? get.call(source, name) : (source as Record<string, unknown>)[key()]
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined
}

/** Whether a text is a number of at least 0 that is written in full. */
export const isNumber = (text: string): boolean => /^\s*\d+(\.\d+)?\s*$/.test(text)

/** An HTTP date, with the time zone that one of its three forms omits. `Date.parse` accepts much more than dates. */
const inUtc = (text: string): string => {
  if (!/^\s*(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? /i.test(text)) return ""
  return /\d{4}\s*$/.test(text) ? `${text} GMT` : text
}
