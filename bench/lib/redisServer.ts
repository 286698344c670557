/** A `redis-server` on a free port of the loopback interface, without persistence, and what it says of itself. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createClient } from "redis"

export interface Server {
  readonly port: number
  /** Scripts that it has run, and the CPU time that it has spent, in seconds, since it was started. */
  readonly usage: () => Promise<{ readonly scripts: number; readonly commands: number; readonly cpu: number }>
}

export const hasRedis = (): boolean => spawnSync("redis-server", ["--version"]).status === 0

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}

export const withRedis = async <A>(f: (server: Server) => Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "fibermeter-bench-"))
  const port = await freePort()
  const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
  const child = spawn("redis-server", [...options, "--maxmemory-policy", "noeviction"], { stdio: "ignore" })
  const ended = once(child, "exit")
  const client = createClient({ socket: { host: "127.0.0.1", port, reconnectStrategy: 20 } })
  client.on("error", () => {})
  try {
    await client.connect()
    const field = (text: string, name: string): number =>
      Number(new RegExp(`${name}[:=]([\\d.]+)`).exec(text)?.[1] ?? 0)
    return await f({
      port,
      usage: async () => {
        const stats = await client.info("commandstats")
        const cpu = await client.info("cpu")
        return {
          scripts: field(stats, "cmdstat_evalsha:calls") + field(stats, "cmdstat_eval:calls"),
          commands: field(await client.info("stats"), "total_commands_processed"),
          cpu: field(cpu, "used_cpu_sys") + field(cpu, "used_cpu_user")
        }
      }
    })
  } finally {
    client.destroy()
    child.kill("SIGTERM")
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
}
