/** The types a caller sees: results in their shapes, the options exact, nothing of Effect. */
import { describe, expectTypeOf, it } from "vitest"
import { amap, createKeyedMeter, createMeter, createWorkQueue, runAll, runAny, runOnEach } from "../src/index.ts"
import type {
  AmapOptions,
  Cost,
  EachOptions,
  ItemTask,
  Limits,
  MeterLimits,
  Meter,
  MeterOptions,
  Options,
  Outcome,
  Results,
  RunAllOptions,
  RunAnyOptions,
  RunOptions,
  Task,
  TaskContext,
  WorkQueue,
  WrapOptions
} from "../src/index.ts"

const numbers: ReadonlyArray<number> = [1, 2, 3]
declare const later: AsyncIterable<string>
declare const stream: ReadableStream<Uint8Array>
declare const meter: Meter
declare const signal: AbortSignal

interface Get {
  (id: number): Promise<string>
  (name: string, deep?: boolean): Promise<number>
}
declare const overloaded: Get

describe("runOnEach", () => {
  it("gives nothing", () => {
    expectTypeOf(runOnEach(numbers, async (n) => n)).toEqualTypeOf<Promise<void>>()
    expectTypeOf(runOnEach(later, () => {})).toEqualTypeOf<Promise<void>>()
  })

  it("infers the item from the source", () => {
    void runOnEach(numbers, (n) => expectTypeOf(n).toEqualTypeOf<number>())
    void runOnEach(later, (item) => expectTypeOf(item).toEqualTypeOf<string>())
    void runOnEach(stream, (chunk) => expectTypeOf(chunk).toEqualTypeOf<Uint8Array>())
    void runOnEach("text", (char) => expectTypeOf(char).toEqualTypeOf<string>())
    void runOnEach(new Map([["a", 1]]), (entry) => expectTypeOf(entry).toEqualTypeOf<[string, number]>())
    void runOnEach([1, "a"] as const, (item) => expectTypeOf(item).toEqualTypeOf<1 | "a">())
  })

  it("gives the task its context", () => {
    void runOnEach(numbers, (_, context) => {
      expectTypeOf(context).toEqualTypeOf<TaskContext>()
      expectTypeOf(context.index).toEqualTypeOf<number>()
      expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
    })
  })

  it("wants items and a task", () => {
    // @ts-expect-error -- a number is no list of items
    void runOnEach(5, async () => {})
    // @ts-expect-error -- the task takes the items
    void runOnEach(numbers, async (text: string) => text)
    // @ts-expect-error -- a promise has already started
    void runOnEach(numbers, Promise.resolve())
    // @ts-expect-error -- a task is missing
    void runOnEach(numbers)
  })
})

describe("runAll over items", () => {
  it("gives an array of what the task resolves with", () => {
    expectTypeOf(runAll(numbers, async (n) => `${n}`)).toEqualTypeOf<Promise<Array<string>>>()
    expectTypeOf(runAll(later, (text) => text.length)).toEqualTypeOf<Promise<Array<number>>>()
    expectTypeOf(runAll(numbers, async () => {})).toEqualTypeOf<Promise<Array<void>>>()
  })

  it("of a task that gives now a value, now a promise, the value", () => {
    expectTypeOf(runAll(numbers, (n): number | Promise<number> => (n > 1 ? n : Promise.resolve(n)))).toEqualTypeOf<
      Promise<Array<number>>
    >()
  })
})

describe("runAll over functions", () => {
  it("keeps a tuple's shape", () => {
    expectTypeOf(runAll([async () => 1, () => "a", async () => true])).resolves.toEqualTypeOf<
      [number, string, boolean]
    >()
  })

  it("keeps a record's shape", () => {
    expectTypeOf(runAll({ a: async () => 1, b: () => "a" })).resolves.toEqualTypeOf<{ a: number; b: string }>()
  })

  it("of an array gives an array", () => {
    const tasks: Array<() => Promise<number>> = []
    expectTypeOf(runAll(tasks)).resolves.toEqualTypeOf<Array<number>>()
    const frozen: ReadonlyArray<() => number> = []
    expectTypeOf(runAll(frozen)).resolves.toEqualTypeOf<Array<number>>()
    expectTypeOf(runAll(numbers.map((n) => async () => `${n}`))).resolves.toEqualTypeOf<Array<string>>()
  })

  it("of nothing gives nothing", () => {
    expectTypeOf(runAll([])).resolves.toEqualTypeOf<[]>()
  })

  it("gives the functions their context", () => {
    void runAll([
      (context) => {
        expectTypeOf(context).toEqualTypeOf<TaskContext>()
      }
    ])
    void runAll({
      a: ({ index, signal }) => {
        expectTypeOf(index).toEqualTypeOf<number>()
        expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      }
    })
  })

  it("takes no promises", () => {
    // @ts-expect-error -- a promise has already started
    void runAll([Promise.resolve(1)])
    // @ts-expect-error -- in a record neither
    void runAll({ a: Promise.resolve(1) })
  })
})

describe("amap", () => {
  const results = amap(numbers, async (n) => `${n}`)

  it("gives an AsyncIterableIterator that is AsyncDisposable", () => {
    expectTypeOf(results).toExtend<AsyncIterableIterator<string>>()
    expectTypeOf(results).toExtend<AsyncDisposable>()
    expectTypeOf(results[Symbol.asyncDispose]).returns.toExtend<PromiseLike<void>>()
  })

  it("whose elements are what the task resolves with", async () => {
    for await (const result of results) expectTypeOf(result).toEqualTypeOf<string>()
    await using own = amap(later, (text) => text.length)
    const next = await own.next()
    if (next.done !== true) expectTypeOf(next.value).toEqualTypeOf<number>()
    expectTypeOf(Array.fromAsync(own)).resolves.toEqualTypeOf<Array<number>>()
  })

  it("is a source for the other verbs", () => {
    expectTypeOf(runAll(results, (text) => text.length)).toEqualTypeOf<Promise<Array<number>>>()
  })

  it("takes ordered and maxUnread besides", () => {
    amap(numbers, async (n) => n, { ordered: true, maxUnread: 5, maxAtOnce: 2, signal, grace: 10, meter })
    // @ts-expect-error -- yes or no
    amap(numbers, async (n) => n, { ordered: "yes" })
  })
})

describe("runAny", () => {
  it("gives what one of the tasks resolves with", () => {
    expectTypeOf(runAny(numbers, async (n) => `${n}`)).toEqualTypeOf<Promise<string>>()
    const tasks: Array<() => Promise<number>> = []
    expectTypeOf(runAny(tasks)).toEqualTypeOf<Promise<number>>()
    expectTypeOf(runAny([async () => 1, () => 2])).toEqualTypeOf<Promise<number>>()
  })

  it("of different tasks, the union", () => {
    expectTypeOf(runAny([async () => 1, () => "a"])).resolves.toEqualTypeOf<number | string>()
  })

  it("takes until besides", () => {
    void runAny([() => 1], { until: "settled" })
    void runAny(numbers, (n) => n, { until: "success", maxAtOnce: 2 })
    // @ts-expect-error -- one or the other
    void runAny([() => 1], { until: "first" })
  })

  it("takes no promises", () => {
    // @ts-expect-error -- a promise has already started
    void runAny([Promise.resolve(1)])
  })
})

describe("options", () => {
  it("of every verb", () => {
    const options: Options = { maxAtOnce: 1, maxPerSecond: 0.5, maxBurst: 2, meter, signal, grace: 0 }
    void runOnEach(numbers, () => {}, options)
    void runAll(numbers, () => {}, options)
    void runAll([() => {}], options)
    void runAny(numbers, () => {}, options)
    void runAny([() => {}], options)
    amap(numbers, () => {}, options)
    void runOnEach(numbers, () => {}, { meter: [meter, meter] })
  })

  it("may be given as undefined", () => {
    void runOnEach(numbers, () => {}, { maxAtOnce: undefined, signal: undefined, meter: undefined, grace: undefined })
    void runOnEach(numbers, () => {}, undefined)
  })

  it("are exact: an unknown name is an error", () => {
    // @ts-expect-error -- it is called maxAtOnce
    void runOnEach(numbers, () => {}, { concurrency: 5 })
    // @ts-expect-error -- it is called maxAtOnce
    void runAll(numbers, () => {}, { concurrency: 5 })
    // @ts-expect-error -- it is called maxAtOnce
    void runAll([() => 1], { concurrency: 5 })
    // @ts-expect-error -- it is called maxAtOnce
    void runAny([() => 1], { concurrency: 5 })
    // @ts-expect-error -- it is called maxAtOnce
    amap(numbers, () => {}, { concurrency: 5 })
    // @ts-expect-error -- it is called maxAtOnce
    createMeter({ concurrency: 5 })
  })

  it("have the types they say", () => {
    // @ts-expect-error -- a number
    void runOnEach(numbers, () => {}, { maxAtOnce: "5" })
    // @ts-expect-error -- a number
    void runOnEach(numbers, () => {}, { maxPerSecond: null })
    // @ts-expect-error -- an AbortSignal, not its controller
    void runOnEach(numbers, () => {}, { signal: new AbortController() })
    // @ts-expect-error -- a meter, not limits
    void runOnEach(numbers, () => {}, { meter: { maxAtOnce: 1 } })
    void runOnEach(numbers, () => {}, {
      meter: (item, index) => {
        expectTypeOf(item).toEqualTypeOf<number>()
        expectTypeOf(index).toEqualTypeOf<number>()
        return [meter, meter]
      },
      maxPending: 5
    })
    // @ts-expect-error -- a meter
    void runOnEach(numbers, () => {}, { meter: () => undefined })
    // @ts-expect-error -- a single task has its meters
    void meter.run(() => 1, { meter: () => meter })
  })

  it("build on each other", () => {
    expectTypeOf<AmapOptions>().toExtend<Options>()
    expectTypeOf<RunAnyOptions>().toExtend<Options>()
    expectTypeOf<Options>().toExtend<Limits>()
    expectTypeOf<keyof Limits>().toEqualTypeOf<"maxAtOnce" | "maxPerSecond" | "maxBurst" | "windows">()
    expectTypeOf<keyof Options>().toEqualTypeOf<
      keyof Limits | Exclude<keyof RunOptions, "waitTimeout"> | "maxPending" | "onProgress"
    >()
    expectTypeOf<keyof EachOptions>().toEqualTypeOf<keyof Options | "stopOnError">()
    expectTypeOf<keyof RunAllOptions>().toEqualTypeOf<keyof EachOptions | "settled">()
    expectTypeOf<keyof AmapOptions>().toEqualTypeOf<keyof RunAllOptions | "ordered" | "maxUnread">()
    expectTypeOf<keyof RunAnyOptions>().toEqualTypeOf<keyof Options | "until" | "stagger">()
  })
})

describe("createMeter", () => {
  it("gives a meter that runs single tasks", () => {
    const api = createMeter({ maxAtOnce: 8, maxPerSecond: 20 })
    expectTypeOf(api).toEqualTypeOf<Meter>()
    expectTypeOf(api.run(async () => 1)).toEqualTypeOf<Promise<number>>()
    expectTypeOf(api.run(() => "a")).toEqualTypeOf<Promise<string>>()
    void api.run(({ signal }) => expectTypeOf(signal).toEqualTypeOf<AbortSignal>())
    void api.run(() => 1, { signal, grace: 10 })
    // @ts-expect-error -- a promise has already started
    void api.run(Promise.resolve(1))
  })
})

describe("meter.run", () => {
  it("takes the options of a single task", () => {
    const options: RunOptions = { signal, grace: 10, cost: { tokens: 5 }, timeout: "5 seconds", retry: { times: 2 } }
    expectTypeOf(meter.run(async () => 1, options)).toEqualTypeOf<Promise<number>>()
    expectTypeOf<keyof RunOptions>().toEqualTypeOf<
      | "signal"
      | "grace"
      | "cost"
      | "meter"
      | "timeout"
      | "releaseOnTimeout"
      | "retry"
      | "permits"
      | "priority"
      | "lane"
      | "waitTimeout"
    >()
    expectTypeOf<keyof WrapOptions<[]>>().toEqualTypeOf<keyof RunOptions>()
    void meter.run(() => 1, { retry: { delay: (attempt, reason) => (reason === undefined ? attempt : "1 second") } })
    void meter.run(() => 1, { retry: { schedule: [100, "1 second"], while: (reason) => reason instanceof Error } })
    void meter.run(({ correct }) => correct({ tokens: 1 }))
    // @ts-expect-error -- a limit is the meter's business
    void meter.run(() => 1, { maxAtOnce: 5 })
    // @ts-expect-error -- a single task is not one of many
    void meter.run(({ index }) => index)
    // @ts-expect-error -- for a single task it is known
    void meter.run(() => 1, { cost: () => ({ tokens: 1 }) })
    // @ts-expect-error -- a number of times
    void meter.run(() => 1, { retry: 3 })
    // @ts-expect-error -- it is called times
    void meter.run(() => 1, { retry: { tries: 3 } })
    // @ts-expect-error -- no duration
    void meter.run(() => 1, { timeout: "soon" })
  })
})

describe("meter.wrap", () => {
  it("keeps the type of an async function, generic and overloaded ones included", () => {
    const load = async (id: number, signal?: AbortSignal) => ({ id, signal })
    expectTypeOf(meter.wrap(load)).toEqualTypeOf<typeof load>()

    const first = async <T>(list: ReadonlyArray<T>): Promise<T | undefined> => list[0]
    const wrapped: typeof first = meter.wrap(first)
    expectTypeOf(wrapped).toEqualTypeOf<typeof first>()
    expectTypeOf(meter.wrap(first)(["a"])).toEqualTypeOf<Promise<string | undefined>>()

    const get = meter.wrap(overloaded)
    expectTypeOf(get).toEqualTypeOf<Get>()
    expectTypeOf(get(1)).toEqualTypeOf<Promise<string>>()
    expectTypeOf(get("a", true)).toEqualTypeOf<Promise<number>>()

    const rest = async (...parts: ReadonlyArray<string>) => parts.length
    expectTypeOf(meter.wrap(rest)).toEqualTypeOf<typeof rest>()
    expectTypeOf(
      meter.wrap(async function (this: Date, n: number) {
        return this.getTime() + n
      })
    ).toEqualTypeOf<(this: Date, n: number) => Promise<number>>()
  })

  it("makes a function that gives a value one that gives a promise", () => {
    expectTypeOf(meter.wrap((a: number, b?: string) => `${a}${b}`)).toEqualTypeOf<
      (a: number, b?: string) => Promise<string>
    >()
    expectTypeOf(meter.wrap(() => {})).returns.toEqualTypeOf<Promise<void>>()
    expectTypeOf(meter.wrap((n: number): number | Promise<string> => n)).returns.toEqualTypeOf<
      Promise<number | string>
    >()
    expectTypeOf(meter.wrap((n: number): PromiseLike<number> => Promise.resolve(n))).returns.toEqualTypeOf<
      Promise<number>
    >()
    expectTypeOf(
      meter.wrap(function (this: Date) {
        return this.getTime()
      })
    ).toEqualTypeOf<(this: Date) => Promise<number>>()
  })

  it("knows the arguments where the cost goes by them", () => {
    void meter.wrap(async (text: string, n: number) => text.repeat(n), {
      cost: (text, n) => {
        expectTypeOf(text).toEqualTypeOf<string>()
        expectTypeOf(n).toEqualTypeOf<number>()
        return { tokens: text.length * n }
      }
    })
    void meter.wrap(async (_: string) => 1, { cost: () => ({ tokens: 1 }), grace: 1, timeout: 5, retry: {}, signal })
    expectTypeOf<keyof WrapOptions<[]>>().toEqualTypeOf<keyof RunOptions>()
    expectTypeOf<WrapOptions<[number]>["cost"]>().toEqualTypeOf<((n: number) => Cost) | undefined>()
    // @ts-expect-error -- a function of the arguments
    void meter.wrap(async () => 1, { cost: { tokens: 1 } })
    // @ts-expect-error -- of these arguments
    void meter.wrap(async (_: string) => 1, { cost: (n: number) => ({ tokens: n }) })
    // @ts-expect-error -- a limit is the meter's business
    void meter.wrap(async () => 1, { maxAtOnce: 1 })
    // @ts-expect-error -- a promise has already started
    void meter.wrap(Promise.resolve(1))
  })
})

describe("the verbs of a meter", () => {
  it("are those of the package", () => {
    expectTypeOf(meter.runOnEach).toEqualTypeOf<typeof runOnEach>()
    expectTypeOf(meter.runAll).toEqualTypeOf<typeof runAll>()
    expectTypeOf(meter.amap).toEqualTypeOf<typeof amap>()
    expectTypeOf(meter.runAny).toEqualTypeOf<typeof runAny>()
    const ofKey = createKeyedMeter<number>({ maxAtOnce: 1 }).for(5)
    expectTypeOf(ofKey).toEqualTypeOf<Meter>()
  })

  it("keep tuples and records", () => {
    expectTypeOf(meter.runAll([async () => 1, () => "a"])).resolves.toEqualTypeOf<[number, string]>()
    expectTypeOf(meter.runAll({ a: () => 1, b: async () => "a" })).resolves.toEqualTypeOf<{ a: number; b: string }>()
    expectTypeOf(meter.runAll(numbers, (n) => `${n}`)).resolves.toEqualTypeOf<Array<string>>()
    expectTypeOf(meter.runAny([async () => 1, () => "a"])).resolves.toEqualTypeOf<number | string>()
  })

  it("take further meters", () => {
    void meter.runOnEach(numbers, () => {}, { meter: [meter, createMeter({})], maxAtOnce: 1 })
    // @ts-expect-error -- a meter, not limits
    void meter.runAll(numbers, () => {}, { meter: { maxAtOnce: 1 } })
    // @ts-expect-error -- it is called maxAtOnce
    void meter.runAll([() => 1], { concurrency: 5 })
  })

  it("may be disposed of", () => {
    expectTypeOf(meter).toExtend<AsyncDisposable>()
    expectTypeOf(meter.close).toEqualTypeOf<(reason?: unknown) => Promise<void>>()
    expectTypeOf(meter.clear).toEqualTypeOf<(reason?: unknown) => void>()
    expectTypeOf(meter.idle).toEqualTypeOf<() => Promise<void>>()
  })
})

describe("settled", () => {
  const settled = { settled: true } as const

  it("gives outcomes, of items with the item", () => {
    expectTypeOf(runAll(numbers, async (n) => `${n}`, settled)).resolves.toEqualTypeOf<Array<Outcome<string, number>>>()
    expectTypeOf(meter.runAll(later, () => 1, { settled: true, maxAtOnce: 2 })).resolves.toEqualTypeOf<
      Array<Outcome<number, string>>
    >()
  })

  it("gives outcomes in the shape of a tuple or a record, with the function", () => {
    const one = async () => 1
    const two = () => "a"
    expectTypeOf(runAll([one, two], settled)).resolves.toEqualTypeOf<
      [Outcome<number, typeof one>, Outcome<string, typeof two>]
    >()
    expectTypeOf(meter.runAll({ one, two }, { settled: true })).resolves.toEqualTypeOf<{
      one: Outcome<number, typeof one>
      two: Outcome<string, typeof two>
    }>()
    const list: Array<() => Promise<number>> = []
    expectTypeOf(runAll(list, settled)).resolves.toEqualTypeOf<Array<Outcome<number, () => Promise<number>>>>()
  })

  it("gives amap's outcomes one by one", async () => {
    for await (const outcome of amap(numbers, (n) => `${n}`, { settled: true, ordered: true })) {
      expectTypeOf(outcome).toEqualTypeOf<Outcome<string, number>>()
      if (outcome.status === "fulfilled") expectTypeOf(outcome.value).toEqualTypeOf<string>()
      else expectTypeOf(outcome.reason).toEqualTypeOf<unknown>()
      expectTypeOf(outcome.item).toEqualTypeOf<number>()
      expectTypeOf(outcome.index).toEqualTypeOf<number>()
    }
    for await (const outcome of meter.amap(later, () => 1, settled)) {
      expectTypeOf(outcome).toEqualTypeOf<Outcome<number, string>>()
    }
  })

  it("false, or left out, gives the results", () => {
    expectTypeOf(runAll(numbers, (n) => n, { settled: false })).resolves.toEqualTypeOf<Array<number>>()
    expectTypeOf(runAll([() => 1], { settled: undefined })).resolves.toEqualTypeOf<[number]>()
    expectTypeOf(amap(numbers, (n) => n, { settled: false }).next()).resolves.toEqualTypeOf<
      IteratorResult<number, undefined>
    >()
  })

  it("as a variable gives one or the other", async () => {
    const either = { settled: numbers.length > 1 }
    const options: RunAllOptions<number> = {}
    expectTypeOf(runAll(numbers, (n) => `${n}`, either)).resolves.toEqualTypeOf<
      Array<string> | Array<Outcome<string, number>>
    >()
    expectTypeOf(runAll(numbers, (n) => `${n}`, options)).resolves.toEqualTypeOf<
      Array<string> | Array<Outcome<string, number>>
    >()
    const one = async () => 1
    expectTypeOf(runAll([one], either)).resolves.toEqualTypeOf<[number] | [Outcome<number, typeof one>]>()
    for await (const each of amap(numbers, (n) => `${n}`, either)) {
      expectTypeOf(each).toEqualTypeOf<string | Outcome<string, number>>()
    }
    // Options that have no such name.
    const plain: EachOptions<number> = {}
    expectTypeOf(runAll(numbers, (n) => `${n}`, plain)).resolves.toEqualTypeOf<Array<string>>()
  })

  it("is for runAll and amap alone", () => {
    // @ts-expect-error -- it gives no results
    void runOnEach(numbers, () => {}, { settled: true })
    // @ts-expect-error -- it gives one result
    void runAny(numbers, () => {}, { settled: true })
  })
})

describe("stopOnError, retry and timeout", () => {
  it("stopOnError is for the verbs that run every task, and changes no result", () => {
    expectTypeOf(runAll(numbers, (n) => n, { stopOnError: false })).resolves.toEqualTypeOf<Array<number>>()
    void runOnEach(numbers, () => {}, { stopOnError: false })
    amap(numbers, () => {}, { stopOnError: false })
    // @ts-expect-error -- failures do not stop it anyway
    void runAny(numbers, () => {}, { stopOnError: false })
  })

  it("retry and timeout are for all", () => {
    const options = { timeout: "5 seconds", retry: { times: 2, delay: 100, while: () => true } } as const
    void runOnEach(numbers, () => {}, options)
    void runAll([() => {}], options)
    void runAny([() => {}], options)
    amap(numbers, () => {}, options)
    // @ts-expect-error -- how often is its times
    void runAll([() => {}], { retry: 2 })
    // @ts-expect-error -- numbers are milliseconds, texts have a unit
    void runAll([() => {}], { timeout: "5" })
    // @ts-expect-error -- yes or no
    void runAll([() => {}], { retry: { while: async () => true } })
  })
})

describe("the named types", () => {
  it("say what a task is", () => {
    expectTypeOf<ItemTask<number, string>>().toEqualTypeOf<
      (item: number, context: TaskContext) => string | PromiseLike<string>
    >()
    expectTypeOf<Task<string>>().toEqualTypeOf<(context: TaskContext) => string | PromiseLike<string>>()
    expectTypeOf<keyof TaskContext>().toEqualTypeOf<"index" | "signal" | "correct" | "reconcile" | "fencingToken">()
  })

  it("show nothing of Effect", () => {
    type Verbs = "runOnEach" | "runAll" | "amap" | "runAny"
    type Control = "pause" | "resume" | "resize" | "snapshot" | "idle" | "clear" | "close" | "drain" | "reconcile"
    expectTypeOf<keyof Meter>().toEqualTypeOf<
      "run" | "tryRun" | "acquire" | "wrap" | Verbs | Control | typeof Symbol.asyncDispose
    >()
    expectTypeOf<Parameters<typeof createMeter>>().toEqualTypeOf<[options: MeterOptions]>()
    expectTypeOf<keyof MeterLimits>().toEqualTypeOf<keyof Limits | "maxWaiting" | "waitTimeout" | "overflow">()
    expectTypeOf<keyof MeterOptions>().toEqualTypeOf<
      keyof MeterLimits | "timeout" | "releaseOnTimeout" | "retry" | "priority" | "store" | "name"
    >()
  })
})

describe("createWorkQueue", () => {
  const queue = createWorkQueue(["a"], { key: (name) => name.length })

  it("gives its items to every verb, and to a loop", () => {
    expectTypeOf(queue).toEqualTypeOf<WorkQueue<string>>()
    expectTypeOf(runAll(queue, async (name) => name.length)).toEqualTypeOf<Promise<Array<number>>>()
    expectTypeOf(amap(queue, (name) => name, { settled: true })).toEqualTypeOf<Results<Outcome<string, string>>>()
    expectTypeOf<WorkQueue<string>>().toExtend<AsyncIterable<string>>()
    expectTypeOf<WorkQueue<string>>().not.toExtend<WorkQueue<unknown>>()
    expectTypeOf(createWorkQueue<number>()).toEqualTypeOf<WorkQueue<number>>()
  })

  it("takes items of its type", () => {
    expectTypeOf(queue.add).toEqualTypeOf<(...items: ReadonlyArray<string>) => void>()
    // @ts-expect-error: the items are strings
    queue.add(1)
  })
})
