/**
 * How a problem with an argument becomes a defect.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { Problem } from "./validate.ts"

/** The copy that a reader has made. Throws a `Cause.IllegalArgumentError` for a problem. */
export const accept = <A>(read: A | Problem): A => {
  if (read instanceof Problem) throw new Cause.IllegalArgumentError(read.message)
  return read
}

/**
 * Reads arguments at the call, so that changing them later changes nothing. What that throws, be it by `accept` or by
 * the caller's own getters, is the defect of the effect that is made of it.
 */
export const attempt = <A>(read: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(read())
  } catch (error) {
    return Exit.die(error)
  }
}
