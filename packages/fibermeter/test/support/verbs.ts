/** The verbs as one table: each runs `f` on items and passes what its caller gets to `read`. */
import { Effect, Stream } from "effect"
import { amap, type Items, type Meter, type Options, runAll, runAny, runOnEach } from "../../src/index.ts"

/** Meters as the tables use them: they may fail with anything, and need nothing. */
export type TestMeters = Meter.Meter<unknown> | ReadonlyArray<Meter.Meter<unknown>>
export type TestOptions = Options<TestMeters, any, Meter.Cost>

export interface Verb {
  readonly name: "runOnEach" | "runAll" | "amap" | "amap ordered" | "runAny"
  readonly run: <A, B, E, R>(
    items: Items<A, E, R>,
    f: (item: A, index: number) => Effect.Effect<B, E, R>,
    options?: TestOptions,
    read?: (result: B) => void
  ) => Effect.Effect<void, unknown, R>
}

const ignore = () => {}

export const verbs: ReadonlyArray<Verb> = [
  {
    name: "runOnEach",
    run: (items, f, options) => runOnEach(items, f, options)
  },
  {
    name: "runAll",
    run: (items, f, options, read = ignore) => Effect.map(runAll(items, f, options), (results) => results.forEach(read))
  },
  {
    name: "amap",
    run: (items, f, options, read = ignore) =>
      Stream.runForEach(amap(items, f, options), (result) => Effect.sync(() => read(result)))
  },
  {
    name: "amap ordered",
    run: (items, f, options, read = ignore) =>
      Stream.runForEach(amap(items, f, { ...options, ordered: true }), (result) => Effect.sync(() => read(result)))
  },
  {
    name: "runAny",
    run: (items, f, options, read = ignore) => Effect.map(runAny(items, f, options), (result) => void read(result))
  }
]
