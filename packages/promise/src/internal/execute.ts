/**
 * The promise that a verb without an iterator is: a run from its beginning to its end.
 */
import { makeRun } from "./arguments.ts"
import type { Call } from "./arguments.ts"
import { throwIfAborted } from "./signal.ts"
import type { CallCollector } from "./outcomes.ts"
import type { Rejection } from "./rejection.ts"
import { settleCall } from "./settle.ts"

interface Collecting<B, Z> {
  readonly collector: CallCollector<B>
  /** Gives the result or throws. */
  readonly result: () => Z
}

/** What `call` throws, the promise rejects with as well. */
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
        // Not counted by a start, if there was no item.
        if (unclosed === undefined) settleCall(resolve, settled)
        else reject(unclosed.reason)
      } catch (error) {
        reject(error)
      }
    }
    const begun = makeRun(checked, collector, onEnd, Infinity)
    begun.begin()
  })
