/** Counts the work of promises on the virtual clock, and bounds it. */
import { AsyncResource } from "node:async_hooks"
import { runtime } from "fibermeter/engine"
import { expect, vi } from "vitest"
import { type Counts, expectAtMost, noCounts, Tally } from "../../../fibermeter/test/support/Tally.ts"
import { createMeter } from "../../src/index.ts"
import { host } from "../../src/internal/host.ts"
import { value } from "../support.ts"

export interface Work extends Counts {
  /** Promises that were created, including those of the tasks. */
  promises: number
  /** Listeners that were added to a signal. */
  listeners: number
}

const noWork: Work = { ...noCounts, promises: 0, listeners: 0 }

/**
 * The constant part, for any number of tasks: the work per call. A call also yields to the event loop after some thousand
 * tasks, which is far less than once for a hundred.
 */
const onTop: Work = {
  ...noWork,
  steps: 4,
  promises: 80,
  reads: 20,

  elements: 300,
  captures: 4,
  listeners: 1
}

/** Also counts promises, listeners, timers and readings of the clock. */
class ClockTally extends Tally<Work> {
  /** The async contexts in which something was called. */
  readonly contexts = new Set<unknown>()
  /** Timers that are set. */
  readonly armed = new Set<unknown>()
  mostArmed = 0

  constructor() {
    super(noWork)
  }

  protected override install(): void {
    const { counted } = this
    super.install()
    this.onCall(Object.getPrototypeOf(host()) as runtime.Host, "defer", () => counted.steps++)
    this.onCall(Date, "now", () => counted.reads++)
    this.onCall(AsyncResource.prototype, "runInAsyncScope", (self) => this.contexts.add(self))
    this.onCall(EventTarget.prototype, "addEventListener", (self) => {
      if (self instanceof AbortSignal) counted.listeners++
    })
    this.countTimers()
    this.onResource("PROMISE", () => counted.promises++)
  }

  private countTimers(): void {
    const { clearTimeout, setInterval, setTimeout } = globalThis
    const arm = (f: () => void, millis?: number): unknown => {
      this.counted.timers++
      const timer = setTimeout(() => {
        this.armed.delete(timer)
        f()
      }, millis)
      this.armed.add(timer)
      this.mostArmed = Math.max(this.mostArmed, this.armed.size)
      return timer
    }
    // With the property by which fake timers are recognised.
    globalThis.setTimeout = Object.assign(arm, { clock: true }) as never
    globalThis.setInterval = (() => {
      throw new Error("an interval is more than one timer")
    }) as never
    globalThis.clearTimeout = (timer) => {
      this.armed.delete(timer)
      clearTimeout(timer)
    }
    this.afterwards(() => Object.assign(globalThis, { clearTimeout, setInterval, setTimeout }))
  }
}

/** Runs it. It must leave no timers. */
export const see = async (scenario: (tally: ClockTally) => Promise<unknown>): Promise<ClockTally> => {
  await freshTurn()
  const tally = new ClockTally()
  await tally.during(() => scenario(tally))
  expect(tally.armed.size, "timers left").toBe(0)
  expect(vi.getTimerCount(), "timers left").toBe(0)
  return tally
}

/** What is only read the first time, and the beginning of the current turn, would differ between sizes. */
const freshTurn = async (): Promise<void> => {
  runtime.captureShared()
  // A turn of the event loop begins with a timer that fires.
  const meter = createMeter({ maxPerSecond: 1000 })
  await value(Promise.all([meter.run(() => {}), meter.run(() => {})]))
}

/**
 * Bounds the work for each of `count`. Kinds that `forEach` does not name must not be needed for each. The fake timers of
 * the tests visit short arrays, so there is one bound for these.
 */
export const expectForEach = (count: number, work: Work, forEach: Partial<Work>): void =>
  expectAtMost(count, work, { ...noWork, elements: 100, ...forEach }, onTop)

/** The promises that the virtual clock creates for each timer. */
export const promisesForATimer = 3

/** Advances the virtual clock until the promise has settled, without promises of its own beside those of `turn`. */
export const finish = async (promise: Promise<unknown>): Promise<void> => {
  let isPending = true
  const settled = () => {
    isPending = false
  }
  promise.then(settled, settled)
  for (;;) {
    await turn()
    if (!isPending) return
    if (vi.getTimerCount() > 0) vi.advanceTimersToNextTimer()
  }
}

const immediate = globalThis.setImmediate
/** A turn of the event loop. */
export const turn = (): Promise<void> => new Promise((resolve) => immediate(resolve))
