/**
 * Room on the stack for tasks that call each other through a meter within one step.
 *
 * Where such a recursion has no end, the stack overflows in some task, or in what admits it. What runs after a task, to
 * give back its permit, needs room as well, so each call makes sure of that before it takes anything. To look each time
 * would take longer than all the rest; a recursion that overflows is a deep one.
 */

/** Calls below this depth do not look. */
const shallow = 32

/** What a call with so many arguments takes is 64 KiB: a rejection alone has the host run code that takes half of that. */
const filler = Array.from({ length: 8192 }, () => 0)

let depth = 0

/** To be called before a task is called; gives what `leave` wants. */
export const enter = (): number => depth++

/** The task is back, or has thrown. */
export const leave = (before: number): void => {
  depth = before
}

/** Throws a `RangeError` if there is not enough room on the stack to start a task and to end it. */
export const ensureHeadroom = (): void => {
  if (depth > shallow) fill(...filler)
}

const fill = (..._: ReadonlyArray<number>): void => {}
