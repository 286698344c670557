/**
 * Reads and checks arguments, before anything starts. Core turns a problem into a defect, the facade into a `RangeError` or
 * `TypeError`.
 *
 * A reader reads a value once, and returns a copy of it or a `Problem`. Only the copy is used afterwards, so neither a
 * getter that returns different values nor a later mutation can bypass the check. Known names are read through the
 * prototype chain: options can also be an instance of a class with getters, or `Object.create(defaults)`. What the
 * caller's code throws (a getter, a proxy) is not caught here; both packages make it the failure of the call.
 */

import { unknownOption } from "./unknownOption.ts"

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

/** Reads the value of an option: returns a copy of it, or a `Problem`. `name` is for the message. */
type Reader = (name: string, value: unknown) => unknown

/** The known options, with a reader for each. */
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

/** Reads a value of a type and, where given, a range. */
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

// These readers are written as functions, not as results of a function: so loading this module does no work for them.

const whole: Reader = (name, value) =>
  number(name, value, "a whole number of at least 1, or Infinity for no limit", (value) => isWhole(value, 1))

/** A count, which may be 0. */
export const count: Reader = (name, value) =>
  number(name, value, "a whole number of at least 0, or Infinity", (value) => isWhole(value, 0))

/** An amount of a cost. Limited, so that sums are finite: two amounts of 1e308 would make a window's room `NaN`. */
export const amount: Reader = (name, value) => {
  const read = number(name, value, "a finite number of at least 0", (value) => value >= 0 && value !== Infinity)
  if (read instanceof Problem) return read
  const most = Number.MAX_SAFE_INTEGER
  return number(name, value, `a number of at most ${most}`, (value) => value <= most)
}

/** The slowest rate: one task in 30,000 years. Below 1e-299 a window would be infinitely long, and no limit. */
const leastRate = 1e-12

/** Parses a duration: milliseconds, or `undefined` if it is none. */
type ToMillis = (value: unknown) => number | undefined

/** Reads a duration as milliseconds. If it is finite, it must be finite in nanoseconds, too. */
const time =
  (toMillis: ToMillis, wanted: string, isInRange: (millis: number) => boolean): Reader =>
  (name, value) => {
    // Effect reads `NaN` as zero.
    const millis = Number.isNaN(value) ? NaN : toMillis(value)
    if (millis === undefined) return bad("type", name, wanted, value)
    const isExact = millis === Infinity || Math.abs(millis * 1_000_000) < Infinity
    return isExact && isInRange(millis) ? millis : bad("range", name, wanted, value)
  }

/** The readers of durations, for a package that parses them by `toMillis`. */
export const times = (toMillis: ToMillis) => {
  const period = time(
    toMillis,
    'a duration greater than 0, such as 60_000 (milliseconds) or "1 minute"',
    (millis) => millis > 0
  )
  /** A duration that may be zero or infinite. */
  const wait = time(toMillis, 'a duration, such as 60_000 (milliseconds) or "1 minute"', (millis) => millis >= 0)
  const windowParts = object("an object { limit, per }", { limit: whole, per: period }, ["limit", "per"])
  const limits = {
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
  return {
    period,
    /** The delay before a retry. */
    delay: time(
      toMillis,
      'a finite duration, such as 500 (milliseconds) or "1 second"',
      (millis) => millis >= 0 && millis !== Infinity
    ),
    wait,
    /** The limits that verbs and meters have. */
    limits
  }
}

/** All limits of a meter, by the readers of durations. */
export const meterLimits = ({ limits, wait }: ReturnType<typeof times>) =>
  ({
    ...limits,
    maxWaiting: count,
    waitTimeout: wait,
    overflow: (name, value) =>
      kind('"refuse" or "dropOldest"', (value) => value === "refuse" || value === "dropOldest")(name, value)
  }) satisfies Checks

export const boolean: Reader = (name, value) =>
  kind("true or false", (value) => typeof value === "boolean")(name, value)

export const anyFunction: Reader = (name, value) => notFunction(name, "a function", value) ?? value

/** A function, or a value for the given reader. */
export const functionOr =
  (reader: Reader): Reader =>
  (name, value) =>
    typeof value === "function" ? value : reader(name, value)

/** Copies an array. Each element is read by the reader. */
const elements = (name: string, value: ReadonlyArray<unknown>, reader: Reader): Array<unknown> | Problem => {
  const copy: Array<unknown> = []
  for (let i = 0; i < value.length; i++) {
    const read = reader(`${name}[${i}]`, value[i])
    if (read instanceof Problem) return read
    copy.push(read)
  }
  return copy
}

/** A value for the given reader, or an array of such values. */
export const oneOrMore =
  (reader: Reader): Reader =>
  (name, value) =>
    Array.isArray(value) ? elements(name, value, reader) : reader(name, value)

/**
 * What a function has returned as the meters of an item. Only `reader` knows what a meter is. At least one, as its limiters
 * bring the code for items with meters of their own (`itemRequests.ts`).
 */
export const forItem = (reader: Reader, index: number, value: unknown): unknown => {
  handled(value)
  const name = `the meter of items[${index}]`
  if (!Array.isArray(value)) return reader(name, value)
  return value.length > 0
    ? elements(name, value, reader)
    : new Problem("type", `${name} must be one or more meters, but is an empty array`)
}

/** An iterable. Arrays are copied, and their elements checked; elements of other iterables are checked when they are used. */
export const iterable =
  (reader: Reader): Reader =>
  (name, value) => {
    if (Array.isArray(value)) return elements(name, value, reader)
    return isIterable(value) && typeof value !== "string" ? value : bad("type", name, "an Iterable of them", value)
  }

/** An object of options, of which `needed` are mandatory. Messages name an option with the object: `retry.times`. */
export const object =
  (wanted: string, checks: Checks, needed: ReadonlyArray<string> = []): Reader =>
  (name, value) => {
    if (!isObject(value)) return bad("type", name, wanted, value)
    const copy = read(checks, value, `${name}.`)
    if (copy instanceof Problem) return copy
    const missing = needed.find((each) => !Object.hasOwn(copy, each))
    return missing === undefined ? copy : checks[missing]!(`${name}.${missing}`, undefined)
  }

/** An object whose property names are chosen by the caller. Properties that are `undefined` are left out. */
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
 * The property names of an object whose names are chosen by the caller. Getters of a class are not enumerable, but must
 * not be ignored: a window that is left out does not limit.
 */
const namesIn = (value: object): ReadonlySet<string> => {
  const names = new Set(Object.keys(value))
  for (let at: object | null = Object.getPrototypeOf(value); at !== null; at = Object.getPrototypeOf(at)) {
    // `Object.prototype`, of any realm.
    if (Object.hasOwn(at, "hasOwnProperty")) break
    for (const name of Object.getOwnPropertyNames(at)) if (name !== "constructor") names.add(name)
  }
  return names
}

/** Copies a cost. Its names are checked later, since the limiters may not be known yet. */
export const copyOfCost = (value: unknown): unknown => {
  if (!isCostObject(value)) return value
  return Object.fromEntries(Array.from(namesIn(value), (name) => [name, value[name]]))
}

/** Checks that a cost is an object, not its properties. */
export const costObject = (value: unknown): Readonly<Record<string, unknown>> | Problem => {
  if (isCostObject(value)) return value
  handled(value)
  return bad("type", "cost", "an object of amounts by the names of windows", value)
}

const isCostObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) && !(Symbol.iterator in value)

/** Reads the cost of a task. `names` are the names of all windows. */
export const cost = (names: ReadonlySet<string>, value: unknown): Readonly<Record<string, number>> | Problem => {
  const object = costObject(value)
  if (object instanceof Problem) return object
  const entries: Array<readonly [string, number]> = []
  for (const name of namesIn(object)) {
    if (!names.has(name)) {
      const known = names.size === 0 ? "No window has a name here" : `Known: ${Array.from(names).join(", ")}`
      return new Problem("type", `there is no window ${name} that the cost could be counted in. ${known}`)
    }
    const read = amount(`cost.${name}`, object[name])
    if (read instanceof Problem) return read
    entries.push([name, read as number])
  }
  return Object.fromEntries(entries)
}

/** The options of all verbs, beside limits and meters. A verb accepts also those that it has no use for. */
export const verb = {
  maxPending: whole,
  maxUnread: whole,
  onProgress: anyFunction,
  ordered: boolean,
  until: (name, value) =>
    kind('"success" or "settled"', (value) => value === "success" || value === "settled")(name, value)
} satisfies Checks

const permits: Reader = (name, value) =>
  number(name, value, "a whole number of at least 1", (permits) => Number.isSafeInteger(permits) && permits >= 1)

const priority: Reader = (name, value) => number(name, value, "a finite number", Number.isFinite)

const key: Reader = (name, value) =>
  typeof value === "function" ? bad("type", name, "a key, such as a string", value) : value

/** What a task holds, and how it ranks among others. */
export const rank = { permits, priority, lane: key } satisfies Checks

/** The same for the tasks of a verb, where priority and lane can depend on the item. */
export const rankByItem = {
  permits,
  priority: (name, value) => (typeof value === "function" ? value : priority(name, value)),
  lane: (_, value) => value
} satisfies Checks

/** A name of a meter. */
export const name: Reader = (name, value) =>
  kind(
    "a string that is not empty",
    (value) => typeof value === "string",
    (value) => value !== ""
  )(name, value)

/** For an option that is checked later. */
export const anything: Reader = (_, value) => value

/** As `options`, for an object that must not be left out. */
export const required = (checks: Checks, given: unknown): Readonly<Record<string, unknown>> | Problem =>
  isObject(given) ? read(checks, given, "") : withHint(bad("type", "the limits", "an object", given), given)

/** Reads options. Those that are `undefined` are left out of the copy. */
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
  // Enumerable names, inherited ones included. So methods and the `constructor` of a class are not taken for options, nor,
  // by the condition below, is what a program has added to `Object.prototype`.
  for (const name in given) {
    if (Object.hasOwn(checks, name) || (name in Object.prototype && !Object.hasOwn(given, name))) continue
    return new Problem("type", unknownOption(name, prefix, known))
  }
  const copy: Record<string, unknown> = {}
  for (const name of known) {
    const value = given[name]
    if (value === undefined) continue
    const read = checks[name]!(prefix + name, value)
    if (read instanceof Problem) return read
    // If it is a method of a class, it keeps its `this`.
    copy[name] = typeof read === "function" ? read.bind(given) : read
  }
  return copy
}

/** The problem with a value that must be a function, if there is one. `wanted` describes that function. */
export const notFunction = (name: string, wanted: string, value: unknown): Problem | undefined =>
  typeof value === "function" ? undefined : withHint(bad("type", name, wanted, value), value)

const withHint = (problem: Problem, value: unknown): Problem =>
  isThenable(value)
    ? new Problem(problem.kind, `${problem.message}. It has already started: pass a function that starts it, () => ...`)
    : problem

/** The problem with the result of a callback that must be synchronous, if there is one. */
export const notSync = (name: string, value: unknown): Problem | undefined => {
  if (!isThenable(value)) return undefined
  handled(value)
  return new Problem("type", `${name} must not be async: it has returned a promise, which nothing awaits`)
}

/** Marks a promise as handled that the call is refused for, so that its rejection is not reported as unhandled. */
export const handled = (value: unknown): void => {
  if (isThenable(value)) Promise.resolve(value).catch(() => {})
}

/** Whether a value is an object of options. Arrays and promises are never meant as such. */
export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !isThenable(value)

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  isObjectOrFunction(value) && typeof (value as { then?: unknown }).then === "function"

const isObjectOrFunction = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function"

export const hasProperty = (value: unknown, name: PropertyKey): boolean => isObjectOrFunction(value) && name in value

export const isIterable = (value: unknown): value is Iterable<unknown> =>
  typeof value === "string" || hasIterator(value, Symbol.iterator)

export const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  hasIterator(value, Symbol.asyncIterator)

const hasIterator = (value: unknown, symbol: symbol): boolean =>
  typeof value === "object" && value !== null && typeof (value as Record<symbol, unknown>)[symbol] === "function"

export const notItems = (wanted: string, value: unknown): Problem => bad("type", "items", wanted, value)

/** The problem with what a work queue cannot begin with. */
export const notSeeds = (value: unknown): Problem => bad("type", "the seeds", "an Iterable", value)
