/**
 * Draws the server's view of a run as an SVG. Each way has a card: a bar per task, the number of running tasks, and the
 * starts in the last second, each with its limit. In the card of several processes, each has a colour. Below is the race.
 */
import type { Seen, Stats } from "./server.ts"
import type { Limits } from "./ways.ts"

export interface Run {
  readonly title: string
  readonly note: string
  readonly requests: ReadonlyArray<Seen>
  /** The names of the processes that sent the requests, if there were several. Each gets a colour. */
  readonly processes?: ReadonlyArray<string>
  /** What happened on the way, in milliseconds since the start. */
  readonly marks?: ReadonlyArray<{ readonly at: number; readonly label: string }>
}

export interface Picture {
  readonly runs: ReadonlyArray<Run>
  readonly race: Run
  /** The limits of the server and of the client. */
  readonly allowed: Stats["limits"]
  readonly limits: Limits
}

const width = 1200
const left = 132
const right = 1076
const laneHeight = 10
const colours = ["#3f74d8", "#159a86", "#8a5ecb"]
const processColours = ["#2f6fdb", "#e39a1c", "#12977f", "#a3489f"]
const raceColour = "#c77d12"
const failedColour = "#8b95a3"

const style = `
  text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #5b6472 }
  .heading { font-size: 22px; font-weight: 600; fill: #1c2430 }
  .title { font-size: 15px; font-weight: 600; fill: #1c2430 }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .card { fill: #fff; stroke: #e1e6ee }
  .grid { stroke: #e9edf3 }
  .base { stroke: #aeb7c4 }
  .limit { stroke: #cf3434; stroke-width: 1.5; stroke-dasharray: 6 4 }
  .limit-text { fill: #cf3434 }
  .client { stroke: #5b6472; stroke-width: 1.2; stroke-dasharray: 2 3 }
  .mark { stroke: #1c2430; stroke-width: 1.2 }
  .mark-text { fill: #1c2430; font-weight: 600 }
  .area { fill-opacity: .18; stroke-width: 1.4 }
  .share { fill-opacity: .6 }
  .planned { fill: none; stroke: #b9c1cd; stroke-dasharray: 3 3 }
  .refused { fill: #cf3434 }
  .cancelled { fill-opacity: .45 }`

type Scale = (value: number) => number
type Interval = readonly [from: number, to: number]
type Step = readonly [time: number, open: number]
interface Part {
  readonly colour: string
  readonly steps: ReadonlyArray<Step>
}

const round = (value: number) => Math.round(value * 100) / 100
const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2)

/** The lowest free lane at the start of each request. An eleventh lane means eleven requests at once. */
const lanesOf = (requests: ReadonlyArray<Seen>): Array<number> => {
  const freeAt: Array<number> = []
  return requests.map(({ from, to }) => {
    const free = freeAt.findIndex((time) => time <= from)
    const lane = free === -1 ? freeAt.length : free
    freeAt[lane] = to
    return lane
  })
}

/** The number of open intervals at each change. At the same instant, ends come before starts. */
const openAt = (intervals: ReadonlyArray<Interval>): Array<Step> => {
  const changes = intervals.flatMap(([from, to]): Array<Step> => [
    [from, 1],
    [to, -1]
  ])
  changes.sort(([time, change], [otherTime, otherChange]) => time - otherTime || change - otherChange)
  let open = 0
  return changes.map(([time, change]) => [time, (open += change)])
}

const text = (x: number, y: number, content: string, kind = "") =>
  `<text x="${x}" y="${y}" class="${kind}">${content}</text>`

const line = (y: number, kind: string) => `<path d="M${left} ${y}H${right}" class="${kind}"/>`

const limitLine = (y: number, limit: number, textShift = 4) =>
  line(y, "limit") + text(right + 8, y + textShift, `limit ${limit}`, "limit-text")

const baseLine = (y: number) => line(y, "base") + text(left - 8, y + 4, "0", "end")

const card = (run: Run, height: number, content: ReadonlyArray<string>) => ({
  height,
  content: [
    `<rect class="card" x="24" y="0" width="${width - 48}" height="${height}" rx="10"/>`,
    text(44, 28, run.title, "title"),
    text(width - 44, 28, run.note, "end"),
    ...content
  ].join("\n")
})

const bar = ({ path, outcome, from, to }: Seen, x: Scale, y: number, height: number, colour: string) => {
  const barWidth = round(Math.max(x(to) - x(from) - 1, 2))
  const fill = outcome === "refused" ? "" : ` fill="${colour}"`
  return (
    `<rect class="task ${outcome}" x="${x(from)}" y="${y}" width="${barWidth}" height="${height}" rx="2"${fill}>` +
    `<title>${path}: ${outcome}, ${seconds(from)} s to ${seconds(to)} s</title></rect>`
  )
}

/** The time scale, on which `duration` fills the width, and its grid. */
const timeAxis = (duration: number, top: number, bottom: number) => {
  const x: Scale = (time) => round(left + ((right - left) * time) / duration)
  const step = [100, 200, 500, 1000, 2000].find((each) => duration / each <= 12) ?? 5000
  const ticks = Array.from({ length: Math.floor(duration / step) + 1 }, (_, index) => index * step)
  const grid = ticks.map(
    (tick) =>
      `<path d="M${x(tick)} ${top}V${bottom}" class="grid"/>` +
      text(x(tick), bottom + 17, tick === 0 ? "0 s" : `${tick / 1000}`, "middle")
  )
  return { x, grid }
}

/** A step function up to `end`, filled down to the base line. */
const area = (steps: ReadonlyArray<Step>, x: Scale, y: Scale, end: number, colour: string) => {
  const outline = steps.filter(([time]) => time <= end).map(([time, open]) => `H${x(time)}V${y(open)}`)
  const path = `M${left} ${y(0)}${outline.join("")}H${x(end)}V${y(0)}Z`
  return `<path class="area" d="${path}" fill="${colour}" stroke="${colour}"/>`
}

/** Areas on top of one another, one for each part. Their upper edge is the sum. */
const stackedAreas = (parts: ReadonlyArray<Part>, x: Scale, y: Scale, end: number) => {
  const times = [...new Set(parts.flatMap(({ steps }) => steps.map(([time]) => time)))]
    .filter((time) => time <= end)
    .toSorted((one, other) => one - other)
  let below = times.map(() => 0)
  return parts.map(({ colour, steps }) => {
    const lower = below
    let index = -1
    const upper = (below = times.map((time, at) => {
      while (steps[index + 1] !== undefined && steps[index + 1]![0] <= time) index++
      return (steps[index]?.[1] ?? 0) + lower[at]!
    }))
    // Forwards along the upper edge, and back along the lower one.
    const forwards = times.map((time, at) => `H${x(time)}V${y(upper[at]!)}`).join("")
    const back = times.map((time, at) => `V${y(lower[at]!)}H${x(time)}`).toReversed()
    return `<path class="share" d="M${left} ${y(0)}${forwards}H${x(end)}${back.join("")}V${y(0)}Z" fill="${colour}"/>`
  })
}

const drawRun = (run: Run, duration: number, colour: string, { allowed, limits }: Picture) => {
  const { requests, processes = [], marks = [] } = run
  const end = Math.max(0, ...requests.map(({ to }) => to))
  const lanes = lanesOf(requests)
  const runningOf = (some: ReadonlyArray<Seen>) =>
    openAt(some.filter(({ outcome }) => outcome !== "refused").map(({ from, to }) => [from, to]))
  const startsOf = (some: ReadonlyArray<Seen>) => openAt(some.map(({ from }) => [from, from + 1000]))
  const startsInLastSecond = startsOf(requests)
  const mostStarts = Math.max(allowed.perSecond, limits.maxPerSecond, ...startsInLastSecond.map(([, open]) => open))

  const colourOf = ({ client }: Seen) => processColours[processes.indexOf(client)] ?? colour
  const areas = (stepsOf: (some: ReadonlyArray<Seen>) => Array<Step>, y: Scale) => {
    if (processes.length === 0) return [area(stepsOf(requests), x, y, end, colour)]
    const parts = processes.map((name, index) => ({
      colour: processColours[index] ?? colour,
      steps: stepsOf(requests.filter(({ client }) => client === name))
    }))
    return stackedAreas(parts, x, y, end)
  }

  // From top to bottom: title, lanes (requests beyond the limit are above its line), running, starts, axis.
  const top = processes.length === 0 ? 52 : 84
  const lanesBottom = top + laneHeight * Math.max(allowed.atOnce, ...lanes.map((lane) => lane + 1))
  const runningBottom = lanesBottom + 92
  const startsBottom = runningBottom + 110
  const laneY: Scale = (lane) => lanesBottom - laneHeight * lane
  const runningY: Scale = (open) => round(runningBottom - (66 * open) / allowed.atOnce)
  const startsY: Scale = (open) => round(startsBottom - (84 * open) / mostStarts)
  const { x, grid } = timeAxis(duration, top, startsBottom)
  // The two lines may be close together, so their labels are moved apart.
  const clientIsLower = limits.maxPerSecond <= allowed.perSecond

  return card(run, startsBottom + 36, [
    ...grid,
    ...processes.map((name, index) => {
      const at = 44 + 100 * index
      const square = `<rect x="${at}" y="41" width="11" height="11" rx="2" fill="${processColours[index] ?? colour}"/>`
      return square + text(at + 17, 51, name)
    }),
    text(44, laneY(allowed.atOnce) + 14, "tasks"),
    ...requests.map((request, index) =>
      bar(request, x, laneY((lanes[index] ?? 0) + 1) + 1, laneHeight - 2, colourOf(request))
    ),
    limitLine(laneY(allowed.atOnce) - 1, allowed.atOnce),
    line(lanesBottom, "base"),

    text(44, runningY(allowed.atOnce) + 14, "running"),
    ...areas(runningOf, runningY),
    limitLine(runningY(allowed.atOnce), allowed.atOnce),
    baseLine(runningBottom),

    text(44, startsY(allowed.perSecond) + 14, "starts in the"),
    text(44, startsY(allowed.perSecond) + 29, "last second"),
    ...areas(startsOf, startsY),
    limitLine(startsY(allowed.perSecond), allowed.perSecond, clientIsLower ? -1 : 9),
    line(startsY(limits.maxPerSecond), "client"),
    text(right + 8, startsY(limits.maxPerSecond) + (clientIsLower ? 9 : -1), `client ${limits.maxPerSecond}`),
    baseLine(startsBottom),
    ...marks
      .filter(({ at }) => at <= duration)
      .map(
        ({ at, label }) =>
          `<path d="M${x(at)} ${top - 14}V${startsBottom}" class="mark"/>` +
          text(x(at) + 5, top - 7, label, "mark-text")
      )
  ])
}

const drawRace = (race: Run) => {
  const top = 46
  const rowHeight = 24
  const bottom = top + rowHeight * race.requests.length
  const { x, grid } = timeAxis(
    1.02 * Math.max(...race.requests.map(({ from, latency }) => from + latency)),
    top,
    bottom
  )

  return card(race, bottom + 36, [
    ...grid,
    ...race.requests.flatMap((request, index) => {
      const { path, status, latency, from, to, outcome } = request
      const y = top + rowHeight * index + 4
      const planned = round(x(from + latency) - x(from))
      return [
        text(44, y + 13, path.replace("/mirrors/", "")),
        `<rect class="planned" x="${x(from)}" y="${y + 0.5}" width="${planned}" height="16" rx="2"/>`,
        bar(request, x, y, 17, status === 200 ? raceColour : failedColour),
        text(x(to) + 8, y + 13, outcome === "answered" ? `answered ${status}` : outcome)
      ]
    }),
    line(bottom, "base")
  ])
}

export const drawTimeline = (picture: Picture): string => {
  const { runs, race, allowed, limits } = picture
  const duration = 1.01 * Math.max(1, ...runs.flatMap(({ requests }) => requests.map(({ to }) => to)))
  const cards = runs.map((run, index) => drawRun(run, duration, colours[index] ?? raceColour, picture))
  let height = 92
  const placed = [...cards, drawRace(race)].map((card) => {
    const group = `<g transform="translate(0 ${height})">\n${card.content}\n</g>`
    height += card.height + 16
    return group
  })
  const legend =
    `Each bar is a request. Pale: cancelled. Red: refused. The server allows ${allowed.atOnce} at once and ${allowed.perSecond} in any second; ` +
    `the client is limited to ${limits.maxAtOnce} at once and ${limits.maxPerSecond} per second. Time in seconds.`

  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + 8}" viewBox="0 0 ${width} ${height + 8}">
<style>${style}
</style>
<rect width="100%" height="100%" fill="#f5f7fa"/>
${text(44, 44, "fibermeter: a run as the server saw it", "heading")}
${text(44, 68, legend)}
${placed.join("\n")}
</svg>
`
}
