/**
 * The contracts of admission.
 *
 * - A `Waiter` is a request for admission, as limiters see it: what it needs, how it ranks, and how it is admitted or refused.
 * - A `Limit` is what decides: when a request may start, what a start takes, and what its end gives back. `Limiter` puts a
 *   queue before a limit; `LocalLimiter`, `SemaphoreLimiter`, `ScheduleLimiter` and `ExternalLimiter` are the limits there are.
 * - An `ExternalStore` makes limits that come from another package, as one whose grants arrive from a server.
 *
 * A limit opens by time or by an event. By time: `opensAt` gives an instant, and the limiter sets its timer. By an event, such
 * as the end of a task or a grant that has arrived: `opensAt` gives `Infinity`, and the event calls `Limiter.wake`.
 */
import type { WaitListEntry } from "../data/waitList.ts"
import type { Host } from "../runtime/host.ts"
import type { Limiter } from "./limiter.ts"
import type { Refusal } from "./refusal.ts"
import type { Cost, Reservation } from "./reservation.ts"

/** What a request asks for, and how it ranks among others. It does not change while the request waits. */
export interface Demand {
  /** What the task costs in each window. */
  readonly cost: Cost | undefined
  /** How many permits the task holds while it runs. */
  readonly permits: number
  /** The higher comes first. */
  readonly priority: number
  /** Lanes take turns; within a lane, the priority counts. */
  readonly lane: unknown
  /**
   * How many starts the caller could use now, this one included: a hint for limits that fetch grants ahead. Nothing depends
   * on it for its correctness.
   */
  readonly wanted: number
}

/** How a request ranks among others. */
export type Rank = Pick<Demand, "priority" | "lane">

/** The rank of a request without the options for it. */
export const plainRank: Rank = { priority: 0, lane: undefined }

/** What admits the starts of a run, one after the other. */
export interface StartRequest {
  /** What the next start costs. */
  cost: Cost | undefined
  ranked: Rank
  readonly isWaiting: boolean
  /** Whether the item at hand can start now; otherwise `run.admitted` or `run.refused` is called. */
  requestStart(): boolean
  /** The task has been called. */
  started(): void
  /** What the task of that index holds, which is just being started. */
  reservation(index: number): Reservation
  /** Whether that task spends amounts of windows. */
  isWeighed(index: number): boolean
  release(index: number): void
  /** Nothing more is wanted for now, and nothing waits. */
  rest(): void
  cancel(): void
  /** Whether it waits, and would have to if it needed that limiter alone. Only where there are meters, which ask this. */
  isWaitingAt?(limiter: Limiter): boolean
}

/** A request for admission that waits. */
export interface Waiter extends Demand, WaitListEntry {
  readonly host: Host
  readonly limiters: ReadonlyArray<Limiter>
  /**
   * The number of its turn: an earlier turn comes first, at all limiters. Turns are numbered by arrival. Only waiters for
   * the same limiters can exchange theirs (`waiterQueue.ts`). 0 while the request does not wait.
   */
  rank: number
  readonly isWaiting: boolean
  /** Whether it is a call for one start, and counts for `maxWaiting`. */
  readonly isCall: boolean
  /** Whether it is such a call that may be refused because of overload. */
  readonly isSheddable: boolean
  /** The task in which the request is made, as far as that is known. */
  readonly inside: Inside | undefined
  /** Why the request can never be admitted, if so. */
  objection(): Refusal | undefined
  /** All its limiters are open. It has been removed from its queue. */
  admit(): void
  /** It will never be admitted. It removes itself from its queue. */
  refuse(reason: Refusal): void
  /** Stops waiting. */
  cancel(): void
}

/** When tasks may start. All times are nanoseconds on the limiter's own time line. */
export interface Limit {
  /** How many permits there are; `Infinity` for a limit that has none. */
  readonly capacity: number
  /** Whether room can be kept here for a waiter that waits elsewhere. */
  readonly canKeep: boolean
  /** The least time for which room is kept, in nanoseconds. */
  readonly leastKept: number
  /** Whether the limit has to hold something in order to be open: it is asked last, and only if all others are open. */
  readonly isAskedLast: boolean
  /** Whether `opensAt` depends on the time. */
  readonly isTimed: boolean
  /** Whether tasks have a cost here. */
  readonly isWeighed: boolean
  /** The names by which costs are counted here. */
  readonly names: Iterable<string>
  /** Why a request can never be admitted here, if so. */
  objection(demand: Demand): Refusal | undefined
  /**
   * When the limit opens to the first waiter, as if the waiters in `kept` had just started: now, if that instant has come;
   * `Infinity` if some event will call `wake`. It is called before each decision, so it may record that there is a waiter.
   */
  opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number
  /** As `opensAt`, for a task of cost 1 and one permit, if nothing waited. */
  nextOpening(): number
  /**
   * Takes what a task needs, in the step in which `opensAt` found the limit open. Returns an entry for `confirmStart` and
   * `correct`; `undefined` if there is nothing to confirm or correct.
   */
  take(waiter: Waiter): unknown
  /** The task of that entry has been called by now: it counts as started now, not when it was taken. */
  confirmStart(entry: unknown): void
  /** The task of that entry has cost something else than was taken. `wake` is called afterwards. */
  correct(entry: unknown, cost: Cost): void
  /** A task has ended that held so many permits. */
  release(permits: number): void
  /** Waiters need this limit, but wait for something else: another limit, a pause, or room that is kept. */
  onBlocked(): void
  /** A waiter for which the limit was open waits elsewhere. */
  onLeft(): void
  /** No waiter needs this limit any more. */
  onIdle(): void
  /** Recorded times have moved by `delta`. */
  shiftTime(delta: number): void
}

/** A call that depends on the capacity of its limiters, and on whether they drain. */
export interface Follower {
  readonly host: Host
  limiterChanged(): void
}

/** Where in a task a request is made: see `taskScope.ts`. */
export interface Inside {
  /** Whether the task, or one that it runs in, holds something of the limiter. */
  holds(limiter: Limiter): boolean
  /** The waiter, which is made inside of the task, waits for the limiter, and maybe for others. */
  waitsAt(limiter: Limiter, waiter: Waiter): void
}

/** The waiters of a limiter that are made inside of tasks. */
export interface Nesting {
  /** The waiter waits; the task that it is made in may not end before. Refuses the waiter if that is a deadlock. */
  add(waiter: Waiter): void
  remove(waiter: Waiter): void
  /** Refuses a waiter if there is a deadlock. Called when there are fewer permits, or fewer tasks that hold one. */
  breakDeadlock(): void
}

/** The version of `ExternalStore` that this package understands. It rises with each change that breaks implementations. */
export const externalVersion = 1

/** What a limit of another package has to know of a waiter. */
export type Wish = Pick<Demand, "cost" | "permits" | "wanted">

/** All limits of a meter, with `Infinity` for none; `per` is in milliseconds. */
export interface ExternalLimits {
  readonly maxAtOnce: number
  readonly maxPerSecond: number
  readonly maxBurst: number
  readonly windows: Readonly<Record<string, { readonly limit: number; readonly per: number }>>
}

/**
 * Enforces the limits of meters in another package, such as one that shares them with other processes. It is recognised by its
 * members and its `version`, not by a class: packages may contain copies of the engine, each with classes of its own.
 */
export interface ExternalStore {
  readonly version: typeof externalVersion
  /** The limit of the meter of that name. Throws if it cannot have such limits. */
  limit(name: string, limits: ExternalLimits): ExternalLimit
}

/** The meter, as an `ExternalLimit` sees it. All times are nanoseconds. */
export interface ExternalMeter {
  /** The time by a monotonic clock. */
  now(): number
  /** Calls `f` after that time, and returns what cancels that. */
  after(nanos: number, f: () => void): () => void
  /**
   * The waiters, in the order of their turns, and those for which grants are kept while they wait for another limit. Alike ones
   * may be one, with their sum in `wanted`.
   */
  wishes(): ReadonlyArray<Wish>
  /** To be called whenever the limit may have opened, as when a grant has arrived. */
  wake(): void
  /** Waiters are refused with this error, now and until `recover`. */
  fail(error: unknown): void
  recover(): void
  /** The limits have been changed elsewhere. */
  resized(limits: ExternalLimits): void
  /** Tasks that run have lost what they hold. */
  interrupt(error: unknown): void
  /** Something has happened at the store, of which the meter tells those that observe it. Not in the middle of a decision. */
  event(event: ExternalEvent): void
}

/** What happens at a store. Beside its type, it has what the package of the store says. */
export interface ExternalEvent {
  readonly type: string
}

/** The limits of one meter, enforced by another package. All times are nanoseconds. */
export interface ExternalLimit {
  /** Whether the meter is paused, as far as that is known. */
  readonly isPaused: boolean
  /** Called once, before all else. */
  attach(meter: ExternalMeter): void
  /**
   * In how many nanoseconds the limit opens to a waiter: 0 or less for now, `Infinity` if it will call `wake`. Grants are kept
   * for the waiters in `kept`. It is called before each decision, so it is where a limit learns that something is wanted, and
   * asks for grants.
   */
  opensIn(wish: Wish, kept?: ReadonlyArray<Wish>): number
  /**
   * Takes a grant, in the step in which `opensIn` found the limit open. What it returns is passed to the next two. If it has a
   * `fencingToken`, tasks can read that.
   */
  take(wish: Wish, kept?: ReadonlyArray<Wish>): unknown
  /** The task has been called. A call that ends between its admission and its start never says so. */
  started(grant: unknown): void
  /** The task has cost something else than was taken. */
  correct(grant: unknown, cost: Cost): void
  /** A task has ended that held so many permits. Whose grant it was makes no difference. */
  ended(permits: number): void
  /** There is one more waiter. */
  added(): void
  /** Nothing is wanted any more: grants that were not used can be returned. */
  rest(): void
  /** Nothing starts for that time, or until it is called with 0. */
  pause(nanos: number): void
  /** Changes the limits. Throws if that is not possible. */
  resize(limits: ExternalLimits): void
  /** The meter is not used any more. */
  close(): Promise<void>
}
