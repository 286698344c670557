/**
 * A server whose requests call the same API under one meter. Each task runs in the `AsyncLocalStorage` context of its own
 * request, even if the end of another request's task admitted it. At shutdown the meter is closed, so no request is left
 * pending.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { setTimeout } from "node:timers/promises"
import { createMeter } from "@fibermeter/promise"
import { serve } from "./serve.ts"

/** The name of the current request. */
const request = new AsyncLocalStorage<string>()
const log: Array<string> = []
const note = (what: string) => log.push(`${request.getStore()}: ${what}`)

// The API. It never responds to /report.
let atOnce = 0
let mostAtOnce = 0
const { promise: begun, resolve: onBegun } = Promise.withResolvers<void>()
await using api = await serve(async ({ url }, response) => {
  mostAtOnce = Math.max(mostAtOnce, ++atOnce)
  if (url === "/report") return onBegun()
  await setTimeout(10)
  atOnce--
  response.end("fine")
})

const ask = async (path: string, signal: AbortSignal) => {
  note(`requests ${path}`)
  return (await fetch(api.url + path, { signal })).text()
}

let answers: Promise<ReadonlyArray<string>>
{
  await using server = await serve((incoming, response) => {
    const name = (incoming.url ?? "").slice(1)
    return request.run(name, async () => {
      try {
        // The end of another request's task admits these tasks. They still run in the context of this request.
        const parts = await meter.runAll(["/user", "/orders"], (path, { signal }) => ask(path, signal))
        if (name === "slow") parts.push(await meter.run(({ signal }) => ask("/report", signal)))
        response.end(parts.join(", "))
      } catch (reason) {
        note("is rejected at shutdown")
        // Otherwise the connection would be kept alive for seconds, and the server with it.
        response.writeHead(503, { connection: "close" }).end(String(reason))
      }
    })
  })
  // Created after the server, and so closed before it. The server waits until all its requests have a response.
  await using meter = createMeter({ maxAtOnce: 1 })

  const get = async (name: string) => {
    const response = await fetch(`${server.url}/${name}`)
    return `${name}: ${response.status} ${await response.text()}`
  }

  for (const answer of await Promise.all(["first", "second", "third"].map(get))) console.log(answer)
  for (const line of log.splice(0).toSorted()) console.log(line)

  // Shut down while the task of one request is running and another request waits for the meter.
  const slow = get("slow")
  await begun
  const late = get("late")
  while (meter.snapshot().waiting === 0) await setTimeout(1)
  answers = Promise.all([slow, late])
}

for (const answer of await answers) console.log(answer)
for (const line of log.toSorted()) console.log(line)
console.log(`at most ${mostAtOnce} request at once at the API`)
