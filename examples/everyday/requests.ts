/**
 * A server whose requests all talk to the same API, under one meter. Each task still belongs to its request: what is in
 * an `AsyncLocalStorage` is that of the request, whoever waited before it. At shutdown the meter is closed, so no
 * request is left hanging.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { setTimeout } from "node:timers/promises"
import { createMeter } from "@fibermeter/promise"
import { serve } from "./serve.ts"

/** The name of the request that is being handled. */
const request = new AsyncLocalStorage<string>()
const log: Array<string> = []
const note = (what: string) => log.push(`${request.getStore()}: ${what}`)

// The API. One of its answers never comes.
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
  note(`asks for ${path}`)
  return (await fetch(api.url + path, { signal })).text()
}

let answers: Promise<ReadonlyArray<string>>
{
  await using server = await serve((incoming, response) => {
    const name = (incoming.url ?? "").slice(1)
    return request.run(name, async () => {
      try {
        // A task starts when one of another request has ended. What is stored is that of its own request all the same.
        const parts = await meter.runAll(["/user", "/orders"], (path, { signal }) => ask(path, signal))
        if (name === "slow") parts.push(await meter.run(({ signal }) => ask("/report", signal)))
        response.end(parts.join(", "))
      } catch (reason) {
        note("is told that the program ends")
        // Without this the connection would be kept for seconds, and the server with it.
        response.writeHead(503, { connection: "close" }).end(String(reason))
      }
    })
  })
  // Made after the server, and so closed before it: the server waits until all its requests have been answered.
  await using meter = createMeter({ maxAtOnce: 1 })

  const get = async (name: string) => {
    const response = await fetch(`${server.url}/${name}`)
    return `${name}: ${response.status} ${await response.text()}`
  }

  for (const answer of await Promise.all(["first", "second", "third"].map(get))) console.log(answer)
  for (const line of log.splice(0).toSorted()) console.log(line)

  // The program ends while one request has its task running and another waits for the meter.
  const slow = get("slow")
  await begun
  const late = get("late")
  while (meter.snapshot().waiting === 0) await setTimeout(1)
  answers = Promise.all([slow, late])
}

for (const answer of await answers) console.log(answer)
for (const line of log.toSorted()) console.log(line)
console.log(`at most ${mostAtOnce} at once at the API`)
