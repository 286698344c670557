/** The function of the protocol as a store within one process: for tests under virtual time, and without a server. */
import { advance } from "../protocol/advance.ts"
import type { Answer } from "../protocol/message.ts"
import type { State } from "../protocol/state.ts"
import type { MeterStore } from "./MeterStore.ts"

/**
 * Makes a store that keeps its state in memory.
 *
 * **When to use**
 *
 * In tests, and to try out meters that several processes share without a server. It shares nothing between processes.
 *
 * @param now The time in whole microseconds. Default: `Date.now`, which fake timers replace.
 */
export const memoryStore = (now: () => number = () => Date.now() * 1_000): MeterStore => {
  const states = new Map<string, State>()
  const listeners = new Map<string, Set<() => void>>()
  const keyOf = (name: string, session: string): string => JSON.stringify([name, session])
  const wake = (key: string): void => {
    for (const listener of listeners.get(key) ?? []) listener()
  }
  return {
    exchange: (name, message) =>
      new Promise<Answer>((resolve) => {
        const { answer, state, wakes } = advance(states.get(name), message, now())
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
  }
}
