/** The types a caller sees: results in their shapes, the options exact, nothing of Effect. */
import { describe, expectTypeOf, it } from "vitest"
import { amap, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type {
  AmapOptions,
  EachOptions,
  ItemTask,
  Limits,
  Meter,
  Options,
  RunAllOptions,
  RunAnyOptions,
  Task,
  TaskContext
} from "../src/index.ts"

const numbers: ReadonlyArray<number> = [1, 2, 3]
declare const later: AsyncIterable<string>
declare const stream: ReadableStream<Uint8Array>
declare const meter: Meter
declare const signal: AbortSignal

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
  })

  it("build on each other", () => {
    expectTypeOf<AmapOptions>().toExtend<Options>()
    expectTypeOf<RunAnyOptions>().toExtend<Options>()
    expectTypeOf<Options>().toExtend<Limits>()
    expectTypeOf<keyof Limits>().toEqualTypeOf<"maxAtOnce" | "maxPerSecond" | "maxBurst" | "windows">()
    expectTypeOf<keyof Options>().toEqualTypeOf<
      keyof Limits | "meter" | "cost" | "signal" | "grace" | "timeout" | "retry" | "onProgress"
    >()
    expectTypeOf<keyof EachOptions>().toEqualTypeOf<keyof Options | "stopOnError">()
    expectTypeOf<keyof RunAllOptions>().toEqualTypeOf<keyof EachOptions | "settled">()
    expectTypeOf<keyof AmapOptions>().toEqualTypeOf<keyof RunAllOptions | "ordered" | "maxUnread">()
    expectTypeOf<keyof RunAnyOptions>().toEqualTypeOf<keyof Options | "until">()
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

describe("the named types", () => {
  it("say what a task is", () => {
    expectTypeOf<ItemTask<number, string>>().toEqualTypeOf<
      (item: number, context: TaskContext) => string | PromiseLike<string>
    >()
    expectTypeOf<Task<string>>().toEqualTypeOf<(context: TaskContext) => string | PromiseLike<string>>()
    expectTypeOf<keyof TaskContext>().toEqualTypeOf<"index" | "signal" | "correct">()
  })

  it("show nothing of Effect", () => {
    type Verbs = "runOnEach" | "runAll" | "amap" | "runAny"
    type Control = "pause" | "resume" | "resize" | "snapshot" | "idle" | "clear" | "close"
    expectTypeOf<keyof Meter>().toEqualTypeOf<"run" | "wrap" | Verbs | Control | typeof Symbol.asyncDispose>()
    expectTypeOf<Parameters<typeof createMeter>>().toEqualTypeOf<[limits: Limits]>()
  })
})
