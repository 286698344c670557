/**
 * An API that responds with 429 and a `Retry-After`. The client does not know the quota of the API. The first 429 pauses the
 * meter, and so all requests under it. The refused requests are then retried.
 */
import { setTimeout } from "node:timers/promises"
import { createMeter } from "@fibermeter/promise"
import { serve } from "./serve.ts"

// The API: the fourth request exceeds the quota. From then on, it refuses all requests for a second.
const log = { answered: 0, refused: 0 }
let openAt = 0
await using server = await serve(async (request, response) => {
  const now = performance.now()
  if (log.answered === 3 && openAt === 0) openAt = now + 1000
  if (now < openAt) {
    log.refused++
    response.writeHead(429, { "retry-after": "1" }).end()
    return
  }
  log.answered++
  await setTimeout(200)
  response.end(`the response to ${request.url}`)
})

const api = createMeter({ maxAtOnce: 4 })

const ask = async (question: string, signal: AbortSignal) => {
  const response = await fetch(server.url + question, { signal })
  // `retry` reads the `Retry-After` from the response in `cause`.
  if (!response.ok) throw new Error(`${question}: ${response.status}`, { cause: response })
  return response.text()
}

const retry = {
  times: 5,
  delay: "100 millis",
  // Retry only errors that may be temporary: 429, server errors, and errors without a response, such as a lost connection.
  while: (reason: unknown) => {
    const response = reason instanceof Error ? reason.cause : undefined
    return !(response instanceof Response) || response.status === 429 || response.status >= 500
  }
} as const

// Two separate calls under the same meter.
const [answers, status] = await Promise.all([
  api.runAll(["/1", "/2", "/3", "/4", "/5", "/6", "/7"], (question, { signal }) => ask(question, signal), { retry }),
  api.run(({ signal }) => ask("/status", signal), { retry })
])

for (const answer of [...answers, status]) console.log(answer)
// Without the pause, the other requests would have been refused as well.
console.log(`the server answered ${log.answered} requests and refused ${log.refused}`)
