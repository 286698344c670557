/**
 * The limiter of a limit from another package: see `ExternalLimit`.
 */
import { Limiter } from "../admission/limiter.ts"
import type { Refusal } from "../admission/refusal.ts"
import type { Cost } from "../admission/reservation.ts"
import { sharing } from "../admission/sharing.ts"
import { externalLimitVersion } from "../admission/types.ts"
import type { ExternalLimit, Waiter } from "../admission/types.ts"

/** Throws a `TypeError` if the limit is of another version. */
const checkVersion = ({ version }: { readonly version: unknown }): void => {
  if (version === externalLimitVersion) return
  throw new TypeError(
    `this limit has version ${String(version)} of the interface, but ${externalLimitVersion} is needed: install versions of both packages that fit together`
  )
}

export class ExternalLimiter extends Limiter {
  override readonly sharing = sharing
  /** A grant may have to be asked for before the limit is open, and is not kept while the request waits for others. */
  override readonly canKeep = false
  readonly isTimed = true
  private readonly limit: ExternalLimit

  /** `refusalOf` makes a refusal of the error with which the limit fails. */
  constructor(limit: ExternalLimit, refusalOf: (error: unknown) => Refusal) {
    super()
    checkVersion(limit)
    this.limit = limit
    limit.attach({ wake: () => this.wake(), fail: (error) => this.fail(refusalOf(error)) })
  }

  override get isShared(): boolean {
    return true
  }

  get capacity(): number {
    return this.limit.capacity
  }

  get names(): Iterable<string> {
    return this.limit.names
  }

  opensAt(waiter: Waiter): number {
    return this.time.now + this.limit.opensIn(waiter, waiter.host.clock)
  }

  /** A limit that has to be asked is known to be open only while a request waits. */
  nextOpening(): number {
    return this.permitsInUse < this.capacity ? -Infinity : Infinity
  }

  take(waiter: Waiter): unknown {
    return this.limit.take(waiter)
  }

  override confirmStart(grant: unknown): void {
    this.limit.started(grant)
  }

  override correct(grant: unknown, cost: Cost): void {
    this.limit.correct(grant, cost)
  }

  override release(permits: number): void {
    this.limit.ended(permits)
  }

  override onIdle(): void {
    this.limit.rest()
  }
}
