/**
 * Reports the progress of a run.
 *
 * Reports are made by a timer, not for each task: a task then costs nothing more, and a run in which nothing happens
 * reports that, too.
 */
import type { Progress } from "../../Progress.ts"
import { after } from "../runtime/host.ts"
import type { Counts, Run } from "../run/run.ts"

/** A run, which may have counts of its own. */
interface Reported<C extends Counts> extends Pick<Run<any, any, any>, "host" | "reporter"> {
  counts(total: number | undefined): C
}

/** The time between two reports, in milliseconds. */
const interval = 100

/**
 * Reports a run that is about to begin, until it ends, and then once more. What `report` throws is passed to `onThrow`.
 * `wait` sets the timer of the next report, and returns what cancels it.
 */
export const reportOn = <C extends Counts>(
  run: Reported<C>,
  total: number | undefined,
  report: (progress: C & Pick<Progress, "total" | "elapsed" | "rate">) => void,
  onThrow: (error: unknown) => void,
  wait: (millis: number, f: () => void) => () => void = (millis, f) => after(run.host, millis, f)
): void => {
  const now = (): bigint => run.host.clock.monotonicTimeNanosUnsafe()
  const begunAt = now()
  const reportNow = (): void => {
    const counts = run.counts(total)
    const elapsed = Number(now() - begunAt) / 1_000_000
    const rate = elapsed === 0 ? 0 : ((counts.succeeded + counts.failed) * 1000) / elapsed
    try {
      report({ ...counts, total, elapsed, rate })
    } catch (error) {
      onThrow(error)
    }
  }
  const setTimer = (): (() => void) =>
    wait(interval, () => {
      cancelTimer = setTimer()
      reportNow()
    })
  let cancelTimer = setTimer()
  run.reporter = {
    end: () => {
      cancelTimer()
      reportNow()
    }
  }
}

const arrayIterator: unknown = Array.prototype[Symbol.iterator]
const typedArrayIterator: unknown = Uint8Array.prototype[Symbol.iterator]
const setIterator: unknown = Set.prototype[Symbol.iterator]
const mapIterator: unknown = Map.prototype[Symbol.iterator]

/**
 * The number of items, where it is known in advance: if the iterator is a built-in one, whose results that number counts.
 * With another iterator, a `size` or `length` may count something else.
 */
export const sizeOf = (items: unknown): number | undefined => {
  const { [Symbol.iterator]: iterator } = items as Record<symbol, unknown>
  if (iterator === arrayIterator || iterator === typedArrayIterator) {
    const { length } = items as ArrayLike<unknown>
    return length
  }
  if (iterator === setIterator) return Reflect.get(Set.prototype, "size", items)
  if (iterator === mapIterator) return Reflect.get(Map.prototype, "size", items)
  return undefined
}
