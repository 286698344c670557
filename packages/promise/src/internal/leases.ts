/**
 * The leases of attempts that hold permits of meters on a store. An attempt whose process loses its lease fails, like one that
 * times out. This module has only the variable, so that programs without a store load nothing else: `storeLimiter.ts` sets it.
 */
import type { admission } from "fibermeter/engine"

/** What may end an attempt before it has settled. */
export interface AttemptLimit {
  /** The limit no longer ends the attempt. */
  readonly cancel: () => void
  /** To be called when the attempt has settled. Returns whether the limit had not ended it before. */
  readonly end: () => boolean
  /** Whether the ended attempt keeps its permits until it has settled, even with `releaseOnTimeout`. */
  readonly keepsPermits?: boolean
}

/**
 * Calls `onLost` if the attempt loses its lease, unless it has settled or `limit` has ended it before. Returns what to use instead
 * of `limit`.
 */
export type Watch = (limit: AttemptLimit | undefined, onLost: (error: unknown) => void) => AttemptLimit

/** `watch` returns nothing for an attempt that holds no permits of a store. */
export const leases: { watch: ((reservation: admission.Reservation | undefined) => Watch | undefined) | undefined } = {
  watch: undefined
}
