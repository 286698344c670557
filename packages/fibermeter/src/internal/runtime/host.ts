/**
 * What the engine needs of its host: the time, timers, and later turns of the event loop. Core implements it with Effect's
 * clocks and fibers (`fiberHost.ts`), the facade with JavaScript's timers. Like all of the engine that the facade uses, this
 * module imports no code of Effect.
 */
import { captureContext } from "./asyncContext.ts"

/**
 * Whether this is Cloudflare Workers, where timers and events belong to requests. `WebSocketPair` is there with every
 * compatibility date, unlike `navigator`, and nowhere else.
 */
export const isWorkers: boolean = "WebSocketPair" in globalThis

export interface Clock {
  /** Nanoseconds since an arbitrary zero. Never decreases. */
  monotonicTimeNanosUnsafe(): bigint
  /** Milliseconds since 1970, by the wall clock, which can be set: only for dates. */
  currentTimeMillisUnsafe(): number
}

/** A pending timer. */
export interface Timer {
  /** Whether it will never fire, because the timers of the host have been replaced. */
  readonly isLost: boolean
  cancel(): void
}

/** What may be able to continue. */
export interface Wakeable {
  wake(): void
}

/** A request for admission that waits, as the host sees it. */
export interface Waiting {
  readonly host: Host
  readonly isWaiting: boolean
  readonly limiters: ReadonlyArray<Wakeable & { readonly isShared: boolean }>
  /** Stops waiting. */
  cancel(): void
}

/**
 * The requests of Cloudflare Workers. What an event of one request leads to must not run in another one, so waiters and
 * calls that share a limiter are known by the request that made them.
 */
export interface Requests {
  /** `key` belongs to the present request. */
  enter(key: object): void
  /** The waiter begins to wait, in the present request. */
  wait(waiter: Waiting): void
  /** Whether the waiter polls for room on timers of its own request. If so, it polls soon. */
  looksAgain(waiter: Waiting): boolean
  /** Whether `key` belongs to the present request, or to none. */
  isHere(key: object): boolean
  /** Calls `wake` in the request of `key`, which is another one. */
  send(key: object, wakeable: Wakeable): void
  /** As `send`, for a waiter. Takes it out of its queue instead if its request has ended. */
  sendWaiter(waiter: Waiting, limiter: Wakeable): void
}

/**
 * Follows the requests for admission of a host: for metrics, spans and messages. Called when all limiters of the request have
 * changed, so what it calls may use them.
 */
export interface Observer {
  /** The request waits from now on. */
  waits(request: Waiting): void
  /** The request leaves without a start. Without a refusal, its caller has cancelled it. */
  leaves(request: Pick<Waiting, "host" | "limiters">, refusal: { readonly _tag: string } | undefined): void
  /** A start has been taken for the request. Its task is called in this step. */
  starts(request: Waiting): void
  /** A task of the request has ended. */
  ends(request: Waiting): void
}

export interface Host {
  /** `undefined` as long as nothing has to be observed: a request then costs no more than a look at this. */
  readonly observer?: Observer | undefined
  /** Only where events belong to requests. */
  readonly requests?: Requests | undefined
  readonly clock: Clock
  /** Whether the clock shows real time, rather than a test's. */
  readonly isLive: boolean
  /** Changes when the timers of the host are replaced. Timers of an earlier era are lost. */
  readonly timersEra: number
  /** Calls `f` after so many nanoseconds on that clock, never at once. */
  sleep(clock: Clock, nanos: number, f: () => void): Timer
  /** Calls `f` in a later turn of the event loop. */
  defer(f: () => void): void
}

/** Binds `f` to the current async context. Real timers preserve it, but neither messages nor the timers of tests do. */
export const inContext = (f: () => void): (() => void) => {
  const context = captureContext()
  return () => context.runInAsyncScope(f)
}

/** Calls `f` after that many milliseconds on the host's clock. Returns what cancels that. */
export const after = (host: Host, millis: number, f: () => void): (() => void) => {
  const timer = host.sleep(host.clock, millis * 1_000_000, host.isLive ? f : inContext(f))
  return () => timer.cancel()
}
