/**
 * How deep tasks are nested that call each other through the library within one step.
 *
 * Each level takes room on the stack, and a stack that overflows between the admission of a task and its end would leave
 * its permit taken. So from a certain depth on, a call starts its tasks in a microtask, on an empty stack.
 *
 * Rejected: to make sure before each start that there is room on the stack. How much a task's end needs depends on the
 * host; with 64 KiB as with 256 KiB permits were lost.
 */

/** About as deep as programs nest calls on purpose, and a small part of any host's stack. */
const maxDepth = 32

let depth = 0

/** To be called before a task is called. Returns what `leave` needs. */
export const enter = (): number => depth++

/** The task has returned or thrown. */
export const leave = (before: number): void => {
  depth = before
}

/** Whether a start has to come in a microtask. */
export const isTooDeep = (): boolean => depth >= maxDepth
