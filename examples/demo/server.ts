/**
 * Stands for somebody else's API: a process of its own that counts for itself and knows nothing of fibermeter.
 *
 * - `GET /documents/17`: one of 1,000 JSON documents, each with a latency of its own (the same in every run).
 * - `GET /mirrors/Lisbon`: one document from mirrors of different speed, one of them out of order.
 * - `GET /stats`: what the server saw, as soon as nothing is running. `DELETE /stats` opens a new page.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

/** One request as the server saw it. Times are milliseconds since the page was opened. */
export interface Seen {
  readonly path: string
  /** What the answer is and how long it takes, if the server is left to finish it. */
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

/** What the server saw since the last `DELETE /stats`. */
interface Page {
  readonly opened: number
  peakAtOnce: number
  mostInAnySecond: number
  readonly requests: Array<Seen>
}
const newPage = (): Page => ({ opened: performance.now(), peakAtOnce: 0, mostInAnySecond: 0, requests: [] })
let page = newPage()

/** A number from 0 to 1 that looks random and is the same for the same seed: a hash that stirs the bits twice. */
const random = (seed: number): number => {
  let bits = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32
}

// Most answers are quick and a few are slow, so that now the rate holds the client back and now the number at once.
const documents = Array.from({ length: 1000 }, (_, index): Answer => {
  const id = index + 1
  const latency = Math.round(30 + 420 * random(id) ** 3)
  return { latency, status: 200, body: { id, title: `Report ${id}`, words: Math.round(5000 * random(-id)) } }
})

const mirror = (name: string, latency: number, status = 200): [string, Answer] => [
  `/mirrors/${name}`,
  { latency, status, body: { mirror: name } }
]

const answers = new Map<string, Answer>([
  ...documents.map((answer, index): [string, Answer] => [`/documents/${index + 1}`, answer]),
  mirror("Osaka", 900),
  mirror("Cairo", 120, 503),
  mirror("Lisbon", 300),
  mirror("Quito", 1400),
  mirror("Bergen", 600)
])

const send = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))

const serve = async (path: string, { status, latency, body }: Answer, response: ServerResponse) => {
  const { opened, requests } = page
  const now = () => performance.now() - opened
  const from = now()
  const seen: Seen = { path, status, latency, from, to: from, outcome: "running" }
  const end = (outcome: Seen["outcome"]) => Object.assign(seen, { to: now(), outcome })

  // A request that is refused counts as well: who keeps knocking is not let in sooner.
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

const server = createServer(({ method, url = "" }: IncomingMessage, response) => {
  if (url === "/stats") return stats(method, response)
  const answer = answers.get(url)
  return answer === undefined ? send(response, 404, { error: "no such document" }) : serve(url, answer, response)
})
// Idle connections are kept for longer than the demo runs: none is closed just as the client uses it again.
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port))
process.once("disconnect", () => process.exit())
