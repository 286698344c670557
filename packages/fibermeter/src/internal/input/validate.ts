/**
 * Reads and checks what callers pass in, before anything starts. Core turns a problem into a defect, the facade into a
 * `RangeError` or `TypeError`.
 *
 * A reader reads a value once and returns a copy of it, or a `Problem`. Only the copy is used afterwards, so neither a
 * getter that changes its answer nor a later mutation can put an unchecked value behind the check. Known names are read
 * through the prototype chain: a class with getters, or `Object.create(defaults)`, gives options like a literal does.
 * A throw of the caller's code (a getter, a proxy) passes through; both packages make it the failure of the call.
 */

export { plainMillis } from "./plainDuration.ts"

/** What is wrong with an argument: a number out of range, or a value of the wrong type. */
export class Problem {
  readonly kind: "range" | "type"
  readonly message: string

  constructor(as: "range" | "type", message: string) {
    this.kind = as
    this.message = message
  }
}

/** Reads the value of an option: its copy, or what is wrong with it. */
type Reader = (name: string, value: unknown) => unknown

/** The options of a call and how each is read. */
export type Checks = Readonly<Record<string, Reader>>

const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "function") return "a function"
  if (value instanceof Promise) return "a Promise"
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object"
  return typeof value === "bigint" ? `${value}n` : String(value)
}

const bad = (as: Problem["kind"], name: string, wanted: string, value: unknown): Problem =>
  new Problem(as, `${name} must be ${wanted}, but is ${show(value)}`)

/** A value of that type, and in range where it has one. */
export const kind =
  <A>(wanted: string, isKind: (value: unknown) => value is A, isInRange: (value: A) => boolean = () => true): Reader =>
  (name, value) => {
    if (!isKind(value)) return bad("type", name, wanted, value)
    return isInRange(value) ? value : bad("range", name, wanted, value)
  }

const number = (name: string, value: unknown, wanted: string, isInRange: (value: number) => boolean): unknown =>
  kind(wanted, (value) => typeof value === "number", isInRange)(name, value)

const isWhole = (value: number, least: number): boolean =>
  value === Infinity || (Number.isSafeInteger(value) && value >= least)

// The readers here are functions, not what a function has returned: nothing is done for them while this loads.

const whole: Reader = (name, value) =>
  number(name, value, "a whole number of at least 1, or Infinity for no limit", (value) => isWhole(value, 1))

/** A number of times. */
export const count: Reader = (name, value) =>
  number(name, value, "a whole number of at least 0, or Infinity", (value) => isWhole(value, 0))

/** A part of a cost. Bounded, so that sums stay finite: two of 1e308 would leave a room of NaN. */
const amount: Reader = (name, value) => {
  const read = number(name, value, "a finite number of at least 0", (value) => value >= 0 && value !== Infinity)
  if (read instanceof Problem) return read
  const most = Number.MAX_SAFE_INTEGER
  return number(name, value, `a number of at most ${most}`, (value) => value <= most)
}

/** The slowest rate: one task in 30,000 years. Below 1e-299 a window would be infinitely long, and no limit. */
const leastRate = 1e-12

/** The length of a time in milliseconds; `undefined` for what is none. */
type ToMillis = (value: unknown) => number | undefined

/** Reads a length of time as milliseconds. Finite ones have to be finite as nanoseconds, too. */
const time =
  (toMillis: ToMillis, wanted: string, isInRange: (millis: number) => boolean): Reader =>
  (name, value) => {
    // Effect takes it for zero.
    const millis = Number.isNaN(value) ? NaN : toMillis(value)
    if (millis === undefined) return bad("type", name, wanted, value)
    const isExact = millis === Infinity || Math.abs(millis * 1_000_000) < Infinity
    return isExact && isInRange(millis) ? millis : bad("range", name, wanted, value)
  }

/** The readers of lengths of time, for a package that takes these values for one. */
export const times = (toMillis: ToMillis) => {
  const period = time(
    toMillis,
    'a length of time greater than 0, such as 60_000 (milliseconds) or "1 minute"',
    (millis) => millis > 0
  )
  const windowParts = object("an object { limit, per }", { limit: whole, per: period }, ["limit", "per"])
  return {
    period,
    /** A wait between two attempts. */
    delay: time(
      toMillis,
      'a finite length of time, such as 500 (milliseconds) or "1 second"',
      (millis) => millis >= 0 && millis !== Infinity
    ),
    /** A length of time that may be zero or infinite. */
    wait: time(toMillis, 'a length of time, such as 60_000 (milliseconds) or "1 minute"', (millis) => millis >= 0),
    limits: {
      maxAtOnce: whole,
      maxPerSecond: (name, value) =>
        number(
          name,
          value,
          `a number greater than 0 (at least ${leastRate}), or Infinity for no limit`,
          (value) => value >= leastRate
        ),
      maxBurst: whole,
      windows: dictionary("an object of named windows, { name: { limit, per } }", windowParts)
    } satisfies Checks
  }
}

export const boolean: Reader = (name, value) =>
  kind("true or false", (value) => typeof value === "boolean")(name, value)

export const anyFunction: Reader = (name, value) => notFunction(name, "a function", value) ?? value

/** A function, or what the other reader is for. */
export const functionOr =
  (reader: Reader): Reader =>
  (name, value) =>
    typeof value === "function" ? value : reader(name, value)

/** The copy of an array, each element read by the reader. */
const elements = (name: string, value: ReadonlyArray<unknown>, reader: Reader): Array<unknown> | Problem => {
  const copy: Array<unknown> = []
  for (let i = 0; i < value.length; i++) {
    const read = reader(`${name}[${i}]`, value[i])
    if (read instanceof Problem) return read
    copy.push(read)
  }
  return copy
}

/** One or several of what a reader is for. */
export const oneOrMore =
  (reader: Reader): Reader =>
  (name, value) =>
    Array.isArray(value) ? elements(name, value, reader) : reader(name, value)

/** An iterable: of an array the copy, whose elements are checked now; of any other, they are when they are needed. */
export const iterable =
  (reader: Reader): Reader =>
  (name, value) => {
    if (Array.isArray(value)) return elements(name, value, reader)
    return isIterable(value) && typeof value !== "string" ? value : bad("type", name, "an Iterable of them", value)
  }

/** An object of options, those in `needed` not to be left out. Messages name them with the object's name before theirs. */
export const object =
  (wanted: string, checks: Checks, needed: ReadonlyArray<string> = []): Reader =>
  (name, value) => {
    if (!isObject(value)) return bad("type", name, wanted, value)
    const copy = read(checks, value, `${name}.`)
    if (copy instanceof Problem) return copy
    const missing = needed.find((each) => !Object.hasOwn(copy, each))
    return missing === undefined ? copy : checks[missing]!(`${name}.${missing}`, undefined)
  }

/** An object whose names are the caller's own; a value that is `undefined` is not there. */
const dictionary =
  (wanted: string, reader: Reader): Reader =>
  (name, value) => {
    if (!isObject(value)) return bad("type", name, wanted, value)
    const entries: Array<readonly [string, unknown]> = []
    for (const each of namesIn(value)) {
      const given = value[each]
      if (given === undefined) continue
      const read = reader(`${name}.${each}`, given)
      if (read instanceof Problem) return read
      entries.push([each, read])
    }
    return Object.fromEntries(entries)
  }

/**
 * The names in an object that is keyed by the caller's own names. Those of a class are not enumerable, yet must not be
 * ignored: a window that is left out is no limit.
 */
const namesIn = (value: object): ReadonlySet<string> => {
  const names = new Set(Object.keys(value))
  for (let at: object | null = Object.getPrototypeOf(value); at !== null; at = Object.getPrototypeOf(at)) {
    // That of a literal, also of another realm's.
    if (Object.hasOwn(at, "hasOwnProperty")) break
    for (const name of Object.getOwnPropertyNames(at)) if (name !== "constructor") names.add(name)
  }
  return names
}

/** A cost, read once: its names are only known where the task asks for its start. */
export const copyOfCost = (value: unknown): unknown => {
  if (!isCostObject(value)) return value
  return Object.fromEntries(Array.from(namesIn(value), (name) => [name, value[name]]))
}

/** What a cost has to be before its names are looked at. */
export const costObject = (value: unknown): Readonly<Record<string, unknown>> | Problem => {
  if (isCostObject(value)) return value
  handled(value)
  return bad("type", "cost", "an object of amounts by the names of windows", value)
}

const isCostObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) && !(Symbol.iterator in value)

/** Reads the cost of a task, given the names of the limits there are. */
export const cost = (names: ReadonlySet<string>, value: unknown): Readonly<Record<string, number>> | Problem => {
  const object = costObject(value)
  if (object instanceof Problem) return object
  const entries: Array<readonly [string, number]> = []
  for (const name of namesIn(object)) {
    if (!names.has(name)) {
      const known = names.size === 0 ? "No window has a name here" : `Known: ${Array.from(names).join(", ")}`
      return new Problem("type", `there is no window ${name} for a cost to be paid from. ${known}`)
    }
    const read = amount(`cost.${name}`, object[name])
    if (read instanceof Problem) return read
    entries.push([name, read as number])
  }
  return Object.fromEntries(entries)
}

/** The options that every verb knows, beside its limits and meters: those without a use for one accept it all the same. */
export const verb = {
  maxUnread: whole,
  onProgress: anyFunction,
  ordered: boolean,
  until: (name, value) =>
    kind('"success" or "settled"', (value) => value === "success" || value === "settled")(name, value)
} satisfies Checks

/** For an option that is checked elsewhere. */
export const anything: Reader = (_, value) => value

/** Reads what must not be left out, as `options`. */
export const required = (checks: Checks, given: unknown): Readonly<Record<string, unknown>> | Problem =>
  given === undefined ? bad("type", "the limits", "an object", given) : options(checks, given)

/** Reads options: the copy has the ones that are there; one that is `undefined` is not. */
export const options = (checks: Checks, given: unknown): Readonly<Record<string, unknown>> | Problem => {
  if (given === undefined) return {}
  return isObject(given) ? read(checks, given, "") : withHint(bad("type", "the options", "an object", given), given)
}

const read = (
  checks: Checks,
  given: Readonly<Record<string, unknown>>,
  prefix: string
): Record<string, unknown> | Problem => {
  const known = Object.keys(checks)
  // Enumerable names, inherited ones included: what a class has beside the options (methods, `constructor`) is not.
  // What a program has added to `Object.prototype` is not meant for this call.
  for (const name in given) {
    if (Object.hasOwn(checks, name) || (name in Object.prototype && !Object.hasOwn(given, name))) continue
    return unknown(name, prefix, known)
  }
  const copy: Record<string, unknown> = {}
  for (const name of known) {
    const value = given[name]
    if (value === undefined) continue
    const read = checks[name]!(prefix + name, value)
    if (read instanceof Problem) return read
    // A method of a class keeps its `this`.
    copy[name] = typeof read === "function" ? read.bind(given) : read
  }
  return copy
}

/** What is wrong with a value that has to be a function, if anything; `wanted` says which. */
export const notFunction = (name: string, wanted: string, value: unknown): Problem | undefined =>
  typeof value === "function" ? undefined : withHint(bad("type", name, wanted, value), value)

const withHint = (problem: Problem, value: unknown): Problem =>
  isThenable(value)
    ? new Problem(problem.kind, `${problem.message}. It has already started: pass a function that starts it, () => ...`)
    : problem

/** What is wrong with the result of a callback that has to be synchronous, if anything. Nothing would await it. */
export const notSync = (name: string, value: unknown): Problem | undefined => {
  if (!isThenable(value)) return undefined
  handled(value)
  return new Problem("type", `${name} must not be async: it has returned a promise, which nothing awaits`)
}

/** A promise that the call is refused for: its rejection is not unhandled on top. */
export const handled = (value: unknown): void => {
  if (isThenable(value)) Promise.resolve(value).catch(() => {})
}

/** Neither a list nor a promise: those are never meant as options. */
export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !isThenable(value)

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  ((typeof value === "object" && value !== null) || typeof value === "function") &&
  typeof (value as { then?: unknown }).then === "function"

export const isIterable = (value: unknown): value is Iterable<unknown> =>
  typeof value === "string" || hasIterator(value, Symbol.iterator)

export const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  hasIterator(value, Symbol.asyncIterator)

const hasIterator = (value: unknown, symbol: symbol): boolean =>
  typeof value === "object" && value !== null && typeof (value as Record<symbol, unknown>)[symbol] === "function"

export const notItems = (wanted: string, value: unknown): Problem => bad("type", "items", wanted, value)

/**
 * What other libraries call these options (p-map, p-limit, p-queue, p-throttle, p-retry, bottleneck, aiometer, Effect). A
 * name without a counterpart is not here, such as bottleneck's `highWater`: no hint is better than a wrong one.
 */
const otherNames: Readonly<Record<string, ReadonlyArray<string>>> = {
  maxAtOnce: ["concurrency", "maxConcurrency", "maxConcurrent", "parallelism", "limit"],
  maxPerSecond: ["rate", "rateLimit", "requestsPerSecond", "perSecond", "minTime"],
  maxBurst: ["burst"],
  windows: ["limit", "interval", "intervalCap", "reservoir", "reservoirRefreshAmount", "reservoirRefreshInterval"],
  per: ["interval", "duration", "period"],
  cost: ["weight"],
  maxUnread: ["backpressure", "bufferSize", "buffer", "highWaterMark"],
  meter: ["limiter", "semaphore"],
  signal: ["abortSignal"],
  timeout: ["expiration"],
  retry: ["retries"],
  times: ["retries", "tries", "attempts"],
  delay: ["backoff"],
  while: ["shouldRetry"]
}

const unknown = (name: string, prefix: string, known: ReadonlyArray<string>): Problem => {
  const listed = known.map((each) => prefix + each).join(", ")
  const meant = known.filter((each) => otherNames[each]?.includes(name))
  const near = meant.length > 0 ? meant : known.filter((each) => isNear(name, each)).slice(0, 1)
  const hint = near.length === 0 ? "" : `Did you mean ${near.map((each) => prefix + each).join(" or ")}? `
  return new Problem("type", `there is no option ${prefix}${name}. ${hint}Known: ${listed}`)
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "")

/** Whether one of the names may be a misspelling or an abbreviation of the other: a slip for every four letters. */
const isNear = (name: string, known: string): boolean => {
  const [a, b] = [plain(name), plain(known)]
  if (a.length >= 4 && b.startsWith(a)) return true
  return distance(a, b) <= Math.max(1, Math.floor(a.length / 4))
}

/** The edit distance in which two neighbours swapped count as one slip (optimal string alignment). */
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
