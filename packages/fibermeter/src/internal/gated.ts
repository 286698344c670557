/**
 * What a `Meter` is inside.
 */
import * as Predicate from "effect/Predicate"
import type { Gate } from "./gate.ts"

export const TypeId = "~fibermeter/Meter"

export interface Gated {
  readonly gates: ReadonlyArray<Gate>
}

export const isGated = (u: unknown): u is Gated => Predicate.hasProperty(u, TypeId)

/** The gates of what is known to be a meter. */
export const gatesOf = (meter: object): ReadonlyArray<Gate> => (meter as Gated).gates
