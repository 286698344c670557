/**
 * Limits as users give them, checked.
 */
import type * as Duration from "effect/Duration"

/** A limit on what is spent in any window of time of that length. */
export interface WindowLimit {
  readonly limit: number
  readonly per: Duration.Input
}

export interface Limits {
  readonly maxAtOnce?: number | undefined
  readonly maxPerSecond?: number | undefined
  readonly maxBurst?: number | undefined
  readonly windows?: Readonly<Record<string, WindowLimit | undefined>> | undefined
}

/** A length of time in whole nanoseconds, rounded up. Checked already, and so read as milliseconds. */
export const nanosOf = (time: Duration.Input): number => Math.ceil((time as number) * 1_000_000)

/** Limits after a change of those that are given. */
export const changed = <L extends Limits>(limits: L, given: Limits): L => ({
  ...limits,
  ...given,
  windows: { ...limits.windows, ...given.windows }
})

/** The windows that are not `undefined`. */
export const windowsOf = (windows: Limits["windows"] = {}): ReadonlyArray<readonly [string, WindowLimit]> =>
  Object.entries(windows).filter((each): each is [string, WindowLimit] => each[1] !== undefined)
