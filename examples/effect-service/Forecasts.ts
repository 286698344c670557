/**
 * Forecasts of several providers, each of which has limits of its own.
 *
 * All requests to a host run under one meter, whichever fiber sends them. The name of the meters gives them metrics, and each
 * request a span for its wait and one for its run.
 */
import { Config, Context, Effect, Layer, Option, Schedule, Schema } from "effect"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { Meter, runAll } from "fibermeter"

const Forecast = Schema.Struct({ celsius: Schema.Number })

/** The limits of each host, from the environment. */
const limits = Config.all({
  maxAtOnce: Config.Int("PROVIDER_MAX_AT_ONCE").pipe(Config.withDefault(2)),
  maxPerSecond: Config.Number("PROVIDER_MAX_PER_SECOND").pipe(Config.withDefault(10)),
  maxWaiting: Config.Int("PROVIDER_MAX_WAITING").pipe(Config.withDefault(100))
})

const providers = Config.String("PROVIDERS").pipe(Config.map((urls) => urls.split(",")))

/** A provider that asks for a pause may be asked again. */
const isTooMany = (error: unknown): boolean =>
  HttpClientError.isHttpClientError(error) && error.response?.status === 429

export class Forecasts extends Context.Service<
  Forecasts,
  {
    /** The mean temperature that the providers expect. Fails with `Overloaded` if the queue of one of them is full. */
    readonly mean: (
      city: string
    ) => Effect.Effect<number, HttpClientError.HttpClientError | Meter.Overloaded | Schema.SchemaError>
  }
>()("Forecasts") {
  static readonly layer = Layer.effect(
    Forecasts,
    Effect.gen(function* () {
      const urls = yield* providers
      const client = (yield* HttpClient.HttpClient).pipe(HttpClient.filterStatusOk)
      const hosts = yield* Meter.keyed<string>({ name: "providers", ...(yield* limits) })

      const ask = (url: string, city: string) => {
        const meter = hosts.for(new URL(url).host)
        const pauseIfAsked = (error: unknown) =>
          Effect.flatMap(
            Meter.retryAfter(error),
            Option.match({ onNone: () => Effect.void, onSome: (time) => Meter.pause(meter, time) })
          )
        return client.get(`${url}/${encodeURIComponent(city)}`).pipe(
          // A request ends when its body has been read: until then it holds its permit.
          Effect.flatMap(HttpClientResponse.schemaBodyJson(Forecast)),
          // Before the permit is released, so that no other request comes between.
          Effect.tapError(pauseIfAsked),
          Meter.metered(meter),
          Effect.retry({ while: isTooMany, schedule: Schedule.recurs(3) }),
          Effect.map(({ celsius }) => celsius)
        )
      }

      const mean = Effect.fn("Forecasts.mean")(function* (city: string) {
        const forecasts = yield* runAll(urls, (url) => ask(url, city))
        return forecasts.reduce((sum, celsius) => sum + celsius, 0) / forecasts.length
      })
      return { mean }
    })
  )
}
