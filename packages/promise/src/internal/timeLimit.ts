/**
 * How long an attempt at a task may take.
 */
import { runtime } from "fibermeter/engine"
import { host } from "./host.ts"

export class TimeLimit {
  private isOver = false
  readonly callOff: () => void

  /** Calls `onOver` with a `TimeoutError` after so many milliseconds. */
  constructor(millis: number, onOver: (error: DOMException) => void) {
    this.callOff = runtime.after(host(), millis, () => {
      this.isOver = true
      onOver(new DOMException(`the task has taken longer than its timeout of ${millis} ms`, "TimeoutError"))
    })
  }

  /** The attempt has ended. Says whether in time. */
  end(): boolean {
    this.callOff()
    return !this.isOver
  }
}
