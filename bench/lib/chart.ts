/** Bar charts as one SVG, without a library. */
import type { Bar, Chart } from "./suite.ts"
import * as format from "./format.ts"

const font = 12
const rowHeight = 20
const titleHeight = 44
const axisHeight = 30
const labelWidth = 530
const plotWidth = 420
const valueWidth = 150
const margin = 16

const colours = { good: "#2f7d5b", bad: "#c0392b", peer: "#8a93a0", ink: "#1d2733", faint: "#dfe3e8", paper: "#ffffff" }

export const svg = (charts: ReadonlyArray<Chart>, caption: string): string => {
  const width = margin + labelWidth + plotWidth + valueWidth
  let top = margin + 22
  const drawn = charts.map((chart) => {
    const at = top
    top += titleHeight + chart.bars.length * rowHeight + axisHeight
    return `<g transform="translate(0 ${at})">${draw(chart)}</g>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="${font}" fill="${colours.ink}">`,
    `<rect width="${width}" height="${top}" fill="${colours.paper}"/>`,
    text(margin, margin + font, caption, `fill="#5a6572"`),
    ...drawn,
    "</svg>",
    ""
  ].join("\n")
}

const draw = (chart: Chart): string => {
  const left = margin + labelWidth
  const x = (value: number): number => round(left + (Math.min(value, chart.end) / chart.end) * plotWidth)
  const show = shows[chart.format]
  const bottom = titleHeight + chart.bars.length * rowHeight
  const ticks = ticksTo(chart.end)
  return [
    text(margin, 24, chart.title, `font-size="${font + 4}" font-weight="bold"`),
    ...ticks.map((tick) => line(x(tick), titleHeight - 4, x(tick), bottom, colours.faint)),
    ...ticks.map((tick) =>
      text(x(tick), bottom + 16, ticksOf[chart.format](tick), `text-anchor="middle" fill="#5a6572"`)
    ),
    ...chart.bars.map((bar, i) => drawBar(bar, titleHeight + i * rowHeight, x, show, chart)),
    line(left, titleHeight - 4, left, bottom, colours.ink)
  ].join("\n")
}

const drawBar = (
  bar: Bar,
  y: number,
  x: (value: number) => number,
  show: (value: number) => string,
  chart: Chart
): string => {
  const colour = bar.isPeer === true ? colours.peer : bar.isGood ? colours.good : colours.bad
  const middle = y + rowHeight / 2 - 2
  const zero = x(0)
  const low = bar.low ?? bar.value
  const high = bar.high ?? bar.value
  return [
    text(zero - 8, middle + 4, bar.label, `text-anchor="end"`),
    `<rect x="${zero}" y="${y + 2}" width="${round(x(bar.value) - zero)}" height="${rowHeight - 8}" fill="${colour}"/>`,
    ...(high > low
      ? [
          line(x(low), middle, x(high), middle, colours.ink),
          line(x(low), middle - 3, x(low), middle + 3, colours.ink),
          line(x(high), middle - 3, x(high), middle + 3, colours.ink)
        ]
      : []),
    ...(bar.target === undefined
      ? []
      : [`<rect x="${round(x(bar.target) - 1.5)}" y="${y - 1}" width="3" height="${rowHeight - 2}" fill="#e0a100"/>`]),
    text(
      zero + plotWidth + 10,
      middle + 4,
      `${show(bar.value)}${bar.value > chart.end ? " →" : ""}${bar.target === undefined || chart.format === "percent" ? "" : ` (≤ ${bar.target})`}`
    )
  ].join("\n")
}

const shows = {
  ratio: format.ratio,
  percent: format.percent,
  millis: format.millis,
  bytes: format.kilobytes
} as const

const ticksOf = {
  ratio: String,
  percent: (tick: number) => `${Math.round(tick * 100)} %`,
  millis: (tick: number) => `${tick} ms`,
  bytes: (tick: number) => `${tick / 1000} kB`
} as const

/** A handful of round numbers from 0 to the end. */
const ticksTo = (end: number): ReadonlyArray<number> => {
  const step = end > 3 ? roundStep(end / 4) : end > 1.5 ? 0.5 : 0.2
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => round(i * step))
}

/** The least of 1, 2, 5, 10, 20 and so on that is no less. */
const roundStep = (least: number): number => {
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].map((each) => each * power).find((step) => step >= least)!
}

const round = (value: number): number => Math.round(value * 100) / 100

const line = (x1: number, y1: number, x2: number, y2: number, colour: string): string =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}"/>`

const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${x}" y="${y}" ${attributes}>${escape(content)}</text>`

const escape = (content: string): string =>
  content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
