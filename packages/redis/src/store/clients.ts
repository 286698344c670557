/**
 * Adapts a client of node-redis, ioredis, iovalkey or valkey-glide to what a store needs. Clients are recognised by their shape,
 * and nothing of their packages is imported.
 *
 * Wake-ups use a separate connection, since a connection that has subscribed can do nothing else: a duplicate of the client,
 * opened for the first listener and closed after the last. It does not keep the process alive. If it cannot be opened or is lost,
 * the client reconnects it by its own rules; meanwhile sessions make progress by their timers.
 *
 * A client of valkey-glide speaks RESP3, which carries commands and messages over one connection. It delivers each message to
 * one reader, which is the store.
 */

export interface RedisConnection {
  /** Sends a command, given as its words, and resolves to the reply; rejects with an error reply. */
  readonly send: (command: ReadonlyArray<string>) => Promise<unknown>
  /** Subscribes to a channel, and returns a function that unsubscribes. */
  readonly subscribe: (channel: string, listener: () => void) => () => void
}

/** A client of the package `redis` (node-redis), connected. */
export interface NodeRedisClient {
  readonly sendCommand: (command: Array<string>) => Promise<unknown>
  readonly duplicate: () => NodeRedisSubscriber
}

interface NodeRedisSubscriber {
  readonly connect: () => Promise<unknown>
  readonly subscribe: (channel: string, listener: () => void) => Promise<unknown>
  readonly unsubscribe: (channel: string) => Promise<unknown>
  readonly on: (event: "error", listener: (error: unknown) => void) => unknown
  readonly unref: () => void
  readonly destroy: () => void
}

/** A client of `ioredis` or `iovalkey`. */
export interface IoRedisClient {
  readonly call: (command: string, args: Array<string>) => Promise<unknown>
  readonly duplicate: (options: { readonly autoResubscribe: boolean }) => IoRedisSubscriber
}

interface IoRedisSubscriber {
  readonly subscribe: (...channels: Array<string>) => Promise<unknown>
  readonly unsubscribe: (channel: string) => Promise<unknown>
  readonly on: (event: any, listener: (...args: any) => void) => unknown
  readonly disconnect: () => void
  readonly stream?: { readonly unref?: () => void } | undefined
}

/** A client of `@valkey/valkey-glide` without a `callback` for messages. The store reads all messages that it receives. */
export interface GlideClient {
  readonly customCommand: (command: Array<string>) => Promise<unknown>
  readonly subscribeLazy: (channels: Array<string>) => Promise<unknown>
  readonly unsubscribeLazy: (channels: Array<string>) => Promise<unknown>
  readonly getPubSubMessage: () => Promise<{ readonly channel: unknown }>
}

export type RedisClient = NodeRedisClient | IoRedisClient | GlideClient | RedisConnection

/** The connection for wake-ups. */
interface Subscriber {
  readonly subscribe: (channel: string) => Promise<unknown>
  readonly unsubscribe: (channel: string) => Promise<unknown>
  readonly close: () => void
}

/** The client reports failures. They only delay wake-ups. */
const ignore = (promise: Promise<unknown>): void => void promise.catch(() => {})

/** Wake-ups over one connection, which is open only while there are listeners. */
const sharedSubscriber = (open: (onMessage: (channel: string) => void) => Subscriber): RedisConnection["subscribe"] => {
  const listeners = new Map<string, () => void>()
  let subscriber: Subscriber | undefined
  return (channel, listener) => {
    subscriber ??= open((woken) => listeners.get(woken)?.())
    listeners.set(channel, listener)
    ignore(subscriber.subscribe(channel))
    return () => {
      if (!listeners.delete(channel)) return
      if (listeners.size > 0) {
        ignore(subscriber!.unsubscribe(channel))
        return
      }
      subscriber!.close()
      subscriber = undefined
    }
  }
}

const ofNodeRedis = (client: NodeRedisClient): RedisConnection => ({
  send: (command) => client.sendCommand([...command]),
  subscribe: sharedSubscriber((onMessage) => {
    const own = client.duplicate()
    own.on("error", () => {})
    own.unref()
    const connected = own.connect()
    return {
      subscribe: (channel) => connected.then(() => own.subscribe(channel, () => onMessage(channel))),
      unsubscribe: (channel) => connected.then(() => own.unsubscribe(channel)),
      close: () => own.destroy()
    }
  })
})

const ofIoRedis = (client: IoRedisClient): RedisConnection => ({
  send: ([name, ...args]) => client.call(name!, args),
  subscribe: sharedSubscriber((onMessage) => {
    // ioredis's own resubscription leaves a rejection unhandled if the connection is lost meanwhile, which ends the process.
    const own = client.duplicate({ autoResubscribe: false })
    const channels = new Set<string>()
    own.on("error", () => {})
    own.on("connect", () => own.stream?.unref?.())
    // There is at least one channel while the connection is open.
    own.on("ready", () => ignore(own.subscribe(...channels)))
    own.on("message", onMessage)
    return {
      subscribe: (channel) => {
        channels.add(channel)
        return own.subscribe(channel)
      },
      unsubscribe: (channel) => {
        channels.delete(channel)
        return own.unsubscribe(channel)
      },
      close: () => own.disconnect()
    }
  })
})

interface GlideReader {
  readonly listeners: Map<string, () => void>
  isReading: boolean
}

/** A message goes to only one of several readers, so all stores of a client share one. */
const glideReaders = new WeakMap<GlideClient, GlideReader>()

const glideReaderOf = (client: GlideClient): GlideReader => {
  const reader = glideReaders.get(client) ?? { listeners: new Map(), isReading: false }
  glideReaders.set(client, reader)
  return reader
}

const readGlide = async (client: GlideClient, reader: GlideReader): Promise<void> => {
  if (reader.isReading) return
  reader.isReading = true
  try {
    for (;;) reader.listeners.get(String((await client.getPubSubMessage()).channel))?.()
  } catch {
    // The client is closed, or has a callback of its own.
    reader.isReading = false
  }
}

const ofGlide = (client: GlideClient): RedisConnection => ({
  send: (command) =>
    client.customCommand([...command]).catch((error: unknown) => {
      // valkey-glide has its own name for the server's NOSCRIPT.
      if (error instanceof Error && error.message.includes("NoScriptError")) {
        throw new Error("NOSCRIPT", { cause: error })
      }
      throw error
    }),
  subscribe: (channel, listener) => {
    const reader = glideReaderOf(client)
    reader.listeners.set(channel, listener)
    void readGlide(client, reader)
    ignore(client.subscribeLazy([channel]))
    return () => {
      if (reader.listeners.delete(channel)) ignore(client.unsubscribeLazy([channel]))
    }
  }
})

/** Throws a `TypeError` for anything else. */
export const connectionOf = (client: RedisClient): RedisConnection => {
  const has = (name: string): boolean =>
    typeof client === "object" && client !== null && typeof (client as { [name: string]: any })[name] === "function"
  if (has("sendCommand") && has("duplicate") && has("destroy")) return ofNodeRedis(client as NodeRedisClient)
  if (has("call") && has("duplicate")) return ofIoRedis(client as IoRedisClient)
  if (has("customCommand") && has("subscribeLazy")) return ofGlide(client as GlideClient)
  if (has("send") && has("subscribe")) return client as RedisConnection
  throw new TypeError(
    "the client must be one of node-redis, ioredis, iovalkey or valkey-glide, or an object { send, subscribe }"
  )
}
