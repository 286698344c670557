/**
 * Runs a verb that returns a promise, from its arguments to its result.
 */
import { makeRun } from "./arguments.ts"
import type { Call } from "./arguments.ts"
import { throwIfAborted } from "./signal.ts"
import type { CallCollector } from "./outcomes.ts"
import type { Rejection } from "./rejection.ts"
import { settleCall } from "./settle.ts"

interface Collecting<B, Z> {
  readonly collector: CallCollector<B>
  /** Returns the result or throws. */
  readonly result: () => Z
}

/** Rejects if `call` throws. */
export const execute = <A, B, Z>(call: () => Call<A, B>, collect: (call: Call<A, B>) => Collecting<B, Z>): Promise<Z> =>
  new Promise((resolve, reject) => {
    const checked = call()
    throwIfAborted(checked.options.signal)
    const { collector, result } = collect(checked)
    const finish = (): Z => {
      const { rejection } = collector
      if (rejection !== undefined) throw rejection.reason
      return result()
    }
    const onEnd = (rejection: Rejection | undefined, unclosed: Rejection | undefined): void => {
      begun.unlisten()
      if (rejection !== undefined) return reject(rejection.reason)
      try {
        const settled = finish()
        // Without an item, no start has counted towards the next yield.
        if (unclosed === undefined) settleCall(resolve, settled)
        else reject(unclosed.reason)
      } catch {
        resolve(traced(finish))
      }
    }
    const begun = makeRun(checked, collector, onEnd, Infinity)
    begun.begin()
  })

/**
 * Calls a function that creates and throws an error, in a step in which V8 knows who awaits it: so the stack of the error has
 * the line that made the call. The promise of the call follows the one of this function after the first `await`.
 *
 * V8 cannot follow the promises of tasks to the call, unless each of them is linked to it by one more promise. With these,
 * tasks that resolve at once take more than half as long again.
 */
const traced = async <Z>(f: () => Z): Promise<Z> => {
  await Promise.resolve()
  await Promise.resolve()
  return f()
}
