/**
 * Virtual time, so that instants are exact: the same fake clocks and timers as in the tests of `@fibermeter/promise`. They
 * replace every source of time that a library can read, in the peers as well.
 */
import { vi } from "vitest"

export { now, pass, rejection, sleep, useVirtualTime, value } from "../../../packages/promise/test/support.ts"

/** Sets the system clock back, as an administrator would. Timers and monotonic clocks continue. */
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
