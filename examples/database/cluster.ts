/** A PostgreSQL cluster of its own in a temporary folder, on a free port of the loopback interface, for the test. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chownSync, existsSync, globSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"

/** The programs of the newest version, as Debian installs them. */
const bin = globSync("/usr/lib/postgresql/*/bin")
  .filter((folder) => existsSync(join(folder, "initdb")))
  .toSorted((a, b) => parseInt(b.split("/")[4]!) - parseInt(a.split("/")[4]!))[0]

export const hasPostgres = bin !== undefined

export interface Cluster extends AsyncDisposable {
  readonly url: string
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  await server[Symbol.asyncDispose]()
  return port
}

export const startCluster = async (): Promise<Cluster> => {
  const folder = mkdtempSync(join(tmpdir(), "fibermeter-postgres-"))
  // PostgreSQL does not run as root. `nobody` owns nothing else here.
  const user = process.getuid!() === 0 ? { uid: 65534, gid: 65534 } : {}
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
  const data = join(folder, "data")
  const options = { ...user, cwd: folder, stdio: "ignore" } as const
  execFileSync(join(bin!, "initdb"), ["-D", data, "-U", "filler", "-A", "trust", "-E", "UTF8", "--no-sync"], options)
  const port = await freePort()
  const settings = ["listen_addresses=127.0.0.1", `port=${port}`, `unix_socket_directories=${folder}`, "fsync=off"]
  const server = spawn(join(bin!, "postgres"), ["-D", data, ...settings.flatMap((setting) => ["-c", setting])], options)
  const exited = once(server, "exit")
  const url = `postgres://filler@127.0.0.1:${port}/postgres`
  // It says that it is ready only in its log, in the language of the machine.
  for (let isReady = false; !isReady;) {
    if (server.exitCode !== null) throw new Error(`postgres has exited with ${server.exitCode}`)
    const client = new pg.Client(url)
    try {
      await client.connect()
      await client.end()
      isReady = true
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      // Disconnects its clients, and exits.
      server.kill("SIGINT")
      await exited
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
