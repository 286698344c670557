/**
 * Requests to a server: each result as it becomes available, then all results in input order.
 *
 * Ten requests at 100 per second. aiometer's example makes a hundred at 5 per second, which takes 20 seconds. The program
 * starts its own server on this machine.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout } from "node:timers/promises"
import { amap, runAll } from "@fibermeter/promise"

// An echo server.
const server = createServer((request, response) => request.pipe(response)).listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const send = async (index: number, signal: AbortSignal) => {
  const response = await fetch(url, { method: "POST", body: JSON.stringify({ index }), signal })
  const json = (await response.json()) as { index: number }
  // Some work with the response.
  await setTimeout(20 * Math.random(), undefined, { signal })
  return json
}
const indexes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
const limits = { maxAtOnce: 10, maxPerSecond: 100 }

// Each response as it becomes available:
for await (const json of amap(indexes, (index, { signal }) => send(index, signal), limits)) {
  console.log(json)
}

// Or all responses, in input order:
const answers = await runAll(indexes, (index, { signal }) => send(index, signal), limits)
console.log(answers.map(({ index }) => index)) // => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
server.close()
