/**
 * The limiter of a meter. It has a list of the calls that use it, so that `clear` and `close` can end them.
 */
import { admission, data } from "fibermeter/engine"
import type { runtime } from "fibermeter/engine"
import type { MeterOptions } from "../Meter.ts"
import { refusal } from "./errors.ts"
import { observation } from "./observation.ts"
import { reconcile } from "./reconcile.ts"
import { sharing } from "./presentRequest.ts"
import type { Rejection } from "./rejection.ts"
import { eventually, meterMade } from "./requests.ts"

/** A call that uses a meter and has not ended. */
export interface Call extends data.WaitListEntry {
  /** Whether one of its tasks waits for admission there, or for another attempt. */
  isWaitingAt(limiter: admission.Limiter): boolean
  abort(reason: unknown): void
}

const closedRefusal = { _tag: "Closed", reason: "closed" }

export class MeterLimiter extends admission.SharedLimiter {
  /** The reason, once the meter is closed. */
  private closed: Rejection | undefined
  /** All calls except single tasks that wait for admission: those are in the queue. */
  private readonly activeCalls = new data.WaitList<Call>()
  private onEmpty: Array<() => void> | undefined
  private isClearing = false
  readonly name: string | undefined
  /** Of a family of meters. */
  readonly key: unknown

  constructor(
    limits: ConstructorParameters<typeof admission.SharedLimiter>[0] & Pick<MeterOptions, "name">,
    key?: unknown
  ) {
    super(limits)
    this.name = limits.name
    this.key = key
    meterMade()
  }

  /** Where contexts of tasks find it: a program without meters does not load it. */
  get reconciler(): typeof reconcile {
    return reconcile
  }

  get isClosed(): boolean {
    return this.closed !== undefined
  }

  throwIfClosed(): void {
    if (this.closed !== undefined) throw this.closed.reason
  }

  /** As `throwIfClosed`, for a new call, which is also refused while the meter drains. */
  throwIfRefusing(): void {
    if (this.closed !== undefined || this.closing !== undefined) {
      observation.observer?.leaves({ limiters: [this] }, closedRefusal)
    }
    this.throwIfClosed()
    if (this.closing !== undefined) throw refusal(this.closing)
  }

  override pause(host: runtime.Host, nanos: number): void {
    super.pause(host, nanos)
    this.paused(nanos / 1_000_000)
  }

  override resume(): void {
    super.resume()
    this.paused(0)
  }

  protected paused(duration: number): void {
    observation.observer?.publish("pause", [this], { duration })
  }

  /** Adds a call to the list. Returns what removes it. */
  enter(abort: Call["abort"], isWaitingAt: Call["isWaitingAt"]): () => void {
    // One per meter, because an entry can be in one list at a time.
    const entry = { abort, isWaitingAt, position: 0 }
    this.enterCall(entry)
    return () => this.endCall(entry)
  }

  enterCall(call: Call): void {
    sharing.requests?.enter(call)
    this.activeCalls.add(call)
  }

  endCall(call: Call): void {
    this.activeCalls.remove(call)
    if (this.onEmpty === undefined || this.activeCalls.size > 0) return
    for (const f of this.onEmpty) f()
    this.onEmpty = undefined
  }

  /** Ends the calls that wait here. */
  clear(reason: unknown): void {
    const waiting = [...admission.waitersOf(this), ...this.activeCalls.members]
      .filter(isCall)
      .filter((call) => call.isWaitingAt(this))
    this.isClearing = true
    for (const call of waiting) abort(call, reason)
    this.isClearing = false
    // New waiters may have arrived meanwhile.
    this.wake()
  }

  /** Ends all calls. Resolves when they have ended. */
  async close(reason: unknown): Promise<void> {
    this.closed ??= { reason }
    // Waiters first, or they would get the permits of running tasks.
    this.clear(reason)
    for (const call of this.activeCalls.members) abort(call, reason)
    if (this.activeCalls.size > 0) await eventually((resolve) => (this.onEmpty ??= []).push(resolve))
    await callersNotified()
  }

  /** Accepts no more calls, and closes the meter when all have ended. Resolves then. */
  async drain(reason: unknown): Promise<void> {
    admission.stopAccepting(this, { _tag: "Failure", cause: reason })
    await eventually((resolve) => admission.whenIdle(this, resolve))
    this.closed ??= { reason }
    await callersNotified()
  }

  /** Nothing starts here once the meter is closed, nor while its queue is cleared, whatever makes room meanwhile. */
  override opensForWaiter(waiter: admission.Waiter): number {
    return this.isClearing || this.closed !== undefined ? Infinity : super.opensForWaiter(waiter)
  }

  override isAsNew(): boolean {
    return this.closed === undefined && super.isAsNew()
  }
}

/** Resolves after the reactions of callers to promises that have just been settled. */
const callersNotified = async (): Promise<void> => {
  for (let i = 0; i < microtasksToCaller; i++) await Promise.resolve()
}

/** Microtasks until a caller sees a rejection, through an async function and the promise that it returns. */
const microtasksToCaller = 8

/** If the call belongs to another request, ends it there, since its signals can only be used there. */
const abort = (call: Call, reason: unknown): void => {
  const { requests } = sharing
  if (requests?.isHere(call) === false) requests.send(call, { wake: () => call.abort(reason) })
  else call.abort(reason)
}

const isCall = (value: object): value is Call => "abort" in value
