import { after, check, KeyedGates, LimitGate, namesOf, nanosOf, standing, Ticket } from "fibermeter/engine"
import type { Gate } from "fibermeter/engine"
import { cancellationChecks, listen } from "./internal/cancellation.ts"
import { Context } from "./internal/context.ts"
import { host } from "./internal/host.ts"
import { refusal, refuse } from "./internal/refuse.ts"
import type { Cancellation, Cost, Limits, Period } from "./Options.ts"
import type { TaskContext } from "./Task.ts"

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
   * that runs is cancelled, and counts as running until it has settled. A `cost` above a whole window's limit is refused
   * at once, with a `RangeError`.
   */
  readonly run: <B>(task: MeterTask<B>, options?: RunOptions) => Promise<B>
  /**
   * Holds back every start, for a duration (a number being milliseconds) or until `resume`. Tasks that run go on. Of
   * several pauses, the one that ends last counts.
   */
  readonly pause: (duration?: Period) => void
  /** Ends all pauses. */
  readonly resume: () => void
  /**
   * Changes the limits that are given, `Infinity` to lift one; at once, also for those who wait already. Tasks that run
   * go on. What started before counts in the new windows as far as the old ones still reached it.
   */
  readonly resize: (limits: Limits) => void
  /** How the meter stands at this moment. */
  readonly snapshot: () => Snapshot
}

/** How a meter stands. */
export interface Snapshot {
  /** Tasks that have started and not settled. */
  readonly running: number
  /** Tasks that wait for their start. */
  readonly waiting: number
  /** Tasks that have ever started. */
  readonly started: number
  /** How many more may run at once; `Infinity` where nothing limits that. */
  readonly free: number
  /** How much may be spent now, window by window. */
  readonly room: Readonly<Record<string, number>>
  /**
   * How many milliseconds it takes at least until a task of cost 1 can start, if nobody waits before it: 0 if it can
   * now, `Infinity` if that depends on a task's end or on `resume`.
   */
  readonly nextStart: number
}

/** The options of a meter's `run`. */
export interface RunOptions extends Cancellation {
  /** What the task costs, by the names of the meter's windows; a window that is not named costs 1. */
  readonly cost?: Cost | undefined
}

/** A task that a meter runs by itself. */
export type MeterTask<B> = (context: Pick<TaskContext, "signal" | "correct">) => B | PromiseLike<B>

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
  refuse(check.required(check.limits, limits))
  const gates = [new LimitGate(limits)]
  return new GatedMeter(() => gates)
}

/**
 * A family of meters, one for each key: a host, a user, a tenant.
 *
 * @since 0.1.0
 */
export interface KeyedMeter<in K> {
  /** The meter of a key. It may be kept: it is the same for the same key, however long nobody has used it. */
  readonly for: (key: K) => Meter
  /** How many keys are in use, or were until less than their longest window ago. */
  readonly size: number
}

/**
 * Makes a family of meters with the same limits, one for each key. Keys are compared as in a `Map`.
 *
 * A slow key holds back nobody but itself. What is known of a key is dropped when it has been idle for longer than its
 * longest window, after which it would make no difference; that is looked after in passing, without a timer. Throws a
 * `RangeError` or `TypeError` if a limit is not what it has to be.
 *
 * @example
 * ```ts
 * import { createKeyedMeter, runAll } from "@fibermeter/promise"
 *
 * const hosts = createKeyedMeter<string>({ maxAtOnce: 2, maxPerSecond: 1000 })
 * const load = (url: string) => hosts.for(new URL(url).host).run(async () => url.length)
 *
 * await runAll(["https://a.example/", "https://b.example/x"], load) // => [18, 19]
 * ```
 *
 * @since 0.1.0
 */
export const createKeyedMeter = <K>(limits: Limits): KeyedMeter<K> => {
  refuse(check.required(check.limits, limits))
  const gates = new KeyedGates<K>(limits)
  return {
    for: (key) => new GatedMeter(() => [gates.of(key)]),
    get size() {
      return gates.size
    }
  }
}

const runChecks: check.Checks = { ...cancellationChecks, cost: check.anything }

class GatedMeter implements Meter {
  /** Asked for at each use: a key's gate may have been dropped and made anew. */
  readonly gates: () => ReadonlyArray<LimitGate>

  constructor(gates: () => ReadonlyArray<LimitGate>) {
    this.gates = gates
  }

  readonly run = <B>(task: MeterTask<B>, options: RunOptions = {}): Promise<B> =>
    new Promise((resolve, reject) => {
      refuse(check.options(runChecks, options) ?? check.notFunction("the task", "a function", task))
      const gates = this.gates()
      if (options.cost !== undefined) refuse(check.cost(namesOf(gates), options.cost))
      options.signal?.throwIfAborted()
      new SingleRun(gates, task, options, resolve, reject).begin()
    })

  readonly pause = (duration: Period = Infinity): void => {
    refuse(check.pause(duration))
    for (const gate of this.gates()) gate.pause(host(), nanosOf(duration))
  }

  readonly resume = (): void => {
    for (const gate of this.gates()) gate.resume()
  }

  readonly resize = (limits: Limits): void => {
    refuse(check.required(check.limits, limits))
    for (const gate of this.gates()) gate.resize(limits, host())
  }

  readonly snapshot = (): Snapshot => {
    const { opensIn, ...counts } = standing(this.gates(), host())
    return { ...counts, nextStart: opensIn / 1_000_000 }
  }
}

/** Whether a value is a meter of this package. */
export const isMeter = (value: unknown): value is Meter => value instanceof GatedMeter

/** The gates of a meter of this package. */
export const gatesOf = (meter: Meter): ReadonlyArray<Gate> => (meter as GatedMeter).gates()

/** One task under a meter: what `Run` is for many. */
class SingleRun<B> extends Ticket {
  private readonly task: MeterTask<B>
  private readonly options: RunOptions
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
    options: RunOptions,
    resolve: (value: B) => void,
    reject: (reason: unknown) => void
  ) {
    super(host(), gates, true)
    this.cost = options.cost
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

  protected override refused(cause: Parameters<Ticket["refuse"]>[0]): void {
    this.unlisten?.()
    this.reject(refusal(cause))
  }

  private call(): void {
    let promise: PromiseLike<B>
    try {
      const result = this.task(
        (this.told = this.gates.some(isWeighed) ? new Context(0, this.holding()) : new Context(0))
      )
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
    this.unlisten!()
    if (this.isWaiting) {
      this.cancel()
      return this.reject(reason)
    }
    this.told!.abort(reason)
    if (grace === 0) this.reject(reason)
    else this.endGrace = after(host(), grace, () => this.reject(reason))
  }
}

const isWeighed = (gate: Gate): boolean => gate.isWeighed
