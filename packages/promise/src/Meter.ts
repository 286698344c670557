import type { amap } from "./amap.ts"
import type { Limiter } from "./Limiter.ts"
import type { runAll } from "./runAll.ts"
import type { runAny } from "./runAny.ts"
import type { runOnEach } from "./runOnEach.ts"

/**
 * Limits that many calls share, made by `createMeter`: run single tasks under it, or the verbs,
 * which also take it as their option `meter`, beside others.
 *
 * @since 0.1.0
 */
export interface Meter extends Limiter {
  /** The verb `runOnEach` under this meter, and under those that its options name. */
  readonly runOnEach: typeof runOnEach
  /** The verb `runAll` under this meter, and under those that its options name. */
  readonly runAll: typeof runAll
  /** The verb `amap` under this meter, and under those that its options name. */
  readonly amap: typeof amap
  /** The verb `runAny` under this meter, and under those that its options name. */
  readonly runAny: typeof runAny
}

/**
 * A family of meters, one for each key: a host, a user, a tenant.
 *
 * @since 0.1.0
 */
export interface KeyedMeter<in K> {
  /** The meter of a key. It may be kept: it is the same for the same key, however long nobody has used it. */
  readonly for: (key: K) => Meter
  /**
   * How many keys are in use, or were until less than their longest window ago. Reading it changes nothing; it takes
   * time in proportion to the number of keys that are kept.
   */
  readonly size: number
}
