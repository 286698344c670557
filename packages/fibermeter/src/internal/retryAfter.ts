/**
 * The time that a server asks to be left alone for, by HTTP's `Retry-After` (RFC 9110, section 10.2.3): a number of
 * seconds, or a date. Looked for where HTTP clients put it.
 */

/** Milliseconds from `now`, itself in milliseconds since 1970; `undefined` if there is no such header, or no sense in it. */
export const retryAfter = (source: unknown, now: number): number | undefined => {
  const header = headerOf(source, 0)
  if (header === undefined) return undefined
  if (/^\s*\d+(\.\d+)?\s*$/.test(header)) return Number(header) * 1000
  // Every HTTP date has letters; without them, `Date.parse` would take a negative number for a year.
  const at = /[a-z]/i.test(header) ? Date.parse(header) : NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** A response has headers; an error has them, or a response, or the error that caused it. */
const places = ["headers", "response", "cause"] as const

/** Deep enough for an error whose cause has a response, and no way round in a circle. */
const maxDepth = 4

const headerOf = (source: unknown, depth: number): string | undefined => {
  if (typeof source !== "object" || source === null || depth > maxDepth) return undefined
  const found = asHeaders(source)
  if (found !== undefined) return found
  for (const place of places) {
    const header = headerOf((source as Record<string, unknown>)[place], depth + 1)
    if (header !== undefined) return header
  }
  return undefined
}

/** The header of what is a `Headers`, or a plain object with the names of headers. */
const asHeaders = (source: object): string | undefined => {
  const { get } = source as { readonly get?: unknown }
  const value =
    typeof get === "function"
      ? (get as (name: string) => unknown).call(source, "retry-after")
      : Object.entries(source).find(([name]) => name.toLowerCase() === "retry-after")?.[1]
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined
}
