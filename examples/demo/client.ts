/**
 * One of several client processes that share a meter on Redis. Its parent sends the numbers of documents, and receives a
 * report when a request starts and when it has ended.
 */
import { createMeter } from "@fibermeter/promise"
import { LeaseLostError, redisStore } from "@fibermeter/redis"
import { createClient } from "redis"
import type { Limits } from "./ways.ts"

/** The argument of this program, as JSON. */
export interface Settings {
  readonly name: string
  readonly api: string
  readonly redisPort: number
  readonly limits: Limits
  readonly lease: number
}

export type Report =
  | { readonly type: "ready" }
  | { readonly type: "started" | "fetched"; readonly id: number }
  | { readonly type: "failed"; readonly id: number; readonly reason: string }

// If the parent ends, this process ends as well. It may have ended while this module was loaded.
process.once("disconnect", () => process.exit())
if (!process.connected) process.exit()

const { name, api, redisPort, limits, lease } = JSON.parse(process.argv[2] ?? "") as Settings
const report = (content: Report) => process.send?.(content)

const client = createClient({ socket: { host: "127.0.0.1", port: redisPort } })
// A meter waits while its client reconnects.
client.on("error", () => {})
await client.connect()

// The same meter in each process: they share its name and the store.
const meter = createMeter({ store: redisStore(client, { lease }), name: "documents", ...limits })

const getDocument = async (id: number, signal: AbortSignal) => {
  const path = `/archive/${id}`
  const response = await fetch(api + path, { headers: { "user-agent": name }, signal })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`)
  await response.json()
}

const fetchDocument = async (id: number): Promise<void> => {
  try {
    await meter.run(({ signal }) => {
      report({ type: "started", id })
      return getDocument(id, signal)
    })
  } catch (reason) {
    // This process stood still for longer than its lease, so its tasks were cancelled. `retry` does not repeat them.
    if (reason instanceof LeaseLostError) return fetchDocument(id)
    throw reason
  }
}

process.on("message", (id: number) => {
  fetchDocument(id).then(
    () => report({ type: "fetched", id }),
    (reason: unknown) =>
      report({ type: "failed", id, reason: reason instanceof Error ? reason.message : String(reason) })
  )
})
// The first use of a meter and of fetch loads code and connects, which would delay the first document. The server does
// not count this request.
await meter.run(async () => (await fetch(api)).json())
report({ type: "ready" })
