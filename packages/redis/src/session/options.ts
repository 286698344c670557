/** The options of a store and the events of its meters. */
import type { MeterLimits } from "./ExternalLimit.ts"

/** An event of a meter on a store. `meter` is its name. */
export type StoreEvent =
  /** The store has not answered for a second. `cause` is the client's last error, if there was one. */
  | { readonly type: "outage"; readonly meter: string; readonly cause: unknown }
  /** The store has answered again, `after` milliseconds after the first unanswered message. */
  | { readonly type: "recovered"; readonly meter: string; readonly after: number }
  /** After `outage`, with `outage: { share }`: until `shareEnded`, tasks of this process start within these limits. */
  | { readonly type: "share"; readonly meter: string; readonly limits: MeterLimits }
  /** After `recovered`: how many tasks have started within the share, without the store. */
  | { readonly type: "shareEnded"; readonly meter: string; readonly started: number }
  /** The lease has ended while tasks of this process held so many permits. */
  | { readonly type: "leaseLost"; readonly meter: string; readonly permits: number }
  /** The store has lost its state, or an earlier state was restored. Nothing starts for `quarantine` milliseconds. */
  | { readonly type: "stateLost"; readonly meter: string; readonly quarantine: number }
  /** A slot was not used, because this process was `by` milliseconds late. */
  | { readonly type: "late"; readonly meter: string; readonly by: number }
  /** A task has started later than the proof allows: the process stood still between its look at the clock and the call. */
  | { readonly type: "stalled"; readonly meter: string; readonly by: number }
  /** The clock of the store or of this process was set. */
  | { readonly type: "clockStep"; readonly meter: string }
  /** The server's `maxmemory-policy` is not `noeviction`: under memory pressure it may forget what has started. Reported once. */
  | { readonly type: "eviction"; readonly meter: string; readonly policy: string }
  /** The meter cannot be used: its limits or its protocol differ from those of other processes. */
  | { readonly type: "refused"; readonly meter: string; readonly cause: Error }

export interface StoreOptions {
  /**
   * How long a process keeps its permits without contact to the store, in milliseconds; at least 200. Default: 5000. Permits of
   * a killed process are free after that time. All processes must have the same value.
   */
  readonly lease?: number | undefined
  /**
   * What waiters do while the store cannot be reached. `"wait"` (the default): they wait. `"fail"`: they fail with a
   * `StoreUnavailableError` after a second. `{ share: 0.125 }`: after a second, they start within that share of the limits, here
   * for one of eight processes; more than 0, at most 1. The limits then do not hold exactly. The share of `maxAtOnce` and of
   * windows is rounded down, and a task that needs more waits.
   */
  readonly outage?: "wait" | "fail" | { readonly share: number } | undefined
  /**
   * What happens to running tasks when the lease is lost. `"interrupt"` (the default) cancels them with a `LeaseLostError`.
   * `"continue"` lets them run, beside tasks that others may start with their permits.
   */
  readonly leaseLost?: "interrupt" | "continue" | undefined
  /**
   * What happens when the store has lost its state. `"wait"` (the default) starts nothing until everything that may have started
   * before has left the longest window. `"startAfresh"` resets the rate and the windows, so each may hold up to twice its limit
   * once. `maxAtOnce` remains exact: with it, the meter waits for one lease. All processes should have the same value.
   */
  readonly lostState?: "wait" | "startAfresh" | undefined
  /** Called for each event. An error that it throws is reported as an unhandled rejection. */
  readonly onEvent?: ((event: StoreEvent) => void) | undefined
}

export interface Options {
  readonly lease: number
  readonly outage: "wait" | "fail" | { readonly share: number }
  readonly leaseLost: "interrupt" | "continue"
  readonly lostState: "wait" | "startAfresh"
  readonly onEvent: (event: StoreEvent) => void
}

const choice = <A extends string, B extends string>(name: string, value: unknown, values: readonly [A, B]): A | B => {
  const known = values.find((each) => each === value)
  if (known !== undefined) return known
  throw new TypeError(`${name} must be "${values.join('" or "')}", but is ${JSON.stringify(value)}`)
}

const outageOf = (value: unknown): Options["outage"] => {
  if (value === "wait" || value === "fail") return value
  if (typeof value !== "object" || value === null) {
    throw new TypeError(`outage must be "wait", "fail" or { share }, but is ${JSON.stringify(value)}`)
  }
  const unknown = Object.keys(value).find((name) => name !== "share")
  if (unknown !== undefined) throw new TypeError(`there is no option outage.${unknown}. Known: share`)
  const { share } = value as { readonly share?: unknown }
  if (typeof share !== "number") throw new TypeError(`outage.share must be a number, but is ${typeof share}`)
  if (!(share > 0 && share <= 1)) {
    throw new RangeError(`outage.share must be more than 0 and at most 1, but is ${share}`)
  }
  return { share }
}

/** A copy of the options with their defaults. Throws if an option is invalid. */
export const readOptions = (options: StoreOptions): Options => {
  const known = ["lease", "outage", "leaseLost", "lostState", "onEvent"]
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown !== undefined) throw new TypeError(`there is no option ${unknown}. Known: ${known.join(", ")}`)
  const { lease = 5_000, leaseLost = "interrupt", lostState = "wait", onEvent = () => {}, outage = "wait" } = options
  if (typeof lease !== "number") throw new TypeError(`lease must be a number of milliseconds, but is ${typeof lease}`)
  if (!(lease >= 200 && lease <= 86_400_000)) {
    throw new RangeError(`lease must be from 200 milliseconds to a day, but is ${lease}`)
  }
  if (typeof onEvent !== "function") throw new TypeError(`onEvent must be a function, but is ${typeof onEvent}`)
  return {
    lease,
    outage: outageOf(outage),
    leaseLost: choice("leaseLost", leaseLost, ["interrupt", "continue"]),
    lostState: choice("lostState", lostState, ["wait", "startAfresh"]),
    onEvent: (event) => {
      // An error that it throws must not interrupt a session between two steps.
      void Promise.resolve().then(() => onEvent(event))
    }
  }
}
