/**
 * What the facade's tests share: a virtual clock, tasks that keep a record of themselves, sources that count how they
 * are used, and a small reference model that says when each task has to start.
 *
 * Nothing here knows how the library works inside. The clock replaces what a program can see of time (`setTimeout`,
 * `Date`, `performance.now`, `process.hrtime.bigint`) and leaves `setImmediate` and promises real, so that whatever
 * the library does between two instants has really been done before the clock moves on.
 */
import { getEventListeners } from "node:events"
import { afterEach, beforeEach, expect, vi } from "vitest"
import { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } from "../src/index.ts"
import type { AmapOptions, Limits, Meter, Options, RunAnyOptions, TaskContext } from "../src/index.ts"

// --- the virtual clock -----------------------------------------------------------------------------------------------

const realImmediate = globalThis.setImmediate
const realHrtime = process.hrtime
const realPerformance = globalThis.performance

/** One turn of the real event loop: promises and immediates that are due have run afterwards. */
const turn = (): Promise<void> => new Promise((resolve) => realImmediate(() => resolve()))

/** Lets everything happen that can happen without time going by. */
export const flush = async (): Promise<void> => {
  for (let i = 0; i < 12; i++) await turn()
}

let origin = 0

/** Milliseconds of virtual time since the test began. */
export const now = (): number => Date.now() - origin

/** Puts every test of the file on the virtual clock. */
export const useVirtualTime = (): void => {
  beforeEach(() => {
    // The monotonic clocks continue from where they are: the library need not support clocks that jump back.
    // Whole milliseconds, so that no rounding of floats gets into the instants.
    const performanceBase = Math.ceil(realPerformance.now())
    const hrtimeBase = (realHrtime.bigint() / 1_000_000n + 1n) * 1_000_000n
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] })
    origin = Date.now()
    vi.spyOn(realPerformance, "now").mockImplementation(() => performanceBase + now())
    vi.spyOn(realHrtime, "bigint").mockImplementation(() => hrtimeBase + BigInt(now()) * 1_000_000n)
  })
  afterEach(() => {
    vi.restoreAllMocks()
    vi.useRealTimers()
  })
}

/** Lets `ms` of virtual time go by, timer by timer. */
export const pass = async (ms: number): Promise<void> => {
  let reached = false
  await flush()
  setTimeout(() => {
    reached = true
  }, ms)
  while (!reached) {
    vi.advanceTimersToNextTimer()
    await flush()
  }
  // Timers of that very instant which were set after ours.
  vi.advanceTimersByTime(0)
  await flush()
}

/** How a promise ended, and when (virtual time). */
export type Outcome<A> =
  | { readonly status: "fulfilled"; readonly value: A; readonly at: number }
  | { readonly status: "rejected"; readonly reason: unknown; readonly at: number }

/** A promise whose outcome can be read without waiting. Its rejection counts as handled. */
export const watch = <A>(promise: PromiseLike<A>): { outcome: Outcome<A> | undefined } => {
  const seen: { outcome: Outcome<A> | undefined } = { outcome: undefined }
  promise.then(
    (value) => {
      seen.outcome = { status: "fulfilled", value, at: now() }
    },
    (reason: unknown) => {
      seen.outcome = { status: "rejected", reason, at: now() }
    }
  )
  return seen
}

/** Moves the virtual clock until the promise has settled; fails where it never does. */
export const settle = async <A>(promise: PromiseLike<A>): Promise<Outcome<A>> => {
  const seen = watch(promise)
  const deadline = now() + 3_600_000
  let idle = 0
  await flush()
  while (seen.outcome === undefined) {
    if (vi.getTimerCount() > 0) {
      vi.advanceTimersToNextTimer()
    } else {
      // Nothing waits for a timer. Code in the event loop may still poll the clock.
      if (++idle > 50) throw new Error(`stuck at ${now()} ms: nothing is left that could settle the promise`)
      vi.advanceTimersByTime(1)
    }
    if (now() > deadline) throw new Error("the promise has not settled within an hour of virtual time")
    await flush()
  }
  return seen.outcome
}

/** The value a promise was fulfilled with, after moving the clock as far as needed. */
export const value = async <A>(promise: PromiseLike<A>): Promise<A> => {
  const outcome = await settle(promise)
  if (outcome.status === "rejected") throw outcome.reason
  return outcome.value
}

/** The value that a promise was rejected with. */
export const rejection = async (promise: PromiseLike<unknown>): Promise<unknown> => {
  const outcome = await settle(promise)
  if (outcome.status === "fulfilled") {
    throw new Error(`expected a rejection, got ${JSON.stringify(outcome.value)}`)
  }
  return outcome.reason
}

/** Waits, heeding a signal as `fetch` would: rejects with its reason. */
export const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const abort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort)
      resolve()
    }, ms)
    signal?.addEventListener("abort", abort, { once: true })
  })

// --- what must never be left behind ----------------------------------------------------------------------------------

/** Fails a test of the file that leaves an unhandled rejection behind. */
export const expectNoUnhandledRejection = (): void => {
  let unhandled: Array<unknown> = []
  const note = (reason: unknown) => {
    unhandled.push(reason)
  }
  beforeEach(() => {
    unhandled = []
    process.on("unhandledRejection", note)
  })
  afterEach(async () => {
    await flush()
    process.off("unhandledRejection", note)
    expect(unhandled, "unhandled rejections").toEqual([])
  })
}

/** How many listeners are on the signal. */
export const listeners = (signal: AbortSignal): number => getEventListeners(signal, "abort").length

/** Whether it is the reason that tasks get when another task failed or won, or when the reader left. */
export const isAbortError = (reason: unknown): boolean => reason instanceof DOMException && reason.name === "AbortError"

/** Is it what a task fails with that has taken too long? */
export const isTimeoutError = (reason: unknown): boolean =>
  reason instanceof DOMException && reason.name === "TimeoutError"

// --- tasks that keep a record ----------------------------------------------------------------------------------------

/** What one task does: takes so long, then ends so. */
export interface Plan {
  /** How long it runs. */
  readonly ms?: number
  /** What it resolves with; `v0`, `v1`, … otherwise. */
  readonly value?: unknown
  /** It rejects, with this. */
  readonly rejects?: { readonly reason: unknown }
  /** It throws before it returns a promise. */
  readonly throws?: { readonly reason: unknown }
  /** It pays no attention to its signal. */
  readonly deaf?: boolean
}

/** What a probe reads of a task's context. */
export type Told = Pick<TaskContext, "index" | "signal">

/** A task in both forms in which verbs take one. */
export interface Tasks<B = unknown> {
  readonly task: (item: unknown, context: Told) => B
  /** The same as a list of functions without items. */
  readonly tasks: (count: number) => Array<(context: Told) => B>
}

/** Where there are no items, the task is given its index for one. */
export const tasksOf = <B>(task: Tasks<B>["task"]): Tasks<B> => ({
  task,
  tasks: (count) => Array.from({ length: count }, (_, i) => (context) => task(i, context))
})

export interface Probe extends Tasks<Promise<unknown>> {
  /** When each task started, in order of starting. */
  readonly starts: Array<number>
  /** The indices in order of starting. */
  readonly order: Array<number>
  readonly items: Array<unknown>
  /** Indices of the tasks that ran to their own end. */
  readonly ended: Array<number>
  /** The reason each aborted task was given, by index. */
  readonly aborted: Map<number, unknown>
  /** The indices of the aborted tasks, from the lowest. */
  readonly cancelled: () => Array<number>
  readonly running: () => number
  readonly peak: () => number
}

export const probe = (plan: (index: number) => Plan): Probe => {
  const starts: Array<number> = []
  const order: Array<number> = []
  const items: Array<unknown> = []
  const ended: Array<number> = []
  const aborted = new Map<number, unknown>()
  let running = 0
  let peak = 0
  const task = (item: unknown, { index, signal }: Told): Promise<unknown> => {
    const { ms = 0, rejects, throws, deaf = false, ...rest } = plan(index)
    starts.push(now())
    order.push(index)
    items.push(item)
    if (throws !== undefined) {
      ended.push(index)
      throw throws.reason
    }
    running += 1
    peak = Math.max(peak, running)
    const note = () => {
      aborted.set(index, signal.reason)
    }
    signal.addEventListener("abort", note, { once: true })
    return sleep(ms, deaf ? undefined : signal)
      .then(() => {
        ended.push(index)
        if (rejects !== undefined) throw rejects.reason
        return "value" in rest ? rest.value : `v${index}`
      })
      .finally(() => {
        running -= 1
        signal.removeEventListener("abort", note)
      })
  }
  return {
    ...tasksOf(task),
    starts,
    order,
    items,
    ended,
    aborted,
    cancelled: () => [...aborted.keys()].toSorted((a, b) => a - b),
    running: () => running,
    peak: () => peak
  }
}

// --- sources that count ----------------------------------------------------------------------------------------------

export interface Source<A> {
  /** How often an iterator was requested. */
  opened: number
  /** How often `next()` was called. */
  pulls: number
  /** How often `return()` was called. */
  returns: number
  /** Whether it ended by itself, or threw. */
  over: boolean
  /** The most items that were out at once without having been used, the one being pulled included. */
  readonly ahead: () => number
  readonly iterable: Iterable<A> & AsyncIterable<A>
}

/**
 * A source of `items` that counts. `used()` says how many items have been used up so far. A `SourceError` among the
 * items is thrown instead of handed over.
 */
export const source = <A>(
  kind: "sync" | "async",
  items: Iterable<A | SourceError>,
  used: () => number,
  delay = 0
): Source<A> => {
  let ahead = 0
  const open = () => {
    counts.opened += 1
    const iterator = items[Symbol.iterator]()
    const pull = (): IteratorResult<A> => {
      const result = iterator.next()
      if (result.done === true) {
        counts.over = true
        return result
      }
      if (result.value instanceof SourceError) {
        counts.over = true
        throw result.value.reason
      }
      return { done: false, value: result.value }
    }
    const count = () => {
      counts.pulls += 1
      ahead = Math.max(ahead, counts.pulls - used())
    }
    return { iterator, pull, count }
  }
  const sync: Iterable<A> = {
    [Symbol.iterator]: () => {
      const { count, pull } = open()
      return {
        next: () => {
          count()
          return pull()
        },
        return: () => {
          counts.returns += 1
          return { done: true, value: undefined }
        }
      }
    }
  }
  const async: AsyncIterable<A> = {
    [Symbol.asyncIterator]: () => {
      const { count, pull } = open()
      return {
        next: async () => {
          count()
          if (delay > 0) await sleep(delay)
          return pull()
        },
        return: async () => {
          counts.returns += 1
          return { done: true, value: undefined }
        }
      }
    }
  }
  const counts: Source<A> = {
    opened: 0,
    pulls: 0,
    returns: 0,
    over: false,
    ahead: () => ahead,
    iterable: (kind === "sync" ? sync : async) as Iterable<A> & AsyncIterable<A>
  }
  return counts
}

/** In a list of items, makes the source throw this. */
export class SourceError {
  readonly reason: unknown
  constructor(reason: unknown) {
    this.reason = reason
  }
}

export function* naturals(end = Number.POSITIVE_INFINITY): Generator<number> {
  for (let i = 0; i < end; i++) yield i
}

// --- the verbs, seen from one side -----------------------------------------------------------------------------------

/** The functions of the package as plain JavaScript sees them. */
export const untyped = { amap, createKeyedMeter, createMeter, runAll, runAny, runOnEach } as unknown as Record<
  "amap" | "createKeyedMeter" | "createMeter" | "runAll" | "runAny" | "runOnEach",
  Untyped
>
export type Untyped = (...args: ReadonlyArray<unknown>) => unknown

export type AnyOptions = Options & AmapOptions & RunAnyOptions

export interface Call {
  /** What the call hands over, as it comes: for `amap` each result, for the others what they resolve with. */
  readonly delivered: Array<unknown>
  readonly promise: Promise<void>
}

export interface Verb {
  readonly name: string
  readonly verb: "runOnEach" | "runAll" | "amap" | "runAny"
  /** Whether it takes a list of functions instead of items and a function. */
  readonly listed: boolean
  /** Whether the first failure of a task ends the call. */
  readonly failsFast: boolean
  /** Whether results come in input order. */
  readonly ordered: boolean
  readonly call: (items: Iterable<unknown> | AsyncIterable<unknown>, p: Tasks, options?: AnyOptions) => Call
}

const collect = (run: (delivered: Array<unknown>) => Promise<void>): Call => {
  const delivered: Array<unknown> = []
  return { delivered, promise: run(delivered) }
}

const once =
  (run: (items: Iterable<unknown> | AsyncIterable<unknown>, p: Tasks, options: AnyOptions) => Promise<unknown>) =>
  (items: Iterable<unknown> | AsyncIterable<unknown>, p: Tasks, options: AnyOptions = {}): Call =>
    collect(async (delivered) => {
      delivered.push(await run(items, p, options))
    })

const list = (items: Iterable<unknown> | AsyncIterable<unknown>): number => {
  if (!Array.isArray(items)) throw new Error("a list of functions is an array")
  return items.length
}

const amapBy =
  (fixed: AmapOptions) =>
  (items: Iterable<unknown> | AsyncIterable<unknown>, p: Tasks, options: AnyOptions = {}): Call =>
    collect(async (delivered) => {
      for await (const result of amap(items, p.task, { ...options, ...fixed })) delivered.push(result)
    })

export const verbs: ReadonlyArray<Verb> = [
  {
    name: "runOnEach",
    verb: "runOnEach",
    listed: false,
    failsFast: true,
    ordered: false,
    call: once((items, p, options) => runOnEach(items, p.task, options))
  },
  {
    name: "runAll over items",
    verb: "runAll",
    listed: false,
    failsFast: true,
    ordered: true,
    call: once((items, p, options) => runAll(items, p.task, options))
  },
  {
    name: "runAll over functions",
    verb: "runAll",
    listed: true,
    failsFast: true,
    ordered: true,
    call: once((items, p, options) => runAll(p.tasks(list(items)), options))
  },
  {
    name: "amap",
    verb: "amap",
    listed: false,
    failsFast: true,
    ordered: false,
    call: amapBy({})
  },
  {
    name: "amap in order",
    verb: "amap",
    listed: false,
    failsFast: true,
    ordered: true,
    call: amapBy({ ordered: true })
  },
  {
    name: "runAny over items",
    verb: "runAny",
    listed: false,
    failsFast: false,
    ordered: false,
    call: once((items, p, options) => runAny(items, p.task, options))
  },
  {
    name: "runAny over functions",
    verb: "runAny",
    listed: true,
    failsFast: false,
    ordered: false,
    call: once((items, p, options) => runAny(p.tasks(list(items)), options))
  },
  {
    name: "runAny until one settles",
    verb: "runAny",
    listed: false,
    failsFast: true,
    ordered: false,
    call: once((items, p, options) => runAny(items, p.task, { ...options, until: "settled" }))
  }
]

/** The verbs that take items, from any source. */
export const overItems = verbs.filter(({ listed }) => !listed)

// --- limits, and when they let tasks start ---------------------------------------------------------------------------

export interface Limit {
  readonly name: string
  /** The options, with meters of their own for each call. */
  readonly make: () => { readonly options: Options; readonly meters: ReadonlyArray<Meter> }
  /** All limits in force, however they are given. */
  readonly limits: Limits
}

const byMeters = (name: string, ...all: ReadonlyArray<Limits>): Limit => ({
  name,
  make: () => {
    const meters = all.map((limits) => createMeter(limits))
    const [first] = meters
    return { options: { meter: meters.length === 1 && first !== undefined ? first : meters }, meters }
  },
  limits: Object.assign({}, ...all) as Limits
})

const byOptions = (name: string, limits: Limits): Limit => ({
  name,
  make: () => ({ options: limits, meters: [] }),
  limits
})

export const limits: ReadonlyArray<Limit> = [
  byOptions("no limit", {}),
  byOptions("maxAtOnce", { maxAtOnce: 3 }),
  byOptions("maxPerSecond", { maxPerSecond: 10 }),
  byOptions("a burst", { maxPerSecond: 10, maxBurst: 3 }),
  byOptions("maxAtOnce and maxPerSecond", { maxAtOnce: 2, maxPerSecond: 20 }),
  byMeters("a shared meter", { maxAtOnce: 3, maxPerSecond: 20 }),
  byMeters("two meters", { maxAtOnce: 4 }, { maxPerSecond: 10 }),
  {
    name: "a meter per item, the same for all",
    make: () => {
      const meter = createMeter({ maxAtOnce: 3, maxPerSecond: 20 })
      // With one waiter and that many unread results, the source is read as far as with the meter itself.
      return { options: { meter: () => meter, maxPending: 1, maxUnread: 6 } as Options, meters: [meter] }
    },
    limits: { maxAtOnce: 3, maxPerSecond: 20 }
  }
]

/**
 * How long the tasks of the tables take. Different primes, so that tasks which run side by side do not all end at the
 * same instant, nor at one at which a limit opens.
 */
export const durations = [431, 167, 293, 89, 353, 211, 127, 269]

/**
 * When each of these tasks starts, if nothing is started late: in input order, as soon as a permit is free and the
 * rate allows. Tasks wait all the time, so no credit for a burst accrues. Up to `maxPerSecond` tasks in all, so
 * that the window of G2 says nothing on top.
 */
export const predict = (
  durations: ReadonlyArray<number>,
  { maxAtOnce = Number.POSITIVE_INFINITY, maxPerSecond = Number.POSITIVE_INFINITY, maxBurst = 1 }: Limits,
  ordered?: { readonly maxUnread: number }
): Array<number> => {
  if (durations.length > Math.max(maxPerSecond, 1) && maxBurst > 1) throw new Error("outside of the model")
  const starts: Array<number> = []
  const ends: Array<number> = []
  const interval = 1000 / maxPerSecond
  for (const [index, duration] of durations.entries()) {
    let at = starts.at(-1) ?? 0
    if (index >= maxAtOnce) at = Math.max(at, ends.toSorted((a, b) => a - b)[index - maxAtOnce] ?? 0)
    if (index >= maxBurst) at = Math.max(at, (starts.at(-1) ?? 0) + interval)
    // In input order a result is read when all before it have been: task i may start when task i − maxUnread has been read.
    if (ordered !== undefined && index >= ordered.maxUnread) {
      at = Math.max(at, ...ends.slice(0, index - ordered.maxUnread + 1))
    }
    starts.push(at)
    ends.push(at + duration)
  }
  return starts
}

/** As `predict`, for a verb: `amap` in order also waits for results to be read. */
export const predictFor = (verb: Verb, durations: ReadonlyArray<number>, all: Limits): Array<number> =>
  verb.verb === "amap" && verb.ordered && all.maxAtOnce !== undefined
    ? predict(durations, all, { maxUnread: 2 * all.maxAtOnce })
    : predict(durations, all)

/** Every permit of the meter is back: so many tasks can run on it at once again. */
export const expectFree = async (meter: Meter, maxAtOnce: number): Promise<void> => {
  const limiter = Promise.withResolvers<void>()
  let running = 0
  const runs = Array.from({ length: maxAtOnce }, () =>
    meter.run(() => {
      running += 1
      return limiter.promise
    })
  )
  await pass(1000)
  expect(running, "tasks that run at once on the meter afterwards").toBe(maxAtOnce)
  limiter.resolve()
  await Promise.all(runs)
}

// --- amap's iterator -------------------------------------------------------------------------------------------------

/** `return()`, which the type of an iterator has as optional, and `amap`'s always has. */
export const leave = <A>(results: AsyncIterableIterator<A>, given?: unknown): Promise<IteratorResult<A, unknown>> => {
  if (results.return === undefined) throw new Error("amap's iterator has no return()")
  return results.return(given)
}

/** `throw()`, likewise. */
export const hurl = <A>(results: AsyncIterableIterator<A>, error: unknown): Promise<IteratorResult<A, unknown>> => {
  if (results.throw === undefined) throw new Error("amap's iterator has no throw()")
  return results.throw(error)
}

/** What `next()` gives when there is nothing more. */
export const over = { done: true, value: undefined }
