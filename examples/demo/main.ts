/**
 * Fetches 200 documents from a rate-limited API in three ways and races its mirrors. The server then reports whether its
 * limits were kept. To exceed them, use `--max-at-once 20` or `--max-per-second 90`.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs, styleText } from "node:util"
import type { Seen, Stats } from "./server.ts"
import { alignTable, seconds, showProgress } from "./terminal.ts"
import { drawTimeline, type Run } from "./timeline.ts"
import { race, ways, type Limits } from "./ways.ts"

const { values: flags } = parseArgs({
  options: {
    documents: { type: "string", default: "200" },
    "max-at-once": { type: "string", default: "10" },
    "max-per-second": { type: "string", default: "45" }
  }
})
const numberOf = (flag: keyof typeof flags): number => {
  const value = Number(flags[flag])
  if (Number.isInteger(value) && value >= 1 && value <= 1000) return value
  console.error(`--${flag} must be a whole number from 1 to 1000, not "${flags[flag]}"`)
  process.exit(1)
}
const count = numberOf("documents")
const limits: Limits = { maxAtOnce: numberOf("max-at-once"), maxPerSecond: numberOf("max-per-second") }

const heading = (title: string) => console.log(`\n${styleText("bold", title)}`)
const problems: Array<string> = []

// The API, in its own process, which ends with this one.
using server = fork(new URL("server.ts", import.meta.url))
const [port] = await once(server, "message")
const api = `http://127.0.0.1:${port}`

const getJson = async <A>(path: string, init?: RequestInit): Promise<A> => {
  const response = await fetch(api + path, init)
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`)
  return (await response.json()) as A
}
const readStats = () => getJson<Stats>("/stats")
const resetStats = () => getJson<Stats>("/stats", { method: "DELETE" })

const { limits: allowed } = await resetStats()
console.log(`A rate-limited API runs at ${api}, in its own process.
It allows ${allowed.atOnce} requests at once and ${allowed.perSecond} in any second, and responds to all others with 429.
The client sends at most ${limits.maxAtOnce} at once and ${limits.maxPerSecond} per second.`)
if (limits.maxAtOnce > allowed.atOnce || limits.maxPerSecond > allowed.perSecond) {
  console.log("That is more than the server allows, so this run is expected to fail.")
} else {
  console.log(`Why not ${allowed.perSecond}? Some requests travel faster than others: of requests sent at ${allowed.perSecond} per second,
${allowed.perSecond + 1} sometimes arrive within one second.`)
}

/** The minimum time for these requests: started in order, evenly spread, without overhead. */
const idealTime = (requests: ReadonlyArray<Seen>) => {
  const permitFreeAt = Array.from({ length: limits.maxAtOnce }, () => 0)
  let start = -Infinity
  for (const { latency } of requests) {
    permitFreeAt.sort((a, b) => a - b)
    start = Math.max(permitFreeAt[0] ?? 0, start + 1000 / limits.maxPerSecond)
    permitFreeAt[0] = start + latency
  }
  return Math.max(...permitFreeAt)
}

// The documents in three ways. The server counts each way separately.
heading(`${count} documents in three ways`)
const ids = Array.from({ length: count }, (_, index) => index + 1)
const runs: Array<Run> = []
const rows: Array<Array<string | number>> = []

for (const [title, fetchAll] of Object.entries(ways)) {
  await resetStats()
  const begun = performance.now()
  let fetched = 0
  try {
    using progress = showProgress(title, count)
    const getReport = (id: number, signal: AbortSignal) =>
      progress.watch(() => getJson<{ id: number }>(`/documents/${id}`, { signal }))
    const reports = await fetchAll(ids, getReport, limits)
    fetched = new Set(reports.map(({ id }) => id)).size
    if (fetched !== count) problems.push(`${title}: ${fetched} of ${count} documents arrived`)
  } catch (error) {
    problems.push(`${title}: stopped by ${error instanceof Error ? error.message : error}`)
  }
  const taken = seconds(performance.now() - begun)

  const { peakAtOnce, mostInAnySecond, requests } = await readStats()
  const refused = requests.filter(({ outcome }) => outcome === "refused").length
  const ideal = fetched === count ? seconds(idealTime(requests)) : "-"
  const { atOnce, perSecond } = allowed
  if (peakAtOnce > atOnce) problems.push(`${title}: ${peakAtOnce} at once, ${atOnce} allowed`)
  if (mostInAnySecond > perSecond) problems.push(`${title}: ${mostInAnySecond} in a second, ${perSecond} allowed`)
  if (refused > 0) problems.push(`${title}: ${refused} refused with 429`)
  rows.push([title, peakAtOnce, mostInAnySecond, refused, fetched, taken, ideal])
  const note = fetched === count ? `${count} documents in ${taken}, ideal ${ideal}` : `stopped after ${taken}`
  runs.push({ title, note, requests })
}

// The race. The server reports the outcome of each request.
heading("runAny: five mirrors race, and the first to succeed wins")
await resetStats()
const winner = await race(["Osaka", "Cairo", "Lisbon", "Quito", "Bergen"], async (mirror, signal) => {
  await getJson(`/mirrors/${mirror}`, { signal })
  return mirror
})
const { requests: racers } = await readStats()
for (const { path, status, latency, from, to, outcome } of racers) {
  const mirror = path.replace("/mirrors/", "")
  const won = mirror === winner
  if (outcome === "answered" && status === 200 && !won) problems.push(`${mirror} lost, but was not cancelled`)
  const fate = outcome === "cancelled" ? "cancelled by the client" : `${outcome} with ${status}`
  console.log(`${mirror.padEnd(6)}  ${fate} after ${seconds(to - from)} of ${seconds(latency)}${won ? ": wins" : ""}`)
}

heading("What the server counted, compared with its limits")
const columns = ["", "at once", "in any second", "429s", "documents", "time", "ideal"]
console.log(alignTable([columns, ["limit", allowed.atOnce, allowed.perSecond, 0, count], ...rows]))

const file = resolve("out", "demo-timeline.svg")
mkdirSync(resolve("out"), { recursive: true })
writeFileSync(
  file,
  drawTimeline({
    runs,
    race: { title: "runAny: five mirrors race", note: `${winner} wins`, requests: racers },
    allowed,
    limits
  })
)
console.log(`\nTimeline of the run: ${file}`)

if (problems.length === 0) {
  console.log(styleText("green", "All limits were kept."))
} else {
  console.error(`\n${styleText("red", "This run failed or exceeded a limit:")}\n${problems.join("\n")}`)
  process.exitCode = 1
}
