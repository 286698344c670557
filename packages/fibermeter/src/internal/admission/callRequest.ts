/**
 * A request of a call for one start. Unlike the request of a verb, it is subject to overload protection (`overload.ts`).
 */
import { beforeWaiting, waits, waitsNoLonger } from "./overload.ts"
import type { Call } from "./overload.ts"
import type { Refusal } from "./refusal.ts"
import { AdmissionRequest } from "./request.ts"

export abstract class CallRequest extends AdmissionRequest implements Call {
  abstract readonly waitTimeout: number | undefined

  override get isCall(): boolean {
    return true
  }

  override get isSheddable(): boolean {
    return true
  }

  protected override beforeWaiting(): Refusal | boolean {
    return this.isSheddable && beforeWaiting(this)
  }

  protected override onWait(): void {
    if (this.isSheddable) waits(this)
  }

  protected override onWaitEnd(): void {
    waitsNoLonger(this)
  }
}
