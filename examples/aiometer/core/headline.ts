/**
 * Requests to a server: the results as they come, then all of them in order.
 *
 * Ten requests at 100 a second, where aiometer's example has a hundred at 5 a second and takes 20 seconds. The server
 * is one of our own, on this machine.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Console, Effect, Random, Stream } from "effect"
import { amap, runAll } from "fibermeter"

// Sends back what it is sent.
const server = createServer((request, response) => request.pipe(response)).listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const send = Effect.fn("send")(function* (index: number) {
  const json = yield* Effect.tryPromise(async (signal) => {
    const response = await fetch(url, { method: "POST", body: JSON.stringify({ index }), signal })
    return (await response.json()) as { index: number }
  })
  // Some work with the answer.
  yield* Effect.sleep(20 * (yield* Random.next))
  return json
})
const indexes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
const limits = { maxAtOnce: 10, maxPerSecond: 100 }

const program = Effect.gen(function* () {
  // The answers as they become available:
  yield* Stream.runForEach(amap(indexes, send, limits), (json) => Console.log(json))

  // Or all of them, in the order of the requests:
  return yield* runAll(indexes, send, limits)
})

const answers = await Effect.runPromise(program)
console.log(answers.map(({ index }) => index)) // => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
server.close()
