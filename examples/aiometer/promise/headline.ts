/**
 * Requests to a server: the results as they come, then all of them in order.
 *
 * Ten requests at 100 a second, where aiometer's example has a hundred at 5 a second and takes 20 seconds. The server
 * is one of our own, on this machine.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout } from "node:timers/promises"
import { amap, runAll } from "@fibermeter/promise"

// Sends back what it is sent.
const server = createServer((request, response) => request.pipe(response)).listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const send = async (index: number, signal: AbortSignal) => {
  const response = await fetch(url, { method: "POST", body: JSON.stringify({ index }), signal })
  const json = (await response.json()) as { index: number }
  // Some work with the answer.
  await setTimeout(20 * Math.random(), undefined, { signal })
  return json
}
const indexes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
const limits = { maxAtOnce: 10, maxPerSecond: 100 }

// The answers as they become available:
for await (const json of amap(indexes, (index, { signal }) => send(index, signal), limits)) {
  console.log(json)
}

// Or all of them, in the order of the requests:
const answers = await runAll(indexes, (index, { signal }) => send(index, signal), limits)
console.log(answers.map(({ index }) => index)) // => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
server.close()
