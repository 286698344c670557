/**
 * The limiter of a meter whose limits another package enforces, such as one that processes share on a store: see
 * `ExternalLimit`. It has the limits for what does not depend on others (which tasks are impossible, the names of windows,
 * snapshots, limits on waiting), and asks the other package when a task may start.
 *
 * A function of the class that it extends: the limiters of the facade's meters have more to them than those of core.
 */
import { whenIdle } from "../admission/idleness.ts"
import type { Refusal } from "../admission/refusal.ts"
import type { Cost } from "../admission/reservation.ts"
import type { SetQueue } from "../admission/setQueue.ts"
import { externalVersion } from "../admission/types.ts"
import type { ExternalEvent, ExternalLimit, ExternalStore, Waiter, Wish } from "../admission/types.ts"
import { fail } from "../admission/waiters.ts"
import type { WaitLimits } from "../admission/overload.ts"
import { after } from "../runtime/host.ts"
import type { Host } from "../runtime/host.ts"
import { catchUp } from "./gcra.ts"
import { windowsOf } from "../input/limits.ts"
import type { Limits } from "../input/limits.ts"
import type { CurrentLimits, SharedLimiter } from "./sharedLimiter.ts"

/** Whether that is a key for a family of meters on a store. */
export const isKey = (key: unknown): key is string | number => typeof key === "string" || Number.isFinite(key)

/**
 * The name of the meter of a key in a family. Different pairs of a name and a key have different names: a name that ends with a
 * quote has a string key, which begins at the previous unescaped quote; one that ends with a digit has a number, without a slash.
 */
export const nameOfKey = (name: string, key: string | number): string => `${name}/${JSON.stringify(key)}`

/** How many waiters with a cost, a lane or several permits are reported at a time. */
const reportedAtMost = 256

/** What a limiter of this kind can do beside others. */
export interface External {
  /** To be called once, before all else. `refusalOf` makes a refusal of the error with which the limit fails. */
  connect(store: ExternalStore, name: string, host: Host, refusalOf: (error: unknown) => Refusal): void
  /** The meter is not used any more. Resolves when the other package has given back what it held. */
  disconnect(): Promise<void>
  /** Tasks that run have lost what they hold. */
  onLost(error: unknown): void
  /** Something has happened at the store. */
  onEvent(event: ExternalEvent): void
}

type LimiterClass<L, A extends ReadonlyArray<any>> = new (...args: A) => L

export const external = <L extends SharedLimiter, A extends ReadonlyArray<any>>(
  Base: LimiterClass<L, A>
): LimiterClass<L & External, A> => {
  abstract class ExternalLimiter extends (Base as unknown as LimiterClass<SharedLimiter, any>) implements External {
    /** A grant may have to be asked for before the limit is open. */
    override get isAskedLast(): boolean {
      return true
    }
    /** About as long as a grant can be used: at first, a waiter needs a round trip to each of its stores. */
    override readonly leastKept = 250_000_000
    private limit!: ExternalLimit

    connect(store: ExternalStore, name: string, host: Host, refusalOf: (error: unknown) => Refusal): void {
      const { version } = store
      if (version !== externalVersion) {
        throw new TypeError(
          `this store has version ${String(version)} of the interface, but ${externalVersion} is needed: install versions of both packages that fit together`
        )
      }
      this.sharedName = name
      this.limit = store.limit(name, this.limits)
      this.limit.attach({
        now: () => Number(host.clock.monotonicTimeNanosUnsafe()),
        after: (nanos, f) => after(host, nanos / 1_000_000, f),
        wishes: () => this.wishes(),
        wake: () => this.wake(),
        fail: (error) => fail(this, refusalOf(error)),
        recover: () => {
          this.failure = undefined
        },
        resized: (limits) => super.resize(limits, host),
        interrupt: (error) => this.onLost(error),
        event: (event) => this.onEvent(event)
      })
    }

    disconnect(): Promise<void> {
      return this.limit.close()
    }

    abstract onLost(error: unknown): void

    abstract onEvent(event: ExternalEvent): void

    override get isTimed(): boolean {
      return true
    }

    /** Each task can read its fencing token. */
    override get isWeighed(): boolean {
      return true
    }

    protected override canOpen(): boolean {
      return true
    }

    override opensAt(waiter: Waiter, kept: ReadonlyArray<Waiter>): number {
      return this.time.now + this.limit.opensIn(waiter, kept)
    }

    /** A lower bound from the limits alone: starts of other processes only make it later. */
    override startsIn(waiter: Waiter, before: number): number {
      const byWindows = super.startsIn(waiter, before)
      const { gcra } = this.numbers
      if (gcra === undefined) return byWindows
      const { burst, rate } = gcra
      return Math.max(byWindows, ((before + 1 - burst) * 1_000_000_000) / rate - catchUp)
    }

    /** A limit that has to be asked is known to be open only while a request waits. */
    override nextOpening(): number {
      return this.permitsInUse < this.capacity && !this.limit.isPaused ? -Infinity : Infinity
    }

    override take(waiter: Waiter): unknown {
      return this.limit.take(waiter, this.sets?.keepsRoom === true ? this.sets.keptBefore : undefined)
    }

    /** The other package learns of a start when it has happened, and how late that is. */
    override holdStart(): void {}

    override confirmStart(grant: unknown): void {
      this.limit.started(grant)
    }

    override correct(grant: unknown, cost: Cost): void {
      this.limit.correct(grant, cost)
    }

    override release(permits: number): void {
      this.limit.ended(permits)
    }

    override countWaiter(waiter: Waiter, by: 1 | -1): void {
      super.countWaiter(waiter, by)
      if (by > 0) this.limit.added()
    }

    override isAsNew(): boolean {
      return super.isAsNew() && !this.limit.isPaused
    }

    override dropped(): void {
      whenIdle(this, () => void this.disconnect())
    }

    override onBlocked(): void {}

    override onLeft(): void {
      this.limit.rest()
    }

    override onIdle(): void {
      this.limit.rest()
    }

    override isPaused(): boolean {
      return this.limit.isPaused
    }

    override pause(_host: Host, nanos: number): void {
      this.limit.pause(nanos)
    }

    override resume(): void {
      this.limit.pause(0)
    }

    /** What other processes have spent is not known here. */
    override roomByWindow(): Readonly<Record<string, number>> {
      return {}
    }

    override reconcile(): void {
      throw new TypeError(
        "a meter on a store cannot be reconciled with a report: correct the costs of tasks, or pause it"
      )
    }

    override resize(limits: Limits & WaitLimits, host: Host, isMade?: boolean): void {
      const { maxAtOnce, maxBurst, maxPerSecond, windows } = this.limits
      // Checked already, and so in milliseconds. A window may have any name, such as `__proto__`.
      const changed: CurrentLimits["windows"] = Object.fromEntries(
        windowsOf(limits.windows).map(([name, { limit, per }]) => [name, { limit, per: per as number }])
      )
      this.limit.resize({
        maxAtOnce: limits.maxAtOnce ?? maxAtOnce,
        maxBurst: limits.maxBurst ?? maxBurst,
        maxPerSecond: limits.maxPerSecond ?? maxPerSecond,
        windows: { ...windows, ...changed }
      })
      super.resize(limits, host, isMade)
    }

    /** In the order of their turns, as far as it is known: nothing starts before the first, so that one has to be asked for. */
    private wishes(): ReadonlyArray<Wish> {
      const { queue } = this
      const { first } = queue
      const ofSets = this.wishesOfSets()
      if (first === undefined) return ofSets
      const later = ofSets.findIndex(({ rank }) => rank > first.rank)
      const before = later < 0 ? ofSets.length : later
      return [...ofSets.slice(0, before), ...this.wishesAlone(first), ...ofSets.slice(before)]
    }

    /** Of the first waiters of sets that stand here, or for which room is kept here. */
    private wishesOfSets(): ReadonlyArray<Wish & Pick<Waiter, "rank">> {
      const { sets } = this
      if (sets === undefined) return []
      this.time.update()
      const here = new Set(sets.standing.all)
      const kept = Array.from(sets.needing.values()).filter((set) => !here.has(set) && sets.keepsRoomFor(set) > 0)
      // What is granted for further starts of a call would be kept from others. Of a rate, it would be given up again and again.
      const isAhead = this.numbers.gcra === undefined
      const wish = ({ first: { cost, permits, rank, wanted } }: SetQueue, isHere: boolean) => ({
        cost,
        permits,
        rank,
        wanted: isHere && isAhead ? wanted : 1
      })
      return [...Array.from(here, (set) => wish(set, true)), ...kept.map((set) => wish(set, false))].sort(
        (one, other) => one.rank - other.rank
      )
    }

    /** Of the waiters that need no other limiter. */
    private wishesAlone(first: Waiter): ReadonlyArray<Wish> {
      const { queue } = this
      // Alike, and maybe a hundred thousand.
      if (this.costsWaiting === 0 && !queue.isRanked) {
        return [{ cost: undefined, permits: first.permits, wanted: queue.size - 1 + first.wanted }]
      }
      // Members are in the order of their arrival. Lanes change only which one is first.
      const others = queue.members.slice(0, reportedAtMost).filter((waiter) => waiter !== first)
      return [first, ...others.sort((one, other) => other.priority - one.priority)]
    }
  }
  return ExternalLimiter as unknown as LimiterClass<L & External, A>
}
