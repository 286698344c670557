/**
 * What a task holds of the limiters that have admitted it. What that means for what runs inside of the task is in
 * `taskScope.ts`.
 */

/** What a task costs, by the names of windows; a window that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** What a task can hold a place of: a limiter. */
export interface Reservable {
  /** The names by which a task's cost is counted here. */
  readonly names: Iterable<string>
  /** The task behind that note has cost something else than it was to. To be followed by `wake`. */
  correct(entry: unknown, cost: Cost): void
  /** To be called when the limiter may have opened. */
  wake(): void
}

export interface Reservation {
  readonly limiters: ReadonlyArray<Reservable>
  /** What each of them has noted of the task's start. */
  readonly entries: ReadonlyArray<unknown>
}

/** The task has cost something else than it was to. Only when all limiters know of it, their waiters are looked at. */
export const correct = ({ entries, limiters }: Reservation, cost: Cost): void => {
  for (const [i, limiter] of limiters.entries()) limiter.correct(entries[i], cost)
  for (const limiter of limiters) limiter.wake()
}
