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
}

export class Holding {
  readonly gates: ReadonlyArray<Holdable>
  readonly bookings: ReadonlyArray<unknown>
  /** What the task holds that this one runs inside of. */
  readonly outer: Holding | undefined
  /** The fiber that this task is a call of. */
  readonly caller: number
  /** The fiber that this task is, once it has begun. */
  fiber: number | undefined
  /** How many waits for a gate go on inside of this task, gate by gate. */
  private waits: Map<Holdable, number> | undefined

  constructor(
    gates: ReadonlyArray<Holdable>,
    bookings: ReadonlyArray<unknown>,
    outer: Holding | undefined,
    caller: number
  ) {
    this.gates = gates
    this.bookings = bookings
    this.outer = outer
    this.caller = caller
  }

  /** Notes that something inside the task begins (1) or ceases (-1) to wait at the gate. Returns how many do. */
  countWait(gate: Holdable, by: 1 | -1): number {
    this.waits ??= new Map()
    const count = (this.waits.get(gate) ?? 0) + by
    this.waits.set(gate, count)
    return count
  }
}

/**
 * The tasks, innermost first, that hold a place of the gate and cannot go on as long as that fiber waits: those whose own
 * fiber it is, or whose own fiber has made the call that it belongs to. What a task has merely set going waits on its
 * own account.
 */
export const heldUpBy = (fiber: number, holding: Holding | undefined, gate: Holdable): ReadonlyArray<Holding> => {
  const heldUp: Array<Holding> = []
  for (let each = holding; each?.fiber === fiber; each = each.outer) {
    if (each.gates.includes(gate)) heldUp.push(each)
    fiber = each.caller
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
    return Effect.provideService(effect, CurrentHolding, holding)
  })
