/**
 * The message about an unknown option. It suggests the option that other libraries call by that name, or else one with a
 * similar name.
 */

/**
 * The names of these options in other libraries (p-map, p-limit, p-queue, p-throttle, p-retry, bottleneck, aiometer,
 * Effect). A name without a counterpart is left out: no hint is better than a wrong one.
 */
const otherNames: Readonly<Record<string, string>> = {
  maxAtOnce: "concurrency maxConcurrency maxConcurrent parallelism limit",
  maxPerSecond: "rate rateLimit requestsPerSecond perSecond minTime",
  maxBurst: "burst",
  windows: "limit interval intervalCap reservoir reservoirRefreshAmount reservoirRefreshInterval",
  per: "interval duration period",
  permits: "weight",
  cost: "weight",
  maxWaiting: "highWater maxQueue maxQueueSize queueLimit",
  waitTimeout: "acquireTimeout queueTimeout maxWait",
  overflow: "strategy",
  maxUnread: "backpressure bufferSize buffer highWaterMark",
  meter: "limiter semaphore",
  signal: "abortSignal",
  timeout: "expiration",
  retry: "retries",
  times: "retries tries attempts",
  delay: "backoff minTimeout",
  maxDelay: "maxTimeout",
  stagger: "hedge hedgeAfter hedgeDelay hedging",
  while: "shouldRetry"
}

/** The message about an option `prefix + name` that does not exist, beside those in `known`. */
export const unknownOption = (name: string, prefix: string, known: ReadonlyArray<string>): string => {
  const listed = known.map((each) => prefix + each).join(", ")
  const meant = known.filter((each) => otherNames[each]?.split(" ").includes(name))
  const near = meant.length > 0 ? meant : known.filter((each) => isNear(name, each)).slice(0, 1)
  const hint = near.length === 0 ? "" : `Did you mean ${near.map((each) => prefix + each).join(" or ")}? `
  return `there is no option ${prefix}${name}. ${hint}Known: ${listed}`
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "")

/** Whether a name may be a misspelling or an abbreviation of a known one: one mistake for every four letters. */
const isNear = (name: string, known: string): boolean => {
  const [a, b] = [plain(name), plain(known)]
  return (a.length >= 4 && b.startsWith(a)) || isWithin(Math.max(1, Math.floor(a.length / 4)), a, b)
}

/**
 * Whether at most so many edits turn one name into the other: letters replaced, removed or added, and neighbours swapped (optimal
 * string alignment). The time is exponential in the edits. They are few: longer names differ too much in length from all options.
 */
const isWithin = (mistakes: number, a: string, b: string): boolean => {
  if (Math.abs(a.length - b.length) > mistakes) return false
  if (a[0] === b[0]) return a === "" || isWithin(mistakes, a.slice(1), b.slice(1))
  const isSwapped = a[0] === b[1] && a[1] === b[0]
  return (
    isWithin(mistakes - 1, a.slice(1), b.slice(1)) ||
    isWithin(mistakes - 1, a.slice(1), b) ||
    isWithin(mistakes - 1, a, b.slice(1)) ||
    (isSwapped && isWithin(mistakes - 1, a.slice(2), b.slice(2)))
  )
}
