/**
 * The tests that a host cannot run, since it has nothing by which they could see what they look at. Whatever is not
 * listed here has to pass, and a host that is listed has to be without that part.
 */

/** A part of Node that tests need, and what stands in its place in the output. */
export type Part = keyof typeof reasons

export const reasons = {
  AsyncLocalStorage: "no AsyncLocalStorage",
  timeZone: "no time zone to be set",
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

/** They ask what the async context of a task is. */
const withoutContext = { hosts: ["Chromium", "workerd"], without: "AsyncLocalStorage" } as const

/** They say in which time zone they are. */
const withoutZone = { hosts: ["Chromium", "workerd", "workerd with nodejs_compat"], without: "timeZone" } as const

/** They measure memory. */
const withoutMemory = { hosts: ["Chromium", "workerd", "workerd with nodejs_compat"], without: "memoryUsage" } as const

const leftOut: ReadonlyArray<LeftOut> = [
  { ...withoutContext, file: "meters/async-context.test.ts" },
  { ...withoutContext, file: "reentrancy.test.ts", test: "the async context of a call is its tasks' own" },
  {
    ...withoutContext,
    file: "meters/run-retry.test.ts",
    test: "each attempt is admitted anew > in the async context of its caller"
  },
  {
    ...withoutContext,
    file: "meters/run-at-once.test.ts",
    test: "time that goes by between two looks at the clock: the task starts there, in its caller's async context"
  },
  {
    ...withoutMemory,
    file: "meters/keyed.test.ts",
    test: "what is idle is dropped > with memory for what was started, not for what the limits allow"
  },
  { hosts: ["Chromium"], without: "fineClock", file: "yield.test.ts", test: "where tasks are slow" },
  ...["UTC", "America/New_York", "Asia/Kolkata"].map((zone) => ({
    ...withoutZone,
    file: "retry-after.test.ts",
    test: `dates > in ${zone} >`
  }))
]

/** What is left out of this host. */
export const leftOutOf = (host: string): ReadonlyArray<LeftOut> => leftOut.filter(({ hosts }) => hosts.includes(host))

export const isMeant = (entry: LeftOut, test: { readonly file: string; readonly name: string }): boolean =>
  entry.file === test.file && test.name.startsWith(entry.test ?? "")
