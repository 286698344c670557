/** Every function that takes options, called as plain JavaScript would call it, and the rules that its options follow. */
import { expect, vi } from "vitest"
import * as Duration from "effect/Duration"
import * as shared from "../../../fibermeter/test/support/rules.ts"
import {
  duration,
  fractions,
  limitRules as limitRulesOf,
  negativeDurations,
  notBooleans,
  notDurations,
  notFunctions,
  notNumbers,
  notObjects,
  problemIn,
  rule,
  tooLong,
  tooSmall,
  waitRule
} from "../../../fibermeter/test/support/rules.ts"
import type { Rule, Shown } from "../../../fibermeter/test/support/rules.ts"
import { createKeyedMeter, createMeter } from "../../src/index.ts"
import type { Meter } from "../../src/index.ts"
import { flush, now, settle, untyped, value } from "../support.ts"
import type { Untyped } from "../support.ts"

export interface EntryPoint {
  readonly name: string
  readonly reportsBy: "throwing" | "rejecting"
  readonly rules: ReadonlyArray<Rule>
  /** Some options of other functions, which are unknown to this one. */
  readonly unknown: ReadonlyArray<string>
  /** What messages call the options as a whole. */
  readonly optionsName: "options" | "limits"
  /** `meter` is a new meter, for methods of meters. */
  readonly call: (task: Untyped, options: unknown, meter: Meter) => unknown
}

// --- the rules -------------------------------------------------------------------------------------------------------

/** What core takes for a length of time, and the facade does not. */
const moreNotDurations: ReadonlyArray<Shown> = [
  [5n, "5n"],
  [[1, 5], "an array"],
  [{ seconds: 5 }, "an object"],
  [Duration.seconds(5), "an object"]
]

const limitRules = limitRulesOf(moreNotDurations)

const cancellationRules: ReadonlyArray<Rule> = [
  rule("signal", {
    wanted: "an AbortSignal",
    wrongType: [
      [new AbortController(), "an object"],
      [{}, "an object"],
      ["signal", '"signal"'],
      [null, "null"],
      [true, "true"],
      [5, "5"]
    ],
    accepted: [new AbortController().signal, undefined]
  }),
  waitRule("grace", moreNotDurations)
]

/** A task that succeeds needs none of its retries. */
const retryRules: ReadonlyArray<Rule> = [
  rule("timeout", {
    ...duration(moreNotDurations),
    accepted: [...duration([]).accepted, undefined]
  }),
  rule("releaseOnTimeout", { wanted: "true or false", wrongType: notBooleans, accepted: [true, false, undefined] }),
  rule("retry", {
    wanted: "an object { times, delay, schedule, while, maxDelay, pauses }",
    wrongType: notObjects,
    accepted: [{}, { times: undefined, delay: undefined, schedule: undefined, while: undefined }, undefined]
  }),
  rule("retry.times", {
    wanted: "a whole number of at least 0, or Infinity",
    outOfRange: [...tooSmall, ...fractions],
    wrongType: notNumbers,
    accepted: [0, 3, Number.POSITIVE_INFINITY, undefined]
  }),
  rule("retry.delay", {
    wanted: 'a finite duration, such as 500 (milliseconds) or "1 second"',
    outOfRange: [[Number.POSITIVE_INFINITY, "Infinity"], ...negativeDurations, tooLong],
    wrongType: [...notDurations, ...moreNotDurations],
    accepted: [0, () => 5, 0.5, "1 minute", undefined]
  }),
  rule("retry.schedule", {
    wanted: "an Iterable of them",
    wrongType: [
      [5, "5"],
      ["10", '"10"'],
      [null, "null"],
      [{}, "an object"],
      [() => [], "a function"]
    ],
    accepted: [[1, "1 second"], new Set([1, 2]), [], undefined]
  }),
  {
    ...rule("retry.schedule[1]", {
      wanted: 'a finite duration, such as 500 (milliseconds) or "1 second"',
      outOfRange: [...tooSmall, [Number.POSITIVE_INFINITY, "Infinity"]],
      wrongType: [...notDurations, ...moreNotDurations],
      accepted: [0, "1 second"]
    }),
    options: (delay) => ({ retry: { schedule: [10, delay] } })
  },
  rule("retry.while", { wanted: "a function", wrongType: notFunctions, accepted: [() => true, undefined] }),
  rule("retry.maxDelay", {
    ...duration(moreNotDurations),
    accepted: [...duration([]).accepted, undefined]
  }),
  rule("retry.pauses", {
    wanted: "a Meter made by createMeter",
    wrongType: [
      [{ maxAtOnce: 1 }, "an object"],
      [[createMeter({})], "an array"],
      [5, "5"]
    ],
    accepted: [createMeter({}), undefined]
  })
]

const aMeter = createMeter({})
const meterRule = rule("meter", {
  wanted: "a Meter made by createMeter",
  wrongType: [
    [{ maxAtOnce: 1 }, "an object"],
    [createKeyedMeter({}), "an object"],
    [{ ...aMeter }, "an object"],
    [5, "5"],
    ["meter", '"meter"'],
    [null, "null"]
  ],
  accepted: [aMeter, [aMeter, createMeter({ maxPerSecond: 10 })], [], undefined]
})

const meterRules: ReadonlyArray<Rule> = [
  meterRule,
  {
    ...rule("meter[1]", {
      wanted: "a Meter made by createMeter",
      wrongType: [
        [{ maxAtOnce: 1 }, "an object"],
        [undefined, "undefined"],
        [[aMeter], "an array"]
      ],
      accepted: [createMeter({}), aMeter]
    }),
    options: (meter) => ({ meter: [aMeter, meter] })
  }
]

const verbRules: ReadonlyArray<Rule> = [
  ...limitRules,
  ...cancellationRules,
  ...retryRules,
  ...shared.verbRules,
  ...meterRules.filter((each) => each !== meterRule),
  // Functions of the item, too.
  { ...meterRule, accepted: [...meterRule.accepted, () => aMeter, () => [aMeter]] },
  shared.maxPendingRule,
  ...shared.verbRankRules,
  rule("settled", { wanted: "true or false", wrongType: notBooleans, accepted: [false, true, undefined] }),
  rule("stopOnError", { wanted: "true or false", wrongType: notBooleans, accepted: [true, undefined] })
]

const amapRules = [...verbRules, ...shared.amapRules]
const runAnyRules = [...verbRules, ...shared.runAnyRules(moreNotDurations)]

/** Options of a call that takes part in admission, but runs no task. */
const acquireRules: ReadonlyArray<Rule> = [
  ...cancellationRules.filter(({ option }) => option === "signal"),
  ...meterRules,
  shared.waitTimeoutRule(moreNotDurations),
  ...shared.taskRankRules
]

/** The cost of one task is checked when its windows are known: by the tests of costs. */
const singleRules: ReadonlyArray<Rule> = [
  ...cancellationRules,
  ...retryRules,
  ...meterRules,
  shared.waitTimeoutRule(moreNotDurations)
]
const runRules = [...singleRules, ...shared.taskRankRules]
const wrapRules = [
  ...singleRules,
  ...shared.verbRankRules,
  ...shared.verbRules.filter(({ option }) => option === "cost")
]

const meterLimitRules = [...limitRules, ...shared.waitLimitRules(moreNotDurations)]

/** Options that a meter has defaults for. */
const defaultRules = [...retryRules, ...shared.taskRankRules.filter(({ option }) => option === "priority")]

/** A limit that is always open. */
const openLimit = {
  isPaused: false,
  attach: () => {},
  opensIn: () => 0,
  take: () => undefined,
  started: () => {},
  correct: () => {},
  ended: () => {},
  added: () => {},
  rest: () => {},
  pause: () => {},
  resize: () => {},
  close: async () => {}
}

const storeRule = rule(
  "store",
  {
    wanted: "a store, such as redisStore(client)",
    wrongType: [
      [{}, "an object"],
      [{ limit: 5 }, "an object"],
      ["redis", '"redis"'],
      [null, "null"],
      [5, "5"],
      [[openLimit], "an array"]
    ],
    accepted: [{ version: 1, limit: () => openLimit }, undefined]
  },
  { name: "api" }
)

const meterOptionRules = [...meterLimitRules, ...defaultRules, shared.nameRule, storeRule]

// --- the entry points ------------------------------------------------------------------------------------------------

export const items = [1, 2, 3]

const unknownToVerbs = ["limits", "delay", "limit"]
const verb = (
  name: string,
  rules: ReadonlyArray<Rule>,
  call: EntryPoint["call"],
  reportsBy: EntryPoint["reportsBy"] = "rejecting"
): EntryPoint => ({ name, rules, call, reportsBy, unknown: unknownToVerbs, optionsName: "options" })

type Verbs = Readonly<Record<"amap" | "runAll" | "runAny" | "runOnEach", Untyped>>

/** The forms in which the verbs are called: as functions, or as methods of the meter. */
const forms = (suffix: string, of: (meter: Meter) => Verbs): ReadonlyArray<EntryPoint> => [
  verb(`runOnEach${suffix}`, verbRules, (task, options, meter) => of(meter).runOnEach(items, task, options)),
  verb(`runAll${suffix} over items`, verbRules, (task, options, meter) => of(meter).runAll(items, task, options)),
  verb(`runAll${suffix} over functions`, verbRules, (task, options, meter) => of(meter).runAll([task, task], options)),
  verb(`runAll${suffix} over a record`, verbRules, (task, options, meter) =>
    of(meter).runAll({ a: task, b: task }, options)
  ),
  verb(`amap${suffix}`, amapRules, (task, options, meter) => of(meter).amap(items, task, options), "throwing"),
  verb(`runAny${suffix} over items`, runAnyRules, (task, options, meter) => of(meter).runAny(items, task, options)),
  verb(`runAny${suffix} over functions`, runAnyRules, (task, options, meter) => of(meter).runAny([task, task], options))
]

export const verbEntryPoints: ReadonlyArray<EntryPoint> = [
  ...forms("", () => untyped),
  ...forms(" of a meter", (meter) => meter as unknown as Verbs)
]

const methodsFor = (name: string, of: (meter: Meter) => Meter): ReadonlyArray<EntryPoint> => {
  const unknown = ["maxAtOnce", "settled", "stopOnError", "onProgress", "ordered"]
  return [
    {
      name: `run of ${name}`,
      reportsBy: "rejecting",
      rules: runRules,
      unknown,
      optionsName: "options",
      call: (task, options, meter) => (of(meter).run as Untyped)(task, options)
    },
    {
      name: `tryRun of ${name}`,
      reportsBy: "rejecting",
      rules: runRules,
      unknown,
      optionsName: "options",
      call: (task, options, meter) => (of(meter).tryRun as Untyped)(task, options)
    },
    {
      name: `acquire of ${name}`,
      reportsBy: "rejecting",
      rules: acquireRules,
      unknown: [...unknown, "grace", "timeout", "retry", "releaseOnTimeout"],
      optionsName: "options",
      call: async (_, options, meter) => (await of(meter).acquire(options as never)).release()
    },
    {
      name: `wrap of ${name}`,
      reportsBy: "throwing",
      rules: wrapRules,
      unknown,
      optionsName: "options",
      call: (task, options, meter) => (of(meter).wrap as Untyped)(task, options)
    }
  ]
}

const takesLimits = (
  name: string,
  rules: ReadonlyArray<Rule>,
  call: (limits: unknown, meter: Meter) => unknown
): EntryPoint => ({
  name,
  reportsBy: "throwing",
  rules,
  unknown: ["signal", "ordered", "cost", "meter", "maxUnread"],
  optionsName: "limits",
  call: (_, limits, meter) => call(limits, meter)
})

const keyed = createKeyedMeter<string>({})

const limitEntryPoints: ReadonlyArray<EntryPoint> = [
  takesLimits("createMeter", meterOptionRules, (limits) => untyped.createMeter(limits)),
  takesLimits("createKeyedMeter", meterOptionRules, (limits) => untyped.createKeyedMeter(limits)),
  takesLimits("resize of a meter", meterLimitRules, (limits, meter) => (meter.resize as Untyped)(limits)),
  takesLimits("resize of a key's meter", meterLimitRules, (limits) => (keyed.for("a").resize as Untyped)(limits))
]

export const entryPoints: ReadonlyArray<EntryPoint> = [
  ...limitEntryPoints,
  ...verbEntryPoints,
  ...methodsFor("a meter", (meter) => meter),
  ...methodsFor("a key's meter", () => keyed.for("b"))
]

// --- how they reject -------------------------------------------------------------------------------------------------

/** All results of an `amap`, or what another function has returned. */
export const allOf = (returned: unknown): unknown =>
  typeof returned === "object" && returned !== null && Symbol.asyncIterator in returned
    ? Array.fromAsync(returned as AsyncIterable<unknown>)
    : returned

/** What an entry point did with options: the error, or what it returned. */
const outcomeOf = async (
  { call, reportsBy }: EntryPoint,
  task: Untyped,
  options: unknown,
  meter: Meter
): Promise<{ readonly error: unknown } | { readonly returned: unknown }> => {
  let returned: unknown
  try {
    returned = call(task, options, meter)
  } catch (error) {
    expect(reportsBy).toBe("throwing")
    return { error }
  }
  const promise = allOf(returned)
  if (!(promise instanceof Promise)) return { returned }
  const outcome = await settle(promise)
  if (outcome.status === "fulfilled") return { returned: outcome.value }
  // An iterator reports what is wrong with its options at the call.
  expect(reportsBy).toBe("rejecting")
  return { error: outcome.reason }
}

/** The error with which the entry point rejects these options. Fails if a task starts, or anything is left behind. */
export const rejects = async (entryPoint: EntryPoint, options: unknown): Promise<Error> => {
  const task = vi.fn<() => void>()
  const meter = createMeter({ windows: { tokens: { limit: 100, per: 1000 }, requests: { limit: 10, per: 1000 } } })
  const before = meter.snapshot()
  const since = now()
  const outcome = await outcomeOf(entryPoint, task, options, meter)
  await flush()
  if (!("error" in outcome)) expect.fail(`${entryPoint.name} has accepted ${JSON.stringify(options)}`)
  expect(outcome.error).toBeInstanceOf(Error)
  expect(task).not.toHaveBeenCalled()
  expect(meter.snapshot()).toEqual(before)
  await value(meter.idle())
  expect(vi.getTimerCount(), "timers").toBe(0)
  expect(now()).toBe(since)
  return outcome.error as Error
}

/** Fails if the entry point rejects these options. */
export const accepts = async (entryPoint: EntryPoint, options: unknown): Promise<void> => {
  const outcome = await outcomeOf(entryPoint, () => 1, options, createMeter({}))
  expect("error" in outcome ? outcome.error : undefined).toBe(undefined)
}

/** Fails unless the error is of that class and its message has all these texts. */
export const expectError = (
  error: unknown,
  kind: typeof RangeError | typeof TypeError,
  texts: ReadonlyArray<string>
): void => {
  expect(error).toBeInstanceOf(kind)
  for (const text of texts) expect((error as Error).message).toContain(text)
}

/** Fails unless the entry point rejects the value by its rule, with a message that has its name and the value. */
export const expectRejected = async (
  entryPoint: EntryPoint,
  { option, options, wanted }: Rule,
  kind: typeof RangeError | typeof TypeError,
  [value, shown]: Shown
): Promise<void> => {
  const error = await rejects(entryPoint, options(value))
  expect(error).toBeInstanceOf(kind)
  expect(problemIn(error.message)).toBe(`${option} must be ${wanted}, but is ${shown}`)
}
