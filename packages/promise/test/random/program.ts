/**
 * Random programs for the facade: what a program consists of, and how it is drawn. Everything is plain data, so that a
 * program that fails can be printed, shortened step by step, and kept.
 */
import fc from "fast-check"

export const windowNames = ["w", "v"] as const

export type WindowName = (typeof windowNames)[number]

export type Amounts = Readonly<Record<WindowName, number>>

export interface MeterPlan {
  readonly maxAtOnce?: number | undefined
  readonly maxPerSecond?: number | undefined
  readonly maxBurst?: number | undefined
  /** A window: by the name of `w` in meters of even numbers, of `v` in the others. */
  readonly window?: { readonly limit: number; readonly per: number } | undefined
  /** Limits on waiting. */
  readonly waits?: WaitPlan | undefined
}

export interface WaitPlan {
  readonly maxWaiting?: number | undefined
  readonly waitTimeout?: number | undefined
  readonly overflow?: "refuse" | "dropOldest" | undefined
}

export type VerbName = "runOnEach" | "runAll" | "runAny" | "amap"

export interface CallPlan {
  readonly verb: VerbName | "run"
  /** Its meters by number, each once, in the order in which they are given. */
  readonly meters: ReadonlyArray<number>
  /** The first meter's own method is called, and the others are given as an option. */
  readonly asMethod: boolean
  /** `run` takes the first. */
  readonly tasks: ReadonlyArray<TaskPlan>
  /** How the tasks are given: all at once, by a generator, by an async generator, or as a list of functions. */
  readonly source: "array" | "generator" | "async generator" | "functions"
  readonly maxAtOnce: number | undefined
  /** What a task costs in a window, where one of the meters has it. */
  readonly cost: Amounts
  readonly permits: number
  readonly priority: number
  readonly lane: string | undefined
  /** Of `run`. */
  readonly waitTimeout: number | undefined
  readonly timeout: number | undefined
  /** A task that has timed out holds no permit any more, even if it runs on. */
  readonly releaseOnTimeout: boolean
  readonly retry: { readonly times: number; readonly delay: number } | undefined
  readonly grace: number
  readonly hasSignal: boolean
  /** What a failure does to the call: ends it, ends it when all tasks have ended, or nothing. */
  readonly failures: "end it" | "are collected" | "are results"
  readonly until: "success" | "settled"
  /** Of `amap`. */
  readonly ordered: boolean
  readonly maxUnread: number | undefined
  /** How long the reader takes for each result. */
  readonly readerTakes: number
  /** After so many results the reader leaves the loop. */
  readonly leavesAfter: number | undefined
}

export interface TaskPlan {
  readonly parts: ReadonlyArray<Part>
  readonly throws: boolean
  /** Pays no attention to its signal. */
  readonly isDeaf: boolean
  /** Without parts: ends in the step in which it is called, without a promise. */
  readonly isSync: boolean
  /** What it says in the end that it has really cost. */
  readonly corrects: Amounts | undefined
}

export type Part =
  | { readonly do: "sleep"; readonly ms: number }
  | {
      readonly do: "call"
      readonly call: CallPlan
      readonly isAwaited: boolean
      /** The task's own signal is the call's. */
      readonly passesSignal: boolean
    }
  | Control

/** Numbers of calls and meters count round. */
export type Control =
  | { readonly do: "abort"; readonly call: number }
  | { readonly do: "leave"; readonly call: number }
  | { readonly do: "pause"; readonly meter: number; readonly ms: number }
  | { readonly do: "resume"; readonly meter: number }
  | { readonly do: "resize"; readonly meter: number; readonly to: MeterPlan }
  | { readonly do: "clear"; readonly meter: number }
  | { readonly do: "close"; readonly meter: number }
  | { readonly do: "drain"; readonly meter: number }
  | { readonly do: "idle"; readonly meter: number }

export type Step = { readonly at: number } & ({ readonly do: "call"; readonly call: CallPlan } | Control)

export interface Program {
  /**
   * A task's calls use only meters of higher numbers than all that it holds. Then no tasks can wait for each other in a
   * circle, so every call has to end.
   */
  readonly isOrdered: boolean
  readonly meters: ReadonlyArray<MeterPlan>
  readonly steps: ReadonlyArray<Step>
}

const maxMeters = 4
const ms = fc.constantFrom(0, 1, 5, 10, 20, 35)
const meter = fc.nat({ max: maxMeters - 1 })
const rarely = <A>(arbitrary: fc.Arbitrary<A>): fc.Arbitrary<A | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 3 })
const seldom = fc.integer({ min: 0, max: 5 }).map((n) => n === 5)

const window = fc.record({ limit: fc.integer({ min: 2, max: 5 }), per: fc.constantFrom(20, 50, 100) })

const waits: fc.Arbitrary<WaitPlan | undefined> = fc.option(
  fc.record(
    {
      maxWaiting: fc.nat({ max: 3 }),
      waitTimeout: fc.constantFrom(0, 5, 20),
      overflow: fc.constantFrom("refuse", "dropOldest")
    },
    { requiredKeys: [] }
  ),
  { nil: undefined, freq: 2 }
)

const limitsPlan: fc.Arbitrary<MeterPlan> = fc.oneof(
  { arbitrary: fc.record({ maxAtOnce: fc.integer({ min: 1, max: 3 }) }), weight: 3 },
  { arbitrary: fc.record({ maxAtOnce: fc.integer({ min: 1, max: 3 }), window }), weight: 1 },
  { arbitrary: fc.record({ window }), weight: 1 },
  {
    arbitrary: fc.record({
      maxAtOnce: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      maxPerSecond: fc.constantFrom(20, 100),
      maxBurst: fc.constantFrom(undefined, 1, 3)
    }),
    weight: 1
  }
)

const meterPlan: fc.Arbitrary<MeterPlan> = fc
  .tuple(limitsPlan, waits)
  .map(([limits, waiting]) => (waiting === undefined ? limits : { ...limits, waits: waiting }))

const control: fc.Arbitrary<Control> = fc.oneof(
  fc.record({ do: fc.constant("abort" as const), call: fc.nat({ max: 7 }) }),
  fc.record({ do: fc.constant("leave" as const), call: fc.nat({ max: 7 }) }),
  fc.record({ do: fc.constant("pause" as const), meter, ms: fc.constantFrom(5, 20, Infinity) }),
  fc.record({ do: fc.constant("resume" as const), meter }),
  fc.record({
    do: fc.constant("resize" as const),
    meter,
    to: fc.record({
      maxAtOnce: fc.option(fc.constantFrom(1, 2, 4, Infinity), { nil: undefined }),
      maxPerSecond: fc.option(fc.constantFrom(20, 100), { nil: undefined, freq: 1 }),
      window: fc.option(window, { nil: undefined })
    })
  }),
  fc.record({ do: fc.constant("clear" as const), meter }),
  fc.record({ do: fc.constant("close" as const), meter }),
  fc.record({ do: fc.constant("drain" as const), meter }),
  fc.record({ do: fc.constant("idle" as const), meter })
)

const taskPlan = (depth: number): fc.Arbitrary<TaskPlan> =>
  fc.record({
    parts: fc.array(part(depth), { maxLength: 3 }),
    throws: seldom,
    isDeaf: seldom,
    isSync: fc.boolean(),
    corrects: rarely(fc.record({ w: fc.nat({ max: 4 }), v: fc.nat({ max: 4 }) }))
  })

const part = (depth: number): fc.Arbitrary<Part> =>
  fc.oneof(
    { arbitrary: fc.record({ do: fc.constant("sleep" as const), ms }), weight: 6 },
    { arbitrary: control, weight: 1 },
    ...(depth === 0
      ? []
      : [
          {
            arbitrary: fc.record({
              do: fc.constant("call" as const),
              call: callPlan(depth - 1),
              isAwaited: fc.integer({ min: 0, max: 3 }).map((n) => n > 0),
              passesSignal: fc.boolean()
            }),
            weight: 3
          }
        ])
  )

const callPlan = (depth: number): fc.Arbitrary<CallPlan> =>
  fc.record({
    verb: fc.constantFrom("run", "run", "run", "runOnEach", "runAll", "runAny", "amap", "amap"),
    meters: fc.uniqueArray(meter, { minLength: 1, maxLength: 3 }),
    asMethod: fc.boolean(),
    tasks: fc.array(taskPlan(depth), { minLength: 1, maxLength: depth === 2 ? 7 : 3 }),
    source: fc.constantFrom("array", "array", "generator", "async generator", "functions"),
    maxAtOnce: rarely(fc.integer({ min: 1, max: 3 })),
    cost: fc.record({ w: fc.constantFrom(1, 1, 1, 2, 3), v: fc.constantFrom(1, 1, 1, 2, 3) }),
    permits: fc.constantFrom(1, 1, 1, 1, 2, 3),
    priority: fc.constantFrom(0, 0, 0, 1, -1),
    lane: fc.constantFrom(undefined, undefined, undefined, "a", "b"),
    waitTimeout: rarely(fc.constantFrom(0, 5, 15)),
    timeout: rarely(fc.constantFrom(5, 15)),
    releaseOnTimeout: fc.boolean(),
    retry: rarely(fc.record({ times: fc.integer({ min: 1, max: 2 }), delay: fc.constantFrom(0, 5, 20) })),
    grace: fc.constantFrom(0, 0, 10, Infinity),
    hasSignal: fc.boolean(),
    failures: fc.constantFrom("end it", "end it", "are collected", "are results"),
    until: fc.constantFrom("success", "settled"),
    ordered: fc.boolean(),
    maxUnread: rarely(fc.integer({ min: 1, max: 3 })),
    readerTakes: fc.constantFrom(0, 0, 10, 30),
    leavesAfter: rarely(fc.integer({ min: 1, max: 3 }))
  })

const step: fc.Arbitrary<Step> = fc
  .tuple(
    fc.nat({ max: 60 }),
    fc.oneof(
      { arbitrary: fc.record({ do: fc.constant("call" as const), call: callPlan(2) }), weight: 3 },
      { arbitrary: control, weight: 1 }
    )
  )
  .map(([at, what]) => ({ at, ...what }))

export const program: fc.Arbitrary<Program> = fc.record({
  isOrdered: fc.boolean(),
  meters: fc.array(meterPlan, { minLength: 2, maxLength: maxMeters }),
  steps: fc.array(step, { minLength: 1, maxLength: 9 })
})

/** What is left out of a program that is written down. */
const defaults: { readonly task: TaskPlan; readonly call: CallPlan } = {
  task: { parts: [], throws: false, isDeaf: false, isSync: false, corrects: undefined },
  call: {
    verb: "run",
    meters: [0],
    asMethod: false,
    tasks: [],
    source: "array",
    maxAtOnce: undefined,
    cost: { w: 1, v: 1 },
    permits: 1,
    priority: 0,
    lane: undefined,
    waitTimeout: undefined,
    timeout: undefined,
    releaseOnTimeout: false,
    retry: undefined,
    grace: 0,
    hasSignal: false,
    failures: "end it",
    until: "success",
    ordered: false,
    maxUnread: undefined,
    readerTakes: 0,
    leavesAfter: undefined
  }
}

/** A task, for programs that are written down: what is not said is as plain as can be. */
export const task = (given: Partial<TaskPlan> = {}): TaskPlan => ({ ...defaults.task, ...given })

/** A call, for programs that are written down. */
export const call = (given: Partial<CallPlan> & Pick<CallPlan, "verb" | "tasks">): CallPlan => ({
  ...defaults.call,
  ...given
})

/** The program as code, to be kept in the tests. */
export const written = (given: Program): string => {
  const write = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.map(write).join(", ")}]`
    if (typeof value !== "object" || value === null)
      return typeof value === "string" ? JSON.stringify(value) : String(value)
    if ("parts" in value) return `task(${fields(value, defaults.task)})`
    if ("verb" in value) return `call(${fields(value, { ...defaults.call, verb: undefined })})`
    return fields(value, {})
  }
  const fields = (value: object, plain: Readonly<Record<string, any>>): string => {
    const said = Object.entries(value).filter(
      ([name, each]) =>
        each !== undefined &&
        (!(name in plain) || JSON.stringify(plain[name]) !== JSON.stringify(each) || each === Infinity)
    )
    return said.length === 0 ? "" : `{ ${said.map(([name, each]) => `${name}: ${write(each)}`).join(", ")} }`
  }
  return write(given)
}
