/** Lines and tables of the suites that compare fibermeter with another library, or with itself. */
import { compare } from "./compare.ts"
import type { Comparison, Contender } from "./compare.ts"
import * as format from "./format.ts"
import type { Bar, Line, Report, Scale } from "./suite.ts"

/** Two contenders for one piece of work. */
export interface Race {
  readonly work: string
  readonly against: string
  /** The target of the ratio ours / theirs; `undefined` if the line is only informative. */
  readonly reach?: number
  readonly tasks: number
  /** How often the work is repeated in a round, if a single run is too short. Default: 1. */
  readonly times?: number
  readonly ours: Contender
  readonly theirs: Contender
}

export interface Outcome extends Comparison {
  readonly work: string
  readonly against: string
  readonly reach: number | null
  readonly tasks: number
}

/** Runs the contender several times, one after the other. */
export const repeated = (contender: Contender, times = 1): Contender =>
  times === 1
    ? contender
    : async () => {
        for (let i = 0; i < times; i++) await contender()
      }

export const line = (scale: Scale, { times, ...race }: Race): Line<Outcome> => ({
  label: `${race.work} / ${race.against}`,
  measure: async () => ({
    work: race.work,
    against: race.against,
    reach: race.reach ?? null,
    tasks: race.tasks,
    ...(await compare(scale, race.tasks * (times ?? 1), repeated(race.ours, times), repeated(race.theirs, times)))
  })
})

export const report = (
  title: string,
  notes: ReadonlyArray<string>,
  end: number,
  outcomes: ReadonlyArray<Outcome>
): Report => ({
  title,
  notes,
  tables: [
    {
      columns: [
        "work",
        "against",
        "tasks",
        "ratio (min – max)",
        "target",
        "",
        "by CPU time",
        "ours, ns per task",
        "theirs, ns per task"
      ],
      rows: outcomes.map(({ against, cpuRatio, ours, ratio, reach, tasks, theirs, work }) => [
        work,
        against,
        format.count(tasks),
        format.spread(ratio, format.ratio),
        reach === null ? "–" : `≤ ${reach}`,
        reach === null ? "" : verdict(ratio.median, reach),
        cpuRatio === null ? "–" : format.ratio(cpuRatio.median),
        format.nanos(ours.median),
        format.nanos(theirs.median)
      ])
    }
  ],
  charts: [{ title, end, format: "ratio", bars: outcomes.map(bar) }],
  broken: []
})

const verdict = (ratio: number, reach: number): string => (ratio <= reach ? "reached" : "missed")

const bar = ({ against, ratio, reach, work }: Outcome): Bar => ({
  label: `${work} / ${against}`,
  value: ratio.median,
  low: ratio.min,
  high: ratio.max,
  ...(reach === null ? {} : { target: reach }),
  isGood: reach === null || ratio.median <= reach
})
