/**
 * What a task is told about itself. The signal is made when the task first looks at it, since most do not.
 */

import { check, namesOf } from "fibermeter/engine"
import type { Holding } from "fibermeter/engine"
import type { Cost } from "../Options.ts"
import { refuse } from "./refuse.ts"

/** What a task is called with. */
export interface TaskContext {
  /** The place of the task's item, or of the task itself, in the input; from 0. */
  readonly index: number
  /**
   * Aborted when the task is cancelled: with the caller's reason where the caller aborted, otherwise with an
   * `AbortError`. To be passed on to whatever can be aborted, such as `fetch`.
   */
  readonly signal: AbortSignal
  /**
   * Says what the task has really cost, by the names of windows: replaces what it was booked with. What was booked too
   * much is free again at once; what was booked too little holds back those that come next.
   */
  readonly correct: (cost: Cost) => void
}

export class Context implements TaskContext {
  readonly index: number
  private controller: AbortController | undefined
  private cancelled: { readonly reason: unknown } | undefined

  private readonly holding: Holding | undefined

  /** `holding` is what the task holds, where there is something in it to correct. */
  constructor(index: number, holding?: Holding) {
    this.index = index
    this.holding = holding
  }

  // A getter, as tasks take their context apart, and a method would lose it.
  get correct(): (cost: Cost) => void {
    const { bookings = [], gates = [] } = this.holding ?? {}
    return (cost) => {
      refuse(check.cost(namesOf(gates), cost))
      for (const [i, gate] of gates.entries()) gate.correct(bookings[i], cost)
    }
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController()
      if (this.cancelled !== undefined) this.controller.abort(this.cancelled.reason)
    }
    return this.controller.signal
  }

  abort(reason: unknown): void {
    this.cancelled = { reason }
    this.controller?.abort(reason)
  }
}
