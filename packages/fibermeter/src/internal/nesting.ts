/**
 * Tasks inside of tasks. What runs inside of a task that holds places knows of it: it can correct what the task has spent,
 * it passes those who wait for that task's place, and where all places are held by tasks that wait for another one, one of
 * those is refused.
 *
 * That is told by Effect's context. Where there is none, nobody can know, and none of this is there.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { Deadlock } from "./errors.ts"
import type { Gate, Inside, Nesting, Waiter } from "./gate.ts"
import type { Holdable, Holding } from "./holding.ts"
import type { Line } from "./line.ts"

/** A task that holds places. */
export class Holder implements Holding {
  readonly gates: ReadonlyArray<Holdable>
  readonly bookings: ReadonlyArray<unknown>
  /** Who has made the call that this task is part of, if that runs inside of a task itself. */
  readonly caller: Caller | undefined
  /** The fiber that this task is, once it has begun. */
  fiber: number | undefined
  private isOver = false
  /** How many waits for a gate go on inside of this task, gate by gate. */
  private waits: Map<NestedWaits, number> | undefined

  constructor({ bookings, gates }: Holding, caller: Caller | undefined) {
    this.gates = gates
    this.bookings = bookings
    this.caller = caller
  }

  /** Notes that something inside the task begins (1) or ceases (-1) to wait at the gate. Returns how many do. */
  countWait(at: NestedWaits, by: 1 | -1): number {
    if (this.isOver) return NaN
    this.waits ??= new Map()
    const count = (this.waits.get(at) ?? 0) + by
    this.waits.set(at, count)
    return count
  }

  /** The task has ended: what it has left behind waits on behalf of nobody. */
  end(): void {
    for (const [at, count] of this.waits ?? []) if (count > 0) at.blocked--
    this.isOver = true
  }

  /** Whether the task cannot go on as long as that fiber waits. */
  dependsOn({ fiber, isSupervised }: Caller): boolean {
    return !this.isOver && (fiber.id === this.fiber || !isSupervised)
  }
}

/** A fiber that calls, inside of a task. */
export class Caller implements Inside {
  readonly fiber: Fiber.Fiber<any, any>
  /** The innermost task. */
  readonly task: Holder

  constructor(fiber: Fiber.Fiber<any, any>, task: Holder) {
    this.fiber = fiber
    this.task = task
  }

  /** Whether it was forked as somebody's child, which goes on beside its parent, and still is that. */
  get isSupervised(): boolean {
    // Not part of a fiber's interface, but of every fiber.
    return (this.fiber as { readonly _parent?: unknown })._parent !== undefined
  }

  nestingAt(gate: Gate, line: Line<Waiter>): Nesting {
    return new NestedWaits(gate, line)
  }
}

/** Whether it runs inside of a task that holds a place of the gate. */
const isInside = (caller: Caller, gate: Gate): boolean => {
  for (let each: Caller | undefined = caller; each !== undefined; each = each.task.caller) {
    if (each.task.gates.includes(gate)) return true
  }
  return false
}

/**
 * The tasks, innermost first, that hold a place of the gate and cannot go on as long as that fiber waits: the task is that
 * fiber, or waits for it, as it does for all that `Effect.all` and the like run. A forked child waits on its own account.
 */
const heldUpBy = (caller: Caller, gate: Gate): ReadonlyArray<Holder> => {
  const heldUp: Array<Holder> = []
  for (let each: Caller | undefined = caller; each?.task.dependsOn(each) === true; each = each.task.caller) {
    if (each.task.gates.includes(gate)) heldUp.push(each.task)
  }
  return heldUp
}

/** There is no other kind. */
const callerOf = (waiter: Waiter): Caller => waiter.inside as Caller

/** Those in the line of one gate who run inside of tasks. */
class NestedWaits implements Nesting {
  /** Tasks that hold a place of the gate and wait for another one. */
  blocked = 0
  private readonly gate: Gate
  private readonly line: Line<Waiter>
  /** How many of them run inside a task that holds a place of a gate, gate by gate. */
  private readonly insiders = new Map<Holdable, number>()
  /** The tasks that wait because a waiter does. */
  private readonly holdUps = new Map<Waiter, ReadonlyArray<Holder>>()

  constructor(gate: Gate, line: Line<Waiter>) {
    this.gate = gate
    this.line = line
  }

  add(waiter: Waiter): void {
    this.count(waiter, 1)
  }

  remove(waiter: Waiter): void {
    this.count(waiter, -1)
    this.letGo(waiter)
  }

  first(held: Gate | undefined): Waiter | undefined {
    // Asked of each only if it is true of any.
    if (held === undefined || !this.insiders.has(held)) return undefined
    return this.line.find((waiter) => waiter.inside !== undefined && isInside(callerOf(waiter), held))
  }

  holdUp(waiter: Waiter): void {
    // It may have passed and come back within the step in which it came: then this has been noted.
    this.letGo(waiter)
    const holders = heldUpBy(callerOf(waiter), this.gate)
    if (holders.length === 0) return
    this.holdUps.set(waiter, holders)
    let isDead = false
    for (const holder of holders) {
      if (holder.countWait(this, 1) !== 1) continue
      this.blocked++
      isDead = this.isDeadlocked
    }
    if (isDead) this.refuse(waiter)
  }

  breakDeadlock(): void {
    if (!this.isDeadlocked) return
    // Who holds a task up stands in the line, and there is one, or nobody would be blocked.
    this.refuse(this.line.findLast((waiter) => this.holdUps.has(waiter))!)
  }

  /** All places are held by tasks that wait for another one. */
  private get isDeadlocked(): boolean {
    const { capacity, running } = this.gate
    return this.blocked > 0 && this.blocked >= running && running >= capacity
  }

  /** Nobody waits because of that one any more. */
  private letGo(waiter: Waiter): void {
    for (const holder of this.holdUps.get(waiter) ?? []) if (holder.countWait(this, -1) === 0) this.blocked--
    this.holdUps.delete(waiter)
  }

  private refuse(waiter: Waiter): void {
    waiter.refuse(Cause.die(new Deadlock({ held: this.gate.running })))
  }

  private count(waiter: Waiter, by: 1 | -1): void {
    for (let each: Caller | undefined = callerOf(waiter); each !== undefined; each = each.task.caller) {
      for (const gate of each.task.gates) {
        const count = (this.insiders.get(gate) ?? 0) + by
        if (count === 0) this.insiders.delete(gate)
        else this.insiders.set(gate, count)
      }
    }
  }
}

/** The task that a fiber belongs to. */
export const CurrentTask = Context.Reference<Holder | undefined>("fibermeter/CurrentTask", {
  defaultValue: () => undefined
})

/** The fiber as a caller, if it runs inside of a task. */
export const callerIn = (fiber: Fiber.Fiber<any, any>): Caller | undefined => {
  const task = Context.get(fiber.context, CurrentTask)
  return task === undefined ? undefined : new Caller(fiber, task)
}

/** The task as an effect that knows what it holds. */
export const telling = <A, E, R>(effect: Effect.Effect<A, E, R>, holder: Holder): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    holder.fiber = fiber.id
    const told = Effect.provideService(effect, CurrentTask, holder)
    return Effect.onExit(told, () => Effect.sync(() => holder.end()))
  })
