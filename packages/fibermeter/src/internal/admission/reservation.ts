/**
 * What a task has taken from the limiters that admitted it. `taskScope.ts` makes it known to what runs in the task.
 */

/** What a task costs, by the names of windows. A window that is not named costs 1. */
export type Cost = Readonly<Record<string, number>>

/** What a task can take from: a limiter. */
export interface Reservable {
  /** The names by which costs are counted here. */
  readonly names: Iterable<string>
  /** The task of that entry has cost something else than was taken. `wake` has to be called afterwards. */
  correct(entry: unknown, cost: Cost): void
  /** To be called when the limiter may have opened. */
  wake(): void
  /** In the facade, where its meter is one that can do this: reconciles windows with what a server has reported. */
  readonly reconciler?: (reservation: Reservation, report: unknown) => void
}

/** What counts costs by names. */
export type Weighing = Pick<Reservable, "names">

/** An entry of a limit that numbers the starts of all processes: a later holder of the same permits has a higher number. */
export interface Fenced {
  readonly fencingToken: number
}

export interface Reservation {
  readonly limiters: ReadonlyArray<Reservable>
  /** What `take` of each limiter returned. */
  readonly entries: ReadonlyArray<unknown>
}

/** The fencing token of the first entry that has one. */
export const fencingTokenOf = (entries: Reservation["entries"]): number | undefined =>
  (entries as ReadonlyArray<Partial<Fenced> | undefined>).find((entry) => entry?.fencingToken)?.fencingToken

/** Corrects what a task has taken. All limiters are corrected before their waiters are checked. */
export const correct = ({ entries, limiters }: Reservation, cost: Cost): void => {
  for (const [i, limiter] of limiters.entries()) limiter.correct(entries[i], cost)
  for (const limiter of limiters) limiter.wake()
}
