/**
 * What is kept of a run: `results.json` has the last report of each suite, and the Markdown and the charts are made
 * from that, so that a suite can be run again without the others.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { svg } from "./chart.ts"
import { describe } from "./environment.ts"
import type { Environment } from "./environment.ts"
import type { Report } from "./suite.ts"
import { summary } from "./summary.ts"
import { markdown } from "./table.ts"

export interface Entry {
  readonly suite: string
  readonly environment: Environment
  readonly report: Report
}

const bench = dirname(import.meta.dirname)
const json = join(bench, "results.json")

/** The last report of each suite. */
export const kept = (): ReadonlyArray<Entry> =>
  existsSync(json) ? (JSON.parse(readFileSync(json, "utf8")) as ReadonlyArray<Entry>) : []

/** Writes the files, and returns their names. `order` is that of the suites. */
export const write = (entries: ReadonlyArray<Entry>, order: ReadonlyArray<string>): ReadonlyArray<string> => {
  const all = [...kept().filter(({ suite }) => !entries.some((entry) => entry.suite === suite)), ...entries]
    .filter(({ suite }) => order.includes(suite))
    .toSorted((a, b) => order.indexOf(a.suite) - order.indexOf(b.suite))
  const four = summary(all)
  const files = {
    ...(four === undefined ? {} : { [join(bench, "summary.svg")]: four }),
    [json]: `${JSON.stringify(all, undefined, 2)}\n`,
    [join(bench, "results.md")]: page(all),
    [join(bench, "results.svg")]: svg(
      all.flatMap(({ report }) => report.charts),
      "The bar is the median, the whisker the least and the most of all rounds, the mark what is to be reached. Green: reached. Grey: somebody else's."
    )
  }
  for (const [file, content] of Object.entries(files)) writeFileSync(file, content)
  return Object.keys(files)
}

const page = (entries: ReadonlyArray<Entry>): string =>
  [
    "# Benchmark results",
    "Made by `npm run bench` (and `npm run bench -- soak`). The charts: [results.svg](results.svg).",
    ...entries.map(section)
  ]
    .join("\n\n")
    .concat("\n")

/** A report, to be read. */
export const section = ({ environment, report }: Entry): string =>
  [
    `## ${report.title}`,
    ...report.notes,
    ...report.tables.flatMap((table) => [
      ...(table.title === undefined ? [] : [`### ${table.title}`]),
      markdown(table)
    ]),
    ...report.broken.map((promise) => `**Broken:** ${promise}`),
    `_${describe(environment)}_`
  ].join("\n\n")
