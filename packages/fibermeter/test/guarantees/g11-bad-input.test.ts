/** G11: limits are checked before anything starts, and refused with the option's name and the value it had. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { Source } from "../support/Source.ts"
import { verbs } from "../support/verbs.ts"

/** For what TypeScript would not let through: a value of this type may stand anywhere. */
type Untyped = never

const names = (value: unknown): string => (typeof value === "string" ? `"${value}"` : String(value))

const noWholeNumber: ReadonlyArray<unknown> = [
  0,
  -1,
  -0,
  0.5,
  2.5,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
  "5",
  null,
  true,
  [3],
  {},
  5n
]
const noPositiveNumber: ReadonlyArray<unknown> = [
  0,
  -1,
  -0.5,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
  "5",
  null,
  true,
  [3],
  {},
  5n
]

const limits: ReadonlyArray<{
  readonly option: string
  readonly bad: ReadonlyArray<unknown>
  readonly beside?: object
}> = [
  { option: "maxAtOnce", bad: noWholeNumber },
  { option: "maxPerSecond", bad: noPositiveNumber },
  { option: "maxBurst", bad: noWholeNumber, beside: { maxPerSecond: 5 } }
]

const amapLimits = [...limits, { option: "maxUnread", bad: noWholeNumber, beside: {} }]

const messageOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) expect.fail("it was accepted")
  expect(exit.cause.reasons.length).toBe(1)
  const [reason] = exit.cause.reasons
  if (reason === undefined || !Cause.isDieReason(reason)) expect.fail(`not a defect: ${String(reason)}`)
  expect(Cause.isIllegalArgumentError(reason.defect), `an IllegalArgumentError: ${String(reason.defect)}`).toBe(true)
  return (reason.defect as Cause.IllegalArgumentError).message
}

/** Runs a verb that must refuse its input; gives the message. Nothing may be asked of the source, nothing may start. */
const refusal = (
  make: (items: Iterable<number>, f: (item: number) => Effect.Effect<number>) => Effect.Effect<unknown, unknown>
) =>
  Effect.gen(function* () {
    const source = Source.indices(3)
    let started = 0
    // Making the call throws nothing: it is the effect that dies.
    const call = make(source, (item) =>
      Effect.sync(() => {
        started++
        return item
      })
    )
    const message = messageOf(yield* Effect.exit(call))
    expect(source.opened).toBe(0)
    expect(started).toBe(0)
    return message
  })

describe("G11 bad input", () => {
  describe.each(verbs)("$name", (verb) => {
    const known = verb.name.startsWith("amap") ? amapLimits : limits
    const cases = known.flatMap(({ bad, beside, option }) =>
      bad.map((value) => ({ option, value, beside, shown: names(value) }))
    )

    it.effect.each(cases)("refuses $option: $shown", ({ beside, option, shown, value }) =>
      Effect.gen(function* () {
        const message = yield* refusal((items, f) => verb.run(items, f, { ...beside, [option]: value }))
        expect(message).toContain(option)
        if (typeof value !== "object" || value === null) expect(message).toContain(shown.replaceAll('"', ""))
      })
    )

    it.effect.each(known)("accepts undefined and Infinity for $option", ({ beside, option }) =>
      Effect.gen(function* () {
        for (const value of [undefined, Number.POSITIVE_INFINITY]) {
          const options = { ...beside, [option]: value } as Untyped
          expect(yield* Effect.exit(verb.run([1], Effect.succeed, options))).toEqual(Exit.void)
        }
      })
    )

    it.effect("accepts whole numbers from 1, and any rate above 0", () =>
      Effect.gen(function* () {
        for (const options of [
          { maxAtOnce: 1 },
          { maxAtOnce: Number.MAX_SAFE_INTEGER },
          { maxPerSecond: 0.2 },
          { maxPerSecond: 1e-9 },
          { maxPerSecond: 2.5, maxBurst: 3 },
          { maxPerSecond: 1e9 }
        ]) {
          expect(yield* Effect.exit(verb.run([1], Effect.succeed, options))).toEqual(Exit.void)
        }
      })
    )

    it.effect("refuses an unknown option, and names the nearest that it knows", () =>
      Effect.gen(function* () {
        const nearest: ReadonlyArray<readonly [unknown: string, known: string]> = [
          ["concurrency", "maxAtOnce"],
          ["maxatonce", "maxAtOnce"],
          ["maxAtonce", "maxAtOnce"],
          ["max_at_once", "maxAtOnce"],
          ["maxPerSec", "maxPerSecond"],
          ["maxPerSeconds", "maxPerSecond"],
          ["max_per_second", "maxPerSecond"],
          ["maxBursts", "maxBurst"],
          ["meters", "meter"]
        ]
        for (const [unknown, known] of nearest) {
          const message = yield* refusal((items, f) => verb.run(items, f, { [unknown]: 3 }))
          expect(message).toContain(unknown)
          expect(message).toContain(known)
        }
        expect(yield* refusal((items, f) => verb.run(items, f, { somethingElse: 1 } as Untyped))).toContain(
          "somethingElse"
        )
      })
    )

    it.effect("refuses a meter that is none, and names the option", () =>
      Effect.gen(function* () {
        for (const meter of [5, "api", {}, { maxAtOnce: 3 }, [Meter.makeUnsafe({}), {}], null]) {
          const message = yield* refusal((items, f) => verb.run(items, f, { meter } as Untyped))
          expect(message).toContain("meter")
        }
      })
    )

    it.effect("accepts no meters at all", () =>
      Effect.gen(function* () {
        expect(yield* Effect.exit(verb.run([1], Effect.succeed, { meter: [] }))).toEqual(Exit.void)
      })
    )

    it.effect("refuses an Effect in place of items, and says so", () =>
      Effect.gen(function* () {
        for (const effect of [Effect.succeed([1, 2]), Effect.fail("no"), Effect.never, Effect.sync(() => [1])]) {
          const message = yield* refusal((_, f) => verb.run(effect as Untyped, f))
          expect(message).toContain("items")
          expect(message).toContain("Effect")
        }
      })
    )

    it.effect("refuses what is not iterable", () =>
      Effect.gen(function* () {
        for (const items of [5, {}, null, undefined, Promise.resolve([1])]) {
          const message = yield* refusal((_, f) => verb.run(items as Untyped, f))
          expect(message).toContain("items")
        }
      })
    )

    it.effect("checks its options also when there are no items", () =>
      Effect.gen(function* () {
        const message = messageOf(yield* Effect.exit(verb.run([], Effect.succeed, { maxAtOnce: 0 })))
        expect(message).toContain("maxAtOnce")
      })
    )
  })

  const withOptions: ReadonlyArray<
    readonly [name: string, call: (options: object) => Effect.Effect<unknown, unknown>]
  > = [
    ["runOnEach", (options) => runOnEach([1], Effect.succeed, options)],
    ["runAll", (options) => runAll([1], Effect.succeed, options)],
    ["runAll of effects", (options) => runAll([Effect.void], options)],
    ["amap", (options) => Stream.runDrain(amap([1], Effect.succeed, options))],
    ["runAny", (options) => runAny([1], Effect.succeed, options)],
    ["runAny of effects", (options) => runAny([Effect.void], options)]
  ]

  it.effect.each(withOptions)("%s: refuses options that are no object", ([, call]) =>
    Effect.gen(function* () {
      for (const options of [5, "maxAtOnce", true, null]) {
        expect(messageOf(yield* Effect.exit(call(options as Untyped)))).toContain("options")
      }
    })
  )

  it.effect.each(withOptions)("%s: refuses a limit that is none", ([, call]) =>
    Effect.gen(function* () {
      const message = messageOf(yield* Effect.exit(call({ maxAtOnce: 2.5 })))
      expect(message).toContain("maxAtOnce")
      expect(message).toContain("2.5")
    })
  )

  const withFunction: ReadonlyArray<
    readonly [name: string, call: (f: () => Effect.Effect<void>) => Effect.Effect<unknown, unknown>]
  > = [
    ["runOnEach", (f) => runOnEach([1], f)],
    ["amap", (f) => Stream.runDrain(amap([1], f))]
  ]

  it.effect.each(withFunction)("%s: a promise in place of the function has already started: `() => …`", ([, call]) =>
    Effect.gen(function* () {
      const message = messageOf(yield* Effect.exit(call(Promise.resolve(1) as Untyped)))
      expect(message).toMatch(/already (been )?(started|running)/)
      expect(message).toContain("() =>")
    })
  )

  const ofEffects = (effects: unknown): ReadonlyArray<Effect.Effect<unknown, unknown>> => [
    runAll(effects as ReadonlyArray<Effect.Effect<unknown>>),
    runAny(effects as ReadonlyArray<Effect.Effect<unknown>>)
  ]

  it.effect("a promise among listed effects has already started: `() => …`", () =>
    Effect.gen(function* () {
      for (const call of ofEffects([Promise.resolve(1)])) {
        const message = messageOf(yield* Effect.exit(call))
        expect(message).toMatch(/already (been )?(started|running)/)
        expect(message).toContain("() =>")
      }
    })
  )

  it.effect.each(withFunction)("%s: anything else in place of the function is refused", ([, call]) =>
    Effect.gen(function* () {
      for (const f of [5, "f", null, undefined, {}, Effect.void]) messageOf(yield* Effect.exit(call(f as Untyped)))
    })
  )

  it.effect("an Effect in place of a list of effects is refused", () =>
    Effect.gen(function* () {
      for (const call of ofEffects(Effect.succeed(1))) {
        expect(messageOf(yield* Effect.exit(call))).toContain("Effect")
      }
    })
  )

  describe("amap", () => {
    it.effect("refuses an `ordered` that is no boolean", () =>
      Effect.gen(function* () {
        const message = yield* refusal((items, f) => Stream.runDrain(amap(items, f, { ordered: "yes" } as Untyped)))
        expect(message).toContain("ordered")
        expect(message).toContain("yes")
      })
    )

    it.effect("names its own options as well", () =>
      Effect.gen(function* () {
        for (const [unknown, known] of [
          ["order", "ordered"],
          ["maxUnreads", "maxUnread"],
          ["maxunread", "maxUnread"]
        ] as const) {
          const message = yield* refusal((items, f) => Stream.runDrain(amap(items, f, { [unknown]: true } as Untyped)))
          expect(message).toContain(known)
        }
      })
    )
  })

  describe("runAny", () => {
    it.effect("refuses an `until` that it does not know", () =>
      Effect.gen(function* () {
        for (const until of ["first", 5, null, true]) {
          const message = yield* refusal((items, f) => runAny(items, f, { until } as Untyped))
          expect(message).toContain("until")
          expect(message).toContain(String(until))
        }
      })
    )

    it.effect("names its own option as well", () =>
      Effect.gen(function* () {
        const message = yield* refusal((items, f) => runAny(items, f, { untill: "settled" } as Untyped))
        expect(message).toContain("until")
      })
    )
  })

  describe("Meter", () => {
    const cases = limits.flatMap(({ bad, beside, option }) =>
      bad.map((value) => ({ option, limits: { ...beside, [option]: value }, shown: names(value) }))
    )

    it.effect.each(cases)("make dies, and makeUnsafe throws, for $option: $shown", ({ limits, option }) =>
      Effect.gen(function* () {
        const message = messageOf(yield* Effect.exit(Meter.make(limits as Untyped)))
        expect(message).toContain(option)
        let thrown: unknown
        try {
          Meter.makeUnsafe(limits)
        } catch (error) {
          thrown = error
        }
        expect(Cause.isIllegalArgumentError(thrown)).toBe(true)
        expect((thrown as Error).message).toBe(message)
      })
    )

    it.effect("refuses an unknown limit, and names the nearest that it knows", () =>
      Effect.gen(function* () {
        const message = messageOf(yield* Effect.exit(Meter.make({ concurrency: 3 } as Untyped)))
        expect(message).toContain("concurrency")
        expect(message).toContain("maxAtOnce")
        expect(() => Meter.makeUnsafe({ maxPerSec: 3 } as Untyped)).toThrow("maxPerSecond")
      })
    )

    it.effect("pacing refuses what `make` refuses", () =>
      Effect.gen(function* () {
        for (const maxPerSecond of [0, -1, Number.NaN, "5", null]) {
          const exit = yield* Effect.exit(
            Effect.suspend(() =>
              Effect.repeat(Effect.void, { schedule: Meter.pacing({ maxPerSecond } as Untyped), times: 2 })
            )
          )
          expect(messageOf(exit)).toContain("maxPerSecond")
        }
      })
    )
  })
})
