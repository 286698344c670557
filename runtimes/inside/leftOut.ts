/**
 * The tests that a host cannot run, because it lacks a part of Node that they need. All tests that are not listed must
 * pass, and a listed host must lack that part.
 */

/** Parts of Node that tests need, with the text that the report shows for a host without them. */
export type Part = keyof typeof reasons

export const reasons = {
  AsyncLocalStorage: "no AsyncLocalStorage",
  diagnosticsChannel: "no diagnostics channels",
  timeZone: "no way to set the time zone",
  fineClock: "no clock finer than a tenth of a millisecond",
  memoryUsage: "no process.memoryUsage()"
}

export interface LeftOut {
  readonly hosts: ReadonlyArray<string>
  readonly without: Part
  /** Relative to the folder of the tests. */
  readonly file: string
  /** How the names of the tests begin. Without it the file is not even evaluated. */
  readonly test?: string
}

/** They read the async context of a task. */
const withoutContext = { hosts: ["Chromium", "workerd"], without: "AsyncLocalStorage" } as const

/** They set the time zone. */
const withoutZone = { hosts: ["Chromium", "workerd", "workerd with nodejs_compat"], without: "timeZone" } as const

/** They measure memory. */
const withoutMemory = { hosts: ["Chromium", "workerd", "workerd with nodejs_compat"], without: "memoryUsage" } as const

const leftOut: ReadonlyArray<LeftOut> = [
  { hosts: ["Chromium", "workerd"], without: "diagnosticsChannel", file: "diagnostics-programs.test.ts" },
  { ...withoutContext, file: "meters/async-context.test.ts" },
  {
    ...withoutContext,
    file: "meters/per-item.test.ts",
    test: "items of different meters > a task starts in the async context of its call"
  },
  { ...withoutContext, file: "reentrancy.test.ts", test: "the async context of a call is its tasks' own" },
  {
    ...withoutContext,
    file: "meters/run-retry.test.ts",
    test: "each attempt is admitted anew > in the async context of its caller"
  },
  {
    ...withoutMemory,
    file: "meters/keyed.test.ts",
    test: "idle keys are dropped > with memory for what was started, not for what the limits allow"
  },
  { hosts: ["Chromium"], without: "fineClock", file: "yield.test.ts", test: "where tasks are slow" },
  ...["UTC", "America/New_York", "Asia/Kolkata"].map((zone) => ({
    ...withoutZone,
    file: "retry-after.test.ts",
    test: `dates > in ${zone} >`
  }))
]

/** The tests that are left out on a host. */
export const leftOutOf = (host: string): ReadonlyArray<LeftOut> => leftOut.filter(({ hosts }) => hosts.includes(host))

export const isMeant = (entry: LeftOut, test: { readonly file: string; readonly name: string }): boolean =>
  entry.file === test.file && test.name.startsWith(entry.test ?? "")
