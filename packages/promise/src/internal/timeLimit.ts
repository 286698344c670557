/**
 * The timeout of one attempt at a task.
 */
import { runtime } from "fibermeter/engine"
import { host } from "./host.ts"

export class TimeLimit {
  private isOver = false
  readonly cancel: () => void

  /** Calls `onOver` with a `TimeoutError` after so many milliseconds. */
  constructor(millis: number, onOver: (error: DOMException) => void) {
    this.cancel = runtime.after(host(), millis, () => {
      this.isOver = true
      onOver(new DOMException(`the task has taken longer than its timeout of ${millis} ms`, "TimeoutError"))
    })
  }

  /** The attempt has settled. Returns whether in time. */
  end(): boolean {
    this.cancel()
    return !this.isOver
  }
}
