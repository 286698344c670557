/**
 * The host of a call in core: the context of its fibers, its clock, and its scheduler's turns of the event loop.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import { once } from "../data/once.ts"
import { tracerOf } from "./effectInternals.ts"
import type * as Engine from "./host.ts"

/** Also follows the tasks of requests. */
export interface FiberObserver extends Engine.Observer {
  /** The effect of a task that these limiters admit. */
  trace<A, E, R>(effect: Effect.Effect<A, E, R>, limiters: ReadonlyArray<object>): Effect.Effect<A, E, R>
}

let observer: FiberObserver | undefined

/** Observes the requests of all fibers from now on. */
export const observeWith = (made: FiberObserver): void => {
  observer = made
}

const uninterruptible = { uninterruptible: true }

/** Each waiter has one, and most never need a fiber. So what can be created later, is. */
export class FiberHost implements Engine.Host {
  // Declared and assigned, not fields: see `AdmissionRequest`.
  declare readonly clock: Clock.Clock
  declare private readonly fiber: Fiber.Fiber<any, any>
  declare readonly context: Context.Context<never>
  declare private forkIn: ReturnType<typeof Effect.runForkWith<any>> | undefined

  constructor(fiber: Fiber.Fiber<any, any>) {
    const { context } = fiber
    this.fiber = fiber
    this.context = context
    this.clock = Context.get(context, Clock.Clock)
    this.forkIn = undefined
  }

  get observer(): FiberObserver | undefined {
    return observer
  }

  /** As `tracerOf` its fiber. */
  get tracer(): Tracer.Tracer | undefined {
    return tracerOf(this.fiber)
  }

  /** Whether its clock shows real time, rather than a test's. */
  get isLive(): boolean {
    return this.clock === liveClock()
  }

  /** Nothing replaces Effect's timers. */
  get timersEra(): number {
    return 0
  }

  /** Starts a fiber at once, which runs until it first waits. It is a child of no other fiber. */
  fork<A, E>(effect: Effect.Effect<A, E, any>, isUninterruptible = false): Fiber.Fiber<A, E> {
    this.forkIn ??= Effect.runForkWith(this.context as Context.Context<any>)
    return isUninterruptible ? this.forkIn(effect, uninterruptible) : this.forkIn(effect)
  }

  /** `clock` is one of Effect: core has no other. */
  sleep(clock: Engine.Clock, nanos: number, f: () => void): Engine.Timer {
    const fiber = this.fork((clock as Clock.Clock).sleep(Duration.nanos(BigInt(Math.ceil(nanos)))))
    // A clock that does not wait must not turn repeated waits into an endless loop.
    if (fiber.pollUnsafe() === undefined) {
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit)) f()
      })
    } else {
      this.defer(f)
    }
    return new FiberTimer(fiber)
  }

  defer(f: () => void): void {
    this.fiber.currentDispatcher.scheduleTask(f, 0)
  }
}

/** Effect's own. */
const liveClock = /* @__PURE__ */ once(() => Context.get(Context.empty(), Clock.Clock))

/** A fiber that sleeps. */
class FiberTimer implements Engine.Timer {
  readonly isLost = false
  private readonly fiber: Fiber.Fiber<void>

  constructor(fiber: Fiber.Fiber<void>) {
    this.fiber = fiber
  }

  cancel(): void {
    this.fiber.interruptUnsafe()
  }
}

/** The host of the calls that a fiber makes. */
export const ofFiber = (fiber: Fiber.Fiber<any, any>): FiberHost => new FiberHost(fiber)

/** The host of all limiters in core. The facade has no limiters that need more than `Engine.Host`. */
export const asFiberHost = (host: Engine.Host): FiberHost => host as FiberHost
