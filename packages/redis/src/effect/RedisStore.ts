/**
 * Meters on Redis or Valkey, over Effect's `Redis` service or over a client of the program's own.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redis from "effect/persistence/Redis"
import * as Schedule from "effect/Schedule"
import { MeterStore } from "fibermeter"
import type { StoreOptions } from "../session/options.ts"
import type { RedisClient, RedisConnection } from "../store/clients.ts"
import { redisStore } from "../store/redisStore.ts"

/** The service as a connection, for programs that run in that context. */
const connectionOf = (
  redis: Redis.Redis["Service"],
  run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
): RedisConnection => ({
  send: ([command, ...args]) =>
    Effect.runPromise(
      Fiber.join(
        // The store knows the errors of servers, and not those of the service around them.
        run(Effect.mapError(redis.send(command!, ...args), ({ cause }) => cause))
      )
    ),
  subscribe: (channel, listener) => {
    const listen = Effect.scoped(
      Effect.flatMap(redis.subscribe(channel), (messages) =>
        Effect.forever(Effect.andThen(Queue.take(messages), Effect.sync(listener)))
      )
    )
    // Wake-ups may be lost: sessions make progress without them.
    const fiber = run(Effect.retry(listen, Schedule.spaced("1 second")))
    return () => fiber.interruptUnsafe()
  }
})

/** A store on the `Redis` service of Effect, with options. Dies with a `RangeError` or `TypeError` if one is invalid. */
export const layerWith = (options: StoreOptions): Layer.Layer<MeterStore, never, Redis.Redis> =>
  Layer.effect(
    MeterStore,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const run = Effect.runForkWith(yield* Effect.context<never>())
      return redisStore(connectionOf(redis, run), options)
    })
  )

/** A store on the `Redis` service of Effect, such as `NodeRedis.layer` of `@effect/platform-node`. */
export const layer: Layer.Layer<MeterStore, never, Redis.Redis> = layerWith({})

/**
 * A store on a client of node-redis, `ioredis`, `iovalkey` or valkey-glide, which the program closes. Dies with a `RangeError` or
 * `TypeError` if an option is invalid.
 */
export const layerClient = (client: RedisClient, options: StoreOptions = {}): Layer.Layer<MeterStore> =>
  Layer.sync(MeterStore, () => redisStore(client, options))
