/** The drawing, and the pictures that it has made for the README. */
import { describe, expect, it } from "vitest"
import { pictures, readPicture, svgOf } from "../pictures.ts"
import { draw } from "../playground/draw.ts"
import type { Pen, Style } from "../playground/pen.ts"
import { seriesOf } from "../playground/series.ts"
import { defaults } from "../playground/settings.ts"
import type { Settings } from "../playground/settings.ts"
import { simulate } from "../playground/simulate.ts"
import type { Way } from "../playground/wayNames.ts"

it.each(pictures)("$file is what the playground draws: run node site/pictures.ts", async (picture) => {
  expect(readPicture(picture)).toBe(await svgOf(picture))
})

const size = { width: 700, height: 500 }

/** Everything that is drawn of a run at an instant. */
const drawn = async (way: Way, changes: Partial<Settings>, at: (end: number) => number) => {
  const settings = { ...defaults, ...changes }
  const series = seriesOf(await simulate(way, settings), settings)
  const rects: Array<{ readonly style: Style; readonly x: number; readonly y: number; readonly width: number }> = []
  const texts: Array<string> = []
  let count = 0
  const pen: Pen = {
    rect: (style, x, y, width) => {
      count++
      rects.push({ style, x, y, width })
    },
    line: () => void count++,
    text: (_, __, ___, text) => {
      count++
      texts.push(text)
    }
  }
  const now = at(series.end)
  draw(pen, series, { ...size, title: way, now, duration: series.end })
  return { rects, texts, count, end: series.end }
}
const bars = (rects: ReadonlyArray<{ readonly style: Style }>, ...styles: ReadonlyArray<Style>) =>
  rects.filter(({ style }) => styles.includes(style))

describe("a picture", () => {
  it("has a bar for each attempt that has started, by its outcome", async () => {
    const { rects } = await drawn("fibermeter", { failures: 20, onFailure: "continue" }, (end) => end)
    expect(bars(rects, "done")).toHaveLength(28)
    expect(bars(rects, "failed")).toHaveLength(12)
    const half = await drawn("fibermeter", { durations: "fixed", mean: 1000 }, () => 1500)
    // Starts at 0, 200, …, 1400 ms, of which those until 400 have ended.
    expect(bars(half.rects, "done")).toHaveLength(3)
    expect(bars(half.rects, "running")).toHaveLength(5)
    expect(half.texts).toContain("3 done, 5 running")
  })

  it("shows nothing that has not happened yet", async () => {
    const { rects } = await drawn("Promise.all", { failures: 50, onFailure: "continue" }, (end) => end / 2)
    const playhead = 46 + (size.width - 46 - 12) / 2
    for (const { width, x } of rects) expect(x + width).toBeLessThanOrEqual(playhead + 2)
  })

  it("marks limits that are broken, and only those", async () => {
    const other = await drawn("Promise.all", {}, (end) => end)
    expect(bars(other.rects, "broken").length).toBeGreaterThan(0)
    expect(other.texts).toContain("limits broken 2 times")
    const own = await drawn("fibermeter", {}, (end) => end)
    expect(bars(own.rects, "broken", "over")).toEqual([])
  })

  it("shows cancelled and refused requests", async () => {
    const left = await drawn("fibermeter", { verb: "amap", leaveAfter: 5 }, (end) => end)
    expect(bars(left.rects, "cancelled")).toHaveLength(9)
    expect(bars(left.rects, "read")).toHaveLength(5)
    const refused = await drawn("Promise.all", { serverPerSecond: 3, onFailure: "continue" }, (end) => end)
    expect(bars(refused.rects, "refused")).toHaveLength(37)
  })

  it("of 2,000 tasks takes no more work than the visible rows and columns need", async () => {
    const settings = { tasks: 2000, maxAtOnce: 50, maxPerSecond: 100 }
    const counts = []
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const { count } = await drawn("fibermeter", settings, (end) => end * share)
      counts.push(count)
    }
    // Each row has a bar and a line for its wait, each chart at most one rectangle a column and one over the limit.
    const rows = size.height / 3
    const columns = size.width
    expect(Math.max(...counts)).toBeLessThanOrEqual(2 * rows + 2 * 2 * columns + columns)
    const ten = await drawn("fibermeter", { ...settings, tasks: 200 }, (end) => end)
    expect(Math.max(...counts)).toBeLessThanOrEqual(3 * ten.count)
  })
})
