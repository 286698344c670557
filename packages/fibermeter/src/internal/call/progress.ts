/**
 * How far a run has come, told now and then.
 *
 * By a timer and not by what happens: a task costs nothing more for being reported, and a run that stands still is seen
 * to stand still.
 */
import type { Progress } from "../../Progress.ts"
import { after } from "../runtime/host.ts"
import type { Counts, Run } from "../run/run.ts"

/** A run, which may have counts of its own. */
interface Reported<C extends Counts> extends Pick<Run<any, any, any>, "host" | "reporter"> {
  counts(total: number | undefined): C
}

/** Between two reports, in milliseconds. */
const interval = 100

/**
 * Has a run that is about to begin reported on until it ends, then once more. A throw of `report` goes to `onThrow`.
 * `wait` is how to wait for the next report.
 */
export const reportOn = <C extends Counts>(
  run: Reported<C>,
  total: number | undefined,
  report: (progress: C & Pick<Progress, "total" | "elapsed" | "rate">) => void,
  onThrow: (error: unknown) => void,
  wait: (millis: number, f: () => void) => () => void = (millis, f) => after(run.host, millis, f)
): void => {
  const now = (): bigint => run.host.clock.monotonicTimeNanosUnsafe()
  const began = now()
  const tell = (): void => {
    const counts = run.counts(total)
    const elapsed = Number(now() - began) / 1_000_000
    const rate = elapsed === 0 ? 0 : ((counts.succeeded + counts.failed) * 1000) / elapsed
    try {
      report({ ...counts, total, elapsed, rate })
    } catch (error) {
      onThrow(error)
    }
  }
  const arm = (): (() => void) =>
    wait(interval, () => {
      disarm = arm()
      tell()
    })
  let disarm = arm()
  run.reporter = {
    end: () => {
      disarm()
      tell()
    }
  }
}

const arrayIterator: unknown = Array.prototype[Symbol.iterator]
const typedArrayIterator: unknown = Uint8Array.prototype[Symbol.iterator]
const setIterator: unknown = Set.prototype[Symbol.iterator]
const mapIterator: unknown = Map.prototype[Symbol.iterator]

/**
 * How many items there are, where that is known beforehand: where the iterator is one of the language's own, which goes
 * as far as that number says. A `size` or `length` beside any other iterator may count something else.
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
