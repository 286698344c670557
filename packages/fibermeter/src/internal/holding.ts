/**
 * What a task holds of the gates that have admitted it. What that means for what runs inside of the task is in
 * `nesting.ts`.
 */

/** What a task costs, by the names of windows; a window that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** What a task can hold a place of: a gate. */
export interface Holdable {
  /** The names by which a task's cost is counted here. */
  readonly names: Iterable<string>
  /** The task behind that note has cost something else than it was to. To be followed by `wake`. */
  correct(booking: unknown, cost: Cost): void
  /** To be called when the gate may have opened. */
  wake(): void
}

export interface Holding {
  readonly gates: ReadonlyArray<Holdable>
  /** What each of them has noted of the task's start. */
  readonly bookings: ReadonlyArray<unknown>
}

/** The task has cost something else than it was to. Only when all gates know of it, their waiters are looked at. */
export const correct = ({ bookings, gates }: Holding, cost: Cost): void => {
  for (const [i, gate] of gates.entries()) gate.correct(bookings[i], cost)
  for (const gate of gates) gate.wake()
}
