/**
 * Which durations this package accepts: numbers and strings, as its types say. The engine would also accept a bigint, in
 * nanoseconds, although a number means milliseconds everywhere else.
 */
import { check } from "fibermeter/engine"
import type { Retry } from "../Retry.ts"
import { once } from "./once.ts"

export const times = /* @__PURE__ */ once(() => check.times(check.plainMillis))

/** Options as the checks return them: durations in milliseconds. */
export type Checked<O> = {
  readonly [K in keyof O]: K extends "grace" | "timeout" | "maxDelay" | "stagger" | "waitTimeout"
    ? number | undefined
    : K extends "retry"
      ? Checked<Retry> | undefined
      : O[K]
}
