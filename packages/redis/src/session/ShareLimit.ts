/**
 * A limit on a store that continues with a share of the limits while the store cannot be reached (`outage: { share }`). Each
 * process has its own share, so the limits do not hold exactly over all processes.
 *
 * It stands between the meter and its session on the store. That session fails after a second without an answer, and recovers
 * with the next answer. In between, a second session grants the starts, from a state of the protocol in this process with a
 * share of the limits. So every kind of limit works the same way in a share.
 *
 * - **`maxAtOnce`.** Tasks that run when an outage begins count within the share, as do tasks that the share starts. When the
 *   store answers, it learns of all of them. If the lease ends meanwhile and the running tasks exceed the share, they are
 *   interrupted.
 * - **Windows.** The state is kept between outages, so that several outages in one window have one share of it. The store learns
 *   what the share has spent with the first start after an outage, and counts it as spent at that later time.
 * - **Rounding.** The share of `maxAtOnce` and of windows is rounded down, so that shares that add up to 1 are no more than the
 *   limits. A task that needs more than the share waits for the store, and so do the tasks behind it.
 */
import { advance } from "../protocol/advance.ts"
import { encodeLimits, termsOf } from "../protocol/limits.ts"
import type { Terms } from "../protocol/limits.ts"
import type { Correction } from "../protocol/message.ts"
import { correct } from "../protocol/slidingLog.ts"
import type { State } from "../protocol/state.ts"
import type { MeterStore } from "../store/MeterStore.ts"
import { StoreUnavailableError } from "./errors.ts"
import type { Cost, ExternalLimit, Meter, MeterLimits, Wish } from "./ExternalLimit.ts"
import { protocolLimits } from "./meterLimits.ts"
import type { Options, StoreEvent } from "./options.ts"
import { Session } from "./Session.ts"
import type { Taken } from "./Session.ts"

/** The longest lease: within one process, no session is lost. */
const lease = 86_400_000

/** What a task takes from the share. It has no fencing token, since the store gives these. */
interface OfShare {
  readonly limit: Session
  readonly taken: Taken
}

const isOfShare = (grant: unknown): grant is OfShare => "limit" in (grant as Taken | OfShare)

const ignore = (): void => {}

/** A share of a whole number, rounded down in spite of rounding errors. */
const part = (limit: number, share: number): number => Math.floor(limit * share + 1e-9)

/** A share of the limits. Limits of whole numbers may be 0 in it. */
const shareOf = ({ maxAtOnce, maxBurst, maxPerSecond, windows }: MeterLimits, share: number): MeterLimits => ({
  maxAtOnce: part(maxAtOnce, share),
  maxPerSecond: maxPerSecond * share,
  maxBurst: Math.max(1, part(maxBurst, share)),
  windows: Object.fromEntries(
    Object.entries(windows).map(([name, { limit, per }]) => [name, { limit: part(limit, share), per }])
  )
})

/** For the protocol, where 0 means no limit. No task takes anything from a share of 0: see `fits`. */
const positive = ({ maxAtOnce, windows, ...others }: MeterLimits): MeterLimits => ({
  ...others,
  maxAtOnce: Math.max(1, maxAtOnce),
  windows: Object.fromEntries(
    Object.entries(windows).map(([name, { limit, per }]) => [name, { limit: Math.max(1, limit), per }])
  )
})

const termsIn = (limits: MeterLimits): Terms => termsOf(encodeLimits(protocolLimits(positive(limits), lease * 1_000)))

interface LocalStore extends MeterStore {
  readonly resume: () => void
  readonly correct: (corrections: ReadonlyArray<Correction>) => void
}

/** A store in this process, for one session at a time. */
const localStore = (): LocalStore => {
  let state: State | undefined
  return {
    exchange: async (_, message, now) => {
      const advanced = advance(state, message, Math.floor(now!))
      state = advanced.state
      return advanced.answer
    },
    onWake: () => () => {},
    resume: () => {
      if (state !== undefined) state.paused = 0
    },
    correct: (corrections) => {
      for (const { by, entry, log } of corrections) correct(state!.logs[log]!, entry, by)
    }
  }
}

export class ShareLimit implements ExternalLimit {
  private readonly name: string
  private readonly options: Options
  private readonly share: number
  private readonly newId: () => string
  private readonly session: Session
  private readonly store = localStore()
  /** The limits with which the state in this process begins. */
  private readonly original: MeterLimits
  /** The share of the current limits. */
  private limits: MeterLimits
  private terms: Terms
  private meter!: Meter
  /** The session that grants starts during an outage. */
  private local: Session | undefined
  /** How many tasks have started within the share since the outage began. */
  private count = 0
  /** What the share has spent without the store's knowledge, for each log of the store; empty if nothing. */
  private spent: ReadonlyArray<number> = []
  private spentAt = 0

  constructor(
    store: MeterStore,
    name: string,
    limits: MeterLimits,
    options: Options,
    share: number,
    newId: () => string
  ) {
    this.name = name
    this.options = options
    this.share = share
    this.newId = newId
    this.session = new Session(store, name, limits, options, newId)
    this.limits = shareOf(limits, share)
    this.original = positive(this.limits)
    this.terms = termsIn(this.limits)
  }

  attach(meter: Meter): void {
    this.meter = meter
    this.session.attach({
      ...meter,
      fail: (error) => {
        if (error instanceof StoreUnavailableError) this.begin()
        else meter.fail(error)
      },
      recover: () => this.end(),
      resized: (limits) => {
        this.setLimits(limits)
        meter.resized(limits)
      },
      interrupt: (error) => {
        const isWithinShare = this.local !== undefined && this.session.permitsInUse <= this.limits.maxAtOnce
        if (!isWithinShare) meter.interrupt(error)
      }
    })
  }

  // What the meter asks for

  get isPaused(): boolean {
    return (this.local ?? this.session).isPaused
  }

  opensIn(wish: Wish, kept?: ReadonlyArray<Wish>): number {
    // During an outage, it asks the store as well: the waiter may have come from another meter.
    const opensIn = this.session.opensIn(wish, kept)
    if (this.local === undefined) return opensIn
    return this.fits(wish) ? this.local.opensIn(wish, kept) : Infinity
  }

  take(wish: Wish, kept?: ReadonlyArray<Wish>): Taken | OfShare {
    const { local } = this
    if (local === undefined) {
      const taken = this.session.take(wish, kept)
      if (this.spent.length > 0) this.charge(taken)
      return taken
    }
    const taken = local.take(wish, kept)
    this.session.hold(wish.permits)
    this.count++
    this.spentAt = this.meter.now()
    this.spend(1, taken.costs)
    return { limit: local, taken }
  }

  started(grant: unknown): void {
    if (isOfShare(grant)) grant.limit.started(grant.taken)
    else this.session.started(grant)
  }

  correct(grant: unknown, cost: Cost): void {
    if (!isOfShare(grant)) return this.session.correct(grant, cost)
    const { limit, taken } = grant
    const before = [...taken.costs]
    if (limit === this.local) limit.correct(taken, cost)
    else {
      // That outage has ended, and its session sends nothing more; but the next outage may come within the same window.
      this.store.correct(limit.correctionsOf(taken, cost))
      this.local?.ask()
    }
    this.spend(
      0,
      taken.costs.map((cost, index) => cost - before[index]!)
    )
  }

  ended(permits: number): void {
    this.session.ended(permits)
    this.local?.ended(permits)
  }

  added(): void {
    // A session that has been silent asks the store again.
    this.session.added()
    this.local?.added()
  }

  rest(): void {
    this.session.rest()
    this.local?.rest()
  }

  pause(nanos: number): void {
    this.session.pause(nanos)
    this.local?.pause(nanos)
  }

  resize(limits: MeterLimits): void {
    this.session.resize(limits)
    this.setLimits(limits)
    this.local?.resize(positive(this.limits))
  }

  async close(): Promise<void> {
    await Promise.all([this.session.close(), this.local?.close()])
  }

  // Outages

  private begin(): void {
    const { meter, name, session } = this
    const options: Options = {
      lease,
      outage: "wait",
      leaseLost: "continue",
      lostState: "wait",
      onEvent: ignore
    }
    const local = new Session(this.store, name, this.original, options, this.newId)
    local.attach({
      ...meter,
      wishes: () => {
        const wishes = meter.wishes()
        const tooLarge = wishes.findIndex((wish) => !this.fits(wish))
        return tooLarge < 0 ? wishes : wishes.slice(0, tooLarge)
      },
      fail: ignore,
      recover: ignore,
      resized: ignore,
      interrupt: ignore,
      event: ignore
    })
    // A pause of an earlier outage may have ended since: the session knows.
    this.store.resume()
    local.hold(session.permitsInUse)
    local.resize(positive(this.limits))
    if (session.pausedFor > 0) local.pause(session.pausedFor)
    this.local = local
    this.count = 0
    this.tell({ type: "share", meter: name, limits: this.limits })
    meter.wake()
  }

  private end(): void {
    const local = this.local!
    this.local = undefined
    local.ended(local.permitsInUse)
    void local.close()
    this.tell({ type: "shareEnded", meter: this.name, started: this.count })
  }

  private tell(event: StoreEvent): void {
    this.options.onEvent(event)
    void Promise.resolve().then(() => this.meter.event(event))
  }

  private setLimits(limits: MeterLimits): void {
    this.limits = shareOf(limits, this.share)
    this.terms = termsIn(this.limits)
  }

  /** Whether a task needs no more than the share. */
  private fits({ cost, permits }: Wish): boolean {
    const { maxAtOnce, windows } = this.limits
    const costOf = (name: string): number => (cost !== undefined && Object.hasOwn(cost, name) ? cost[name]! : 1)
    return permits <= maxAtOnce && Object.entries(windows).every(([name, { limit }]) => costOf(name) <= limit)
  }

  // Costs of the share

  private spend(starts: number, costs: ReadonlyArray<number>): void {
    const amounts = this.terms.rate > 0 ? [starts, ...costs] : costs
    this.spent = amounts.map((amount, log) => amount + (this.spent[log] ?? 0))
  }

  /** Reports what the share has spent to the store with that start, for the windows that still reach it. */
  private charge(taken: Taken): void {
    const age = (this.meter.now() - this.spentAt) / 1_000
    const { entries } = taken.held!.grant
    const { windows } = this.terms
    const left = this.spent.map((amount, log) => (age < windows[log]!.per ? amount : 0))
    // A task that costs nothing in a window has no entry there.
    this.session.charge(
      taken,
      left.map((amount, log) => (entries[log]! > 0 ? Math.min(amount, windows[log]!.limit) : 0))
    )
    this.spent = left.some((amount, log) => amount > 0 && entries[log] === 0)
      ? left.map((amount, log) => (entries[log]! > 0 ? 0 : amount))
      : []
  }
}
