/**
 * The async context (`AsyncLocalStorage`) of whoever waits: what ends a wait is often the end of somebody else's task,
 * in somebody else's context. Effect keeps the context of a fiber that waits; this does it for the starts of tasks.
 */

type Restore = (f: () => void) => void

interface AsyncHooks {
  readonly AsyncLocalStorage: { readonly snapshot: () => Restore }
}

const plain: Restore = (f) => f()

/** Takes the present context; what it returns calls functions in it. Where the host has no such thing, just calls. */
export const asyncContext: () => Restore = (() => {
  // Asked of the process, not imported: this has to load in browsers as well.
  const { process } = globalThis as { process?: { getBuiltinModule?: (id: string) => AsyncHooks | undefined } }
  const hooks = process?.getBuiltinModule?.("node:async_hooks")
  return typeof hooks?.AsyncLocalStorage.snapshot === "function" ? hooks.AsyncLocalStorage.snapshot : () => plain
})()
