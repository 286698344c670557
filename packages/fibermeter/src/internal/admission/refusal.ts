/**
 * Why a limiter refuses a start, as a plain value. Core turns it into a `Cause` (`errors.ts`), the facade into an `Error`.
 */

/** A task costs more than a window allows in all, so waiting cannot help. */
export interface ExcessiveCost {
  readonly _tag: "ExcessiveCost"
  /** The name of the window. */
  readonly window: string
  readonly cost: number
  readonly limit: number
}

/** A task needs more permits than there are in all, so waiting cannot help. */
export interface ExcessivePermits {
  readonly _tag: "ExcessivePermits"
  readonly permits: number
  readonly limit: number
}

/** An effect has failed or would never end. Only the limiters of core refuse with that. */
export interface Failure {
  readonly _tag: "Failure"
  readonly cause: unknown
}

/** A meter is overloaded: too many calls wait, or the wait is too long. */
export interface Overloaded {
  readonly _tag: "Overloaded"
  readonly reason: "queue-full" | "wait-timeout"
  /** In how many milliseconds a call would be accepted, if no other came before; `undefined` if that cannot be known. */
  readonly retryAfter: number | undefined
}

export type Refusal = ExcessiveCost | ExcessivePermits | Failure | Overloaded

export const overloadMessage = ({ reason }: Pick<Overloaded, "reason">): string =>
  reason === "queue-full"
    ? "the meter is overloaded: as many calls wait as its maxWaiting allows"
    : "the meter is overloaded: the task cannot start within its waitTimeout"

export const excessMessage = (refusal: Omit<ExcessiveCost, "_tag"> | Omit<ExcessivePermits, "_tag">): string =>
  "window" in refusal
    ? `a task costs ${refusal.cost} ${refusal.window}, but no more than ${refusal.limit} are allowed for in the whole window`
    : `a task needs ${refusal.permits} permits, but there are ${refusal.limit} in all`

/** Why a task that needs so many permits can never start. A limit of none is not a reason: it may be raised. */
export const excessOf = (permits: number, capacity: number): Refusal | undefined =>
  permits > 1 && permits > capacity ? { _tag: "ExcessivePermits", permits, limit: capacity } : undefined
