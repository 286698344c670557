/**
 * Where all calls of this package run: on the timers and clocks of JavaScript itself, or on those that a test has put in
 * their place.
 *
 * The clock and the timers belong together. Each wait calls the `setTimeout` of today, and when that turns out to be
 * another one than before, the clock is chosen anew to go with it. Fakes are told by marks that they have (`isFake`), not
 * by their having come later: a test may have put them there before this was loaded, and tools for tracing replace
 * `setTimeout` with something that calls the real one. A timer that was armed on timers that are gone is lost.
 */
import { runtime } from "fibermeter/engine"
import { defer } from "./defer.ts"
import { isFake } from "./isFake.ts"
import { requests } from "./requests.ts"

/** What of the global object time depends on. */
interface Globals {
  readonly setTimeout: (f: () => void, millis: number) => unknown
  readonly clearTimeout: (handle: unknown) => void
  readonly Date: { readonly now: () => number }
  readonly performance: { readonly now: () => number }
}

const globals = globalThis as unknown as Globals

/** The longest wait that `setTimeout` takes. */
const maxMillis = 2 ** 31 - 1

const nanosPerMilli = 1_000_000

/** A wait on the `setTimeout` of the moment when it began. */
class HostTimer implements runtime.Timer {
  private readonly host: TimersHost
  private readonly era: number
  private readonly clear: Globals["clearTimeout"]
  /** None once it has fired or has been called off: what cannot be cleared may still fire. */
  private f: (() => void) | undefined
  private readonly until: number
  /** What the timer belongs to. */
  private readonly home = requests?.here()
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
    // The clock that has it is gone. The number of its handle may be another timer's by now.
    if (this.handle !== undefined && !this.isLost) (0, this.clear)(this.handle)
    this.handle = undefined
    this.f = undefined
  }

  private arm(millis: number): void {
    // A test's clock moves in whole milliseconds, and drops what is beyond.
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

/** No wait at all, but for a later turn of the event loop: it needs no timer, and so none can be lost. */
class Deferred implements runtime.Timer {
  readonly isLost = false
  private f: (() => void) | undefined

  constructor(f: () => void) {
    this.f = inContext(f)
    defer(() => this.f?.())
  }

  cancel(): void {
    this.f = undefined
  }
}

/** In the async context of now: a message does not keep it. */
const inContext = (f: () => void): (() => void) => {
  const context = runtime.captureContext()
  return () => context.runInAsyncScope(f)
}

class TimersHost implements runtime.Host, runtime.Clock {
  /** Counts the sets of timers that have been in use. */
  private era = 0
  isLive = true
  readonly clock: runtime.Clock = this
  readonly requests = requests
  private timers: unknown
  private dates: unknown
  private realNow: (() => number) | undefined
  /** Milliseconds on the clock that goes with today's timers; none if none does. */
  private now: (() => number) | undefined
  /** What it last said. */
  private last = 0
  /** Nanoseconds so far: a clock that is set, or exchanged, adds nothing, and takes nothing away. */
  elapsed = 0

  constructor() {
    this.choose()
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
    this.follow()
    return this.era
  }

  /** Sees to it that the clock is the one of today's timers. */
  private follow(): void {
    // Node has one fake for all times that it fakes timers, but a `Date` for each.
    if (globals.setTimeout !== this.timers || (!this.isLive && globals.Date !== this.dates)) this.choose()
  }

  read(): number {
    this.follow()
    if (this.now === undefined) return this.elapsed
    const now = this.now()
    if (now > this.last) this.elapsed += (now - this.last) * nanosPerMilli
    this.last = now
    return this.elapsed
  }

  /** A wait until then is over. Where only timers are faked, nothing else tells how late it is. */
  reached(time: number): void {
    if (this.now === undefined) this.elapsed = Math.max(this.elapsed, time)
  }

  private choose(): void {
    const { Date, performance, setTimeout } = globals
    const wasLive = this.isLive
    this.timers = setTimeout
    this.dates = Date
    this.isLive = !isFake(setTimeout)
    // What takes the place of genuine timers without being a fake calls them: the clock and the armed timers go on.
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

/** Made at the first call, since some hosts allow for nothing while they load. */
export const host = (): runtime.Host => (shared ??= new TimersHost())
