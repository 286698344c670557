/**
 * A rate-limited API in its own process. It counts requests itself and does not use fibermeter.
 *
 * - `GET /documents/17`: one of 1,000 JSON documents, each with its own latency (the same in every run).
 * - `GET /archive/17`: the same documents, all of them slower.
 * - `GET /mirrors/Lisbon`: the same document from mirrors of different speed, one of them out of order.
 * - `GET /stats`: the server's counts, sent when no request is running. `DELETE /stats` resets them.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

/** One request as the server saw it. Times are in milliseconds since the last reset. */
export interface Seen {
  readonly path: string
  /** The `user-agent` of the request: in the demo, the process that sent it. */
  readonly client: string
  /** The status and the latency of the response, unless the request is cancelled. */
  readonly status: number
  readonly latency: number
  readonly from: number
  to: number
  outcome: "running" | "answered" | "refused" | "cancelled"
}

export interface Stats {
  readonly limits: typeof limits
  readonly peakAtOnce: number
  readonly mostInAnySecond: number
  readonly requests: ReadonlyArray<Seen>
}

interface Answer {
  readonly latency: number
  readonly status: number
  readonly body: unknown
}

const limits = { atOnce: 10, perSecond: 50 }

/** The server's counts since the last `DELETE /stats`. */
interface Page {
  readonly opened: number
  peakAtOnce: number
  mostInAnySecond: number
  readonly requests: Array<Seen>
}
const newPage = (): Page => ({ opened: performance.now(), peakAtOnce: 0, mostInAnySecond: 0, requests: [] })
let page = newPage()

/** A pseudorandom number from 0 to 1, a hash of the seed. */
const random = (seed: number): number => {
  let bits = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32
}

// Most responses are quick and a few are slow, so that both limits take effect: the rate, and the number at once.
const documentsAfter = (latencyOf: (id: number) => number) =>
  Array.from({ length: 1000 }, (_, index): Answer => {
    const id = index + 1
    const body = { id, title: `Report ${id}`, words: Math.round(5000 * random(-id)) }
    return { latency: Math.round(latencyOf(id)), status: 200, body }
  })
const documents = documentsAfter((id) => 30 + 420 * random(id) ** 3)
// Slow enough that ten at once are in use most of the time: then permits that a process holds after its end are missed.
const archive = documentsAfter((id) => 130 + 200 * random(id))

const mirror = (name: string, latency: number, status = 200): [string, Answer] => [
  `/mirrors/${name}`,
  { latency, status, body: { mirror: name } }
]

const answers = new Map<string, Answer>([
  ...documents.map((answer, index): [string, Answer] => [`/documents/${index + 1}`, answer]),
  ...archive.map((answer, index): [string, Answer] => [`/archive/${index + 1}`, answer]),
  mirror("Osaka", 900),
  mirror("Cairo", 120, 503),
  mirror("Lisbon", 300),
  mirror("Quito", 1400),
  mirror("Bergen", 600)
])

const send = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))

const serve = async (path: string, client: string, { status, latency, body }: Answer, response: ServerResponse) => {
  const { opened, requests } = page
  const now = () => performance.now() - opened
  const from = now()
  const seen: Seen = { path, client, status, latency, from, to: from, outcome: "running" }
  const end = (outcome: Seen["outcome"]) => Object.assign(seen, { to: now(), outcome })

  // A refused request counts as well, so repeating it at once does not help.
  requests.push(seen)
  const atOnce = requests.filter(({ outcome }) => outcome === "running").length
  const inThisSecond = requests.filter((earlier) => from - earlier.from < 1000).length
  page.peakAtOnce = Math.max(page.peakAtOnce, atOnce)
  page.mostInAnySecond = Math.max(page.mostInAnySecond, inThisSecond)
  if (atOnce > limits.atOnce || inThisSecond > limits.perSecond) {
    end("refused")
    send(response, 429, { error: `${atOnce} at once, ${inThisSecond} in a second` })
    return
  }

  const hungUp = new AbortController()
  response.once("close", () => hungUp.abort())
  try {
    await sleep(latency, undefined, hungUp)
  } catch {
    end("cancelled")
    return
  }
  end("answered")
  send(response, status, body)
}

const stats = async (method: string | undefined, response: ServerResponse) => {
  if (method === "DELETE") page = newPage()
  const asked = page
  while (asked.requests.some(({ outcome }) => outcome === "running")) await sleep(10)
  send(response, 200, { limits, ...asked } satisfies Stats)
}

const server = createServer(({ method, url = "", headers }: IncomingMessage, response) => {
  if (url === "/stats") return stats(method, response)
  const answer = answers.get(url)
  return answer === undefined
    ? send(response, 404, { error: "no such document" })
    : serve(url, headers["user-agent"] ?? "", answer, response)
})
// Keep idle connections for longer than the demo runs, so that none is closed just as the client reuses it.
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port))
process.once("disconnect", () => process.exit())
