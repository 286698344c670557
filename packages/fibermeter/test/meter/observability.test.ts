/** Metrics and spans of meters that have a name, at exact instants of the test clock. */
import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Config,
  Context,
  Effect,
  Exit,
  Fiber,
  Metric,
  Option,
  References,
  Schedule,
  Stream,
  Tracer
} from "effect"
import { TestClock } from "effect/testing"
import { amap, Meter, runAll, runAny, runOnEach } from "../../src/index.ts"
import { verbs } from "../support/verbs.ts"

interface Recorded {
  readonly name: string
  readonly meter: unknown
  readonly from: number
  readonly to: number | undefined
  readonly parent: string | undefined
  readonly exit: string | undefined
}

const millis = (nanos: bigint): number => Number(nanos / 1_000_000n)

const exitOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"
}

const recordOf = (span: Tracer.Span): Recorded => ({
  name: span.name,
  meter: span.attributes.get("fibermeter.meter"),
  from: millis(span.status.startTime),
  to: span.status._tag === "Ended" ? millis(span.status.endTime) : undefined,
  parent: Option.getOrUndefined(Option.map(span.parent, (parent) => (parent as Tracer.Span).name)),
  exit: span.status._tag === "Ended" ? exitOf(span.status.exit) : undefined
})

/** Runs an effect with metrics of its own, and a tracer that keeps the spans, in the order in which they begin. */
const observing = <A, E, R>(use: (spans: () => ReadonlyArray<Recorded>) => Effect.Effect<A, E, R>) => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return use(() => spans.map(recordOf)).pipe(
    Effect.provideService(Tracer.Tracer, tracer),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )
}

/** All metrics of fibermeter, in short. */
const metrics = Effect.map(Metric.snapshot, (all) => {
  const valueOf = ({ state }: Metric.Metric.Snapshot): unknown => {
    if ("value" in state) return state.value
    return "buckets" in state ? [state.count, state.sum] : (state as { readonly count: unknown }).count
  }
  const entries = all.map((metric): [string, unknown] => {
    const { meter, reason } = metric.attributes ?? {}
    return [[metric.id.replace("fibermeter_", ""), meter, reason].filter(Boolean).join(" "), valueOf(metric)]
  })
  return Object.fromEntries(entries)
})

const task = Effect.sleep(10)

describe("metrics", () => {
  it.effect("count what runs, waits and has started, and how long it has waited", () =>
    observing(() =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
        const calls = yield* Effect.forkChild(
          Effect.all([Meter.metered(task, api), Meter.metered(task, api), Effect.scoped(Meter.acquire(api))], {
            concurrency: "unbounded"
          })
        )
        yield* TestClock.adjust(5)
        expect(yield* metrics).toEqual({
          "running api": 1,
          "waiting api": 2,
          "started api": 1,
          "wait_time api": [1, 0]
        })
        yield* TestClock.adjust(10)
        expect(yield* metrics).toMatchObject({ "running api": 1, "waiting api": 1, "started api": 2 })
        yield* TestClock.adjust(10)
        yield* Fiber.join(calls)
        expect(yield* metrics).toEqual({
          "running api": 0,
          "waiting api": 0,
          "started api": 3,
          // 0, 10 and 20 ms.
          "wait_time api": [3, 30]
        })
      })
    )
  )

  it.effect.each(verbs)("$name is counted under its meter", ({ run }) =>
    observing(() =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
        const call = yield* Effect.forkChild(
          Effect.exit(run(["a", "b"], () => task, { meter: api })) as Effect.Effect<unknown>
        )
        yield* TestClock.adjust(5)
        expect(yield* metrics).toMatchObject({ "running api": 1, "waiting api": 1, "started api": 1 })
        yield* Fiber.interrupt(call)
        expect(yield* metrics).toMatchObject({
          "running api": 0,
          "waiting api": 0,
          "started api": 1,
          "refused api cancelled": 1
        })
      })
    )
  )

  it.effect("count what does not start, by the reason", () =>
    observing(() =>
      Effect.gen(function* () {
        const api = Meter.makeUnsafe({
          name: "api",
          maxAtOnce: 1,
          maxWaiting: 1,
          waitTimeout: 7,
          windows: { tokens: { limit: 5, per: 1000 } }
        })
        const first = yield* Effect.forkChild(Meter.metered(task, api), { startImmediately: true })
        const asked = yield* Effect.forkChild(
          Effect.all(
            [
              // Waits too long.
              Effect.exit(Meter.metered(task, api)),
              // Is one too many.
              Effect.exit(Meter.metered(task, api)),
              Effect.exit(Meter.metered(task, api, { permits: 2 })),
              Effect.exit(Meter.metered(task, api, { cost: { tokens: 6 } }))
            ],
            { concurrency: "unbounded" }
          )
        )
        yield* TestClock.adjust(10)
        yield* Fiber.join(first)
        yield* Fiber.join(asked)
        yield* Effect.forkChild(Meter.drain(api), { startImmediately: true })
        yield* Effect.exit(Meter.metered(task, api))
        yield* Effect.exit(runOnEach([1], () => task, { meter: api }))
        expect(yield* metrics).toEqual({
          "running api": 0,
          "waiting api": 0,
          "started api": 1,
          "wait_time api": [1, 0],
          "refused api wait-timeout": 1,
          "refused api queue-full": 1,
          "refused api excessive": 2,
          "refused api closed": 2
        })
      })
    )
  )

  it.effect("count a start that another meter refuses for good", () =>
    observing(() =>
      Effect.gen(function* () {
        const api = Meter.makeUnsafe({ name: "api" })
        const once = Meter.fromSchedule(Schedule.recurs(0))
        yield* Effect.exit(runOnEach([1, 2, 3], () => task.pipe(Effect.forkChild), { meter: [api, once] }))
        expect(yield* metrics).toMatchObject({ "refused api failed": 1 })
      })
    )
  )

  it.effect("a family of meters adds up, and so do meters of the same name", () =>
    observing(() =>
      Effect.gen(function* () {
        const hosts = yield* Meter.keyed<string>({ name: "hosts", maxAtOnce: 1 })
        const more = Meter.keyedUnsafe<string>({ name: "hosts", maxAtOnce: 1 })
        yield* Effect.forkChild(
          Effect.all(
            [hosts.for("a"), hosts.for("a"), hosts.for("b"), more.for("a")].map((meter) => Meter.metered(task, meter)),
            { concurrency: "unbounded" }
          )
        )
        yield* TestClock.adjust(5)
        expect(yield* metrics).toMatchObject({ "running hosts": 3, "waiting hosts": 1, "started hosts": 3 })
        yield* TestClock.adjust(15)
        expect(yield* metrics).toMatchObject({ "running hosts": 0, "waiting hosts": 0, "started hosts": 4 })
      })
    )
  )

  it.effect("a meter of a layer has a name, too", () => {
    class Api extends Context.Service<Api, Meter.Meter>()("Api") {}
    const layers = [
      Meter.layer(Api, { name: "api", maxAtOnce: 1 }),
      Meter.layerConfig(Api, { name: "api", maxAtOnce: Config.Int("MAX_AT_ONCE").pipe(Config.withDefault(1)) })
    ]
    const use = Effect.gen(function* () {
      yield* Effect.forkChild(Meter.metered(task, yield* Api), { startImmediately: true })
      expect(yield* metrics).toMatchObject({ "running api": 1 })
    })
    return Effect.forEach(layers, (layer) => observing(() => Effect.provide(use, layer)))
  })

  it.effect("there are none of a meter without a name", () =>
    observing((spans) =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ maxAtOnce: 1 })
        const call = yield* Effect.forkChild(
          Effect.all([runAll([task, task], { meter: api }), Meter.metered(task, api)], { concurrency: "unbounded" })
        )
        yield* TestClock.adjust(30)
        yield* Fiber.join(call)
        yield* Effect.exit(Meter.metered(task, api, { permits: 2 }))
        expect(yield* metrics).toEqual({})
        expect(spans()).toEqual([])
      })
    )
  )
})

describe("spans", () => {
  it.effect("split the wait of a task from its run", () =>
    observing((spans) =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
        const request = Effect.withSpan(task, "request")
        const handle = (name: string) => Effect.withSpan(Meter.metered(request, api), name)
        const calls = yield* Effect.forkChild(Effect.all([handle("a"), handle("b")], { concurrency: "unbounded" }))
        yield* TestClock.adjust(20)
        yield* Fiber.join(calls)
        const common = { meter: "api", exit: "success" }
        expect(spans().filter(({ name }) => name.startsWith("fibermeter"))).toEqual([
          { ...common, name: "fibermeter.run", from: 0, to: 10, parent: "a" },
          { ...common, name: "fibermeter.wait", from: 0, to: 10, parent: "b" },
          { ...common, name: "fibermeter.run", from: 10, to: 20, parent: "b" }
        ])
        expect(spans().flatMap(({ name, parent }) => (name === "request" ? [parent] : []))).toEqual([
          "fibermeter.run",
          "fibermeter.run"
        ])
      })
    )
  )

  it.effect.each([
    ["runOnEach", (meter: Meter.Meter) => runOnEach([1, 2], () => task, { meter })],
    ["runAll", (meter: Meter.Meter) => runAll([task, task], { meter })],
    ["amap", (meter: Meter.Meter) => amap([1, 2], () => task, { meter }).pipe(Stream.runDrain)],
    [
      "runAny",
      (meter: Meter.Meter) => Effect.exit(runAny([1, 2], () => Effect.andThen(task, Effect.fail("lost")), { meter }))
    ]
  ] as const)("those of %s are below the span of its caller", ([, call]) =>
    observing((spans) =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
        const fiber = yield* Effect.forkChild(Effect.withSpan(call(api) as Effect.Effect<unknown>, "caller"))
        yield* TestClock.adjust(20)
        yield* Fiber.join(fiber)
        expect(spans().map(({ from, meter, name, parent, to }) => [name, meter, from, to, parent])).toEqual([
          ["caller", undefined, 0, 20, undefined],
          ["fibermeter.run", "api", 0, 10, "caller"],
          ["fibermeter.wait", "api", 0, 10, "caller"],
          ["fibermeter.run", "api", 10, 20, "caller"]
        ])
      })
    )
  )

  it.effect("are not made for Effect's own tracer, which exports none", () =>
    Effect.gen(function* () {
      const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
      const spanOfTask = Effect.andThen(task, Effect.option(Effect.currentSpan))
      const calls = yield* Effect.forkChild(runAll([spanOfTask, spanOfTask], { meter: api }))
      yield* TestClock.adjust(20)
      expect(yield* Fiber.join(calls)).toEqual([Option.none(), Option.none()])
    })
  )

  it.effect("of a wait that leads to no start end with the refusal or the interruption", () =>
    observing((spans) =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1, waitTimeout: 7 })
        yield* Effect.forkChild(Meter.metered(task, api), { startImmediately: true })
        const late = yield* Effect.forkChild(Effect.exit(Meter.metered(task, api)), { startImmediately: true })
        const left = yield* Effect.forkChild(Meter.metered(task, api), { startImmediately: true })
        yield* TestClock.adjust(3)
        yield* Fiber.interrupt(left)
        yield* TestClock.adjust(7)
        yield* Fiber.join(late)
        const waits = spans().filter(({ name }) => name === "fibermeter.wait")
        expect(waits.map(({ exit, from, to }) => [from, to, exit])).toEqual([
          [0, 7, "failed"],
          [0, 3, "interrupted"]
        ])
      })
    )
  )

  it.effect("a run ends as its task does", () =>
    observing((spans) =>
      Effect.gen(function* () {
        const api = yield* Meter.make({ name: "api" })
        yield* Effect.exit(Meter.metered(Effect.fail("no"), api))
        yield* Effect.exit(Meter.metered(Effect.interrupt, api))
        expect(yield* Meter.meteredIfAvailable(Effect.succeed(1), api)).toEqual(Option.some(1))
        expect(spans().map(({ exit, name }) => [name, exit])).toEqual([
          ["fibermeter.run", "failed"],
          ["fibermeter.run", "interrupted"],
          ["fibermeter.run", "success"]
        ])
      })
    )
  )

  it.effect("under several meters, there is one for all that have a name", () =>
    observing((spans) =>
      Effect.gen(function* () {
        const program = yield* Meter.make({ name: "program", maxAtOnce: 1 })
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
        const meter = Meter.all(program, yield* Meter.make({}), api)
        const fiber = yield* Effect.forkChild(runOnEach([1, 2], () => task, { meter, maxPerSecond: 1000 }))
        yield* TestClock.adjust(20)
        yield* Fiber.join(fiber)
        const [first, ...others] = spans()
        expect(String(first!.meter).split(",").toSorted()).toEqual(["api", "program"])
        expect(others.map(({ meter, name }) => [name, meter])).toEqual([
          ["fibermeter.wait", first!.meter],
          ["fibermeter.run", first!.meter]
        ])
        expect(yield* metrics).toMatchObject({ "started api": 2, "started program": 2, "wait_time api": [2, 10] })
      })
    )
  )

  it.effect("of items that have meters of their own are those of these meters", () =>
    observing((spans) =>
      Effect.gen(function* () {
        const [a, b] = [Meter.makeUnsafe({ name: "a", maxAtOnce: 1 }), Meter.makeUnsafe({ name: "b", maxAtOnce: 1 })]
        const meter = (item: string) => (item === "a" ? a : b)
        const call = runAll(["a", "a", "b"], () => task, { meter })
        const fiber = yield* Effect.forkChild(Effect.withSpan(call, "caller"))
        yield* TestClock.adjust(20)
        yield* Fiber.join(fiber)
        expect(spans().map(({ from, meter, name, parent, to }) => [name, meter, from, to, parent])).toEqual([
          ["caller", undefined, 0, 20, undefined],
          ["fibermeter.run", "a", 0, 10, "caller"],
          ["fibermeter.wait", "a", 0, 10, "caller"],
          ["fibermeter.run", "b", 0, 10, "caller"],
          ["fibermeter.run", "a", 10, 20, "caller"]
        ])
        expect(yield* metrics).toMatchObject({
          "running a": 0,
          "running b": 0,
          "waiting a": 0,
          "started a": 2,
          "started b": 1,
          "wait_time a": [2, 10]
        })
      })
    )
  )

  it.effect("are not made for Effect's own tracer, even if that is provided", () =>
    Effect.gen(function* () {
      const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
      const inSpan = yield* Effect.option(Meter.metered(Effect.currentSpan, api))
      expect(inSpan).toEqual(Option.none())
    }).pipe(Effect.withTracer(Tracer.nativeTracer))
  )

  it.effect("have no times where the tracer is not to measure them", () =>
    observing((spans) =>
      Effect.gen(function* () {
        yield* TestClock.adjust(5)
        const api = yield* Meter.make({ name: "api", maxAtOnce: 1 })
        const fiber = yield* Effect.forkChild(runOnEach([1, 2], () => task, { meter: api }))
        yield* TestClock.adjust(20)
        yield* Fiber.join(fiber)
        expect(spans().map(({ from, to }) => [from, to])).toEqual([
          [0, 0],
          [0, 0],
          [0, 0]
        ])
      }).pipe(Effect.provideService(References.TracerTimingEnabled, false))
    )
  )
})
