/** The errors of meters on a store. Their messages contain no address, user or password. */

/** Another process uses the meter with other limits. */
export class LimitsDifferError extends Error {
  override readonly name = "LimitsDifferError"
  /** The limits of this process and those of the meter, as `encodeLimits` writes them. */
  readonly own: string
  readonly known: string

  constructor(meter: string, own: string, known: string) {
    super(
      `the meter ${JSON.stringify(meter)} has other limits in other processes: ${known}, but here ${own} (permits, starts per second, burst, lease, windows; times in microseconds). Change them everywhere, or use resize`
    )
    this.own = own
    this.known = known
  }
}

/** Another process uses the meter with another version of the protocol. */
export class ProtocolVersionError extends Error {
  override readonly name = "ProtocolVersionError"

  constructor(meter: string, own: number, known: number) {
    super(
      `the meter ${JSON.stringify(meter)} is used with version ${known} of the protocol, but this package has version ${own}: rename the meter, or use one version of @fibermeter/redis in all processes`
    )
  }
}

/** The store has not answered, and the meter has `outage: "fail"`. */
export class StoreUnavailableError extends Error {
  override readonly name = "StoreUnavailableError"

  /** `cause` is the last error of the client, if there was one. */
  constructor(meter: string, millis: number, cause: unknown) {
    super(`the store of the meter ${JSON.stringify(meter)} has not answered for ${millis} ms`, { cause })
  }
}

/** The store has not heard from this process for a lease: others may use the permits that this task holds. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError"

  constructor(meter: string) {
    super(
      `the meter ${JSON.stringify(meter)} has lost its lease: the store was out of reach, or this process stood still`
    )
  }
}
