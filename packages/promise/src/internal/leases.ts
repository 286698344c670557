/**
 * The leases of attempts that hold permits of meters on a store. An attempt whose process has lost its lease fails, as one that
 * has timed out. Only the variable is here, so that programs without a store carry nothing else: `storeLimiter.ts` sets it.
 */
import type { admission } from "fibermeter/engine"

/** What may end an attempt before it has settled. */
export interface AttemptLimit {
  /** It may do so no more. */
  readonly cancel: () => void
  /** The attempt has settled. Returns whether it had not been ended before. */
  readonly end: () => boolean
  /** Whether the attempt was ended, but keeps its permits until it has settled, even with `releaseOnTimeout`. */
  readonly keepsPermits?: boolean
}

/**
 * Calls `onLost` if the attempt loses what it has taken, unless it has settled or was ended by `limit` before. Returns what to use
 * instead of `limit`.
 */
export type Watch = (limit: AttemptLimit | undefined, onLost: (error: unknown) => void) => AttemptLimit

/** `watch` returns nothing for an attempt that holds no permits of a store. */
export const leases: { watch: ((reservation: admission.Reservation | undefined) => Watch | undefined) | undefined } = {
  watch: undefined
}
