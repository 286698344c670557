/**
 * The rules that options follow, each with the values that it accepts and rejects. The tests of both packages use them.
 *
 * A rule is tested with all its values at one entry point that has the option. Every entry point has one test, which
 * shows that it applies the rules of all its options.
 */

/** A value, and how a message shows it. */
export type Shown = readonly [value: unknown, shown: string]

/** What values an option takes. The first values of each list are those that a similar rule would treat differently. */
export interface Rule {
  /** The name as messages have it: `retry.times`, `windows.tokens.limit`. */
  readonly option: string
  /** What the message says of the values that are allowed. */
  readonly wanted: string
  /** Numbers and lengths of time that the rule excludes. */
  readonly outOfRange: ReadonlyArray<Shown>
  /** Values of another type. */
  readonly wrongType: ReadonlyArray<Shown>
  readonly accepted: ReadonlyArray<unknown>
  /** The options with this value for the option. */
  readonly options: (value: unknown) => object
}

export const rule = (
  option: string,
  { accepted, outOfRange = [], wanted, wrongType }: Omit<Rule, "option" | "options" | "outOfRange"> & Partial<Rule>,
  beside: object = {}
): Rule => ({
  option,
  wanted,
  outOfRange,
  wrongType,
  accepted,
  options: (value) => ({
    ...beside,
    ...(option.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as object)
  })
})

export const notObjects: ReadonlyArray<Shown> = [
  [3, "3"],
  ["always", '"always"'],
  [null, "null"],
  [true, "true"],
  [5n, "5n"],
  [Symbol("five"), "Symbol(five)"],
  [[10, 20], "an array"],
  [() => 1, "a function"],
  [Promise.resolve({}), "a Promise"]
]

export const notNumbers: ReadonlyArray<Shown> = [
  ["5", '"5"'],
  ["", '""'],
  [null, "null"],
  [true, "true"],
  [5n, "5n"],
  [Symbol("five"), "Symbol(five)"],
  [[5], "an array"],
  [{}, "an object"],
  [new Date(5), "an object"],
  [() => 5, "a function"],
  [Promise.resolve(5), "a Promise"]
]

export const notDurations: ReadonlyArray<Shown> = [
  ["1000", '"1000"'],
  ["", '""'],
  ["minute", '"minute"'],
  ["1 parsec", '"1 parsec"'],
  ["one minute", '"one minute"'],
  [null, "null"],
  [true, "true"],
  [Symbol("five"), "Symbol(five)"],
  [[5], "an array"],
  [{}, "an object"],
  [Promise.resolve(5), "a Promise"]
]

export const notFunctions: ReadonlyArray<Shown> = [
  [{ tokens: 5 }, "an object"],
  [true, "true"],
  [null, "null"],
  [5, "5"],
  ["tokens", '"tokens"'],
  [[], "an array"],
  [Promise.resolve(), "a Promise"]
]

export const notBooleans: ReadonlyArray<Shown> = [
  [1, "1"],
  [0, "0"],
  ["no", '"no"'],
  [null, "null"],
  [{}, "an object"],
  [() => true, "a function"]
]

export const tooSmall: ReadonlyArray<Shown> = [
  [-1, "-1"],
  [Number.NaN, "NaN"],
  [Number.NEGATIVE_INFINITY, "-Infinity"]
]

const zeros: ReadonlyArray<Shown> = [
  [0, "0"],
  [-0, "0"]
]

export const fractions: ReadonlyArray<Shown> = [
  [2.5, "2.5"],
  [0.5, "0.5"],
  [2 ** 53, "9007199254740992"]
]

const atLeastOne = {
  wanted: "a whole number of at least 1, or Infinity for no limit",
  outOfRange: [...zeros, ...tooSmall, ...fractions],
  wrongType: notNumbers,
  accepted: [1, 2, 1000, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]
}

export const negativeDurations: ReadonlyArray<Shown> = [...tooSmall, [-0.5, "-0.5"], ["-1 minute", '"-1 minute"']]

/** 1e305 ms are more nanoseconds than a number can hold. */
export const tooLong: Shown = [1e305, "1e+305"]

/** A length of time greater than 0. `wrongType` may have more: the facade takes fewer kinds of values than core. */
export const duration = (more: ReadonlyArray<Shown>) => ({
  wanted: 'a duration greater than 0, such as 60_000 (milliseconds) or "1 minute"',
  outOfRange: [...zeros, ["0 seconds", '"0 seconds"'], ...negativeDurations, tooLong] as ReadonlyArray<Shown>,
  wrongType: [...notDurations, [() => 5, "a function"], ...more] as ReadonlyArray<Shown>,
  accepted: [0.5, 10, "1 second", "2.5 minutes", Number.POSITIVE_INFINITY]
})

const window = { limit: 5, per: 1000 }

export const limitRules = (moreNotDurations: ReadonlyArray<Shown>): ReadonlyArray<Rule> => [
  rule("maxAtOnce", { ...atLeastOne, accepted: [...atLeastOne.accepted, undefined] }),
  rule("maxPerSecond", {
    wanted: "a number greater than 0 (at least 1e-12), or Infinity for no limit",
    outOfRange: [...zeros, ...tooSmall, [1e-300, "1e-300"], [Number.MIN_VALUE, "5e-324"]],
    wrongType: notNumbers,
    accepted: [0.2, 1e-12, 0.5, 5, 100_000, Number.POSITIVE_INFINITY, undefined]
  }),
  rule("maxBurst", { ...atLeastOne, accepted: [...atLeastOne.accepted, undefined] }, { maxPerSecond: 10 }),
  rule("windows", {
    wanted: "an object of named windows, { name: { limit, per } }",
    wrongType: notObjects,
    accepted: [{}, { tokens: window, pages: window }, { tokens: undefined }, undefined]
  }),
  rule("windows.tokens", { wanted: "an object { limit, per }", wrongType: notObjects, accepted: [window, undefined] }),
  {
    ...rule("windows.tokens.limit", { ...atLeastOne, wrongType: [[undefined, "undefined"], ...notNumbers] }),
    options: (limit) => ({ windows: { pages: window, tokens: { limit, per: 1000 } } })
  },
  {
    ...rule("windows.tokens.per", {
      ...duration(moreNotDurations),
      wrongType: [[undefined, "undefined"], ...duration(moreNotDurations).wrongType]
    }),
    options: (per) => ({ windows: { pages: window, tokens: { limit: 5, per } } })
  }
]

/** A length of time that may be 0. */
export const waitRule = (option: string, moreNotDurations: ReadonlyArray<Shown>): Rule =>
  rule(option, {
    wanted: 'a duration, such as 60_000 (milliseconds) or "1 minute"',
    outOfRange: [...negativeDurations, tooLong],
    wrongType: duration(moreNotDurations).wrongType,
    accepted: [0, 0.5, 10, "1 second", Number.POSITIVE_INFINITY, undefined]
  })

/** How long a task may wait: an option of single tasks, and a limit of meters. */
export const waitTimeoutRule = (moreNotDurations: ReadonlyArray<Shown>): Rule =>
  waitRule("waitTimeout", moreNotDurations)

/** The limits that only meters have. */
export const waitLimitRules = (moreNotDurations: ReadonlyArray<Shown>): ReadonlyArray<Rule> => [
  rule("maxWaiting", {
    wanted: "a whole number of at least 0, or Infinity",
    outOfRange: [...tooSmall, ...fractions],
    wrongType: notNumbers,
    accepted: [0, 1, 1000, Number.POSITIVE_INFINITY, undefined]
  }),
  waitTimeoutRule(moreNotDurations),
  rule("overflow", {
    wanted: '"refuse" or "dropOldest"',
    wrongType: [
      ["drop", '"drop"'],
      ["", '""'],
      [1, "1"],
      [null, "null"],
      [true, "true"]
    ],
    accepted: ["dropOldest", "refuse", undefined]
  })
]

export const nameRule: Rule = rule("name", {
  wanted: "a string that is not empty",
  outOfRange: [["", '""']],
  wrongType: [
    [5, "5"],
    [null, "null"],
    [true, "true"],
    [Symbol("api"), "Symbol(api)"],
    [["api"], "an array"],
    [() => "api", "a function"]
  ],
  accepted: ["api", undefined]
})

/** The options of the verbs that both packages check alike. All verbs know all of them, whether or not they use them. */
export const verbRules: ReadonlyArray<Rule> = [
  rule("cost", { wanted: "a function", wrongType: notFunctions, accepted: [() => ({}), undefined] }),
  rule("onProgress", { wanted: "a function", wrongType: notFunctions, accepted: [() => {}, undefined] })
]

const permits = rule("permits", {
  wanted: "a whole number of at least 1",
  outOfRange: [
    [0, "0"],
    [-1, "-1"],
    [1.5, "1.5"],
    [NaN, "NaN"],
    [Infinity, "Infinity"],
    [2 ** 53, "9007199254740992"]
  ],
  wrongType: notNumbers,
  accepted: [1, 7, undefined]
})
const priority = {
  wanted: "a finite number",
  outOfRange: [
    [NaN, "NaN"],
    [Infinity, "Infinity"],
    [-Infinity, "-Infinity"]
  ],
  wrongType: notNumbers,
  accepted: [0, -1, 0.5, 1e300, undefined]
} as const
const lanes = ["a", 0, null, {}, Symbol("a"), undefined]

/** What a task holds and how it ranks, as options of single tasks. */
export const taskRankRules: ReadonlyArray<Rule> = [
  permits,
  rule("priority", priority),
  rule("lane", { wanted: "a key, such as a string", wrongType: [[() => "a", "a function"]], accepted: lanes })
]

/** The same as options of verbs, where functions of the item are accepted. */
export const verbRankRules: ReadonlyArray<Rule> = [
  permits,
  rule("priority", {
    ...priority,
    wrongType: notNumbers.filter(([value]) => typeof value !== "function"),
    accepted: [...priority.accepted, () => 5]
  }),
  rule("lane", { wanted: "", wrongType: [], accepted: [...lanes, () => "a"] })
]

export const maxPendingRule = rule("maxPending", { ...atLeastOne, accepted: [...atLeastOne.accepted, undefined] })

export const amapRules: ReadonlyArray<Rule> = [
  rule("maxUnread", { ...atLeastOne, accepted: [...atLeastOne.accepted, undefined] }),
  rule("ordered", { wanted: "true or false", wrongType: notBooleans, accepted: [true, false, undefined] })
]

export const runAnyRules = (moreNotDurations: ReadonlyArray<Shown>): ReadonlyArray<Rule> => [
  waitRule("stagger", moreNotDurations),
  rule("until", {
    wanted: '"success" or "settled"',
    wrongType: [
      ["first", '"first"'],
      ["", '""'],
      [1, "1"],
      [null, "null"],
      [true, "true"]
    ],
    accepted: ["settled", "success", undefined]
  })
]

/** What a message says of an invalid value, without the hint that follows if it is a promise. */
export const problemIn = (message: string): string => message.split(". It has already started: ")[0]!
