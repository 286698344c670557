/**
 * Turns a problem with an argument into a defect.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { Problem } from "./validate.ts"

/** Returns what a reader has read. Throws a `Cause.IllegalArgumentError` if that is a problem. */
export const accept = <A>(read: A | Problem): A => {
  if (read instanceof Problem) throw new Cause.IllegalArgumentError(read.message)
  return read
}

/**
 * Reads arguments when they are passed, so that later changes have no effect. A throw, by `accept` or by the caller's own
 * getters, becomes a defect of the effect.
 */
export const attempt = <A>(read: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(read())
  } catch (error) {
    return Exit.die(error)
  }
}
