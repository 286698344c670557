/**
 * Requests to a server: each result as it becomes available, then all results in input order.
 *
 * Ten requests at 100 per second. aiometer's example makes a hundred at 5 per second, which takes 20 seconds. The program
 * starts its own server on this machine.
 */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Console, Effect, Random, Stream } from "effect"
import { amap, runAll } from "fibermeter"

// An echo server.
const server = createServer((request, response) => request.pipe(response)).listen(0, "127.0.0.1")
await once(server, "listening")
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const send = Effect.fn("send")(function* (index: number) {
  const json = yield* Effect.tryPromise(async (signal) => {
    const response = await fetch(url, { method: "POST", body: JSON.stringify({ index }), signal })
    return (await response.json()) as { index: number }
  })
  // Some work with the response.
  yield* Effect.sleep(20 * (yield* Random.next))
  return json
})
const indexes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
const limits = { maxAtOnce: 10, maxPerSecond: 100 }

const program = Effect.gen(function* () {
  // Each response as it becomes available:
  yield* Stream.runForEach(amap(indexes, send, limits), (json) => Console.log(json))

  // Or all responses, in input order:
  return yield* runAll(indexes, send, limits)
})

const answers = await Effect.runPromise(program)
console.log(answers.map(({ index }) => index)) // => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
server.close()
