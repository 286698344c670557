/**
 * The host of all calls: the timers and clocks of JavaScript, or the fake ones that a test has installed.
 *
 * Clock and timers belong together. Each wait calls the current `setTimeout`, and when that has been replaced, the clock is
 * chosen again to match it. Fakes are recognised by their marks (`isFake`), not by when they were installed: a test may
 * install them before this module is loaded, and tracing tools replace `setTimeout` by a function that calls the real
 * one. A timer that was armed on timers that have been replaced is lost.
 */
import { runtime } from "fibermeter/engine"
import { defer } from "./defer.ts"
import { isFake } from "./isFake.ts"
import { observation } from "./observation.ts"
import { presentRequest, sharing } from "./presentRequest.ts"

/** The globals that time depends on. */
interface Globals {
  readonly setTimeout: (f: () => void, millis: number) => unknown
  readonly clearTimeout: (handle: unknown) => void
  readonly Date: { readonly now: () => number }
  readonly performance: { readonly now: () => number }
}

const globals = globalThis as unknown as Globals

/** The longest delay that `setTimeout` accepts. */
const maxMillis = 2 ** 31 - 1

const nanosPerMilli = 1_000_000

/** A timer of the `setTimeout` that was current when it was armed. */
class HostTimer implements runtime.Timer {
  private readonly host: TimersHost
  private readonly era: number
  private readonly clear: Globals["clearTimeout"]
  /** `undefined` once it has fired or was cancelled: a lost timer cannot be cleared, and may still fire. */
  private f: (() => void) | undefined
  private readonly until: number
  /** The request that the timer belongs to. */
  private readonly home = presentRequest()
  private handle: unknown

  constructor(host: TimersHost, nanos: number, f: () => void) {
    this.host = host
    this.era = host.timersEra
    this.f = f
    this.until = host.elapsed + nanos
    this.clear = globals.clearTimeout
    this.arm(nanos / nanosPerMilli)
  }

  get isLost(): boolean {
    return this.host.timersEra !== this.era || this.home?.isHere === false
  }

  cancel(): void {
    // A lost timer is not cleared: by now another timer may have its handle.
    if (this.handle !== undefined && !this.isLost) (0, this.clear)(this.handle)
    this.handle = undefined
    this.f = undefined
  }

  private arm(millis: number): void {
    // Fake clocks advance in whole milliseconds and truncate delays.
    const whole = this.host.isLive ? millis : Math.ceil(millis)
    const wait = Math.min(whole, maxMillis)
    this.handle = globals.setTimeout(() => (wait < whole ? this.arm(whole - wait) : this.fire()), wait)
  }

  private fire(): void {
    const { f } = this
    if (f === undefined) return
    this.handle = undefined
    this.f = undefined
    this.host.reached(this.until)
    f()
  }
}

/** A wait of no time, for a later turn of the event loop. It uses no timer that could be lost. */
class Deferred implements runtime.Timer {
  readonly isLost = false
  private f: (() => void) | undefined

  constructor(f: () => void) {
    // A message does not keep the async context.
    this.f = runtime.inContext(f)
    defer(() => this.f?.())
  }

  cancel(): void {
    this.f = undefined
  }
}

class TimersHost implements runtime.Host, runtime.Clock {
  /** Counts how often the timers were replaced. */
  private era = 0
  isLive = true
  readonly clock: runtime.Clock = this
  private timers: unknown
  private dates: unknown
  private realNow: (() => number) | undefined
  /** The clock that matches the current timers, in milliseconds; `undefined` if only timers are faked. */
  private now: (() => number) | undefined
  /** Its last reading. */
  private last = 0
  /** Nanoseconds since the host was created. Setting or replacing a clock does not change it. */
  elapsed = 0

  constructor() {
    this.choose()
  }

  get observer(): runtime.Observer | undefined {
    return observation.observer
  }

  get requests(): runtime.Requests | undefined {
    return sharing.requests
  }

  monotonicTimeNanosUnsafe(): bigint {
    return BigInt(Math.round(this.read()))
  }

  currentTimeMillisUnsafe(): number {
    return globals.Date.now()
  }

  sleep(_clock: runtime.Clock, nanos: number, f: () => void): runtime.Timer {
    return nanos > 0 ? new HostTimer(this, nanos, f) : new Deferred(f)
  }

  defer(f: () => void): void {
    defer(f)
  }

  get timersEra(): number {
    this.update()
    return this.era
  }

  /** Chooses the clock again if the timers have been replaced. */
  private update(): void {
    // Each time that Node installs its fakes, `setTimeout` is the same function, but `Date` a new one.
    if (globals.setTimeout !== this.timers || (!this.isLive && globals.Date !== this.dates)) this.choose()
  }

  read(): number {
    this.update()
    if (this.now === undefined) return this.elapsed
    const now = this.now()
    if (now > this.last) this.elapsed += (now - this.last) * nanosPerMilli
    this.last = now
    return this.elapsed
  }

  /** A wait until `time` is over. If only timers are faked, time advances by nothing else. */
  reached(time: number): void {
    if (this.now === undefined) this.elapsed = Math.max(this.elapsed, time)
  }

  private choose(): void {
    const { Date, performance, setTimeout } = globals
    const wasLive = this.isLive
    this.timers = setTimeout
    this.dates = Date
    this.isLive = !isFake(setTimeout)
    // A replacement that is not a fake calls the genuine timers, so the clock and armed timers stay valid.
    if (wasLive && this.isLive && this.now !== undefined) return
    this.era++
    const isFakePerformance = isFake(performance) || isFake(performance.now)
    if (!isFakePerformance) this.realNow ??= performance.now.bind(performance)
    if (this.isLive) this.now = this.realNow
    else if (isFakePerformance) this.now = () => performance.now()
    else this.now = isFake(Date) ? () => Date.now() : undefined
    this.last = this.now?.() ?? 0
  }
}

let shared: TimersHost | undefined

/** Created at the first call, since some hosts forbid this while modules are loaded. */
export const host = (): runtime.Host => (shared ??= new TimersHost())
