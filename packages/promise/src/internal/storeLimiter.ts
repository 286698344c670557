/**
 * The limiter of a meter on a store, which brings along what enforces its limits. Only the interface is here.
 */
import { admission, check } from "fibermeter/engine"
import type { runtime } from "fibermeter/engine"
import type { StoredLimits } from "./baseMeter.ts"
import { accept } from "./errors.ts"
import { host } from "./host.ts"
import { leases } from "./leases.ts"
import type { AttemptLimit } from "./leases.ts"
import { MeterLimiter } from "./meterLimiter.ts"
import { observation } from "./observation.ts"

/** An attempt that may lose its lease, or be ended by the inner limit. There is one for each task that holds permits. */
class Lease implements AttemptLimit {
  declare private readonly holders: ReadonlyArray<Set<Lease>>
  declare private readonly limit: AttemptLimit | undefined
  declare private readonly onLost: (error: unknown) => void
  declare keepsPermits: boolean

  constructor(holders: ReadonlyArray<Set<Lease>>, limit: AttemptLimit | undefined, onLost: (error: unknown) => void) {
    this.holders = holders
    this.limit = limit
    this.onLost = onLost
    this.keepsPermits = false
    for (const holder of holders) holder.add(this)
  }

  cancel(): void {
    this.limit?.cancel()
    for (const holder of this.holders) holder.delete(this)
  }

  end(): boolean {
    this.cancel()
    return this.limit?.end() !== false && !this.keepsPermits
  }

  /** Has no effect after an earlier loss, or after the attempt has ended. */
  lose(error: unknown): void {
    if (!this.holders.some((holder) => holder.has(this))) return
    // Ends the limit, too, which may have ended the attempt already.
    if (!this.end()) return
    this.keepsPermits = true
    this.onLost(error)
  }
}

/** A function, so that nothing is done while this module is loaded. */
const makeClass = () => {
  class StoreLimiter extends admission.external(MeterLimiter) {
    /** The leases of attempts that hold permits. */
    readonly leases = new Set<Lease>()

    override onLost(reason: unknown): void {
      // The limit may be in the middle of a decision. An attempt that starts later holds what has been granted since.
      const lost = [...this.leases]
      void Promise.resolve().then(() => {
        for (const lease of lost) lease.lose(reason)
      })
    }

    override onEvent(event: admission.ExternalEvent): void {
      observation.observer?.publish("store", [this], { event })
    }

    override pause(host: runtime.Host, nanos: number): void {
      super.pause(host, nanos)
      this.paused(nanos / 1_000_000)
    }

    override resume(): void {
      super.resume()
      this.paused(0)
    }

    override async close(reason: unknown): Promise<void> {
      await super.close(reason)
      await this.disconnect()
    }

    override async drain(reason: unknown): Promise<void> {
      await super.drain(reason)
      await this.disconnect()
    }
  }
  leases.watch = (reservation) => {
    let holders: Array<Set<Lease>> | undefined
    for (const limiter of reservation?.limiters ?? []) {
      // Without permits, nothing can be lost.
      if (limiter instanceof StoreLimiter && limiter.capacity !== Infinity) (holders ??= []).push(limiter.leases)
    }
    return holders && ((limit, onLost) => new Lease(holders, limit, onLost))
  }
  return StoreLimiter
}

let StoreLimiter: ReturnType<typeof makeClass> | undefined

/** Reads an option that is a store, of any version. */
export const storeCheck: check.Checks[string] = (name, value) =>
  check.kind(
    "a store, such as redisStore(client)",
    (value): value is object => check.isObject(value) && typeof value["limit"] === "function"
  )(name, value)

/** Throws if that is not a key for a family of meters on a store. */
export const throwIfNoKey = (key: unknown): void =>
  void accept(check.kind("a string or a finite number with a store", admission.isKey)("a key", key))

/** The limiter of a new meter, or of one of a family. Throws if its store does not support these limits. */
export const limiterOf = (limits: StoredLimits, key?: unknown): MeterLimiter => {
  const { name, store } = limits
  if (store === undefined) return new MeterLimiter(limits, key)
  StoreLimiter ??= makeClass()
  const limiter = new StoreLimiter(limits, key)
  const full = key === undefined ? name! : admission.nameOfKey(name!, key as string | number)
  limiter.connect(store, full, host(), (cause) => ({ _tag: "Failure", cause }))
  return limiter
}
