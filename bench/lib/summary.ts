/**
 * The chart of the README: four bars, each of them ours on a scale of its own, with the peers as marks on it. Made of the
 * charts of the suites `load`, `overhead` and `pacing`.
 */
import type { Entry } from "./results.ts"
import type { Bar } from "./suite.ts"
import * as format from "./format.ts"

interface Row {
  readonly title: string
  /** Which bars of which chart, by the label of each and what it is called here. */
  readonly suite: string
  readonly chart: string
  readonly ours: string
  readonly peers: Readonly<Record<string, string>>
  readonly show: (value: number) => string
}

const facade = "@fibermeter/promise"

/** As they are called in the suite. */
const loaded = Object.fromEntries(
  ["p-map", "p-limit", "p-queue", "p-throttle", "bottleneck"].map((name) => [name, name])
)

const rows: ReadonlyArray<Row> = [
  {
    title: "Import, milliseconds",
    suite: "load",
    chart: "Import, over an empty process",
    ours: facade,
    peers: loaded,
    show: format.millis
  },
  {
    title: "Install, kB",
    suite: "load",
    chart: "npm install",
    ours: facade,
    peers: loaded,
    show: (bytes) => `${Math.round(bytes / 1000)} kB`
  },
  {
    title: "Overhead of a task, p-map = 1",
    suite: "overhead",
    chart: "Overhead: ours / theirs",
    ours: "promise runAll, resolve at once / p-map",
    peers: {},
    show: format.ratio
  },
  {
    title: "Most starts in a second where 1,000 are allowed",
    suite: "pacing",
    chart: "Pacing: most starts in any window / limit",
    ours: "1,000 per second, plain: promise",
    peers: Object.fromEntries(
      ["p-throttle", "p-queue", "bottleneck, minTime"].map((name) => [
        `1,000 per second, plain: ${name}`,
        name.replace(/,.*/, "")
      ])
    ),
    show: (share) => format.count(Math.round(share * 1000))
  }
]

interface Mark {
  readonly name: string
  readonly value: number
}

/** What is shown of a row, where all of it has been measured. */
const marksOf = ({ chart, ours, peers, suite }: Row, entries: ReadonlyArray<Entry>) => {
  const charts = entries.find((entry) => entry.suite === suite)?.report.charts
  const bars = charts?.find(({ title }) => title === chart)?.bars
  if (bars === undefined) return undefined
  const valueOf = (label: string): number => {
    const bar: Bar | undefined = bars.find((each) => each.label === label)
    if (bar === undefined) throw new Error(`${suite} has no bar ${label}`)
    return bar.value
  }
  const others = Object.entries(peers).map(([label, name]): Mark => ({ name, value: valueOf(label) }))
  // A ratio has its peer at 1.
  return { value: valueOf(ours), others: others.length > 0 ? others : [{ name: "p-map", value: 1 }] }
}

const width = 900
const left = 340
const plot = 470
const rowHeight = 58
const top = 44

/** None as long as a suite has no results. */
export const summary = (entries: ReadonlyArray<Entry>): string | undefined => {
  const drawn: Array<string> = []
  for (const [i, row] of rows.entries()) {
    const marks = marksOf(row, entries)
    if (marks === undefined) return undefined
    drawn.push(`<g transform="translate(0 ${top + i * rowHeight})">${draw(row, marks.value, marks.others)}</g>`)
  }
  const height = top + rows.length * rowHeight
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="#1d2733" role="img" aria-label="fibermeter compared with others: import, install, overhead, and accuracy of a rate">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="22" font-size="11" fill="#5a6572">Bars: fibermeter. Marks: other packages. Each row has its own scale. Less is better; in the last row, more than 1,000 exceeds the limit.</text>`,
    ...drawn,
    "</svg>",
    ""
  ].join("\n")
}

const draw = ({ show, title }: Row, value: number, peers: ReadonlyArray<Mark>): string => {
  const end = Math.max(value, ...peers.map((peer) => peer.value))
  const x = (value: number): number => Math.round(left + (Math.max(0, value) / end) * plot)
  return [
    `<text x="${left - 12}" y="16" text-anchor="end">${title}</text>`,
    `<rect x="${left}" y="3" width="${Math.max(2, x(value) - left)}" height="18" fill="#2f7d5b"/>`,
    `<text x="${left + plot + 10}" y="16" font-weight="bold">${show(value)}</text>`,
    ...labelled(peers, x).map(
      ({ at, name, textAt }) =>
        `<line x1="${at}" y1="0" x2="${at}" y2="26" stroke="#8a93a0" stroke-width="2"/><line x1="${at}" y1="26" x2="${textAt}" y2="32" stroke="#8a93a0"/><text x="${textAt}" y="43" text-anchor="middle" font-size="11" fill="#5a6572">${name}</text>`
    )
  ].join("\n")
}

/** Names that would lie on each other move to the right, and from the right edge back to the left. */
const labelled = (peers: ReadonlyArray<Mark>, x: (value: number) => number) => {
  const space = ({ name }: Mark): number => name.length * 6.2 + 8
  const placed = peers
    .toSorted((a, b) => a.value - b.value)
    .map((peer) => ({ name: peer.name, at: x(peer.value), textAt: x(peer.value), space: space(peer) }))
  for (const [i, label] of placed.entries()) {
    const before = placed[i - 1]
    if (before !== undefined) label.textAt = Math.max(label.textAt, before.textAt + (before.space + label.space) / 2)
  }
  let limit = width - 10
  for (const label of placed.toReversed()) {
    label.textAt = Math.min(label.textAt, limit - label.space / 2)
    limit = label.textAt - label.space / 2
  }
  return placed.map(({ at, name, textAt }) => ({ at, name, textAt: Math.round(textAt) }))
}
