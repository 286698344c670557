/**
 * Where a call runs: the context its fibers get, the clock it lives by, and the event loop as its scheduler sees it.
 */
import { Clock, Context, Duration, Effect, Exit, Scheduler } from "effect"
import type { Fiber } from "effect"
import { CurrentHolding } from "./holding.ts"
import type { Holding } from "./holding.ts"

export interface Host {
  readonly clock: Clock.Clock
  /** Whether its clock shows real time, rather than a test's. */
  readonly isLive: boolean
  readonly dispatcher: Scheduler.SchedulerDispatcher
  /** The fiber that makes the call; -1 where none does. */
  readonly fiber: number
  /** What the task holds that the call is made in. */
  readonly holding: Holding | undefined
  /** Starts a fiber at once; it runs until it first waits, and belongs to no other fiber. */
  readonly fork: <A, E>(effect: Effect.Effect<A, E, any>, uninterruptible?: boolean) => Fiber.Fiber<A, E>
}

const liveClock = Context.get(Context.empty(), Clock.Clock)

const make = (context: Context.Context<never>, dispatcher: Scheduler.SchedulerDispatcher, fiber: number): Host => {
  const fork = Effect.runForkWith(context as Context.Context<any>)
  const uninterruptible = { uninterruptible: true }
  const clock = Context.get(context, Clock.Clock)
  return {
    clock,
    isLive: clock === liveClock,
    dispatcher,
    fiber,
    holding: Context.get(context, CurrentHolding),
    fork: (effect, held) => (held === true ? fork(effect, uninterruptible) : fork(effect))
  }
}

/** The host of the calls that a fiber makes. */
export const ofFiber = (fiber: Fiber.Fiber<any, any>): Host => make(fiber.context, fiber.currentDispatcher, fiber.id)

/** A host outside of all Effect programs, with the default services. */
export const ofDefaults = (): Host => {
  const context = Context.empty()
  return make(context, Context.get(context, Scheduler.Scheduler).makeDispatcher(), -1)
}

/** Calls `f` after that many milliseconds on the host's clock. Returns what calls it off. */
export const after = (host: Host, millis: number, f: () => void): (() => void) => {
  const timer = host.fork(host.clock.sleep(Duration.millis(millis)))
  timer.addObserver((exit) => {
    if (Exit.isSuccess(exit)) f()
  })
  return () => timer.interruptUnsafe()
}
