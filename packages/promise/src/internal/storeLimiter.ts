/**
 * The limiter of a meter on a store, which brings along what enforces its limits. Only the interface is here.
 */
import { admission, check } from "fibermeter/engine"
import type { runtime } from "fibermeter/engine"
import type { StoredLimits } from "./baseMeter.ts"
import { accept } from "./errors.ts"
import { host } from "./host.ts"
import { MeterLimiter } from "./meterLimiter.ts"
import { observation } from "./observation.ts"

/** A function, so that nothing is done while this module is loaded. */
const makeClass = () =>
  class StoreLimiter extends admission.external(MeterLimiter) {
    override onLost(error: unknown): void {
      this.abortActive(error)
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

let StoreLimiter: ReturnType<typeof makeClass> | undefined

/** Reads an option that is a store, of any version. */
export const storeCheck: check.Checks[string] = (name, value) =>
  check.kind(
    "a store, such as redisStore(client)",
    (value): value is object => check.isObject(value) && typeof value["limit"] === "function"
  )(name, value)

/** Throws if a family of meters on a store cannot have that key. */
export const throwIfNoKey = (key: unknown): void =>
  void accept(check.kind("a string or a finite number with a store", admission.isKey)("a key", key))

/** The limiter of a new meter, or of one of a family. Throws if its store cannot have these limits. */
export const limiterOf = (limits: StoredLimits, key?: unknown): MeterLimiter => {
  const { name, store } = limits
  if (store === undefined) return new MeterLimiter(limits, key)
  StoreLimiter ??= makeClass()
  const limiter = new StoreLimiter(limits, key)
  const full = key === undefined ? name! : admission.nameOfKey(name!, key as string | number)
  limiter.connect(store, full, host(), (cause) => ({ _tag: "Failure", cause }))
  return limiter
}
