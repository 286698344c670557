/**
 * Queues that keep their order at constant cost, and values that are created at their first use.
 */
export { Fifo } from "../internal/data/fifo.ts"
export { once } from "../internal/data/once.ts"
export { WaitList } from "../internal/data/waitList.ts"
export type { WaitListEntry } from "../internal/data/waitList.ts"
