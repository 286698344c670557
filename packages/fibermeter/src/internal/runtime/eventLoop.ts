/**
 * Event-loop yields.
 *
 * Tasks that resolve at once end in microtasks. A run that starts the next task where the last one ended would block timers,
 * signals and I/O for as long as there are tasks. So each start, and whatever else a program can repeat without waiting, asks
 * `overdue` first. If the current turn of the event loop has lasted for several milliseconds, it continues in a later turn, by
 * `deferStart`.
 *
 * **Idle time is not a turn.** No host reports when a turn begins. When the budget seems spent, the program may have been idle.
 * So the budget begins anew, and a marker is put into the host's queue: if it is still there when the budget is spent again,
 * it has been one long turn. So a turn lasts at most two budgets, and nothing is deferred in a turn that has just begun. This
 * costs one entry of the queue in each budget of time, not in each turn: marking every turn makes tasks that end in
 * macrotasks 3 to 20 % slower (benchmark `overhead`).
 *
 * There is one event loop, so the state of this module is global: a thousand runs share the same few milliseconds. It
 * measures real time and not the program's, so this module alone does not use the `Clock`.
 */
import { captureContext } from "./asyncContext.ts"
import type { Host } from "./host.ts"

/** How long a turn may last until it is marked, and from then on until a yield, in milliseconds. */
const budget = 4

/**
 * The most starts between two reads of the clock. As many slow tasks can follow cheap ones of the same call before the next
 * read. But a read can take as long as a task that resolves at once: with 16, `amap` and a meter's `run` took up to half as
 * long again (benchmark `overhead`).
 */
const maxStride = 64

/** The budget in starts, where the clock stands still while code runs: Cloudflare Workers, fake timers. */
const maxStarts = 16_384

/** Looked up each time: what was there when this was loaded may have been a test's. */
const real = globalThis as unknown as { readonly performance: { readonly now: () => number } }

let budgetEnds = 0
let lastCheck = 0
let stride = 1
let startsUntilCheck = 1
let starts = 0
let waiting = 0
/** Whether the marker is in the host's queue: there has been no later turn since the budget was last spent. */
let isMarked = false

/**
 * Counts a start. Returns whether it should come in a later turn. With a test's clock, only starts count: the speed of the
 * machine must not decide at which of its instants something happens.
 */
export const overdue = (host: Host): boolean => --startsUntilCheck <= 0 && checkClock(host)

const checkClock = (host: Host): boolean => {
  starts += stride
  const isSpent = host.isLive ? isSpentNow() : starts >= maxStarts
  startsUntilCheck = stride
  if (!isSpent) return false
  // Until something continues in a later turn, each start is deferred.
  if (isMarked) startsUntilCheck = 0
  else mark(host)
  return startsUntilCheck === 0
}

const isSpentNow = (): boolean => {
  const now = real.performance.now()
  // A test's clock was in use before.
  const isAnother = now < lastCheck
  if (now - lastCheck > budget / 4) stride = 1
  else if (stride < maxStride) stride *= 2
  lastCheck = now
  return now >= budgetEnds || isAnother || starts >= maxStarts
}

const mark = (host: Host, share: number = budget): void => {
  turnBegins(host.isLive, share)
  isMarked = true
  host.defer(unmark)
}

const unmark = (): void => {
  isMarked = false
}

/** Calls `resume` in a later turn of the event loop, in the async context of now. */
export const deferStart = (host: Host, resume: () => void): void => {
  const context = captureContext()
  waiting++
  host.defer(() => {
    // All that wait may be called in the same turn, one after the other: each gets a share of it.
    const share = budget / waiting--
    // A turn begins here, so it is marked, once. An older marker may be in the queue of a scheduler that is not used any
    // more: this one replaces it.
    if (isMarked && waiting > 0) turnBegins(host.isLive, share)
    else mark(host, share)
    // However small the share, it is enough for one start.
    startsUntilCheck = 2
    context.runInAsyncScope(resume)
  })
}

/** To be called when a turn is known to begin, as when a timer fires. A test's clock does not show how long it lasts. */
export const turnBegins = (isLive = true, share: number = budget): void => {
  lastCheck = isLive ? real.performance.now() : 0
  budgetEnds = lastCheck + share
  starts = 0
  callBegins()
}

/** A turn begins, even if the marker is still queued: it may have belonged to a request that has ended. */
export const freshTurn = (): void => {
  isMarked = false
  turnBegins()
}

/** A call begins. Its tasks may take longer than those before, so the clock is read at the first one. */
export const callBegins = (): void => {
  stride = 1
  startsUntilCheck = 1
}
