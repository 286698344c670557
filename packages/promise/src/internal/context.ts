/**
 * What a task is told about itself. The signal is made when the task first looks at it, since most do not. One for each
 * task: its properties are no fields, which would take twice as long to make.
 */

import { admission, check } from "fibermeter/engine"
import type { Cost } from "../Limits.ts"
import type { TaskContext } from "../Task.ts"
import { accept } from "./errors.ts"
import type { Rejection } from "./rejection.ts"

const nothing: admission.Reservation = { entries: [], limiters: [] }

export class Context implements TaskContext {
  declare readonly index: number
  declare private controller: AbortController | undefined
  /** How it was cancelled, if it was. */
  declare cancelled: Rejection | undefined
  declare private readonly holding: admission.Reservation | undefined

  /** `holding` is what the task holds, where there is something in it to correct. */
  constructor(index: number, holding?: admission.Reservation) {
    this.index = index
    this.controller = undefined
    this.cancelled = undefined
    this.holding = holding
  }

  // A getter, as tasks take their context apart, and a method would lose it.
  get correct(): (cost: Cost) => void {
    const holding = this.holding ?? nothing
    return (cost) => {
      admission.correct(holding, accept(check.cost(admission.namesOf(holding.limiters), cost)))
    }
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController()
      if (this.cancelled !== undefined) this.controller.abort(this.cancelled.reason)
    }
    return this.controller.signal
  }

  /** The first reason counts. */
  abort(reason: unknown): void {
    this.cancelled ??= { reason }
    try {
      this.controller?.abort(reason)
    } catch (error) {
      // What a listener throws is no affair of who aborts. In Cloudflare Workers it comes out here all the same; now it
      // is reported as elsewhere.
      queueMicrotask(() => {
        throw error
      })
    }
  }
}
