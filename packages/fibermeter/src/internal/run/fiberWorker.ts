/**
 * Carries out tasks as Effect fibers.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { handled } from "../input/validate.ts"
import { causeOf } from "../admission/errors.ts"
import { isEffect, isExit } from "../runtime/effectInternals.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"
import type { ItemMeters } from "../admission/itemRequests.ts"
import type { Cost, Weighing } from "../admission/reservation.ts"
import type { Rank } from "../admission/types.ts"
import { TaskScope, withTask } from "../admission/taskScope.ts"
import type { Caller } from "../admission/taskScope.ts"
import type { Refusal } from "../admission/refusal.ts"
import { RunningTask } from "./run.ts"
import type { Run, Worker } from "./run.ts"
import { withoutInterrupts } from "../source/streamSource.ts"

class FiberTask<A, B, E> extends RunningTask {
  /** `undefined` while this is spare. */
  fiber: Fiber.Fiber<B, E> | undefined
  index = 0
  readonly onExit: (exit: Exit.Exit<B, E>) => void
  private readonly worker: FiberWorker<A, B, E>

  constructor(worker: FiberWorker<A, B, E>, run: Run<A, B, Cause.Cause<E>>) {
    super()
    this.worker = worker
    this.onExit = (exit) => {
      run.untrack(this)
      this.fiber = undefined
      // Before the report to the run, which starts the next task.
      worker.spare = this
      settle(run, this.index, exit)
    }
  }

  cancel(): void {
    // The cancellation of another task may have ended it.
    this.fiber?.interruptUnsafe(this.worker.parent)
  }
}

/** The worker of one run. */
export class FiberWorker<A, B, E> implements Worker<A, B, Cause.Cause<E>> {
  /** A call ends when all of its fibers have ended. */
  readonly grace = Infinity
  readonly itemMeters: ItemMeters | undefined
  readonly weigh: ((item: A, index: number, limiters?: ReadonlyArray<Weighing>) => Cost) | undefined
  readonly permits: number | undefined
  readonly rank: ((item: A, index: number) => Rank) | undefined
  /** The id of the fiber that makes the call. */
  readonly parent: number
  readonly inside: Caller | undefined
  /** A task that has ended, for the next one to use: most tasks start when another one ends. */
  spare: FiberTask<A, B, E> | undefined
  private readonly f: (item: A, index: number) => Effect.Effect<B, E, any>
  private readonly host: FiberHost
  private readonly isUninterruptible: boolean
  private readonly meters: ReadonlyArray<object>
  /** Whether tasks know the permits that they hold, even if they hold nothing that they could correct. */
  private readonly knowsHolding: boolean

  constructor(options: {
    readonly f: (item: A, index: number) => Effect.Effect<B, E, any>
    readonly itemMeters: ItemMeters | undefined
    readonly weigh: ((item: A, index: number, limiters?: ReadonlyArray<Weighing>) => Cost) | undefined
    readonly permits: number | undefined
    readonly rank: ((item: A, index: number) => Rank) | undefined
    readonly host: FiberHost
    readonly parent: number
    readonly inside: Caller | undefined
    readonly isUninterruptible: boolean
    /** The limiters of the meters that the call uses. */
    readonly meters: ReadonlyArray<object>
    readonly knowsHolding: boolean
  }) {
    this.f = options.f
    this.itemMeters = options.itemMeters
    this.weigh = options.weigh
    this.permits = options.permits
    this.rank = options.rank
    this.host = options.host
    this.parent = options.parent
    this.inside = options.inside
    this.isUninterruptible = options.isUninterruptible
    this.meters = options.meters
    this.knowsHolding = options.knowsHolding
  }

  start(run: Run<A, B, Cause.Cause<E>>, item: A, index: number): void {
    const exit = this.call(run, item, index)
    if (exit !== undefined) settle(run, index, exit)
  }

  /** Calls the task. Returns its exit if it has ended at once. */
  call(run: Run<A, B, Cause.Cause<E>>, item: A, index: number): Exit.Exit<B, E> | undefined {
    let effect: Effect.Effect<B, E, any>
    try {
      effect = this.f(item, index)
      // An exit is an effect without steps, and cannot be told from a fiber that has ended.
      if (isExit(effect)) return effect as Exit.Exit<B, E>
      if (!isEffect(effect)) throw notAnEffect(effect)
    } catch (error) {
      return Exit.die(error)
    }
    return this.fork(run, effect, index)
  }

  private fork(
    run: Run<A, B, Cause.Cause<E>>,
    effect: Effect.Effect<B, E, any>,
    index: number
  ): Exit.Exit<B, E> | undefined {
    // `f` may have ended the call.
    if (run.phase !== "open") return Exit.interrupt(this.parent)
    effect = this.host.observer?.trace(effect, run.metersAt(index) ?? this.meters) ?? effect
    if (this.knowsHolding || run.isWeighed(index))
      effect = withTask(effect, new TaskScope(run.holding(index), this.inside))
    const fiber = this.host.fork(effect, this.isUninterruptible)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return exit
    const task = this.spare ?? new FiberTask(this, run)
    this.spare = undefined
    task.fiber = fiber
    task.index = index
    fiber.addObserver(task.onExit)
    run.track(task)
    return undefined
  }

  combine(first: Cause.Cause<E> | undefined, later: Cause.Cause<E>): Cause.Cause<E> | undefined {
    const added = withoutInterrupts(later)
    if (first === undefined || added === undefined) return first ?? added
    return Cause.fromReasons([...first.reasons, ...added.reasons])
  }

  refused(refusal: Refusal): Cause.Cause<E> {
    return causeOf(refusal)
  }

  crash(error: unknown): Cause.Cause<E> {
    return Cause.die(error)
  }
}

const settle = <A, B, E>(run: Run<A, B, Cause.Cause<E>>, index: number, exit: Exit.Exit<B, E>): void => {
  if (Exit.isSuccess(exit)) run.succeeded(index, exit.value)
  else run.failed(index, exit.cause)
}

const notAnEffect = (value: unknown): Cause.IllegalArgumentError => {
  // If it is a promise: its rejection is ignored, since the call fails with this error.
  handled(value)
  return new Cause.IllegalArgumentError(
    value instanceof Promise
      ? "a task is an Effect, but this is a Promise, which has already started: write Effect.promise(() => ...)"
      : `a task is an Effect, but this is ${typeof value === "object" && value !== null ? "an object" : String(value)}`
  )
}
