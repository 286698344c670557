/**
 * The acquisition of a permit: a run whose task ends when the permit is released.
 *
 * A permit that becomes unreachable can no longer be released by code. It is released when that is noticed, with a warning. Rejected:
 * to keep it. The meter would admit fewer and fewer tasks, and at last none. What the permit was acquired for may still be
 * running, but a limit that is exceeded for a while is less harm than a program that hangs, and the warning tells of it.
 */
import type { Permit } from "../Meter.ts"
import type { Cost, WindowReport } from "../Limits.ts"
import type { Context } from "./context.ts"
import { leases } from "./leases.ts"
import type { MeterLimiter } from "./meterLimiter.ts"
import { Attempt, GeneralMeterRun, ignore } from "./meterRun.ts"
import { observation } from "./observation.ts"
import { once } from "./once.ts"
import { settleCall } from "./settle.ts"
import type { Settle } from "./settle.ts"

/** What some hosts lack. */
interface Globals {
  readonly FinalizationRegistry?: FinalizationRegistryConstructor
  readonly process?: { readonly emitWarning?: (message: string, name: string) => void }
  readonly console: { readonly warn: (message: string) => void }
}

const globals = globalThis as Globals

const message =
  "a permit of a meter was garbage-collected before it was released. It is released now, but may have been held for long. " +
  "Call its release(), or declare it by await using"

const warn = (): void => {
  const { console, process } = globals
  if (process?.emitWarning === undefined) console.warn(message)
  else process.emitWarning(message, "UnreleasedPermitWarning")
}

/** Knows the permits that are held, by the functions that end them. These must not refer to their permits. */
const registry = /* @__PURE__ */ once(() =>
  globals.FinalizationRegistry === undefined
    ? undefined
    : new globals.FinalizationRegistry<() => void>((end) => {
        warn()
        end()
      })
)

class HeldPermit implements Permit {
  private readonly context: Context
  /** Refers to the permit, so that this is not garbage-collected as long as the function can be called. */
  readonly release: () => void

  constructor(context: Context, end: () => void) {
    this.context = context
    registry()?.register(this, end, this)
    this.release = () => {
      registry()?.unregister(this)
      end()
    }
  }

  get signal(): AbortSignal {
    return this.context.signal
  }

  get correct(): (cost: Cost) => void {
    return this.context.correct
  }

  get reconcile(): (report: WindowReport) => void {
    return this.context.reconcile
  }

  get fencingToken(): number | undefined {
    return this.context.fencingToken
  }

  [Symbol.dispose](): void {
    this.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release()
  }
}

export class PermitRun extends GeneralMeterRun<any> {
  /** Whether the caller has the permit. */
  private isReceived = false

  constructor(
    limiters: ReadonlyArray<MeterLimiter>,
    task: () => void,
    options: ConstructorParameters<typeof GeneralMeterRun>[2],
    settle: Settle<any>
  ) {
    super(limiters, task, { ...options, grace: 0, retry: undefined }, settle)
  }

  /** The caller may start what the permit is for at any time from now until it has the permit, and then does. */
  override started(): void {
    if (this.isReceived) return super.started()
    const { entries } = this.reservation()
    for (let i = 0; i < entries.length; i++) (this.limiters[i] as MeterLimiter).holdStart(entries[i])
  }

  protected override call(): void {
    const attempt = new Attempt(this.isWeighed ? this.reservation() : undefined)
    this.attempt = attempt
    this.register()
    // The permit remains to be released.
    attempt.timeLimit = leases.watch?.(attempt.reservation)?.(undefined, (error) => this.abort(error))
    this.deliver(new HeldPermit(attempt, this.endOf(attempt)))
    // The caller has a permit now. How the call ends concerns only the signal of that.
    this.settle = ignore
  }

  /**
   * A function that ends the task. Apart from `deliver`: functions that are created in one call refer to the same variables,
   * and what resolves the caller's promise refers to the permit.
   */
  private endOf(attempt: Attempt): () => void {
    let publish: (() => void) | undefined
    const { observer } = observation
    if (observer?.isStarting === true) {
      void observer.call(() => new Promise<void>((resolve) => (publish = resolve)), [], attempt)
    }
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      publish?.()
      attempt.timeLimit?.cancel()
      this.attemptSucceeded(undefined)
    }
  }

  private deliver(permit: Permit): void {
    const settle = this.settle!
    settleCall((result: Permit | Promise<never>) => {
      settle(result)
      // The caller has the permit in one of the next microtasks, and starts then.
      void Promise.resolve()
        .then(() => {})
        .then(() => {
          this.isReceived = true
          this.started()
        })
    }, permit)
  }
}
