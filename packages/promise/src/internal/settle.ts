/**
 * When the promise of a call settles. A program may await one call after the other whose promises all settle in
 * microtasks, so that the event loop never gets a turn. So if the current turn has lasted too long, promises settle in a
 * later one. The call itself has ended by then, and its permit is free.
 */
import { runtime } from "fibermeter/engine"
import { host } from "./host.ts"
import { presentRequest } from "./presentRequest.ts"
import type { Rejection } from "./rejection.ts"

/** Settles a promise. */
export type Settle<B> = (result: B | Promise<never>) => void

interface PendingSettlement {
  readonly settle: Settle<any>
  readonly value: unknown
  readonly rejection: Rejection | undefined
}

/** The promises that settle in a later turn, in the order in which their calls ended. */
interface Queue {
  pending: Array<PendingSettlement>
}

const queue: Queue = { pending: [] }

/** If events belong to requests, each request has a queue of its own. */
const queues = new WeakMap<object, Queue>()

const queueHere = (): Queue => {
  const request = presentRequest()
  if (request === undefined) return queue
  const known = queues.get(request)
  if (known !== undefined) return known
  const made: Queue = { pending: [] }
  queues.set(request, made)
  return made
}

/** Whether a promise that would settle now should settle in a later turn. Counts as a start towards the next yield. */
export const isLate = (): boolean => queueHere().pending.length > 0 || runtime.overdue(host())

/** Settles a promise in a later turn. */
export const settleLater = <B>(settle: Settle<B>, value: B, rejection?: Rejection): void => {
  const here = queueHere()
  if (here.pending.push({ settle, value, rejection }) === 1) host().defer(() => release(here))
}

/** Settles the promise of a call that has ended. Rejects it if there is a rejection. */
export const settleCall = <B>(settle: Settle<B>, value: B, rejection?: Rejection): void => {
  if (isLate()) settleLater(settle, value, rejection)
  else settleNow(settle, value, rejection)
}

/** Settles a promise after those that wait for a later turn. */
export const settleInOrder = <B>(settle: Settle<B>, value: B): void => {
  if (queueHere().pending.length > 0) settleLater(settle, value)
  else settle(value)
}

const release = (from: Queue): void => {
  const { pending } = from
  from.pending = []
  for (const { rejection, settle, value } of pending) settleNow(settle, value, rejection)
}

const settleNow = <B>(settle: Settle<B>, value: B, rejection: Rejection | undefined): void => {
  // The rejected promise is created here and passed on at once, or it would be an unhandled rejection.
  settle(rejection === undefined ? value : Promise.reject(rejection.reason))
}
