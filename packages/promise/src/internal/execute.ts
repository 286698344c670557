/**
 * The promise that a verb without an iterator is: a run from its beginning to its end.
 */
import { makeRun } from "./call.ts"
import type { Call } from "./call.ts"
import { listen, throwIfAborted } from "./cancellation.ts"
import type { CallCollector } from "./outcomes.ts"
import type { Rejection } from "./rejection.ts"

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
    const onEnd = (rejection: Rejection | undefined): void => {
      unlisten()
      if (rejection !== undefined) return reject(rejection.reason)
      try {
        resolve(result())
      } catch (error) {
        reject(error)
      }
    }
    const { abort, run } = makeRun(checked, collector, onEnd, Infinity)
    const unlisten = listen(checked.options.signal, abort)
    run.pump()
  })
