/** Meters on Redis or Valkey, through any client that can send a command. */
import { decodeAnswer, encodeMessage } from "../protocol/message.ts"
import type { MeterStore } from "./MeterStore.ts"
import { script } from "./script.ts"

export interface RedisConnection {
  /** Sends a command, given as its words, and resolves to the reply; rejects with an error reply. */
  readonly send: (command: ReadonlyArray<string>) => Promise<unknown>
  /** Subscribes to a channel, and returns a function that unsubscribes. */
  readonly subscribe: (channel: string, listener: () => void) => () => void
}

/** The key of a meter. Any string is a name: what could end the hash tag, or looks like an escape, is escaped. */
export const keyOf = (name: string): string => {
  const escaped = name.replaceAll(/[^\w.:-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  return `fibermeter:{${escaped}}`
}

/** Makes a store on Redis 6.2 or later, or Valkey. */
export const redisStore = ({ send, subscribe }: RedisConnection): MeterStore => {
  let sha: Promise<string> | undefined
  const load = (): Promise<string> => send(["SCRIPT", "LOAD", script]).then(String)
  const run = async (name: string, text: string): Promise<unknown> => {
    const loading = (sha ??= load())
    try {
      return await send(["EVALSHA", await loading, "1", keyOf(name), text])
    } catch (error) {
      // What failed to load is loaded anew, and so is what the server has forgotten.
      if (sha === loading) sha = undefined
      throw error
    }
  }
  return {
    exchange: async (name, message) => {
      const text = encodeMessage(message)
      const reply = await run(name, text).catch((error: unknown) => {
        // The script has not run, so it may.
        if (error instanceof Error && error.message.startsWith("NOSCRIPT")) return run(name, text)
        throw error
      })
      return decodeAnswer(String(reply))
    },
    onWake: (name, session, listener) => subscribe(`${keyOf(name)}:${session}`, listener)
  }
}
