/**
 * When the promise of a call settles. A program that awaits one call after the other may never wait: its calls settle in
 * microtasks, and the event loop would get no turn. So where the turn has lasted too long, promises settle in a later one.
 * The call itself has ended by then, and its permit is free.
 */
import { runtime } from "fibermeter/engine"
import { host } from "./host.ts"
import type { Rejection } from "./rejection.ts"

/** Settles a promise. */
export type Settle<B> = (result: B | Promise<never>) => void

interface Held {
  readonly settle: Settle<any>
  readonly value: unknown
  readonly rejection: Rejection | undefined
}

/** The promises that settle in a later turn, in the order in which their calls have ended. */
let held: Array<Held> = []

/** Whether what settles now should do so in a later turn. Counts it as a start. */
export const isLate = (): boolean => held.length > 0 || runtime.overdue(host())

/** Settles a promise in a later turn. */
export const settleLater = <B>(settle: Settle<B>, value: B, rejection?: Rejection): void => {
  if (held.push({ settle, value, rejection }) === 1) host().defer(release)
}

/** Settles the promise of a call that has ended: rejects it if there is a rejection. */
export const settleCall = <B>(settle: Settle<B>, value: B, rejection?: Rejection): void => {
  if (isLate()) settleLater(settle, value, rejection)
  else settleNow(settle, value, rejection)
}

/** Settles a promise, but not before those that settle in a later turn. */
export const settleInOrder = <B>(settle: Settle<B>, value: B): void => {
  if (held.length > 0) settleLater(settle, value)
  else settle(value)
}

const release = (): void => {
  const settling = held
  held = []
  for (const { rejection, settle, value } of settling) settleNow(settle, value, rejection)
}

const settleNow = <B>(settle: Settle<B>, value: B, rejection: Rejection | undefined): void => {
  // Created only where it is passed on, or the rejection would be unhandled.
  settle(rejection === undefined ? value : Promise.reject(rejection.reason))
}
