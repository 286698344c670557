/**
 * Two contenders for the same work, measured side by side: in one process, in turns, so that whatever disturbs the
 * machine disturbs both.
 */
import { tidy } from "./heap.ts"
import { median, ratioOf, spreadOf } from "./stats.ts"
import type { Spread } from "./stats.ts"
import type { Scale } from "./suite.ts"

/** Milliseconds that something took. */
export interface Elapsed {
  readonly wall: number
  /** Those in which the thread was really at work: others on a busy machine do not show in them. */
  readonly cpu: number
}

/** Does the work once. Gives the time it took, where not all of it counts. */
export type Contender = () => Promise<Elapsed | void>

/** Begins to measure; what it returns gives the time since. */
export const stopwatch = (): (() => Elapsed) => {
  const cpuBegan = process.threadCpuUsage()
  const wallBegan = performance.now()
  return () => {
    const wall = performance.now() - wallBegan
    const { system, user } = process.threadCpuUsage(cpuBegan)
    return { wall, cpu: (user + system) / 1000 }
  }
}

/** How many tasks have been called. The tasks count, and `compare` checks: no library is fast by leaving tasks out. */
export const calls = { count: 0 }

export interface Comparison {
  readonly ratio: Spread
  /** The same of the time in which the thread was at work, where that was long enough to be told. */
  readonly cpuRatio: Spread | null
  /** Nanoseconds per task. */
  readonly ours: Spread
  readonly theirs: Spread
}

const rounds = { full: 11, quick: 5, smoke: 1 } as const
const warmUps = { full: 2, quick: 2, smoke: 0 } as const

/** `tasks` is how many each of the two has to call; the same number is what their times are divided by. */
export const compare = async (scale: Scale, tasks: number, ours: Contender, theirs: Contender): Promise<Comparison> => {
  const times: { readonly ours: Array<Elapsed>; readonly theirs: Array<Elapsed> } = { ours: [], theirs: [] }
  for (let round = -warmUps[scale]; round < rounds[scale]; round++) {
    const our = await measure(ours, tasks)
    const their = await measure(theirs, tasks)
    if (round < 0) continue
    times.ours.push(our)
    times.theirs.push(their)
  }
  const nanosPerTask = ({ wall }: Elapsed): number => (wall * 1e6) / tasks
  return {
    ratio: ratioOf(times.ours.map(wall), times.theirs.map(wall)),
    cpuRatio: isTold(times.ours) && isTold(times.theirs) ? ratioOf(times.ours.map(cpu), times.theirs.map(cpu)) : null,
    ours: spreadOf(times.ours.map(nanosPerTask)),
    theirs: spreadOf(times.theirs.map(nanosPerTask))
  }
}

const wall = (elapsed: Elapsed): number => elapsed.wall
const cpu = (elapsed: Elapsed): number => elapsed.cpu

/** The system counts a thread's time in steps of some milliseconds. */
const isTold = (times: ReadonlyArray<Elapsed>): boolean => median(times.map(cpu)) > 25

const measure = async (contender: Contender, tasks: number): Promise<Elapsed> => {
  // The young generation only, so that no library pays for another's garbage. A full collection would also drop the
  // shapes of objects that are not alive just now, and with them the compiled code of both.
  tidy()
  calls.count = 0
  const elapsed = stopwatch()
  const own = await contender()
  const whole = elapsed()
  if (calls.count !== tasks) throw new Error(`${calls.count} tasks were called instead of ${tasks}`)
  return own ?? whole
}
