/**
 * The admission loop of a call. All verbs of both packages run on it; they differ in the worker, which carries out tasks,
 * and in the collector, which receives their outcomes.
 *
 * Each start needs four things, and the loop asks for them in this order: room for one more unread result (back-pressure),
 * an item, the event loop (`eventLoop.ts`), and admission by the limiters. So a call pulls an item only when it could be
 * read, and enters the queue of a limiter only when it could start: while it waits for anything else, it delays no other
 * caller.
 *
 * A call has one item at hand, one pull of its source and one admission request at a time. Its phases are in `Phase`.
 *
 * Where each item has meters of its own, each item has a request of its own, too, and those that wait let others start:
 * `itemRequests.ts` has them. To the loop here, an item that waits there is a task that runs.
 */
import { captureContext } from "../runtime/asyncContext.ts"
import type { AsyncContext } from "../runtime/asyncContext.ts"
import { capacityOf } from "../admission/limiter.ts"
import type { Limiter } from "../admission/limiter.ts"
import { OwnRequest } from "./ownRequest.ts"
import { plainRank } from "../admission/types.ts"
import type { Inside, Rank, StartRequest } from "../admission/types.ts"
import type { Cost, Reservation, Weighing } from "../admission/reservation.ts"
import type { Host } from "../runtime/host.ts"
import { windowsOf } from "../input/limits.ts"
import type { Limits } from "../input/limits.ts"
import { WaitList } from "../data/waitList.ts"
import type { WaitListEntry } from "../data/waitList.ts"
import type { ItemCall, ItemMeters, ItemRequest, ItemRequests } from "../admission/itemRequests.ts"
import type { Refusal } from "../admission/refusal.ts"
import { Next } from "../source/source.ts"
import type { Source } from "../source/source.ts"
import { callBegins, deferStart, overdue } from "../runtime/eventLoop.ts"
import { GracePeriod } from "./gracePeriod.ts"

/** A task that did not end within the call that started it. */
export abstract class RunningTask implements WaitListEntry {
  // Declared and assigned, not a field: see `AdmissionRequest`.
  declare position: number

  constructor() {
    this.position = 0
  }

  /** Asks the task to end. Its outcome is reported to the run when it has ended. */
  abstract cancel(): void
}

/** Carries out the tasks of a run. `F` is an object that says how a task failed. */
export interface Worker<A, B, F> {
  /**
   * Calls the task. Its outcome is reported by `run.succeeded` or `run.failed`, within this call or later. A task that ends
   * later is registered with `run.track`, and `run.untrack` comes before the report. `failures` is how many attempts at the
   * task have failed before this one.
   */
  start(run: Run<A, B, F>, item: A, index: number, failures?: number): void
  /** How the call fails if a task fails while the call is ending. `first` is how it has failed so far, if it has. */
  combine(first: F | undefined, later: F): F | undefined
  /** Why no task may start now, if so, beside what the limiters say. */
  readonly objection?: (() => Refusal | undefined) | undefined
  /** The failure of a call whose start is refused; `undefined` if the refusal is not a failure. */
  refused(refusal: Refusal): F | undefined
  /** The meters of each item; left out where all items have the same. */
  readonly itemMeters?: ItemMeters | undefined
  /**
   * The cost of an item; left out where that is 1 of everything. `limiters` are those of the item, if it has meters of its own.
   * A throw is a failure, made by `crash`.
   */
  readonly weigh: ((item: A, index: number, limiters?: ReadonlyArray<Weighing>) => Cost) | undefined
  /** The permits that each task holds; left out where that is 1. */
  readonly permits?: number | undefined
  /** The rank of an item's request; left out where all are alike. A throw is a failure, made by `crash`. */
  readonly rank?: ((item: A, index: number) => Rank) | undefined
  crash(error: unknown): F
  /**
   * How long the call waits for tasks that it has cancelled, in milliseconds; after an abort, also for its source to close.
   */
  readonly grace: number
  /** The task that the call is made in, where that can be known. */
  readonly inside?: Inside | undefined
}

/** Receives the outcomes of tasks. `succeeded` and `failed` return whether the outcome decides the call. */
export interface Collector<in B, in F> {
  succeeded(index: number, value: B): boolean
  failed(index: number, failure: F): boolean
  /** Replaces the source of the call. */
  pace?<A, G>(source: Source<A, G>, host: Host): Source<A, G>
  /** How many results, since the last call of this method, will never be read because their tasks gave none. */
  readonly takeSkipped?: (() => number) | undefined
  /** Called when the run can start nothing more for now: delivers the results that have been collected. */
  flush?(): void
}

/** How many tasks of a run are in each state. */
export interface Counts {
  readonly started: number
  readonly running: number
  /** Items whose task has not started, as far as they are known. */
  readonly waiting: number
  readonly succeeded: number
  readonly failed: number
}

/** A run goes through these in this order, and may skip some. */
type Phase =
  | "open"
  /** Nothing more starts; the running tasks are being cancelled, one after the other. */
  | "cancelling"
  /** Waits for the cancelled tasks, for the grace period. */
  | "settling"
  /** Waits for the source to close. */
  | "closing"
  | "ended"

/** What the run has of its source. */
type Input =
  | "none"
  /** A pull is outstanding. */
  | "pending"
  /** An item whose task has not started; it is in `source.item`. */
  | "item"
  /** An item that was pulled while a meter drained, to find out whether the source is exhausted. Its task does not start. */
  | "surplus"
  | "exhausted"

/** The limits of one call, which no other call shares. */
export interface OwnLimits {
  /** What the run enforces by itself: in a call without other limits. */
  readonly maxAtOnce: number
  /** What has to be asked for each start, if there is anything. */
  readonly limits: Limits | undefined
  /** The names of the windows. */
  readonly names: ReadonlyArray<string>
}

/**
 * A call's own limits. No other call waits for them, so if time does not matter, the run counts by itself. `permits` is what
 * each task needs, of which the count is then a multiple. `needsRequest`: each start is asked for all the same.
 */
export const ownLimitsOf = (limits: Limits, permits = 1, needsRequest = false): OwnLimits => {
  const { maxAtOnce = Infinity, maxPerSecond = Infinity, windows } = limits
  const names = windowsOf(windows).map(([name]) => name)
  const isTimed = maxPerSecond !== Infinity || names.length > 0
  // The request refuses a task that needs more permits than there are.
  return isTimed || needsRequest || permits > maxAtOnce
    ? { maxAtOnce: Infinity, limits, names }
    : { maxAtOnce: Math.floor(maxAtOnce / permits), limits: undefined, names }
}

export class Run<A, B, F> implements ItemCall {
  readonly host: Host
  phase: Phase = "open"
  /** How the call fails; a call can also end early without a failure. */
  failure: F | undefined
  /** Called once, when nothing of the call is left. */
  onEnd!: () => void
  /** Called before `onEnd`. */
  reporter: { readonly end: () => void } | undefined

  /** The permits that each task holds. */
  readonly permits: number
  readonly worker: Worker<A, B, F>
  /** What starts the tasks: the worker, or where items have meters of their own, what asks those first. */
  protected starter: Pick<Worker<A, B, F>, "start">
  running = 0
  /** Items whose task has started. */
  started = 0
  protected successes = 0
  protected failures = 0
  readonly source: Source<A, F>
  /** Whether the source wants to know when an item is done. Looked up once, as `isFlushing`. */
  private readonly isTold: boolean
  input: Input = "none"
  private readonly collector: Collector<B, F>
  /** Whether the collector has a `flush`. Looked up once: a lookup of a missing method is slow. */
  private readonly isFlushing: boolean
  /** The call's own limit on how many tasks run, where it has no other limit: it then needs no limiter. */
  private readonly maxAtOnce: number
  /** The limits for which each start is asked, and of which the call is the only one to use them. */
  private readonly own: Limits | undefined
  /** The limiters of meters. */
  private readonly shared: ReadonlyArray<Limiter>
  /** Whether there are meters. Checked first where each task comes by: without meters, nothing can drain. */
  private readonly hasMeters: boolean
  /** Whether the worker is asked for objections here: where there is a request, that asks. */
  private readonly asksWorker: boolean
  /** None if the run counts by itself. */
  protected request: StartRequest | undefined
  /** The same, where items have meters of their own. Made for the first item. */
  protected items: ItemRequests | undefined
  /** The caller's async context, where a start may be caused from another one. */
  private readonly context: AsyncContext | undefined
  /** `maxUnread`, if it cannot change with the limits of a limiter. */
  private readonly fixedUnread: number | undefined
  /** Whether something may forbid the next pull: the number of unread results, or that of items that wait. */
  private readonly isBounded: boolean
  private unread = 0
  /** The tasks that did not end within the call that started them. */
  private readonly tasks = new WaitList<RunningTask>()
  isPumping = false
  /** Whether the outcome of a task is being counted that still holds its permits. */
  private isCounting = false
  private pumpAgain = false
  /** Whether what the last task to start held has been released. */
  private isReleased = false
  /** The next start waits for a later turn of the event loop. */
  private isPostponed = false
  /** The next pull waits for back-pressure to end, or the next start does. */
  isHeldBack = false
  /** Whether changes of the limiters are reported to this run, because it waits for something else. */
  private isFollowing = false
  /** A result has decided the call, or the caller has abandoned it: failures do not count any more. */
  private isWon = false
  /** The caller waits for the source no longer than the grace period. */
  private isAborted = false
  private grace: GracePeriod | undefined

  constructor(
    host: Host,
    source: Source<A, F>,
    own: OwnLimits,
    shared: ReadonlyArray<Limiter>,
    worker: Worker<A, B, F>,
    collector: Collector<B, F>,
    maxUnread: number | undefined
  ) {
    this.host = host
    this.source = source
    this.isTold = source.settled !== undefined
    source.onReady = () => {
      // A source that is being closed may answer, too.
      if (this.input === "pending") this.input = "none"
      this.pump()
    }
    this.worker = worker
    this.starter = worker
    this.permits = worker.permits ?? 1
    this.collector = collector
    this.isFlushing = collector.flush !== undefined
    this.maxAtOnce = own.maxAtOnce
    this.own = own.limits
    this.shared = shared
    const isByItem = worker.itemMeters !== undefined
    const isAsked = own.limits !== undefined || shared.length > 0
    this.hasMeters = isByItem || shared.length > 0
    this.fixedUnread = maxUnread ?? (isAsked ? undefined : 2 * own.maxAtOnce)
    this.isBounded = isByItem || this.fixedUnread !== Infinity
    if (isByItem || !isAsked) this.request = undefined
    else if (shared.length > 0) this.request = shared[0]!.sharing.runRequest(this, own.limits, shared, worker.inside)
    else this.request = new OwnRequest(this, own.limits!)
    this.asksWorker = !isAsked && !isByItem && worker.objection !== undefined
    this.items = undefined
    for (const limiter of shared) limiter.addCall()
    this.context = this.hasMeters ? captureContext() : undefined
    callBegins()
  }

  /** How many tasks may run at once, by all limits. */
  get capacity(): number {
    const permits = Math.min(this.own?.maxAtOnce ?? Infinity, capacityOf(this.shared))
    // A task that needs more permits than there are has to be pulled to be refused.
    return Math.min(this.maxAtOnce, Math.max(1, Math.floor(permits / this.permits)))
  }

  /** How many tasks could start now if all limiters were open. */
  get wanted(): number {
    return Math.max(1, Math.min(this.maxAtOnce - this.running, this.maxUnread - this.unread))
  }

  /** The most tasks that may be started and not yet read. The default depends on the limiters, whose limits can change. */
  get maxUnread(): number {
    return this.fixedUnread ?? 2 * this.capacity
  }

  /** Whether the task of that index, which is just being started, spends amounts of windows, which it can correct. */
  isWeighed(index: number): boolean {
    return this.request !== undefined && this.request.isWeighed(index)
  }

  /** Whether a failure or a result has decided how the call ends. */
  get isDecided(): boolean {
    return this.isWon || this.failure !== undefined
  }

  /** What the task of that index holds, which is just being started. Only where there is a request. */
  holding(index: number): Reservation {
    return this.request!.reservation(index)
  }

  /** `total` is the number of items, where that is known. */
  counts(total: number | undefined): Counts {
    const pending = this.items?.pending ?? 0
    // Their items have started before.
    const retries = Math.min(pending, this.items?.notRetried ?? 0)
    const started = this.started - pending + retries
    const waiting =
      total === undefined ? pending + Number(this.input === "item") : Math.max(0, total - started) + retries
    return {
      started,
      running: this.running - pending,
      waiting,
      succeeded: this.successes,
      failed: this.failures
    }
  }

  /** The limiters of the meters of an item that has meters of its own. */
  metersAt(index: number): ReadonlyArray<Limiter> | undefined {
    return this.items?.metersAt(index)
  }

  /** Whether a task waits for admission by the limiter, which is that of a meter of the call. */
  isWaitingAt(limiter: Limiter): boolean {
    return this.request!.isWaitingAt!(limiter)
  }

  inContext(f: () => void): void {
    if (this.context === undefined) f()
    else this.context.runInAsyncScope(f)
  }

  // The loop

  /** Starts all tasks that may start. Called at the beginning, and after each event that may allow for more. */
  pump(): void {
    // Separate from `startAll`, so that it is small enough to be inlined: each task that ends at once comes here.
    if (this.isPumping) this.pumpAgain = true
    else this.startAll()
  }

  private startAll(): void {
    this.isPumping = true
    try {
      do {
        this.pumpAgain = false
        // A call waits for one thing at a time.
        if (this.isPostponed || this.request?.isWaiting === true) break
        while (this.mayStart() && this.request?.requestStart() !== false) this.start()
      } while (this.pumpAgain)
    } catch (error) {
      return this.pumpFailed(error)
    }
    this.isPumping = false
    const { request } = this
    if (!this.isPostponed && request?.isWaiting === false) request.rest()
    if (this.phase === "open" && (this.input === "exhausted" || (this.hasMeters && this.closing !== undefined)))
      this.endIfDone()
    if (this.isFlushing) this.collector.flush!()
  }

  /**
   * There was no room on the stack for a start. The event that has caused it must not be interrupted: it may be the end of
   * another call's task, for which more waiters have to be admitted.
   */
  protected pumpFailed(thrown: unknown): void {
    void Promise.resolve().then(() => {
      // `startFailed` comes before this, if the start was admitted.
      if (this.phase !== "open") return
      this.isPumping = false
      this.fail(this.worker.crash(thrown))
    })
  }

  /** Whether a start needs nothing more but its admission by the limiters. */
  private mayStart(): boolean {
    // Other calls could start what this one would hold.
    if (this.isTold && this.running >= this.maxAtOnce) return false
    if (this.phase !== "open" || (this.asksWorker && this.isEnding())) return false
    if (!this.hasItem() || this.running >= this.maxAtOnce) return false
    return !overdue(this.host) || this.postpone()
  }

  /** Separate from `mayStart`: a function with a closure in it allocates a context at each call. */
  private postpone(): false {
    this.isPostponed = true
    deferStart(this.host, () => {
      this.isPostponed = false
      this.pump()
    })
    return false
  }

  /** Starts nothing for so many nanoseconds: by its own limits, which then have to have been asked for each start. */
  pause(nanos: number): void {
    ;(this.request as OwnRequest).pause(nanos)
  }

  /** The limiters have admitted the item that waited; `waiter` if it has limiters of its own. */
  admitted(waiter?: ItemRequest): void {
    const isNested = this.isPumping
    // The request serves one start at a time: what this start causes waits until it is done.
    this.isPumping = true
    try {
      if (waiter === undefined) this.start()
      else this.launch(waiter)
    } catch {
      // `startFailed` ends the call. The limiter that has admitted this must not be interrupted.
      return
    }
    this.isPumping = isNested
    this.pump()
  }

  objection(): Refusal | undefined {
    return this.worker.objection?.()
  }

  /** Whether the call is about to end. An objection that would be a failure of its own does not count without limiters. */
  private isEnding(): boolean {
    const objection = this.objection()
    return objection !== undefined && this.worker.refused(objection) === undefined
  }

  /** The limiters refuse the item that waited. */
  refused(refusal: Refusal): void {
    const failure = this.worker.refused(refusal)
    if (failure !== undefined) this.fail(failure)
  }

  /** This and what it calls runs once a task, so what few tasks need is elsewhere. */
  protected start(): void {
    // To take from a limiter may have ended the call.
    if (this.phase !== "open") return this.request?.release(this.started)
    this.running++
    this.launch(undefined)
    this.request?.started()
  }

  /** Starts the task of the item at hand, or of one that has waited at its own meters. */
  private launch(waiter: ItemRequest | undefined): void {
    const ended = this.successes + this.failures
    this.isReleased = false
    try {
      if (waiter === undefined) this.startTask()
      else waiter.begin()
    } catch (error) {
      const index = (waiter ?? this.items?.starting)?.index ?? -1
      // Now, since the end of the call may end other tasks.
      const isCounted = ended < this.successes + this.failures
      void Promise.resolve().then(() => this.startFailed(error, isCounted, index))
      throw error
    }
  }

  /** There was no room on the stack between the admission of a task and its end. What had not been done is done now. */
  protected startFailed(error: unknown, isCounted: boolean, index: number): void {
    this.isPumping = false
    this.fail(this.worker.crash(error))
    if (!isCounted) {
      this.running--
      this.failures++
    }
    if (!this.isReleased) this.release(index)
    else this.proceed()
  }

  /** Starts the task of the item at hand. */
  protected startTask(): void {
    this.input = "none"
    this.unread++
    this.starter.start(this, this.source.item, this.started++)
  }

  // Items and back-pressure

  /** Whether an item is at hand, or could be pulled. */
  protected hasItem(): boolean {
    return this.input === "item" || (this.input === "none" && this.pull())
  }

  private pull(): boolean {
    if (!this.mayPull()) return this.holdBack()
    this.isHeldBack = false
    // Set before the call: a source may answer within it.
    this.input = "pending"
    return this.answered(this.source.next())
  }

  /** The source has answered. Returns whether an item is at hand. */
  protected answered(next: Next): boolean {
    if (next === Next.pending) return this.follow()
    if (next === Next.item) {
      if (this.hasMeters && this.closing !== undefined) {
        this.input = "surplus"
        return false
      }
      // The source may have ended the call, and so may `weigh`.
      this.input = this.phase === "open" ? "item" : "none"
      this.weigh(this.source.item, this.started)
      return this.input === "item"
    }
    this.input = "exhausted"
    if (next === Next.failed) this.fail(this.source.failure)
    return false
  }

  /** Sets the cost and the rank of the next start. */
  protected weigh(item: A, index: number): void {
    const { itemMeters: meters, rank, weigh } = this.worker
    if (meters === undefined && weigh === undefined && rank === undefined) return
    try {
      const limiters = meters && this.limitersOf(meters, item, index)
      const cost = weigh?.(item, index, limiters)
      const ranked = rank?.(item, index) ?? plainRank
      if (this.request === undefined) return
      this.request.cost = cost
      this.request.ranked = ranked
    } catch (error) {
      this.fail(this.worker.crash(error))
    }
  }

  /** The limiters of an item that has meters of its own. Those of the first one bring what asks them. */
  private limitersOf(meters: ItemMeters, item: A, index: number): ReadonlyArray<Limiter> {
    // A retry has the same as the first attempt.
    const known = this.items?.limitersAt(index)
    if (known !== undefined) return known
    const limiters = meters.limitersOf(item, index)
    this.request = this.starter = this.items ??= limiters[0]!.sharing.itemRequests(this, this.own, meters)
    return this.items.add(index, limiters)
  }

  /** Whether one more item could wait, and one more result could be read. */
  protected mayPull(): boolean {
    return !this.isBounded || (this.items?.isFull !== true && this.isReadable())
  }

  /** Whether one more result could be read. */
  isReadable(): boolean {
    if (this.unread < this.maxUnread) return true
    // Asked last: most collectors never skip a result.
    this.unread -= this.collector.takeSkipped?.() ?? 0
    return this.unread < this.maxUnread
  }

  private holdBack(): false {
    this.isHeldBack = true
    return this.follow()
  }

  /** While the run waits for something other than its limiters, it is notified when they change. */
  private follow(): false {
    if (!this.isFollowing) {
      this.isFollowing = true
      this.host.requests?.enter(this)
      for (const limiter of this.shared) limiter.sharing.follow(limiter, this)
    }
    return false
  }

  /** How one of the meters refuses calls, if it drains: then the run finishes what it has pulled, and pulls no more. */
  private get closing(): Refusal | undefined {
    const { shared } = this
    for (let i = 0; i < shared.length; i++) {
      const limiter = shared[i]!
      // A nested call is part of the task that it is made in.
      if (limiter.closing !== undefined && this.worker.inside?.holds(limiter) !== true) return limiter.closing
    }
    return this.items?.closing
  }

  /** So many results have been read. */
  read(results: number): void {
    this.unread -= results
    // Asked again even if there was room before: the limits may have changed since.
    if (this.isHeldBack) this.pump()
  }

  limiterChanged(): void {
    this.pump()
  }

  // Outcomes

  succeeded(index: number, value: B): void {
    this.countSuccess(index, value)
    this.release(index)
    this.itemEnded()
  }

  /** Counts a success, which may decide the call. `release` or `proceed` follows. */
  protected countSuccess(index: number, value: B): void {
    this.running--
    this.successes++
    if (this.phase !== "open" || !this.collector.succeeded(index, value)) return
    this.isCounting = true
    this.abandon()
    this.isCounting = false
  }

  failed(index: number, failure: F): void {
    this.running--
    this.countFailure(index, failure)
    this.release(index)
    this.itemEnded()
  }

  /**
   * Tells the source. Called last: that can end the source, and so the call. A source of a call that has stopped is going to
   * be closed.
   */
  protected itemEnded(): void {
    if (this.isTold && this.phase === "open") this.source.settled!()
  }

  /** Counts a failure of a task, which may decide the call. `release` or `proceed` follows. */
  protected countFailure(index: number, failure: F): void {
    this.failures++
    if (this.phase !== "open") {
      if (!this.isWon) this.fail(failure)
    } else if (this.collector.failed(index, failure)) {
      this.isCounting = true
      this.fail(failure)
      this.isCounting = false
    }
  }

  /** Releases what a task held that has ended. Called last, so that a call that the outcome ends starts nothing more. */
  protected release(index: number): void {
    // Before the call, which may throw: to release twice would break a limit.
    this.isReleased = true
    this.request?.release(index)
    this.proceed()
  }

  /** Starts more tasks, or continues with the end of the call. */
  proceed(): void {
    if (this.phase === "open") this.pump()
    else this.settle()
  }

  /** Registers a task that did not end at once. */
  track(task: RunningTask): void {
    this.tasks.add(task)
    // The task may have ended the call in its first step.
    if (this.phase !== "open") task.cancel()
  }

  untrack(task: RunningTask): void {
    this.tasks.remove(task)
  }

  // The end

  /** Whether all tasks whose items have been pulled are done. */
  protected get isDone(): boolean {
    return this.running === 0 && this.input !== "item"
  }

  /** Ends a call that pulls no more, if it is done. */
  private endIfDone(): void {
    if (!this.isDone) return
    if (this.input !== "exhausted") this.refused(this.closing!)
    else if (this.running === 0) this.end()
    else this.stop()
  }

  /** Ends the call with a failure, or adds to how it fails. */
  fail(failure: F): void {
    if (this.phase === "open") {
      this.failure = failure
      this.stop()
    } else {
      this.failure = this.worker.combine(this.failure, failure)
    }
  }

  /**
   * Ends the call for a caller that does not wait for the source, even if it is closing already, since a source may never
   * answer. Tasks and source have the grace period.
   */
  abort(): void {
    this.isAborted = true
    if (this.phase === "closing") this.waitForSource()
    else this.stop()
  }

  /** Ends the call because no more results are wanted: from now on, failures of its tasks are ignored. */
  abandon(): void {
    this.isWon = true
    this.stop()
  }

  /** Ends the call early. */
  stop(): void {
    if (this.phase !== "open") return
    this.phase = "cancelling"
    this.request?.cancel()
    this.request?.rest()
    if (this.input === "item" || this.input === "surplus") {
      this.input = "none"
      this.source.giveBack?.(this.source.item)
    }
    // A task that ends by this, or a listener that calls this run, finds a phase in which it does not continue the end.
    for (const task of this.tasks.members) task.cancel()
    this.phase = "settling"
    // The caller may continue in the step in which the call ends, and must not find the permits of its tasks in use.
    if (!this.isCounting) this.settle()
  }

  /** Waits for the tasks of a call that has stopped, then closes its source. */
  private settle(): void {
    if (this.phase !== "settling") return
    this.grace ??= new GracePeriod(this.host, this.worker.grace, () => {
      if (this.phase === "closing") this.end()
      else this.settle()
    })
    if (this.running > 0 && !this.grace.isOver) this.grace.begin()
    else this.closeSource()
  }

  private closeSource(): void {
    this.phase = "closing"
    if (this.input === "exhausted") return this.end()
    this.source.close((failure) => {
      // The grace period may have ended the call.
      if (this.phase !== "closing") return
      if (failure !== undefined) {
        this.failure = this.failure === undefined ? failure : this.worker.combine(this.failure, failure)
      }
      this.end()
    })
    this.waitForSource()
  }

  /** Unless the call is aborted, it waits for its source as `for…of` does, however long that takes. */
  private waitForSource(): void {
    const grace = this.grace!
    if (this.phase !== "closing") return
    if (!this.isAborted) grace.cancel()
    else if (grace.isOver) this.end()
    else grace.begin()
  }

  private end(): void {
    this.grace?.cancel()
    this.phase = "ended"
    this.reporter?.end()
    this.onEnd()
    if (this.isFollowing) for (const limiter of this.shared) limiter.sharing.unfollow(limiter, this)
    for (const limiter of this.shared) limiter.removeCall()
  }
}
