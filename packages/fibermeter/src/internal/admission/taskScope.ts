/**
 * Nested tasks. What runs inside of a task that holds permits knows of that task, by Effect's context: it can correct what the
 * task has spent, and a deadlock is refused.
 *
 * Only what is certain is refused. A task is *blocked* at a limiter if it holds a permit there and its own fiber waits for a
 * request that needs that limiter as well: directly, by `Meter.metered` and `Meter.acquire`, or as the caller of a verb that
 * returns when its run has ended. Nothing can end that wait but the limiter, or an interruption that ends the task, too. If
 * all tasks that hold permits of a limiter are blocked, no permit will ever be given back; if the free ones suffice for none of
 * their requests, the last of these to have arrived is refused.
 *
 * Any other fiber may be interrupted while the task continues, by a timeout, a race, a sibling that fails, or a scope that
 * is closed, and whether the task waits for it cannot be known. So requests of children, concurrent effects, background
 * fibers, and the tasks of a nested call wait. So do those of an open stream, whose reader may be doing something else.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { closed, Closed, Deadlock, refusalOf } from "./errors.ts"
import type { FiberHost } from "../runtime/fiberHost.ts"
import type { Limiter } from "./limiter.ts"
import type { Reservable, Reservation } from "./reservation.ts"
import type { Inside, Nesting, Waiter } from "./types.ts"

/** A task that holds permits. */
export class TaskScope implements Reservation {
  readonly limiters: ReadonlyArray<Reservable>
  readonly entries: ReadonlyArray<unknown>
  /** The caller of the call that this task is part of, if that runs inside of a task itself. */
  readonly caller: Caller | undefined
  /** The fiber of the task, once it has started. */
  fiber: number | undefined
  constructor({ entries, limiters }: Reservation, caller: Caller | undefined) {
    this.limiters = limiters
    this.entries = entries
    this.caller = caller
  }
}

/** A fiber that makes a call inside of a task. */
export class Caller implements Inside {
  readonly fiber: Fiber.Fiber<any, any>
  /** The innermost task. */
  readonly task: TaskScope
  /** Whether the fiber does nothing else until the call has ended. */
  private readonly isWaiting: boolean

  constructor(fiber: Fiber.Fiber<any, any>, task: TaskScope, isWaiting: boolean) {
    this.fiber = fiber
    this.task = task
    this.isWaiting = isWaiting
  }

  waitsAt(limiter: Limiter, waiter: Waiter): void {
    limiter.nesting ??= new NestedWaits(limiter)
    limiter.nesting.add(waiter)
  }

  holds(limiter: Limiter): boolean {
    for (let task: TaskScope | undefined = this.task; task !== undefined; task = task.caller?.task) {
      if (task.limiters.includes(limiter)) return true
    }
    return false
  }

  /** The tasks, innermost first, that hold permits of the limiter and run in this fiber. */
  blockedAt(limiter: Limiter): ReadonlyArray<TaskScope> {
    const blocked: Array<TaskScope> = []
    if (!this.isWaiting) return blocked
    for (let task: TaskScope | undefined = this.task; task?.fiber === this.fiber.id; task = task.caller?.task) {
      if (task.limiters.includes(limiter)) blocked.push(task)
    }
    return blocked
  }
}

/** The requests that tasks which hold permits of the limiter wait for. */
class NestedWaits implements Nesting {
  /** How many tasks are blocked here. */
  private blocked = 0
  private readonly limiter: Limiter
  /** The tasks that each waiter blocks, in the order in which the waiters arrived. */
  private readonly blocking = new Map<Waiter, ReadonlyArray<TaskScope>>()

  constructor(limiter: Limiter) {
    this.limiter = limiter
  }

  add(waiter: Waiter): void {
    // It may have been admitted and have returned within the step in which it arrived: then it is known already.
    this.remove(waiter)
    // There is no other kind.
    const holders = (waiter.inside as Caller).blockedAt(this.limiter)
    if (holders.length === 0) return
    this.blocking.set(waiter, holders)
    // A fiber waits for one request at a time, so none of them has been counted already.
    this.blocked += holders.length
    this.breakDeadlock()
  }

  remove(waiter: Waiter): void {
    this.blocked -= this.blocking.get(waiter)?.length ?? 0
    this.blocking.delete(waiter)
  }

  breakDeadlock(): void {
    const { capacity, permitsInUse, running } = this.limiter
    if (this.blocked === 0 || this.blocked < running) return
    const waiters = Array.from(this.blocking.keys())
    // One that needs no more than the free permits will be admitted, and its task continues.
    if (waiters.some(({ permits }) => permits <= capacity - permitsInUse)) return
    // There is one, or no task would be blocked.
    waiters.at(-1)!.refuse(refusalOf(Cause.die(new Deadlock({ held: running }))))
  }
}

/** The task that a fiber belongs to. */
export const CurrentTask = Context.Reference<TaskScope | undefined>("fibermeter/CurrentTask", {
  defaultValue: () => undefined
})

/** The fiber as a caller, if it runs inside of a task. `isWaiting`: it does nothing else until the call has ended. */
export const callerIn = (fiber: Fiber.Fiber<any, any>, isWaiting: boolean): Caller | undefined => {
  const task = Context.get(fiber.context, CurrentTask)
  return task === undefined ? undefined : new Caller(fiber, task, isWaiting)
}

/** The effect of a task, in whose context the task is known. */
export const withTask = <A, E, R>(effect: Effect.Effect<A, E, R>, holder: TaskScope): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    holder.fiber = fiber.id
    return Effect.provideService(effect, CurrentTask, holder)
  })

/** A call that is about to ask for starts. */
interface Asking extends Pick<Waiter, "limiters"> {
  readonly host: FiberHost
  readonly inside: Caller | undefined
}

/** Throws if one of the limiters accepts no more calls, unless the call is made inside of a task that it has admitted. */
export const throwIfClosed = (call: Asking): void => {
  const { host, inside, limiters } = call
  if (!limiters.some((limiter) => limiter.closing !== undefined && inside?.holds(limiter) !== true)) return
  host.observer?.leaves(call, closed())
  throw new Closed()
}
