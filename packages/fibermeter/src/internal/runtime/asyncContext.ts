/**
 * The async context (`AsyncLocalStorage`) of a waiter. What ends a wait is often the end of another caller's task, in the
 * context of that caller. Effect preserves the context of a fiber that waits; this does it for the starts of tasks.
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
 * Finds the property of a resource that has the context in which it was made, if there is one. The property has no public
 * name, so it is found by trying. Node has it from version 24 on. Before, a resource has the value of each storage by itself,
 * which is no object here.
 */
const findContextOf = (
  { AsyncLocalStorage }: AsyncHooks,
  capture: () => AsyncContext
): ((resource: AsyncContext) => unknown) | undefined => {
  const keys = Object.getOwnPropertySymbols(capture())
  // A host without any, such as workerd, may lack what follows, too.
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

/** How contexts are captured on this host. On a host without them, nothing is done. */
const findCapture = (): (() => AsyncContext) => {
  // Read from the process, not imported: this module has to load in browsers as well.
  const { process } = globalThis as { process?: { getBuiltinModule?: (id: string) => AsyncHooks | undefined } }
  const hooks = process?.getBuiltinModule?.("node:async_hooks")
  if (hooks === undefined) return () => none
  const capture = (): AsyncContext => new hooks.AsyncResource("fibermeter")
  const contextOf = findContextOf(hooks, capture)
  if (contextOf === undefined) return capture
  // Kept only until the microtasks that are queued by now have run, since a context can hold much. A `WeakRef` would need no
  // such end, but creating or reading one takes longer than all the rest.
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
 * Captures the current context, by an `AsyncResource`: `AsyncLocalStorage.snapshot()` takes five times as long.
 *
 * Most waiters that are enqueued together have the same context. They share one capture if it can be seen to be the same,
 * which saves a quarter of the CPU time of 100,000 `run`s that wait (benchmark `overhead`, the line against a bare queue) and
 * 80 bytes each. Otherwise each has its own.
 *
 * The host is asked at the first wait: programs that never wait do not load `async_hooks`.
 */
export const captureContext = (): AsyncContext => (captureHere ??= findCapture())()
