/**
 * The time that a server asks to be left alone for, by HTTP's `Retry-After` (RFC 9110, section 10.2.3): a number of
 * seconds, or a date. Looked for where HTTP clients put it.
 */

/** Milliseconds from `now`, itself in milliseconds since 1970; `undefined` if there is no such header, or no sense in it. */
export const retryAfter = (source: unknown, now: number): number | undefined => {
  const header = headerOf(source, 0) ?? ""
  const isSeconds = /^\s*\d+(\.\d+)?\s*$/.test(header)
  const millis = isSeconds ? Number(header) * 1000 : Math.max(0, Date.parse(inUtc(header)) - now)
  return Number.isFinite(millis) ? millis : undefined
}

/** An HTTP date, with the time zone that one of its three forms leaves out. `Date.parse` takes a lot more for dates. */
const inUtc = (header: string): string => {
  if (!/^\s*(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? /i.test(header)) return ""
  return /\d{4}\s*$/.test(header) ? `${header} GMT` : header
}

/** A response has headers; an error has them, or a response, or the error that caused it. */
const places = ["headers", "response", "cause"] as const

/** Deep enough for an error whose cause has a response, and no way round in a circle. */
const maxDepth = 4

const headerOf = (source: unknown, depth: number): string | undefined => {
  if (typeof source !== "object" || source === null || depth > maxDepth) return undefined
  const found = attempt(() => asHeaders(source))
  if (found !== undefined) return found
  for (const place of places) {
    const header = headerOf(
      attempt(() => (source as Record<string, unknown>)[place]),
      depth + 1
    )
    if (header !== undefined) return header
  }
  return undefined
}

/** What is looked at is anything that has been thrown; a getter, or a `get` that is about something else, may throw. */
const attempt = <A>(look: () => A): A | undefined => {
  try {
    return look()
  } catch {
    return undefined
  }
}

/** The header of what is a `Headers`, or a plain object with the names of headers. */
const asHeaders = (source: object): string | undefined => {
  const { get } = source as { readonly get?: unknown }
  const value = typeof get === "function" ? get.call(source, name) : (source as Record<string, unknown>)[nameIn(source)]
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined
}

const name = "retry-after"

/** As it is written there. */
const nameIn = (headers: object): string => Object.keys(headers).find((key) => key.toLowerCase() === name) ?? name
