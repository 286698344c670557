/**
 * Listeners that wait until a limiter is idle.
 */
import type { Limiter } from "./limiter.ts"

/** Calls `f` as soon as the limiter is idle, possibly at once. Returns a function that cancels that. */
export const whenIdle = (limiter: Limiter, f: () => void): (() => void) => {
  const listener = { f }
  limiter.idleListeners ??= new Set()
  limiter.idleListeners.add(listener)
  notifyIdle(limiter)
  return () => limiter.idleListeners?.delete(listener)
}

/** To be called when the limiter may have become idle, and has listeners. */
export const notifyIdle = (limiter: Limiter): void => {
  if (!limiter.isIdle) return
  const listeners = limiter.idleListeners!
  limiter.idleListeners = undefined
  for (const { f } of listeners) f()
}
