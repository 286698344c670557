/**
 * Draws a run at one instant: a bar per task, what runs at once and what starts in a window against the limits, and the
 * results as they are read. Everything to the right of the instant is not there yet.
 *
 * The work of a frame has a bound that does not depend on the number of tasks: only the rows that are visible are drawn, and
 * one value per column of the charts. The view follows the run when there are more rows than fit.
 */
import type { Attempt } from "./recording.ts"
import type { Pen, Style } from "./pen.ts"
import { isUrgent, laneOf } from "./random.ts"
import { countsAt, indexAt, valueAt } from "./series.ts"
import type { Series, Steps } from "./series.ts"

export interface View {
  readonly title: string
  readonly width: number
  readonly height: number
  /** The instant, in milliseconds since the start. */
  readonly now: number
  /** The time that the whole picture covers: of two runs beside each other, the longer one. */
  readonly duration: number
}

const left = 46
const right = 12
const headHeight = 40
const chartHeight = 46
const chartGap = 22
const readsHeight = 8
const axisHeight = 22

/** The height of a row, so that a bar can be seen. */
const leastRow = 3
const mostRow = 14

const seconds = (millis: number): string => {
  const value = millis / 1000
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

const tickSteps = [
  100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000
]

interface Frame {
  readonly x: (time: number) => number
  readonly from: number
  readonly to: number
  /** The time that is drawn: nothing after the instant. */
  readonly until: number
  readonly xLeft: number
  readonly xRight: number
}

const firstRowOf = (series: Series, now: number, rows: number, tasks: number): number => {
  // How many have started is about where the tasks are that run.
  const started = indexAt(series.startTimes, now)
  return Math.max(0, Math.min(tasks - rows, started + 1 - Math.floor(rows * 0.7)))
}

const styleOf = (attempt: Attempt, series: Series, now: number): Style => {
  const { settings } = series
  const isOver = attempt.to <= now
  if (isOver && attempt.outcome !== "done" && attempt.outcome !== "running") return attempt.outcome
  if (settings.verb === "run" && settings.lanes > 0) return `lane${laneOf(settings, attempt.task) as 0 | 1 | 2 | 3 | 4}`
  return isOver ? "done" : "running"
}

const drawRow = (
  pen: Pen,
  series: Series,
  frame: Frame,
  task: number,
  y: number,
  height: number,
  now: number
): void => {
  const { from, until, x, xLeft } = frame
  const bar = Math.max(1, height - (height > 6 ? 2 : 1))
  const attempts = series.byTask[task] ?? []
  const waitsFrom = series.recording.waitsFrom[task]
  if (waitsFrom === undefined || waitsFrom > until) return
  const lastEnd = attempts.at(-1)?.to ?? Infinity
  // A task waits until its first start, and between two attempts; if it never started, until the call ended.
  const waitsUntil = Math.min(until, attempts.length === 0 ? series.recording.calledUntil : Math.min(lastEnd, until))
  if (waitsUntil > from) {
    const x1 = Math.max(xLeft, x(waitsFrom))
    const thin = Math.max(1, Math.round(bar / 3))
    pen.rect("waiting", x1, y + (bar - thin) / 2, Math.max(0, x(waitsUntil) - x1), thin)
  }
  for (const attempt of attempts) {
    if (attempt.from > until) break
    if (attempt.to < from) continue
    const x1 = Math.max(xLeft, x(attempt.from))
    const x2 = x(Math.min(attempt.to, until))
    pen.rect(styleOf(attempt, series, now), x1, y, Math.max(1.5, x2 - x1 - 0.5), bar)
  }
  if (series.settings.verb === "run" && isUrgent(series.settings, task) && height >= 4) {
    pen.rect("urgent", xLeft - 8, y + bar / 2 - 1.5, 5, 3)
  }
}

const drawChart = (
  pen: Pen,
  frame: Frame,
  steps: Steps,
  limit: number | undefined,
  label: string,
  top: number,
  now: number
): void => {
  const bottom = top + chartHeight
  const most = Math.max(steps.most, limit ?? 0, 1)
  const scale = chartHeight / most
  const { from, to, until, xLeft, xRight } = frame
  const perColumn = (to - from) / (xRight - xLeft)
  const end = Math.min(xRight, frame.x(until))
  // The largest value of each column, so that a peak shows however short it is; equal columns become one rectangle.
  let index = Math.max(0, indexAt(steps.at, from))
  let begun = xLeft
  let height = -1
  const flush = (column: number): void => {
    if (height > 0) {
      const y = bottom - height * scale
      pen.rect("area", begun, y, column - begun, height * scale)
      if (limit !== undefined && height > limit) {
        pen.rect("over", begun, y, column - begun, (height - limit) * scale)
      }
    }
  }
  for (let column = xLeft; column < end; column++) {
    const columnEnd = Math.min(from + (column + 1 - xLeft) * perColumn, until)
    let value = steps.at.length > 0 && steps.at[index]! <= columnEnd ? steps.value[index]! : 0
    while (index + 1 < steps.at.length && steps.at[index + 1]! <= columnEnd) {
      value = Math.max(value, steps.value[++index]!)
    }
    if (value !== height) {
      flush(column)
      begun = column
      height = value
    }
  }
  flush(end)
  pen.line("axis", xLeft, bottom, xRight, bottom)
  if (limit !== undefined) {
    const y = bottom - limit * scale
    pen.line("limit", xLeft, y, xRight, y)
    pen.text("limit", xLeft - 6, y + 4, String(limit), "end")
  } else {
    pen.text("text", xLeft - 6, top + 9, String(most), "end")
  }
  pen.text("text", xLeft, top - 6, `${label}: ${valueAt(steps, now)}`)
}

const labelOfWindow = ({ window }: Series): string => {
  const per = window.per / 1000
  return per === 1 ? "starts in the last second" : `starts in the last ${Number(per.toFixed(2))} s`
}

export const draw = (pen: Pen, series: Series, view: View): void => {
  const { duration, height, now, title, width } = view
  const { broken, recording } = series
  const tasks = Math.max(1, recording.waitsFrom.length)
  const chartsTop = height - axisHeight - readsHeight - 2 * (chartHeight + chartGap)
  const barsTop = headHeight
  const barsHeight = chartsTop - barsTop - 4

  const rowHeight = Math.min(mostRow, Math.max(leastRow, barsHeight / tasks))
  const rows = Math.min(tasks, Math.floor(barsHeight / rowHeight))
  const firstRow = firstRowOf(series, now, rows, tasks)

  // As much of the time as the visible rows are of all rows, and a half more.
  const share = Math.min(1, (1.5 * rows) / tasks)
  const span = Math.max(share * duration, 1)
  const from = share === 1 ? 0 : Math.max(0, Math.min(duration - span, now - 0.75 * span))
  const xLeft = left
  const xRight = width - right
  const x = (time: number): number => xLeft + ((time - from) / span) * (xRight - xLeft)
  const frame: Frame = { x, from, to: from + span, until: Math.min(now, from + span), xLeft, xRight }

  const step = tickSteps.find((each) => (span / each) * 52 <= xRight - xLeft) ?? span
  const bottom = height - axisHeight
  for (let tick = Math.ceil(from / step) * step; tick <= frame.to; tick += step) {
    pen.line("grid", x(tick), barsTop, x(tick), bottom)
    // A label that would not fit is left out.
    if (x(tick) > xRight - 4) continue
    pen.text("text", x(tick), height - 6, `${Number((tick / 1000).toFixed(1))} s`, "middle")
  }

  // Broken limits, behind all that is drawn over them.
  let brokenUntilNow = 0
  for (const each of broken) {
    if (each.from > now) break
    brokenUntilNow++
    const until = Math.min(each.to, frame.until)
    if (until < from) continue
    const x1 = Math.max(xLeft, x(each.from))
    pen.rect("broken", x1, barsTop, Math.max(2, x(until) - x1), bottom - barsTop)
  }

  for (let row = 0; row < rows; row++) {
    drawRow(pen, series, frame, firstRow + row, barsTop + row * rowHeight, rowHeight, now)
  }

  const { maxAtOnce } = series.settings
  const runningTop = chartsTop + chartGap
  drawChart(pen, frame, series.running, maxAtOnce > 0 ? maxAtOnce : undefined, "running", runningTop, now)
  const startsTop = runningTop + chartHeight + chartGap
  drawChart(pen, frame, series.starts, series.window.limit, labelOfWindow(series), startsTop, now)

  // Results as they are read, at most one mark for each column.
  const readsTop = startsTop + chartHeight + 2
  let lastColumn = -1
  const { reads } = recording
  for (
    let index = Math.max(0, indexAt(series.readTimes, from));
    index < reads.length && reads[index]!.at <= frame.until;
    index++
  ) {
    const column = Math.round(x(reads[index]!.at))
    if (column === lastColumn || column < xLeft) continue
    lastColumn = column
    pen.rect("read", column - 0.75, readsTop, 1.5, readsHeight - 2)
  }

  if (recording.calledUntil <= frame.until && recording.calledUntil >= from && recording.calledUntil < recording.end) {
    pen.line("callEnd", x(recording.calledUntil), barsTop, x(recording.calledUntil), bottom)
  }
  if (now < duration) pen.line("playhead", x(now), barsTop, x(now), bottom)

  const counts = countsAt(series, now)
  pen.text("title", 12, 16, title)
  const facts = [
    `${counts.done} done`,
    counts.running > 0 && `${counts.running} running`,
    counts.failed > 0 && `${counts.failed} failed`,
    counts.refused > 0 && `${counts.refused} refused with 429`,
    counts.cancelled > 0 && `${counts.cancelled} cancelled`
  ].filter((fact) => fact !== false)
  pen.text("text", 12, 32, facts.join(", "))
  pen.text("text", width - right, 16, `${seconds(Math.min(now, series.end))} s`, "end")
  if (brokenUntilNow > 0) {
    pen.text(
      "limit",
      width - right,
      32,
      `limits broken ${brokenUntilNow} ${brokenUntilNow === 1 ? "time" : "times"}`,
      "end"
    )
  }
}
