/**
 * Virtual time, so that instants are exact: the clock of `@fibermeter/promise`'s own tests. It stands for everything
 * by which a library can tell the time, the peers included.
 */
import { vi } from "vitest"

export { now, pass, rejection, sleep, useVirtualTime, value } from "../../../packages/promise/test/support.ts"

/** Sets the time of day back, as an administrator would. Timers and the monotonic clocks go on. */
export const setSystemClockBack = (ms: number): void => {
  const [millis, nanos] = [performance.now(), process.hrtime.bigint()]
  const begun = Date.now() - ms
  vi.setSystemTime(begun)
  vi.spyOn(performance, "now").mockImplementation(() => millis + Date.now() - begun)
  vi.spyOn(process.hrtime, "bigint").mockImplementation(() => nanos + BigInt(Date.now() - begun) * 1_000_000n)
}

/** Real time for the rest of a test. */
export const useRealTime = (): void => {
  vi.useRealTimers()
  vi.restoreAllMocks()
}
