/**
 * Carries out tasks as Effect fibers.
 */
import { Cause, Effect, Exit } from "effect"
import type { Fiber } from "effect"
import { telling } from "./holding.ts"
import type { Cost } from "./holding.ts"
import { Task } from "./run.ts"
import type { Run, Worker } from "./run.ts"
import { withoutInterrupts } from "./streamSource.ts"

/**
 * Whether a value is of Effect's making. Its own tests, `isExit` and `isEffect`, take several times as long, more than all
 * the rest of a task that has its result at once.
 */
const has = (value: unknown, typeId: string): boolean =>
  ((typeof value === "object" && value !== null) || typeof value === "function") && typeId in value

const exitTypeId = "~effect/Exit" satisfies keyof Exit.Exit<unknown>

class FiberTask extends Task {
  private readonly fiber: Fiber.Fiber<unknown, unknown>
  private readonly parent: number

  constructor(fiber: Fiber.Fiber<unknown, unknown>, parent: number) {
    super()
    this.fiber = fiber
    this.parent = parent
  }

  cancel(): void {
    this.fiber.interruptUnsafe(this.parent)
  }
}

export class FiberWorker<A, B, E> implements Worker<A, B, Cause.Cause<E>> {
  /** A call is over when its fibers are. */
  readonly grace = Infinity
  readonly weigh: ((item: A, index: number) => Cost) | undefined
  private readonly f: (item: A, index: number) => Effect.Effect<B, E, any>
  /** The id of the fiber that makes the call. */
  private readonly parent: number
  private readonly isUninterruptible: boolean
  /** Whether tasks are told what they hold, even if there is nothing in it to correct. */
  private readonly isTelling: boolean

  constructor(options: {
    readonly f: (item: A, index: number) => Effect.Effect<B, E, any>
    readonly weigh: ((item: A, index: number) => Cost) | undefined
    readonly parent: number
    readonly isUninterruptible: boolean
    readonly isTelling: boolean
  }) {
    this.f = options.f
    this.weigh = options.weigh
    this.parent = options.parent
    this.isUninterruptible = options.isUninterruptible
    this.isTelling = options.isTelling
  }

  start(run: Run<A, B, Cause.Cause<E>>, item: A, index: number): void {
    let effect: Effect.Effect<B, E, any>
    try {
      effect = this.f(item, index)
    } catch (error) {
      return run.failed(index, this.crash(error))
    }
    // An exit is an effect that has no steps: nobody could tell it from a fiber that has ended.
    if (has(effect, exitTypeId)) return settle(run, index, effect as Exit.Exit<B, E>)
    if (!has(effect, Effect.TypeId)) return run.failed(index, Cause.die(notAnEffect(effect)))
    // `f` itself may have ended the call.
    if (run.phase !== "open") return run.failed(index, Cause.interrupt(this.parent))
    if (this.isTelling || run.isWeighed) effect = telling(effect, run.holding())
    const fiber = run.host.fork(effect, this.isUninterruptible)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return settle(run, index, exit)
    const task = new FiberTask(fiber, this.parent)
    fiber.addObserver((exit) => {
      run.untrack(task)
      settle(run, index, exit)
    })
    run.track(task)
  }

  combine(first: Cause.Cause<E> | undefined, later: Cause.Cause<E>): Cause.Cause<E> | undefined {
    const added = withoutInterrupts(later)
    if (first === undefined || added === undefined) return first ?? added
    return Cause.fromReasons([...first.reasons, ...added.reasons])
  }

  refused(cause: Cause.Cause<any>): Cause.Cause<E> {
    return cause
  }

  crash(error: unknown): Cause.Cause<E> {
    return Cause.die(error)
  }
}

const settle = <A, B, E>(run: Run<A, B, Cause.Cause<E>>, index: number, exit: Exit.Exit<B, E>): void => {
  if (Exit.isSuccess(exit)) run.succeeded(index, exit.value)
  else run.failed(index, exit.cause)
}

const notAnEffect = (value: unknown): Cause.IllegalArgumentError =>
  new Cause.IllegalArgumentError(
    value instanceof Promise
      ? "a task is an Effect, but this is a Promise, which has already started: write Effect.promise(() => …)"
      : `a task is an Effect, but this is ${typeof value === "object" && value !== null ? "an object" : String(value)}`
  )
