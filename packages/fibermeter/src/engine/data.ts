/**
 * Queues that keep their order at constant cost.
 */
export { Fifo } from "../internal/data/fifo.ts"
export { WaitList } from "../internal/data/waitList.ts"
export type { WaitListEntry } from "../internal/data/waitList.ts"
