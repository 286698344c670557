import type { Settings } from "../../playground/settings.ts"

/** Settings under which each control has an effect. */
export const variants: Readonly<Record<string, Partial<Settings>>> = {
  "the defaults": {},
  "no limits": { maxAtOnce: 0, maxPerSecond: 0 },
  "a fractional rate": { maxPerSecond: 2.5, maxBurst: 4, durations: "heavy tail" },
  "a window": { maxPerSecond: 0, windowLimit: 7, windowSeconds: 4, seed: 9 },
  "one window of a second": { tasks: 12, maxPerSecond: 0, windowLimit: 3, windowSeconds: 1, durations: "fixed" },
  "a failure that stops the call": { failures: 10, seed: 3 },
  "failures that stop nothing": { failures: 20, onFailure: "continue" },
  runOnEach: { verb: "runOnEach", failures: 20, onFailure: "continue" },
  runAny: { verb: "runAny", failures: 60 },
  amap: { verb: "amap", maxUnread: 6 },
  "amap, ordered": { verb: "amap", ordered: true, durations: "heavy tail" },
  "amap, left early": { verb: "amap", leaveAfter: 12 },
  "calls at a meter": { verb: "run", lanes: 3, urgent: 4 },
  "calls that arrive": { verb: "run", arrivals: 12.5, lanes: 2, maxBurst: 3, failures: 10 },
  "a server without limits on the client": { serverAtOnce: 5, serverPerSecond: 4, onFailure: "continue" }
}

/**
 * Here an Effect program differs. It retries behind the calls that wait, where promises retry before them; and a `Stream`
 * hands over all results that are there, where an iterator hands over one.
 */
export const ofPromisesAlone: Readonly<Record<string, Partial<Settings>>> = {
  "a slow reader": { verb: "amap", reader: 700, maxUnread: 6 },
  "a slow reader, in order": { verb: "amap", reader: 300, ordered: true, durations: "heavy tail" },
  retries: { failures: 30, retries: 3 },
  "retries of calls": { verb: "run", failures: 30, retries: 2, retryDelay: 900 },
  "retries after 429": { serverPerSecond: 4, maxPerSecond: 6, retries: 10, retryDelay: 100 }
}
