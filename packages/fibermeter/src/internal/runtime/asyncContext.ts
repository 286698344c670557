/**
 * The async context (`AsyncLocalStorage`) of whoever waits: what ends a wait is often the end of somebody else's task,
 * in somebody else's context. Effect keeps the context of a fiber that waits; this does it for the starts of tasks.
 */

/** The part of Node's `AsyncResource` that is needed; Deno and Bun have it as well. */
export interface AsyncContext {
  readonly runInAsyncScope: <T>(f: (given: T) => void, self?: undefined, given?: T) => void
}

interface AsyncHooks {
  readonly AsyncResource: new (type: string) => AsyncContext
  readonly AsyncLocalStorage: new () => {
    readonly run: <T>(store: number, f: () => T) => T
    readonly disable: () => void
  }
}

const none: AsyncContext = { runInAsyncScope: (f, _, given) => f(given!) }

/**
 * Reads off a resource the whole context that it was made in, where resources have that. Which of their properties it is
 * has no public name, and is found by trying. Node has it from version 24 on; before, a resource has the value of each
 * storage by itself, which here is no object.
 */
const findContextOf = (
  { AsyncLocalStorage }: AsyncHooks,
  capture: () => AsyncContext
): ((resource: AsyncContext) => unknown) | undefined => {
  const keys = Object.getOwnPropertySymbols(capture())
  // A host that has none, as workerd, need not have all that is done next either.
  if (keys.length === 0) return undefined
  const storage = new AsyncLocalStorage()
  const [one, same] = storage.run(1, () => [capture(), capture()] as const)
  const other = storage.run(2, capture)
  storage.disable()
  return keys
    .map((key) => (resource: object) => (resource as Readonly<Record<symbol, unknown>>)[key])
    .find((contextOf) => {
      const context = contextOf(one)
      return typeof context === "object" && context === contextOf(same) && context !== contextOf(other)
    })
}

/** How contexts are captured on this host. Where it has no such thing, nothing is done. */
const findCapture = (): (() => AsyncContext) => {
  // Asked of the process, not imported: this has to load in browsers as well.
  const { process } = globalThis as { process?: { getBuiltinModule?: (id: string) => AsyncHooks | undefined } }
  const hooks = process?.getBuiltinModule?.("node:async_hooks")
  if (hooks === undefined) return () => none
  const capture = (): AsyncContext => new hooks.AsyncResource("fibermeter")
  const contextOf = findContextOf(hooks, capture)
  if (contextOf === undefined) return capture
  // Kept until the jobs that are queued by now are over, since a context can hold much. A `WeakRef` would need no such
  // end, but to make one, or only to look at it, takes longer than all the rest of this.
  let last: AsyncContext | undefined
  const settled = Promise.resolve()
  const forget = (): void => {
    last = undefined
  }
  return () => {
    const captured = capture()
    if (last !== undefined && contextOf(last) === contextOf(captured)) return last
    if (last === undefined) void settled.then(forget)
    last = captured
    return captured
  }
}

let captureHere: (() => AsyncContext) | undefined

/**
 * Captures the present context, by an `AsyncResource`: `AsyncLocalStorage.snapshot()` takes five times as long.
 *
 * Waiters that are enqueued together have the same context, most of them. They share what was captured where it can be
 * told to be the same. That takes a quarter off the CPU time of 100,000 `run`s that wait (benchmark `overhead`, the line
 * against a bare queue) and 80 bytes off each. Where it cannot be told, each has its own.
 *
 * The host is asked at the first wait: programs that never wait need not load `async_hooks`.
 */
export const captureContext = (): AsyncContext => (captureHere ??= findCapture())()
