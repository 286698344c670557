/**
 * The async context (`AsyncLocalStorage`) of a waiter. What ends a wait is often the end of another caller's task, in the
 * context of that caller. Effect preserves the context of a fiber that waits; this does it for the starts of tasks.
 */

/** The part of Node's `AsyncResource` that is needed; Deno and Bun have it as well. */
export interface AsyncContext {
  readonly runInAsyncScope: <T>(f: (given: T) => void, self?: undefined, given?: T) => void
}

export interface AsyncHooks {
  readonly AsyncResource: new (type: string, options: typeof defaults) => AsyncContext
  readonly AsyncLocalStorage: new () => {
    readonly run: <T>(store: number, f: () => T) => T
    readonly disable: () => void
  }
}

/**
 * The defaults of `AsyncResource`. Node reads its own defaults from an object without a prototype, which V8 keeps as a hash
 * table: that takes as long as the rest of the constructor.
 */
const defaults = { triggerAsyncId: undefined, requireManualDestroy: false } as const

const none: AsyncContext = { runInAsyncScope: (f, _, given) => f(given!) }

let asked: { readonly hooks: AsyncHooks | undefined } | undefined

/** The part of Node that knows contexts; `undefined` on a host without it. Loaded at the first wait: most programs never wait. */
export const asyncHooks = (): AsyncHooks | undefined => {
  if (asked !== undefined) return asked.hooks
  // Read from the process, not imported: this module has to load in browsers as well.
  const { process } = globalThis as { process?: { getBuiltinModule?: (id: string) => AsyncHooks | undefined } }
  asked = { hooks: process?.getBuiltinModule?.("node:async_hooks") }
  return asked.hooks
}

/** Captures the current context, by an `AsyncResource`: `AsyncLocalStorage.snapshot()` takes five times as long. */
export const captureContext = (): AsyncContext => {
  const hooks = asyncHooks()
  return hooks === undefined ? none : new hooks.AsyncResource("fibermeter", defaults)
}
