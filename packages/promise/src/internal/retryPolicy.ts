/**
 * Whether and when a failed task is retried.
 */
import { calls, check } from "fibermeter/engine"
import type { admission } from "fibermeter/engine"
import type { Period } from "../Limits.ts"
import type { Retry } from "../Retry.ts"
import { host } from "./host.ts"
import { accept } from "./errors.ts"
import type { BaseMeter } from "./baseMeter.ts"
import { meterCheck } from "./meterOption.ts"
import type { Rejection } from "./rejection.ts"
import { times } from "./times.ts"
import type { Checked } from "./times.ts"

/** The checks of `TaskOptions`. */
export const taskChecks = () =>
  ({
    timeout: times().period,
    releaseOnTimeout: check.boolean,
    retry: check.object("an object { times, delay, schedule, while, maxDelay, pauses }", {
      times: check.count,
      delay: check.functionOr(times().delay),
      schedule: check.iterable(times().delay),
      while: check.anyFunction,
      maxDelay: times().period,
      pauses: meterCheck
    })
  }) satisfies check.Checks

/**
 * Exponential backoff with full jitter: a random part of a second, then of twice as long each time, up to 30 seconds. Tasks
 * that fail together would otherwise be retried together. See "Exponential Backoff and Jitter" in the AWS Architecture Blog.
 */
const byDefault = (attempt: number): number => Math.random() * Math.min(1000 * 2 ** (attempt - 1), 30_000)

/** The longest time that a server can ask for, unless `maxDelay` says otherwise. */
const hour = 3_600_000

/** What a server can have paused. */
type Pausable = Pick<admission.Limiter, "pause">

export class Retries {
  private readonly retry: Checked<Retry>
  /** The limiters of the task. The last one is paused by a `Retry-After`. */
  private readonly limiters: ReadonlyArray<Pausable>
  private readonly hasEnded: () => boolean
  /** The delays of the schedule so far: it may be an iterator that can be read only once. */
  private readonly delays: Array<Period> = []
  private readonly schedule: Iterator<Period> | undefined
  /** The schedule has ended or thrown, and must not be closed. */
  private isOver = false

  /** `hasEnded` tells whether the call has ended, so that nothing is retried. */
  constructor(retry: Checked<Retry>, limiters: ReadonlyArray<Pausable>, hasEnded: () => boolean) {
    this.retry = retry
    this.limiters = limiters
    this.hasEnded = hasEnded
    this.schedule = retry.schedule?.[Symbol.iterator]()
  }

  /**
   * Milliseconds from this failure to the attempt of that number (1 is the first retry); `undefined` for no retry. `limiters`
   * are those of the task, unless all tasks have the same.
   */
  delayBefore(attempt: number, reason: unknown, limiters = this.limiters): number | undefined {
    try {
      return this.decide(attempt, reason, limiters)
    } catch (error) {
      throw withCause(error, reason)
    }
  }

  private decide(attempt: number, reason: unknown, limiters: ReadonlyArray<Pausable>): number | undefined {
    const { maxDelay, times: most = this.schedule === undefined ? 2 : Infinity } = this.retry
    if (attempt > most || !this.isRetryable(reason, attempt)) return undefined
    if (this.schedule !== undefined && !this.reaches(attempt)) return undefined
    const delay = this.planned(attempt, reason)
    check.handled(delay)
    const backoff = accept(times().delay("the delay of a retry", delay)) as number
    const asked = calls.retryAfter(reason, host().clock.currentTimeMillisUnsafe()) ?? 0
    const pause = Math.min(asked, maxDelay ?? hour)
    // The functions above may have ended the call.
    if (pause > 0 && !this.hasEnded()) this.pause(pause, limiters)
    return Math.max(pause, Math.min(backoff, maxDelay ?? Infinity))
  }

  private pause(millis: number, limiters: ReadonlyArray<Pausable>): void {
    const { pauses } = this.retry
    const paused = pauses === undefined ? limiters : (pauses as unknown as BaseMeter).limiters
    paused.at(-1)!.pause(host(), Math.ceil(millis * 1_000_000))
  }

  private isRetryable(reason: unknown, attempt: number): boolean {
    if (this.retry.while === undefined) return true
    const isRetryable = this.retry.while(reason, attempt)
    accept(check.notSync("retry.while", isRetryable))
    return isRetryable
  }

  private planned(attempt: number, reason: unknown): Period {
    if (this.schedule !== undefined) return this.delays[attempt - 1]!
    const { delay = byDefault } = this.retry
    return typeof delay === "function" ? delay(attempt, reason) : delay
  }

  /** Whether the schedule has a delay for that attempt. */
  private reaches(attempt: number): boolean {
    while (this.delays.length < attempt) {
      // In case `next` throws.
      this.isOver = true
      const next = this.schedule!.next()
      if (next.done === true) return false
      this.isOver = false
      this.delays.push(next.value)
    }
    return true
  }

  /** Closes the schedule at the end of the call, as `for…of` would. Returns what that throws. */
  close(): Rejection | undefined {
    if (this.isOver) return undefined
    this.isOver = true
    try {
      this.schedule?.return?.()
      return undefined
    } catch (reason) {
      return { reason }
    }
  }
}

/** An error in the caller's functions that decide about a retry, with the failure of the task as its cause. Neither may be lost. */
const withCause = (error: unknown, cause: unknown): unknown => {
  if (error === cause) return error
  if (error instanceof Error && !("cause" in error) && Object.isExtensible(error)) {
    return Object.defineProperty(error, "cause", {
      value: cause,
      configurable: true,
      enumerable: false,
      writable: true
    })
  }
  return new AggregateError([error], "whether to retry a task could not be decided", { cause })
}
