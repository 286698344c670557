/**
 * The timeout of one attempt at a task.
 */
import { runtime } from "fibermeter/engine"
import { host } from "./host.ts"

export class TimeLimit {
  private isOver = false
  readonly cancel: () => void

  /** Calls `onOver` with a `TimeoutError` after so many milliseconds. It names the index of the item, where there is one. */
  constructor(millis: number, index: number | undefined, onOver: (error: DOMException) => void) {
    this.cancel = runtime.after(host(), millis, () => {
      this.isOver = true
      const task = index === undefined ? "the task" : `the task at index ${index}`
      onOver(new DOMException(`${task} has taken longer than its timeout of ${millis} ms`, "TimeoutError"))
    })
  }

  /** The attempt has settled. Returns whether in time. */
  end(): boolean {
    this.cancel()
    return !this.isOver
  }
}
