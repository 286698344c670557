/** Client processes that share a meter on Redis, one of which is killed while its requests run. */
import { fork, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import type { Report, Settings } from "./client.ts"
import type { Progress } from "./terminal.ts"

/** How a run of the processes went. Times are in milliseconds since its start. */
export interface Outcome {
  /** The number of different documents that arrived. */
  readonly fetched: number
  /** The number of documents that each process fetched, by its name. */
  readonly byProcess: ReadonlyMap<string, number>
  readonly killed: { readonly name: string; readonly at: number; readonly running: number; readonly handedOver: number }
}

export interface Clients extends AsyncDisposable {
  /** Distributes the documents. Once a third of them have arrived, it kills the process with the most running requests. */
  readonly fetchAll: (ids: ReadonlyArray<number>, progress: Progress, timeout: number) => Promise<Outcome>
}

/** A process, the documents that it has not fetched yet, and those of them whose requests run. */
interface Client {
  readonly name: string
  readonly child: ChildProcess
  readonly open: Set<number>
  readonly running: Map<number, PromiseWithResolvers<void>>
  fetched: number
}

const fetchAll = async (
  clients: ReadonlyArray<Client>,
  ids: ReadonlyArray<number>,
  progress: Progress,
  timeout: number
): Promise<Outcome> => {
  const begun = performance.now()
  const arrived = new Set<number>()
  const { promise: allArrived, resolve, reject } = Promise.withResolvers<void>()
  let killed: (Outcome["killed"] & { readonly client: Client }) | undefined

  const distribute = (documents: ReadonlyArray<number>, among: ReadonlyArray<Client>) => {
    documents.forEach((id, index) => {
      const client = among[index % among.length]!
      client.open.add(id)
      client.child.send(id)
    })
  }
  const kill = () => {
    const [client] = clients.toSorted((one, other) => other.running.size - one.running.size)
    client!.child.kill("SIGKILL")
    const { name, running } = client!
    killed = { client: client!, name, at: performance.now() - begun, running: running.size, handedOver: 0 }
  }
  const start = (client: Client, id: number) => {
    // If a lost lease has cancelled its first attempt, it has already started.
    if (client.running.has(id)) return
    const request = Promise.withResolvers<void>()
    client.running.set(id, request)
    progress.watch(() => request.promise).catch(() => {})
  }
  const finish = (client: Client, id: number) => {
    client.running.get(id)?.resolve()
    client.running.delete(id)
    client.open.delete(id)
    client.fetched++
    arrived.add(id)
    if (killed === undefined && arrived.size >= ids.length / 3) kill()
    if (arrived.size === ids.length) resolve()
  }

  for (const client of clients) {
    client.child.on("message", (report: Report) => {
      if (report.type === "started") start(client, report.id)
      if (report.type === "fetched") finish(client, report.id)
      if (report.type === "failed") reject(new Error(report.reason))
    })
    client.child.once("error", reject)
    // Comes after all of its reports.
    client.child.once("disconnect", () => {
      if (client !== killed?.client) return reject(new Error(`${client.name} ended unexpectedly`))
      const left = [...client.open]
      killed = { ...killed, handedOver: left.length }
      for (const request of client.running.values()) request.reject(new Error("killed"))
      client.running.clear()
      distribute(
        left,
        clients.filter((other) => other !== client)
      )
    })
  }
  const timer = setTimeout(() => reject(new Error(`not done after ${timeout} ms`)), timeout)
  try {
    distribute(ids, clients)
    await allArrived
  } finally {
    clearTimeout(timer)
    for (const { child } of clients) child.removeAllListeners("disconnect").removeAllListeners("message")
  }
  return {
    fetched: arrived.size,
    byProcess: new Map(clients.map(({ name, fetched }) => [name, fetched])),
    killed: killed!
  }
}

/** Starts a process for each name, and waits until all are connected to Redis and to the API. */
export const startClients = async (
  names: ReadonlyArray<string>,
  settings: Omit<Settings, "name">
): Promise<Clients> => {
  const clients = names.map((name): Client => {
    const argument = JSON.stringify({ ...settings, name } satisfies Settings)
    const child = fork(new URL("client.ts", import.meta.url), [argument])
    return { name, child, open: new Set(), running: new Map(), fetched: 0 }
  })
  const dispose = async () => {
    await Promise.all(
      clients.map(async ({ child }) => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const exited = once(child, "exit")
        child.kill("SIGKILL")
        await exited
      })
    )
  }
  try {
    const signal = AbortSignal.timeout(30_000)
    await Promise.all(
      clients.map(async ({ name, child }) => {
        const ended = once(child, "exit").then(() => Promise.reject(new Error(`${name} did not start`)))
        await Promise.race([once(child, "message", { signal }), ended])
        ended.catch(() => {})
      })
    )
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    fetchAll: async (ids, progress, timeout) => {
      try {
        return await fetchAll(clients, ids, progress, timeout)
      } catch (error) {
        // So that they send no more requests.
        await dispose()
        throw error
      }
    },
    [Symbol.asyncDispose]: dispose
  }
}
