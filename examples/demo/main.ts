/**
 * Fetches 200 documents from a rate-limited API in three ways and in four processes, and races its mirrors. The server
 * then reports whether its limits were kept. To exceed them, use `--max-at-once 20` or `--max-per-second 90`.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs, styleText } from "node:util"
import { startClients, type Outcome } from "./processes.ts"
import { startRedis, type RedisServer } from "./redisServer.ts"
import type { Seen, Stats } from "./server.ts"
import { alignTable, seconds, showProgress, type Progress } from "./terminal.ts"
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

/** Fetches the documents, and compares what the server counted with its limits. */
const measure = async (title: string, fetchAll: (progress: Progress) => Promise<number>): Promise<Run> => {
  await resetStats()
  const begun = performance.now()
  let fetched = 0
  try {
    using progress = showProgress(title, count)
    fetched = await fetchAll(progress)
    if (fetched !== count) problems.push(`${title}: ${fetched} of ${count} documents arrived`)
  } catch (error) {
    problems.push(`${title}: stopped by ${error instanceof Error ? error.message : error}`)
  }
  const taken = seconds(performance.now() - begun)

  const { peakAtOnce, mostInAnySecond, requests } = await readStats()
  const refused = requests.filter(({ outcome }) => outcome === "refused").length
  const answered = requests.filter(({ outcome }) => outcome === "answered")
  const ideal = fetched === count ? seconds(idealTime(answered)) : "-"
  const { atOnce, perSecond } = allowed
  if (peakAtOnce > atOnce) problems.push(`${title}: ${peakAtOnce} at once, ${atOnce} allowed`)
  if (mostInAnySecond > perSecond) problems.push(`${title}: ${mostInAnySecond} in a second, ${perSecond} allowed`)
  if (refused > 0) problems.push(`${title}: ${refused} refused with 429`)
  rows.push([title, peakAtOnce, mostInAnySecond, refused, fetched, taken, ideal])
  const note = fetched === count ? `${count} documents in ${taken}, ideal ${ideal}` : `stopped after ${taken}`
  return { title, note, requests }
}

for (const [title, fetchAll] of Object.entries(ways)) {
  const run = await measure(title, async (progress) => {
    const getReport = (id: number, signal: AbortSignal) =>
      progress.watch(() => getJson<{ id: number }>(`/documents/${id}`, { signal }))
    const reports = await fetchAll(ids, getReport, limits)
    return new Set(reports.map(({ id }) => id)).size
  })
  runs.push(run)
}

// The same limits for four processes. One of them is killed, and the others fetch its documents.
heading(`${count} documents in four processes that share one meter on Redis`)
const processes = ["process 1", "process 2", "process 3", "process 4"]
const lease = 1500

/** How many of the requests were running, on average over this time. */
const averageRunning = (requests: ReadonlyArray<Seen>, start: number, end: number): string => {
  const durations = requests.map(({ from, to }) => Math.max(0, Math.min(to, end) - Math.max(from, start)))
  return (durations.reduce((sum, duration) => sum + duration, 0) / (end - start)).toFixed(1)
}

const fetchInProcesses = async (redis: RedisServer): Promise<Run> => {
  await using clients = await startClients(processes, { api, redisPort: redis.port, limits, lease })
  // Several times what it takes, because the machine may be busy.
  const timeout = 15_000 + 3 * count * Math.max(1000 / limits.maxPerSecond, 250 / limits.maxAtOnce)
  let outcome: Outcome | undefined
  const run = await measure("4 processes", async (progress) => {
    outcome = await clients.fetchAll(ids, progress, timeout)
    return outcome.fetched
  })
  const title = "4 processes share one meter"
  if (outcome === undefined) return { ...run, title, processes }

  const { byProcess, killed } = outcome
  for (const [name, fetched] of byProcess) {
    const fate = `: killed after ${seconds(killed.at)}, while ${killed.running} of its requests were running`
    console.log(`${name}  ${fetched} documents${name === killed.name ? fate : ""}`)
  }
  console.log(`The others fetched the ${killed.handedOver} documents that it had not.`)
  const leaseEnd = killed.at + lease
  const lastStart = Math.max(...run.requests.map(({ from }) => from))
  if (lastStart > leaseEnd) {
    const others = run.requests.filter(({ client }) => client !== killed.name)
    const during = averageRunning(others, killed.at, leaseEnd)
    const afterwards = averageRunning(others, leaseEnd, lastStart)
    console.log(`Until its lease of ${seconds(lease)} had ended, they ran ${during} requests at once on average. Afterwards its permits
were available to them, and they ran ${afterwards}.`)
  }
  const marks = [
    { at: killed.at, label: `${killed.name} is killed` },
    { at: leaseEnd, label: "its lease has ended" }
  ]
  return { ...run, title, processes, marks }
}

const redis = await startRedis().catch((error: Error) => console.log(`Left out: ${error.message}.`))
if (redis !== undefined) {
  await using server = redis
  console.log(`A redis-server runs at 127.0.0.1:${server.port}. Each process is limited to all that the client may send:
the meter counts the requests of all four together.`)
  try {
    runs.push(await fetchInProcesses(server))
  } catch (error) {
    problems.push(`4 processes: ${error instanceof Error ? error.message : error}`)
  }
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
