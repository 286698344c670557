/**
 * Queues that keep their order at constant cost.
 */
export { Fifo } from "../internal/fifo.ts"
export { Line } from "../internal/line.ts"
export type { Placed } from "../internal/line.ts"
