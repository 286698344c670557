/**
 * The messages on the diagnostics channels.
 *
 * Where the host has `node:diagnostics_channel`, meters publish on `fibermeter:enqueue`, `fibermeter:start`,
 * `fibermeter:end`, `fibermeter:refuse` and `fibermeter:pause`, for the calls of `run`, of wrapped functions, of `acquire`
 * and of verbs, and on `fibermeter:store` what happens at their stores. A channel without subscribers costs a branch. Instants are those of `performance.now()`, and times are in
 * milliseconds.
 *
 * A task under several meters is reported once for each of them, with the same `id`. Each attempt at a task with `retry` is
 * reported as a task. Limits that are options of a verb are not a meter, and publish nothing.
 */
import type { Cost } from "./Limits.ts"

/** What all messages say. */
export interface MeterMessage {
  /** The `name` of the meter. */
  readonly name: string | undefined
  /** The key of a meter of `createKeyedMeter`. */
  readonly key: unknown
  /** When this happened: an instant of `performance.now()`. */
  readonly at: number
}

/** What all messages about tasks say. */
interface TaskMessage extends MeterMessage {
  /** Identifies the task: a number that no other task of this process has. */
  readonly id: number
}

/** `fibermeter:enqueue`: a task waits. A task that starts at once is not enqueued. */
export interface EnqueueMessage extends TaskMessage {
  readonly permits: number
  readonly priority: number
  readonly lane: unknown
  /** The cost that was passed with the task. */
  readonly cost: Cost | undefined
}

/** `fibermeter:start`: a task is about to be called, in the async context of its caller. */
export interface StartMessage extends TaskMessage {
  /** How long it has waited; `undefined` if it starts at once. */
  readonly waitTime: number | undefined
}

/** `fibermeter:end`: a task that was reported to start has settled. */
export interface EndMessage extends TaskMessage {
  readonly runTime: number
  /** `cancelled`: its `signal` had aborted by then, because of a timeout or because its call had ended. */
  readonly outcome: "success" | "failure" | "cancelled"
  /** What the task threw, if it did. */
  readonly error: unknown
}

/** `fibermeter:refuse`: a task will not start. */
export interface RefuseMessage extends TaskMessage {
  /** How long it has waited; `undefined` if it was refused at once. */
  readonly waitTime: number | undefined
  /**
   * `queue-full` and `wait-timeout`: the meter is overloaded. `excessive`: its cost or permits exceed a limit. `closed`: the
   * meter is closed or drains. `failed`: the store of the meter has failed. `cancelled`: its call has ended while it waited, as
   * by its signal, `clear` or `close`.
   */
  readonly reason: "queue-full" | "wait-timeout" | "excessive" | "closed" | "failed" | "cancelled"
}

/** `fibermeter:pause`: the meter is paused or resumed. */
export interface PauseMessage extends MeterMessage {
  /** For how long: `Infinity` until `resume`, 0 for `resume`. */
  readonly duration: number
}

/** `fibermeter:store`: something has happened at the store of the meter, such as an outage. */
export interface StoreMessage extends MeterMessage {
  /** With what the store's package says of it: see `StoreEvent` of `@fibermeter/redis`. */
  readonly event: { readonly type: string }
}

/** The messages of each channel. */
export interface MeterChannels {
  readonly "fibermeter:enqueue": EnqueueMessage
  readonly "fibermeter:start": StartMessage
  readonly "fibermeter:end": EndMessage
  readonly "fibermeter:refuse": RefuseMessage
  readonly "fibermeter:pause": PauseMessage
  readonly "fibermeter:store": StoreMessage
}
