/**
 * Two contenders for the same work, measured side by side: in one process, in turns, so that whatever disturbs the
 * machine disturbs both.
 */
import { tidy } from "./heap.ts"
import { ratioOf, spreadOf } from "./stats.ts"
import type { Spread } from "./stats.ts"
import type { Scale } from "./suite.ts"

/** Does the work once. Gives the milliseconds it took, where not all of it counts. */
export type Contender = () => Promise<number | void>

/** How many tasks have been called. The tasks count, `compare` checks: nobody is fast by leaving something out. */
export const calls = { count: 0 }

export interface Comparison {
  readonly ratio: Spread
  /** Nanoseconds per task. */
  readonly ours: Spread
  readonly theirs: Spread
}

const rounds = { full: 11, quick: 5, smoke: 1 } as const
const warmUps = { full: 2, quick: 2, smoke: 0 } as const

/** `tasks` is how many each of the two has to call; the same number is what their times are divided by. */
export const compare = async (scale: Scale, tasks: number, ours: Contender, theirs: Contender): Promise<Comparison> => {
  const times: { readonly ours: Array<number>; readonly theirs: Array<number> } = { ours: [], theirs: [] }
  for (let round = -warmUps[scale]; round < rounds[scale]; round++) {
    const our = await perTask(ours, tasks)
    const their = await perTask(theirs, tasks)
    if (round < 0) continue
    times.ours.push(our)
    times.theirs.push(their)
  }
  return { ratio: ratioOf(times.ours, times.theirs), ours: spreadOf(times.ours), theirs: spreadOf(times.theirs) }
}

const perTask = async (contender: Contender, tasks: number): Promise<number> => {
  // The young generation only, so that nobody pays for the other's garbage. A full collection would also drop the
  // shapes of objects that are not alive just now, and with them the compiled code of both.
  tidy()
  calls.count = 0
  const began = performance.now()
  const own = await contender()
  const millis = own ?? performance.now() - began
  if (calls.count !== tasks) throw new Error(`${calls.count} tasks were called instead of ${tasks}`)
  return (millis * 1e6) / tasks
}
