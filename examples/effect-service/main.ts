/**
 * Prints forecasts, then the metrics.
 *
 *   PROVIDERS=http://127.0.0.1:4000,http://127.0.0.1:4001 node main.ts Vienna Oslo
 */
import { Console, Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Forecasts } from "./Forecasts.ts"

const program = Effect.gen(function* () {
  const { mean } = yield* Forecasts
  const cities = process.argv.slice(2)
  yield* Effect.forEach(
    cities,
    (city) => Effect.flatMap(mean(city), (celsius) => Console.log(`${city}: ${celsius.toFixed(1)} °C`)),
    { concurrency: "unbounded" }
  )
  yield* Console.log(yield* PrometheusMetrics.format())
})

await Effect.runPromise(Effect.provide(program, Forecasts.layer.pipe(Layer.provide(FetchHttpClient.layer))))
