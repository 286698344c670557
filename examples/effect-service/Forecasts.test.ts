/** The service under the test clock, with providers that are simulated; and the program, as a user runs it. */
import { execFile } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import { Clock, ConfigProvider, Effect, Exit, Fiber, Layer, Metric, Tracer } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { Meter } from "fibermeter"
import { Forecasts } from "./Forecasts.ts"

/** How a provider responds to a city: with a temperature, or a status and headers. */
type Provider = (city: string) => { readonly celsius: number } | readonly [status: number, headers?: HeadersInit]

/** Simulated providers, each of which takes a second, and a record of the requests that reach them. */
const simulate = (
  providers: Readonly<Record<string, Provider>>,
  environment: Readonly<Record<string, string>> = {}
) => {
  const requests: Array<string> = []
  const running = new Map<string, number>()
  const peaks: Record<string, number> = {}
  const client = HttpClient.make((request, url) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const city = url.pathname.slice(1)
      requests.push(`${now} ${url.host} ${city}`)
      const count = (by: 1 | -1) =>
        Effect.sync(() => {
          running.set(url.host, (running.get(url.host) ?? 0) + by)
          peaks[url.host] = Math.max(peaks[url.host] ?? 0, running.get(url.host)!)
        })
      yield* Effect.acquireUseRelease(
        count(1),
        () => Effect.sleep("1 second"),
        () => count(-1)
      )
      const answer = providers[url.host]!(city)
      const response =
        "celsius" in answer
          ? Response.json(answer)
          : new Response(null, { status: answer[0], ...(answer[1] ? { headers: answer[1] } : {}) })
      return HttpClientResponse.fromWeb(request, response)
    })
  )
  const PROVIDERS = Object.keys(providers)
    .map((host) => `http://${host}`)
    .join()
  const layer = Forecasts.layer.pipe(
    Layer.provide(Layer.succeed(HttpClient.HttpClient, client)),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ PROVIDERS, ...environment })))
  )
  return { layer, peaks, requests }
}

const mean = (city: string) => Effect.flatMap(Forecasts, (forecasts) => forecasts.mean(city))

describe("Forecasts", () => {
  it.effect("a host gets as many requests at once as its configuration allows, and does not delay another one", () => {
    const { layer, peaks, requests } = simulate(
      { north: () => ({ celsius: 4 }), south: () => ({ celsius: 10 }) },
      { PROVIDER_MAX_AT_ONCE: "1", PROVIDER_MAX_PER_SECOND: "Infinity" }
    )
    return Effect.gen(function* () {
      const means = yield* Effect.forkChild(Effect.all([mean("Oslo"), mean("Bergen")], { concurrency: "unbounded" }))
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(means)).toEqual([7, 7])
      expect(requests).toEqual(["0 north Oslo", "0 south Oslo", "1000 north Bergen", "1000 south Bergen"])
      expect(peaks).toEqual({ north: 1, south: 1 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("requests to a host are spread over the time", () => {
    const { layer, requests } = simulate({ north: () => ({ celsius: 4 }) }, { PROVIDER_MAX_PER_SECOND: "2" })
    return Effect.gen(function* () {
      const means = yield* Effect.forkChild(Effect.all(["a", "b", "c"].map(mean), { concurrency: "unbounded" }))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(means)
      expect(requests).toEqual(["0 north a", "500 north b", "1000 north c"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("after a 429, no request reaches the host until its Retry-After is over", () => {
    let asked = 0
    const { layer, requests } = simulate(
      { north: () => (asked++ === 0 ? [429, { "retry-after": "5" }] : { celsius: 4 }) },
      { PROVIDER_MAX_AT_ONCE: "1" }
    )
    return Effect.gen(function* () {
      const means = yield* Effect.forkChild(Effect.all([mean("a"), mean("b")], { concurrency: "unbounded" }))
      yield* TestClock.adjust("8 seconds")
      expect(yield* Fiber.join(means)).toEqual([4, 4])
      // The second request waits for the first one, then for the pause. The retry is admitted after it.
      expect(requests).toEqual(["0 north a", "6000 north b", "7000 north a"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a caller that is interrupted leaves the queue, and one too many is refused", () => {
    const { layer, requests } = simulate(
      { north: () => ({ celsius: 4 }) },
      { PROVIDER_MAX_AT_ONCE: "1", PROVIDER_MAX_WAITING: "1" }
    )
    return Effect.gen(function* () {
      const first = yield* Effect.forkChild(mean("a"), { startImmediately: true })
      const second = yield* Effect.forkChild(mean("b"), { startImmediately: true })
      const refused = yield* Effect.flip(mean("c"))
      expect(refused).toBeInstanceOf(Meter.Overloaded)
      yield* Fiber.interrupt(second)
      const last = yield* Effect.forkChild(mean("d"), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(first)
      yield* Fiber.join(last)
      expect(requests).toEqual(["0 north a", "1000 north d"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("an invalid configuration fails before any request", () => {
    const { layer, requests } = simulate({ north: () => ({ celsius: 4 }) }, { PROVIDER_MAX_AT_ONCE: "many" })
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.provide(mean("a"), layer))
      expect(Exit.isFailure(exit)).toBe(true)
      expect(requests).toEqual([])
    })
  })

  it.effect("a trace shows how long a request has waited for its host, and metrics how many did", () => {
    const { layer } = simulate({ north: () => ({ celsius: 4 }) }, { PROVIDER_MAX_AT_ONCE: "1" })
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.gen(function* () {
      const means = yield* Effect.forkChild(Effect.all([mean("a"), mean("b")], { concurrency: "unbounded" }))
      yield* TestClock.adjust("500 millis")
      const gauges = new Map((yield* Metric.snapshot).map((metric) => [metric.id, metric.state]))
      expect(gauges.get("fibermeter_running")).toEqual({ value: 1 })
      expect(gauges.get("fibermeter_waiting")).toEqual({ value: 1 })
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(means)
      const times = spans.flatMap(({ name, status }) => {
        if (!name.startsWith("fibermeter") || status._tag !== "Ended") return []
        return [[name, Number(status.endTime - status.startTime) / 1e6]]
      })
      expect(times).toEqual([
        ["fibermeter.run", 1000],
        ["fibermeter.wait", 1000],
        ["fibermeter.run", 1000]
      ])
    }).pipe(
      Effect.provide(layer),
      Effect.provideService(Tracer.Tracer, tracer),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  })
})

it("the program prints forecasts, then metrics", async () => {
  const server = createServer((request, response) =>
    response.setHeader("content-type", "application/json").end(JSON.stringify({ celsius: request.url!.length }))
  ).listen(0, "127.0.0.1")
  const { port } = await new Promise<AddressInfo>((resolve) =>
    server.once("listening", () => resolve(server.address() as AddressInfo))
  )
  const main = fileURLToPath(new URL("main.ts", import.meta.url))
  const env = { PROVIDERS: `http://127.0.0.1:${port}`, PROVIDER_MAX_AT_ONCE: "1" }
  const { stdout } = await promisify(execFile)(process.execPath, [main, "Oslo", "Bergen"], { env })
  server.closeAllConnections()
  server.close()
  const lines = stdout.split("\n")
  expect(lines.slice(0, 2)).toEqual(["Oslo: 5.0 °C", "Bergen: 7.0 °C"])
  expect(lines).toContain('fibermeter_started{meter="providers"} 2')
  expect(lines).toContain('fibermeter_running{meter="providers"} 0')
})
