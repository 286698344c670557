/**
 * A promise that calls back once, and never at once. Foreign thenables may call back at once, twice, or throw; so may a
 * promise with a `then` of its own, which `Promise.resolve` would hand on as it is.
 */
export const plainPromise = <B>(result: PromiseLike<B>): Promise<B> =>
  result.then === Promise.prototype.then ? Promise.resolve(result) : new Promise((resolve) => resolve(result))
