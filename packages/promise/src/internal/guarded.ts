/**
 * Calls code of the caller that is no part of the call: what it throws is an uncaught exception. Elsewhere the host does that
 * by itself, but on Cloudflare Workers, listeners of a signal and subscribers of a channel throw at what has called them.
 */
export const guarded = (f: () => void): void => {
  try {
    f()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
