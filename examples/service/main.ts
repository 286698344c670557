/**
 * A service in front of an API that takes its time. All requests to the API run under one meter, which keeps to its limits,
 * holds a short queue, and refuses what would wait too long.
 *
 *   UPSTREAM=http://127.0.0.1:4000 PORT=3000 node main.ts
 */
import { createMeter, OverloadedError } from "@fibermeter/promise"
import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { metrics } from "./metrics.ts"

const { PORT = "3000", UPSTREAM = "http://127.0.0.1:4000" } = process.env

const upstream = createMeter({
  name: "upstream",
  maxAtOnce: 2,
  maxPerSecond: 100,
  // A request that finds four others in the queue is refused, and so is one that has waited for ten seconds.
  maxWaiting: 4,
  waitTimeout: "10 seconds",
  timeout: "30 seconds"
})

const app = new Hono()

app.use(async (c, next) => {
  await next()
  // Otherwise the connections of clients would keep the process alive for some seconds more.
  if (upstream.snapshot().draining) c.header("connection", "close")
})

app.get("/reports/:id", async (c) => {
  // The client's signal aborts when it hangs up. A request that waits then leaves the queue, and one that runs is aborted.
  const client = c.req.raw.signal
  const report = await upstream.run(
    async ({ signal }) => {
      const response = await fetch(`${UPSTREAM}/reports/${c.req.param("id")}`, { signal })
      if (!response.ok) throw new Error(`the upstream responds with ${response.status}`)
      return response.text()
    },
    { signal: client }
  )
  return c.text(report)
})

app.get("/metrics", async (c) => c.body(await metrics.metrics(), 200, { "content-type": metrics.contentType }))

app.onError((error, c) => {
  if (error instanceof OverloadedError) {
    // Without an estimate, the queue is full of tasks that wait for the end of others.
    const seconds = Math.max(1, Math.ceil((error.retryAfter ?? 1000) / 1000))
    return c.text("busy, try again later", 503, { "retry-after": String(seconds) })
  }
  if (upstream.snapshot().draining) return c.text("shutting down", 503)
  return c.text(error.message, 502)
})

const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(PORT) }, ({ port }) =>
  console.log(`listening on http://127.0.0.1:${port}`)
)

process.once("SIGTERM", async () => {
  console.log("draining")
  // No new connections, and no new requests on the old ones. Those that run or wait get their responses.
  server.close(() => console.log("closed"))
  await upstream.drain()
})
