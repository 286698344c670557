/** Meters on Redis or Valkey, through any client that can send a command. */
import { decodeAnswer, encodeMessage } from "../protocol/message.ts"
import type { StoreOptions } from "../session/options.ts"
import { sharedStore } from "../session/sharedStore.ts"
import type { SharedStore } from "../session/sharedStore.ts"
import { connectionOf } from "./clients.ts"
import type { RedisClient } from "./clients.ts"
import { script } from "./script.ts"

/** The key of a meter. Any string is a name: what could end the hash tag, or looks like an escape, is escaped. */
export const keyOf = (name: string): string => {
  const escaped = name.replaceAll(/[^\w.:-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  return `fibermeter:{${escaped}}`
}

/** After so many milliseconds, a reply to `SCRIPT LOAD` is not waited for: no longer than a session waits for an answer. */
const loadPatience = 900

/**
 * Makes a store on Redis 6.2 or later, or Valkey, for the option `store` of `createMeter`.
 *
 * `client` is a client of node-redis (`redis`), `ioredis`, `iovalkey` or `@valkey/valkey-glide`, or an object that sends commands.
 * The store opens one more connection for wake-ups with `client.duplicate()`; on a client of valkey-glide, it reads all
 * messages instead. Throws a `TypeError` for any other client, and a `RangeError` or `TypeError` if an option is invalid.
 */
export const redisStore = (client: RedisClient, options: StoreOptions = {}): SharedStore => {
  const { send: unsafeSend, subscribe } = connectionOf(client)
  // A client of the program's own may throw.
  const send = async (command: ReadonlyArray<string>): Promise<unknown> => unsafeSend(command)
  let sha: Promise<string> | undefined
  const load = (): Promise<string> => send(["SCRIPT", "LOAD", script]).then(String)
  let loadedAt = 0
  let isLoading = false
  const run = async (name: string, text: string): Promise<unknown> => {
    // A reply may be lost: the next attempt loads the script anew.
    if (isLoading && performance.now() - loadedAt >= loadPatience) sha = undefined
    if (sha === undefined) {
      isLoading = true
      loadedAt = performance.now()
      sha = load().finally(() => (isLoading = false))
    }
    const loading = sha
    try {
      return await send(["EVALSHA", await loading, "1", keyOf(name), text])
    } catch (error) {
      // What failed to load is loaded anew, and so is what the server has forgotten.
      if (sha === loading) sha = undefined
      throw error
    }
  }
  const store = sharedStore(
    {
      exchange: async (name, message) => {
        const text = encodeMessage(message)
        const reply = await run(name, text).catch((error: unknown) => {
          // The script has not run, so it may.
          if (error instanceof Error && error.message.startsWith("NOSCRIPT")) return run(name, text)
          throw error
        })
        return decodeAnswer(String(reply))
      },
      onWake: (name, session, listener) => {
        try {
          return subscribe(`${keyOf(name)}:${session}`, listener)
        } catch {
          // Wake-ups only save time.
          return () => {}
        }
      }
    },
    options
  )
  let isChecked = false
  return {
    ...store,
    limit: (name, limits) => {
      const limit = store.limit(name, limits)
      if (!isChecked) {
        isChecked = true
        void checkEviction(send, name, options.onEvent)
      }
      return limit
    }
  }
}

/** A server that may evict keys may forget what has started: reported, since nothing else shows it before it happens. */
const checkEviction = async (
  send: (command: ReadonlyArray<string>) => Promise<unknown>,
  meter: string,
  onEvent: StoreOptions["onEvent"]
): Promise<void> => {
  // A user whose rights do not include this learns it from the documentation.
  const info = await send(["INFO", "memory"]).catch(() => "")
  const policy = /maxmemory_policy:(\S+)/.exec(String(info))?.[1]
  if (policy !== undefined && policy !== "noeviction") onEvent?.({ type: "eviction", meter, policy })
}
