/**
 * Where a call runs: the context its fibers get, the clock it lives by, and the event loop as its scheduler sees it.
 */
import { Clock, Context, Duration, Effect, Exit, Scheduler } from "effect"
import type { Fiber } from "effect"
import { CurrentHolding } from "./holding.ts"
import type { Caller, Holding } from "./holding.ts"

export interface Host {
  readonly clock: Clock.Clock
  /** Whether its clock shows real time, rather than a test's. */
  readonly isLive: boolean
  readonly dispatcher: Scheduler.SchedulerDispatcher
  /** Who makes the call. */
  readonly caller: Caller
  /** What the task holds that the call is made in. */
  readonly holding: Holding | undefined
  /** Starts a fiber at once; it runs until it first waits, and belongs to no other fiber. */
  readonly fork: <A, E>(effect: Effect.Effect<A, E, any>, uninterruptible?: boolean) => Fiber.Fiber<A, E>
}

const liveClock = Context.get(Context.empty(), Clock.Clock)

const make = (context: Context.Context<never>, dispatcher: Scheduler.SchedulerDispatcher, caller: Caller): Host => {
  const fork = Effect.runForkWith(context as Context.Context<any>)
  const uninterruptible = { uninterruptible: true }
  const clock = Context.get(context, Clock.Clock)
  return {
    clock,
    isLive: clock === liveClock,
    dispatcher,
    caller,
    holding: Context.get(context, CurrentHolding),
    fork: (effect, held) => (held === true ? fork(effect, uninterruptible) : fork(effect))
  }
}

/** The host of the calls that a fiber makes. */
export const ofFiber = (fiber: Fiber.Fiber<any, any>): Host =>
  make(fiber.context, fiber.currentDispatcher, {
    fiber: fiber.id,
    // Not part of a fiber's interface, but of every fiber.
    isSupervised: (fiber as { readonly _parent?: unknown })._parent !== undefined
  })

const nobody: Caller = { fiber: -1, isSupervised: false }

/** A host outside of all Effect programs, with the default services. */
export const ofDefaults = (): Host => {
  const context = Context.empty()
  return make(context, Context.get(context, Scheduler.Scheduler).makeDispatcher(), nobody)
}

/** Calls `f` after that many milliseconds on the host's clock. Returns what calls it off. */
export const after = (host: Host, millis: number, f: () => void): (() => void) => {
  const timer = host.fork(host.clock.sleep(Duration.millis(millis)))
  timer.addObserver((exit) => {
    if (Exit.isSuccess(exit)) f()
  })
  return () => timer.interruptUnsafe()
}
