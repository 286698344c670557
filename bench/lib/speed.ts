/** The figures of the README, taken from the saved results. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as format from "./format.ts"
import { kept } from "./results.ts"
import type { Entry } from "./results.ts"
import { markdown } from "./table.ts"

const readme = join(import.meta.dirname, "../../README.md")

/** The rows of the README's table, and the labels of the `overhead` lines that they show. */
const rows: ReadonlyArray<readonly [what: string, against: string, atOnce: string, macrotask?: string]> = [
  facade("runAll", "p-map", "p-map"),
  facade("amap", "`pMapIterable` of p-map", "pMapIterable, unordered"),
  facade("runOnEach", "promise-pool", "promise-pool"),
  ["`run` of a meter, all queued at once", "p-limit", "promise meter.run, all queued at once / p-limit"],
  core("runAll", "`Effect.forEach`", "Effect.forEach"),
  ["`runAll` of `Effect.succeed`", "`Effect.forEach`", "core runAll, Effect.succeed / Effect.forEach"],
  core("amap", "`Stream.mapEffect`", "Stream.mapEffect, unordered"),
  [
    "`Meter.metered`, 10,000 fibers at once",
    "`Semaphore.withPermit`",
    "core shared meter, every task a waiting fiber / Semaphore.withPermit"
  ]
]

function facade(verb: string, name: string, against: string) {
  const work = `promise ${verb}`
  return [
    `\`${verb}\``,
    name,
    `${work}, resolve at once / ${against}`,
    `${work}, after a macrotask / ${against}`
  ] as const
}

function core(verb: string, name: string, against: string) {
  const work = `core ${verb}`
  return [
    `\`${verb}\` of Effects`,
    name,
    `${work}, resolved promises / ${against}`,
    `${work}, macrotasks / ${against}`
  ] as const
}

const table = (entries: ReadonlyArray<Entry>): string => {
  const bars = entries
    .filter(({ suite }) => suite === "overhead")
    .flatMap(({ report }) => report.charts.flatMap((chart) => chart.bars))
  const ratio = (label: string | undefined): string => {
    if (label === undefined) return ""
    const bar = bars.find((each) => each.label === label)
    if (bar === undefined) throw new Error(`the results have no line ${label}`)
    return format.ratio(bar.value)
  }
  return markdown({
    columns: [
      "fibermeter",
      "compared with",
      "tasks that resolve immediately",
      "tasks that take a turn of the event loop"
    ],
    rows: rows.map(([what, against, atOnce, macrotask]) => [what, against, ratio(atOnce), ratio(macrotask)])
  })
}

/** The first table of `load`, without its targets. */
const loadTable = (entries: ReadonlyArray<Entry>): string => {
  const [all] = entries.find(({ suite }) => suite === "load")?.report.tables ?? []
  if (all === undefined) throw new Error("there are no results of load")
  const kept = all.columns.flatMap((column, i) => (column === "target" || column === "" ? [] : [i]))
  return markdown({
    columns: kept.map((i) => all.columns[i]!),
    rows: all.rows.map((row) => kept.map((i) => row[i]!.replace(/ \(.*\)$/, "")))
  })
}

/** The generated blocks of the README, by their opening comments. */
const blocks: ReadonlyArray<readonly [begin: string, table: (entries: ReadonlyArray<Entry>) => string]> = [
  ["<!-- from bench/results.json -->\n\n", table],
  ["<!-- load, from bench/results.json -->\n\n", loadTable]
]

const end = "\n\n<!-- until here -->"

/** The text of the README with the saved figures. */
export const withSpeed = (text: string): string =>
  blocks.reduce((text, [begin, table]) => {
    const from = text.indexOf(begin) + begin.length
    const to = text.indexOf(end, from)
    if (from < begin.length || to < from) throw new Error(`the README has no place for its figures: ${begin.trim()}`)
    return text.slice(0, from) + table(kept()) + text.slice(to)
  }, text)

/** Updates the README and returns its name. */
export const writeSpeed = (): string => {
  writeFileSync(readme, withSpeed(readFileSync(readme, "utf8")))
  return readme
}
