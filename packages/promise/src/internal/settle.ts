/**
 * When the promise of a call settles. A program that awaits one call after the other may never wait: its calls settle in
 * microtasks, and the event loop would get no turn. So where the turn has lasted too long, promises settle in a later one.
 * The call itself has ended by then, and its permit is free.
 */
import { runtime } from "fibermeter/engine"
import { host } from "./host.ts"
import type { Rejection } from "./rejection.ts"
import { requests } from "./requests.ts"

/** Settles a promise. */
export type Settle<B> = (result: B | Promise<never>) => void

interface Held {
  readonly settle: Settle<any>
  readonly value: unknown
  readonly rejection: Rejection | undefined
}

/** The promises that settle in a later turn, in the order in which their calls have ended. */
interface Queue {
  held: Array<Held>
}

const queue: Queue = { held: [] }

/** Where events belong to requests, each request has a queue, and a turn, of its own. */
const queues = new WeakMap<object, Queue>()

const queueHere = (): Queue => {
  if (requests === undefined) return queue
  const request = requests.here()
  const known = queues.get(request)
  if (known !== undefined) return known
  const made: Queue = { held: [] }
  queues.set(request, made)
  return made
}

/** Whether what settles now should do so in a later turn. Counts it as a start. */
export const isLate = (): boolean => queueHere().held.length > 0 || runtime.overdue(host())

/** Settles a promise in a later turn. */
export const settleLater = <B>(settle: Settle<B>, value: B, rejection?: Rejection): void => {
  const here = queueHere()
  if (here.held.push({ settle, value, rejection }) === 1) host().defer(() => release(here))
}

/** Settles the promise of a call that has ended: rejects it if there is a rejection. */
export const settleCall = <B>(settle: Settle<B>, value: B, rejection?: Rejection): void => {
  if (isLate()) settleLater(settle, value, rejection)
  else settleNow(settle, value, rejection)
}

/** Settles a promise, but not before those that settle in a later turn. */
export const settleInOrder = <B>(settle: Settle<B>, value: B): void => {
  if (queueHere().held.length > 0) settleLater(settle, value)
  else settle(value)
}

const release = (from: Queue): void => {
  const { held } = from
  from.held = []
  for (const { rejection, settle, value } of held) settleNow(settle, value, rejection)
}

const settleNow = <B>(settle: Settle<B>, value: B, rejection: Rejection | undefined): void => {
  // Created only where it is passed on, or the rejection would be unhandled.
  settle(rejection === undefined ? value : Promise.reject(rejection.reason))
}
