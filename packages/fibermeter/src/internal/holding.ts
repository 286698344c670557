/**
 * What a task holds of the gates that it has passed. Only types: what they mean for those who run inside of a task is in
 * `nesting.ts`.
 */

/** What a task costs, by the names of windows; a window that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** What a task can hold a place of: a gate. */
export interface Holdable {
  /** The names by which a task's cost is counted here. */
  readonly names: Iterable<string>
  /** The task behind that note has cost something else than it was to. */
  correct(booking: unknown, cost: Cost): void
}

export interface Holding {
  readonly gates: ReadonlyArray<Holdable>
  /** What each of them has noted of the task's start. */
  readonly bookings: ReadonlyArray<unknown>
}
