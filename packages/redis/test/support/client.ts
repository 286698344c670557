/** A connected client of either kind, for the programs that tests start as processes. */
import { Redis } from "ioredis"
import { createClient } from "redis"

export type ClientKind = "node-redis" | "ioredis"

export const openClient = async (kind: ClientKind, port: number) => {
  if (kind === "ioredis") {
    const client = new Redis(port, "127.0.0.1", { retryStrategy: () => 50 })
    client.on("error", () => {})
    return { client, close: () => client.disconnect() }
  }
  const client = createClient({ socket: { port, host: "127.0.0.1", reconnectStrategy: 50 } })
  client.on("error", () => {})
  await client.connect()
  return { client, close: () => client.destroy() }
}
