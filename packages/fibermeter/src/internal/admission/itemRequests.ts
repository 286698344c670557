/**
 * The requests of a call whose items have meters of their own: one for each item that has been pulled and has not ended.
 * `Run` has the loop; to it, an item that waits here is a task that runs.
 *
 * - **Order.** Each item is a waiter for its own meters and the call's own limits, as a single task with these meters would
 *   be. So items of the same meters start in input order, and an item whose meters are closed does not hold up others.
 * - **The call's own limits** keep no room: an item whose meters are closed does not take permits from other items of the call.
 *   In a set with meters only the meters keep room, which suffices for the bound (`setQueue.ts`).
 * - **How far the source is read.** At most `maxPending` items wait, for their meters or for the time of their next attempt. While
 *   that many do, the source is not pulled.
 * - **Back-pressure.** Where results are read in the order of the items, an item counts as unread from its pull: the reader waits
 *   for the first of them, which then needs no more room. Otherwise it counts from its start, and the room for an unread
 *   result is one more limit (`UnreadLimiter`).
 *
 * - **Retries.** A retry asks for a start like a new item, so it is the last waiter of its meters. But the items of the call with
 *   the same meters, rank and cost are interchangeable: when one of their waiters is admitted, the start goes to the retry
 *   that has waited longest, else to the earliest of these items. So retries come before new items, and no other call waits
 *   longer. `Preference` has the items that come before those that are still at their own waiter; there are none unless a retry
 *   waits.
 *
 * An item holds on to its limiters until its task has ended for good, so that a family of meters does not drop the limiter of
 * a key between two attempts.
 *
 * The first item's limiters bring this module: see `Sharing`. A program whose items have no meters of their own does not load it.
 */
import { inOrder, Limiter } from "./limiter.ts"
import { AdmissionRequest } from "./request.ts"
import type { Host } from "../runtime/host.ts"
import type { Refusal } from "./refusal.ts"
import type { Cost, Reservation } from "./reservation.ts"
import { plainRank } from "./types.ts"
import type { Inside, Rank } from "./types.ts"

/** The most items that wait at their meters, unless the call says otherwise. */
const defaultPending = 1000

/** The meters of the items of a call, as its options say. */
export interface ItemMeters {
  /** The limiters of an item's meters, at least one. Called once for each item. A throw is a failure of the call. */
  limitersOf(item: any, index: number): ReadonlyArray<Limiter>
  /** The options of the call: the most items that may wait, and whether results are read in the order of the items. */
  readonly options: { readonly maxPending?: number | undefined; readonly ordered?: boolean | undefined }
  /** The call has its first item at that limiter. Returns a function that is called when the last one has ended. */
  enter?(limiter: Limiter, isWaiting: () => boolean): () => void
}

/** A call, as its requests see it: a `Run`. */
export interface ItemCall {
  readonly host: Host
  readonly phase: string
  readonly permits: number
  readonly worker: {
    start(call: any, item: any, index: number, failures?: number): void
    readonly inside?: Inside | undefined
  }
  readonly source: { giveBack?(item: any): void }
  readonly maxUnread: number
  running: number
  started: number
  input: string
  isHeldBack: boolean
  /** Whether one more result could be read. */
  isReadable(): boolean
  read(results: number): void
  inContext(f: () => void): void
  objection(): Refusal | undefined
  admitted(waiter: ItemRequest): void
  refused(refusal: Refusal): void
}

/** Refuses waiters of a call that has stopped. */
const cancelled: Refusal = { _tag: "Failure", cause: undefined }

/** An item that comes before those of its group that are still at their own waiter. */
interface Preferred {
  /** Where it waits now. */
  at: ItemRequest
}

/** Those of a group of interchangeable waiters, in the order in which they are to start: first the retries. */
interface Preference {
  readonly retries: Array<Preferred>
  /** New items that have left their own waiter to a retry. They are earlier than those that have not. */
  readonly displaced: Array<Preferred>
}

/** One for each item, so its properties are declared and assigned. */
export class ItemRequest extends AdmissionRequest {
  declare index: number
  /** The limiters of the item's meters, in the order of the meters. */
  declare readonly meters: ReadonlyArray<Limiter>
  declare item: unknown
  declare cost: Cost | undefined
  declare ranked: Rank
  /** How many attempts have failed. */
  declare failures: number
  /** Whether an attempt has been asked for that has not started. */
  declare isPending: boolean
  /** Whether the item waits for the time of its next attempt. */
  declare isBackingOff: boolean
  /** Attempts that have started, and whose permits have not been released. More than one, if the first has timed out. */
  declare attempts: number
  /** Whether there is room for the result of the item, so that its start needs none. */
  declare hasRoom: boolean
  /** Set while its item is among those of `Preference`. */
  declare preferred: Preferred | undefined
  declare private readonly requests: ItemRequests

  constructor(requests: ItemRequests, index: number, meters: ReadonlyArray<Limiter>, limiters: ReadonlyArray<Limiter>) {
    super(limiters)
    this.requests = requests
    this.index = index
    this.meters = meters
    this.item = undefined
    this.cost = undefined
    this.ranked = plainRank
    this.failures = 0
    this.isPending = false
    this.isBackingOff = false
    this.attempts = 0
    this.hasRoom = false
    this.preferred = undefined
  }

  get host(): Host {
    return this.requests.call.host
  }

  /**
   * Whether the tasks around the call are blocked is not known: while this waits, the task of an item with other meters may end
   * the call.
   */
  get inside(): undefined {
    return undefined
  }

  override get permits(): number {
    return this.requests.call.permits
  }

  override get priority(): number {
    return this.ranked.priority
  }

  override get lane(): unknown {
    return this.ranked.lane
  }

  override objection(): Refusal | undefined {
    const { call } = this.requests
    if (call.phase !== "open") return cancelled
    return call.objection() ?? super.objection()
  }

  begin(): void {
    this.requests.begin(this)
  }

  protected override admitted(): void {
    const { call } = this.requests
    call.inContext(() => call.admitted(this))
  }

  protected override refused(refusal: Refusal): void {
    const { call } = this.requests
    if (call.phase === "open") call.inContext(() => call.refused(refusal))
  }
}

/** Waiters of a lane with the same key are interchangeable. All requests of a call need the same number of permits. */
const keyOf = ({ cost, meters, priority }: ItemRequest): string =>
  JSON.stringify([priority, meters.map(({ serial }) => serial), cost])

/** What `exchange` exchanges. */
const contentOf = ({ attempts, failures, index, item, preferred }: ItemRequest) => ({
  attempts,
  failures,
  index,
  item,
  preferred
})

/** Room for one more unread result, where items of a call count as unread from their start. */
class UnreadLimiter extends Limiter {
  readonly capacity = Infinity
  readonly isTimed = false
  readonly names: Iterable<string> = []
  override readonly canKeep = false
  private readonly call: ItemCall

  constructor(call: ItemCall) {
    super()
    this.call = call
  }

  /** A slow reader delays no other call: as with a pause, the time does not count for kept room. */
  override opensForWaiter(): number {
    this.isHeldBack = !this.call.isReadable()
    if (this.isHeldBack) this.call.isHeldBack = true
    return this.opensAt()
  }

  opensAt(): number {
    return this.nextOpening()
  }

  nextOpening(): number {
    return this.isHeldBack ? Infinity : -Infinity
  }

  take(): undefined {
    return undefined
  }
}

/** That a call uses a limiter. */
interface Use {
  items: number
  readonly leave: (() => void) | undefined
}

export class ItemRequests {
  readonly call: ItemCall
  /** What the next item costs, and how it ranks. */
  cost: Cost | undefined
  ranked: Rank = plainRank
  /** Items that have been pulled, or are due again, and have not started. */
  pending = 0
  /** Retries that have been asked for and have not started, those included that never will because the call has stopped. */
  notRetried = 0
  /** Items that wait for the time of their next attempt. Otherwise a source whose items all fail would be read to its end. */
  private backingOff = 0
  /** The item that is being started, unless it has waited. Stays if there is no room on the stack. */
  starting: ItemRequest | undefined
  /** How a meter refuses calls that drains, if an item has one: the call finishes what it has pulled, and pulls no more. */
  closing: Refusal | undefined
  /** No further item can be asked for by this one request after another: each has its own. */
  readonly isWaiting = false
  private readonly meters: ItemMeters
  private readonly maxPending: number
  private readonly unread: UnreadLimiter | undefined
  /** The limiters of the call's own limits. */
  private readonly limits: ReadonlyArray<Limiter>
  /** The same, and the one for unread results. */
  private readonly own: ReadonlyArray<Limiter>
  /** By index. */
  private readonly requests = new Map<number, ItemRequest>()
  private readonly uses = new Map<Limiter, Use>()
  /** By lane, then by what else makes waiters interchangeable. Empty unless retries wait. */
  private readonly preferences = new Map<unknown, Map<string, Preference>>()
  /** Limiters that have admitted an item since the last call of `rest`. */
  private readonly asked = new Set<Limiter>()

  /** `own` are the limiters of the call's own limits. */
  constructor(call: ItemCall, own: ReadonlyArray<Limiter>, meters: ItemMeters) {
    this.call = call
    this.meters = meters
    const { maxPending = defaultPending, ordered = false } = meters.options
    this.maxPending = maxPending
    this.unread = ordered || call.maxUnread === Infinity ? undefined : new UnreadLimiter(call)
    this.limits = own
    this.own = this.unread === undefined ? own : [this.unread, ...own]
    for (const limiter of own) limiter.canKeep = false
  }

  get isFull(): boolean {
    return this.pending + this.backingOff >= this.maxPending
  }

  limitersAt(index: number): ReadonlyArray<Limiter> | undefined {
    return this.requests.get(index)?.limiters
  }

  /** The limiters of the meters of an item that has not ended, in the order of the meters. */
  metersAt(index: number): ReadonlyArray<Limiter> {
    return this.requests.get(index)!.meters
  }

  /** An item has been pulled, whose meters have these limiters. Returns those of its request. */
  add(index: number, limiters: ReadonlyArray<Limiter>): ReadonlyArray<Limiter> {
    // The last one counts where a limiter is listed twice.
    const meters = Array.from(new Set(limiters.toReversed())).toReversed()
    for (const limiter of meters) this.enter(limiter)
    const request = new ItemRequest(this, index, meters, inOrder(this.own, meters))
    this.requests.set(index, request)
    return request.limiters
  }

  private enter(limiter: Limiter): void {
    const use = this.uses.get(limiter)
    if (use !== undefined) {
      use.items++
      return
    }
    limiter.addCall()
    const leave = this.meters.enter?.(limiter, () => this.isWaitingAt(limiter))
    this.uses.set(limiter, { items: 1, leave })
  }

  /** Nothing is left of an item. */
  private end(request: ItemRequest): void {
    this.requests.delete(request.index)
    for (const limiter of request.meters) {
      const use = this.uses.get(limiter)!
      if (--use.items > 0) continue
      this.uses.delete(limiter)
      use.leave?.()
      limiter.removeCall()
    }
  }

  private endIfOver(request: ItemRequest): void {
    if (request.attempts === 0 && !request.isPending && !request.isBackingOff) this.end(request)
  }

  isWaitingAt(limiter: Limiter): boolean {
    for (const request of this.requests.values()) {
      if (!request.meters.includes(limiter)) continue
      if (request.isBackingOff || request.isWaitingAt(limiter)) return true
    }
    return false
  }

  /** The loop may always go on: what has to wait does so by itself. */
  requestStart(): boolean {
    return true
  }

  started(): void {}

  /** Starts the task of an item as soon as its limiters admit it. Takes the place of the worker's `start`. */
  start(_call: unknown, item: unknown, index: number, failures = 0): void {
    const request = this.requests.get(index)!
    request.item = item
    request.cost = this.cost
    request.ranked = this.ranked
    request.failures = failures
    this.waitNoLonger(request)
    this.starting = request
    if (failures > 0) {
      if (this.unread !== undefined) request.limiters = inOrder(this.limits, request.meters)
      this.prefer(request)
    } else {
      this.closing = this.closingOf(request)
      if (this.closing !== undefined) return this.refuseStart(request, this.closing)
      if (this.unread !== undefined) this.call.read(1)
    }
    request.isPending = true
    this.pending++
    if (request.requestStart()) this.begin(request)
    this.starting = undefined
  }

  private closingOf({ meters }: ItemRequest): Refusal | undefined {
    const { inside } = this.call.worker
    // A nested call is part of the task that it is made in.
    return meters.find((limiter) => limiter.closing !== undefined && inside?.holds(limiter) !== true)?.closing
  }

  /** The task of an item that has been pulled does not start, because a meter drains. */
  private refuseStart(request: ItemRequest, closing: Refusal): void {
    const { call } = this
    call.host.observer?.leaves(request, closing)
    this.end(request)
    call.running--
    call.started--
    call.input = "surplus"
    call.read(1)
  }

  /** A retry is going to wait, or to start at once. */
  private prefer(request: ItemRequest): void {
    this.notRetried++
    const { lane } = request
    let group = this.preferences.get(lane)
    if (group === undefined) this.preferences.set(lane, (group = new Map()))
    const key = keyOf(request)
    let preference = group.get(key)
    if (preference === undefined) group.set(key, (preference = { retries: [], displaced: [] }))
    preference.retries.push((request.preferred = { at: request }))
  }

  /** Puts the item that is to start next into a request that has been admitted, and its own one where that has waited. */
  private choose(request: ItemRequest): void {
    const group = this.preferences.get(request.lane)
    if (group === undefined) return
    const key = keyOf(request)
    const preference = group.get(key)
    if (preference === undefined) return
    const { displaced, retries } = preference
    if (request.preferred === undefined) displaced.push((request.preferred = { at: request }))
    const { at } = (retries.shift() ?? displaced.shift())!
    if (at !== request) this.exchange(request, at)
    request.preferred = undefined
    if (retries.length + displaced.length > 0) return
    group.delete(key)
    if (group.size === 0) this.preferences.delete(request.lane)
  }

  /** Exchanges the items of two requests that are interchangeable: what they hold and where they wait is the same. */
  private exchange(a: ItemRequest, b: ItemRequest): void {
    const content = contentOf(a)
    Object.assign(a, contentOf(b))
    Object.assign(b, content)
    for (const request of [a, b]) {
      this.requests.set(request.index, request)
      request.preferred!.at = request
    }
  }

  /** Starts the task of an item that has been admitted. */
  begin(request: ItemRequest): void {
    const { call } = this
    // Counted for the item whose waiter has asked for it, whichever starts now.
    if (!request.hasRoom && this.unread !== undefined) call.read(-1)
    request.hasRoom = true
    if (this.preferences.size > 0) this.choose(request)
    const { failures, index, item } = request
    if (failures > 0) this.notRetried--
    request.isPending = false
    this.pending--
    request.attempts++
    request.item = undefined
    for (const limiter of request.limiters) this.asked.add(limiter)
    call.worker.start(call, item, index, failures)
    request.started()
  }

  isWeighed(index: number): boolean {
    return this.requests.get(index)!.limiters.some((limiter) => limiter.isWeighed)
  }

  /** What the task of that index holds, which is just being started. */
  reservation(index: number): Reservation {
    return this.requests.get(index)!.reservation()
  }

  /** The item will be attempted again, after some time. */
  backOff(index: number): void {
    this.requests.get(index)!.isBackingOff = true
    this.backingOff++
  }

  private waitNoLonger(request: ItemRequest): void {
    this.backingOff -= Number(request.isBackingOff)
    request.isBackingOff = false
  }

  /** An attempt of the item has ended, or if there was no room on the stack for it, may not have begun. */
  release(index: number): void {
    const request = this.requests.get(index)
    if (request === undefined || request.attempts === 0) return
    request.attempts--
    // Before the release, which may throw, or start what ends the call.
    this.endIfOver(request)
    request.release()
  }

  /** The call can start nothing more for now. */
  rest(): void {
    if (this.asked.size > 0) {
      const asked = Array.from(this.asked)
      this.asked.clear()
      for (const limiter of asked) limiter.restIfEmpty()
    }
    this.unread?.wake()
  }

  /** The call has stopped: nothing waits any more. */
  cancel(): void {
    // The last to arrive leaves first: it is the first of no queue, so nothing is checked for its sake.
    const { call } = this
    const notStarted: Array<unknown> = []
    for (const request of Array.from(this.requests.values()).toReversed()) {
      this.waitNoLonger(request)
      if (request.isPending) {
        request.isPending = false
        this.pending--
        call.running--
        if (request.failures === 0) {
          call.started--
          notStarted.push(request.item)
        }
        request.cancel()
      }
      this.endIfOver(request)
    }
    for (const item of notStarted.toReversed()) call.source.giveBack?.(item)
  }
}
