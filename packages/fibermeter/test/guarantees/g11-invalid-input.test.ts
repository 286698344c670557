/** G11: limits are checked before anything starts, and rejected with the option's name and its value. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import {
  amapRules,
  limitRules,
  maxPendingRule,
  problemIn,
  rule,
  runAnyRules,
  taskRankRules,
  verbRankRules,
  verbRules,
  nameRule,
  waitLimitRules,
  waitTimeoutRule
} from "../support/rules.ts"
import type { Rule, Shown } from "../support/rules.ts"
import { Source } from "../support/Source.ts"

/** The functions as plain JavaScript sees them. */
type Untyped = (...args: ReadonlyArray<unknown>) => any

const untyped = { amap, runAll, runAny, runOnEach } as unknown as Readonly<
  Record<"amap" | "runAll" | "runAny" | "runOnEach", Untyped>
>
const untypedMeter = Meter as unknown as Readonly<Record<"keyed" | "make" | "resize", Untyped>>

interface EntryPoint {
  readonly name: string
  readonly rules: ReadonlyArray<Rule>
  /** Some options of other functions, which are unknown to this one. */
  readonly unknown: ReadonlyArray<string>
  /** Whether there must be options. */
  readonly needsOptions: boolean
  readonly call: (options: unknown, items: Iterable<unknown>, f: Untyped) => Effect.Effect<unknown, unknown>
}

const verb = (name: string, call: EntryPoint["call"], own: ReadonlyArray<Rule> = []): EntryPoint => ({
  name,
  call,
  rules: [...limits, ...verbRules, ...verbRankRules, ...meterRules, ...own],
  unknown: ["signal", "grace", "limit", "retry", "constructor"],
  needsOptions: false
})

const forLimits = (
  name: string,
  call: (limits: unknown) => Effect.Effect<unknown, unknown>,
  rules: ReadonlyArray<Rule> = [...limits, ...waitLimitRules([])]
): EntryPoint => ({
  name,
  call,
  rules,
  unknown: ["meter", "cost", "ordered", "maxUnread", "constructor"],
  needsOptions: true
})

const forTask = (
  name: string,
  call: (options: unknown, f: Untyped) => Effect.Effect<unknown, unknown>
): EntryPoint => ({
  name,
  call: (options, _, f) => call(options, f),
  rules: [...taskRankRules, waitTimeoutRule([])],
  unknown: ["meter", "maxAtOnce", "weights", "constructor"],
  needsOptions: false
})

const limits = limitRules([]).map((each) =>
  each.option === "windows.tokens.per"
    ? { ...each, accepted: [...each.accepted, 5n, [1, 500], { seconds: 1 }, Duration.seconds(1)] }
    : each
)

const optionRules: ReadonlyArray<Rule> = [...limits, ...waitLimitRules([]), nameRule]

const aMeter = Meter.makeUnsafe({})
const notMeters: ReadonlyArray<Shown> = [
  [{ maxAtOnce: 1 }, "an object"],
  [{}, "an object"],
  [5, "5"],
  ["meter", '"meter"'],
  [null, "null"]
]
const meterRules: ReadonlyArray<Rule> = [
  maxPendingRule,
  rule("meter", {
    wanted: "a Meter",
    wrongType: notMeters,
    accepted: [aMeter, [aMeter, Meter.makeUnsafe({})], [], () => aMeter, () => [aMeter]]
  }),
  {
    ...rule("meter[1]", {
      wanted: "a Meter",
      wrongType: [...notMeters, [undefined, "undefined"], [[aMeter], "an array"]],
      accepted: [aMeter, Meter.makeUnsafe({})]
    }),
    options: (meter) => ({ meter: [aMeter, meter] })
  }
]

const effect = (f: Untyped): Effect.Effect<unknown> => Effect.suspend(() => f(1, 0))

const entryPoints: ReadonlyArray<EntryPoint> = [
  forLimits("Meter.make", (limits) => untypedMeter.make(limits), optionRules),
  forLimits("Meter.makeUnsafe", (limits) => Effect.sync(() => Meter.makeUnsafe(limits as {})), optionRules),
  forLimits("Meter.keyed", (limits) => untypedMeter.keyed(limits), optionRules),
  forLimits("Meter.keyedUnsafe", (limits) => Effect.sync(() => Meter.keyedUnsafe(limits as {})), optionRules),
  forLimits("Meter.resize", (limits) => untypedMeter.resize(Meter.makeUnsafe({ maxWaiting: 1 }), limits)),
  forTask("Meter.metered", (options, f) => Meter.metered(effect(f), aMeter, options as {})),
  forTask("Meter.metered in a pipe", (options, f) => effect(f).pipe(Meter.metered(aMeter, options as {}))),
  forTask("Meter.meteredIfAvailable", (options, f) => Meter.meteredIfAvailable(effect(f), aMeter, options as {})),
  forTask("Meter.acquire", (options, f) =>
    Effect.scoped(Effect.andThen(Meter.acquire(aMeter, options as {}), effect(f)))
  ),
  verb("runOnEach", (options, items, f) => untyped.runOnEach(items, f, options)),
  verb("runAll over items", (options, items, f) => untyped.runAll(items, f, options)),
  verb("runAll over effects", (options, _, f) => untyped.runAll([effect(f)], options)),
  verb("runAll over a record", (options, _, f) => untyped.runAll({ a: effect(f) }, options)),
  verb("amap", (options, items, f) => Stream.runDrain(untyped.amap(items, f, options)), amapRules),
  verb("runAny over items", (options, items, f) => untyped.runAny(items, f, options), runAnyRules([])),
  verb("runAny over effects", (options, _, f) => untyped.runAny([effect(f)], options), runAnyRules([])),
  verb("runOnEach in a pipe", (options, items, f) => untyped.runOnEach(f, options)(items)),
  verb("runAll in a pipe", (options, items, f) => untyped.runAll(f, options)(items)),
  verb("amap in a pipe", (options, items, f) => Stream.runDrain(untyped.amap(f, options)(items)), amapRules),
  verb("runAny in a pipe", (options, items, f) => untyped.runAny(f, options)(items), runAnyRules([]))
]

const messageOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) expect.fail("it was accepted")
  expect(exit.cause.reasons.length).toBe(1)
  const [reason] = exit.cause.reasons
  if (reason === undefined || !Cause.isDieReason(reason)) expect.fail(`not a defect: ${String(reason)}`)
  expect(Cause.isIllegalArgumentError(reason.defect), `an IllegalArgumentError: ${String(reason.defect)}`).toBe(true)
  return (reason.defect as Cause.IllegalArgumentError).message
}

const messageOfDefect = (effect: Effect.Effect<unknown, unknown>) => Effect.map(Effect.exit(effect), messageOf)

/** The message of the defect. Fails if the call throws, or if it uses its source or its function. */
const rejection = (call: (items: Iterable<unknown>, f: Untyped) => Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const source = Source.indices(3)
    let started = 0
    const effect = call(source, () => Effect.sync(() => started++))
    const message = yield* messageOfDefect(effect)
    expect(source.opened).toBe(0)
    expect(started).toBe(0)
    return message
  })

const rejects = ({ call }: EntryPoint, options: unknown) => rejection((items, f) => call(options, items, f))

const accepts = ({ call }: EntryPoint, options: unknown) =>
  Effect.map(Effect.exit(call(options, [1], () => Effect.void)), (exit) => {
    expect(Exit.isSuccess(exit) ? "accepted" : Cause.pretty(exit.cause)).toBe("accepted")
  })

const expectRejected = (entryPoint: EntryPoint, { option, options, wanted }: Rule, [value, shown]: Shown) =>
  Effect.map(rejects(entryPoint, options(value)), (message) => {
    expect(problemIn(message)).toBe(`${option} must be ${wanted}, but is ${shown}`)
  })

const entryPoint = (name: string): EntryPoint => entryPoints.find((each) => each.name === name)!

describe("G11 invalid input", () => {
  const rules = new Map<Rule, EntryPoint>()
  for (const each of entryPoints) for (const rule of each.rules) if (!rules.has(rule)) rules.set(rule, each)

  describe("each option rejects all values but those of its rule", () => {
    it.effect.each(Array.from(rules, ([rule, entryPoint]) => ({ option: rule.option, rule, entryPoint })))(
      "$option",
      ({ entryPoint, rule }) =>
        Effect.gen(function* () {
          for (const shown of [...rule.outOfRange, ...rule.wrongType]) yield* expectRejected(entryPoint, rule, shown)
          for (const value of rule.accepted) yield* accepts(entryPoint, rule.options(value))
        })
    )

    it.effect("windows: other parts of a window are unknown", () =>
      Effect.gen(function* () {
        const options = { windows: { tokens: { limit: 1, per: 100, burst: 2 } } }
        expect(yield* rejects(entryPoint("Meter.make"), options)).toContain(
          "there is no option windows.tokens.burst. Known: windows.tokens.limit, windows.tokens.per"
        )
      })
    )
  })

  const ruled = new Set(Array.from(rules.keys(), ({ option }) => option))

  describe.each(entryPoints)("$name", (entryPoint) => {
    const { needsOptions, rules, unknown } = entryPoint

    it.effect("applies the rule of each of its options", () =>
      Effect.gen(function* () {
        for (const rule of rules) {
          for (const shown of rule.outOfRange.slice(0, 1)) yield* expectRejected(entryPoint, rule, shown)
          for (const shown of rule.wrongType.slice(0, 1)) yield* expectRejected(entryPoint, rule, shown)
          yield* accepts(entryPoint, rule.options(rule.accepted[0]))
        }
      })
    )

    it.effect("rejects names that it does not know, and lists those that it knows", () =>
      Effect.gen(function* () {
        const known = rules.map(({ option }) => option).filter((option) => /^\w+$/.test(option))
        for (const name of unknown) {
          const message = yield* rejects(entryPoint, { [name]: undefined })
          expect(message).toContain(`there is no option ${name}.`)
          const listed = message.split("Known: ")[1]!.split(", ")
          expect(listed).toEqual(expect.arrayContaining(known))
          expect(
            listed.filter((each) => !ruled.has(each)),
            "options without a rule"
          ).toEqual([])
        }
      })
    )

    it.effect("rejects options that are not an object", () =>
      Effect.gen(function* () {
        const name = needsOptions ? "the limits" : "the options"
        for (const [options, shown] of [
          [null, "null"],
          [5, "5"],
          ["maxAtOnce", '"maxAtOnce"'],
          [true, "true"],
          [[{ maxAtOnce: 1 }], "an array"],
          [Promise.resolve({}), "a Promise"]
        ] as const) {
          expect(problemIn(yield* rejects(entryPoint, options))).toBe(`${name} must be an object, but is ${shown}`)
        }
      })
    )

    it.effect(`accepts options that are empty${needsOptions ? "" : " or not there"}`, () =>
      Effect.gen(function* () {
        yield* accepts(entryPoint, {})
        yield* accepts(entryPoint, Object.create(null))
        if (needsOptions) {
          expect(yield* rejects(entryPoint, undefined)).toBe("the limits must be an object, but is undefined")
        } else {
          yield* accepts(entryPoint, undefined)
        }
      })
    )
  })

  it("makeUnsafe and keyedUnsafe throw the error that is a defect of make and keyed", () => {
    const limits = { maxAtOnce: 0 }
    expect(() => Meter.makeUnsafe(limits)).toThrow(Cause.IllegalArgumentError)
    expect(() => Meter.keyedUnsafe(limits)).toThrow(Cause.IllegalArgumentError)
  })

  it.effect("Meter.pacing rejects what make rejects", () =>
    Effect.gen(function* () {
      const pacing = limits.find(({ option }) => option === "maxPerSecond")!
      for (const [maxPerSecond, shown] of [...pacing.outOfRange, ...pacing.wrongType]) {
        const paced = Effect.suspend(() =>
          Effect.repeat(Effect.void, { schedule: Meter.pacing({ maxPerSecond } as never), times: 2 })
        )
        expect(problemIn(yield* messageOfDefect(paced))).toBe(`maxPerSecond must be ${pacing.wanted}, but is ${shown}`)
      }
    })
  )

  it.effect("options are checked also if there are no items", () =>
    Effect.gen(function* () {
      for (const call of [untyped.runOnEach, untyped.runAll, untyped.runAny]) {
        expect(yield* messageOfDefect(call([], Effect.succeed, { maxAtOnce: 0 }))).toContain("maxAtOnce")
      }
    })
  )

  it.effect.each([
    ["runAll over items", "concurrency", "maxAtOnce"],
    ["runAll over items", "maxatonce", "maxAtOnce"],
    ["runAll over items", "maxAtonce", "maxAtOnce"],
    ["runAll over items", "max_at_once", "maxAtOnce"],
    ["runAll over items", "maxPerSec", "maxPerSecond"],
    ["runAll over items", "maxPerSeconds", "maxPerSecond"],
    ["runAll over items", "max_per_second", "maxPerSecond"],
    ["runAll over items", "maxBursts", "maxBurst"],
    ["runAll over items", "meters", "meter"],
    ["amap", "order", "ordered"],
    ["amap", "maxUnreads", "maxUnread"],
    ["amap", "maxunread", "maxUnread"],
    ["runAny over items", "untill", "until"],
    ["Meter.make", "concurrency", "maxAtOnce"],
    ["Meter.makeUnsafe", "maxPerSec", "maxPerSecond"]
  ] as const)("an unknown option of %s: %s suggests %s", ([name, wrong, right]) =>
    Effect.gen(function* () {
      expect(yield* rejects(entryPoint(name), { [wrong]: 3 })).toContain(`${wrong}. Did you mean ${right}?`)
    })
  )

  describe.each(["runOnEach", "runAll", "amap", "runAny"] as const)("%s", (name) => {
    const run = (items: unknown, f?: Untyped): Effect.Effect<unknown, unknown> => {
      const effect = untyped[name](items, f)
      return name === "amap" ? Stream.runDrain(effect) : effect
    }

    it.effect("rejects an Effect in place of items, and says so", () =>
      Effect.gen(function* () {
        for (const effect of [Effect.succeed([1, 2]), Effect.fail("no"), Effect.never, Effect.sync(() => [1])]) {
          const message = yield* rejection((_, f) => run(effect, f))
          expect(message).toContain("items must be an Iterable or a Stream, and an Effect is neither")
        }
      })
    )

    it.effect("rejects items that are not iterable", () =>
      Effect.gen(function* () {
        for (const items of [5, {}, null, undefined, Promise.resolve([1])]) {
          expect(yield* rejection((_, f) => run(items, f))).toContain("items must be an Iterable or a Stream")
        }
      })
    )
  })

  it.effect.each([
    ["runOnEach", (f: unknown) => untyped.runOnEach([1], f)],
    ["amap", (f: unknown) => Stream.runDrain(untyped.amap([1], f))]
  ] as const)("%s rejects a task that is not a function", ([, call]) =>
    Effect.gen(function* () {
      for (const f of [5, "f", null, undefined, {}, Effect.void]) {
        expect(yield* messageOfDefect(call(f))).toContain("the task must be a function")
      }
      const message = yield* messageOfDefect(call(Promise.resolve(1)))
      expect(message).toMatch(/It has already started: .*\(\) =>/)
    })
  )

  it.effect.each(["runAll", "runAny"] as const)(
    "%s rejects a promise among its effects, and an Effect in place of them",
    (name) =>
      Effect.gen(function* () {
        const message = yield* messageOfDefect(untyped[name]([Promise.resolve(1)]))
        expect(message).toMatch(/already started.*\(\) =>/)
        expect(yield* messageOfDefect(untyped[name](Effect.succeed(1)))).toContain("an Effect")
      })
  )

  it("Meter.fromSemaphore and Meter.fromSchedule reject anything else", () => {
    const fromSemaphore: (value: any) => unknown = Meter.fromSemaphore
    const fromSchedule: (value: any) => unknown = Meter.fromSchedule
    for (const value of [5, null, undefined, {}, Effect.void]) {
      expect(() => fromSemaphore(value)).toThrow("the semaphore must be a Semaphore, but is")
      expect(() => fromSchedule(value)).toThrow("the schedule must be a Schedule, but is")
    }
  })
})
