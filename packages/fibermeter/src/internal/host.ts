/**
 * Where a call runs: the context its fibers get, the clock it lives by, and the event loop as its scheduler sees it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import type * as Fiber from "effect/Fiber"

const uninterruptible = { uninterruptible: true }

/** Every waiter has one of these, most of which are never asked for a fiber: what can be made late, is. */
export abstract class Host {
  // Why these are no fields: `ticket.ts`.
  declare readonly clock: Clock.Clock
  declare private readonly context: Context.Context<never>
  declare private forkIn: ReturnType<typeof Effect.runForkWith<any>> | undefined

  constructor(context: Context.Context<never>) {
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
    this.forkIn = undefined
  }

  abstract readonly dispatcher: Scheduler.SchedulerDispatcher

  /** Whether its clock shows real time, rather than a test's. */
  get isLive(): boolean {
    return this.clock === liveClock
  }

  /** Starts a fiber at once; it runs until it first waits, and belongs to no other fiber. */
  fork<A, E>(effect: Effect.Effect<A, E, any>, isUninterruptible = false): Fiber.Fiber<A, E> {
    this.forkIn ??= Effect.runForkWith(this.context as Context.Context<any>)
    return isUninterruptible ? this.forkIn(effect, uninterruptible) : this.forkIn(effect)
  }
}

const liveClock = Context.get(Context.empty(), Clock.Clock)

class FiberHost extends Host {
  declare private readonly fiber: Fiber.Fiber<any, any>

  constructor(fiber: Fiber.Fiber<any, any>) {
    super(fiber.context)
    this.fiber = fiber
  }

  get dispatcher(): Scheduler.SchedulerDispatcher {
    return this.fiber.currentDispatcher
  }
}

class DefaultHost extends Host {
  readonly dispatcher = Context.get(Context.empty(), Scheduler.Scheduler).makeDispatcher()
}

/** The host of the calls that a fiber makes. */
export const ofFiber = (fiber: Fiber.Fiber<any, any>): Host => new FiberHost(fiber)

/** A host outside of all Effect programs, with the default services. */
export const ofDefaults = (): Host => new DefaultHost(Context.empty())

/** Calls `f` after that many milliseconds on the host's clock. Returns what calls it off. */
export const after = (host: Host, millis: number, f: () => void): (() => void) => {
  const timer = host.fork(host.clock.sleep(Duration.millis(millis)))
  timer.addObserver((exit) => {
    if (Exit.isSuccess(exit)) f()
  })
  return () => timer.interruptUnsafe()
}
