/**
 * The items of a run whose task has failed and is to be started again: those whose time has not come yet, and those that
 * are next in line for a start.
 */
import { after } from "../runtime/host.ts"
import type { Host } from "../runtime/host.ts"

/** An item that is to be started again. */
export interface Attempt<out A> {
  readonly item: A
  readonly index: number
  /** How many have been made. */
  readonly attempts: number
}

interface BackOff {
  callOff?: () => void
}

export class RetryQueue<A> {
  /** How many items are between two attempts; the one for which a start is being asked is one of them. */
  size = 0
  /** How many attempts have been made that were not an item's first. */
  made = 0
  /** The one for which a start is being asked. */
  asking: Attempt<A> | undefined
  private readonly due: Array<Attempt<A>> = []
  private readonly backOffs = new Set<BackOff>()

  /** `onDue` is called when the attempt may begin: after so many milliseconds. */
  add(host: Host, attempt: Attempt<A>, delay: number, onDue: () => void): void {
    this.size++
    const backOff: BackOff = {}
    this.backOffs.add(backOff)
    backOff.callOff = after(host, delay, () => {
      this.backOffs.delete(backOff)
      this.due.push(attempt)
      onDue()
    })
  }

  /** Has a start asked for whichever came first of those whose time has come, if there is one. Returns that. */
  ask(): Attempt<A> | undefined {
    return (this.asking = this.due.shift())
  }

  /** The one for which a start was asked is being started. */
  started(): void {
    this.asking = undefined
    this.size--
    this.made++
  }

  clear(): void {
    for (const { callOff } of this.backOffs) callOff?.()
    this.backOffs.clear()
    this.due.length = 0
    this.asking = undefined
    this.size = 0
  }
}
