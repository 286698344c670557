/** What the tests of bad input share: everything that takes options, as plain JavaScript sees it, and how it refuses. */
import { expect, vi } from "vitest"
import { flush, now, rejection, untyped } from "./support.ts"

/** A function that takes options. */
export interface Entry {
  readonly name: string
  readonly refuses: "by throwing" | "by rejecting"
  readonly call: (task: () => unknown, options: unknown) => unknown
}

export const items = [1, 2, 3]

export const verbEntries: ReadonlyArray<Entry> = [
  { name: "runOnEach", refuses: "by rejecting", call: (task, options) => untyped.runOnEach(items, task, options) },
  { name: "runAll over items", refuses: "by rejecting", call: (task, options) => untyped.runAll(items, task, options) },
  {
    name: "runAll over functions",
    refuses: "by rejecting",
    call: (task, options) => untyped.runAll([task, task], options)
  },
  {
    name: "runAll over a record",
    refuses: "by rejecting",
    call: (task, options) => untyped.runAll({ a: task, b: task }, options)
  },
  { name: "amap", refuses: "by throwing", call: (task, options) => untyped.amap(items, task, options) },
  { name: "runAny over items", refuses: "by rejecting", call: (task, options) => untyped.runAny(items, task, options) },
  {
    name: "runAny over functions",
    refuses: "by rejecting",
    call: (task, options) => untyped.runAny([task, task], options)
  }
]

export const meterEntry: Entry = {
  name: "createMeter",
  refuses: "by throwing",
  call: (_, limits) => untyped.createMeter(limits)
}

/** The error that a call is refused with. Fails if it comes in the other way, or if a task has started. */
export const refusal = async ({ call, refuses }: Entry, options: unknown): Promise<Error> => {
  let started = 0
  const task = () => void started++
  let error: unknown = "not refused"
  if (refuses === "by throwing") {
    try {
      call(task, options)
    } catch (thrown) {
      error = thrown
    }
  } else {
    // A throw out of the call itself would fail the test here: it has to reject.
    const promise = call(task, options)
    expect(promise).toBeInstanceOf(Promise)
    error = await rejection(promise as Promise<unknown>)
  }
  await flush()
  expect(error).toBeInstanceOf(Error)
  expect(started, "tasks started").toBe(0)
  expect(vi.getTimerCount(), "timers").toBe(0)
  expect(now()).toBe(0)
  return error as Error
}

/** How bad input is refused: by which error, and what its message says. */
export type Kind = typeof RangeError | typeof TypeError
export type Bad = readonly [shown: string, input: unknown, kind: Kind, texts: ReadonlyArray<string>]

export const expectError = (error: unknown, kind: Kind, texts: ReadonlyArray<string>): void => {
  expect(error).toBeInstanceOf(kind)
  for (const text of texts) expect((error as Error).message).toContain(text)
}
