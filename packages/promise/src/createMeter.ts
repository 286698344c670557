import { after, check, LimitGate, Ticket } from "fibermeter/engine"
import type { Gate } from "fibermeter/engine"
import { cancellationChecks, listen, refuse } from "./internal/cancellation.ts"
import { Context } from "./internal/context.ts"
import { host } from "./internal/host.ts"
import type { Cancellation, Limits } from "./Options.ts"

/**
 * Limits that many calls share, made by `createMeter`: pass it to the verbs as their option `meter`, or run single
 * tasks under it.
 *
 * @since 0.1.0
 */
export interface Meter {
  /**
   * Runs one task when the meter admits it, first come, first served, and gives its result. Rejects with the very value
   * that the task threw, or with the reason of `signal` if that aborts before: a task that waits is then dropped, one
   * that runs is cancelled, and counts as running until it has settled.
   */
  readonly run: <B>(task: MeterTask<B>, options?: Cancellation) => Promise<B>
}

/** A task that a meter runs by itself. */
export type MeterTask<B> = (context: { readonly signal: AbortSignal }) => B | PromiseLike<B>

/**
 * Makes a meter. Throws a `RangeError` or `TypeError` if a limit is not what it has to be.
 *
 * @example
 * ```ts
 * import { createMeter, runAll } from "@fibermeter/promise"
 *
 * // One meter for all that talks to this API.
 * const api = createMeter({ maxAtOnce: 8, maxPerSecond: 1000 })
 *
 * await api.run(async () => "a user") // => "a user"
 * await runAll([7, 8], async (id) => `order ${id}`, { meter: api }) // => ["order 7", "order 8"]
 * ```
 *
 * @since 0.1.0
 */
export const createMeter = (limits: Limits): Meter => {
  refuse(limits === undefined ? check.options({}, null) : check.options(check.limits, limits))
  return new GatedMeter(limits)
}

class GatedMeter implements Meter {
  readonly gates: ReadonlyArray<Gate>

  constructor(limits: Limits) {
    this.gates = [new LimitGate(limits, host().clock)]
  }

  readonly run = <B>(task: MeterTask<B>, options: Cancellation = {}): Promise<B> =>
    new Promise((resolve, reject) => {
      refuse(check.options(cancellationChecks, options) ?? check.notFunction("the task", "a function", task))
      options.signal?.throwIfAborted()
      new SingleRun(this.gates, task, options, resolve, reject).begin()
    })
}

/** Whether a value is a meter of this package. */
export const isMeter = (value: unknown): value is Meter => value instanceof GatedMeter

/** The gates of a meter of this package. */
export const gatesOf = (meter: Meter): ReadonlyArray<Gate> => (meter as GatedMeter).gates

/** One task under a meter: what `Run` is for many. */
class SingleRun<B> extends Ticket {
  private readonly task: MeterTask<B>
  private readonly options: Cancellation
  private readonly resolve: (value: B) => void
  private readonly reject: (reason: unknown) => void
  /** Made when the task starts: most of those who wait never need one. */
  private told: Context | undefined
  /** Removes the listener at the caller's signal. */
  private unlisten: (() => void) | undefined
  private endGrace: (() => void) | undefined

  constructor(
    gates: ReadonlyArray<Gate>,
    task: MeterTask<B>,
    options: Cancellation,
    resolve: (value: B) => void,
    reject: (reason: unknown) => void
  ) {
    super(host(), gates, true)
    this.task = task
    this.options = options
    this.resolve = resolve
    this.reject = reject
  }

  begin(): void {
    const { signal } = this.options
    if (signal !== undefined) this.unlisten = listen(signal, (reason) => this.abort(reason))
    if (this.request()) this.admitted()
  }

  protected override admitted(): void {
    this.call()
    this.started()
    this.rest()
  }

  private call(): void {
    let promise: PromiseLike<B>
    try {
      const result = this.task((this.told = new Context(0)))
      if (!check.isThenable(result)) return this.settled(() => this.resolve(result))
      promise = result instanceof Promise ? result : Promise.resolve(result)
    } catch (reason) {
      return this.settled(() => this.reject(reason))
    }
    promise.then(
      (value) => this.settled(() => this.resolve(value)),
      (reason) => this.settled(() => this.reject(reason))
    )
  }

  /** Rejecting comes first, where it comes at all: what is called afterwards changes nothing any more. */
  private settled(settle: () => void): void {
    if (this.endGrace !== undefined) this.reject(this.options.signal!.reason)
    this.endGrace?.()
    this.unlisten?.()
    settle()
    this.leave()
  }

  private abort(reason: unknown): void {
    const { grace = 0 } = this.options
    if (this.isWaiting) {
      this.unlisten!()
      this.cancel()
      return this.reject(reason)
    }
    this.told!.abort(reason)
    if (grace === 0) this.unlisten!()
    if (grace === 0) this.reject(reason)
    else this.endGrace = after(host(), grace, () => this.reject(reason))
  }
}
