/**
 * The async context (`AsyncLocalStorage`) of whoever waits: what ends a wait is often the end of somebody else's task,
 * in somebody else's context. Effect keeps the context of a fiber that waits; this does it for the starts of tasks.
 */

/** The part of Node's `AsyncResource` that is needed; Deno and Bun have it as well. */
export interface AsyncContext {
  readonly runInAsyncScope: <T>(f: (this: T) => void, self?: T) => void
  readonly emitDestroy: () => void
}

type AsyncResource = new (type: string, options: { readonly requireManualDestroy: boolean }) => AsyncContext

const none: AsyncContext = { runInAsyncScope: (f, self) => f.call(self!), emitDestroy: () => {} }

/**
 * Captures the present context, to be ended by `emitDestroy`. Where the host has no such thing, neither does anything.
 *
 * `AsyncLocalStorage.snapshot()` would do the same, but has the garbage collector watch each snapshot: a hundred times
 * as slow.
 */
export const captureContext: () => AsyncContext = (() => {
  // Asked of the process, not imported: this has to load in browsers as well.
  const { process } = globalThis as {
    process?: { getBuiltinModule?: (id: string) => { readonly AsyncResource?: AsyncResource } | undefined }
  }
  const Resource = process?.getBuiltinModule?.("node:async_hooks")?.AsyncResource
  const options = { requireManualDestroy: true }
  return () => (Resource === undefined ? none : new Resource("fibermeter", options))
})()
