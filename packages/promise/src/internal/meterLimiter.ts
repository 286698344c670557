/**
 * The limiter behind a meter of this package: it knows the calls that use it, so that they can be ended together.
 */
import { admission, data } from "fibermeter/engine"
import type { Rejection } from "./rejection.ts"
import { eventually, requests } from "./requests.ts"

/** A call that uses a meter, and has not ended. */
export interface Call extends data.WaitListEntry {
  /** Whether it has a task that waits for its start there, or for another attempt. */
  isWaitingAt(limiter: admission.Limiter): boolean
  abort(reason: unknown): void
}

export class MeterLimiter extends admission.LocalLimiter {
  /** Why nothing may begin here any more, if so. */
  private closed: Rejection | undefined
  /** All calls, but for single ones that wait for their start: those stand in the line. */
  private readonly users = new data.WaitList<Call>()
  private onEmpty: Array<() => void> | undefined
  private isClearing = false

  override get isShared(): boolean {
    return true
  }

  throwIfClosed(): void {
    if (this.closed !== undefined) throw this.closed.reason
  }

  enterCall(call: Call): void {
    requests?.enter(call)
    this.users.add(call)
  }

  endCall(call: Call): void {
    this.users.remove(call)
    if (this.onEmpty === undefined || this.users.size > 0) return
    for (const f of this.onEmpty) f()
    this.onEmpty = undefined
  }

  /** Ends the calls that wait here. */
  clear(reason: unknown): void {
    const calls = [...this.waiters, ...this.users.members].filter(isCall).filter((call) => call.isWaitingAt(this))
    this.isClearing = true
    for (const call of calls) abort(call, reason)
    this.isClearing = false
    // Somebody may have come meanwhile.
    this.wake()
  }

  /** Ends all calls. Resolves when they have ended. */
  async close(reason: unknown): Promise<void> {
    this.closed ??= { reason }
    // Those who wait first, or they would get the places of those who run.
    this.clear(reason)
    for (const call of this.users.members) abort(call, reason)
    if (this.users.size > 0) await eventually((resolve) => (this.onEmpty ??= []).push(resolve))
    // Their promises are settled. This goes on when whoever waits for those has been told.
    for (let i = 0; i < ticksToTell; i++) await Promise.resolve()
  }

  /** Nothing starts here once the meter is closed, nor while its queue is cleared, whatever makes room meanwhile. */
  protected override opensAt(
    waiter: admission.AdmissionRequest,
    kept: ReadonlyArray<admission.AdmissionRequest>
  ): number {
    return this.isClearing || this.closed !== undefined ? Infinity : super.opensAt(waiter, kept)
  }

  override isAsNew(): boolean {
    return this.closed === undefined && super.isAsNew()
  }
}

/** Microtasks from a rejection to the callers, through the promises of an async function and of what it returns. */
const ticksToTell = 8

/** In the request of the call, where that is another one: its signals can be used only there. */
const abort = (call: Call, reason: unknown): void => {
  if (requests?.isHere(call) === false) requests.send(call, { wake: () => call.abort(reason) })
  else call.abort(reason)
}

const isCall = (value: object): value is Call => "abort" in value
