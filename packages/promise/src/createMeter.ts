import { admission } from "fibermeter/engine"
import { amap } from "./amap.ts"
import { UnderMeter } from "./internal/arguments.ts"
import { aborted, BaseMeter, readLimits, readMeter, snapshotOf } from "./internal/baseMeter.ts"
import { accept } from "./internal/errors.ts"
import { meterCheck } from "./internal/meterOption.ts"
import { host } from "./internal/host.ts"
import type { MeterLimiter } from "./internal/meterLimiter.ts"
import { eventually } from "./internal/requests.ts"
import { limiterOf, throwIfNoKey } from "./internal/storeLimiter.ts"
import type { KeyedMeter, Meter, MeterOptions } from "./Meter.ts"
import { runAll } from "./runAll.ts"
import { runAny } from "./runAny.ts"
import { runOnEach } from "./runOnEach.ts"

/**
 * Creates a meter. Throws a `RangeError` or `TypeError` if a limit is invalid.
 *
 * @example
 * ```ts
 * import { createMeter, runAll } from "@fibermeter/promise"
 *
 * // One meter for all requests to this API.
 * const api = createMeter({ maxAtOnce: 8, maxPerSecond: 1000 })
 *
 * await api.run(async () => "a user") // => "a user"
 * await runAll([7, 8], async (id) => `order ${id}`, { meter: api }) // => ["order 7", "order 8"]
 * ```
 *
 * @since 0.1.0
 */
export const createMeter = (options: MeterOptions): Meter => {
  const { defaults, limits } = readMeter(options)
  const limiters = [limiterOf(limits)]
  return new MeterWithVerbs(() => limiters, defaults)
}

/**
 * Combines meters into one. A task under it starts when all of them admit it, and takes from all of them in the same step.
 *
 * Its methods apply to each of the meters: `pause`, `resume`, `clear` and `close` to all, and so also to calls that use
 * only one of them. `idle` resolves when all are idle at the same time. In `snapshot`, the busiest counts. Only `resize`
 * throws a `TypeError`, because the combination has no limits of its own. A `Retry-After` pauses the last of the meters.
 *
 * @example
 * ```ts
 * import { combineMeters, createMeter } from "@fibermeter/promise"
 *
 * const program = createMeter({ maxAtOnce: 8 })
 * const api = combineMeters(program, createMeter({ maxPerSecond: 1000 }))
 *
 * await api.run(async () => program.snapshot().running) // => 1
 * ```
 *
 * @since 0.1.0
 */
export const combineMeters = (first: Meter, ...others: ReadonlyArray<Meter>): Meter => {
  const [one, ...rest] = [first, ...others].map((meter, i) => accept(meterCheck(`meters[${i}]`, meter)) as BaseMeter)
  return new MeterWithVerbs(() => one!.limitersWith(rest), one!.optionsWith(rest, {}))
}

/**
 * Creates a family of meters with the same limits, one for each key. Keys are compared as in a `Map`.
 *
 * A slow key does not delay the others. The state of a key is dropped when it has been idle for longer than its longest
 * window, when it no longer makes a difference. This happens when other keys are used, without a timer. A key whose meter
 * was resized, drained or closed by itself is kept until it is deleted, and one whose meter is paused until the pause ends.
 * Throws a `RangeError` or `TypeError` if a limit is invalid.
 *
 * @example
 * ```ts
 * import { createKeyedMeter, runAll } from "@fibermeter/promise"
 *
 * const hosts = createKeyedMeter<string>({ maxAtOnce: 2, maxPerSecond: 1000 })
 * const load = (url: string) => hosts.for(new URL(url).host).run(async () => url.length)
 *
 * await runAll(["https://a.example/", "https://b.example/x"], load) // => [18, 19]
 * ```
 *
 * @since 0.1.0
 */
export const createKeyedMeter = <K>(options: MeterOptions): KeyedMeter<K> => {
  const { defaults, limits } = readMeter(options)
  const isStored = limits.store !== undefined
  // Limits that the store does not support are an error now, and not when a key is used.
  if (isStored) limiterOf(limits)
  let current = limits
  const limiters = new admission.KeyedLimiters<K, MeterLimiter>((key) => {
    if (!isStored) return limiterOf(current, key)
    // To other processes it has the limits that it was made with, and then it was resized.
    const limiter = limiterOf(limits, key)
    if (current !== limits) limiter.resize(current, host(), true)
    return limiter
  })
  const meterOf = (key: K): Meter => {
    if (isStored) throwIfNoKey(key)
    return new MeterWithVerbs(() => [limiters.of(key)], defaults)
  }
  const entries = () => limiters.entries.map(([key]): [K, Meter] => [key, meterOf(key)])[Symbol.iterator]()
  const close = async (reason: unknown = aborted("the meters have been closed")): Promise<void> => {
    await Promise.all(limiters.end().map((limiter) => limiter.close(reason)))
  }
  return {
    for: meterOf,
    get size() {
      return limiters.size
    },
    entries,
    [Symbol.iterator]: entries,
    delete: (key, reason = aborted("the meter has been deleted")) => {
      const limiter = limiters.delete(key)
      void limiter?.close(reason)
      return limiter !== undefined
    },
    resize: (given) => {
      const read = readLimits(given)
      current = admission.changed(current, read)
      limiters.resize(read, host())
    },
    snapshot: () => new Map(limiters.entries.map(([key, limiter]) => [key, snapshotOf([limiter])])),
    idle: () => eventually((resolve) => void limiters.whenIdle(resolve)),
    drain: async () => {
      const reason = aborted("the meters have been closed")
      await Promise.all(limiters.end().map((limiter) => limiter.drain(reason)))
    },
    close,
    [Symbol.asyncDispose]: () => close()
  }
}

class MeterWithVerbs extends BaseMeter implements Meter {
  readonly runOnEach = this.under(runOnEach, false)
  readonly runAll = this.under(runAll, true)
  readonly amap = this.under(amap, false)
  readonly runAny = this.under(runAny, true)

  /** The verb with this meter before the meters in its options. `takesTasks`: the verb also takes a list of tasks. */
  private under<F extends (...args: any) => unknown>(verb: F, takesTasks: boolean): F {
    return ((input: unknown, second: unknown, third: unknown) =>
      takesTasks && typeof second !== "function"
        ? verb(input, new UnderMeter(this, second))
        : verb(input, second, new UnderMeter(this, third))) as F
  }
}
