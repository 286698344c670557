/**
 * The admission loop: takes items from a source, has the limiters admit them, has a worker carry them out, and hands the
 * outcomes to a collector. All verbs of both packages are this loop with another worker and collector.
 *
 * The order of the questions is what keeps anyone from holding what others could use: first a place for the result to
 * be read from, then an item, then the event loop's leave, and last the limiters.
 */
import { captureContext } from "../runtime/asyncContext.ts"
import type { AsyncContext } from "../runtime/asyncContext.ts"
import { capacityOf, inOrder } from "../admission/limiter.ts"
import type { Limiter, Inside } from "../admission/limiter.ts"
import type { Cost, Reservation } from "../admission/reservation.ts"
import { after } from "../runtime/host.ts"
import type { Host } from "../runtime/host.ts"
import type { OwnLimits } from "../limits/localLimiter.ts"
import { WaitList } from "../data/waitList.ts"
import type { WaitListEntry } from "../data/waitList.ts"
import type { Refusal } from "../admission/refusal.ts"
import { RetryQueue } from "./retryQueue.ts"
import type { Attempt } from "./retryQueue.ts"
import { Next } from "../source/source.ts"
import type { Source } from "../source/source.ts"
import { AdmissionRequest } from "../admission/request.ts"
import { callBegins, deferStart, overdue } from "../runtime/eventLoop.ts"

/** A task that is running. */
export abstract class Task implements WaitListEntry {
  // Why it is no field: `request.ts`.
  declare position: number

  constructor() {
    this.position = 0
  }

  /** Asks the task to end. It tells the run when it has. */
  abstract cancel(): void
}

/** How tasks are carried out. `F` is an object that says how one failed. */
export interface Worker<A, B, F> {
  /**
   * Calls the task, after so many attempts that have failed. Its end is told to the run by `succeeded` or `failed`, at
   * once or later; if later, the task has to be registered by `track` and taken out again by `untrack`. One that has
   * failed may be followed by another attempt instead: `again`, then `left`. One that goes on may be given up before its
   * end, by `failedEarly` or `againEarly`; then its end is told by `leftLate`.
   */
  start(run: Run<A, B, F>, item: A, index: number, attempts: number): void
  /** How the call fails, given how it did so far, if at all, and that a task has failed during the winding up. */
  combine(first: F | undefined, later: F): F | undefined
  /** Why nothing may start now, if so; beside what the limiters say. */
  objection?(): Refusal | undefined
  /** The failure that a refused start is, if it is one. */
  refused(refusal: Refusal): F | undefined
  /** Says what an item costs, where that is not 1 of everything. Its throw is a failure, made by `crash`. */
  readonly weigh: ((item: A, index: number) => Cost) | undefined
  crash(error: unknown): F
  /**
   * How long the call waits for tasks that it has cancelled, in milliseconds. A call that is aborted waits no longer than
   * that for its source to close, either.
   */
  readonly grace: number
  /** What the call is made inside of, where that can be known. */
  readonly inside?: Inside | undefined
}

/** What becomes of the outcomes. `succeeded` and `failed` say whether the call is decided by it. */
export interface Collector<in B, in F> {
  succeeded(index: number, value: B): boolean
  failed(index: number, failure: F): boolean
  /** How many results nobody will read, since they will not come; those that this has told of are not told again. */
  readonly takeSkipped?: (() => number) | undefined
  /** The run has done all it could for now: the time to hand on what has come together. */
  flush?(): void
}

/** How many of a run's tasks there are of each kind. */
export interface Counts {
  readonly started: number
  readonly running: number
  /** Items that are between two attempts, and those that have not been started, as far as they are known. */
  readonly waiting: number
  readonly succeeded: number
  readonly failed: number
  readonly retried: number
}

/** A run goes through these in this order, and may leave some out. */
type Phase =
  | "open"
  /** No more starts; what runs is being cancelled, task by task. */
  | "cancelling"
  /** Waits for what has been cancelled, within the time of grace. */
  | "settling"
  /** Waits for the source to close. */
  | "closing"
  | "ended"

/** The one request of a run, used for one item after the other. */
class RunRequest extends AdmissionRequest {
  readonly host: Host
  readonly inside: Inside | undefined
  cost: Cost | undefined
  private readonly run: Run<any, any, any>

  constructor(run: Run<any, any, any>, limiters: ReadonlyArray<Limiter>, inside: Inside | undefined) {
    super(limiters)
    this.host = run.host
    this.inside = inside
    this.run = run
  }

  override objection(): Refusal | undefined {
    return this.run.objection() ?? super.objection()
  }

  protected override admitted(): void {
    this.run.inContext(() => this.run.admitted())
  }

  protected override refused(refusal: Refusal): void {
    this.run.inContext(() => this.run.refused(refusal))
  }
}

export class Run<A, B, F> {
  readonly host: Host
  phase: Phase = "open"
  /** How the call fails; a call may end before its time without failing. */
  failure: F | undefined
  /** Called once, when nothing of the call is left. */
  onEnd!: () => void
  /** Told before that. */
  reporter: { readonly end: () => void } | undefined

  private readonly source: Source<A, F>
  private readonly worker: Worker<A, B, F>
  private readonly collector: Collector<B, F>
  /** Whether the collector wants to be told. Asked once: to look for a method that is not there takes long. */
  private readonly isFlushing: boolean
  /** The call's own limit on how many run, where it has no other of its own: a count does, without a limiter. */
  private readonly maxAtOnce: number
  private readonly limiters: ReadonlyArray<Limiter>
  /** Where there is no limiter, there is nothing to ask. */
  private readonly request: RunRequest | undefined
  /** The caller's async context, where what ends a wait may be something in another one. */
  private readonly context: AsyncContext | undefined
  /** `maxUnread`, where no limiter can change it. */
  private readonly fixedUnread: number | undefined
  /** Whether there may be an end of room for results that nobody has read. Where there is none, room is not asked for. */
  private readonly isBounded: boolean
  private unread = 0
  private started = 0
  private running = 0
  /** Of those that run, the ones whose outcome is known already, so that nobody waits for them. */
  private givenUp = 0
  private successes = 0
  private failures = 0
  /** Made for the first task that is to be started again: most runs have none. */
  private retries: RetryQueue<A> | undefined
  /** Those that have not ended at once. */
  private readonly tasks = new WaitList<Task>()
  /** An item has been taken from the source and its task not started yet. */
  private hasItem = false
  private isPulling = false
  private isExhausted = false
  private isPumping = false
  private pumpAgain = false
  private isPostponed = false
  /** A start waits for nothing but room for its result, or for fewer items between two attempts. */
  private isHeldUp = false
  /** Told when the capacity of a limiter changes, since what holds this up may go by that. */
  private isFollowing = false
  /** A result has decided the call: how the others fail does not count any more. */
  private isWon = false
  /** Ends sooner what has no end of its own. */
  private isAborted = false
  private endGrace: (() => void) | undefined
  private isOutOfGrace = false

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
    source.onReady = () => {
      this.isPulling = false
      this.pump()
    }
    this.worker = worker
    this.collector = collector
    this.isFlushing = collector.flush !== undefined
    this.maxAtOnce = own.maxAtOnce
    this.limiters = inOrder(own.limiters, shared)
    this.fixedUnread = maxUnread ?? (this.limiters.length === 0 ? 2 * own.maxAtOnce : undefined)
    this.isBounded = this.fixedUnread !== Infinity
    this.request = this.limiters.length === 0 ? undefined : new RunRequest(this, this.limiters, worker.inside)
    for (const limiter of this.limiters) limiter.join()
    this.context = shared.length === 0 ? undefined : captureContext()
    callBegins()
  }

  /** How many tasks may run at once, as far as the limits tell. */
  get capacity(): number {
    return Math.min(this.maxAtOnce, capacityOf(this.limiters))
  }

  /** The most tasks that may be started and not yet read. By default it goes by the limiters, whose limits can change. */
  get maxUnread(): number {
    return this.fixedUnread ?? 2 * this.capacity
  }

  /** Whether tasks are paid for by amounts, which they may correct. */
  get isWeighed(): boolean {
    // Asked for each task, mostly where there is no limiter.
    return this.request !== undefined && this.limiters.some((limiter) => limiter.isWeighed)
  }

  inContext(f: () => void): void {
    if (this.context === undefined) f()
    else this.context.runInAsyncScope(f)
  }

  /** Starts what may be started. To be called at the beginning, and whenever the source or the reader allow for more. */
  pump(): void {
    // Apart from `startAll`, so that it is small enough to be inlined: each task that ends at once comes here.
    if (this.isPumping) this.pumpAgain = true
    else this.startAll()
  }

  private startAll(): void {
    const { request } = this
    this.isPumping = true
    do {
      this.pumpAgain = false
      // Whatever begins to be waited for, ends the inner loop.
      if (this.isPostponed || request?.isWaiting === true) break
      while (this.mayStart() && request?.requestStart() !== false) this.start()
    } while (this.pumpAgain)
    this.isPumping = false
    if (!this.isPostponed && request?.isWaiting === false) request.rest()
    if (this.phase === "open" && this.isExhausted && this.running === this.givenUp && this.backingOff === 0) {
      if (this.running === 0) this.end()
      else this.stop()
    }
    if (this.isFlushing) this.collector.flush!()
  }

  /** `total` is the number of items, where that is known. */
  counts(total: number | undefined): Counts {
    const taken = this.hasItem && this.retries?.asking === undefined ? 1 : 0
    return {
      started: this.started,
      running: this.running - this.givenUp,
      waiting: this.backingOff + (total === undefined ? taken : Math.max(0, total - this.started)),
      succeeded: this.successes,
      failed: this.failures,
      retried: this.retries?.made ?? 0
    }
  }

  /** Whether a task waits for its start at the limiter, or for another attempt. */
  isWaitingAt(limiter: Limiter): boolean {
    return this.request?.isWaitingAt(limiter) === true || this.backingOff > 0
  }

  /** That many results have been read. */
  read(results: number): void {
    this.unread -= results
    // Not whether there was no room: the limit that said so may be another one today.
    if (this.isHeldUp) this.pump()
  }

  /** The capacity of a limiter has changed. */
  capacityChanged(): void {
    if (this.isHeldUp) this.pump()
  }

  /** Ends the call before its time. */
  stop(): void {
    if (this.phase !== "open") return
    this.phase = "cancelling"
    this.request?.cancel()
    this.request?.rest()
    this.hasItem = false
    this.retries?.clear()
    // A task that ends by this, or a listener that comes back to this run, finds a phase in which nothing is wound up.
    for (const task of this.tasks.members) task.cancel()
    this.phase = "settling"
    this.windUp()
  }

  /**
   * Ends the call early for a caller that does not wait for the source, even if it is closing already, since a source may
   * never answer. Tasks and source have the time of `grace`.
   */
  abort(): void {
    this.isAborted = true
    if (this.phase === "closing") this.waitForSource()
    else this.stop()
  }

  /** Cancels the call because its results are no longer wanted: failures of its tasks are ignored from now on. */
  leave(): void {
    this.isWon = true
    this.stop()
  }

  /** Whether a failure or a result has decided how the call ends. */
  get isDecided(): boolean {
    return this.isWon || this.failure !== undefined
  }

  objection(): Refusal | undefined {
    return this.worker.objection?.()
  }

  /** The limiters admit nothing more. */
  refused(refusal: Refusal): void {
    const failure = this.worker.refused(refusal)
    if (failure !== undefined) this.fail(failure)
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

  succeeded(index: number, value: B): void {
    this.running--
    this.successes++
    if (this.phase === "open" && this.collector.succeeded(index, value)) {
      this.isWon = true
      this.stop()
    }
    this.goOn()
  }

  failed(index: number, failure: F): void {
    this.running--
    this.tell(index, failure)
    this.goOn()
  }

  /** A task counts as failed, but goes on for now, in its place. */
  failedEarly(index: number, failure: F): void {
    this.givenUp++
    this.tell(index, failure)
    this.resume()
  }

  /** A task that goes on for now is begun anew beside it, as by `again`. */
  againEarly(item: A, index: number, attempts: number, delay: number): void {
    this.givenUp++
    this.again(item, index, attempts, delay)
    this.resume()
  }

  /** A task that was given up has ended. */
  leftLate(): void {
    this.givenUp--
    this.running--
    this.goOn()
  }

  /**
   * Has a task that has failed start again, after so many milliseconds without a place of its own: with an admission
   * like any other's, before items that are new.
   */
  again(item: A, index: number, attempts: number, delay: number): void {
    // What is asked about a retry may be what ends the call.
    if (this.phase !== "open") return
    this.retries ??= new RetryQueue()
    this.retries.add(this.host, { item, index, attempts }, delay, () => this.pump())
  }

  /** An attempt that is not the last has ended. */
  left(): void {
    this.running--
    this.goOn()
  }

  private tell(index: number, failure: F): void {
    this.failures++
    const counts = this.phase === "open" ? this.collector.failed(index, failure) : !this.isWon
    if (counts) this.fail(failure)
  }

  /** Registers a task that did not end at once. */
  track(task: Task): void {
    this.tasks.add(task)
    // The task itself, in its first step, may have been what ended the call.
    if (this.phase !== "open") task.cancel()
  }

  untrack(task: Task): void {
    this.tasks.remove(task)
  }

  /** Whether there is all that a start needs but the limiters' leave. */
  private mayStart(): boolean {
    if (this.phase !== "open" || (!this.hasItem && !this.takeItem()) || this.running >= this.maxAtOnce) return false
    if (!overdue(this.host)) return true
    this.postpone()
    return false
  }

  private postpone(): void {
    this.isPostponed = true
    deferStart(this.host, () => {
      this.isPostponed = false
      this.pump()
    })
  }

  /** How many items are between two attempts. */
  private get backingOff(): number {
    return this.retries === undefined ? 0 : this.retries.size
  }

  /** Takes an item to be tried again, whose result has a place to be read from already, or else a new one. */
  private takeItem(): boolean {
    const again = this.retries?.ask()
    return again === undefined ? this.pull() : this.takeRetry(again)
  }

  private takeRetry({ index, item }: Attempt<A>): boolean {
    this.weigh(item, index)
    return (this.hasItem = this.phase === "open")
  }

  private pull(): boolean {
    if (this.isPulling || this.isExhausted) return false
    // As many may be between two attempts as may run: where all fail, an endless source must not be read to the end.
    if (!this.hasRoom() || (this.backingOff > 0 && this.backingOff >= this.capacity)) return this.heldUp()
    this.isHeldUp = false
    // Set before the call: a source may answer from within it.
    this.isPulling = true
    const next = this.source.next()
    if (next === Next.pending) return false
    this.isPulling = false
    if (next !== Next.item) {
      this.exhausted(next)
      return false
    }
    if (this.worker.weigh !== undefined) this.weigh(this.source.item, this.started)
    // The source, or what says the cost, may have ended the call.
    return (this.hasItem = this.phase === "open")
  }

  private heldUp(): false {
    this.isHeldUp = true
    if (!this.isFollowing) {
      this.isFollowing = true
      this.host.requests?.enter(this)
      for (const limiter of this.limiters) limiter.follow(this)
    }
    return false
  }

  private exhausted(by: Next): void {
    this.isExhausted = true
    if (by === Next.failed) this.fail(this.source.failure)
  }

  /** Whether one more result has a place to be read from. */
  private hasRoom(): boolean {
    return !this.isBounded || this.unread < this.maxUnread || this.hasSkipped()
  }

  private hasSkipped(): boolean {
    // Asked only now: most collectors never have any.
    this.unread -= this.collector.takeSkipped?.() ?? 0
    return this.unread < this.maxUnread
  }

  private weigh(item: A, index: number): void {
    if (this.worker.weigh === undefined) return
    try {
      const cost = this.worker.weigh(item, index)
      if (this.request !== undefined) this.request.cost = cost
    } catch (error) {
      this.fail(this.worker.crash(error))
    }
  }

  /** What the task holds that is just being started; there has to be a limiter. */
  holding(): Reservation {
    return this.request!.holding()
  }

  /** The limiters have admitted the item that waited. */
  admitted(): void {
    const isNested = this.isPumping
    // The request is good for one start at a time: whatever this one sets going has to wait until it is done.
    this.isPumping = true
    this.start()
    this.isPumping = isNested
    this.pump()
  }

  /** What most tasks have no need of is kept out of here and of what leads here: it is all done once a task. */
  private start(): void {
    // What a limiter does when it lets one pass may have ended the call.
    if (this.phase !== "open") return this.request?.leave()
    this.hasItem = false
    this.running++
    const again = this.retries?.asking
    if (again === undefined) {
      this.unread++
      this.worker.start(this, this.source.item, this.started++, 0)
    } else {
      this.startAgain(again)
    }
    this.request?.started()
  }

  private startAgain({ attempts, index, item }: Attempt<A>): void {
    this.retries!.started()
    this.worker.start(this, item, index, attempts)
  }

  /** A task has ended, and what that means for the call has been seen to: only now may others have its place. */
  private goOn(): void {
    this.request?.leave()
    this.resume()
  }

  private resume(): void {
    if (this.phase === "open") this.pump()
    else this.windUp()
  }

  /** Ends a call that has been stopped, as soon as everything it started has ended. */
  private windUp(): void {
    if (this.phase !== "settling") return
    if (this.running > 0 && !this.isOutOfGrace && this.worker.grace > 0) this.beginGrace()
    else this.closeSource()
  }

  private beginGrace(): void {
    if (this.worker.grace === Infinity || this.endGrace !== undefined) return
    this.endGrace = after(this.host, this.worker.grace, () => {
      this.isOutOfGrace = true
      if (this.phase === "closing") this.end()
      else this.windUp()
    })
  }

  private closeSource(): void {
    this.phase = "closing"
    if (this.isExhausted) return this.end()
    this.source.close((failure) => {
      // It may have been waited for long enough.
      if (this.phase !== "closing") return
      if (failure !== undefined) {
        this.failure = this.failure === undefined ? failure : this.worker.combine(this.failure, failure)
      }
      this.end()
    })
    this.waitForSource()
  }

  /** Without an abort, a source is waited for as \`for…of\` would, however long that takes. */
  private waitForSource(): void {
    if (this.phase !== "closing") return
    if (!this.isAborted) this.callOffGrace()
    else if (this.isOutOfGrace || this.worker.grace === 0) this.end()
    else this.beginGrace()
  }

  private callOffGrace(): void {
    this.endGrace?.()
    this.endGrace = undefined
  }

  private end(): void {
    this.callOffGrace()
    this.phase = "ended"
    this.reporter?.end()
    this.onEnd()
    if (this.isFollowing) for (const limiter of this.limiters) limiter.unfollow(this)
    for (const limiter of this.limiters) limiter.part()
  }
}
