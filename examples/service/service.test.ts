/** The service, as a process of its own, over HTTP. The test is its upstream. */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import type { ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, expect, it } from "vitest"

const main = fileURLToPath(new URL("main.ts", import.meta.url))

/** The requests at the upstream that have no response, by their paths. */
const pending = new Map<string, ServerResponse>()
const seen: Array<string> = []
const upstream = createServer((request, response) => {
  const path = request.url!
  seen.push(path)
  pending.set(path, response)
  response.once("close", () => pending.delete(path))
})

let service: ChildProcess
let url: string
let lines: Array<string>

beforeEach(async () => {
  seen.length = 0
  upstream.listen(0, "127.0.0.1")
  await once(upstream, "listening")
  const { port } = upstream.address() as AddressInfo
  const env = { UPSTREAM: `http://127.0.0.1:${port}`, PORT: "0" }
  service = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "inherit"] })
  lines = []
  const output = createInterface(service.stdout!)
  output.on("line", (line) => lines.push(line))
  const [line] = (await once(output, "line")) as [string]
  url = line.replace("listening on ", "")
})

afterEach(async () => {
  service.kill("SIGKILL")
  upstream.closeAllConnections()
  upstream.close()
  await once(upstream, "close")
})

/** Asks again until it is so. */
const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Requests a report, and resolves with what is seen of the response. */
const get = async (id: number | string, signal?: AbortSignal) => {
  const response = await fetch(`${url}/reports/${id}`, { signal: signal ?? null })
  return [response.status, await response.text(), response.headers.get("retry-after")]
}

const respond = (id: number): void => void pending.get(`/reports/${id}`)!.end(`report ${id}`)

/** The value of a metric, by its name and labels. */
const metric = async (series: string): Promise<number | undefined> => {
  const text = await (await fetch(`${url}/metrics`)).text()
  const line = text.split("\n").find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length))
}

const waiting = async (tasks: number): Promise<void> =>
  until(async () => (await metric('meter_waiting{meter="upstream"}')) === tasks)

/** Two requests that run, and four that wait. */
const fill = async () => {
  const reports = []
  for (const id of [1, 2, 3, 4, 5, 6]) {
    reports.push(get(id))
    if (id <= 2) await until(() => pending.has(`/reports/${id}`))
    else await waiting(id - 2)
  }
  return reports
}

it("responds with 503 and Retry-After when its queue is full", async () => {
  const reports = await fill()
  expect(await get(7)).toEqual([503, "busy, try again later", "1"])
  expect(seen).toEqual(["/reports/1", "/reports/2"])
  for (const id of [1, 2, 3, 4, 5, 6]) {
    await until(() => pending.has(`/reports/${id}`))
    respond(id)
  }
  expect(await Promise.all(reports)).toEqual([1, 2, 3, 4, 5, 6].map((id) => [200, `report ${id}`, null]))
})

it("a client that hangs up leaves the queue, or has its request to the upstream aborted", async () => {
  const [first, third] = [new AbortController(), new AbortController()]
  const running = get(1, first.signal)
  await until(() => pending.has("/reports/1"))
  const kept = get(2)
  await until(() => pending.has("/reports/2"))
  const queued = get(3, third.signal)
  await waiting(1)
  const last = get(4)
  await waiting(2)
  third.abort()
  await expect(queued).rejects.toThrow("aborted")
  await waiting(1)
  first.abort()
  await expect(running).rejects.toThrow("aborted")
  // It starts in place of the first.
  await until(() => pending.has("/reports/4"))
  respond(2)
  respond(4)
  expect(await kept).toEqual([200, "report 2", null])
  expect(await last).toEqual([200, "report 4", null])
  expect(seen).toEqual(["/reports/1", "/reports/2", "/reports/4"])
  expect(await metric('meter_refused_total{meter="upstream",reason="cancelled"}')).toBe(1)
  expect(await metric('meter_run_seconds_count{meter="upstream",outcome="cancelled"}')).toBe(1)
})

it("has metrics of what runs, waits and is refused", async () => {
  const reports = await fill()
  await get(7)
  expect(await metric('meter_running{meter="upstream"}')).toBe(2)
  expect(await metric('meter_waiting{meter="upstream"}')).toBe(4)
  expect(await metric('meter_refused_total{meter="upstream",reason="queue-full"}')).toBe(1)
  for (const id of [1, 2, 3, 4, 5, 6]) {
    await until(() => pending.has(`/reports/${id}`))
    if (id === 6) pending.get("/reports/6")!.writeHead(500).end()
    else respond(id)
  }
  expect((await Promise.all(reports)).at(-1)).toEqual([502, "the upstream responds with 500", null])
  expect(await metric('meter_running{meter="upstream"}')).toBe(0)
  expect(await metric('meter_waiting{meter="upstream"}')).toBe(0)
  expect(await metric('meter_wait_seconds_count{meter="upstream"}')).toBe(6)
  expect(await metric('meter_run_seconds_count{meter="upstream",outcome="success"}')).toBe(5)
  expect(await metric('meter_run_seconds_count{meter="upstream",outcome="failure"}')).toBe(1)
})

it("is drained at SIGTERM: what runs or waits gets its response, and the process ends", async () => {
  const exit = once(service, "exit")
  const reports = await fill()
  service.kill("SIGTERM")
  await until(() => lines.includes("draining"))
  await expect(get(7)).rejects.toThrow("fetch failed")
  for (const id of [1, 2, 3, 4, 5, 6]) {
    await until(() => pending.has(`/reports/${id}`))
    respond(id)
  }
  expect(await Promise.all(reports)).toEqual([1, 2, 3, 4, 5, 6].map((id) => [200, `report ${id}`, null]))
  expect(await exit).toEqual([0, null])
  expect(lines.slice(1)).toEqual(["draining", "closed"])
})
