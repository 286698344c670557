/** A line of the suite `distributed`: faults of all kinds for a minute, by the code that the tests run for some seconds. */
import { bundle } from "../../packages/redis/test/support/bundle.ts"
import { chaos, everyFault, isKept } from "../../packages/redis/test/support/chaos.ts"
import type { Outcome, Plan } from "../../packages/redis/test/support/chaos.ts"
import * as format from "./format.ts"
import type { Scale, Suite } from "./suite.ts"

/** The seed stays, so that a later run has the same faults. */
const plan: Plan = {
  seed: 16,
  millis: 60_000,
  processes: 8,
  maxPerSecond: 500,
  maxAtOnce: 30,
  deck: everyFault,
  pause: [50, 500]
}
const label = "promise: 500 a second and 30 at once, 60 s of chaos"

const measure = async (scale: Scale): Promise<Outcome> => {
  const worker = await bundle("chaosWorker.ts")
  try {
    return await chaos(worker.file, { ...plan, millis: scale === "full" ? plan.millis : 0 })
  } finally {
    worker.remove()
  }
}

const isOutcome = (result: unknown): result is Outcome =>
  typeof result === "object" && result !== null && "faults" in result

const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ")

/** The same suite, and this line. Its smoke test leaves the line out, since the tests of the package have it. */
export const withChaos = <Result>(suite: Suite<Result>): Suite<Result | Outcome> => ({
  name: suite.name,
  lines: (scale) => {
    const lines = suite.lines(scale)
    return scale === "smoke" || lines.length === 0 ? lines : [...lines, { label, measure: () => measure(scale) }]
  },
  report: (all) => {
    const outcomes = all.filter(isOutcome)
    const report = suite.report(all.filter((result): result is Result => !isOutcome(result)))
    if (outcomes.length === 0) return report
    return {
      ...report,
      notes: [
        ...report.notes,
        "Chaos: processes are killed with kill -9 and begun, stopped by SIGSTOP for longer than their lease, and cut off, noticing it or not (hold); the script and the state are flushed, the state is rolled back to an earlier append-only file, and the server is ended, killed and started again. Tasks of a process that was stopped count until then, and a start that it was stopped in, and that it reports as late (`stalled`), is not counted. Before state is lost, no process is new, stopped or cut off: nothing is promised of one that does not know the state."
      ],
      tables: [
        ...report.tables,
        {
          title: "Chaos",
          columns: [
            "limit",
            "seed",
            "seconds",
            "faults",
            "starts",
            "most starts in 1 s",
            "most at once",
            "waiters lost",
            "stopped, and told",
            ""
          ],
          rows: outcomes.map((outcome) => [
            label,
            `${outcome.seed}`,
            format.count(Math.round(outcome.seconds)),
            list(outcome.faults),
            format.count(outcome.starts),
            format.count(outcome.mostInSecond),
            format.count(outcome.mostAtOnce),
            `${outcome.wrong.length} of ${format.count(outcome.calls)}`,
            `${outcome.stopped}, ${outcome.told}`,
            isKept(plan, outcome) ? "kept" : "broken"
          ])
        }
      ],
      broken: [
        ...report.broken,
        ...outcomes
          .filter((outcome) => !isKept(plan, outcome))
          .map((outcome) => `distributed, ${label}: ${JSON.stringify(outcome)}`)
      ]
    }
  }
})
