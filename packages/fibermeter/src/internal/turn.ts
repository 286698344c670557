/**
 * Lets the rest of the program have its turn.
 *
 * Tasks that resolve at once end in microtasks, and a run that starts the next task where the last one ended would
 * keep the event loop from timers, signals and I/O for as long as there are tasks. So whatever starts tasks asks
 * `overdue()` first, and if the current turn of the event loop has lasted for a few milliseconds, goes on in a later
 * turn, by `later()`.
 *
 * There is one event loop, hence so is this module's state one for all: a thousand runs share the same few
 * milliseconds. What is measured is real time spent, not the program's time, so this alone asks no `Clock`.
 */
import { captureContext } from "./asyncContext.ts"
import type { Host } from "./host.ts"

/** How long a turn may last, in milliseconds. */
const budget = 4

/** Starts between two looks at the clock: as many as take a fraction of the budget, so that a look costs nothing. */
const maxStride = 64

/** Starts in one turn where the clock stands still while code runs: Cloudflare Workers, faked timers. */
const maxStarts = 16_384

/** Looked up each time: what was there when this was loaded may have been a test's. */
const real = globalThis as unknown as { readonly performance: { readonly now: () => number } }

let turnEnds = 0
let lastLook = 0
let stride = 1
let untilLook = 1
let starts = 0
let waiting = 0

/**
 * Counts a start. Says whether it should come in a later turn. Where time is a test's, starts alone are counted: how
 * fast the machine is must not decide at which of its instants something happens.
 */
export const overdue = (isLive: boolean): boolean => --untilLook <= 0 && look(isLive)

const look = (isLive: boolean): boolean => {
  starts += stride
  if (!isLive) {
    untilLook = stride
    return starts >= maxStarts
  }
  const now = real.performance.now()
  if (now - lastLook > budget / 4) stride = 1
  else if (stride < maxStride) stride *= 2
  lastLook = now
  untilLook = stride
  // Time in which the program was idle looks like a long turn. One turn let go too early is cheaper than watching all.
  if (now < turnEnds && starts < maxStarts) return false
  untilLook = 0
  return true
}

/** Calls `resume` in a later turn of the event loop, in the async context of now. */
export const later = (host: Host, resume: () => void): void => {
  const context = captureContext()
  waiting++
  host.defer(() => {
    // All who wait may be called in the same turn, one after the other: each gets its share of it.
    turnBegins(host.isLive, budget / waiting--)
    // However small the share, one start comes of it.
    untilLook = 2
    context.runInAsyncScope(resume)
  })
}

/** To be called where a turn is known to begin, as when a timer fires. A test's clock says nothing of how long that lasts. */
export const turnBegins = (isLive = true, share: number = budget): void => {
  lastLook = isLive ? real.performance.now() : 0
  turnEnds = lastLook + share
  starts = 0
  stride = 1
  untilLook = 1
}
