/**
 * The request of a fiber that wants one start.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { causeOf } from "./errors.ts"
import { mayYieldSoon } from "../runtime/effectInternals.ts"
import { capacityOf } from "./limiter.ts"
import type { Limiter } from "./limiter.ts"
import type { Cost } from "./reservation.ts"
import { ofFiber } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"
import { callerIn, CurrentTask, TaskScope } from "./taskScope.ts"
import type { Caller } from "./taskScope.ts"
import type { Refusal } from "./refusal.ts"
import { CallRequest } from "./callRequest.ts"
import { deferStart, overdue } from "../runtime/eventLoop.ts"

/** What a single task asks for. */
export interface Ask {
  readonly cost?: Cost | undefined
  readonly permits?: number | undefined
  readonly priority?: number | undefined
  readonly lane?: unknown
  /** In milliseconds. */
  readonly waitTimeout?: number | undefined
}

/** Effect keeps the async context of a fiber, so this does not. */
export class FiberRequest extends CallRequest {
  declare readonly host: FiberHost
  declare readonly inside: Caller | undefined
  declare private readonly ask: Ask
  declare private readonly fiber: Fiber.Fiber<any, any>
  declare private isAdmitted: boolean
  declare private isOver: boolean
  declare private resume: ((effect: Effect.Effect<void, any>) => void) | undefined
  /** The fiber's context as it was before `provideTask`. */
  declare private outerContext: Context.Context<never> | undefined

  constructor(fiber: Fiber.Fiber<any, any>, limiters: ReadonlyArray<Limiter>, ask: Ask) {
    super(limiters)
    this.fiber = fiber
    this.host = ofFiber(fiber)
    this.inside = callerIn(fiber, true)
    this.ask = ask
    this.isAdmitted = false
    this.isOver = false
    this.resume = undefined
    this.outerContext = undefined
  }

  get cost(): Cost | undefined {
    return this.ask.cost
  }

  get waitTimeout(): number | undefined {
    return this.ask.waitTimeout
  }

  override get permits(): number {
    return this.ask.permits ?? 1
  }

  override get priority(): number {
    return this.ask.priority ?? 0
  }

  override get lane(): unknown {
    return this.ask.lane
  }

  /** Waits until the start is admitted. However it ends, `end` has to be called. */
  get admission(): Effect.Effect<void, any> {
    return Effect.callback<void, any>((resume) => this.requestNow(resume))
  }

  /** As `admission`, but returns `false` instead of waiting. */
  get admissionIfAvailable(): Effect.Effect<boolean, any> {
    return Effect.callback<boolean, any>((resume) => {
      if (this.wouldWait()) resume(Effect.succeed(false))
      else this.requestNow((effect) => resume(Effect.as(effect, true)))
    })
  }

  private requestNow(resume: (effect: Effect.Effect<void, any>) => void): void {
    this.resume = resume
    if (!this.requestStart()) return
    this.isAdmitted = true
    resume(Effect.void)
    this.rest()
    // The fiber continues only after this, so its start is known at the end of this step.
    if (this.isTimed) void Promise.resolve().then(() => this.started())
  }

  /**
   * Makes the task known to the effect, where that has a use for it. By hand what `provideService` and another `onExit` would
   * do, in a third of the time.
   */
  provideTask<A, E, R>(of: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const effect = this.host.observer?.trace(of, this.limiters) ?? of
    const hasUse = capacityOf(this.limiters) < Infinity || this.isTimed
    if (!hasUse) return effect
    const task = new TaskScope(this.reservation(), this.inside)
    task.fiber = this.fiber.id
    this.outerContext = this.fiber.context
    this.fiber.setContext(Context.add(this.fiber.context, CurrentTask, task))
    return effect
  }

  /**
   * The task has ended, or is not going to start. Returns an effect if the turn of the event loop has lasted too long: in a
   * loop of calls that never wait, each is a fiber of its own, and Effect's scheduler sees no reason to yield.
   */
  end(): Effect.Effect<void> | undefined {
    this.isOver = true
    if (this.outerContext !== undefined) this.fiber.setContext(this.outerContext)
    if (this.isAdmitted) this.release()
    else this.cancel()
    return overdue(this.host) ? laterTurn : undefined
  }

  protected override admitted(): void {
    // What a limiter does when it admits a task may have interrupted the fiber.
    if (this.isOver) return this.release()
    this.isAdmitted = true
    this.resume!(Effect.void)
    this.started()
    this.rest()
  }

  protected override refused(refusal: Refusal): void {
    this.resume!(Effect.failCause(causeOf(refusal)))
  }
}

/** In the turns of the fiber that runs it: a permit need not be released by the fiber that has acquired it. */
const laterTurn: Effect.Effect<void> = /* @__PURE__ */ Effect.withFiber((fiber) =>
  Effect.callback((resume) => deferStart(ofFiber(fiber), () => resume(Effect.void)))
)

/** Past half of its share of steps, a fiber might have to yield between its start and the task's first step. */
export const yieldBefore = <A, E, R>(
  fiber: Fiber.Fiber<any, any>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => (mayYieldSoon(fiber) ? Effect.andThen(Effect.yieldNow, effect) : effect)
