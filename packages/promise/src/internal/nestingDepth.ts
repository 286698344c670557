/**
 * The nesting depth of tasks that call each other through the library synchronously.
 *
 * Each level uses stack, and an overflow between the admission of a task and its end would leak its permit. So from a
 * certain depth on, a call starts its tasks in a microtask, on an empty stack.
 *
 * Rejected: to test before each start that enough stack is left. How much the end of a task needs depends on the host;
 * with 64 KiB as with 256 KiB, permits were lost.
 */

/** About as deep as programs nest calls on purpose, and a small part of the stack of any host. */
const maxDepth = 32

let depth = 0

/** To be called before a task is called. Returns the argument of `leave`. */
export const enter = (): number => depth++

/** The task has returned or thrown. */
export const leave = (before: number): void => {
  depth = before
}

/** Whether a task has to start in a microtask. */
export const isTooDeep = (): boolean => depth >= maxDepth
