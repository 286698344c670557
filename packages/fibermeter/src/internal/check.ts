/**
 * Checks what users pass in, before anything starts. Core makes defects of what is wrong, the facade rejections.
 */

import { Duration, Option } from "effect"

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

const type = (name: string, wanted: string, value: unknown): Problem => ({
  kind: "type",
  message: `${name} must be ${wanted}, but is ${show(value)}`
})

const number =
  (wanted: string, isValid: (value: number) => boolean): Check =>
  (name, value) => {
    if (typeof value !== "number") return type(name, wanted, value)
    return isValid(value) ? undefined : { ...type(name, wanted, value), kind: "range" }
  }

const isWhole = (value: number): boolean => value === Infinity || (Number.isSafeInteger(value) && value >= 1)

const whole = number("a whole number of at least 1, or Infinity for no limit", isWhole)

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A length of time as Effect takes it: milliseconds, "1 minute", a Duration, and others. */
const time =
  (wanted: string, isValid: (millis: number) => boolean): Check =>
  (name, value) => {
    const duration = Duration.fromInput(value as Duration.Input)
    // Effect takes any object for one, with nothing of it known for zero.
    const isNone = isObject(value) && !Duration.isDuration(value) && Object.keys(value).length === 0
    if (Option.isNone(duration) || isNone || isThenable(value)) return type(name, wanted, value)
    // Effect takes NaN for zero.
    if (Number.isNaN(value)) return { ...type(name, wanted, value), kind: "range" }
    return isValid(Duration.toMillis(duration.value)) ? undefined : { ...type(name, wanted, value), kind: "range" }
  }

export const period = time(
  'a length of time greater than 0, such as 60_000 (milliseconds) or "1 minute"',
  (millis) => millis > 0
)

export const delay = time(
  'a length of time, such as 500 (milliseconds) or "1 second"',
  (millis) => millis >= 0 && millis !== Infinity
)

const windows: Check = (name, value) => {
  if (!isObject(value)) return type(name, "an object of named windows, { name: { limit, per } }", value)
  for (const [each, window] of Object.entries(value)) {
    if (window === undefined) continue
    if (!isObject(window)) return type(`${name}.${each}`, "an object { limit, per }", window)
    const { limit, per, ...others } = window
    const other = Object.keys(others)[0]
    if (other !== undefined) return unknown(other, ["limit", "per"])
    const problem = whole(`${name}.${each}.limit`, limit) ?? period(`${name}.${each}.per`, per)
    if (problem !== undefined) return problem
  }
  return undefined
}

export const limits = {
  maxAtOnce: whole,
  maxPerSecond: number("a number greater than 0, or Infinity for no limit", (value) => value > 0),
  maxBurst: whole,
  windows
} satisfies Checks

/** What is wrong with a length of time that a meter is to pause for, if anything. */
export const pause = (value: unknown): Problem | undefined => pauseTime("the duration", value)

const pauseTime = time('a length of time, such as 60_000 (milliseconds) or "1 minute"', (millis) => millis >= 0)

/** What is wrong with what a task is said to cost, given the names of the limits there are. */
export const cost = (names: ReadonlySet<string>, value: unknown): Problem | undefined => {
  if (!isObject(value) || isThenable(value) || Symbol.iterator in value) {
    return type("cost", "an object of amounts by the names of windows", value)
  }
  for (const [name, amount] of Object.entries(value)) {
    if (!names.has(name)) {
      const known = names.size === 0 ? "No window has a name here" : `Known: ${Array.from(names).join(", ")}`
      return { kind: "type", message: `there is no window ${name} for a cost to be paid from. ${known}` }
    }
    const problem = amountCheck(`cost.${name}`, amount)
    if (problem !== undefined) return problem
  }
  return undefined
}

const amountCheck = number("a number of at least 0", (value) => value >= 0 && value !== Infinity)

export const anyFunction: Check = (name, value) => notFunction(name, "a function", value)

export const boolean: Check = (name, value) =>
  typeof value === "boolean" ? undefined : type(name, "true or false", value)

export const oneOf =
  (...values: ReadonlyArray<string>): Check =>
  (name, value) =>
    values.includes(value as string) ? undefined : type(name, values.map(show).join(" or "), value)

export const instance =
  (wanted: string, isValid: (value: unknown) => boolean): Check =>
  (name, value) =>
    isValid(value) ? undefined : type(name, wanted, value)

export const millis = number("a number of milliseconds of at least 0, or Infinity", (value) => value >= 0)

/** A number of times. */
export const count = number(
  "a whole number of at least 0, or Infinity",
  (value) => value === Infinity || (Number.isSafeInteger(value) && value >= 0)
)

export const iterable: Check = (name, value) =>
  isIterable(value) && typeof value !== "string" ? undefined : type(name, "an Iterable of them", value)

/** A function, or what the other check is for. */
export const functionOr =
  (check: Check): Check =>
  (name, value) =>
    typeof value === "function" ? undefined : check(name, value)

/** An object of options. They are named with its name before theirs. */
export const object =
  (wanted: string, checks: Checks): Check =>
  (name, value) => {
    if (!isObject(value) || isThenable(value)) return type(name, wanted, value)
    const named = <T>(of: Readonly<Record<string, T>>): Record<string, T> =>
      Object.fromEntries(Object.entries(of).map(([key, each]) => [`${name}.${key}`, each]))
    return options(named(checks), named(value))
  }

/** One or several of what a check is for. */
export const oneOrMore =
  (check: Check): Check =>
  (name, value) =>
    Array.isArray(value)
      ? value.reduce<Problem | undefined>((found, each, i) => found ?? check(`${name}[${i}]`, each), undefined)
      : check(name, value)

/** The options that every verb knows, beside its meters: those without a use for one accept it all the same. */
export const verb = {
  ...limits,
  maxUnread: whole,
  onProgress: anyFunction,
  ordered: boolean,
  until: oneOf("success", "settled")
} satisfies Checks

/** For an option that is checked elsewhere. */
export const anything: Check = () => undefined

/** As `options`, for what must not be left out. */
export const required = (checks: Checks, given: unknown): Problem | undefined =>
  given === undefined ? type("the limits", "an object", given) : options(checks, given)

/** What is wrong with these options, if anything; an option that is `undefined` is not there. */
export const options = (checks: Checks, given: unknown): Problem | undefined => {
  if (given === undefined) return undefined
  if (typeof given !== "object" || given === null || Array.isArray(given) || isThenable(given)) {
    return withHint(type("the options", "an object", given), given)
  }
  for (const [name, value] of Object.entries(given)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    if (check === undefined) return unknown(name, Object.keys(checks))
    const problem = value === undefined ? undefined : check(name, value)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** What is wrong with a value that has to be a function; `wanted` says which. */
export const notFunction = (name: string, wanted: string, value: unknown): Problem | undefined => {
  return typeof value === "function" ? undefined : withHint(type(name, wanted, value), value)
}

const withHint = (problem: Problem, value: unknown): Problem =>
  isThenable(value)
    ? { ...problem, message: `${problem.message}. It has already started: pass a function that starts it, () => …` }
    : problem

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  ((typeof value === "object" && value !== null) || typeof value === "function") &&
  typeof (value as { then?: unknown }).then === "function"

export const isIterable = (value: unknown): value is Iterable<unknown> =>
  typeof value === "string" ||
  (typeof value === "object" && value !== null && typeof (value as Iterable<unknown>)[Symbol.iterator] === "function")

export const notItems = (wanted: string, value: unknown): Problem => type("items", wanted, value)

/** What other libraries call these options. */
const otherNames: Readonly<Record<string, string>> = {
  concurrency: "maxAtOnce",
  maxConcurrency: "maxAtOnce",
  maxConcurrent: "maxAtOnce",
  parallelism: "maxAtOnce",
  limit: "maxAtOnce",
  rate: "maxPerSecond",
  rateLimit: "maxPerSecond",
  requestsPerSecond: "maxPerSecond",
  perSecond: "maxPerSecond",
  burst: "maxBurst",
  backpressure: "maxUnread",
  bufferSize: "maxUnread",
  buffer: "maxUnread",
  limiter: "meter",
  meters: "meter",
  abortSignal: "signal"
}

const unknown = (name: string, known: ReadonlyArray<string>): Problem => {
  const other = otherNames[name]
  const nearest = other !== undefined && known.includes(other) ? other : nearestTo(name, known)
  return { kind: "type", message: `there is no option ${name}. Did you mean ${nearest}? Known: ${known.join(", ")}` }
}

const nearestTo = (name: string, known: ReadonlyArray<string>): string =>
  known.reduce((best, each) => (distance(name, each) < distance(name, best) ? each : best))

/** Levenshtein's edit distance, upper and lower case alike. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1]!.toLowerCase() === b[j - 1]!.toLowerCase() ? 0 : 1
      next[j] = Math.min(row[j - 1]! + cost, row[j]! + 1, next[j - 1]! + 1)
    }
    row = next
  }
  return row[b.length]!
}
