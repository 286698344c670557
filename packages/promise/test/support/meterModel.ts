/**
 * What the tests of meters share: a reference model that predicts when each task starts, and the calls that are compared
 * with it.
 */
import { createMeter } from "../../src/index.ts"
import type { Cost, Limits, Meter, Options } from "../../src/index.ts"
import { durations, probe, verbs } from "../support.ts"
import type { AnyOptions, Plan, Probe, Verb } from "../support.ts"

/** A task as the model sees it. */
export interface Planned {
  readonly ms: number
  readonly cost?: Cost
}

/** Tasks of which some are much heavier than others. */
export const weighed: ReadonlyArray<Planned> = durations.map((ms, i) => ({
  ms,
  cost: { tokens: [30, 5, 60, 100, 1, 45, 55, 20][i]! }
}))

/** A window with its length in milliseconds. */
export interface ModelWindow {
  readonly limit: number
  readonly per: number
}

export interface ModelLimits {
  readonly maxAtOnce?: number
  readonly maxPerSecond?: number
  readonly windows?: Readonly<Record<string, ModelWindow>>
}

/**
 * When each of these tasks starts that all wait from the beginning: one after the other, each at the first instant at
 * which a permit is free, the rate allows it and every window that ends there has room. Nothing is started late.
 */
export const predictStarts = (
  tasks: ReadonlyArray<Planned>,
  { maxAtOnce = Infinity, maxPerSecond = Infinity, windows = {} }: ModelLimits
): Array<number> => {
  const starts: Array<number> = []
  const isAllowed = (at: number, { cost = {} }: Planned): boolean => {
    const running = starts.filter((start, i) => start + tasks[i]!.ms > at).length
    const isPaced = starts.length === 0 || at >= starts.at(-1)! + 1000 / maxPerSecond
    const hasRoom = Object.entries(windows).every(([name, { limit, per }]) => {
      const spent = starts.reduce((sum, start, i) => (start > at - per ? sum + (tasks[i]!.cost?.[name] ?? 1) : sum), 0)
      return spent + (cost[name] ?? 1) <= limit
    })
    return running < maxAtOnce && isPaced && hasRoom
  }
  for (const task of tasks) {
    // Something becomes possible only when a task ends, when a start leaves a window, or when the next slot comes.
    const instants = starts.flatMap((start, i) => [
      start,
      start + tasks[i]!.ms,
      start + 1000 / maxPerSecond,
      ...Object.values(windows).map(({ per }) => start + per)
    ])
    const from = starts.at(-1) ?? 0
    const at = [from, ...instants.filter((instant) => instant >= from).toSorted((a, b) => a - b)].find((instant) =>
      isAllowed(instant, task)
    )
    if (at === undefined) throw new Error("the model finds no instant for a task")
    starts.push(at)
  }
  return starts
}

/** A way to run tasks under limits: a verb, or a call of `meter.run` for each task. */
export interface Way {
  readonly name: string
  readonly verb: Verb | undefined
  /** Runs the tasks under the limits; the promise settles when all is over. */
  readonly begin: (tasks: ReadonlyArray<Planned>, limits: Limits, how: How) => Begun
}

/** How limits are passed to a call. */
export type How = "as options" | "by a meter"

export interface Begun {
  readonly probe: Probe
  readonly promise: Promise<unknown>
  readonly meter: Meter | undefined
}

const isWeighed = (tasks: ReadonlyArray<Planned>): boolean => tasks.some(({ cost }) => cost !== undefined)

/** The options of a verb for such tasks. */
export const optionsFor = (tasks: ReadonlyArray<Planned>): Pick<Options, "cost"> =>
  isWeighed(tasks) ? { cost: (_: unknown, index: number) => tasks[index]!.cost ?? {} } : {}

/** What makes all tasks of a race start: none of them wins. */
export const planFor = (verb: Verb | undefined, tasks: ReadonlyArray<Planned>) => {
  const losing = verb?.verb === "runAny" && !verb.failsFast
  return (i: number): Plan => ({ ms: tasks[i]!.ms, ...(losing ? { rejects: { reason: i } } : {}) })
}

const verbWays: ReadonlyArray<Way> = verbs.map((verb) => ({
  name: verb.name,
  verb,
  begin: (tasks, limits, how) => {
    const p = probe(planFor(verb, tasks))
    const meter = how === "by a meter" ? createMeter(limits) : undefined
    const options: AnyOptions = {
      ...(meter === undefined ? limits : { meter }),
      ...optionsFor(tasks),
      maxUnread: Infinity
    }
    const items = tasks.map((_, i) => i)
    return { probe: p, promise: verb.call(items, p, options).promise, meter }
  }
}))

const runs: Way = {
  name: "meter.run",
  verb: undefined,
  begin: (tasks, limits) => {
    const p = probe(planFor(undefined, tasks))
    const meter = createMeter(limits)
    const all = tasks.map(({ cost }, index) => meter.run(({ signal }) => p.task(index, { index, signal }), { cost }))
    return { probe: p, promise: Promise.all(all), meter }
  }
}

export const ways: ReadonlyArray<Way> = [...verbWays, runs]

/**
 * The cases in which starts are compared with the model: all limits under one verb, and the last of them, which has a limit
 * of each kind, under every way.
 */
export const timings = (table: ReadonlyArray<{ readonly name: string; readonly limits: Limits & ModelLimits }>) => {
  const [runAll] = ways.filter(({ name }) => name === "runAll over items")
  const of = (how: How, way: Way, { limits, name }: (typeof table)[number]) => ({
    how,
    way,
    limits,
    name: `${name}, ${how}, ${way.name}`
  })
  return [
    ...table.map((each) => of("as options", runAll!, each)),
    ...ways.map((way) => of("as options", way, table.at(-1)!)),
    ...ways.map((way) => of("by a meter", way, table.at(-1)!))
  ]
}

/** The starts that a verb, or `meter.run`, shows: a race that the first to settle ends starts nothing more after that. */
export const startsSeen = (
  verb: Verb | undefined,
  tasks: ReadonlyArray<Planned>,
  starts: ReadonlyArray<number>
): Array<number> => {
  const isOver = verb?.verb === "runAny" && verb.failsFast
  const end = isOver ? Math.min(...starts.map((start, i) => start + tasks[i]!.ms)) : Infinity
  return starts.filter((start) => start < end)
}

/** The most that was spent in any half-open window of that length. */
export const mostIn = (per: number, spent: ReadonlyArray<{ readonly at: number; readonly cost: number }>): number =>
  Math.max(
    0,
    ...spent.map(({ at: end }) =>
      spent.reduce((sum, { at, cost }) => (at <= end && at > end - per ? sum + cost : sum), 0)
    )
  )
