/**
 * One capture of an async context for many waiters. Most waiters that are enqueued together have the same context. Sharing a
 * capture saves a quarter of the CPU time of 100,000 `run`s that wait (benchmark `overhead`, the line against a bare
 * queue) and 80 bytes each.
 */
import { asyncHooks, captureContext } from "./asyncContext.ts"
import type { AsyncContext, AsyncHooks } from "./asyncContext.ts"

/**
 * Finds the property of a resource that has the context in which it was made, if there is one. The property has no public
 * name, so it is found by trying. Node has it from version 24 on. Before, a resource has the value of each storage by itself,
 * which is no object here.
 */
const findContextOf = ({ AsyncLocalStorage }: AsyncHooks): ((resource: AsyncContext) => unknown) | undefined => {
  const keys = Object.getOwnPropertySymbols(captureContext())
  // A host without any, such as workerd, may lack what follows, too.
  if (keys.length === 0) return undefined
  const storage = new AsyncLocalStorage()
  const [one, same] = storage.run(1, () => [captureContext(), captureContext()] as const)
  const other = storage.run(2, captureContext)
  storage.disable()
  return keys
    .map((key) => (resource: object) => (resource as Readonly<Record<symbol, unknown>>)[key])
    .find((contextOf) => {
      const context = contextOf(one)
      return typeof context === "object" && context === contextOf(same) && context !== contextOf(other)
    })
}

const findCapture = (): (() => AsyncContext) => {
  const hooks = asyncHooks()
  const contextOf = hooks && findContextOf(hooks)
  if (contextOf === undefined) return captureContext
  // Kept only until the microtasks queued so far have run, since a context can hold much memory. A `WeakRef` would not need
  // this, but creating or reading one takes longer than everything else here.
  let last: AsyncContext | undefined
  let lastContext: unknown
  const settled = Promise.resolve()
  const forget = (): void => {
    last = undefined
    lastContext = undefined
  }
  return () => {
    const captured = captureContext()
    const context = contextOf(captured)
    if (last !== undefined && lastContext === context) return last
    if (last === undefined) void settled.then(forget)
    last = captured
    lastContext = context
    return captured
  }
}

let captureHere: (() => AsyncContext) | undefined

/** Like `captureContext`, but reuses the capture of another waiter if both certainly have the same context. */
export const captureShared = (): AsyncContext => (captureHere ??= findCapture())()
