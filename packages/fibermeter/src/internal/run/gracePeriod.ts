/**
 * How long a call waits for what it has cancelled.
 */
import { after } from "../runtime/host.ts"
import type { Host } from "../runtime/host.ts"

export class GracePeriod {
  /** Whether the call waits no longer. */
  isOver: boolean
  private readonly host: Host
  private readonly millis: number
  private readonly onOver: () => void
  private cancelTimer: (() => void) | undefined

  /** `millis` may be 0, for not at all, or infinite. */
  constructor(host: Host, millis: number, onOver: () => void) {
    this.host = host
    this.millis = millis
    this.onOver = onOver
    this.isOver = millis === 0
  }

  /** Begins, unless it has begun already. */
  begin(): void {
    if (this.millis === Infinity || this.cancelTimer !== undefined) return
    this.cancelTimer = after(this.host, this.millis, () => {
      this.isOver = true
      this.onOver()
    })
  }

  /** Whatever is waited for may take as long as it wants. */
  cancel(): void {
    this.cancelTimer?.()
    this.cancelTimer = undefined
  }
}
