/** The lines and the tables of suites that compare us with somebody, or with ourselves. */
import { compare } from "./compare.ts"
import type { Comparison, Contender } from "./compare.ts"
import * as format from "./format.ts"
import type { Bar, Line, Report, Scale } from "./suite.ts"

/** Two contenders for one piece of work. */
export interface Race {
  readonly work: string
  readonly against: string
  /** What the ratio ours / theirs is to reach; none where the line is there to inform. */
  readonly reach?: number
  readonly tasks: number
  /** How many times the work is done in a round, where once is over too soon. Default: 1. */
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

/** The contender, so many times one after the other. */
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
        "ratio (least – most)",
        "to reach",
        "",
        "by CPU time",
        "ours, ns a task",
        "theirs, ns a task"
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
