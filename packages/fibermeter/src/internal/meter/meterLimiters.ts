/**
 * The internals of a `Meter`.
 */
import * as check from "../input/validate.ts"
import type { Limiter } from "../admission/limiter.ts"

export const TypeId = "~fibermeter/Meter"

/**
 * Only the meters of this copy of the package have it. Two loaded copies number the turns of their waiters separately, so a
 * waiter for meters of both would have no place in a common order.
 */
export const CopyId: unique symbol = Symbol(TypeId)

export interface WithLimiters {
  readonly limiters: ReadonlyArray<Limiter>
}

export const hasLimiters = (u: unknown): u is WithLimiters => check.hasProperty(u, CopyId)

/** Whether a value is a meter, of this copy of the package or another. */
export const isAnyMeter = (u: unknown): boolean => check.hasProperty(u, TypeId)

/** Reads an argument or option that is a meter. */
export const meterCheck: check.Checks[string] = (name, value) => {
  const isForeign = isAnyMeter(value) && !hasLimiters(value)
  if (!isForeign) return check.kind("a Meter", hasLimiters)(name, value)
  const reason = "was made by another copy of fibermeter that this program has loaded: make all meters by the same one"
  return new check.Problem("type", `${name} ${reason}`)
}

/** The limiters of a value that is known to be a meter. */
export const limitersOf = (meter: object): ReadonlyArray<Limiter> => (meter as WithLimiters).limiters
