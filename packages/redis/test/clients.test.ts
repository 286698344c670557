/** The clients that a store takes, on a server. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createMeter } from "@fibermeter/promise"
import { Effect, Layer, Queue } from "effect"
import * as Redis from "effect/persistence/Redis"
import { Meter } from "fibermeter"
import { Redis as IoRedis } from "ioredis"
import { Redis as IoValkey } from "iovalkey"
import { createClient } from "redis"
import { afterEach, describe, expect, it, vi } from "vitest"
import { MemoryStore, RedisStore } from "../src/effect.ts"
import { keyOf, redisStore } from "../src/index.ts"
import type { StoreEvent } from "../src/index.ts"
import { message, none } from "./support/messages.ts"
import { describeWithServer } from "./support/server.ts"

describe("a client", () => {
  it.each([[undefined], [null], [7], [{}], [{ send: () => {} }], [{ duplicate: () => {} }], [{ call: () => {} }]])(
    "%s is none",
    (client) => {
      expect(() => redisStore(client as never)).toThrow(
        new TypeError(
          "the client must be one of node-redis, ioredis, iovalkey or valkey-glide, or an object { send, subscribe }"
        )
      )
    }
  )
})

afterEach(() => {
  vi.useRealTimers()
})

it("a client of one's own that throws is out of reach, and one that cannot subscribe is used without wake-ups", async () => {
  vi.useFakeTimers({ now: 0 })
  const client = {
    send: () => {
      throw new Error("no connection")
    },
    subscribe: () => {
      throw new Error("no subscription")
    }
  }
  const events: Array<StoreEvent> = []
  const store = redisStore(client, { outage: "fail", onEvent: (event) => events.push(event) })
  const meter = createMeter({ store, name: "api", maxAtOnce: 1 })
  const reasons: Array<unknown> = []
  void meter.run(() => 1).catch((reason: unknown) => reasons.push(reason))
  await vi.advanceTimersByTimeAsync(1_000)
  expect(reasons).toMatchObject([{ name: "StoreUnavailableError", cause: new Error("no connection") }])
  await meter.close()
  expect(events).toEqual([{ type: "outage", meter: "api", cause: new Error("no connection") }])
})

it("the script is loaded again if the reply to its first load is lost", async () => {
  vi.useFakeTimers({ now: 0 })
  const sent: Array<string> = []
  const client = {
    send: (words: ReadonlyArray<string>) => {
      sent.push(`${words[0]} ${Date.now()}`)
      return sent.length < 4 ? new Promise<never>(() => {}) : Promise.resolve("sha")
    },
    subscribe: () => () => {}
  }
  const meter = createMeter({ store: redisStore(client), name: "api", maxAtOnce: 1 })
  void meter.run(() => 1).catch(() => {})
  await vi.advanceTimersByTimeAsync(3_000)
  expect(sent.slice(0, 5)).toEqual(["INFO 0", "SCRIPT 0", "SCRIPT 1000", "SCRIPT 3000", "EVALSHA 3000"])
  await meter.close()
})

describe("a client of valkey-glide", () => {
  it("delivers messages while it is open, and its errors are passed on", async () => {
    const calls: Array<string> = []
    let readers: Array<{ read: (message: { channel: unknown }) => void; fail: (error: Error) => void }> = []
    const client = {
      customCommand: async (command: ReadonlyArray<string>): Promise<unknown> => {
        calls.push(command[0]!)
        if (command[0] !== "EVALSHA") return "sha"
        throw new Error(
          calls.length === 2 ? "An error was signalled by the server: - NoScriptError: none" : "no connection"
        )
      },
      subscribeLazy: async (channels: ReadonlyArray<string>) => calls.push(`subscribe ${channels.join()}`),
      unsubscribeLazy: async (channels: ReadonlyArray<string>) => {
        calls.push(`unsubscribe ${channels.join()}`)
        throw new Error("closed")
      },
      getPubSubMessage: () => new Promise<{ channel: unknown }>((read, fail) => void readers.push({ read, fail }))
    }
    const store = redisStore(client)
    const woken: Array<string> = []
    const listen = (session: string) => store.onWake("m", session, () => woken.push(session))
    const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
    const [a, b] = ["a", "b"].map(listen)
    // One reader, however many listeners.
    expect(readers).toHaveLength(1)
    readers[0]!.read({ channel: Buffer.from("fibermeter:{m}:b") })
    await turn()
    readers[1]!.read({ channel: "fibermeter:{m}:of-others" })
    await turn()
    expect(woken).toEqual(["b"])
    a!()
    b!()
    expect(calls).toEqual([
      "subscribe fibermeter:{m}:a",
      "subscribe fibermeter:{m}:b",
      "unsubscribe fibermeter:{m}:a",
      "unsubscribe fibermeter:{m}:b"
    ])
    readers[2]!.fail(new Error("the client is closed"))
    await turn()
    readers = []
    const c = listen("c")
    readers[0]!.read({ channel: "fibermeter:{m}:c" })
    await turn()
    expect(woken).toEqual(["b", "c"])
    c()
    c()
    expect(calls.filter((call) => call === "unsubscribe fibermeter:{m}:c")).toHaveLength(1)
    // A script that is missing is loaded again.
    calls.length = 0
    await expect(store.exchange("m", message(none))).rejects.toThrow("no connection")
    expect(calls).toEqual(["SCRIPT", "EVALSHA", "SCRIPT", "EVALSHA"])
  })
})

const settled = async (check: () => boolean): Promise<void> => {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 1))
}

describeWithServer("clients", "none", (server) => {
  const open = {
    "node-redis": async () => {
      const client = await createClient({ url: `redis://127.0.0.1:${server().port}` }).connect()
      return { client, close: () => client.close() }
    },
    ioredis: async () => {
      const client = new IoRedis(server().port, "127.0.0.1")
      return { client, close: async () => void (await client.quit()) }
    },
    iovalkey: async () => {
      const client = new IoValkey(server().port, "127.0.0.1")
      return { client, close: async () => void (await client.quit()) }
    },
    "valkey-glide": async () => {
      // It has a binary for each system, and fails on others.
      const { GlideClient, Logger } = await import("@valkey/valkey-glide")
      // It would log a missing script, which is expected here.
      Logger.setLoggerConfig("off")
      const client = await GlideClient.createClient({ addresses: [{ host: "127.0.0.1", port: server().port }] })
      return { client, close: async () => client.close() }
    }
  }

  it.each(Object.keys(open) as ReadonlyArray<keyof typeof open>)(
    "of %s: permits go from one process to another by a wake-up, and nothing is left after the end",
    async (kind) => {
      const { client, close } = await open[kind]()
      const connection = await server().connect()
      const channels = async (): Promise<number> => {
        const found = await connection.send(["PUBSUB", "CHANNELS", "fibermeter:*"])
        return (found as ReadonlyArray<unknown>).length
      }
      const events: Array<StoreEvent> = []
      const store = () => redisStore(client, { onEvent: (event) => events.push(event) })
      // Each with a store of its own, and so with a connection of its own for wake-ups.
      const [one, other] = [store(), store()].map((store) => createMeter({ store, name: kind, maxAtOnce: 1 }))
      try {
        let release = (): void => {}
        const first = one!.run(() => new Promise<void>((resolve) => (release = resolve)))
        await settled(() => one!.snapshot().running === 1)
        const second = other!.run(() => performance.now())
        await settled(() => other!.snapshot().waiting === 1)
        while ((await channels()) < 2) await new Promise((resolve) => setTimeout(resolve, 1))
        // By its own timer, it would visit after a third of the lease.
        await new Promise((resolve) => setTimeout(resolve, 50))
        const released = performance.now()
        release()
        await first
        expect((await second) - released).toBeLessThan(1_000)
        await Promise.all([one!.close(), other!.close()])
        while ((await channels()) > 0) await new Promise((resolve) => setTimeout(resolve, 1))
        expect(events).toEqual([])
      } finally {
        connection.close()
        await close()
      }
    }
  )

  it("unsubscribes meter by meter, while others listen", async () => {
    for (const kind of Object.keys(open) as ReadonlyArray<keyof typeof open>) {
      const { client, close } = await open[kind]()
      const connection = await server().connect()
      const names = async (): Promise<ReadonlyArray<string>> => {
        const found = (await connection.send(["PUBSUB", "CHANNELS", "fibermeter:*"])) as ReadonlyArray<string>
        return found.map((channel) => channel.replace(/:[^:]*$/, "")).toSorted()
      }
      const store = redisStore(client)
      const [a, b] = ["a", "b"].map((name) => createMeter({ store, name: `${kind}.${name}`, maxAtOnce: 1 }))
      try {
        await Promise.all([a!.run(() => 1), b!.run(() => 1)])
        while ((await names()).length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
        await a!.close()
        while ((await names()).length > 1) await new Promise((resolve) => setTimeout(resolve, 1))
        expect(await names()).toEqual([keyOf(`${kind}.b`)])
        await b!.close()
        while ((await names()).length > 0) await new Promise((resolve) => setTimeout(resolve, 1))
      } finally {
        connection.close()
        await close()
      }
    }
  })

  it("of node-redis and ioredis without a server: errors are theirs to report, and a meter waits", async () => {
    const events: Array<StoreEvent> = []
    const onEvent = (event: StoreEvent): void => void events.push(event)
    const nodeRedis = createClient({ url: "redis://127.0.0.1:1", disableOfflineQueue: true })
    const ioredis = new IoRedis(1, "127.0.0.1", { enableOfflineQueue: false, lazyConnect: true })
    ioredis.on("error", () => {})
    for (const client of [nodeRedis, ioredis]) {
      const meter = createMeter({
        store: redisStore(client, { onEvent }),
        name: "x",
        maxAtOnce: 1
      })
      const run = meter.run(() => 1)
      await settled(() => events.length > 0)
      expect(events.splice(0)).toEqual([{ type: "outage", meter: "x", cause: expect.any(Error) }])
      const closed = meter.close("over")
      await expect(run).rejects.toBe("over")
      await closed
    }
    ioredis.disconnect()
  })

  it("a server that may evict keys is reported, once", async () => {
    const connection = await server().connect()
    await connection.send(["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
    try {
      const events: Array<StoreEvent> = []
      const client = { send: connection.send, subscribe: () => () => {} }
      const store = redisStore(client, { onEvent: (event) => events.push(event) })
      const meters = ["a", "b"].map((name) => createMeter({ store, name, maxPerSecond: 10 }))
      await Promise.all(meters.map((meter) => meter.run(() => 1)))
      await settled(() => events.length > 0)
      expect(events).toEqual([{ type: "eviction", meter: "a", policy: "allkeys-lru" }])
      await Promise.all(meters.map((meter) => meter.close()))
    } finally {
      await connection.send(["CONFIG", "SET", "maxmemory-policy", "noeviction"])
      connection.close()
    }
  })

  it("the rights in the documentation are enough, and an event says nothing of the connection", async () => {
    const text = readFileSync(join(import.meta.dirname, "../docs/running-on-redis.md"), "utf8")
    const [command] = /^ACL SETUSER .*$/m.exec(text)!
    const admin = await server().connect()
    const connection = await server().connect()
    try {
      await admin.send(command.split(" "))
      await connection.send(["AUTH", "meters", "password"])
      const subscribed: Array<Promise<unknown>> = []
      const subscriber = await server().connect()
      subscriber.onPush = () => {}
      await subscriber.send(["AUTH", "meters", "password"])
      const events: Array<StoreEvent> = []
      const store = redisStore(
        {
          send: connection.send,
          subscribe: (channel) => {
            subscribed.push(subscriber.send(["SUBSCRIBE", channel]))
            return () => {}
          }
        },
        { onEvent: (event) => events.push(event) }
      )
      const limits = { maxAtOnce: 1, maxPerSecond: 100, windows: { w: { limit: 5, per: 100 } } }
      const [one, other] = [1, 2].map(() => createMeter({ store, name: "rights", ...limits }))
      expect(await Promise.all([one!.run(() => 1), other!.run(() => 2)])).toEqual([1, 2])
      await Promise.all(subscribed)
      await Promise.all([one!.close(), other!.close()])
      expect(events).toEqual([])
      subscriber.close()
    } finally {
      await admin.send(["ACL", "DELUSER", "meters"])
      admin.close()
      connection.close()
    }
  })

  it("Effect's own service: permits go from one meter to another by a wake-up, and the scope gives all back", async () => {
    const service = Layer.effect(
      Redis.Redis,
      Effect.gen(function* () {
        const connection = yield* Effect.promise(() => server().connect())
        const subscriber = yield* Effect.promise(() => server().connect())
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            connection.close()
            subscriber.close()
          })
        )
        const listeners = new Map<string, (message: Redis.RedisMessage) => void>()
        subscriber.onPush = ([, channel, message]) =>
          listeners.get(String(channel))?.({ channel: String(channel), message: String(message) })
        const send = <A>(command: string, ...args: ReadonlyArray<string>) =>
          Effect.tryPromise({
            try: () => connection.send([command, ...args]) as Promise<A>,
            catch: (cause) => new Redis.RedisError({ cause })
          })
        return yield* Redis.make({
          send,
          subscribe: (channel, onMessage) => {
            listeners.set(channel, onMessage)
            return Effect.as(
              Effect.promise(() => subscriber.send(["SUBSCRIBE", channel])),
              Effect.void
            )
          },
          connect: Effect.die("not used")
        })
      })
    )
    const program = Effect.gen(function* () {
      const queue = yield* Queue.unbounded<string>()
      const one = yield* Meter.distributed("effect", { maxAtOnce: 1 })
      const other = yield* Meter.distributed("effect", { maxAtOnce: 1 })
      const redis = yield* Redis.Redis
      yield* redis.send("SCRIPT", "FLUSH")
      const task = (name: string) => Effect.andThen(Queue.offer(queue, name), Effect.sleep("20 millis"))
      yield* Effect.all([Meter.metered(task("a"), one), Meter.metered(task("b"), other)], { concurrency: 2 })
      yield* redis.send("SCRIPT", "FLUSH")
      yield* Meter.metered(task("c"), one)
      return yield* Queue.takeAll(queue)
    })
    const run = program.pipe(Effect.scoped, Effect.provide(RedisStore.layer.pipe(Layer.provideMerge(service))))
    expect(await Effect.runPromise(run)).toEqual(["a", "b", "c"])
  })

  it("a client of the program's own is a layer, too", async () => {
    const connection = await server().connect()
    try {
      const client = { send: connection.send, subscribe: () => () => {} }
      const layers = [RedisStore.layerClient(client), MemoryStore.layer]
      for (const layer of layers) {
        const run = Effect.flatMap(Meter.distributed("own", { maxPerSecond: 100 }), (meter) =>
          Meter.metered(Effect.succeed("ok"), meter)
        )
        expect(await Effect.runPromise(run.pipe(Effect.scoped, Effect.provide(layer)))).toBe("ok")
      }
    } finally {
      connection.close()
    }
  })
})
