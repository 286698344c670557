/**
 * Checks what users pass in, before anything starts. Core makes defects of what is wrong, the facade rejections.
 */

import * as Duration from "effect/Duration"

/** What is wrong with an argument: a number out of range, or no number (or whatever else was wanted) at all. */
export interface Problem {
  readonly kind: "range" | "type"
  readonly message: string
}

type Check = (name: string, value: unknown) => Problem | undefined

/** The options of a call and how each is checked. */
export type Checks = Readonly<Record<string, Check>>

const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (typeof value === "function") return "a function"
  if (value instanceof Promise) return "a Promise"
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object"
  return typeof value === "bigint" ? `${value}n` : String(value)
}

const bad = (as: Problem["kind"], name: string, wanted: string, value: unknown): Problem => ({
  kind: as,
  message: `${name} must be ${wanted}, but is ${show(value)}`
})

/** What is of that kind, and in range where it has one. */
export const kind =
  <A>(wanted: string, isKind: (value: unknown) => value is A, isInRange: (value: A) => boolean = () => true): Check =>
  (name, value) => {
    if (!isKind(value)) return bad("type", name, wanted, value)
    return isInRange(value) ? undefined : bad("range", name, wanted, value)
  }

/** The first problem that one of them has. */
const first = <A>(list: Iterable<A>, problemOf: (each: A) => Problem | undefined): Problem | undefined => {
  for (const each of list) {
    const problem = problemOf(each)
    if (problem !== undefined) return problem
  }
  return undefined
}

const number = (wanted: string, isInRange: (value: number) => boolean): Check =>
  kind(wanted, (value) => typeof value === "number", isInRange)

const isWhole =
  (least: number) =>
  (value: number): boolean =>
    value === Infinity || (Number.isSafeInteger(value) && value >= least)

const whole = number("a whole number of at least 1, or Infinity for no limit", isWhole(1))

/** A number of times. */
export const count = number("a whole number of at least 0, or Infinity", isWhole(0))

export const millis = number("a number of milliseconds of at least 0, or Infinity", (value) => value >= 0)

const amount = number("a number of at least 0", (value) => value >= 0 && value !== Infinity)

const isEmpty = (value: unknown): boolean =>
  isObject(value) && !Duration.isDuration(value) && Object.keys(value).length === 0

/** A length of time as Effect takes it: milliseconds, "1 minute", a Duration, and others. */
const isTime = (value: unknown): value is Duration.Input => {
  // Effect takes any object for one, with nothing of it known for zero.
  if (isThenable(value) || isEmpty(value)) return false
  try {
    Duration.toMillis(value as Duration.Input)
    return true
  } catch {
    return false
  }
}

const time = (wanted: string, isInRange: (millis: number) => boolean): Check =>
  // Effect takes NaN for zero.
  kind(wanted, isTime, (value) => !Number.isNaN(value) && isInRange(Duration.toMillis(value)))

export const period = time(
  'a length of time greater than 0, such as 60_000 (milliseconds) or "1 minute"',
  (millis) => millis > 0
)

export const delay = time(
  'a length of time, such as 500 (milliseconds) or "1 second"',
  (millis) => millis >= 0 && millis !== Infinity
)

/** What is wrong with a length of time that a meter is to pause for, if anything. */
export const pause = (value: unknown): Problem | undefined =>
  time('a length of time, such as 60_000 (milliseconds) or "1 minute"', (millis) => millis >= 0)("the duration", value)

export const boolean = kind("true or false", (value) => typeof value === "boolean")

export const iterable = kind(
  "an Iterable of them",
  (value): value is Iterable<unknown> => isIterable(value) && typeof value !== "string"
)

export const anyFunction: Check = (name, value) => notFunction(name, "a function", value)

/** A function, or what the other check is for. */
export const functionOr =
  (check: Check): Check =>
  (name, value) =>
    typeof value === "function" ? undefined : check(name, value)

/** One or several of what a check is for. */
export const oneOrMore =
  (check: Check): Check =>
  (name, value) =>
    Array.isArray(value) ? first(value.entries(), ([i, each]) => check(`${name}[${i}]`, each)) : check(name, value)

/** An object of options. They are named with its name before theirs. */
export const object =
  (wanted: string, checks: Checks): Check =>
  (name, value) => {
    if (!isObject(value)) return bad("type", name, wanted, value)
    const named = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
      Object.fromEntries(Object.entries(record).map(([key, each]) => [`${name}.${key}`, each]))
    return options(named(checks), named(value))
  }

const windows: Check = (name, value) =>
  isObject(value)
    ? first(Object.entries(value), ([each, given]) =>
        given === undefined ? undefined : window(`${name}.${each}`, given)
      )
    : bad("type", name, "an object of named windows, { name: { limit, per } }", value)

const partChecks = { limit: whole, per: period }

const windowParts = object("an object { limit, per }", partChecks)

/** Unlike an option, neither part may be left out. */
const window: Check = (name, value) =>
  windowParts(name, value) ??
  first(Object.entries(partChecks), ([part, check]) =>
    check(`${name}.${part}`, (value as Record<string, unknown>)[part])
  )

export const limits = {
  maxAtOnce: whole,
  maxPerSecond: number("a number greater than 0, or Infinity for no limit", (value) => value > 0),
  maxBurst: whole,
  windows
} satisfies Checks

/** What is wrong with what a task is said to cost, given the names of the limits there are. */
export const cost = (names: ReadonlySet<string>, value: unknown): Problem | undefined => {
  if (!isObject(value) || Symbol.iterator in value) {
    return bad("type", "cost", "an object of amounts by the names of windows", value)
  }
  return first(Object.entries(value), ([name, each]) => {
    if (names.has(name)) return amount(`cost.${name}`, each)
    const known = names.size === 0 ? "No window has a name here" : `Known: ${Array.from(names).join(", ")}`
    return { kind: "type", message: `there is no window ${name} for a cost to be paid from. ${known}` }
  })
}

/** The options that every verb knows, beside its meters: those without a use for one accept it all the same. */
export const verb = {
  ...limits,
  maxUnread: whole,
  onProgress: anyFunction,
  ordered: boolean,
  until: kind('"success" or "settled"', (value) => value === "success" || value === "settled")
} satisfies Checks

/** For an option that is checked elsewhere. */
export const anything: Check = () => undefined

/** As `options`, for what must not be left out. */
export const required = (checks: Checks, given: unknown): Problem | undefined =>
  given === undefined ? bad("type", "the limits", "an object", given) : options(checks, given)

/** What is wrong with these options, if anything; an option that is `undefined` is not there. */
export const options = (checks: Checks, given: unknown): Problem | undefined => {
  if (given === undefined) return undefined
  if (!isObject(given)) return withHint(bad("type", "the options", "an object", given), given)
  return first(Object.entries(given), ([name, value]) => {
    if (!Object.hasOwn(checks, name)) return unknown(name, Object.keys(checks))
    return value === undefined ? undefined : checks[name]!(name, value)
  })
}

/** What is wrong with a value that has to be a function; `wanted` says which. */
export const notFunction = (name: string, wanted: string, value: unknown): Problem | undefined =>
  typeof value === "function" ? undefined : withHint(bad("type", name, wanted, value), value)

const withHint = (problem: Problem, value: unknown): Problem =>
  isThenable(value)
    ? { ...problem, message: `${problem.message}. It has already started: pass a function that starts it, () => …` }
    : problem

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

/** What other libraries call these options. */
const otherNames: Readonly<Record<string, ReadonlyArray<string>>> = {
  maxAtOnce: ["concurrency", "maxConcurrency", "maxConcurrent", "parallelism", "limit"],
  maxPerSecond: ["rate", "rateLimit", "requestsPerSecond", "perSecond"],
  maxBurst: ["burst"],
  maxUnread: ["backpressure", "bufferSize", "buffer"],
  meter: ["limiter", "meters"],
  signal: ["abortSignal"]
}

const unknown = (name: string, known: ReadonlyArray<string>): Problem => {
  const nearest = known.find((each) => otherNames[each]?.includes(name)) ?? nearestTo(name, known)
  return { kind: "type", message: `there is no option ${name}. Did you mean ${nearest}? Known: ${known.join(", ")}` }
}

const nearestTo = (name: string, known: ReadonlyArray<string>): string =>
  known.reduce((best, each) => (distance(name, each) < distance(name, best) ? each : best))

/** Levenshtein's edit distance, upper and lower case alike. */
const distance = (a: string, b: string): number => {
  const others = Array.from(b.toLowerCase())
  let row = [...others.keys(), others.length]
  for (const letter of a.toLowerCase()) {
    const next = [row[0]! + 1]
    for (const [j, other] of others.entries()) {
      next.push(Math.min(row[j]! + Number(letter !== other), row[j + 1]! + 1, next[j]! + 1))
    }
    row = next
  }
  return row.at(-1)!
}
