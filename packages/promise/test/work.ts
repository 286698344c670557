/** What is counted of the work that promises make, on the virtual clock, and how much of it there may be. */
import { AsyncResource } from "node:async_hooks"
import { runtime } from "fibermeter/engine"
import { expect, vi } from "vitest"
import { type Counts, expectAtMost, noCounts, Tally } from "../../fibermeter/test/support/Tally.ts"
import { createMeter } from "../src/index.ts"
import { host } from "../src/internal/host.ts"
import { value } from "./support.ts"

export interface Work extends Counts {
  /** Promises that were made, those of the tasks themselves included. */
  promises: number
  /** Listeners that were put on a signal. */
  listeners: number
}

const noWork: Work = { ...noCounts, promises: 0, listeners: 0 }

/**
 * What may be on top, however many tasks there are: what is done once for a call. Beyond that, the event loop gets its
 * turn after some thousands of tasks, which is far less than one for a hundred.
 */
const onTop: Work = {
  ...noWork,
  steps: 4,
  promises: 80,
  reads: 20,
  looks: 20,
  rounds: 20,
  places: 120,
  elements: 300,
  captures: 4,
  listeners: 1
}

/** Counts what is seen of the work from outside as well. */
class ClockTally extends Tally<Work> {
  /** The contexts that something was called in. */
  readonly contexts = new Set<unknown>()
  /** Timers that are armed now. */
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
    // With the mark of the fake that it calls.
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

/** Does it, which has to leave no timer behind. */
export const see = async (scenario: (tally: ClockTally) => Promise<unknown>): Promise<ClockTally> => {
  await freshTurn()
  const tally = new ClockTally()
  await tally.during(() => scenario(tally))
  expect(tally.armed.size, "timers left").toBe(0)
  expect(vi.getTimerCount(), "timers left").toBe(0)
  return tally
}

/** What is looked up the first time only, and when the present turn has begun, would be a difference between sizes. */
const freshTurn = async (): Promise<void> => {
  runtime.captureContext()
  // A turn of the event loop begins with a timer that fires.
  const meter = createMeter({ maxPerSecond: 1000 })
  await value(Promise.all([meter.run(() => {}), meter.run(() => {})]))
}

/**
 * Each of `count` may have made that much work; what is not named may not be done for each of them at all. The faked
 * timers of the tests go through short arrays, so for these there is one limit.
 */
export const expectForEach = (count: number, work: Work, forEach: Partial<Work>): void =>
  expectAtMost(count, work, { ...noWork, elements: 100, ...forEach }, onTop)

/** What it takes to see that a timer of the virtual clock has fired. */
export const promisesForATimer = 3

/** Moves the virtual clock on until it has settled, with less ado than the other tests, which count nothing. */
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
