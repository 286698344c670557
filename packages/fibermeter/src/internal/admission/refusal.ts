/**
 * Why a limiter refuses a start, as a plain value: core makes a `Cause` of it (`errors.ts`), the facade an `Error`.
 */

/** A task costs more than a limit allows for in its whole window, so that waiting could not help. */
export interface ExcessiveCost {
  readonly _tag: "ExcessiveCost"
  /** The name of the window. */
  readonly window: string
  readonly cost: number
  readonly limit: number
}

/** Something of Effect's has failed, or would never end. Only the limiters of core refuse with that. */
export interface Failure {
  readonly _tag: "Failure"
  readonly cause: unknown
}

export type Refusal = ExcessiveCost | Failure

export const excessMessage = ({ cost, limit, window }: Omit<ExcessiveCost, "_tag">): string =>
  `a task costs ${cost} ${window}, but no more than ${limit} are allowed for in the whole window`
