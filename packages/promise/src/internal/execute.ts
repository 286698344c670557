/**
 * The promise that a verb without an iterator is: a run from its beginning to its end.
 */
import type { Collector } from "fibermeter/engine"
import { makeRun } from "./call.ts"
import type { Call } from "./call.ts"
import { listen } from "./cancellation.ts"
import type { Rejection } from "./promiseWorker.ts"

/** `result` gives the result or throws. What `call` throws, the promise rejects with as well. */
export const execute = <A, B, C extends Collector<B, Rejection>, Z>(
  call: () => Call<A, B>,
  makeCollector: (call: Call<A, B>) => C,
  result: (collector: C) => Z
): Promise<Z> =>
  new Promise((resolve, reject) => {
    const checked = call()
    checked.options.signal?.throwIfAborted()
    const collector = makeCollector(checked)
    const onEnd = (rejection: Rejection | undefined): void => {
      unlisten()
      if (rejection !== undefined) return reject(rejection.reason)
      try {
        resolve(result(collector))
      } catch (error) {
        reject(error)
      }
    }
    const { abort, run } = makeRun(checked, collector, onEnd, Infinity)
    const unlisten = listen(checked.options.signal, abort)
    run.pump()
  })
