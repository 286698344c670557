/** The function of the protocol as a store within one process: for tests under virtual time, and without a server. */
import { advance } from "../protocol/advance.ts"
import type { Answer } from "../protocol/message.ts"
import type { State } from "../protocol/state.ts"
import type { StoreOptions } from "../session/options.ts"
import { sharedStore } from "../session/sharedStore.ts"
import type { SharedStore } from "../session/sharedStore.ts"

export interface MemoryStoreOptions extends StoreOptions {
  /** The time in whole microseconds. Default: the clock of the meters, which follows fake timers. */
  readonly now?: (() => number) | undefined
}

/**
 * Makes a store that keeps its state in memory.
 *
 * **When to use**
 *
 * In tests, and to try out meters that several processes share without a server. It shares nothing between processes.
 *
 * @example
 * ```ts
 * import { createMeter } from "@fibermeter/promise"
 * import { memoryStore } from "@fibermeter/redis"
 *
 * const store = memoryStore()
 * // As in two processes:
 * const one = createMeter({ store, name: "github", maxAtOnce: 1 })
 * const other = createMeter({ store, name: "github", maxAtOnce: 1 })
 *
 * let running = 0
 * const task = async () => {
 *   running++
 *   await new Promise((resolve) => setTimeout(resolve, 5))
 *   return running--
 * }
 * await Promise.all([one.run(task), other.run(task)]) // => [1, 1]
 * ```
 */
export const memoryStore = ({ now, ...options }: MemoryStoreOptions = {}): SharedStore => {
  const states = new Map<string, State>()
  const listeners = new Map<string, Set<() => void>>()
  const keyOf = (name: string, session: string): string => JSON.stringify([name, session])
  const wake = (key: string): void => {
    for (const listener of listeners.get(key) ?? []) listener()
  }
  return sharedStore(
    {
      exchange: (name, message, local = Date.now() * 1_000) =>
        new Promise<Answer>((resolve) => {
          const time = now === undefined ? Math.floor(local) : now()
          const { answer, state, wakes } = advance(states.get(name), message, time)
          if (state !== undefined) states.set(name, state)
          for (const session of wakes) wake(keyOf(name, session))
          resolve(answer)
        }),
      onWake: (name, session, listener) => {
        const key = keyOf(name, session)
        const known = listeners.get(key) ?? new Set()
        listeners.set(key, known)
        // One that is registered twice is called twice.
        const own = (): void => listener()
        known.add(own)
        return () => {
          known.delete(own)
          if (known.size === 0 && listeners.get(key) === known) listeners.delete(key)
        }
      }
    },
    options
  )
}
