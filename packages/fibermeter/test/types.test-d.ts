/** What the types promise: results in their shape, and E and R of items, tasks and meters, each exactly. */
import { Context, Effect, pipe, Schedule, Semaphore } from "effect"
import type { Cause, Config, Duration, Layer, Scope, Stream } from "effect"
import { describe, expectTypeOf, it } from "vitest"
import {
  amap,
  type AmapOptions,
  type Items,
  Meter,
  type MeterStore,
  type Options,
  runAll,
  runAny,
  type RunAnyOptions,
  runOnEach,
  type StoreError,
  WorkQueue
} from "../src/index.ts"

class ItemError {
  readonly _tag = "ItemError"
}
class TaskError {
  readonly _tag = "TaskError"
}
class MeterError {
  readonly _tag = "MeterError"
}
class ItemService extends Context.Service<ItemService, { readonly item: true }>()("types/Item") {}
class TaskService extends Context.Service<TaskService, { readonly task: true }>()("types/Task") {}
class MeterService extends Context.Service<MeterService, { readonly meter: true }>()("types/Meter") {}

declare const numbers: ReadonlyArray<number>
declare const set: Set<string>
declare const generator: Generator<boolean>
declare const stream: Stream.Stream<string, ItemError, ItemService>
declare const task: (item: number, index: number) => Effect.Effect<Date, TaskError, TaskService>
declare const ofString: (item: string) => Effect.Effect<Date, TaskError, TaskService>
declare const strange: Meter.Meter<MeterError, MeterService>
const plain = Meter.makeUnsafe({ maxAtOnce: 1 })

describe("runOnEach", () => {
  it("has no result, and the errors and services of its tasks", () => {
    expectTypeOf(runOnEach(numbers, task)).toEqualTypeOf<Effect.Effect<void, TaskError, TaskService>>()
    expectTypeOf(runOnEach(numbers, () => Effect.void)).toEqualTypeOf<Effect.Effect<void>>()
  })

  it("takes any iterable, and infers its items", () => {
    void runOnEach(set, (item, index) => {
      expectTypeOf(item).toEqualTypeOf<string>()
      expectTypeOf(index).toEqualTypeOf<number>()
      return Effect.void
    })
    void runOnEach(generator, (item) => {
      expectTypeOf(item).toEqualTypeOf<boolean>()
      return Effect.void
    })
    void runOnEach([1, "two"], (item) => {
      expectTypeOf(item).toEqualTypeOf<string | number>()
      return Effect.void
    })
    void runOnEach(new Map([["one", 1]]), (item) => {
      expectTypeOf(item).toEqualTypeOf<[string, number]>()
      return Effect.void
    })
    void runOnEach("text", (item) => {
      expectTypeOf(item).toEqualTypeOf<string>()
      return Effect.void
    })
  })

  it("adds the errors and services of a stream", () => {
    expectTypeOf(runOnEach(stream, ofString)).toEqualTypeOf<
      Effect.Effect<void, ItemError | TaskError, ItemService | TaskService>
    >()
  })

  it("adds the errors and services of its meters, which by default have none", () => {
    expectTypeOf(runOnEach(numbers, task, { meter: plain })).toEqualTypeOf<
      Effect.Effect<void, TaskError, TaskService>
    >()
    expectTypeOf(runOnEach(numbers, task, { meter: strange })).toEqualTypeOf<
      Effect.Effect<void, TaskError | MeterError, TaskService | MeterService>
    >()
    expectTypeOf(runOnEach(numbers, task, { meter: [plain, strange] })).toEqualTypeOf<
      Effect.Effect<void, TaskError | MeterError, TaskService | MeterService>
    >()
    expectTypeOf(runOnEach(stream, ofString, { meter: [strange] })).toEqualTypeOf<
      Effect.Effect<void, ItemError | TaskError | MeterError, ItemService | TaskService | MeterService>
    >()
  })

  it("is the same data-last", () => {
    expectTypeOf(pipe(numbers, runOnEach(task))).toEqualTypeOf<Effect.Effect<void, TaskError, TaskService>>()
    expectTypeOf(pipe(numbers, runOnEach(task, { maxAtOnce: 3, meter: strange }))).toEqualTypeOf<
      Effect.Effect<void, TaskError | MeterError, TaskService | MeterService>
    >()
    expectTypeOf(stream.pipe(runOnEach(ofString))).toEqualTypeOf<
      Effect.Effect<void, ItemError | TaskError, ItemService | TaskService>
    >()
    expectTypeOf(
      pipe(
        numbers,
        runOnEach((item: number) => Effect.succeed(item))
      )
    ).toEqualTypeOf<Effect.Effect<void>>()
  })
})

describe("runAll", () => {
  it("gives the results of items as an array", () => {
    expectTypeOf(runAll(numbers, task)).toEqualTypeOf<Effect.Effect<Array<Date>, TaskError, TaskService>>()
    expectTypeOf(runAll(stream, ofString, { meter: strange })).toEqualTypeOf<
      Effect.Effect<Array<Date>, ItemError | TaskError | MeterError, ItemService | TaskService | MeterService>
    >()
  })

  it("is the same data-last", () => {
    expectTypeOf(pipe(numbers, runAll(task))).toEqualTypeOf<Effect.Effect<Array<Date>, TaskError, TaskService>>()
    expectTypeOf(stream.pipe(runAll(ofString, { maxPerSecond: 5 }))).toEqualTypeOf<
      Effect.Effect<Array<Date>, ItemError | TaskError, ItemService | TaskService>
    >()
  })

  it("keeps the shape of a tuple of effects", () => {
    const call = runAll([Effect.succeed(1), Effect.fail(new TaskError()), Effect.as(TaskService, "three")], {
      maxAtOnce: 2
    })
    expectTypeOf(call).toEqualTypeOf<Effect.Effect<[number, never, string], TaskError, TaskService>>()
    expectTypeOf(runAll([])).toEqualTypeOf<Effect.Effect<[]>>()
  })

  it("keeps the shape of a record of effects", () => {
    const call = runAll({ one: Effect.succeed(1), two: Effect.as(TaskService, "two") }, { meter: strange })
    expectTypeOf(call).toEqualTypeOf<
      Effect.Effect<{ one: number; two: string }, MeterError, TaskService | MeterService>
    >()
  })

  it("gives an array for any other list of effects", () => {
    const effects: ReadonlyArray<Effect.Effect<number, TaskError>> = []
    expectTypeOf(runAll(effects)).toEqualTypeOf<Effect.Effect<Array<number>, TaskError>>()
    const iterable: Iterable<Effect.Effect<number, TaskError, TaskService>> = effects
    expectTypeOf(runAll(iterable)).toEqualTypeOf<Effect.Effect<Array<number>, TaskError, TaskService>>()
  })

  it("gives what Effect.all gives", () => {
    const tuple = [Effect.succeed(1), Effect.fail("no" as const)] as const
    expectTypeOf(runAll(tuple)).toEqualTypeOf(Effect.all(tuple))
    const record = { one: Effect.succeed(1), two: Effect.fail("no" as const) }
    expectTypeOf(runAll(record)).toEqualTypeOf(Effect.all(record))
  })
})

describe("a meter per item", () => {
  it("brings the errors and services of all meters that the function can return", () => {
    const meter = (item: number) => (item > 1 ? strange : plain)
    const both = (item: number, index: number) => [strange, plain].slice(item + index)
    type All<A> = Effect.Effect<A, TaskError | MeterError, TaskService | MeterService>
    expectTypeOf(runOnEach(numbers, task, { meter })).toEqualTypeOf<All<void>>()
    expectTypeOf(runAll(numbers, task, { meter: both, maxPending: 3 })).toEqualTypeOf<All<Array<Date>>>()
    expectTypeOf(pipe(numbers, runAll(task, { meter: both }))).toEqualTypeOf<All<Array<Date>>>()
    expectTypeOf(amap(numbers, task, { meter })).toEqualTypeOf<
      Stream.Stream<Date, TaskError | MeterError, TaskService | MeterService>
    >()
    expectTypeOf(runAny(numbers, task, { meter: () => plain })).toEqualTypeOf<
      Effect.Effect<Date, TaskError | Cause.NoSuchElementError, TaskService>
    >()
    expectTypeOf(runAll([Effect.succeed(1)], { meter: () => [plain, strange] })).toEqualTypeOf<
      Effect.Effect<[number], MeterError, MeterService>
    >()
  })

  it("is a function of the item and its index", () => {
    void runOnEach(numbers, task, {
      meter: (item, index) => {
        expectTypeOf(item).toEqualTypeOf<number>()
        expectTypeOf(index).toEqualTypeOf<number>()
        return plain
      }
    })
    // @ts-expect-error: a meter
    void runOnEach(numbers, task, { meter: () => undefined })
    // @ts-expect-error: a function of numbers
    void runOnEach(numbers, task, { meter: (item: string) => (item === "" ? plain : strange) })
  })
})

describe("amap", () => {
  it("is a stream of results", () => {
    expectTypeOf(amap(numbers, task)).toEqualTypeOf<Stream.Stream<Date, TaskError, TaskService>>()
    expectTypeOf(amap(numbers, task, { ordered: true, maxUnread: 3 })).toEqualTypeOf<
      Stream.Stream<Date, TaskError, TaskService>
    >()
    expectTypeOf(amap(stream, ofString, { meter: [strange, plain] })).toEqualTypeOf<
      Stream.Stream<Date, ItemError | TaskError | MeterError, ItemService | TaskService | MeterService>
    >()
  })

  it("is the same data-last", () => {
    expectTypeOf(pipe(numbers, amap(task))).toEqualTypeOf<Stream.Stream<Date, TaskError, TaskService>>()
    expectTypeOf(stream.pipe(amap(ofString, { ordered: true }))).toEqualTypeOf<
      Stream.Stream<Date, ItemError | TaskError, ItemService | TaskService>
    >()
  })
})

describe("runAny", () => {
  it("may find nobody to win, where there may be no tasks", () => {
    expectTypeOf(runAny(numbers, task)).toEqualTypeOf<
      Effect.Effect<Date, TaskError | Cause.NoSuchElementError, TaskService>
    >()
    expectTypeOf(runAny(stream, ofString, { until: "settled", meter: strange })).toEqualTypeOf<
      Effect.Effect<
        Date,
        ItemError | TaskError | MeterError | Cause.NoSuchElementError,
        ItemService | TaskService | MeterService
      >
    >()
    const effects: ReadonlyArray<Effect.Effect<number, TaskError>> = []
    expectTypeOf(runAny(effects)).toEqualTypeOf<Effect.Effect<number, TaskError | Cause.NoSuchElementError>>()
    expectTypeOf(runAny([])).toEqualTypeOf<Effect.Effect<never, Cause.NoSuchElementError>>()
  })

  it("always finds one in a tuple that is not empty", () => {
    expectTypeOf(runAny([Effect.succeed(1), Effect.succeed("two")])).toEqualTypeOf<Effect.Effect<string | number>>()
    expectTypeOf(runAny([Effect.fail(new TaskError()), Effect.as(TaskService, 2)], { maxAtOnce: 1 })).toEqualTypeOf<
      Effect.Effect<number, TaskError, TaskService>
    >()
    const atLeastOne: [Effect.Effect<1>, ...Array<Effect.Effect<2, TaskError>>] = [Effect.succeed(1 as const)]
    expectTypeOf(runAny(atLeastOne)).toEqualTypeOf<Effect.Effect<1 | 2, TaskError>>()
  })

  it("is the same data-last", () => {
    expectTypeOf(pipe(numbers, runAny(task, { until: "success" }))).toEqualTypeOf<
      Effect.Effect<Date, TaskError | Cause.NoSuchElementError, TaskService>
    >()
  })
})

describe("items", () => {
  it("are no Effect, though Effects are iterable", () => {
    // @ts-expect-error: an Effect is no list of items
    void runOnEach(Effect.succeed([1]), () => Effect.void)
    // @ts-expect-error: an Effect is no list of items
    void runAll(Effect.succeed([1]), () => Effect.void)
    // @ts-expect-error: an Effect is no list of effects
    void runAll(Effect.succeed(1))
    // @ts-expect-error: an Effect is no list of items
    void amap(Effect.succeed([1]), () => Effect.void)
    // @ts-expect-error: an Effect is no list of items
    void runAny(Effect.succeed([1]), () => Effect.void)
    // @ts-expect-error: an Effect is no list of effects
    void runAny(Effect.succeed(1))
    expectTypeOf<Effect.Effect<number>>().not.toExtend<Items<unknown>>()
    expectTypeOf<Array<number>>().toExtend<Items<number>>()
    expectTypeOf<Stream.Stream<number, ItemError, ItemService>>().toExtend<Items<number, ItemError, ItemService>>()
  })

  it("are no promise, no async iterable and no number", () => {
    // @ts-expect-error: not iterable
    void runOnEach(Promise.resolve([1]), () => Effect.void)
    // @ts-expect-error: not iterable
    void amap(5, () => Effect.void)
    // @ts-expect-error: a promise is no effect
    void runAll([Promise.resolve(1)])
  })

  it("are what the function takes", () => {
    const ofNumber = (item: number) => Effect.succeed(item)
    // @ts-expect-error: the function takes numbers
    void runOnEach(["a"], ofNumber)
    // @ts-expect-error: the function takes numbers
    void pipe(["a"], runAll(ofNumber))
  })

  it("the function gives an Effect", () => {
    // @ts-expect-error: no Effect
    void runOnEach(numbers, () => 5)
    // @ts-expect-error: a promise is no Effect
    void amap(numbers, () => Promise.resolve(5))
  })
})

describe("options", () => {
  it("are those that the verb knows, and no others", () => {
    // @ts-expect-error: the name is maxAtOnce
    void runOnEach(numbers, task, { concurrency: 3 })
    // @ts-expect-error: an option of amap
    void runOnEach(numbers, task, { ordered: true })
    // @ts-expect-error: an option of amap
    void runAll(numbers, task, { maxUnread: 3 })
    // @ts-expect-error: an option of runAny
    void amap(numbers, task, { until: "success" })
    // @ts-expect-error: an option of amap
    void runAny(numbers, task, { ordered: true })
    // @ts-expect-error: the name is maxAtOnce
    void runAll([Effect.void], { concurrency: 3 })
    // @ts-expect-error: the name is maxAtOnce
    void Meter.make({ concurrency: 3 })
    expectTypeOf<keyof Options>().toEqualTypeOf<
      keyof Meter.Limits | "meter" | "maxPending" | "cost" | "permits" | "priority" | "lane" | "onProgress"
    >()
    expectTypeOf<keyof AmapOptions>().toEqualTypeOf<keyof Options | "ordered" | "maxUnread">()
    expectTypeOf<keyof RunAnyOptions>().toEqualTypeOf<keyof Options | "until" | "stagger">()
    expectTypeOf<keyof Meter.Limits>().toEqualTypeOf<"maxAtOnce" | "maxPerSecond" | "maxBurst" | "windows">()
  })

  it("have the values that they can have", () => {
    // @ts-expect-error: a number
    void runOnEach(numbers, task, { maxAtOnce: "3" })
    // @ts-expect-error: a number
    void runOnEach(numbers, task, { maxPerSecond: null })
    // @ts-expect-error: a boolean
    void amap(numbers, task, { ordered: "yes" })
    // @ts-expect-error: "success" or "settled"
    void runAny(numbers, task, { until: "first" })
    // @ts-expect-error: a meter, not its limits
    void runOnEach(numbers, task, { meter: { maxAtOnce: 3 } })
    // @ts-expect-error: a meter, not a semaphore
    void runOnEach(numbers, task, { meter: Semaphore.makeUnsafe(1) })
    expectTypeOf<RunAnyOptions["until"]>().toEqualTypeOf<"success" | "settled" | undefined>()
  })

  it("may be left undefined, one by one", () => {
    const limits: { readonly maxAtOnce: number | undefined; readonly meter: Meter.Meter | undefined } = {
      maxAtOnce: undefined,
      meter: undefined
    }
    expectTypeOf(runOnEach(numbers, task, limits)).toEqualTypeOf<Effect.Effect<void, TaskError, TaskService>>()
  })

  it("can be kept in a variable of their type", () => {
    const options: Options<Meter.Meter<MeterError>> = { meter: Meter.makeUnsafe({}) }
    expectTypeOf(runOnEach(numbers, () => Effect.void, options)).toEqualTypeOf<Effect.Effect<void, MeterError>>()
  })
})

describe("Meter", () => {
  it("has no errors and needs nothing, unless its schedule does", () => {
    expectTypeOf(Meter.make({})).toEqualTypeOf<Effect.Effect<Meter.Meter>>()
    expectTypeOf(Meter.makeUnsafe({})).toEqualTypeOf<Meter.Meter<never, never>>()
    expectTypeOf(Meter.fromSemaphore(Semaphore.makeUnsafe(1))).toEqualTypeOf<Meter.Meter>()
    const schedule: Schedule.Schedule<number, unknown, MeterError, MeterService> = Schedule.forever
    expectTypeOf(Meter.fromSchedule(schedule)).toEqualTypeOf<
      Meter.Meter<MeterError | Meter.ScheduleEnded, MeterService>
    >()
    expectTypeOf(Meter.pacing({ maxPerSecond: 5 })).toExtend<Schedule.Schedule<unknown>>()
  })

  it("gives its errors and services to metered effects and to acquire", () => {
    const effect = Effect.as(TaskService, new Date())
    expectTypeOf(Meter.metered(effect, plain)).toEqualTypeOf<Effect.Effect<Date, never, TaskService>>()
    expectTypeOf(Meter.metered(effect, strange)).toEqualTypeOf<
      Effect.Effect<Date, MeterError, TaskService | MeterService>
    >()
    expectTypeOf(effect.pipe(Meter.metered(strange))).toEqualTypeOf<
      Effect.Effect<Date, MeterError, TaskService | MeterService>
    >()
    expectTypeOf(Meter.acquire(plain)).toEqualTypeOf<Effect.Effect<Meter.Permit, never, Scope.Scope>>()
    expectTypeOf(Meter.acquire(strange)).toEqualTypeOf<
      Effect.Effect<Meter.Permit, MeterError, MeterService | Scope.Scope>
    >()
    expectTypeOf(strange.pipe(Meter.acquire())).toEqualTypeOf<
      Effect.Effect<Meter.Permit, MeterError, MeterService | Scope.Scope>
    >()
    expectTypeOf(plain.pipe(Meter.acquire({ cost: { calls: 2 } }))).toEqualTypeOf<
      Effect.Effect<Meter.Permit, Meter.ExcessiveCost, Scope.Scope>
    >()
    expectTypeOf(Meter.acquire(plain, { cost: { calls: 2 } })).toEqualTypeOf<
      Effect.Effect<Meter.Permit, Meter.ExcessiveCost, Scope.Scope>
    >()
  })

  it("is controlled data-first and data-last, whatever its errors and services", () => {
    expectTypeOf(Meter.pause(strange)).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(Meter.pause(strange, "1 second")).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(strange.pipe(Meter.pause("1 second"))).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(strange.pipe(Meter.pause())).toEqualTypeOf<Effect.Effect<void>>()
    expectTypeOf(plain.pipe(Meter.resize({ maxAtOnce: 2 }))).toEqualTypeOf<Effect.Effect<void>>()
    // @ts-expect-error: the name is maxAtOnce
    void plain.pipe(Meter.resize({ concurrency: 2 }))
    // @ts-expect-error: a duration
    void plain.pipe(Meter.pause("soon"))
  })

  it("is one for each key, as an Effect or as a value", () => {
    expectTypeOf(Meter.keyed<string>({})).toEqualTypeOf<Effect.Effect<Meter.Keyed<string>>>()
    expectTypeOf(Meter.keyedUnsafe<string>({})).toEqualTypeOf<Meter.Keyed<string>>()
  })

  it("is one for each key on a store, where keys are strings or numbers", () => {
    type Family<E> = Effect.Effect<Meter.Keyed<string, E>, never, MeterStore | Scope.Scope>
    expectTypeOf(Meter.keyedDistributed<string>("a", {})).toEqualTypeOf<Family<StoreError>>()
    expectTypeOf(Meter.keyedDistributed<string>("a", { maxWaiting: 1 })).toEqualTypeOf<
      Family<Meter.Overloaded | StoreError>
    >()
    // @ts-expect-error: an object is no key on a store
    void Meter.keyedDistributed<{ readonly id: number }>("a", {})
    // @ts-expect-error: it has its name already
    void Meter.keyedDistributed<string>("a", { name: "b" })
  })

  it("is a service with limits from code or from configuration", () => {
    class Api extends Context.Service<Api, Meter.Meter>()("types/Api") {}
    expectTypeOf(Meter.layer(Api, {})).toEqualTypeOf<Layer.Layer<Api>>()
    const whole = {} as Config.Config<Meter.Limits>
    const number = {} as Config.Config<number>
    const per = {} as Config.Config<Duration.Duration>
    expectTypeOf(Meter.layerConfig(Api, whole)).toEqualTypeOf<Layer.Layer<Api, Config.ConfigError>>()
    expectTypeOf(
      Meter.layerConfig(Api, { maxAtOnce: number, windows: { calls: { limit: number, per } } })
    ).toEqualTypeOf<Layer.Layer<Api, Config.ConfigError>>()
    // @ts-expect-error: a Config of a number
    void Meter.layerConfig(Api, { maxAtOnce: {} as Config.Config<string> })
    // @ts-expect-error: the name is maxAtOnce
    void Meter.layerConfig(Api, { concurrency: number })
  })

  it("may have a name, which is no limit", () => {
    class Api extends Context.Service<Api, Meter.Meter>()("types/Named") {}
    expectTypeOf(Meter.makeUnsafe({ name: "api", maxAtOnce: 1 })).toEqualTypeOf<Meter.Meter>()
    expectTypeOf(Meter.makeUnsafe({ name: "api", maxWaiting: 1 })).toEqualTypeOf<Meter.Meter<Meter.Overloaded>>()
    expectTypeOf(Meter.keyedUnsafe<string>({ name: "api" })).toEqualTypeOf<Meter.Keyed<string>>()
    expectTypeOf(Meter.layer(Api, { name: "api" })).toEqualTypeOf<Layer.Layer<Api>>()
    // @ts-expect-error: a meter keeps its name
    void Meter.resize(Meter.makeUnsafe({}), { name: "api" })
    // @ts-expect-error: a verb has none
    void runAll([1], () => Effect.void, { name: "api" })
  })

  it("is no meter of another kind", () => {
    expectTypeOf<Meter.Meter<MeterError>>().not.toExtend<Meter.Meter>()
    expectTypeOf<Meter.Meter>().toExtend<Meter.Meter<MeterError, MeterService>>()
    expectTypeOf<{}>().not.toExtend<Meter.Meter>()
  })
})

describe("WorkQueue", () => {
  const queue = WorkQueue.makeUnsafe(["a"], { key: (name) => name.length })

  it("gives its items to every verb", () => {
    expectTypeOf(queue).toEqualTypeOf<WorkQueue.WorkQueue<string>>()
    expectTypeOf(WorkQueue.make([1])).toEqualTypeOf<Effect.Effect<WorkQueue.WorkQueue<number>>>()
    expectTypeOf(runAll(queue, (name) => Effect.succeed(name.length))).toEqualTypeOf<Effect.Effect<Array<number>>>()
    expectTypeOf(
      pipe(
        queue,
        runOnEach((name: string) => Effect.fail(name))
      )
    ).toEqualTypeOf<Effect.Effect<void, string>>()
    expectTypeOf(amap(queue, Effect.succeed)).toEqualTypeOf<Stream.Stream<string>>()
    expectTypeOf<WorkQueue.WorkQueue<string>>().toExtend<Items<unknown>>()
    // @ts-expect-error: the items are strings
    void runAll(queue, (n: number) => Effect.succeed(n))
  })

  it("takes items of its type", () => {
    type Added = Effect.Effect<void, WorkQueue.WorkQueueEnded>
    expectTypeOf(WorkQueue.add(queue, "b")).toEqualTypeOf<Added>()
    expectTypeOf(queue.pipe(WorkQueue.add("b"))).toEqualTypeOf<Added>()
    expectTypeOf(queue.pipe(WorkQueue.addAll(["b"]))).toEqualTypeOf<Added>()
    // @ts-expect-error: the items are strings
    void WorkQueue.add(queue, 1)
    // @ts-expect-error: the items are strings
    void WorkQueue.addAll(queue, [1])
    // @ts-expect-error: the items are strings
    void queue.pipe(WorkQueue.add(1))
  })
})
