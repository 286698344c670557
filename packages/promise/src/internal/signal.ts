/**
 * The caller's `signal`, and the checks of `signal` and `grace`.
 */
import { check } from "fibermeter/engine"
import type { admission } from "fibermeter/engine"
import { times } from "./times.ts"

/** These are the only properties that are needed: signals of React Native have no `throwIfAborted` and no `reason`. */
const isSignal = (value: unknown): value is AbortSignal =>
  typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value

/** The reason of a signal that has aborted. */
export const reasonOf = (signal: AbortSignal): unknown =>
  signal.reason === undefined ? new DOMException("the signal was aborted", "AbortError") : signal.reason

/** Throws the reason of a signal that has aborted. */
export const throwIfAborted = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted === true) throw reasonOf(signal)
}

/** The reason of a signal that has aborted, or what reading it throws. */
export const readReason = (signal: AbortSignal): unknown => {
  try {
    return reasonOf(signal)
  } catch (error) {
    return error
  }
}

/**
 * Refuses a task whose signal has aborted. Another call's listener at the same signal may release a permit before the
 * task's own listener is called.
 */
export const aborted: admission.Refusal = { _tag: "Failure", cause: undefined }

/** Refuses a task whose signal has aborted, or cannot be read: what is thrown here would leave other waiters stuck. */
export const objectionOf = (signal: AbortSignal): admission.Refusal | undefined => {
  try {
    return signal.aborted ? aborted : undefined
  } catch (cause) {
    return { _tag: "Failure", cause }
  }
}

/** The options by which a call can be cancelled. */
export const cancellationChecks = () =>
  ({
    signal: check.kind("an AbortSignal", isSignal),
    grace: times().wait
  }) satisfies check.Checks

type Abort = (reason: unknown) => void

/** All calls with the same signal share one listener: the time to add a listener grows with their number. */
class SharedListener {
  private readonly signal: AbortSignal
  private readonly callbacks = new Set<Abort>()

  constructor(signal: AbortSignal) {
    this.signal = signal
    signal.addEventListener("abort", this.onAbort)
    sharedListeners.set(signal, this)
  }

  /** Returns a function that removes the callback, which may be called more than once. */
  add(abort: Abort): () => void {
    this.callbacks.add(abort)
    return () => {
      if (!this.callbacks.delete(abort) || this.callbacks.size > 0) return
      sharedListeners.delete(this.signal)
      try {
        this.signal.removeEventListener("abort", this.onAbort)
      } catch {
        // A listener that stays does nothing. The call has to end all the same.
      }
    }
  }

  private readonly onAbort = (): void => {
    // A callback may remove others.
    // Thrown out of a listener, an error would be an uncaught exception, and no call would end.
    const reason = readReason(this.signal)
    for (const abort of Array.from(this.callbacks)) if (this.callbacks.has(abort)) abort(reason)
  }
}

const sharedListeners = new WeakMap<AbortSignal, SharedListener>()

/** Calls `abort` with the signal's reason when it aborts. Returns a function that removes the listener. */
export const listen = (signal: AbortSignal | undefined, abort: Abort): (() => void) =>
  signal === undefined ? () => {} : (sharedListeners.get(signal) ?? new SharedListener(signal)).add(abort)
