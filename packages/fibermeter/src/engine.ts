/**
 * The engine of the verbs, for packages that offer them in another form than Effects, such as `@fibermeter/promise`. It
 * consists of the admission loop, limiters and checks that `fibermeter` uses, without the code that runs tasks as fibers.
 *
 * A call is a `Run`: it pulls items from a `Source`, asks its `Limiter`s to admit them, has a `Worker` run them, and passes the
 * outcomes to a `Collector`. Only the worker knows how a task runs.
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
/** Queues that keep their order, at a cost that does not grow with them; values that are created at their first use. */
export * as data from "./engine/data.ts"
/** A call: its admission loop, its source, and what becomes of the results. */
export * as calls from "./engine/calls.ts"
/** Where a call runs: clock and timers, the async context of its caller, what marks Effect's values. */
export * as runtime from "./engine/runtime.ts"
