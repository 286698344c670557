/**
 * Event-loop yields.
 *
 * Tasks that resolve at once end in microtasks, and a run that starts the next task where the last one ended would
 * keep the event loop from timers, signals and I/O for as long as there are tasks. So each start, and whatever else a
 * program can do again and again without waiting, asks `overdue()` first. If the current turn of the event loop has lasted for
 * several milliseconds, it continues in a later turn, by `later()`.
 *
 * **Idle time is no turn.** No host says when a turn begins. When the budget seems spent, that may as well be the time in
 * which the program was idle. So the budget begins anew, and a marker is put into the host's queue: only if it is still
 * there when the budget is spent again, this is one long turn. A turn thus lasts two budgets at most, and nothing is
 * deferred in a turn that has just begun. It costs one entry of the queue in each budget of time, not one in each turn:
 * to mark every turn makes tasks that end in macrotasks 3 to 20 % slower (benchmark `overhead`).
 *
 * There is one event loop, hence this module's state is one for all: a thousand runs share the same few
 * milliseconds. What is measured is real time spent, not the program's time, so this alone asks no `Clock`.
 */
import { captureContext } from "./asyncContext.ts"
import type { Host } from "./host.ts"

/** How long a turn may last until it is marked, and from then on until a yield, in milliseconds. */
const budget = 4

/**
 * Starts between two looks at the clock, at most. So many slow tasks may follow cheap ones of the same call before the
 * next look; but a look may take as long as a task that resolves at once: with 16, `amap` and a meter's `run` took up to
 * half as long again (benchmark `overhead`).
 */
const maxStride = 64

/** What `budget` is, in starts, where the clock stands still while code runs: Cloudflare Workers, faked timers. */
const maxStarts = 16_384

/** Looked up each time: what was there when this was loaded may have been a test's. */
const real = globalThis as unknown as { readonly performance: { readonly now: () => number } }

let budgetEnds = 0
let lastCheck = 0
let stride = 1
let startsUntilCheck = 1
let starts = 0
let waiting = 0
/** Whether there has been no later turn since the budget was last spent, as far as the host's queue shows. */
let isMarked = false

/**
 * Counts a start. Says whether it should come in a later turn. Where time is a test's, starts alone are counted: how
 * fast the machine is must not decide at which of its instants something happens.
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
  // A test's clock was in use, and is gone.
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
    // All who wait may be called in the same turn, one after the other: each gets its share of it.
    const share = budget / waiting--
    // This is known to be the beginning of a turn, so it is marked, once. Marked already, it may be so in the queue of a
    // scheduler that is not used any more: then this marker takes the place of that one.
    if (isMarked && waiting > 0) turnBegins(host.isLive, share)
    else mark(host, share)
    // However small the share, one start comes of it.
    startsUntilCheck = 2
    context.runInAsyncScope(resume)
  })
}

/**
 * To be called where a turn, or a budget of time, is known to begin, as when a timer fires. A test's clock says nothing of
 * how long that lasts.
 */
export const turnBegins = (isLive = true, share: number = budget): void => {
  lastCheck = isLive ? real.performance.now() : 0
  budgetEnds = lastCheck + share
  starts = 0
  callBegins()
}

/** A turn has begun, whatever has become of the marker: it may have belonged to a request that has ended. */
export const freshTurn = (): void => {
  isMarked = false
  turnBegins()
}

/** A call begins. Its tasks may take longer than those before: their first one has the clock looked at. */
export const callBegins = (): void => {
  stride = 1
  startsUntilCheck = 1
}
