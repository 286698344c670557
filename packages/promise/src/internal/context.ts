/**
 * The context argument of a task. The signal is created when the task first reads it, since most tasks do not. There is
 * one context per task, so its properties are declared and assigned: class fields take twice as long to create.
 */
import { admission } from "fibermeter/engine"
import type { Cost, WindowReport } from "../Limits.ts"
import type { TaskContext } from "../Task.ts"
import { guarded } from "./guarded.ts"
import { acceptCost } from "./errors.ts"
import type { Rejection } from "./rejection.ts"

const noReservation: admission.Reservation = { entries: [], limiters: [] }

export class Context implements TaskContext {
  declare readonly index: number
  declare private controller: AbortController | undefined
  /** The reason, once the task is cancelled. */
  declare cancelled: Rejection | undefined
  declare readonly reservation: admission.Reservation | undefined

  /** `reservation`: what the task has taken from its limiters, if `correct` can change it. */
  constructor(index: number, reservation?: admission.Reservation) {
    this.index = index
    this.controller = undefined
    this.cancelled = undefined
    this.reservation = reservation
  }

  // A getter, since tasks destructure their context, and a method would lose `this`.
  get correct(): (cost: Cost) => void {
    const reservation = this.reservation ?? noReservation
    return (cost) => {
      admission.correct(reservation, acceptCost(reservation.limiters, cost))
    }
  }

  get fencingToken(): number | undefined {
    return admission.fencingTokenOf(this.reservation?.entries ?? [])
  }

  get reconcile(): (report: WindowReport) => void {
    const { reservation } = this
    return (report) => {
      const reconcile = reservation?.limiters.find(({ reconciler }) => reconciler)?.reconciler
      if (reconcile === undefined) throw new TypeError("reconcile needs a window of a meter")
      reconcile(reservation!, report)
    }
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController()
      if (this.cancelled !== undefined) this.controller.abort(this.cancelled.reason)
    }
    return this.controller.signal
  }

  /** The first reason is kept. */
  abort(reason: unknown): void {
    this.cancelled ??= { reason }
    const { controller } = this
    if (controller !== undefined) guarded(() => controller.abort(reason))
  }
}
