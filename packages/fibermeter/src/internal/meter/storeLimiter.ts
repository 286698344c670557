/**
 * The limiter of a meter on a store: with the name that metrics show, and with tasks that are interrupted when the store no
 * longer accounts for the permits that they hold.
 *
 * A task runs in the fiber of its caller, which cannot be interrupted without its caller. So a task that holds permits here
 * runs in a fiber of its own. Where there are no permits, nothing can be lost, and tasks run as everywhere.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { once } from "../data/once.ts"
import { refusalOf } from "../admission/errors.ts"
import { CurrentTask } from "../admission/taskScope.ts"
import type { ExternalEvent, ExternalStore } from "../admission/types.ts"
import { external } from "../limits/externalLimiter.ts"
import { isUninterruptible } from "../runtime/effectInternals.ts"
import { ofFiber } from "../runtime/fiberHost.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"
import { withoutInterrupts } from "../source/streamSource.ts"
import { NamedLimiter } from "./namedLimiter.ts"

/** A class that extends the result of a call is not dropped from programs that do not use it, unless a function makes it. */
const makeClass = () =>
  class extends external(NamedLimiter) {
    /** Ends the tasks that run, each with the error. */
    private readonly tasks = new Set<(error: unknown) => void>()
    private errorOf!: (cause: unknown) => unknown
    /** Of the maker of the meter, for metrics. */
    private context!: FiberHost["context"]

    /** To be called once, before all else. `errorOf` makes the error of a call of what has become of the store. */
    open(store: ExternalStore, name: string, host: FiberHost, errorOf: (cause: unknown) => unknown): void {
      this.errorOf = errorOf
      this.context = host.context
      this.connect(store, name, host, (cause) => refusalOf(Cause.fail(errorOf(cause))))
    }

    override onEvent({ type }: ExternalEvent): void {
      this.metrics.happened(type).updateUnsafe(1, this.context)
    }

    override onLost(cause: unknown): void {
      const error = this.errorOf(cause)
      // The limit may be in the middle of a decision. A task that starts later holds what has been granted since.
      const lost = [...this.tasks]
      void Promise.resolve().then(() => {
        for (const end of lost) end(error)
      })
    }

    override guarded<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
      if (this.capacity === Infinity) return effect
      return Effect.withFiber((caller) =>
        Effect.callback<A, E>((resume) => {
          let loss: unknown
          const own = Effect.withFiber((fiber) => {
            fiber.getRef(CurrentTask)!.fiber = fiber.id
            return effect
          })
          const task = ofFiber(caller).fork<A, E>(own, isUninterruptible(caller))
          const end = (error: unknown): void => {
            loss = error
            task.interruptUnsafe(caller.id)
          }
          this.tasks.add(end)
          task.addObserver((exit) => {
            this.tasks.delete(end)
            if (loss === undefined) return resume(exit)
            const failure = failureOf(exit)
            const lost = Cause.fail(loss as E)
            resume(Exit.failCause(failure === undefined ? lost : Cause.combine(lost, failure)))
          })
          // A caller that is interrupted waits until the task has ended, and fails with what the task's cleanup failed with. A
          // cleanup has no errors by its type.
          return Effect.callback<void>((resumeCleanup) => {
            task.addObserver((exit) => {
              const failure = failureOf(exit)
              resumeCleanup(failure === undefined ? Effect.void : Exit.failCause(failure as Cause.Cause<never>))
            })
            task.interruptUnsafe(caller.id)
          })
        })
      )
    }
  }

/** What an effect has failed with, beside its interruption. */
const failureOf = <A, E>(exit: Exit.Exit<A, E>): Cause.Cause<E> | undefined =>
  Exit.isFailure(exit) ? withoutInterrupts(exit.cause) : undefined

export interface StoreLimiter extends NamedLimiter {
  open(store: ExternalStore, name: string, host: FiberHost, errorOf: (cause: unknown) => unknown): void
  disconnect(): Promise<void>
}

/** Most programs have no store, so the class is made for the first meter that has one. */
const classOfStore = /* @__PURE__ */ once(makeClass)

export const makeStoreLimiter = (...args: ConstructorParameters<typeof NamedLimiter>): StoreLimiter =>
  new (classOfStore())(...args)
