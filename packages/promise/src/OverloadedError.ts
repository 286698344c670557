import { admission } from "fibermeter/engine"

/**
 * A meter is overloaded: as many calls wait as its `maxWaiting` allows, or the task cannot start within its `waitTimeout`.
 * The task has not started.
 *
 * @example
 * ```ts
 * import { createMeter, OverloadedError } from "@fibermeter/promise"
 *
 * const api = createMeter({ maxPerSecond: 10, maxWaiting: 0 })
 * await api.run(() => "one")
 *
 * const error = await api.run(() => "two").catch((error: unknown) => error)
 * error instanceof OverloadedError && error.reason // => "queue-full"
 * ```
 *
 * @since 0.1.0
 */
export class OverloadedError extends Error {
  override readonly name = "OverloadedError"
  readonly reason: "queue-full" | "wait-timeout"
  /**
   * In how many milliseconds a call would be accepted, if no other came before it; `undefined` if that depends on the end of
   * a task.
   */
  readonly retryAfter: number | undefined

  constructor(refusal: { readonly reason: "queue-full" | "wait-timeout"; readonly retryAfter: number | undefined }) {
    super(admission.overloadMessage(refusal))
    this.reason = refusal.reason
    this.retryAfter = refusal.retryAfter
  }
}
