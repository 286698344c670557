/**
 * The caller's `signal` and `grace`.
 */
import { check } from "fibermeter/engine"
import { times } from "./times.ts"

/** Nothing else of a signal is used: React Native's has no `throwIfAborted`, and no `reason` either. */
const isSignal = (value: unknown): value is AbortSignal =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value

/** The reason of a signal that has aborted. */
export const reasonOf = (signal: AbortSignal): unknown =>
  signal.reason === undefined ? new DOMException("the signal was aborted", "AbortError") : signal.reason

/** Throws the reason of a signal that has aborted already. */
export const throwIfAborted = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted === true) throw reasonOf(signal)
}

/** The options by which a call can be cancelled. */
export const cancellationChecks = () =>
  ({
    signal: check.kind("an AbortSignal", isSignal),
    grace: times().wait
  }) satisfies check.Checks

type Abort = (reason: unknown) => void

/** Those who listen at the same signal, behind one listener: to add another one takes the longer the more there are. */
class Crowd {
  private readonly signal: AbortSignal
  private readonly members = new Set<Abort>()

  constructor(signal: AbortSignal) {
    this.signal = signal
    signal.addEventListener("abort", this.tell)
    crowds.set(signal, this)
  }

  /** Returns what ends it, which may be called more than once. */
  join(abort: Abort): () => void {
    this.members.add(abort)
    return () => {
      if (!this.members.delete(abort) || this.members.size > 0) return
      crowds.delete(this.signal)
      try {
        this.signal.removeEventListener("abort", this.tell)
      } catch {
        // A listener that stays has nothing left to notify; the call has to end all the same.
      }
    }
  }

  private readonly tell = (): void => {
    // One that is told may call off others.
    const reason = this.reason()
    for (const abort of Array.from(this.members)) if (this.members.has(abort)) abort(reason)
  }

  private reason(): unknown {
    try {
      return reasonOf(this.signal)
    } catch (error) {
      // Thrown out of a listener, it would be an uncaught exception, and no call would end.
      return error
    }
  }
}

const crowds = new WeakMap<AbortSignal, Crowd>()

/** Calls `abort` with the signal's reason when it aborts. Returns what calls that off. */
export const listen = (signal: AbortSignal | undefined, abort: Abort): (() => void) =>
  signal === undefined ? () => {} : (crowds.get(signal) ?? new Crowd(signal)).join(abort)
