/**
 * A promise that calls back once and asynchronously. Foreign thenables may call back synchronously, twice, or throw; so may
 * a promise with a `then` of its own, which `Promise.resolve` would return unchanged.
 */
export const plainPromise = <B>(result: PromiseLike<B>): Promise<B> =>
  result.then === Promise.prototype.then ? Promise.resolve(result) : new Promise((resolve) => resolve(result))
