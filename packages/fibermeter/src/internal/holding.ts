/**
 * What a task holds of its gates, known to everything that runs inside it: to correct what it has spent, and to notice
 * when tasks wait for what they hold themselves.
 */
import { Context, Effect } from "effect"

/** What a task costs, by the names of limits; a limit that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** What a task can hold a place of: a gate. */
export interface Holdable {
  /** The names by which a task's cost is counted here. */
  readonly names: Iterable<string>
  /** The task behind that note has cost something else than it was to. */
  correct(booking: unknown, cost: Cost): void
  /** A task that holds a place does not wait for another one any more. */
  unblock(): void
}

export class Holding {
  readonly gates: ReadonlyArray<Holdable>
  readonly bookings: ReadonlyArray<unknown>
  /** What the task holds that this one runs inside of. */
  readonly outer: Holding | undefined
  /** Who has made the call that this task is part of. */
  readonly caller: Caller
  /** The fiber that this task is, once it has begun. */
  fiber: number | undefined
  private isOver = false
  /** How many waits for a gate go on inside of this task, gate by gate. */
  private waits: Map<Holdable, number> | undefined

  constructor(
    gates: ReadonlyArray<Holdable>,
    bookings: ReadonlyArray<unknown>,
    outer: Holding | undefined,
    caller: Caller
  ) {
    this.gates = gates
    this.bookings = bookings
    this.outer = outer
    this.caller = caller
  }

  /** Notes that something inside the task begins (1) or ceases (-1) to wait at the gate. Returns how many do. */
  countWait(gate: Holdable, by: 1 | -1): number {
    if (this.isOver) return NaN
    this.waits ??= new Map()
    const count = (this.waits.get(gate) ?? 0) + by
    this.waits.set(gate, count)
    return count
  }

  /** The task has ended: what it has left behind waits on behalf of nobody. */
  end(): void {
    for (const [gate, count] of this.waits ?? []) if (count > 0) gate.unblock()
    this.isOver = true
  }

  /** Whether the task cannot go on as long as that fiber waits. */
  dependsOn({ fiber, isSupervised }: Caller): boolean {
    return !this.isOver && (fiber === this.fiber || !isSupervised)
  }
}

/** A fiber that calls. */
export interface Caller {
  readonly fiber: number
  /** Whether it was forked as somebody's child, which goes on beside its parent. */
  readonly isSupervised: boolean
}

/**
 * The tasks, innermost first, that hold a place of the gate and cannot go on as long as that fiber waits: the task is that
 * fiber, or waits for it, as it does for all that `Effect.all` and the like run. A forked child waits on its own account.
 */
export const heldUpBy = (caller: Caller, holding: Holding | undefined, gate: Holdable): ReadonlyArray<Holding> => {
  const heldUp: Array<Holding> = []
  for (let each = holding; each?.dependsOn(caller) === true; each = each.outer) {
    if (each.gates.includes(gate)) heldUp.push(each)
    caller = each.caller
  }
  return heldUp
}

/** What the task holds that a fiber belongs to. */
export const CurrentHolding = Context.Reference<Holding | undefined>("fibermeter/Holding", {
  defaultValue: () => undefined
})

/** The task as an effect that knows what it holds. */
export const telling = <A, E, R>(effect: Effect.Effect<A, E, R>, holding: Holding): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    holding.fiber = fiber.id
    const told = Effect.provideService(effect, CurrentHolding, holding)
    return Effect.onExit(told, () => Effect.sync(() => holding.end()))
  })
