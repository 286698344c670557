/**
 * The run of a call in core. A task that has its result at once, such as a cached value, costs little more than the loop
 * around it. So where nothing but `maxAtOnce` limits a call, such tasks are started one after the other in a loop of their
 * own, without what only limiters, back-pressure and work queues need. It does the same in the same order as the loop in
 * `run.ts`.
 */
import type * as Cause from "effect/Cause"
import type { Limiter } from "../admission/limiter.ts"
import { overdue } from "../runtime/eventLoop.ts"
import type { Host } from "../runtime/host.ts"
import { Next } from "../source/source.ts"
import type { Source } from "../source/source.ts"
import type { FiberWorker } from "./fiberWorker.ts"
import { Run } from "./run.ts"
import type { Collector, OwnLimits } from "./run.ts"

export class FiberRun<A, B, E> extends Run<A, B, Cause.Cause<E>> {
  declare readonly worker: FiberWorker<A, B, E>
  /** Whether a start needs nothing but an item and one of `maxAtOnce`. */
  private readonly isPlain: boolean
  /** Whether the task has been counted for whose start or end there was no room on the stack, if there has been one. */
  private wasCounted: boolean | undefined

  constructor(
    host: Host,
    source: Source<A, Cause.Cause<E>>,
    own: OwnLimits,
    shared: ReadonlyArray<Limiter>,
    worker: FiberWorker<A, B, E>,
    collector: Collector<B, Cause.Cause<E>>,
    maxUnread: number | undefined
  ) {
    super(host, source, own, shared, worker, collector, maxUnread)
    this.isPlain =
      this.request === undefined &&
      worker.itemMeters === undefined &&
      worker.weigh === undefined &&
      worker.rank === undefined &&
      source.settled === undefined &&
      maxUnread === Infinity
  }

  protected override start(): void {
    if (this.isPlain) this.startMany()
    else super.start()
  }

  /** Starts the task of the item at hand, and the next ones as long as each ends at once and decides nothing. */
  private startMany(): void {
    const { host, source, worker } = this
    // How many tasks had ended before the one that is being started; infinite while it is called, since it may end others.
    let ended = -1
    try {
      for (;;) {
        this.running++
        ended = Infinity
        this.input = "none"
        const index = this.started++
        const exit = worker.call(this, source.item, index)
        if (exit === undefined) return
        ended = this.successes + this.failures
        if (exit._tag === "Failure") return this.failed(index, exit.cause)
        this.countSuccess(index, exit.value)
        if (this.phase !== "open") return this.proceed()
        // Written before the call, as in `pull`.
        this.input = "pending"
        const next = source.next()
        if (next !== Next.item || this.phase !== "open") return void this.answered(next)
        if (overdue(host)) {
          // The loop in `run.ts` asks again, and postpones the start.
          this.input = "item"
          return
        }
      }
    } catch (error) {
      // No call here: there may be no room for one. What a source throws is handled as in `run.ts`.
      if (this.input !== "pending") this.wasCounted = ended < this.successes + this.failures
      throw error
    }
  }

  protected override pumpFailed(thrown: unknown): void {
    const { wasCounted } = this
    if (wasCounted === undefined) super.pumpFailed(thrown)
    else void Promise.resolve().then(() => this.startFailed(thrown, wasCounted, -1))
  }
}
