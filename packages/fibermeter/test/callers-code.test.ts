/** The caller's code may throw anywhere, and change what it has passed in: a call reads it once, and dies with its throw. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Context, Stream } from "effect"
import { amap, Meter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { Progress } from "../src/Progress.ts"

const mine = new Error("of the caller")
const fails = (): never => {
  throw mine
}

type Untyped = (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown, unknown>

const defectOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) expect.fail("it was accepted")
  const [reason] = exit.cause.reasons
  return reason !== undefined && Cause.isDieReason(reason) ? reason.defect : expect.fail(String(exit.cause))
}

/** Making a call throws nothing, whatever it is given. */
const dies = (call: () => Effect.Effect<unknown, unknown>) => Effect.map(Effect.exit(call()), defectOf)

const verbs: Record<string, (items: unknown, options?: unknown) => Effect.Effect<unknown, unknown>> = {
  runOnEach: (items, options) => (runOnEach as unknown as Untyped)(items, () => Effect.void, options),
  "runOnEach in a pipe": (items, options) => {
    const made = (runOnEach as (...args: ReadonlyArray<unknown>) => unknown)(() => Effect.void, options)
    return (made as Untyped)(items)
  },
  runAll: (items, options) => (runAll as unknown as Untyped)(items, () => Effect.void, options),
  amap: (items, options) =>
    Stream.runDrain(
      (amap as unknown as (...args: ReadonlyArray<unknown>) => Stream.Stream<unknown, unknown>)(
        items,
        () => Effect.void,
        options
      )
    ),
  runAny: (items, options) => (runAny as unknown as Untyped)(items, () => Effect.fail("no"), options)
}

describe.each(Object.entries(verbs))("%s", (_, verb) => {
  it.effect.each<readonly [string, () => unknown]>([
    ["an element of the array is a getter", () => Object.defineProperty([1, 2, 3], 1, { get: fails })],
    [
      "its length is",
      () => new Proxy([1], { get: (target, name) => (name === "length" ? fails() : Reflect.get(target, name)) })
    ],
    ["the iterator method is a getter", () => Object.defineProperty({}, Symbol.iterator, { get: fails })],
    ["the iterator does", () => ({ [Symbol.iterator]: () => ({ next: fails }) })]
  ])("dies with what the items throw: %s", ([, items]) =>
    Effect.gen(function* () {
      const meter = yield* Meter.make({ maxAtOnce: 1 })
      const another = yield* Effect.forkChild(Meter.metered(Effect.succeed("another"), meter))
      expect(yield* dies(() => verb(items(), { meter, onProgress: () => {} }))).toBe(mine)
      expect(yield* Fiber.join(another)).toBe("another")
      yield* Meter.idle(meter)
    })
  )

  it.effect("rejects an onProgress that returns a promise or an Effect, which nothing would run", () =>
    Effect.gen(function* () {
      const isAsync = yield* dies(() => verb([1], { onProgress: () => Promise.reject(mine) }))
      expect(isAsync).toMatchObject({ message: expect.stringContaining("onProgress must not be async") as string })
      const isEffect = yield* dies(() => verb([1], { onProgress: () => Effect.void }))
      expect(isEffect).toMatchObject({
        message: expect.stringContaining("onProgress must not return an Effect") as string
      })
    })
  )

  it.effect("has the total of what counts what it iterates, and of nothing else", () =>
    Effect.gen(function* () {
      const totals: Array<unknown> = []
      for (const items of [[1, 2], new Set([1, 2]), { size: 12_345, [Symbol.iterator]: () => [1, 2].values() }]) {
        const seen: Array<Progress> = []
        yield* Effect.exit(verb(items, { onProgress: (progress: Progress) => seen.push(progress) }))
        totals.push(seen.at(-1)?.total)
      }
      expect(totals).toEqual([2, 2, undefined])
    })
  )
})

it.effect("a task that returns a promise is a defect, and the rejection of the promise is not unhandled", () =>
  Effect.gen(function* () {
    const defect = yield* dies(() => (runAll as unknown as Untyped)([1], () => Promise.reject(mine)))
    expect(defect).toMatchObject({ message: expect.stringContaining("Effect.promise") as string })
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(yield* dies(() => (runAll as unknown as Untyped)([1], () => proxy))).toBeInstanceOf(TypeError)
  })
)

it.effect("a record of effects is read once, at the call", () =>
  Effect.gen(function* () {
    let reads = 0
    const all = runAll({
      get a() {
        reads++
        return Effect.succeed(1)
      }
    })
    expect(yield* all).toEqual({ a: 1 })
    expect(yield* all).toEqual({ a: 1 })
    expect(reads).toBe(1)
    expect(
      yield* dies(() =>
        (runAll as unknown as Untyped)(Object.defineProperty({}, "a", { get: fails, enumerable: true }))
      )
    ).toBe(mine)
  })
)

// --- every entry point -----------------------------------------------------------------------------------------------

class Api extends Context.Service<Api, Meter.Meter>()("Api") {}

const anyMeter = Meter.makeUnsafe({ windows: { calls: { limit: 10, per: "1 minute" } } })

/** An effect of what has been called at once. */
const called = (call: () => unknown): Effect.Effect<unknown> => {
  try {
    return Effect.succeed(call())
  } catch (error) {
    return Effect.die(error)
  }
}

/** What takes limits. */
const limited: ReadonlyArray<readonly [string, (limits: unknown) => Effect.Effect<unknown, unknown>]> = [
  ...Object.entries(verbs).map(([name, verb]) => [name, (limits: unknown) => verb([1], limits)] as const),
  ["runAll of effects", (limits) => (runAll as unknown as Untyped)([Effect.void], limits)],
  ["make", (limits) => Meter.make(limits as Meter.Limits)],
  ["makeUnsafe", (limits) => called(() => Meter.makeUnsafe(limits as Meter.Limits))],
  ["keyed", (limits) => Meter.keyed(limits as Meter.Limits)],
  ["keyedUnsafe", (limits) => called(() => Meter.keyedUnsafe(limits as Meter.Limits))],
  ["layer", (limits) => Effect.scoped(Layer.build(Meter.layer(Api, limits as Meter.Limits)))],
  ["resize", (limits) => Meter.resize(Meter.makeUnsafe({}), limits as Meter.Limits)],
  ["resize in a pipe", (limits) => Meter.makeUnsafe({}).pipe(Meter.resize(limits as Meter.Limits))],
  [
    "pacing",
    (limits) => Effect.repeat(Effect.void, { schedule: Meter.pacing(limits as { maxPerSecond: number }), times: 1 })
  ]
]

describe.each(limited)("limits of %s", (_, call) => {
  it.live("are read once at the call, through the prototype chain; a throw is a defect", () =>
    Effect.gen(function* () {
      class Getters {
        get maxAtOnce(): number {
          return 0
        }
      }
      for (const limits of [new Getters(), Object.create({ maxAtOnce: 0 }), { maxPerSecond: 1e-300 }, { per: 1 }]) {
        expect(Cause.isIllegalArgumentError(yield* dies(() => call(limits)))).toBe(true)
      }
      expect(yield* dies(() => call(Object.defineProperty({}, "maxAtOnce", { get: fails })))).toBe(mine)
      let reads = 0
      const limits = { windows: { calls: { limit: 5, per: "1 minute" } } }
      Object.defineProperty(limits, "maxAtOnce", { enumerable: true, get: () => (reads++ === 0 ? 5 : 0) })
      const made = call(limits)
      // Nothing of this reaches the call, which is made and not run yet.
      limits.windows.calls.limit = 0
      yield* Effect.exit(made)
      const after = yield* Effect.exit(made)
      if (Exit.isFailure(after)) expect(Cause.isDieReason(after.cause.reasons[0]!)).toBe(false)
      expect(reads).toBeLessThanOrEqual(1)
    })
  )
})

const metered = Meter.metered as unknown as Untyped

/** What takes a meter. */
const ofMeter: ReadonlyArray<readonly [string, (meter: unknown) => Effect.Effect<unknown, unknown>]> = [
  ["metered", (meter) => metered(Effect.void, meter)],
  ["metered in a pipe", (meter) => (Meter.metered as unknown as (meter: unknown) => Untyped)(meter)(Effect.void)],
  ["acquire", (meter) => Effect.scoped(Meter.acquire(meter as Meter.Meter, {}))],
  ["acquire in a pipe", (meter) => Effect.scoped(Meter.acquire()(meter as Meter.Meter))],
  ["pause", (meter) => Meter.pause(meter as Meter.Meter, 5)],
  ["pause in a pipe", (meter) => Meter.pause(5)(meter as Meter.Meter)],
  ["resume", (meter) => Meter.resume(meter as Meter.Meter)],
  ["resize", (meter) => Meter.resize(meter as Meter.Meter, {})],
  ["resize in a pipe", (meter) => Meter.resize({})(meter as Meter.Meter)],
  ["snapshot", (meter) => Meter.snapshot(meter as Meter.Meter)],
  ["idle", (meter) => Meter.idle(meter as Meter.Meter)],
  ["all", (meter) => Effect.sync(() => Meter.all(anyMeter, meter as Meter.Meter))]
]

it.effect.each(ofMeter)("%s rejects a value that is not a meter", ([, call]) =>
  Effect.gen(function* () {
    for (const meter of [{ maxAtOnce: 1 }, undefined, 5]) {
      expect(Cause.isIllegalArgumentError(yield* dies(() => call(meter)))).toBe(true)
    }
  })
)

describe("metered and acquire", () => {
  const ways: ReadonlyArray<readonly [string, (options: unknown) => Effect.Effect<unknown, unknown>]> = [
    ["metered", (options) => metered(Effect.void, anyMeter, options)],
    [
      "metered in a pipe",
      (options) =>
        (Meter.metered as unknown as (...args: ReadonlyArray<unknown>) => Untyped)(anyMeter, options)(Effect.void)
    ],
    ["acquire", (options) => Effect.scoped(Meter.acquire(anyMeter, options as {}))],
    ["acquire in a pipe", (options) => Effect.scoped(anyMeter.pipe(Meter.acquire(options as {})))]
  ]
  it.effect.each(ways)("%s: options are checked and copied at the call", ([, call]) =>
    Effect.gen(function* () {
      for (const options of [{ costs: {} }, 5, { cost: { calls: -1 } }, { cost: { nothing: 1 } }, { cost: 5 }]) {
        expect(Cause.isIllegalArgumentError(yield* dies(() => call(options)))).toBe(true)
      }
      expect(yield* dies(() => call(Object.defineProperty({}, "cost", { get: fails })))).toBe(mine)
      const cost = { calls: 1 }
      const made = call({ cost })
      cost.calls = 1000
      expect(Exit.isSuccess(yield* Effect.exit(made))).toBe(true)
    })
  )

  it.effect("metered rejects a value that is not an Effect", () =>
    Effect.gen(function* () {
      const defect = yield* dies(() => metered(Promise.resolve(1), anyMeter))
      expect(defect).toMatchObject({
        message: expect.stringContaining("must be an Effect, but is a Promise") as string
      })
    })
  )
})

it.effect("correct rejects an invalid cost, and copies a valid one at the call", () =>
  Effect.gen(function* () {
    const meter = Meter.makeUnsafe({ windows: { calls: { limit: 10, per: "1 minute" } } })
    const cost = { calls: 3 }
    const correction = Meter.correct(cost)
    cost.calls = 9
    yield* Meter.metered(correction, meter)
    expect((yield* Meter.snapshot(meter)).room).toEqual({ calls: 7 })
    for (const bad of [5, null, { calls: 1e308 }, Promise.reject(mine)]) {
      expect(Cause.isIllegalArgumentError(yield* dies(() => Meter.metered(Meter.correct(bad as {}), meter)))).toBe(true)
    }
  })
)

it.effect("pause reads its duration at the call; a bigint is nanoseconds, as everywhere in Effect", () =>
  Effect.gen(function* () {
    const meter = Meter.makeUnsafe({})
    yield* Meter.pause(meter, 5_000_000n)
    expect(Duration.toMillis((yield* Meter.snapshot(meter)).nextStart)).toBe(5)
    expect(Cause.isIllegalArgumentError(yield* dies(() => Meter.pause(meter, -1)))).toBe(true)
  })
)
