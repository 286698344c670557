import type { Disposal } from "./Disposal.ts"

/**
 * What `amap` returns: an `AsyncIterableIterator` that is also `AsyncDisposable`, if the program's `lib` has that type.
 *
 * @since 0.1.0
 */
export interface Results<out B> extends Disposal {
  /** The next result. Concurrent calls are served in order. */
  next(): Promise<IteratorResult<B, undefined>>
  /** Cancels the tasks in flight, as leaving the loop does. */
  return(value?: undefined): Promise<IteratorResult<B, undefined>>
  /** Cancels the tasks in flight, then rejects with the error. */
  throw(error?: unknown): Promise<IteratorResult<B, undefined>>
  [Symbol.asyncIterator](): Results<B>
}
