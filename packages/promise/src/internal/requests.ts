/**
 * Cloudflare Workers: one isolate serves many requests at once, and a timer, a signal, I/O and the reactions to a promise
 * belong to the request that made them. The runtime ends a request that waits for nothing of its own, and drops the
 * timers of a request that has ended. A meter that several requests share therefore keeps these rules:
 *
 * - A waiter is admitted only in its own request, so its task starts there. An event of another request that makes room
 *   resolves a promise of the waiter's request. From the compatibility date 2024-10-14 on, its reactions run there.
 * - A waiter polls its limiters every 1 to 20 ms on a timer of its own request. This keeps the request alive, and finds
 *   room that no event has announced: with an older compatibility date, or when the request that would have announced it
 *   has ended.
 * - A request that misses 50 polls in a row while others polled, about a second, has ended. Its waiters leave the queue
 *   when they are first.
 *
 * Rejected: to take the permit at once and hand it over by the promise. A request that ends meanwhile would keep it.
 */
import { runtime } from "fibermeter/engine"
import { isFake } from "./isFake.ts"
import { presentRequest, sharing } from "./presentRequest.ts"
import type { Home } from "./presentRequest.ts"

interface Globals {
  readonly Date: { readonly now: () => number }
  readonly setTimeout: (f: () => void, millis: number) => unknown
}

const globals = globalThis as unknown as Globals

/** As they were when this module was loaded: a timer that a test has taken away would leave a request without looks. */
const { Date: date, setTimeout: timeout } = globals

/** The longest interval between two polls of a waiter, in milliseconds. */
const maxDelay = 20

/** How many polls a request may miss. */
const maxMissed = 50

/** Counts the intervals of `maxDelay` in which any request polled: a clock that a stall of the isolate does not advance. */
let polls = 0
let lastPoll = 0

/** The waiters of a request, and what is to be done in it. Made in the request. */
class Inbox {
  private readonly home: Home
  private readonly waiters = new Set<runtime.Waiting>()
  private readonly due = new Set<runtime.Wakeable>()
  private wake: (() => void) | undefined
  private isPolling = false
  private delay = 1
  private lastSeen = 0

  constructor(home: Home) {
    this.home = home
    this.listen()
  }

  get isHere(): boolean {
    return this.home.isHere
  }

  /** Whether the request has ended, although one of its waiters waits. */
  get isGone(): boolean {
    return polls - this.lastSeen > maxMissed
  }

  wait(waiter: runtime.Waiting): void {
    this.waiters.add(waiter)
    this.delay = 1
    if (this.isPolling) return
    this.isPolling = true
    this.lastSeen = polls
    this.poll()
  }

  /** There is room, but this turn of the event loop has lasted long enough. */
  lookSoon(): void {
    this.delay = 1
  }

  send(wakeable: runtime.Wakeable): void {
    this.due.add(wakeable)
    this.wake?.()
  }

  private listen(): void {
    void new Promise<void>((resolve) => {
      this.wake = resolve
    }).then(() => {
      this.wake = undefined
      // With an older compatibility date, this runs in the request of the sender.
      if (this.isHere) this.deliver()
    })
  }

  private deliver(): void {
    if (this.wake === undefined) this.listen()
    const due = Array.from(this.due)
    this.due.clear()
    for (const each of due) each.wake()
  }

  private poll(): void {
    timeout(() => this.look(), this.delay)
    this.delay = Math.min(2 * this.delay, maxDelay)
  }

  private look(): void {
    runtime.freshTurn()
    const now = date.now()
    if (now - lastPoll >= maxDelay) {
      lastPoll = now
      polls++
    }
    this.lastSeen = polls
    // Before the tasks that start now, since one of them may throw or take long.
    for (const waiter of this.waiters) if (!waiter.isWaiting) this.waiters.delete(waiter)
    this.isPolling = this.waiters.size > 0
    if (this.isPolling) this.poll()
    for (const limiter of new Set(Array.from(this.waiters, ({ limiters }) => limiters).flat())) this.due.add(limiter)
    this.deliver()
  }
}

/** By what stands for a request. */
const inboxes = new WeakMap<Home, Inbox>()

/** Those of the requests that objects belong to. */
const homes = new WeakMap<object, Inbox>()

class WorkersRequests implements runtime.Requests {
  enter(key: object): void {
    const home = presentRequest()!
    const inbox = inboxes.get(home) ?? new Inbox(home)
    inboxes.set(home, inbox)
    homes.set(key, inbox)
  }

  wait(waiter: runtime.Waiting): void {
    // Limiters that are not shared are used by one request only. Under the fake timers of a test there is only one request.
    if (isFake(globals.setTimeout) || !waiter.limiters.some((limiter) => limiter.isShared)) return
    this.enter(waiter)
    homes.get(waiter)!.wait(waiter)
  }

  looksAgain(waiter: runtime.Waiting): boolean {
    const home = homes.get(waiter)
    home?.lookSoon()
    return home !== undefined
  }

  isHere(key: object): boolean {
    return homes.get(key)?.isHere !== false
  }

  send(key: object, wakeable: runtime.Wakeable): void {
    homes.get(key)!.send(wakeable)
  }

  sendWaiter(waiter: runtime.Waiting, limiter: runtime.Wakeable): void {
    if (homes.get(waiter)!.isGone) waiter.cancel()
    else this.send(waiter, limiter)
  }
}

/** A meter has been made. Not done at load, so that bundlers can leave this out. */
export const meterMade = (): void => {
  if (runtime.isWorkers) sharing.requests ??= new WorkersRequests()
}

/** A promise for an event that may happen in another request. `register` gets the function that resolves it. */
export const eventually = (register: (resolve: () => void) => void): Promise<void> =>
  new Promise((resolve) => {
    const home = isFake(globals.setTimeout) ? undefined : presentRequest()
    if (home === undefined) return register(resolve)
    let isOver = false
    register(() => {
      isOver = true
      if (home.isHere) resolve()
    })
    // Keeps the request alive.
    const look = (): void => {
      if (isOver) resolve()
      else timeout(look, maxDelay)
    }
    look()
  })
