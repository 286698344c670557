/**
 * The method `pipe` of meters and work queues. That of `effect/Pipeable` is the same, but Node takes a third of a millisecond for each
 * module of another package that is imported by its name, even if it has been loaded (benchmark `load`). `validate.ts` has its
 * own `hasProperty` for the same reason.
 */
import { pipe } from "effect/Function"

export const pipeable = {
  pipe(...functions: ReadonlyArray<unknown>): unknown {
    return Reflect.apply(pipe, undefined, [this, ...functions])
  }
}
