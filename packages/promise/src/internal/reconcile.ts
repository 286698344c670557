/**
 * Reconciles the windows of meters with what a server reports: the checks, and the instant at which a request was sent.
 */
import { admission, check } from "fibermeter/engine"
import type { WindowReport } from "../Limits.ts"
import { accept } from "./errors.ts"
import { host } from "./host.ts"
import { once } from "./once.ts"
import { times } from "./times.ts"

/** As it is now: a test may have replaced it. */
const clock = globalThis as unknown as { readonly performance: { readonly now: () => number } }

const isInstant = (value: unknown): value is number => typeof value === "number"

const reportCheck = /* @__PURE__ */ once(() =>
  admission.reportCheck(
    times().delay,
    check.kind(
      "an instant of performance.now(), not after the present one",
      isInstant,
      (value) => Number.isFinite(value) && value <= clock.performance.now()
    )
  )
)

/** Throws a `RangeError` or `TypeError` if the report is invalid. `entries`: what the task has taken that got the report. */
export const reconcile = (
  reported: Pick<admission.Reservation, "limiters"> & Partial<admission.Reservation>,
  given: unknown
): void => {
  const report = accept(reportCheck()("report", given)) as WindowReport & { readonly resetAfter: number }
  const age = report.sentAt === undefined ? undefined : (clock.performance.now() - report.sentAt) * 1_000_000
  const problem = admission.reconcile(reported, { ...report, age }, host())
  if (problem !== undefined) accept(problem)
}
