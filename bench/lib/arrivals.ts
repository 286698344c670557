/**
 * A server on this machine, in a process of its own: forked by `withServer`. It answers at once with a small JSON, and
 * knows when its requests have arrived.
 */
import { fork } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { mostInWindow } from "./stats.ts"

export interface Arrivals {
  readonly count: number
  /** The most in any half-open second. */
  readonly mostInSecond: number
}

export interface Server {
  readonly url: string
  /** What has arrived since this was asked last. */
  readonly arrivals: () => Promise<Arrivals>
}

/** A server that is gone afterwards. */
export const withServer = async <A>(use: (server: Server) => Promise<A>): Promise<A> => {
  const child = fork(import.meta.filename)
  try {
    const port = await nextMessage<number>(child)
    return await use({
      url: `http://127.0.0.1:${port}/`,
      arrivals: () => {
        const answer = nextMessage<Arrivals>(child)
        child.send("arrivals")
        return answer
      }
    })
  } finally {
    child.kill()
  }
}

const nextMessage = <A>(child: ChildProcess): Promise<A> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`the server has ended with ${code}`))
    child.once("exit", ended)
    child.once("message", (message) => {
      child.off("exit", ended)
      resolve(message as A)
    })
  })

const serve = (send: (message: unknown) => void): void => {
  let times: Array<number> = []
  const server = createServer((request, response) => {
    times.push(performance.now())
    response.setHeader("content-type", "application/json")
    response.end(JSON.stringify({ id: Number(request.url!.slice(1)), name: "a record", tags: ["one", "two", "three"] }))
  })
  server.listen(0, "127.0.0.1", () => send((server.address() as AddressInfo).port))
  process.on("message", () => {
    send({ count: times.length, mostInSecond: mostInWindow(times, 1000) } satisfies Arrivals)
    times = []
  })
  process.on("disconnect", () => process.exit())
}

// Run as a program, this is the server.
if (process.argv[1] === import.meta.filename) serve((message) => void process.send!(message))
