/**
 * What makes meters and work queues, and the functions on them, usable in a pipe. `effect/Pipeable` and `effect/Function` have
 * the same, but Node takes a third of a millisecond for each module of another package that is imported by its name, even if
 * it has been loaded (benchmark `load`). `validate.ts` has its own `hasProperty` for the same reason.
 */
type AnyFunction = (...args: Array<any>) => any

export const pipeable = {
  pipe(...functions: ReadonlyArray<AnyFunction>): unknown {
    return functions.reduce<unknown>((value, f) => f(value), this)
  }
}

/** A function that takes all of its arguments, or for a pipe all but the first. `hasAll` decides which have been passed. */
export const dual =
  (hasAll: (args: ReadonlyArray<unknown>) => boolean, body: AnyFunction): AnyFunction =>
  (...args) =>
    hasAll(args) ? body(...args) : (self: unknown) => body(self, ...args)

/** The same for a body of two arguments. It makes no array of them, since tasks call `WorkQueue.add` for each item. */
export const dualOfTwo = (body: (self: any, that: any) => unknown): AnyFunction =>
  function (first: unknown, second?: unknown) {
    return arguments.length > 1 ? body(first, second) : (self: unknown) => body(self, first)
  }
