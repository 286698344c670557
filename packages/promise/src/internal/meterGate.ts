/**
 * The gate behind a meter of this package: it knows the calls that use it, so that they can be ended together.
 */
import { LimitGate } from "fibermeter/engine"
import type { Gate } from "fibermeter/engine"
import type { Rejection } from "./rejection.ts"

/** A call that uses a meter, and has not ended. */
export interface Call {
  /** The gate where it waits for a start, if it does. */
  readonly waitsAt: Gate | undefined
  abort(reason: unknown): void
}

export class MeterGate extends LimitGate {
  /** Why nothing may begin here any more, if so. */
  private closed: Rejection | undefined
  /** All calls, but for single ones that wait for their start: those stand in the line. */
  private readonly users = new Set<Call>()
  private onEmpty: (() => void) | undefined

  throwIfClosed(): void {
    if (this.closed !== undefined) throw this.closed.reason
  }

  enterCall(call: Call): void {
    this.users.add(call)
  }

  endCall(call: Call): void {
    this.users.delete(call)
    if (this.users.size === 0) this.onEmpty?.()
  }

  /** Ends the calls that wait here. */
  clear(reason: unknown): void {
    for (const call of [...this.waiters, ...this.users].filter(isCall)) if (call.waitsAt === this) call.abort(reason)
  }

  /** Ends all calls. Resolves when they have ended. */
  async close(reason: unknown): Promise<void> {
    this.closed ??= { reason }
    // Those who wait first, or they would get the places of those who run.
    this.clear(reason)
    for (const call of this.users) call.abort(reason)
    if (this.users.size > 0) await new Promise<void>((resolve) => (this.onEmpty = resolve))
  }

  override isForgettable(): boolean {
    return this.closed === undefined && super.isForgettable()
  }
}

const isCall = (value: object): value is Call => "abort" in value
