/**
 * The message about an unknown option. It suggests the option that other libraries call by that name, or else one with a
 * similar name.
 */

/**
 * The names of these options in other libraries (p-map, p-limit, p-queue, p-throttle, p-retry, bottleneck, aiometer,
 * Effect). A name without a counterpart is left out: no hint is better than a wrong one.
 */
const otherNames: Readonly<Record<string, ReadonlyArray<string>>> = {
  maxAtOnce: ["concurrency", "maxConcurrency", "maxConcurrent", "parallelism", "limit"],
  maxPerSecond: ["rate", "rateLimit", "requestsPerSecond", "perSecond", "minTime"],
  maxBurst: ["burst"],
  windows: ["limit", "interval", "intervalCap", "reservoir", "reservoirRefreshAmount", "reservoirRefreshInterval"],
  per: ["interval", "duration", "period"],
  permits: ["weight"],
  cost: ["weight"],
  maxWaiting: ["highWater", "maxQueue", "maxQueueSize", "queueLimit"],
  waitTimeout: ["acquireTimeout", "queueTimeout", "maxWait"],
  overflow: ["strategy"],
  maxUnread: ["backpressure", "bufferSize", "buffer", "highWaterMark"],
  meter: ["limiter", "semaphore"],
  signal: ["abortSignal"],
  timeout: ["expiration"],
  retry: ["retries"],
  times: ["retries", "tries", "attempts"],
  delay: ["backoff", "minTimeout"],
  maxDelay: ["maxTimeout"],
  stagger: ["hedge", "hedgeAfter", "hedgeDelay", "hedging"],
  while: ["shouldRetry"]
}

/** The message about an option `prefix + name` that does not exist, beside those in `known`. */
export const unknownOption = (name: string, prefix: string, known: ReadonlyArray<string>): string => {
  const listed = known.map((each) => prefix + each).join(", ")
  const meant = known.filter((each) => otherNames[each]?.includes(name))
  const near = meant.length > 0 ? meant : known.filter((each) => isNear(name, each)).slice(0, 1)
  const hint = near.length === 0 ? "" : `Did you mean ${near.map((each) => prefix + each).join(" or ")}? `
  return `there is no option ${prefix}${name}. ${hint}Known: ${listed}`
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "")

/** Whether a name may be a misspelling or an abbreviation of a known one: one mistake for every four letters. */
const isNear = (name: string, known: string): boolean => {
  const [a, b] = [plain(name), plain(known)]
  if (a.length >= 4 && b.startsWith(a)) return true
  return distance(a, b) <= Math.max(1, Math.floor(a.length / 4))
}

/** The edit distance in which two swapped neighbours count as one mistake (optimal string alignment). */
const distance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let row: ReadonlyArray<number> = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwapped ? before[j - 2]! + 1 : Infinity
      next.push(Math.min(row[j - 1]! + Number(!isSame), row[j]! + 1, next[j - 1]! + 1, swapped))
    }
    before = row
    row = next
  }
  return row.at(-1)!
}
