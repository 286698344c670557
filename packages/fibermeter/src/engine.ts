/**
 * The engine below the verbs, for packages that offer them in another form than Effect's: `@fibermeter/promise` is
 * built on it. It is the same admission loop, limiters and checks as under `fibermeter` itself, with the carrying out of
 * tasks left open.
 *
 * A call is a `Run`: it takes items from a `Source`, has its `Limiter`s admit them, has a `Worker` carry them out and hands
 * the outcomes to a `Collector`. How a task is carried out is the worker's affair alone.
 *
 * **Gotchas**
 *
 * Made for this project's own packages: unlike the rest, it may change with any release.
 *
 * @since 0.1.0
 */
/** The limits of a meter, queues, and requests for a start. */
export * as admission from "./engine/admission.ts"
/** How arguments are read, and which are refused. */
export * as check from "./internal/input/validate.ts"
/** Queues that keep their order, at a cost that does not grow with them. */
export * as data from "./engine/data.ts"
/** A call: its admission loop, its source, and what becomes of the results. */
export * as calls from "./engine/calls.ts"
/** Where a call runs: clock and timers, the async context of its caller, what marks Effect's values. */
export * as runtime from "./engine/runtime.ts"
