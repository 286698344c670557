/** A store in memory from which processes can be cut off, and which can lose what it has. */
import { memoryStore } from "../../src/index.ts"
import type { Answer, Message, SharedStore, StoreOptions } from "../../src/index.ts"
import { readOptions } from "../../src/session/options.ts"
import { limitOf } from "../../src/session/sharedStore.ts"

/** What can go wrong between a process and the store. */
export interface Trouble {
  /** Messages are not received, and the client says so at once. */
  isCut: boolean
  /** Messages and answers get lost, and the client does not notice. */
  isSilent: boolean
  /** Messages wait in the client until `flush`. */
  isOffline: boolean
  /** Messages are received, and the answers wait until `flush`. */
  keepsAnswers: boolean
  flush: () => void
  /** Messages are received, and the answers get lost. */
  losesAnswers: boolean
  /** Messages of some sessions get lost. */
  isSilentFor: (session: string) => boolean
  /** What the store has is as it was, or nothing. */
  lose: () => void
  readonly messages: Array<Message>
}

/** A store whose sessions may be cut off from it. */
export const troubledStore = (options: StoreOptions): readonly [store: SharedStore, trouble: Trouble] => {
  const read = readOptions(options)
  let inner = memoryStore()
  const waiting: Array<() => void> = []
  const trouble: Trouble = {
    isCut: false,
    isSilent: false,
    isOffline: false,
    keepsAnswers: false,
    flush: () => {
      trouble.isOffline = false
      trouble.keepsAnswers = false
      for (const send of waiting.splice(0)) send()
    },
    losesAnswers: false,
    isSilentFor: () => false,
    lose: () => (inner = memoryStore()),
    messages: []
  }
  let sessions = 0
  const transport = {
    exchange: (name: string, message: Message, now?: number) => {
      trouble.messages.push(message)
      if (trouble.isCut) return Promise.reject(new Error("no connection"))
      if (trouble.isSilent || trouble.isSilentFor(message.session)) return new Promise<never>(() => {})
      if (trouble.isOffline) {
        const sent = Date.now()
        return new Promise<Answer>((resolve) => {
          waiting.push(() => resolve(inner.exchange(name, message, now! + (Date.now() - sent) * 1_000)))
        })
      }
      const answer = inner.exchange(name, message, now)
      if (trouble.keepsAnswers) return new Promise<Answer>((resolve) => waiting.push(() => resolve(answer)))
      return trouble.losesAnswers ? new Promise<never>(() => {}) : answer
    },
    onWake: (name: string, session: string, listener: () => void) => inner.onWake(name, session, listener)
  }
  const store: SharedStore = {
    ...transport,
    version: 1,
    limit: (name, limits) => limitOf(transport, name, limits, read, () => `s${++sessions}`)
  }
  return [store, trouble]
}
