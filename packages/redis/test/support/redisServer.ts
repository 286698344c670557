/** A `redis-server` on a free port of the loopback interface. It is stopped by its own process handle. */
import { spawn } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { connect, type Connection } from "./resp.ts"

const binary = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "redis-server"))
  .find((file) => existsSync(file))

export const hasServer = binary !== undefined

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

export const persistences = ["none", "aof"] as const
export type Persistence = (typeof persistences)[number]

export interface Server {
  readonly port: number
  readonly connect: () => Promise<Connection>
  /** Ends the server by that signal, and starts it again with what it has on disk. */
  readonly restart: (signal: "SIGTERM" | "SIGKILL") => Promise<void>
  /** Ends the server. The returned function starts it again. */
  readonly end: () => Promise<() => Promise<void>>
  /** Copies what the server has on disk. What is returned ends the server, and starts it again with the copy. */
  readonly save: () => () => Promise<void>
  readonly stop: () => Promise<void>
}

export const startServer = async (persistence: Persistence): Promise<Server> => {
  const folder = mkdtempSync(join(tmpdir(), "fibermeter-redis-"))
  const data = join(folder, "data")
  mkdirSync(data)
  const port = await freePort()
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", data, "--save", ""]
    .concat(["--maxmemory-policy", "noeviction", "--appendonly", persistence === "aof" ? "yes" : "no"])
    .concat(["--loglevel", "warning"])
  const run = async () => {
    const child = spawn(binary!, args, { stdio: "ignore" })
    const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()))
    // The server has no way to say that it listens, other than to answer.
    for (;;) {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`)
      try {
        const connection = await connect(port)
        await connection.send(["PING"])
        connection.close()
        return { child, ended }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }
  let { child, ended } = await run()
  const end = (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    child.kill(signal)
    return ended
  }
  let copies = 0
  return {
    port,
    connect: () => connect(port),
    restart: async (signal) => {
      await end(signal)
      ;({ child, ended } = await run())
    },
    end: async () => {
      await end("SIGTERM")
      return async () => {
        ;({ child, ended } = await run())
      }
    },
    save: () => {
      const copy = join(folder, `copy-${++copies}`)
      // The end of a file may be missing, which is as if the copy had been taken earlier.
      cpSync(data, copy, { recursive: true })
      return async () => {
        await end("SIGKILL")
        rmSync(data, { recursive: true })
        cpSync(copy, data, { recursive: true })
        ;({ child, ended } = await run())
      }
    },
    stop: async () => {
      await end("SIGTERM")
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
