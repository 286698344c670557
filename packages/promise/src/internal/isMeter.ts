/**
 * How the verbs tell a meter from anything else: by its gate, which is all they need of one. So a program that uses verbs
 * alone does not carry what meters can do by themselves.
 */
import { LimitGate } from "fibermeter/engine"
import type { GatedMeter } from "./gatedMeter.ts"

/** Whether a value is a meter of this package. */
export const isMeter = (value: unknown): value is GatedMeter =>
  typeof value === "object" && value !== null && (value as Partial<GatedMeter>).gate instanceof LimitGate
