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
    const onEnd = (rejection: Rejection | undefined, unclosed: Rejection | undefined): void => {
      begun.unlisten()
      if (rejection !== undefined) return reject(rejection.reason)
      try {
        const settled = result()
        // Without an item, no start has counted towards the next yield.
        if (unclosed === undefined) settleCall(resolve, settled)
        else reject(unclosed.reason)
      } catch (error) {
        reject(error)
      }
    }
    const begun = makeRun(checked, collector, onEnd, Infinity)
    begun.begin()
  })
