/**
 * What the tests use of Node and a host may lack, from the host where it has it and made from the web's own parts where
 * it has not. The bundle gives this to the tests alone (see `bundle.ts`): the package and what it depends on see the
 * host as it is.
 *
 * That all of it really notices what it is there to notice is checked in every run, by `canaries.ts`.
 */
import type { Part } from "./leftOut.ts"

type Hook = (reason: unknown) => void

/** Cloudflare's workerd: with `nodejs_compat` it has much of Node, but not all of it behaves as Node's. */
const isWorkerd = globalThis.navigator?.userAgent === "Cloudflare-Workers"

/** The part of Node's `process` that the tests use. */
interface Process {
  readonly env: Record<string, string | undefined>
  readonly hrtime: { bigint: () => bigint }
  readonly on: (event: string, hook: Hook) => void
  readonly off: (event: string, hook: Hook) => void
  readonly listeners: (event: string) => Array<Hook>
  readonly removeAllListeners: (event: string) => void
}

interface Builtins {
  readonly "node:events": { readonly getEventListeners: (target: EventTarget, type: string) => ReadonlyArray<unknown> }
  readonly "node:async_hooks": AsyncHooks
  readonly "node:diagnostics_channel": DiagnosticsChannels
}

type Subscriber = (message: unknown) => void

interface DiagnosticsChannels {
  readonly subscribe: (name: string, subscriber: Subscriber) => void
  readonly unsubscribe: (name: string, subscriber: Subscriber) => void
}

interface AsyncHooks {
  readonly AsyncLocalStorage: new () => unknown
  readonly AsyncResource: new (type: string) => unknown
}

const host = globalThis as unknown as {
  readonly process?: Process & {
    readonly getBuiltinModule?: <Id extends keyof Builtins>(id: Id) => Builtins[Id] | undefined
  }
  readonly setImmediate?: (f: () => void) => unknown
}

// --- uncaught errors -------------------------------------------------------------------------------------------------

const webProcess = (): Process => {
  const hooks = new Map<string, Array<Hook>>()
  const of = (event: string): ReadonlyArray<Hook> => hooks.get(event) ?? []
  const tell = (event: string, reason: unknown, told: Event): void => {
    if (of(event).length > 0) told.preventDefault()
    for (const hook of of(event)) hook(reason)
  }
  globalThis.addEventListener("unhandledrejection", (event) => tell("unhandledRejection", event.reason, event))
  globalThis.addEventListener("error", (event) => tell("uncaughtException", event.error, event))
  return {
    env: host.process?.env ?? {},
    hrtime: host.process?.hrtime ?? { bigint: () => BigInt(Math.round(performance.now() * 1_000_000)) },
    on: (event, hook) => void hooks.set(event, [...of(event), hook]),
    off: (event, hook) =>
      void hooks.set(
        event,
        of(event).filter((each) => each !== hook)
      ),
    listeners: (event) => [...of(event)],
    removeAllListeners: (event) => void hooks.delete(event)
  }
}

/** workerd's own `process` has these events as well, but no uncaught error ever becomes one. */
export const process: Process = host.process === undefined || isWorkerd ? webProcess() : host.process

// --- the event loop and its clock ------------------------------------------------------------------------------------

type Timer = (f: () => void, ms?: number) => unknown

/** Calls back in a later turn of the event loop, the real one. */
const makeTurn = (): ((f: () => void) => void) => {
  // In workerd messages arrive without a turn in which unhandled rejections are reported. Elsewhere they are quicker
  // than timers, which browsers hold back.
  const { setTimeout } = globalThis
  if (isWorkerd) return (f) => void setTimeout(f, 0)
  const { port1, port2 } = new MessageChannel()
  const waiting: Array<() => void> = []
  port1.addEventListener("message", () => waiting.shift()?.())
  port1.start()
  return (f) => {
    waiting.push(f)
    port2.postMessage(undefined)
  }
}

export const setImmediate: (f: () => void) => unknown = host.setImmediate ?? makeTurn()

export const setTimeout: Timer = (f, ms) => globalThis.setTimeout(f, ms)

/**
 * What `performance.now()` counts from, in its own terms. Where that is 1970 (Cloudflare Workers), a float has no room
 * for nanoseconds beside it, and the virtual clock, which promises whole instants, has to count from somewhere nearer.
 */
export const performanceOrigin = performance.now() > 1e12 ? Math.floor(performance.now()) : 0

// --- listeners -------------------------------------------------------------------------------------------------------

/** Counts the listeners on signals by watching them come and go. */
const watchListeners = (): ((target: EventTarget, type: string) => ReadonlyArray<unknown>) => {
  const all = new WeakMap<EventTarget, Map<string, Set<unknown>>>()
  const of = (target: EventTarget, type: string): Set<unknown> => {
    const types = all.get(target) ?? new Map<string, Set<unknown>>()
    all.set(target, types)
    const set = types.get(type) ?? new Set<unknown>()
    types.set(type, set)
    return set
  }
  // Those of signals alone are replaced, and go on to those that they had inherited.
  const { prototype } = EventTarget
  const add: EventTarget["addEventListener"] = function (this: EventTarget, type, listener, options) {
    of(this, type).add(listener)
    if (typeof options === "object" && options.once === true) {
      prototype.addEventListener.call(this, type, () => of(this, type).delete(listener), { once: true })
    }
    prototype.addEventListener.call(this, type, listener, options)
  }
  const remove: EventTarget["removeEventListener"] = function (this: EventTarget, type, listener, options) {
    of(this, type).delete(listener)
    prototype.removeEventListener.call(this, type, listener, options)
  }
  Object.assign(AbortSignal.prototype, { addEventListener: add, removeEventListener: remove })
  return (target, type) => [...of(target, type)]
}

/** workerd's own counts those of Node's emitters alone. */
export const getEventListeners =
  (isWorkerd ? undefined : host.process?.getBuiltinModule?.("node:events")?.getEventListeners) ?? watchListeners()

// --- the async context -----------------------------------------------------------------------------------------------

const asyncHooks = host.process?.getBuiltinModule?.("node:async_hooks")

/** Replaces a missing class. It can be constructed, as some test files do before their first test, but not used. */
const nothing = function () {} as unknown as AsyncHooks[keyof AsyncHooks]

export const { AsyncLocalStorage, AsyncResource } =
  asyncHooks ?? ({ AsyncLocalStorage: nothing, AsyncResource: nothing } as AsyncHooks)

// --- diagnostics channels --------------------------------------------------------------------------------------------

const diagnostics = host.process?.getBuiltinModule?.("node:diagnostics_channel")

/** Where the host has no channels, nothing is published. */
const nowhere: DiagnosticsChannels = { subscribe: () => {}, unsubscribe: () => {} }

export const { subscribe, unsubscribe } = diagnostics ?? nowhere

// --- what a host may be without --------------------------------------------------------------------------------------

const setsTimeZone = (): boolean => {
  const { env } = process
  const before = env["TZ"]
  const offsets = ["UTC", "Asia/Kolkata"].map((zone) => {
    env["TZ"] = zone
    return new Date(0).getTimezoneOffset()
  })
  if (before === undefined) delete env["TZ"]
  else env["TZ"] = before
  return offsets[0] !== offsets[1]
}

/** Whether the host has what `leftOut.ts` may say that it has not. */
export const has: Readonly<Record<Part, () => boolean>> = {
  AsyncLocalStorage: () => asyncHooks !== undefined,
  diagnosticsChannel: () => diagnostics !== undefined,
  timeZone: setsTimeZone,
  // Browsers round theirs to a tenth of a millisecond.
  fineClock: () => {
    const rounded = (millis: number): boolean => Math.abs(millis * 10 - Math.round(millis * 10)) < 1e-4
    return !Array.from({ length: 1000 }, () => performance.now()).every(rounded)
  },
  memoryUsage: () => "memoryUsage" in process
}
