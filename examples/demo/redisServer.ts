/** A `redis-server` on a free port of the loopback interface, without persistence. It ends with this process. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"

export interface RedisServer extends AsyncDisposable {
  readonly port: number
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  await server[Symbol.asyncDispose]()
  return port
}

/** Rejects if there is no `redis-server`, or if it does not start. */
export const startRedis = async (): Promise<RedisServer> => {
  const port = await freePort()
  // It writes nothing, but would load a file from an earlier server in the folder in which it starts.
  const folder = mkdtempSync(join(tmpdir(), "fibermeter-demo-redis-"))
  const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
  const child = spawn("redis-server", [...options, "--maxmemory-policy", "noeviction"], {
    stdio: ["ignore", "pipe", "ignore"]
  })
  const { promise: ended, resolve: end } = Promise.withResolvers<string>()
  child.once("error", (error: NodeJS.ErrnoException) =>
    end(error.code === "ENOENT" ? "there is no redis-server in the PATH" : error.message)
  )
  child.once("exit", (code, signal) => end(`redis-server ended with ${code ?? signal}`))

  // However this process ends, the server ends as well, and its folder is removed.
  const stop = () => {
    child.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  }
  const leave = (signal: NodeJS.Signals) => process.exit(128 + constants.signals[signal])
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const
  process.once("exit", stop)
  for (const signal of signals) process.once(signal, leave)
  const dispose = async () => {
    stop()
    await ended
    process.off("exit", stop)
    for (const signal of signals) process.off(signal, leave)
  }

  const ready = new Promise<undefined>((resolve) => {
    createInterface(child.stdout).on("line", (line) => {
      if (line.includes("Ready to accept connections")) resolve(undefined)
    })
  })
  const late = AbortSignal.timeout(5000)
  const isLate = new Promise<string>((resolve) =>
    late.addEventListener("abort", () => resolve("redis-server was not ready after 5 s"), { once: true })
  )
  const problem = await Promise.race([ready, ended, isLate])
  if (problem !== undefined) {
    await dispose()
    throw new Error(problem)
  }
  return { port, [Symbol.asyncDispose]: dispose }
}
