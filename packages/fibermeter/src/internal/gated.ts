/**
 * What a `Meter` is inside.
 */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import * as check from "./check.ts"
import type { Gate } from "./gate.ts"

export const TypeId = "~fibermeter/Meter"

/**
 * What only the meters of this copy of the package have. Copies that a program has loaded twice have an order of waiters
 * each, so a waiter for meters of both would be admitted by neither's rule.
 */
export const CopyId: unique symbol = Symbol(TypeId)

export interface Gated {
  readonly gates: ReadonlyArray<Gate>
}

export const isGated = (u: unknown): u is Gated => Predicate.hasProperty(u, CopyId)

const isForeign = (u: unknown): boolean => Predicate.hasProperty(u, TypeId) && !isGated(u)

const foreign = "was made by another copy of fibermeter that this program has loaded: make all meters by the same one"

/** Checks an option that takes a meter. */
export const meterCheck: check.Checks[string] = (name, value) =>
  isForeign(value) ? { kind: "type", message: `${name} ${foreign}` } : check.kind("a Meter", isGated)(name, value)

/** The gates of what is a meter by its type. */
export const gatesOf = (meter: object): ReadonlyArray<Gate> => {
  if (isForeign(meter)) throw new Cause.IllegalArgumentError(`a Meter ${foreign}`)
  return (meter as Gated).gates
}
