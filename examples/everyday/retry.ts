/**
 * An API that says 429 and for how long it wants to be left alone. The client knows nothing of its quota: the first
 * refusal pauses the meter, and with it all that use it. What was refused is asked again.
 */
import { setTimeout } from "node:timers/promises"
import { createMeter } from "@fibermeter/promise"
import { serve } from "./serve.ts"

// The API: the fourth request is one too many. For a second from then on, all are refused.
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
  response.end(`the answer to ${request.url}`)
})

const api = createMeter({ maxAtOnce: 4 })

const ask = async (question: string, signal: AbortSignal) => {
  const response = await fetch(server.url + question, { signal })
  // The response goes along: that is where `retry` finds its `Retry-After`.
  if (!response.ok) throw new Error(`${question}: ${response.status}`, { cause: response })
  return response.text()
}

const retry = {
  times: 5,
  delay: "100 millis",
  // Only what may be better the next time. A failure without a response, such as a broken connection, is.
  while: (reason: unknown) => {
    const response = reason instanceof Error ? reason.cause : undefined
    return !(response instanceof Response) || response.status === 429 || response.status >= 500
  }
} as const

// Two calls in different places, under the same meter.
const [answers, status] = await Promise.all([
  api.runAll(["/1", "/2", "/3", "/4", "/5", "/6", "/7"], (question, { signal }) => ask(question, signal), { retry }),
  api.run(({ signal }) => ask("/status", signal), { retry })
])

for (const answer of [...answers, status]) console.log(answer)
// Had the others gone on asking for that second, there would be more refusals.
console.log(`the server has answered ${log.answered} and refused ${log.refused}`)
