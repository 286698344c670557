/**
 * Collectors for calls that a failure does not end: `settled` and `stopOnError: false`.
 */
import type { calls } from "fibermeter/engine"
import type { RunAllOptions } from "../Options.ts"
import type { Outcome } from "../Outcome.ts"
import type { Rejection, TaskRejection } from "./rejection.ts"

/** A collector that may fail the call at its end. */
export interface CallCollector<in B> extends calls.Collector<B, Rejection> {
  readonly rejection?: Rejection | undefined
  /** The call ends early, and does not fail with the collected failures. */
  forgive?(): void
}

/** A collector that accepts gaps in its results. */
interface Results<in B> extends calls.Collector<B, Rejection> {
  skip?(index: number): void
}

/** Passes results on. Subclasses define what happens to failures. */
abstract class Passing<in B> {
  protected readonly results: Results<B>

  constructor(results: Results<B>) {
    this.results = results
  }

  succeeded(index: number, value: B): boolean {
    return this.results.succeeded(index, value)
  }

  flush(): void {
    this.results.flush?.()
  }
}

/** With `settled`: the result of each task is its outcome. The worker creates those of successes, since it knows the items. */
export class Settling extends Passing<unknown> implements CallCollector<unknown> {
  failed(index: number, { item, reason }: TaskRejection<unknown>): boolean {
    return this.succeeded(index, { status: "rejected", reason, index, item } satisfies Outcome<unknown>)
  }
}

export const fulfilled = <A, B>(value: B, index: number, item: A): Outcome<B, A> => ({
  status: "fulfilled",
  value,
  index,
  item
})

/** With `stopOnError: false`: failures are kept, and fail the call at its end. */
class Gathering<B> extends Passing<B> implements CallCollector<B> {
  private readonly failures: Array<Rejection> = []
  readonly takeSkipped = this.results.takeSkipped?.bind(this.results)

  get rejection(): Rejection | undefined {
    if (this.failures.length === 0) return undefined
    // In input order, without the gaps that successes leave.
    const errors = this.failures.flat().map(({ reason }) => reason)
    return { reason: new AggregateError(errors, `${errors.length} of the tasks failed`) }
  }

  failed(index: number, failure: Rejection): boolean {
    this.failures[index] = failure
    this.results.skip?.(index)
    return false
  }

  forgive(): void {
    this.failures.length = 0
  }
}

type Tolerance = Pick<RunAllOptions, "settled" | "stopOnError">

export const tolerating = <B>({ stopOnError }: Tolerance, results: Results<B>): CallCollector<B> =>
  stopOnError === false ? new Gathering(results) : results

export const settlingOrTolerating = <B>(options: Tolerance, results: Results<B>): CallCollector<B> =>
  options.settled === true ? new Settling(results as Results<unknown>) : tolerating(options, results)
