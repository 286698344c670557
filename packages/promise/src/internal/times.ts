/**
 * The lengths of time that this package takes: numbers and texts, as its types say. The engine would also take a bigint,
 * as nanoseconds, where milliseconds are meant everywhere else.
 */
import { check } from "fibermeter/engine"
import { once } from "./once.ts"

export const times = /* @__PURE__ */ once(() => check.times(check.plainMillis))
