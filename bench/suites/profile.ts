/** Profiles of the lines of `overhead` and `scaling` whose targets are the hardest to reach. */
import { tidy } from "../lib/heap.ts"
import { calls } from "../lib/compare.ts"
import type { Contender } from "../lib/compare.ts"
import { repeated } from "../lib/comparisons.ts"
import type { Race } from "../lib/comparisons.ts"
import * as format from "../lib/format.ts"
import { owners, profile } from "../lib/profiler.ts"
import type { Owner, Shares } from "../lib/profiler.ts"
import type { Line, Scale, Suite } from "../lib/suite.ts"
import { races as overheadRaces } from "./overhead.ts"
import { races as scalingRaces } from "./scaling.ts"

interface Outcome {
  readonly work: string
  readonly who: string
  /** Nanoseconds a task. */
  readonly nanos: Shares
}

/** By the beginning of what they are called. */
const looked = [
  "promise meter.run, all queued at once",
  "a bare queue that keeps async contexts",
  "core runAll, resolved promises",
  "core runOnEach, Effect.succeed",
  "promise meter.run, 100,000 waiters",
  "core metered, 100,000 waiters",
  "a bare queue, 100,000 waiters"
]

const rounds = { full: 20, quick: 5, smoke: 1 } as const

const line = (scale: Scale, work: string, who: string, contender: Contender): Line<Outcome> => ({
  label: `${work}: ${who}`,
  measure: async () => {
    // Once before, so that what is seen is compiled code.
    for (let round = 0; round < rounds[scale]; round++) await contender()
    calls.count = 0
    const millis = await profile(rounds[scale], tidy, contender)
    const entries = owners.map((owner) => [owner, (millis[owner] * 1e6) / calls.count])
    return { work, who, nanos: Object.fromEntries(entries) as Record<Owner, number> }
  }
})

const linesOf = (scale: Scale, { against, ours, theirs, times, work }: Race): ReadonlyArray<Line<Outcome>> => [
  line(scale, work, "ours", repeated(ours, times)),
  line(scale, work, against, repeated(theirs, times))
]

export const profiles: Suite<Outcome> = {
  name: "profile",
  lines: (scale: Scale) =>
    [...overheadRaces(scale), ...scalingRaces(scale)]
      .filter(({ work }) => scale !== "full" || looked.includes(work))
      .flatMap((race) => linesOf(scale, race)),
  report: (outcomes) => ({
    title: "Profile: where the time is spent, in nanoseconds per task",
    notes: [
      "For the lines above with the most difficult targets. Measured by V8's sampling profiler, which adds some overhead. Each line runs in its own process, 20 rounds after 20 warm-up rounds. `tasks` is the time of the tasks and the measuring program. An inlined function counts for its own library."
    ],
    tables: [
      {
        columns: ["work", "who", "all", ...owners],
        rows: outcomes.map(({ nanos, who, work }) => [
          work,
          who,
          format.nanos(owners.reduce((sum, owner) => sum + nanos[owner], 0)),
          ...owners.map((owner) => format.nanos(nanos[owner]))
        ])
      }
    ],
    charts: [],
    broken: []
  })
}
