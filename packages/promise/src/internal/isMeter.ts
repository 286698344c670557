/**
 * How the verbs tell a meter from anything else: by its gate, a `LimitGate`, which they carry for limits of their own
 * anyway. By the class of meters, a program that uses verbs alone would carry all that meters can do.
 */
import { LimitGate } from "fibermeter/engine"
import type { GatedMeter } from "./gatedMeter.ts"

/** Whether a value is a meter of this package. */
export const isMeter = (value: unknown): value is GatedMeter =>
  typeof value === "object" && value !== null && (value as Partial<GatedMeter>).gate instanceof LimitGate
